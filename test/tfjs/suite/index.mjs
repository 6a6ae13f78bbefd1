// `npm run tfjs:suite [-- --node 24] [-- --chromium] [-- --threads 2] [-- --filter TEXT]`: prints how many of TensorFlow.js's own tests pass on
// its CPU backend and on nabla's, in both builds. With several threads, which only the runs in Node have, kernels of any size share their work.
import { parseArgs } from "node:util";
import { compare, runInChromium, runInNode } from "./run.mjs";

const { values } = parseArgs({
  options: {
    node: { type: "string" },
    chromium: { type: "boolean" },
    threads: { type: "string", default: "1" },
    filter: { type: "string" },
  },
});
const command = values.node ? ["npx", "-y", `node@${values.node}`] : [process.execPath];
const run = values.chromium
  ? (backend, init) => runInChromium(backend, init, values)
  : (backend, init) => runInNode(backend, init, { ...values, command });
const place = values.chromium ? "Chromium" : values.node ? `Node ${values.node}` : `Node ${process.version}`;

const cpu = await run("cpu");
const print = (name, { passed, failed, skipped }) =>
  console.log(`${name} in ${place}: ${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
print("cpu", cpu);
for (const { name } of cpu.failed) console.log(`  fails on cpu too: ${name}`);
for (const build of ["simd", "relaxed"]) {
  const own = await run("nabla", { build, threads: Number(values.threads) });
  print(`nabla (${build}, ${values.threads} thread${values.threads === "1" ? "" : "s"})`, own);
  const { failed, missing } = compare(cpu, own);
  for (const { name, messages } of failed) console.log(`  ✗ ${name}\n    ${messages[0]}`);
  for (const name of missing) console.log(`  does not apply: ${name}`);
  if (failed.length) process.exitCode = 1;
}
process.exit();
