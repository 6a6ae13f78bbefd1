// Compiles the kernels (asconfig.json) and inlines each build as a TypeScript module in src/runtime/binaries.
// `node assembly/build.mjs debug` only writes build/debug.wasm, unoptimized, with a source map: run it by init({ module }).
// Fails if a module holds state: it must have no data, global or start section, so that instances may share a memory.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import asc from "assemblyscript/asc";
import { hoistConstants } from "./hoist.mjs";

const INLINED = ["simd", "relaxed"];
const SECTIONS = { 6: "global", 8: "start", 11: "data" };

/** The ids of a module's sections. */
function sectionIds(bytes) {
  const ids = [];
  for (let at = 8; at < bytes.length; ) {
    ids.push(bytes[at++]);
    let size = 0;
    for (let shift = 0, more = true; more; shift += 7) {
      const byte = bytes[at++];
      size |= (byte & 127) << shift;
      more = byte > 127;
    }
    at += size;
  }
  return ids;
}

/**
 * Bytes as printable text: byte = 86·page + digit, a digit being one of the 86 characters from "#" to "z" without the
 * backslash, and pages 1 and 2 marked by "}" and "~" before it. gzip and brotli see whole bytes in it: the text compresses
 * as well as the binary does (hexadecimal takes 1.1 times as much, base64 1.4 times).
 */
function toText(bytes) {
  const digit = (d) => String.fromCharCode(d < 57 ? d + 35 : d + 36);
  return Array.from(bytes, (byte) => ["", "}", "~"][Math.floor(byte / 86)] + digit(byte % 86)).join("");
}

mkdirSync("src/runtime/binaries", { recursive: true });
for (const target of process.argv.length > 2 ? process.argv.slice(2) : INLINED) {
  const { error, stderr } = await asc.main(["--config", "asconfig.json", "--target", target]);
  if (error) {
    console.error(stderr.toString());
    process.exit(1);
  }
  if (!INLINED.includes(target)) continue;
  const { bytes, text } = hoistConstants(readFileSync(`build/${target}.wat`, "utf8"));
  writeFileSync(`build/${target}.wasm`, bytes);
  writeFileSync(`build/${target}.wat`, text);
  const state = sectionIds(bytes)
    .filter((id) => id in SECTIONS)
    .map((id) => SECTIONS[id]);
  if (state.length) {
    console.error(`build/${target}.wasm holds state: it has a ${state.join(" and a ")} section.`);
    process.exit(1);
  }
  const header = `/** The ${target} build of the kernels: ${bytes.length} bytes, as src/runtime/load.ts reads them. Made by \`npm run wasm\`. */\n`;
  writeFileSync(`src/runtime/binaries/${target}.ts`, `${header}export default "${toText(bytes)}";\n`);
  console.error(`${target}: ${bytes.length} bytes`);
}
