/** The steady state of a compiled step: nothing is allocated, in JavaScript or in linear memory. */
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

test("100,000 steps of the XOR net allocate less than two bytes per step on the JavaScript heap, and keep none", () => {
  const printed = execFileSync(process.execPath, ["--expose-gc", "test/package/steady.mjs"], { encoding: "utf8" });
  const { allocated, kept, linear } = JSON.parse(printed) as Record<"allocated" | "kept" | "linear", number>;
  expect(linear).toBe(0);
  expect(allocated).toBeLessThan(200_000);
  expect(kept).toBeLessThan(50_000);
});

test("the garbage collector frees the memory of compiled functions that are dropped without dispose()", () => {
  const printed = execFileSync(process.execPath, ["--expose-gc", "test/package/leak.mjs"], { encoding: "utf8" });
  const { before, after } = JSON.parse(printed) as Record<"before" | "after", number>;
  expect(after).toBeLessThan(1.5 * before);
});
