/** What is shipped of nabla/serverless: one file that needs nothing but nabla, types that need nothing at all, and licences. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const folder = "dist/src/serverless";
const read = (file: string): string => readFileSync(join(folder, file), "utf8");

test("the bundle imports nabla alone", () => {
  expect(readdirSync(folder).filter((file) => file.endsWith(".js"))).toEqual(["index.js"]);
  const imported = Array.from(
    read("index.js").matchAll(/(?:from|import\()\s*["'`]([^"'`]+)["'`]/g),
    ([, name]) => name,
  );
  expect(new Set(imported)).toEqual(new Set(["nabla", "nabla/formats"]));
});
test("its types speak of no other package", () => {
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".d.ts")))
    expect(read(file), file).not.toMatch(/hono|valibot|from "node:/);
});
test("the licences of what is bundled stand beside it", () => {
  expect(read("LICENSES")).toMatch(/^hono [\d.]+ \(MIT\)\n[\s\S]+^valibot [\d.]+ \(MIT\)\n/m);
});
test("it knows its version", () => {
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  expect(read("index.js")).toMatch(new RegExp(`["'\`]${version.replaceAll(".", "\\.")}["'\`]`));
});
