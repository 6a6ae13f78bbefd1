/** From a command line: prints what came of the options given there. */
import { fingerprint } from "./fingerprint.mjs";

console.log(JSON.stringify(await fingerprint(JSON.parse(globalThis.Deno?.args[0] ?? process.argv[2]))));
