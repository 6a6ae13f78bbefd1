/** The file with the results of the last run. */
export const RUN = "build/matrix.json";
/** The file with the results that the table in docs/runtimes.md shows. */
export const SEEN = "test/matrix/seen.json";

/** Every environment that a complete run tests, in the order of the table. */
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
