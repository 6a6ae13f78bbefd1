/**
 * `npm run size` (after `npm run build`): gzipped sizes (zlib level 9) of typical bundles. Fails if the JS with one WASM build
 * exceeds the budget. A build is a string in a module; sizes without it are measured with an empty string.
 * `npm run size -- --docs` keeps them in docs/sizes.md.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { withBlock } from "../docs/tables.mjs";

/** 120 KB for nabla and 2 KB for the copy of @assemblyscript/loader. */
const BUDGET = 122 * 1024;
const builds = ["simd", "relaxed"];
/** Programs of this size: their files are in bench/bundles. */
const BUNDLES = [
  ["a product of matrices", "matmul"],
  ["an MLP trained with Adam", "mlp"],
  ["everything", "everything"],
];

/** The minified bundle of the whole library with these WASM builds only: what is loaded at once, and what is on demand. */
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
  const chunks = new Map(output.filter(({ type }) => type === "chunk").map((chunk) => [chunk.fileName, chunk]));
  const atOnce = new Set();
  const load = (name) => {
    if (!chunks.has(name) || atOnce.has(name)) return;
    atOnce.add(name);
    chunks.get(name).imports.forEach(load);
  };
  for (const [name, { isEntry }] of chunks) if (isEntry) load(name);
  const code = (wanted) => [...chunks].flatMap(([name, chunk]) => (atOnce.has(name) === wanted ? [chunk.code] : []));
  return { atOnce: code(true).join(""), onDemand: code(false).join("") };
}

const zipped = (code) => gzipSync(code, { level: 9 }).length;
const sizeOf = async (kept, input) => zipped((await bundle(kept, input)).atOnce);
const inKB = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
const print = (what, bytes, note = "") => console.log(`${what.padEnd(38)}${inKB(bytes).padStart(10)}${note}`);
/** What is printed and also kept in the documentation. */
const parts = ["| part | size |", "|---|---:|"];
const keep = (what, bytes, note) => {
  print(what, bytes, note);
  parts.push(`| ${what} | ${inKB(bytes)} |`);
};

const js = await sizeOf([]);
keep("JavaScript alone", js);
let failed = false;
for (const build of builds) {
  const total = await sizeOf([build]);
  keep(`WASM ${build}, inlined`, total - js);
  keep(`JavaScript with ${build}`, total, total > BUDGET ? `  TOO LARGE: the budget is ${BUDGET / 1024} KB` : "");
  failed ||= total > BUDGET;
}
keep("JavaScript with both builds", await sizeOf(builds));
// What a program that uses both faces ships more than one that uses the core.
keep("nabla/gradients, beside it", zipped((await bundle([], "bench/faces.mjs")).atOnce) - js);
keep("threads, loaded on demand", zipped((await bundle([])).onDemand));

const table = ["| what a page does | JS | WASM | together |", "|---|---:|---:|---:|"];
for (const [what, name] of BUNDLES) {
  const input = `bench/bundles/${name}.mjs`;
  const alone = await sizeOf([], input);
  const total = await sizeOf(["simd"], input);
  print(`${what}: JS`, alone);
  print(`${what}: with simd`, total);
  const sizes = [alone, total - alone, total].map(inKB);
  table.push(`| ${[what, ...sizes].join(" | ")} |`);
}
if (process.argv.includes("--docs")) {
  const page = "docs/sizes.md";
  const withSizes = withBlock(readFileSync(page, "utf8"), "sizes", table.join("\n"));
  writeFileSync(page, withBlock(withSizes, "parts", parts.join("\n")));
}
process.exitCode = failed ? 1 : 0;
