/**
 * `node workerd.mjs PROJECT FLAGS OPTIONS…` runs function.js in workerd, Cloudflare's runtime, with the compatibility
 * flags FLAGS (a JSON array), sends it a request with each of the OPTIONS, and prints the responses.
 */
import { rmSync } from "node:fs";
import { Miniflare } from "miniflare";
import { bundle } from "./bundle.mjs";

const [project, flags, ...requests] = process.argv.slice(2);
const { modulesRoot, modules } = await bundle(project, "function.js");
const miniflare = new Miniflare({
  modulesRoot,
  modules,
  compatibilityDate: "2026-07-01",
  compatibilityFlags: JSON.parse(flags),
});
try {
  const responses = [];
  for (const body of requests) {
    const response = await miniflare.dispatchFetch("http://localhost/", { method: "POST", body });
    if (!response.ok) throw new Error(await response.text());
    responses.push(await response.json());
  }
  console.log(JSON.stringify(responses));
} finally {
  await miniflare.dispose();
  rmSync(modulesRoot, { recursive: true });
}
