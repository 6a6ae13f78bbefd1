// Runs TensorFlow.js's own tests on a backend: `npm run tfjs:suite [-- cpu|nabla] [--filter TEXT]`.
import { mkdirSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { bundleSuite } from "./bundle.mjs";

const { positionals, values } = parseArgs({ allowPositionals: true, options: { filter: { type: "string" } } });
const [backend = "nabla"] = positionals;
mkdirSync("build/tfjs", { recursive: true });
const file = `build/tfjs/suite-${backend}.mjs`;
await bundleSuite(backend, file);
const { runSuite } = await import(pathToFileURL(file).href);
const { passed, failed, skipped } = await runSuite(values.filter);
writeFileSync(`build/tfjs/results-${backend}.json`, JSON.stringify({ passed, failed, skipped }, null, 1));
for (const { name, messages } of failed) console.log(`✗ ${name}\n    ${messages[0]?.slice(0, 300)}`);
console.log(`${backend}: ${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
process.exit(0);
