/**
 * Large reductions, split into chunks across threads, are correct and bit-identical however the work is split.
 */
import { manualSeed, rand, type Tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { Op } from "../../assembly/opcodes.ts";
import { type AnyOp, applyAll } from "../../src/ops/definition/op.ts";
import { table } from "../../src/ops/table.ts";
import { addressOf, SplitEncoder } from "../support/oracle.ts";

/**
 * [outer, n, inner]: a single sum, full and partial last chunks, columns that do and do not fill vectors, and several
 * outer blocks.
 */
const SHAPES = [
  [1, 65536, 1],
  [1, 70001, 1],
  [3, 66000, 1],
  [1, 20000, 3],
  [2, 9001, 17],
  [1, 4100, 100],
] as const;

/** The reduction in float64, as [outer, inner]. */
function reference(code: Op, x: Float32Array, [outer, n, inner]: readonly [number, number, number]): number[] {
  const pick = code === Op.Max ? Math.max : code === Op.Min ? Math.min : (a: number, b: number) => a + b;
  return Array.from({ length: outer * inner }, (_, at) => {
    const [o, j] = [Math.floor(at / inner), at % inner];
    let result = x[o * n * inner + j]!;
    for (let i = 1; i < n; i++) result = pick(result, x[(o * n + i) * inner + j]!);
    return code === Op.Sum ? result / n : result;
  });
}

describe.each([
  ["sum", Op.Sum],
  ["max", Op.Max],
  ["min", Op.Min],
] as const)("%s is correct and does not depend on the shares", (_, code) => {
  const op = table[code] as AnyOp;
  test.each(SHAPES)("for [%i, %i, %i]", (...shape) => {
    tidy(() => {
      const [outer, n, inner] = shape;
      manualSeed(6);
      const x = rand([...shape]).sub(0.4);
      const attributes = {
        outer,
        n,
        inner,
        divisor: code === Op.Sum ? n : 1,
        reverse: false,
        shape: [outer, 1, inner],
      };
      const whole = applyAll(op, [x], attributes)[0] as Tensor;
      const expected = reference(code, x.data as Float32Array, shape);
      Array.from(whole.data).forEach((y, i) => expect(Math.abs(y - expected[i]!)).toBeLessThanOrEqual(1e-7));
      for (const threads of [2, 3, 7]) {
        const y = whole.clone();
        y.live().fill(Number.NaN);
        const address = (value: unknown) => addressOf(value === whole ? y : (value as Tensor));
        op.encode(new SplitEncoder(threads), { inputs: [x], outputs: [whole], attributes, address });
        expect(y.data, `${threads} threads`).toEqual(whole.data);
      }
    });
  });
});

test("a NaN at any position is found", () => {
  for (const at of [0, 4095, 4096, 69999]) {
    tidy(() => {
      const x = rand([70001]);
      x.live()[at] = Number.NaN;
      for (const y of [x.max(), x.min(), x.sum()]) expect(y.item()).toBeNaN();
    });
  }
});
