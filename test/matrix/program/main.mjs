/** From a command line: prints what came of the options given there. */
import { curvature } from "./curvature.mjs";
import { fingerprint } from "./fingerprint.mjs";

const result = await fingerprint(JSON.parse(globalThis.Deno?.args[0] ?? process.argv[2]));
console.log(JSON.stringify({ ...result, curvature: await curvature() }));
