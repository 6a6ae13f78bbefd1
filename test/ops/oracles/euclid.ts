/** Oracles for src/ops/reduce/euclid.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import type { SquaresAttributes } from "../../../src/ops/reduce/euclid.ts";
import type { Oracle, Reference } from "./oracle.ts";

/** Σ x² / divisor in float64. */
function squares64(x: Reference, { outer, n, inner, divisor }: SquaresAttributes): Float64Array {
  return new Float64Array(outer * inner).map((_, to) => {
    const [o, j] = [Math.floor(to / inner), to % inner];
    let total = 0;
    for (let i = 0; i < n; i++) total += x.data[(o * n + i) * inner + j]! ** 2;
    return total / divisor;
  });
}

const samples = [
  [1, 1, 1],
  [1, 5, 1],
  [3, 33, 1],
  [0, 3, 1],
  [1, 5, 3],
  [2, 33, 5],
  [3, 70, 4],
  [2, 97, 37],
].flatMap(([outer, n, inner]) =>
  [1, 3].map((divisor) => ({
    inputs: [{ shape: [outer!, n!, inner!] }],
    attributes: { outer: outer!, n: n!, inner: inner!, divisor, shape: [outer!, 1, inner!] },
  })),
);

const norm: Oracle<SquaresAttributes> = {
  reference: ([x], attributes) => [{ shape: attributes.shape, data: squares64(x!, attributes).map(Math.sqrt) }],
  samples,
};

const squares: Oracle<SquaresAttributes> = {
  reference: ([x], attributes) => [{ shape: attributes.shape, data: squares64(x!, attributes) }],
  samples,
};

export const euclid = { [Op.Norm]: norm, [Op.Squares]: squares };
