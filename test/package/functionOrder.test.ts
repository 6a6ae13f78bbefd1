/** The order of a build's functions: the base, then its parts (tools/parts.mjs). It decides how well the build compresses (tools/order.mjs). */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { PART_NAMES, partsOf } from "../../tools/parts.mjs";

const order: string[] = JSON.parse(readFileSync("tools/functionOrder.json", "utf8"));
const textOf = (build: string): string => readFileSync(`build/${build}.wat`, "utf8");
const functionsOf = (build: string): string[] =>
  Array.from(textOf(build).matchAll(/^ \(func \$(\S+)/gm), ([, name]) => name!);

describe.each(["simd", "relaxed", "wide"])("the functions of %s", (build) => {
  const functions = functionsOf(build);
  const partOf = partsOf(textOf(build));
  const parts = functions.map(partOf);

  test("have different names, and the base precedes the parts, none of which is empty", () => {
    expect(new Set(functions).size).toBe(functions.length);
    expect(parts).toEqual(parts.toSorted((a, b) => a - b));
    expect([...new Set(parts)]).toEqual([-1, ...PART_NAMES.keys()]);
  });

  test.each([-1, ...PART_NAMES.keys()])("are in the order of tools/functionOrder.json in part %i", (part) => {
    const own = functions.filter((_, i) => parts[i] === part);
    const listed = order.filter((name) => own.includes(name));
    expect(own.slice(0, listed.length)).toEqual(listed);
  });
});

test("the file lists most functions of simd; otherwise run node tools/order.mjs", () => {
  const functions = new Set(functionsOf("simd"));
  expect(order.filter((name) => functions.has(name)).length).toBeGreaterThan(0.9 * order.length);
  expect(order.length).toBeGreaterThan(0.8 * functions.size);
});
