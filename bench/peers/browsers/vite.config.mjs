/** Bundles the page for the benchmarks in browsers, and serves it cross-origin isolated, so that its threads can share memory. */
import { fileURLToPath } from "node:url";
import { defaultClientConditions, defineConfig } from "vite";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The folder of the page. The models' files are written to it too. */
export const FOLDER = path("../../../build/bench-page");

export default defineConfig({
  root: path("."),
  base: "./",
  logLevel: "error",
  resolve: {
    // onnxruntime-web's build without WebGPU, as in Node, with its WebAssembly module and glue code as separate files.
    alias: [{ find: /^onnxruntime-web$/, replacement: "onnxruntime-web/wasm" }],
    conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions],
  },
  build: {
    outDir: FOLDER,
    emptyOutDir: true,
    target: "esnext",
    minify: false,
    assetsInlineLimit: 0,
    // These modules are imported only in Node.
    rolldownOptions: { external: [/^node:/, "nabla/tfjs", "onnxruntime-node", /cli\/mnist\/data\.js$/] },
  },
  worker: { format: "es" },
  preview: {
    headers: {
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    },
  },
});
