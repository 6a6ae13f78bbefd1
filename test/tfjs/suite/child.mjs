// Runs a bundle of the suite in Node, and writes its results to a file: node child.mjs BUNDLE RESULTS BUILD FILTER.
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [bundle, results, build, filter] = process.argv.slice(2);
globalThis.NABLA_BUILD = build || undefined;
const { runSuite } = await import(pathToFileURL(bundle).href);
writeFileSync(results, JSON.stringify(await runSuite(filter)));
process.exit(0);
