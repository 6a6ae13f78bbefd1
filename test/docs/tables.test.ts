/** The tables of the documentation are what the last runs measured. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { PAGE, withBlock, withTables } from "../../docs/tables.mjs";

const page = readFileSync(PAGE, "utf8");

test("the benchmarks page is what docs/tables.mjs writes from docs/data", () => {
  expect(page).toBe(withTables(page));
});

test("the benchmarks page shows every file of docs/data", () => {
  for (const file of readdirSync("docs/data")) expect(page).toContain(`<!-- ${file.replace(/\.json$/, "")} -->`);
});

test("a page without the place for a table is refused", () => {
  expect(() => withBlock("# Page\n", "sizes", "| a |")).toThrow("The page has no <!-- sizes --> … <!-- /sizes -->.");
});
