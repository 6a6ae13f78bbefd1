/**
 * `npm run size` (after `npm run build`): prints the gzipped sizes (zlib level 9) of typical bundles. Fails if a size exceeds its
 * budget. Each build is a string in a module; to measure a bundle without a build, the script replaces that string
 * with an empty one. `npm run size -- --docs` writes the sizes to docs/sizes.md.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { withBlock } from "../docs/tables.mjs";

/**
 * The largest permitted sizes, gzipped, with one WASM build: of the code that `import "nabla"` loads at startup, and of the page that trains
 * an MLP. docs/sizes.md lists their parts.
 */
const BUDGET = 152 * 1024;
const MLP_BUDGET = 87.3 * 1024;
const builds = ["simd", "relaxed"];
/** The programs to bundle: what they do, and the names of their files in bench/bundles. */
const BUNDLES = [
  ["a matrix product", "matmul"],
  ["an MLP trained with Adam", "mlp"],
  ["everything", "everything"],
];

/**
 * The minified bundle of a program that contains only the WASM builds in `included`, in two parts: the code that loads at startup, and the
 * code that loads on demand.
 */
async function bundle(included, input = "dist/src/index.js") {
  const missing = new Set(builds.filter((build) => !included.includes(build)));
  const stub = {
    name: "stub",
    load: (id) => (missing.has(/binaries[\\/](?:\w+[\\/])?(\w+)\.js$/.exec(id)?.[1]) ? 'export default "";' : null),
  };
  const build = await rolldown({
    input,
    platform: "neutral",
    // Let chunks that load on demand import from the entry. Otherwise, the code that they share with it moves to a further chunk.
    preserveEntrySignatures: "allow-extension",
    // A page that uses nabla/tfjs already includes TensorFlow.js.
    external: /^@tensorflow\//,
    resolve: { mainFields: ["module", "main"] },
    plugins: [stub],
  });
  const { output } = await build.generate({ format: "esm", minify: true });
  await build.close();
  const chunks = new Map(output.filter(({ type }) => type === "chunk").map((chunk) => [chunk.fileName, chunk]));
  const atStart = new Set();
  const load = (name) => {
    if (!chunks.has(name) || atStart.has(name)) return;
    atStart.add(name);
    chunks.get(name).imports.forEach(load);
  };
  for (const [name, { isEntry }] of chunks) if (isEntry) load(name);
  const codeOf = (wanted) => [...chunks].flatMap(([name, chunk]) => (wanted(name, chunk) ? [chunk.code] : [])).join("");
  const isPart = (part, { moduleIds }) => moduleIds.some((id) => new RegExp(`runtime[\\\\/]${part}`).test(id));
  return {
    atStart: codeOf((name) => atStart.has(name)),
    onDemand: (part) => codeOf((name, chunk) => !atStart.has(name) && isPart(part, chunk)),
  };
}

const gzippedSize = (code) => gzipSync(code, { level: 9 }).length;
const sizeOf = async (included, input) => gzippedSize((await bundle(included, input)).atStart);
const inKB = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
const print = (what, bytes, note = "") => console.log(`${what.padEnd(38)}${inKB(bytes).padStart(10)}${note}`);
const parts = ["| part | size |", "|---|---:|"];
/** Prints a size, and adds it to the table in the documentation. */
const addPart = (what, bytes, note) => {
  print(what, bytes, note);
  parts.push(`| ${what} | ${inKB(bytes)} |`);
};

const js = await sizeOf([]);
addPart("JavaScript alone", js);
const simd = await sizeOf(["simd"]);
/** A note on a size above its budget, which makes the script fail. */
function noteOn(size, budget) {
  if (size <= budget) return "";
  process.exitCode = 1;
  return `  TOO LARGE: the budget is ${budget / 1024} KB`;
}
addPart("WASM simd, inlined", simd - js);
addPart("JavaScript with simd", simd, noteOn(simd, BUDGET));
const both = await sizeOf(builds);
addPart("WASM relaxed, as edits to simd", both - simd);
addPart("JavaScript with both builds", both);
// The sizes that other entry points add to a program that uses the core.
for (const name of ["gradients", "tfjs"])
  addPart(`nabla/${name}, in addition`, gzippedSize((await bundle([], `bench/bundles/${name}.mjs`)).atStart) - js);
const { onDemand } = await bundle([...builds, "wide"]);
for (const part of ["threads", "wide"]) addPart(`${part}, loaded on demand`, gzippedSize(onDemand(part)));

const table = ["| what a page does | JS | WASM | together |", "|---|---:|---:|---:|"];
for (const [what, name] of BUNDLES) {
  const input = `bench/bundles/${name}.mjs`;
  const alone = await sizeOf([], input);
  const total = await sizeOf(["simd"], input);
  print(`${what}: JS`, alone);
  print(`${what}: with simd`, total, name === "mlp" ? noteOn(total, MLP_BUDGET) : "");
  const sizes = [alone, total - alone, total].map(inKB);
  table.push(`| ${[what, ...sizes].join(" | ")} |`);
}
if (process.argv.includes("--docs")) {
  const page = "docs/sizes.md";
  const withSizes = withBlock(readFileSync(page, "utf8"), "sizes", table.join("\n"));
  writeFileSync(page, withBlock(withSizes, "parts", parts.join("\n")));
}
