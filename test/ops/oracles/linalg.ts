/** Oracles for src/ops/matrix/linalg.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import type { Shape } from "../../../src/ops/definition/value.ts";
import type { SolveAttributes } from "../../../src/ops/matrix/linalg.ts";
import type { Oracle, Reference, Sample } from "./oracle.ts";

/** A batch of matrices with access to elements. */
interface Matrix64 {
  n: number;
  count: number;
  at: (m: number, i: number, j: number) => number;
}
function matrices64({ shape, data }: Reference): Matrix64 {
  const n = shape.at(-1)!;
  return { n, count: n ? data.length / (n * n) : 0, at: (m, i, j) => data[(m * n + i) * n + j]! };
}
const SQUARES: Shape[] = [
  [1, 1],
  [3, 3],
  [2, 4, 4],
  [2, 2, 2, 2],
  [0, 3, 3],
];

const cholesky: Oracle<null> = {
  reference([a]) {
    const { n, count, at } = matrices64(a!);
    const l = new Float64Array(a!.data.length);
    for (let m = 0; m < count; m++)
      for (let i = 0; i < n; i++)
        for (let j = 0; j <= i; j++) {
          let sum = (at(m, i, j) + at(m, j, i)) / 2;
          for (let k = 0; k < j; k++) sum -= l[(m * n + i) * n + k]! * l[(m * n + j) * n + k]!;
          l[(m * n + i) * n + j] = i === j ? Math.sqrt(sum) : sum / l[(m * n + j) * n + j]!;
        }
    return [{ shape: a!.shape, data: l }];
  },
  // The diagonal dominates, so the matrix is well conditioned.
  samples: SQUARES.map((shape) => ({ inputs: [{ shape, low: -0.3, high: 0.3, diagonal: [2] }], attributes: null })),
};

function solveSamples(): Sample<SolveAttributes>[] {
  const sizes: [batch: number[], n: number, columns: number][] = [
    [[], 3, 2],
    [[2], 4, 5],
    [[], 1, 1],
    [[0], 2, 2],
    [[2], 3, 0],
  ];
  return [0, 1, 2, 3, 4, 5, 6, 7].flatMap((bits) => {
    const attributes = { upper: (bits & 1) > 0, transposed: (bits & 2) > 0, unit: (bits & 4) > 0 };
    return sizes.map(([batch, n, columns]) => ({
      inputs: [{ shape: [...batch, n, n], low: -0.8, high: 0.8, diagonal: [1.5] }, { shape: [...batch, n, columns] }],
      attributes,
    }));
  });
}

const triangularSolve: Oracle<SolveAttributes> = {
  reference([a, b], { upper, transposed, unit }) {
    const { n, count, at } = matrices64(a!);
    const columns = b!.shape.at(-1)!;
    const x = new Float64Array(b!.data.length);
    const forward = upper === transposed;
    for (let m = 0; m < count; m++)
      for (let c = 0; c < columns; c++)
        for (let s = 0; s < n; s++) {
          const i = forward ? s : n - 1 - s;
          let sum = b!.data[(m * n + i) * columns + c]!;
          for (let r = 0; r < s; r++) {
            const k = forward ? r : n - 1 - r;
            sum -= (transposed ? at(m, k, i) : at(m, i, k)) * x[(m * n + k) * columns + c]!;
          }
          x[(m * n + i) * columns + c] = unit ? sum : sum / at(m, i, i);
        }
    return [{ shape: b!.shape, data: x }];
  },
  samples: solveSamples(),
};

const eigh: Oracle<null> = {
  reference([a]) {
    const { n, count, at } = matrices64(a!);
    const [values, vectors] = [new Float64Array(count * n), new Float64Array(count * n * n)];
    for (let m = 0; m < count; m++) {
      const s = Array.from({ length: n }, (_, i) =>
        Array.from({ length: n }, (__, j) => (at(m, i, j) + at(m, j, i)) / 2),
      );
      const v = s.map((row, i) => row.map((_, j) => Number(i === j)));
      for (let sweep = 0; sweep < 40; sweep++)
        for (let p = 0; p < n; p++)
          for (let q = p + 1; q < n; q++) {
            const angle = 0.5 * Math.atan2(2 * s[p]![q]!, s[q]![q]! - s[p]![p]!);
            const [c, d] = [Math.cos(angle), Math.sin(angle)];
            const turn = (x: number, y: number): [number, number] => [c * x - d * y, d * x + c * y];
            for (const rows of [s, v]) for (const row of rows) [row[p], row[q]] = turn(row[p]!, row[q]!);
            for (let k = 0; k < n; k++) [s[p]![k], s[q]![k]] = turn(s[p]![k]!, s[q]![k]!);
          }
      const order = s.map((_, i) => i).sort((i, j) => s[i]![i]! - s[j]![j]!);
      order.forEach((from, to) => {
        values[m * n + to] = s[from]![from]!;
        const column = v.map((row) => row[from]!);
        const sign = Math.sign(column.reduce((top, e) => (Math.abs(e) > Math.abs(top) ? e : top), 0));
        column.forEach((e, k) => (vectors[(m * n + k) * n + to] = sign * e));
      });
    }
    return [
      { shape: a!.shape.slice(0, -1), data: values },
      { shape: a!.shape, data: vectors },
    ];
  },
  // The eigenvalues are far apart (about 0, 3, 6, …), because derivatives grow as they get closer.
  samples: SQUARES.map((shape) => ({
    inputs: [{ shape, low: -0.5, high: 0.5, diagonal: [0, 3, 6, 9] }],
    attributes: null,
  })),
};

const argSort: Oracle<{ descending: boolean }> = {
  reference([x], { descending }) {
    const n = x!.shape.at(-1) ?? 1;
    const data = new Float64Array(x!.data.length);
    for (let r = 0; r * n < data.length; r++) {
      const row = Array.from({ length: n }, (_, i) => x!.data[r * n + i]!);
      const order = row.map((_, i) => i).sort((i, j) => (descending ? -1 : 1) * (row[i]! - row[j]!) || i - j);
      data.set(order, r * n);
    }
    return [{ shape: x!.shape, data }];
  },
  samples: [[1], [2], [7], [3, 33], [2, 2, 64], [0, 4], [3, 1000]].flatMap((shape) =>
    [false, true].map((descending) => ({ inputs: [{ shape }], attributes: { descending } })),
  ),
};

export const linalg = {
  [Op.Cholesky]: cholesky,
  [Op.TriangularSolve]: triangularSolve,
  [Op.Eigh]: eigh,
  [Op.ArgSort]: argSort,
};
