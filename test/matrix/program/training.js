/** A worker that a page starts. It trains when it receives a message. */
import { fingerprint } from "./fingerprint.mjs";

addEventListener("message", async ({ data }) => postMessage(await fingerprint(data)));
