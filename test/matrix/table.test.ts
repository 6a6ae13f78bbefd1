/** The table in docs/runtimes.md is what the script writes for the recorded results of a complete run. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ENVIRONMENTS, SEEN } from "./environments.mjs";
import type { Seen } from "./project.ts";
import { PAGE, withTable } from "./table.mjs";

const seen = JSON.parse(readFileSync(SEEN, "utf8")) as Seen[];

test("seen.json contains every environment, and all available ones gave the same bits", () => {
  expect(seen.map(({ environment }) => environment)).toEqual(ENVIRONMENTS);
  for (const { environment, result, bitsEqual } of seen)
    expect(bitsEqual || result.startsWith("not available: "), environment).toBe(true);
});

test("the table of docs/runtimes.md is the output of test/matrix/table.mjs", () => {
  const page = readFileSync(PAGE, "utf8");
  expect(page).toBe(withTable(page, seen));
});
