/** Trains with the options on the command line, and prints the result. */
import { curvature } from "./curvature.mjs";
import { fingerprint } from "./fingerprint.mjs";
import { resume } from "./resume.mjs";

const options = JSON.parse(globalThis.Deno?.args[0] ?? process.argv[2]);
const result = await fingerprint(options);
console.log(JSON.stringify({ ...result, curvature: await curvature(), resumed: await resume(options) }));
