/**
 * Training that exceeds its memory limit: failed steps change nothing, and retries are bit-identical to an
 * uninterrupted run.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";

interface Run {
  readonly failures: number;
  readonly changes: number;
  readonly tensors: number;
  readonly end: { losses: number[]; state: string };
}

async function train(kind: string, memory: "empty" | "filled"): Promise<Run> {
  const script = ["test/core/limit.mjs", kind, process.env.NABLA_BUILD!, memory];
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, ...script], {
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(stdout) as Run;
}

test.each(["eager", "compiled"])(
  "%s steps that exceed init({ memoryLimit }) change nothing and can be retried",
  async (kind) => {
    const [undisturbed, retried] = await Promise.all([train(kind, "empty"), train(kind, "filled")]);
    expect(undisturbed.failures).toBe(0);
    expect(retried.failures).toBeGreaterThan(20);
    expect(retried.changes).toBe(0);
    expect(retried.end).toEqual(undisturbed.end);
    expect(retried.tensors).toBeLessThanOrEqual(undisturbed.tensors);
    expect(new Set(retried.end.losses).size).toBe(3);
  },
);
