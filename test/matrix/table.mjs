/**
 * `node test/matrix/table.mjs` stores the results of the last run of the matrix, which must be complete, in seen.json, and writes them
 * to the table in docs/runtimes.md.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { withBlock } from "../../docs/tables.mjs";
import { ENVIRONMENTS, RUN, SEEN } from "./environments.mjs";

/** The page with the table. */
export const PAGE = "docs/runtimes.md";

/** The results as a table. */
export function table(seen) {
  const rows = seen.map(({ environment, version, result, bitsEqual }) =>
    [environment, version || "–", result, bitsEqual ? "yes" : "–"].join(" | "),
  );
  return ["environment | version | tested | same bits", "|---|---|---|---|", ...rows]
    .map((row, i) => (i === 1 ? row : `| ${row} |`))
    .join("\n");
}

/** The page's text, with a table of these results in place of its own table. */
export const withTable = (page, seen) => withBlock(page, "matrix", table(seen));

if (process.argv[1] === import.meta.filename) {
  const run = JSON.parse(readFileSync(RUN, "utf8"));
  const seen = ENVIRONMENTS.map((name) => run.find(({ environment }) => environment === name));
  const missing = ENVIRONMENTS.filter((_, i) => !seen[i]);
  if (missing.length) {
    throw new Error(`${RUN} has no results for ${missing.join(", ")}. Run npm run matrix until all tests pass.`);
  }
  writeFileSync(SEEN, `${JSON.stringify(seen, null, 2)}\n`);
  writeFileSync(PAGE, withTable(readFileSync(PAGE, "utf8"), seen));
}
