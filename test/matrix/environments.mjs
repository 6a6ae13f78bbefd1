/** Where the last run's record lies, where the table of docs/runtimes.md comes from, and its rows. */
export const RUN = "build/matrix.json";
export const SEEN = "test/matrix/seen.json";

/** Every environment that a whole run sees, in the table's order. */
export const ENVIRONMENTS = [
  "Node 20",
  "Node 22",
  "Node 24",
  "Node 26",
  "Deno",
  "Bun",
  "workerd, in miniflare",
  "edge-light, in @edge-runtime/vm",
  "Chromium",
  "Firefox",
  "WebKitGTK",
  "Vite, dev",
  "Vite, build",
  "webpack",
  "esbuild",
  "rollup",
  "bun build",
];
