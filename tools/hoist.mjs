// A pass over the emitted text: a v128.const inside a loop becomes a local that is set once, at the function's entry.
// V8 from version 12 on (Node ≥ 22) builds a v128.const anew, in four instructions, at every use; a local stays in a
// register or on the stack. It halves the time of the polynomial kernels; asc itself has no such pass.
import binaryen from "binaryen";

const ZERO = /^v128\.const i32x4( 0x0{8}){4}$/; // costs one instruction as it is

/** A constant as text: four equal lanes take 6 bytes as a splat, 18 as they stand, and are set up once. */
function shorten(constant) {
  const [, lane] = /^v128\.const i32x4 (0x[0-9a-f]{8}) \1 \1 \1$/.exec(constant) ?? [];
  return lane ? [`  i32.const ${lane}`, "  i32x4.splat"] : [`  ${constant}`];
}

/** Rewrites one function: its header and locals, then its body, as lines of text. */
function hoistFunction(lines) {
  const body = lines.findIndex((line, i) => i > 0 && !/^ {2}\(local /.test(line));
  const names = new Map();
  let loop = -1; // the indentation of the outermost loop that is open
  const code = lines.slice(body).map((line) => {
    const indent = line.search(/\S/);
    const text = line.trim();
    if (loop < 0 && text.startsWith("loop")) loop = indent;
    else if (loop === indent && text === "end") loop = -1;
    if (!text.startsWith("v128.const") || ZERO.test(text)) return line;
    if (loop < 0) return shorten(text).join("\n");
    if (!names.has(text)) names.set(text, `$hoisted${names.size}`);
    return `${" ".repeat(indent)}local.get ${names.get(text)}`;
  });
  const locals = [...names.values()].map((name) => `  (local ${name} v128)`);
  const sets = [...names].flatMap(([constant, name]) => [...shorten(constant), `  local.set ${name}`]);
  return [...lines.slice(0, body), ...locals, ...sets, ...code];
}

/**
 * The module of a text that asc emitted, with its loops' constants hoisted: { bytes, text }. Every kernel is exported, or asc would
 * inline it into its dispatcher; of these exports, only what is `called` by name stays.
 */
export function hoistConstants(wat, called) {
  const lines = wat.split("\n");
  const out = [];
  for (let i = 0; i < lines.length; ) {
    if (!lines[i].startsWith(" (func ")) {
      out.push(lines[i++]);
      continue;
    }
    const end = lines.indexOf(" )", i);
    out.push(...hoistFunction(lines.slice(i, end)));
    i = end;
  }
  const text = out.join("\n");
  const module = binaryen.parseText(text);
  module.setFeatures(binaryen.Features.All);
  if (!module.validate()) throw new Error("hoistConstants: the module it made is not valid.");
  const names = Array.from(
    { length: module.getNumExports() },
    (_, i) => binaryen.getExportInfo(module.getExportByIndex(i)).name,
  );
  for (const name of names) if (!called.test(name)) module.removeExport(name);
  module.runPasses(["remove-unused-module-elements"]);
  const bytes = module.emitBinary();
  module.dispose();
  return { bytes, text };
}
