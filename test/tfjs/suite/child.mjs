// Runs a bundle of the suite in Node, and writes its results to a file: node child.mjs BUNDLE RESULTS OPTIONS FILTER.
// OPTIONS are those of nabla's init, as JSON.
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [bundle, results, options, filter] = process.argv.slice(2);
globalThis.NABLA_OPTIONS = JSON.parse(options);
const { runSuite } = await import(pathToFileURL(bundle).href);
writeFileSync(results, JSON.stringify(await runSuite(filter)));
process.exit(0);
