/** Bundles Workers as wrangler does: WebAssembly binaries become separate modules. */
import { mkdtempSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

/**
 * Bundles a Worker. Returns the bundle's folder, which the caller must remove, and its modules in miniflare's format,
 * with the entry first.
 */
export async function bundle(project, entry) {
  const modulesRoot = mkdtempSync(join(tmpdir(), "nabla-worker-"));
  await build({
    absWorkingDir: project,
    entryPoints: { worker: entry },
    bundle: true,
    format: "esm",
    platform: "neutral",
    conditions: ["workerd", "worker", "browser"],
    loader: { ".wasm": "copy" },
    outdir: modulesRoot,
  });
  const binaries = readdirSync(modulesRoot).filter((file) => file.endsWith(".wasm"));
  const modules = ["worker.js", ...binaries].map((file) => ({
    type: file.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
    path: join(modulesRoot, file),
  }));
  return { modulesRoot, modules };
}
