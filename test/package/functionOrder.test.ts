/** The order of a build's functions, which decides how well the build compresses (tools/order.mjs). */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const order: string[] = JSON.parse(readFileSync("tools/functionOrder.json", "utf8"));
const functionsOf = (build: string): string[] =>
  Array.from(readFileSync(`build/${build}.wat`, "utf8").matchAll(/^ \(func \$(\S+)/gm), ([, name]) => name!);

test.each(["simd", "relaxed", "wide"])("the functions of %s are in the order of tools/functionOrder.json", (build) => {
  const functions = functionsOf(build);
  expect(new Set(functions).size).toBe(functions.length);
  const listed = functions.filter((name) => order.includes(name));
  expect(functions.slice(0, listed.length)).toEqual(order.filter((name) => functions.includes(name)));
});

test("the file lists most functions of simd; otherwise run node tools/order.mjs", () => {
  const functions = new Set(functionsOf("simd"));
  expect(order.filter((name) => functions.has(name)).length).toBeGreaterThan(0.9 * order.length);
  expect(order.length).toBeGreaterThan(0.8 * functions.size);
});
