/** A worker of a page: trains when it is told to. */
import { fingerprint } from "./fingerprint.mjs";

addEventListener("message", async ({ data }) => postMessage(await fingerprint(data)));
