/** The tables in the documentation match the measurements from the last runs. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CONCEPTS_PAGE, PAGE, withBlock, withConcepts, withTables } from "../../docs/tables.mjs";
import { concepts } from "../../lab/concepts.ts";
import { kernelsFile } from "../../tools/tfjsKernels.mjs";

const page = readFileSync(PAGE, "utf8");

test("the benchmarks page is the output of docs/tables.mjs for docs/data", () => {
  expect(page).toBe(withTables(page));
});

test("the benchmarks page shows every file of docs/data", () => {
  for (const file of readdirSync("docs/data")) expect(page).toContain(`<!-- ${file.replace(/\.json$/, "")} -->`);
});

test("the concepts page is the output of docs/tables.mjs for lab/concepts.ts", () => {
  const text = readFileSync(CONCEPTS_PAGE, "utf8");
  expect(text).toBe(withConcepts(text, concepts));
});

test("the table of TensorFlow.js's kernels is the output of `npm run generate`", async () => {
  const text = readFileSync("src/tfjs/KERNELS.md", "utf8");
  expect(text).toBe(await kernelsFile("."));
  expect(text).toMatch(/^\| `BatchMatMul` \| float32 \|/m);
  expect(text).toMatch(/^\| `FFT` \| – \| all \|$/m);
});

test("a page without a placeholder for the table is rejected", () => {
  expect(() => withBlock("# Page\n", "sizes", "| a |")).toThrow("The page has no <!-- sizes --> … <!-- /sizes -->.");
});
