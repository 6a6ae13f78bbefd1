/** The built nabla/serverless: one file that imports only nabla, types that import no other package, and licences. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const folder = "dist/src/serverless";
const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
const read = (file: string): string => readFileSync(join(folder, file), "utf8");

test("serverless: is one bundle, which imports only nabla", () => {
  expect(files.filter((file) => file.endsWith(".js"))).toEqual(["index.js"]);
  const imported = Array.from(
    read("index.js").matchAll(/(?:from|import\()\s*["'`]([^"'`]+)["'`]/g),
    ([, name]) => name,
  );
  expect(new Set(imported)).toEqual(new Set(["nabla", "nabla/formats"]));
});
test("serverless: its types need no other package", () => {
  for (const file of files.filter((name) => name.endsWith(".d.ts")))
    expect(read(file), file).not.toMatch(/hono|valibot|from "node:/);
});
test("serverless: includes the licences of the bundled packages", () => {
  expect(read("LICENSES")).toMatch(/^hono [\d.]+ \(MIT\)\n[\s\S]+^valibot [\d.]+ \(MIT\)\n/m);
});
test("serverless: contains its version", () => {
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  expect(read("index.js")).toMatch(new RegExp(`["'\`]${version.replaceAll(".", "\\.")}["'\`]`));
});
