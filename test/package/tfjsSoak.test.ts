/** Long training runs with TensorFlow.js's model.fit on nabla: memory use stays constant. `npm run test:deep` runs 10,000 steps. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { runs } from "../support/runs.ts";

interface MemoryInUse {
  /** Counts and bytes of tensors, in TensorFlow.js and in nabla. */
  readonly exact: Readonly<Record<string, number>>;
  readonly heapUsed: number;
  readonly external: number;
}
interface Printed {
  readonly backend: string;
  readonly early: MemoryInUse;
  readonly late: MemoryInUse;
  readonly first: number;
  readonly last: number;
}

test.each([
  ["dense", Math.min(10_000, runs(2_000))],
  ["cnn", Math.min(2_000, runs(400))],
  ["lstm", Math.min(2_000, runs(400))],
])(
  "%s: after %i steps, there are as many tensors and bytes as after a tenth of the steps, and the heap differs only by noise",
  async (kind, steps) => {
    const args = ["--expose-gc", "test/package/tfjsSoak.mjs", kind, String(steps)];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const { backend, early, late, first, last } = JSON.parse(stdout.trim().split("\n").at(-1)!) as Printed;
    expect(backend).toBe("nabla");
    expect(last).toBeLessThan(first);
    expect(late.exact).toEqual(early.exact);
    expect(late.external).toBeLessThan(1.05 * early.external);
    expect(late.heapUsed).toBeLessThan(1.2 * early.heapUsed);
  },
);
