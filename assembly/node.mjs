// Bundles dist/src into few files for Node, Deno and Bun, which start several times as fast from them: a file costs a millisecond.
// Bundlers for pages take dist/src itself, of which they leave out what is not used.
import { readFileSync, rmSync } from "node:fs";
import { rolldown } from "rolldown";

const OUT = "dist/node";
rmSync(OUT, { recursive: true, force: true });
/** What `import "nabla"` loads: all but the other entries, and what only threads need. */
const CORE = /[\\/]dist[\\/](?:assembly|src)[\\/](?!gradients|formats|runtime[\\/](?:threads|pool|spawn|serve)\.)/;

/** The kernels, in an encoding that these runtimes read by themselves: that is faster than ours, which is small. */
const binaries = {
  name: "binaries",
  load(id) {
    const build = /binaries[\\/](\w+)\.js$/.exec(id)?.[1];
    if (!build) return null;
    const text = readFileSync(`build/${build}.wasm`, "base64");
    return `import { Buffer } from "node:buffer"; export default () => new Uint8Array(Buffer.from("${text}", "base64"));`;
  },
};

/** One byte for each character: V8 reads that faster. What is not ASCII stands in texts and names, which may have it escaped. */
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
  plugins: [binaries, ascii],
  // Modules' effects are theirs also where nothing of them is used by name.
  treeshake: { moduleSideEffects: true },
});
// Classes keep their names: messages tell them.
await bundle.write({
  dir: OUT,
  // What the core is of is one file, whatever the others share of it.
  codeSplitting: { groups: [{ name: "core", test: CORE }] },
  chunkFileNames: "[name]-[hash].js",
  minify: { mangle: { keepNames: { class: true, function: false } } },
});
