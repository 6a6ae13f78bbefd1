/**
 * `npm run bench:cold`: measures the time until a 784 → 128 → 10 network returns its first result for one image, in nabla, jax-js and tfjs
 * on WebAssembly. Each start is a new process, and the contenders take turns. `npx -y -p node@24 node bench/peers/cold/index.mjs` measures
 * another version of Node.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import * as modules from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { median } from "../../../dist/bench/measure.js";
import { machine } from "../../../dist/bench/report.js";
import { save } from "../../../dist/bench/save.js";
import { whole } from "../../../dist/cli/mnist/numbers.js";
import { installNabla } from "../install.mjs";

const { rounds, save: isSaved } = new Command("bench:cold")
  .description("Compares nabla's cold starts with those of jax-js and tfjs on WebAssembly.")
  .option("--rounds <count>", "the number of starts for each contender", whole(1), 21)
  .option("--save", "save the results in docs/data, for the benchmarks page (node docs/tables.mjs)")
  .parse()
  .opts();

installNabla();
const PEERS = {
  nabla: "../../start",
  "jax-js wasm": "jax",
  "tfjs-wasm": "tfjs",
  "tfjs-core wasm": "tfjsCore",
  "tfjs on nabla": "tfjsNabla",
  "core on nabla": "tfjsCoreNabla",
  "no library": "empty",
};
/** Contenders that are also measured with Node's compile cache, which Node 22.1 introduced. */
const CACHED = "enableCompileCache" in modules ? ["nabla", "tfjs-wasm", "tfjs on nabla"] : [];
const cachedName = (name) => `${name}, cached`;
const contenders = [
  ...Object.entries(PEERS).map(([name, script]) => ({ name, script, cached: false })),
  ...CACHED.map((name) => ({ name: cachedName(name), script: PEERS[name], cached: true })),
];
const CALLS = [1, 2, 5, 20, 200];

const cache = mkdtempSync(join(tmpdir(), "nabla-cold-"));
process.once("exit", () => rmSync(cache, { recursive: true }));

/** Runs a process until it exits. @returns the time of the whole process, and the times that the process prints */
function start({ script, cached }, calls) {
  const args = [fileURLToPath(new URL(`${script}.mjs`, import.meta.url)), String(calls)];
  const { NODE_COMPILE_CACHE: _, ...inherited } = process.env;
  const env = cached ? { ...inherited, NODE_COMPILE_CACHE: cache } : inherited;
  const before = performance.now();
  const output = execFileSync(process.execPath, args, { encoding: "utf8", env, stdio: ["ignore", "pipe", "ignore"] });
  const whole = performance.now() - before;
  return { whole, ...JSON.parse(output.trim().split("\n").at(-1) || "{}") };
}

// Start each cached contender once to fill the cache.
for (const one of contenders) if (one.cached) start(one, 0);
const seen = Object.fromEntries(contenders.map(({ name }) => [name, { starts: [], calls: [] }]));
for (let round = 0; round < rounds; round++)
  for (const one of contenders) {
    seen[one.name].starts.push(start(one, 0));
    if (one.script !== "empty" && !one.cached && round % 3 === 0)
      seen[one.name].calls.push(start(one, CALLS.at(-1)).calls);
  }

const [reference] = seen["jax-js wasm"].starts;
for (const [name, { starts }] of Object.entries(seen))
  for (const { result } of starts)
    if (result.some((value, i) => Math.abs(value - reference.result[i]) > 1e-5))
      throw new Error(`${name} computes a different result: ${result} instead of ${reference.result}`);

const of = (name, key) => median(seen[name].starts.map((one) => one[key] ?? Number.NaN));
const least = (name, key) => Math.min(...seen[name].starts.map((one) => one[key] ?? Number.NaN));
const cell = (value) => (Number.isNaN(value) ? "–" : value < 10 ? value.toFixed(2) : value.toFixed(1));
const row = (cells) => console.log(cells.map((text, i) => (i ? text.padStart(14) : text.padEnd(22))).join(""));

console.log(
  `Node ${process.version}: milliseconds until the first result, as the median (minimum) of ${rounds} starts\n`,
);
row(["", "whole process", "in process", "import", "compile", "instantiate", "first call"]);
for (const { name } of contenders) {
  const both = (key) => (Number.isNaN(of(name, key)) ? "–" : `${cell(of(name, key))} (${cell(least(name, key))})`);
  row([
    name,
    both("whole"),
    both("total"),
    ...["load", "compile", "instantiate", "first"].map((key) => cell(of(name, key))),
  ]);
}
if (isSaved) {
  const cases = { "in process: import, compile, first call": "total", "the whole process": "whole" };
  const rows = Object.entries(cases).flatMap(([name, key]) =>
    contenders
      .map(({ name: impl }) => ({ suite: "cold", case: name, impl, unit: "ms", median: of(impl, key) }))
      .filter(({ median }) => !Number.isNaN(median)),
  );
  save("npm run bench:cold", machine("fastest build"), rows);
}
const empty = of("no library", "whole");
for (const peer of ["jax-js wasm", "tfjs-wasm", "tfjs-core wasm"]) {
  const ratio = (key, less = 0) => ((of(peer, key) - less) / (of("nabla", key) - less)).toFixed(2);
  console.log(
    `${peer} takes ${ratio("whole")}× as long as nabla for the whole process, ${ratio("whole", empty)}× after the time of a process ` +
      `without a library is subtracted, and ${ratio("total")}× in process`,
  );
}
for (const [ours, theirs] of [
  ["tfjs on nabla", "tfjs-wasm"],
  ["core on nabla", "tfjs-core wasm"],
  ...(CACHED.length ? [["tfjs on nabla", "tfjs-wasm"].map(cachedName)] : []),
]) {
  const ratio = (key) => (of(ours, key) / of(theirs, key)).toFixed(2);
  console.log(
    `${ours} takes ${ratio("whole")}× the time of ${theirs} for the whole process, and ${ratio("total")}× in process; ` +
      `importing nabla/tfjs takes ${cell(of(ours, "added"))} ms of that time`,
  );
}
console.log(
  "\nimport ends when the library is ready; compile and instantiate are parts of import or of the first call, depending on the library.",
);
console.log("\nTime of the n-th call in microseconds; the first calls run in V8's baseline tier\n");
row(["", ...CALLS.map(String)]);
for (const [name, { calls }] of Object.entries(seen))
  if (calls.length) row([name, ...CALLS.map((n) => cell(1000 * median(calls.map((series) => series[n - 1]))))]);
