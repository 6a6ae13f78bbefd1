/**
 * `node worker.mjs PROJECT ENTRY PORT` serves a Worker by workerd, Cloudflare's runtime, bundled as wrangler does it: binaries are
 * modules of their own. Prints where; runs until it is killed.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";

const [project, entry, port] = process.argv.slice(2);
const outdir = mkdtempSync(join(tmpdir(), "nabla-worker-"));
await build({
  absWorkingDir: project,
  entryPoints: { worker: entry },
  bundle: true,
  format: "esm",
  platform: "neutral",
  conditions: ["workerd", "worker", "browser"],
  loader: { ".wasm": "copy" },
  outdir,
});
const binaries = readdirSync(outdir).filter((file) => file.endsWith(".wasm"));
const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: Number(port),
  modulesRoot: outdir,
  modules: ["worker.js", ...binaries].map((file) => ({
    type: file.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
    path: join(outdir, basename(file)),
  })),
  compatibilityDate: "2026-07-01",
  compatibilityFlags: ["enable_request_signal"],
});
// On SIGTERM miniflare ends workerd, a process of its own, and this one.
process.once("exit", () => rmSync(outdir, { recursive: true }));
console.log((await miniflare.ready).href);
