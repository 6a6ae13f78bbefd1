// Compiles assembly/ to build/*.wasm (asconfig.json) and writes each build as text to src/runtime/binaries, which load.ts decodes: the
// streams of simd, and the edits that turn simd into relaxed, and relaxed into wide. The base and the parts (parts.mjs) are separate files.
// `node tools/wasm.mjs simd relaxed wide` is the default. `node tools/wasm.mjs debug` writes only build/debug.wasm, which is not
// optimized and has a source map. Load it with init({ module }).
// Fails if a module has a data, global or start section: instances share one memory, so a module must hold no state.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import asc from "assemblyscript/asc";
import { assemble, sectionsOf } from "./assemble.mjs";
import { editsOf, storedBytes } from "./edits.mjs";
import { hoistConstants } from "./hoist.mjs";
import { sortFunctions } from "./order.mjs";
import { divide, PART_NAMES, partsOf } from "./parts.mjs";
import { splitModule } from "./streams.mjs";

const INLINED = ["simd", "relaxed", "wide"];
const SECTIONS = { 6: "global", 8: "start", 11: "data" };

/** The number of byte values that have a one-character code. */
const SINGLES = 86;

/** The size of the header of a text. */
const HEADER = 64;

/**
 * Encodes bytes as printable text. 86 frequent byte values take one character, from "#" to "z" without the backslash; the others take two,
 * the first of which is "}" or "~". A header of 256 bits, in hexadecimal, marks the frequent values. After gzip, the text is as small as
 * the bytes. @param header the header of another text; by default, the most frequent values of these bytes
 */
function toText(bytes, header = headerOf(bytes)) {
  const all = [...Array(256).keys()];
  const isFrequent = (byte) => (Number.parseInt(header[byte >> 2], 16) >> (3 - (byte & 3))) & 1;
  const order = [...all.filter(isFrequent), ...all.filter((byte) => !isFrequent(byte))];
  const digit = (d) => String.fromCharCode(d < 57 ? d + 35 : d + 36);
  const characters = [];
  order.forEach((byte, i) => (characters[byte] = ["", "}", "~"][Math.floor(i / SINGLES)] + digit(i % SINGLES)));
  return header + Array.from(bytes, (byte) => characters[byte]).join("");
}

/** The header that marks the most frequent values of some bytes. */
function headerOf(bytes) {
  const counts = new Array(256).fill(0);
  for (const byte of bytes) counts[byte]++;
  const frequent = new Set([...counts.keys()].sort((a, b) => counts[b] - counts[a]).slice(0, SINGLES));
  const bits = counts.map((_, byte) => Number(frequent.has(byte))).join("");
  return bits
    .match(/.{4}/g)
    .map((four) => Number.parseInt(four, 2).toString(16))
    .join("");
}

mkdirSync("src/runtime/binaries", { recursive: true });
const targets = process.argv.length > 2 ? process.argv.slice(2) : INLINED;
for (const target of targets) {
  const { error, stderr } = await asc.main(["--config", "asconfig.json", "--target", target]);
  if (error) {
    console.error(stderr.toString());
    process.exit(1);
  }
  if (!INLINED.includes(target)) continue;
  const hoisted = hoistConstants(readFileSync(`build/${target}.wat`, "utf8"));
  const text = sortFunctions(hoisted);
  const { bytes } = assemble(text);
  writeFileSync(`build/${target}.wasm`, bytes);
  writeFileSync(`build/${target}.wat`, text);
  const state = sectionsOf(bytes).flatMap(({ id }) => SECTIONS[id] ?? []);
  if (state.length) {
    console.error(`build/${target}.wasm must not hold state, but has a ${state.join(" and a ")} section.`);
    process.exit(1);
  }
  console.error(`${target}: ${bytes.length} bytes`);
}

/** Compiles assembly/streams.ts, which restores builds from text. */
async function compileStreams() {
  const options =
    "--runtime stub --initialMemory 16 --optimizeLevel 3 --shrinkLevel 1 --converge --noAssert --use abort=";
  const { error, stderr } = await asc.main([
    ...["assembly/streams.ts", "--config", "none", "--outFile", "build/streams.wasm"],
    ...options.split(" "),
  ]);
  if (error) {
    console.error(stderr.toString());
    process.exit(1);
  }
  const text = readFileSync("build/streams.wasm").toString("base64");
  const header = "/** assembly/streams.ts, compiled, as base64. Made by `npm run wasm`. */\n";
  writeFileSync("src/runtime/binaries/streams.ts", `${header}export default "${text}" as string;\n`);
}
await compileStreams();

/** Writes bytes as text to src/runtime/binaries. `what` describes them. */
function writeBinary(name, what, text) {
  const header = `/** The ${what} of the kernels, as src/runtime/load.ts reads it. Made by \`npm run wasm\`. */\n`;
  writeFileSync(`src/runtime/binaries/${name}.ts`, `${header}export default "${text}" as string;\n`);
}

/** The base of a build, and its parts. */
function pieces(build) {
  const wat = readFileSync(`build/${build}.wat`, "utf8");
  return divide(readFileSync(`build/${build}.wasm`), assemble(wat).names.map(partsOf(wat)));
}

// Write all builds, because some are stored as edits to others.
if (INLINED.some((name) => targets.includes(name))) {
  const [simd, relaxed] = ["simd", "relaxed"].map(pieces);
  const base = toText(splitModule(simd.base));
  const header = base.slice(0, HEADER);
  // All texts have the same header, so that the same bytes are the same text, which gzip finds. Only the base stores the header.
  const writeRest = (name, what, bytes) => writeBinary(name, what, toText(bytes, header).slice(HEADER));
  writeBinary("simd", "base of the simd build", base);
  writeRest("relaxed", "base of the relaxed build", editsOf(simd.base, relaxed.base));
  for (const [i, name] of PART_NAMES.entries()) {
    mkdirSync(`src/runtime/binaries/${name}`, { recursive: true });
    const { bytes, count } = simd.parts[i];
    writeRest(`${name}/simd`, `part "${name}" of the simd build`, splitModule(bytes, count));
    writeRest(`${name}/relaxed`, `part "${name}" of the relaxed build`, editsOf(bytes, relaxed.parts[i].bytes));
  }
  writeRest("wide", "wide build", storedBytes("wide"));
}
