/** Loops of 100,000 steps that never return to the event loop, with a JavaScript heap of 32 MB. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

type MemoryInUse = Record<"heapUsed" | "arrayBuffers" | "bytes" | "capacity" | "total", number>;

async function soak(kind: string): Promise<void> {
  const flags = ["--expose-gc", "--max-old-space-size=32"];
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, "test/package/soak.mjs", kind, "100000"]);
  const { early, late, wrong } = JSON.parse(stdout) as { early: MemoryInUse; late: MemoryInUse; wrong: number };
  expect(wrong).toBe(0);
  for (const [what, value] of Object.entries(late)) {
    expect(value, `${what} after 100,000 steps`).toBeLessThanOrEqual(1.2 * early[what as keyof MemoryInUse]);
  }
}

describe("after 100,000 steps, heap, buffers, linear memory and their sum are at most 1.2 times those after 10,000", () => {
  const loops = {
    disposed: "minimize(…).dispose()",
    dropped: "the same without dispose()",
    pytorch: "zeroGrad, forward, backward, step, without a scope; logits are readable after backward",
    compiled: "a compiled step on new random tensors",
    inference: "forward passes whose results are dropped",
    failing: "steps that throw",
  };
  test.concurrent.each(Object.entries(loops))("%s: %s", (kind) => soak(kind));
});
