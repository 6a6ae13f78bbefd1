// Bundles dist/src into few files for Node, Deno and Bun, which start several times as fast from them: a file costs a millisecond.
// Bundlers for pages take dist/src itself, of which they leave out what is not used.
import { readFileSync, rmSync } from "node:fs";
import { rolldown } from "rolldown";

const OUT = "dist/node";
rmSync(OUT, { recursive: true, force: true });
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

const bundle = await rolldown({
  input: { index: "dist/src/index.js", gradients: "dist/src/gradients/index.js", formats: "dist/src/formats/index.js" },
  platform: "neutral",
  external: ["node:buffer"],
  plugins: [binaries],
  // Modules' effects are theirs also where nothing of them is used by name.
  treeshake: { moduleSideEffects: true },
});
// Classes keep their names: messages tell them.
await bundle.write({
  dir: OUT,
  chunkFileNames: "[name]-[hash].js",
  minify: { mangle: { keepNames: { class: true, function: false } } },
});
