/**
 * `node edge.mjs PROJECT OPTIONS…` runs function.js in Vercel's edge runtime, sends it a request with each of the
 * OPTIONS, and prints the responses. Imports that end in `.wasm?module` are compiled in advance and injected, as in
 * Next.js: the runtime cannot compile text or bytes.
 */
import { readFileSync } from "node:fs";
import { EdgeVM } from "@edge-runtime/vm";
import { build } from "esbuild";

const [project, ...requests] = process.argv.slice(2);
const modules = [];
const compiled = {
  name: "compiled",
  setup(bundler) {
    bundler.onLoad({ filter: /\.wasm$/ }, ({ path }) => {
      const index = modules.push(new WebAssembly.Module(readFileSync(path))) - 1;
      return { contents: `export default compiledModules[${index}];` };
    });
  },
};
const { outputFiles } = await build({
  absWorkingDir: project,
  stdin: { contents: 'import edge from "./function.js"; globalThis.edge = edge;', resolveDir: project },
  bundle: true,
  format: "iife",
  platform: "neutral",
  conditions: ["edge-light", "worker", "browser"],
  plugins: [compiled],
  write: false,
});
const vm = new EdgeVM({
  codeGeneration: { strings: false, wasm: false },
  extend: (context) => Object.assign(context, { compiledModules: modules }),
});
vm.evaluate(outputFiles[0].text);
const responses = [];
for (const body of requests) {
  const request = new vm.context.Request("http://localhost/", { method: "POST", body });
  responses.push(await (await vm.context.edge.fetch(request)).json());
}
console.log(JSON.stringify(responses));
