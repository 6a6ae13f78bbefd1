/**
 * `npm run size` (after `npm run build`): gzipped sizes, zlib level 9, of what people ship. Fails if JS with one WASM build
 * is larger than the budget. A build is text in a module; measuring without it bundles an empty string in its place.
 */
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const BUDGET = 90 * 1024;
const builds = ["simd", "relaxed"];

/** The minified bundle of the whole library with these WASM builds only. */
async function bundle(kept, input = "dist/src/index.js") {
  const missing = new Set(builds.filter((build) => !kept.includes(build)));
  const stub = {
    name: "stub",
    load: (id) => (missing.has(/binaries[\\/](\w+)\.js$/.exec(id)?.[1]) ? 'export default "";' : null),
  };
  const build = await rolldown({
    input,
    platform: "neutral",
    resolve: { mainFields: ["module", "main"] },
    plugins: [stub],
  });
  const { output } = await build.generate({ format: "esm", minify: true });
  await build.close();
  return output.map((chunk) => chunk.code).join("");
}

const sizeOf = async (...kept) => gzipSync(await bundle(kept), { level: 9 }).length;
const print = (what, bytes, note = "") =>
  console.log(`${what.padEnd(28)}${(bytes / 1024).toFixed(1).padStart(7)} KB${note}`);

const js = await sizeOf();
print("JS alone", js);
let failed = false;
for (const build of builds) {
  const total = await sizeOf(build);
  print(`WASM ${build}, inlined`, total - js);
  print(`JS + ${build}`, total, total > BUDGET ? `  TOO LARGE: the budget is ${BUDGET / 1024} KB` : "");
  failed ||= total > BUDGET;
}
print("everything", await sizeOf(...builds));
// What a program that uses both faces ships more than one that uses the core.
const both = gzipSync(await bundle([], "bench/faces.mjs"), { level: 9 }).length;
print("nabla/gradients, beside it", both - js);
process.exitCode = failed ? 1 : 0;
