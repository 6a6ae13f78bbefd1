/** TensorFlow.js's own tests: everything that passes on its CPU backend passes on nabla, in both builds, in Node and Chromium. */
import { beforeAll, describe, expect, test } from "vitest";
import { compare, type Results, runInChromium, runInNode } from "./suite/run.mjs";

/** The tests that TensorFlow.js runs only on the backend named "cpu". test/tfjs/backend.test.ts has equivalent tests for nabla. */
const ONLY_CPU = [
  "Switching cpu backends BACKEND {} Move data from cpu1 to cpu2 backend",
  "Switching cpu backends BACKEND {} can execute op with data from mixed backends",
];

describe.each([
  ["Node", runInNode],
  ["Chromium", runInChromium],
] as const)("%s", (place, run) => {
  let cpu: Results;
  beforeAll(async () => {
    cpu = await run("cpu");
  }, 600_000);

  test("the CPU backend passes its own tests", () => {
    // These tests read files that the npm package does not contain.
    expect(cpu.failed.filter(({ name }) => !name.startsWith("http-load cpu {} JSON model"))).toEqual([]);
    expect(cpu.passed.length).toBeGreaterThan(4200);
  });
  test.each([
    ["build simd, which is the deterministic one", { build: "simd" }],
    ["build relaxed", { build: "relaxed" }],
    // Several threads are tested only in Node, because pages need special headers to use them.
    ...(place === "Node" ? [["two threads that share all work", { build: "simd", threads: 2 }] as const] : []),
  ] as const)("%s", { timeout: 600_000 }, async (_, init) => {
    const own = await run("nabla", init);
    expect(compare(cpu, own)).toEqual({ failed: [], missing: ONLY_CPU, added: [] });
    expect(own.passed.length).toBe(cpu.passed.length - ONLY_CPU.length);
  });
});
