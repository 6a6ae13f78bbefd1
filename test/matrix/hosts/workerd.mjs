/**
 * `node workerd.mjs PROJECT FLAGS OPTIONS…` runs function.js in workerd, Cloudflare's runtime, with these compatibility flags (a list
 * in JSON), and prints its answer to each of the options. Bundled as wrangler does it: binaries are modules of their own.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";

const [project, flags, ...requests] = process.argv.slice(2);
const outdir = mkdtempSync(join(tmpdir(), "nabla-workerd-"));
await build({
  absWorkingDir: project,
  entryPoints: ["function.js"],
  bundle: true,
  format: "esm",
  platform: "neutral",
  conditions: ["workerd", "worker", "browser"],
  loader: { ".wasm": "copy" },
  outdir,
});
const binaries = readdirSync(outdir).filter((file) => file.endsWith(".wasm"));
const miniflare = new Miniflare({
  modulesRoot: outdir,
  modules: ["function.js", ...binaries].map((file) => ({
    type: file.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
    path: join(outdir, file),
  })),
  compatibilityDate: "2026-07-01",
  compatibilityFlags: JSON.parse(flags),
});
try {
  const answers = [];
  for (const body of requests) {
    const response = await miniflare.dispatchFetch("http://localhost/", { method: "POST", body });
    if (!response.ok) throw new Error(await response.text());
    answers.push(await response.json());
  }
  console.log(JSON.stringify(answers));
} finally {
  await miniflare.dispose();
  rmSync(outdir, { recursive: true });
}
