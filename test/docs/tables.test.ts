/** The tables in the documentation match the measurements of the last runs. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { PAGE, withBlock, withTables } from "../../docs/tables.mjs";

const page = readFileSync(PAGE, "utf8");

test("the benchmarks page is the output of docs/tables.mjs for docs/data", () => {
  expect(page).toBe(withTables(page));
});

test("the benchmarks page shows every file of docs/data", () => {
  for (const file of readdirSync("docs/data")) expect(page).toContain(`<!-- ${file.replace(/\.json$/, "")} -->`);
});

test("a page without a placeholder for the table is rejected", () => {
  expect(() => withBlock("# Page\n", "sizes", "| a |")).toThrow("The page has no <!-- sizes --> … <!-- /sizes -->.");
});
