// Bundles dist/src into few files for Node, Deno and Bun, which start several times faster from them: a file costs a millisecond.
// Bundlers for pages take dist/src itself and leave out what is not used.
import { readFileSync, rmSync } from "node:fs";
import { rolldown } from "rolldown";
import { lines, READABLE } from "./lines.mjs";

const OUT = "dist/node";
rmSync(OUT, { recursive: true, force: true });
/** What `import "nabla"` loads: everything but the other entries and what only threads need. */
const CORE = /[\\/]dist[\\/](?:assembly|src)[\\/](?!gradients|formats|runtime[\\/]threads[\\/])/;

/** The kernels in base64, which these runtimes decode natively, faster than our own denser encoding. */
const binaries = {
  name: "binaries",
  load(id) {
    const build = /binaries[\\/](\w+)\.js$/.exec(id)?.[1];
    if (!build) return null;
    const text = readFileSync(`build/${build}.wasm`, "base64");
    return `import { Buffer } from "node:buffer"; export default () => new Uint8Array(Buffer.from("${text}", "base64"));`;
  },
};

/** ASCII, which V8 reads faster: other characters are in texts and names, where escapes are allowed. */
const ascii = {
  name: "ascii",
  generateBundle(_, output) {
    const escape = (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
    for (const chunk of Object.values(output))
      if (chunk.type === "chunk") chunk.code = chunk.code.replace(/[\u0080-\uffff]/g, escape);
  },
};

const bundle = await rolldown({
  input: { index: "dist/src/index.js", gradients: "dist/src/gradients/index.js", formats: "dist/src/formats/index.js" },
  platform: "neutral",
  external: ["node:buffer"],
  plugins: [binaries, ascii, lines],
  // A module's side effects count even if none of its names is used.
  treeshake: { moduleSideEffects: true },
});
await bundle.write({
  ...READABLE,
  dir: OUT,
  // The core is one file, whatever the other entries share with it.
  codeSplitting: { groups: [{ name: "core", test: CORE }] },
  chunkFileNames: "[name]-[hash].js",
});
