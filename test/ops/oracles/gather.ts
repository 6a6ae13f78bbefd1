/** Oracles for src/ops/index/gather.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import { type Shape, sizeOf } from "../../../src/ops/definition/value.ts";
import { around, type IndexAttributes, resized } from "../../../src/ops/index/gather.ts";
import type { Oracle, Reference } from "./oracle.ts";

type Case = [x: Shape, index: Shape, dim: number, n: number];
const SLICES: Case[] = [
  [[5], [3], 0, 5],
  [[3, 4], [6], 0, 3],
  [[3, 4], [2], 1, 4],
  [[2, 5, 7], [3], 1, 5],
  [[3, 33], [4], 0, 3],
];
const ELEMENTS: Case[] = [
  [[5], [3], 0, 5],
  [[3, 4], [3, 2], 1, 4],
  [[6, 3], [2, 3], 0, 6],
  [[2, 5, 3], [2, 4, 3], 1, 5],
  [[4], [40], 0, 4],
  [[2, 3, 5], [2, 40, 5], 1, 3],
];

const FLOAT = ["float32"] as const;

function indexOp(
  /** Whether the index has the operand's rank and selects single elements. */
  elementwise: boolean,
  /** Whether the op adds x into the result at the indices, rather than reading x at them. */
  adds: boolean,
): Oracle<IndexAttributes> {
  return {
    reference([x, index], { dim, n }) {
      const count = index!.shape[elementwise ? dim : 0]!;
      const { outer, inner } = around(x!.shape, dim);
      const shape = adds ? resized(x!.shape, dim, n) : elementwise ? index!.shape : resized(x!.shape, dim, count);
      const data = new Float64Array(sizeOf(shape));
      for (let o = 0; o < outer; o++)
        for (let j = 0; j < count; j++)
          for (let i = 0; i < inner; i++) {
            const small = (o * count + j) * inner + i;
            const large = (o * n + index!.data[elementwise ? small : j]!) * inner + i;
            if (adds) data[large]! += x!.data[small]!;
            else data[small] = x!.data[large]!;
          }
      return [{ shape, data }];
    },
    // The ops that read accept every element type. Of the ops that add, only the elementwise one accepts int32.
    samples: (adds && !elementwise ? FLOAT : [...FLOAT, "int32" as const]).flatMap((dtype) =>
      (elementwise ? ELEMENTS : SLICES).map(([x, index, dim, n]) => ({
        inputs: [
          { shape: adds ? (elementwise ? index : resized(x, dim, index[0]!)) : x, dtype },
          { shape: index, dtype: "int32" as const, low: 0, high: n },
        ],
        attributes: { dim, n },
      })),
    ),
  };
}

const oneHot: Oracle<{ classes: number }> = {
  reference([index], { classes }) {
    const data: number[] = [];
    for (let i = 0; i < index!.data.length; i++)
      for (let c = 0; c < classes; c++) data.push(Number(index!.data[i] === c));
    return [{ shape: [...index!.shape, classes], data }];
  },
  samples: [[], [0], [3], [2, 5]].map((shape) => ({
    inputs: [{ shape, dtype: "int32", low: -1, high: 8 }],
    attributes: { classes: 7 },
  })),
};

/** For one dim: counts, taps and shapes around the kernel's blocks of 4 and 16 columns. */
const INTERPOLATIONS: [x: Shape, dim: number, count: number, taps: number][] = [
  [[5], 0, 7, 2],
  [[3, 4, 1], 1, 6, 2],
  [[2, 3, 3], 1, 5, 2],
  [[2, 4, 16], 1, 3, 2],
  [[1, 3, 39], 1, 2, 4],
  [[4, 6], 1, 3, 3],
  [[2, 2, 5], 0, 4, 2],
  [[3, 2, 4], 1, 0, 2],
];

/** x interpolated along one dim, in float64. */
function interpolated({ shape, data }: Reference, dim: number, index: Reference, weight: Reference): Reference {
  const [count, taps] = index.shape as [number, number];
  const { outer, middle: n, inner } = around(shape, dim);
  const out = resized(shape, dim, count);
  const values = new Float64Array(sizeOf(out));
  for (let o = 0; o < outer; o++)
    for (let j = 0; j < count; j++)
      for (let i = 0; i < inner; i++) {
        const slice = (t: number) => data[(o * n + index.data[j * taps + t]!) * inner + i]!;
        let value = slice(0);
        for (let t = 1; t < taps; t++) value += weight.data[j * (taps - 1) + t - 1]! * (slice(t) - slice(0));
        values[(o * count + j) * inner + i] = value;
      }
  return { shape: out, data: values };
}

/** For two dims: shapes around the kernel's blocks of columns, images with one row or column, and results without rows or columns. */
const PLANES: [x: Shape, dim: number, rows: number, columns: number][] = [
  [[2, 3, 4, 3], 1, 7, 5],
  [[1, 5, 3, 16], 1, 4, 7],
  [[3, 4, 5], 1, 9, 2],
  [[2, 4, 3, 39], 1, 3, 4],
  [[6, 5], 0, 3, 17],
  [[2, 1, 1, 2], 1, 4, 3],
  [[2, 3, 2, 2], 1, 0, 3],
  [[2, 3, 2, 2], 1, 3, 0],
];

/** The indices and weights for `count` weighted sums of `taps` slices each, along a dim of size n. */
const tapsOf = (n: number, count: number, taps: number) =>
  [
    { shape: [count, taps], dtype: "int32", low: 0, high: n },
    { shape: [count, taps - 1], constant: true },
  ] as const;

const interpolation: Oracle<{ dim: number }> = {
  reference: ([x, index, weight, columns, columnWeight], { dim }) => [
    interpolated(columns ? interpolated(x!, dim + 1, columns, columnWeight!) : x!, dim, index!, weight!),
  ],
  samples: [
    ...INTERPOLATIONS.map(([shape, dim, count, taps]) => ({
      inputs: [{ shape }, ...tapsOf(shape[dim]!, count, taps)],
      attributes: { dim },
    })),
    ...PLANES.map(([shape, dim, rows, columns]) => ({
      inputs: [{ shape }, ...tapsOf(shape[dim]!, rows, 2), ...tapsOf(shape[dim + 1]!, columns, 2)],
      attributes: { dim },
    })),
  ],
};

export const gathers = {
  [Op.IndexSelect]: indexOp(false, false),
  [Op.IndexAdd]: indexOp(false, true),
  [Op.Gather]: indexOp(true, false),
  [Op.ScatterAdd]: indexOp(true, true),
  [Op.Interpolate]: interpolation,
  [Op.OneHot]: oneHot,
};
