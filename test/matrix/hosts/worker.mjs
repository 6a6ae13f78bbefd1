/**
 * `node worker.mjs PROJECT ENTRY PORT` serves the Worker ENTRY on PORT in workerd, Cloudflare's runtime. Prints the
 * address and runs until it is killed.
 */
import { rmSync } from "node:fs";
import { Miniflare } from "miniflare";
import { bundle } from "./bundle.mjs";

const [project, entry, port] = process.argv.slice(2);
const { modulesRoot, modules } = await bundle(project, entry);
const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: Number(port),
  modulesRoot,
  modules,
  bindings: { TRAIN_TOKEN: process.env.TRAIN_TOKEN },
  compatibilityDate: "2026-07-01",
  compatibilityFlags: ["enable_request_signal"],
});
// On SIGTERM, miniflare ends both workerd, which is a separate process, and this process.
process.once("exit", () => rmSync(modulesRoot, { recursive: true }));
console.log((await miniflare.ready).href);
