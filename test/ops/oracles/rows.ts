/** Oracles for src/ops/reduce/rows.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import type { Shape } from "../../../src/ops/definition/value.ts";
import type { CrossEntropyAttributes } from "../../../src/ops/reduce/rows.ts";
import type { Oracle, Reference, Sample, TestedBy } from "./oracle.ts";

const SHAPES: Shape[] = [[1], [5], [33], [3, 4], [2, 3, 10], [4, 1], [0, 3]];

/** Calls `f` on each row along the last dim. */
function mapRows(x: Reference, f: (row: number[], index: number) => number[]): Reference {
  const n = x.shape.at(-1) ?? 1;
  const data: number[] = [];
  for (let r = 0; r * n < x.data.length; r++) data.push(...f(rowOf(x, r, n), r));
  return { shape: x.shape, data };
}
const rowOf = (x: Reference, r: number, n: number): number[] => Array.from({ length: n }, (_, i) => x.data[r * n + i]!);

function logSumExp(row: number[]): number {
  const top = Math.max(...row);
  return top + Math.log(row.reduce((total, v) => total + Math.exp(v - top), 0));
}
const dot = (a: number[], b: number[]): number => a.reduce((total, v, i) => total + v * b[i]!, 0);

const rowOp = (f: (row: number[]) => number[]): Oracle<null> => ({
  reference: ([x]) => [mapRows(x!, f)],
  samples: SHAPES.map((shape) => ({ inputs: [{ shape }], attributes: null })),
});

const rowGrad = (f: (dy: number[], y: number[]) => number[]): Oracle<null> => ({
  reference: ([dy, y]) => [mapRows(dy!, (row, r) => f(row, rowOf(y!, r, row.length)))],
  samples: SHAPES.map((shape) => ({ inputs: [{ shape }, { shape, low: -1.5, high: 1 }], attributes: null })),
});

/** @param probabilities returns one row's target as a probability for each class */
const crossEntropy = (
  probabilities: (target: Reference, row: number, classes: number, attributes: CrossEntropyAttributes) => number[],
  samples: Sample<CrossEntropyAttributes>[],
): Oracle<CrossEntropyAttributes> => ({
  reference([logits, target], attributes) {
    const loss: number[] = [];
    const lse: number[] = [];
    mapRows(logits!, (row, r) => {
      const top = Math.max(...row);
      const total = logSumExp(row);
      const p = probabilities(target!, r, row.length, attributes);
      lse.push(...(p.some((v) => v !== 0) ? [top, total - top] : [0, 0]));
      loss.push(p.reduce((sum, v, i) => (v === 0 ? sum : sum + v * (total - row[i]!)), 0));
      return row;
    });
    return [
      { shape: [loss.length], data: loss },
      { shape: [loss.length, 2], data: lse },
    ];
  },
  samples,
});

const SIZES = [
  [1, 1],
  [3, 4],
  [5, 10],
  [2, 33],
];
const hard = crossEntropy(
  (target, row, classes, { ignoreIndex }) =>
    Array.from({ length: classes }, (_, i) => Number(target.data[row] === i && target.data[row] !== ignoreIndex)),
  [...SIZES, [0, 3]].map(([rows, classes]) => ({
    inputs: [{ shape: [rows!, classes!] }, { shape: [rows!], dtype: "int32", low: 0, high: classes! }],
    attributes: { ignoreIndex: 1 },
  })),
);
const soft = crossEntropy(
  rowOf,
  SIZES.map((shape) => ({ inputs: [{ shape }, { shape, low: 0, high: 1 }], attributes: { ignoreIndex: -100 } })),
);
/** Marks ops that compute the gradient of another op, which has an oracle. */
const gradient: TestedBy = { testedBy: "test/ops/ops.test.ts" };

export const rows = {
  [Op.Softmax]: rowOp((row) => row.map((v) => Math.exp(v - logSumExp(row)))),
  [Op.SoftmaxGrad]: rowGrad((dy, y) => y.map((v, i) => v * (dy[i]! - dot(dy, y)))),
  [Op.LogSoftmax]: rowOp((row) => row.map((v) => v - logSumExp(row))),
  [Op.LogSoftmaxGrad]: rowGrad((dy, y) => dy.map((v, i) => v - Math.exp(y[i]!) * dy.reduce((a, b) => a + b, 0))),
  [Op.CrossEntropy]: hard,
  [Op.CrossEntropyGrad]: gradient,
  [Op.SoftCrossEntropy]: soft,
  [Op.SoftCrossEntropyGrad]: gradient,
};
