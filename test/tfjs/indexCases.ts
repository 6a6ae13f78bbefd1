/** Cases for kernels that search, count, select or read and write at indices. */
import { type Case, DTYPES, exact, type Input, inEveryType, make, random, SHAPES } from "./inputs.ts";

/** The input with each row sorted. */
function ascending({ values, shape, dtype }: Input): Input {
  const n = shape.at(-1)!;
  const rows = Array.from({ length: values.length / n }, (_, i) => values.slice(i * n, (i + 1) * n));
  return exact(
    rows.flatMap((row) => row.sort((a, b) => a - b)),
    shape,
    dtype,
  );
}

const indices = (shape: readonly number[], n: number): Input => make(shape, "int32", { low: 0, high: n });

/** Counts of the values in vectors: with and without weights, with values that are too large, and with a negative value. */
const counts = (): Case[] =>
  (["float32", "int32"] as const)
    .flatMap((dtype) => [
      { x: make([20], "int32", { low: 0, high: 6 }), weights: make([20], dtype) },
      { x: make([20], "int32", { low: 0, high: 6 }), weights: make([0], dtype) },
      { x: make([20], "int32", { low: 0, high: 6 }), weights: make([20], dtype, { special: dtype === "float32" }) },
      { x: make([0], "int32"), weights: make([0], dtype) },
      { x: make([20], "int32"), weights: make([20], dtype) },
      { x: exact([-1], [1], "int32"), weights: make([1], dtype) },
      { x: exact([4, 5, 2 ** 31 - 1], [3], "int32"), weights: exact([2 ** 30, 1, 1], [3], dtype) },
      { x: exact([4, 4, 4], [3], "int32"), weights: exact([2 ** 30, 2 ** 30, 2 ** 30], [3], dtype) },
    ])
    .map((inputs) => ({ inputs, attrs: { size: 5, binaryOutput: true } }));

/** Segments of rows: with gaps, out of order, with an index out of range, and without any segments. */
const segments = (): Case[] =>
  [[6], [6, 3], [6, 1, 2, 1, 2, 2]].flatMap((shape) => [
    ...[
      [0, 0, 0, 0],
      [0, 0, 1, 2],
      [1, 1, 4, 6],
      [0, 2, 1, 3],
    ].flatMap((ids) => [
      ...(["float32", "int32"] as const).map((dtype) => ({
        inputs: { data: make(shape, dtype), indices: indices([4], 6), segmentIds: exact(ids, [4], "int32") },
      })),
      {
        inputs: {
          data: make(shape, "float32", { special: true }),
          indices: indices([4], 6),
          segmentIds: exact(ids, [4], "int32"),
        },
      },
    ]),
    {
      inputs: {
        data: make(shape),
        indices: exact([0, 6, 1], [3], "int32"),
        segmentIds: exact([0, 0, 1], [3], "int32"),
      },
    },
    { inputs: { data: make(shape), indices: make([0], "int32"), segmentIds: make([0], "int32") } },
    // Long segments.
    {
      inputs: {
        data: make(shape),
        indices: indices([60], 6),
        segmentIds: exact(
          Array.from({ length: 60 }, (_, i) => Math.floor(i / 25)),
          [60],
          "int32",
        ),
      },
    },
  ]);

export const indexCases: Readonly<Record<string, () => Case[]>> = {
  Cumprod: () =>
    [[7], [3, 5], [19, 4], [2, 3, 4], [2, 0, 3], [2, 1, 2, 3, 1, 2]].flatMap((shape) =>
      [0, shape.length - 1].flatMap((axis) =>
        [false, true].flatMap((exclusive) =>
          [false, true].flatMap((reverse) => [
            ...inEveryType(shape, "x", { axis, exclusive, reverse }),
            { inputs: { x: make(shape, "float32", { special: true }) }, attrs: { axis, exclusive, reverse } },
          ]),
        ),
      ),
    ),
  SearchSorted: () =>
    ["left", "right"].flatMap((side) => [
      ...(["float32", "int32"] as const).flatMap((dtype) =>
        [1, 2, 7, 33].map((n) => ({
          inputs: { sortedSequence: ascending(make([2, n], dtype)), values: make([2, 20], dtype) },
          attrs: { side },
        })),
      ),
      // Repeated elements, values that equal an element, and numbers that differ by one unit in the last place.
      {
        inputs: {
          sortedSequence: exact([-2, -1, -1, -(2 ** -149), 0, 0, 2 ** -149, 1, 1 + 2 ** -23, 2 ** 24], [1, 10]),
          values: exact([-2, -1, -1 - 2 ** -23, -(2 ** -149), -0, 0, 2 ** -149, 1, 1 + 2 ** -23, 2 ** 24], [1, 10]),
        },
        attrs: { side },
      },
      {
        inputs: {
          sortedSequence: exact([-(2 ** 31), -1, 0, 1, 2 ** 31 - 2, 2 ** 31 - 1], [1, 6], "int32"),
          values: exact([-(2 ** 31), -1, 0, 1, 2 ** 31 - 2, 2 ** 31 - 1], [1, 6], "int32"),
        },
        attrs: { side },
      },
      // Values whose type differs from the sequence's.
      {
        inputs: { sortedSequence: exact([0.5, 3, 3.5, 4], [1, 4]), values: exact([0, 3, 4], [1, 3], "int32") },
        attrs: { side },
      },
      {
        inputs: {
          sortedSequence: exact([2 ** 24, 2 ** 24 + 1, 2 ** 24 + 2], [1, 3], "int32"),
          values: exact([2 ** 24 - 1, 2 ** 24, 2 ** 24 + 2], [1, 3]),
        },
        attrs: { side },
      },
      {
        inputs: { sortedSequence: ascending(make([1, 9])), values: make([1, 9], "float32", { special: true }) },
        attrs: { side },
      },
      {
        inputs: {
          sortedSequence: exact([Number.NEGATIVE_INFINITY, 0, Number.POSITIVE_INFINITY], [1, 3]),
          values: exact([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, Number.NaN], [1, 3]),
        },
        attrs: { side },
      },
      // Not sorted.
      { inputs: { sortedSequence: make([1, 9], "float32", { special: true }), values: make([1, 9]) }, attrs: { side } },
      { inputs: { sortedSequence: make([1, 9]), values: make([1, 9]) }, attrs: { side } },
      { inputs: { sortedSequence: make([2, 0]), values: make([2, 3]) }, attrs: { side } },
      { inputs: { sortedSequence: ascending(make([2, 3])), values: make([2, 0]) }, attrs: { side } },
    ]),
  LinSpace: () =>
    [
      [0, 1, 1],
      [0, 1, 2],
      [0, 1, 1000],
      [-3, 5, 777],
      [5, -3, 500],
      [1, 1.00001, 300],
      [2, 2, 200],
      [1e-40, 1e-38, 400],
      [0, 2 ** 25, 2 ** 12 + 1],
      [2 ** 24, 2 ** 25, 300],
      [Number.NaN, 1, 4],
      [0, Number.POSITIVE_INFINITY, 4],
    ].map(([start, stop, num]) => ({ inputs: {}, attrs: { start, stop, num } })),
  Diag: () => [
    ...SHAPES.filter((shape) => shape.length).flatMap((shape) => inEveryType(shape, "x", undefined)),
    { inputs: { x: make([9], "float32", { special: true }) } },
  ],
  Bincount: counts,
  DenseBincount: () => [
    ...counts(),
    ...(["float32", "int32"] as const).flatMap((dtype) =>
      [false, true].flatMap((binaryOutput) => [
        {
          inputs: { x: make([3, 7], "int32", { low: 0, high: 6 }), weights: make([3, 7], dtype) },
          attrs: { size: 5, binaryOutput },
        },
        {
          inputs: { x: make([3, 7], "int32", { low: 0, high: 6 }), weights: make([0], dtype) },
          attrs: { size: 5, binaryOutput },
        },
      ]),
    ),
    {
      inputs: { x: make([2, 9], "int32", { low: 0, high: 3 }), weights: make([2, 9], "float32", { special: true }) },
      attrs: { size: 3, binaryOutput: true },
    },
    {
      inputs: { x: make([2, 40], "int32", { low: 0, high: 3 }), weights: make([2, 40], "float32", { special: true }) },
      attrs: { size: 3, binaryOutput: false },
    },
    {
      inputs: { x: make([2, 40], "int32", { low: -1, high: 3 }), weights: make([2, 40]) },
      attrs: { size: 3, binaryOutput: false },
    },
  ],
  SparseSegmentSum: segments,
  SparseSegmentMean: segments,
  SparseToDense: () =>
    DTYPES.flatMap((dtype) => [
      {
        inputs: { sparseIndices: indices([5], 9), sparseValues: make([5], dtype), defaultValue: make([], dtype) },
        attrs: { outputShape: [9] },
      },
      {
        inputs: { sparseIndices: indices([5, 2], 3), sparseValues: make([5], dtype), defaultValue: make([], dtype) },
        attrs: { outputShape: [3, 4] },
      },
      {
        inputs: { sparseIndices: indices([5, 2], 3), sparseValues: make([], dtype), defaultValue: make([], dtype) },
        attrs: { outputShape: [3, 4] },
      },
      {
        inputs: { sparseIndices: indices([], 4), sparseValues: make([], dtype), defaultValue: make([], dtype) },
        attrs: { outputShape: [4] },
      },
      {
        inputs: { sparseIndices: indices([5], 9), sparseValues: make([5], dtype), defaultValue: make([], dtype) },
        attrs: { outputShape: [3] },
      },
      {
        inputs: { sparseIndices: make([0], "int32"), sparseValues: make([0], dtype), defaultValue: make([], dtype) },
        attrs: { outputShape: [3] },
      },
      {
        inputs: {
          sparseIndices: indices([2, 6], 2),
          sparseValues: make([2], dtype),
          defaultValue: make([], dtype),
        },
        attrs: { outputShape: [2, 3, 2, 2, 2, 2] },
      },
    ]),
  TensorScatterUpdate: () =>
    DTYPES.flatMap((dtype) => [
      { inputs: { tensor: make([4, 3], dtype), indices: indices([5, 1], 4), updates: make([5, 3], dtype) } },
      { inputs: { tensor: make([4, 3], dtype), indices: indices([5, 2], 3), updates: make([5], dtype) } },
      { inputs: { tensor: make([4, 40], dtype), indices: indices([3, 1], 4), updates: make([3, 40], dtype) } },
      { inputs: { tensor: make([4, 3], dtype), indices: indices([2, 2, 1], 4), updates: make([2, 2, 3], dtype) } },
      { inputs: { tensor: make([4, 3], dtype), indices: make([5, 1], "int32"), updates: make([5, 3], dtype) } },
      { inputs: { tensor: make([4, 3], dtype), indices: make([0, 1], "int32"), updates: make([0, 3], dtype) } },
    ]),
  SparseFillEmptyRows: () =>
    DTYPES.flatMap((dtype) =>
      [
        [0, 0, 2, 5],
        [0, 1, 2, 3],
        [3, 1, 3, 0],
        [5, 5, 5, 5],
        [0, 1, 2, 6],
        [-1, 1, 2, 3],
      ].flatMap((rows) =>
        [4, 6, 7].map((size) => ({
          inputs: {
            indices: exact(
              rows.flatMap((row, i) => [row, i % 3]),
              [4, 2],
              "int32",
            ),
            values: make([4], dtype),
            denseShape: exact([size, 3], [2], "int32"),
            defaultValue: make([], dtype),
          },
        })),
      ),
    ),
  SparseReshape: () =>
    (
      [
        [
          [2, 3, 6],
          [9, 4],
        ],
        [
          [2, 3, 6],
          [-1, 4],
        ],
        [[2, 3, 6], [36]],
        [
          [2, 3, 6],
          [2, 2, -1, 3],
        ],
        [
          [70000, 30000],
          [30000, -1],
        ],
        [
          [2, 3, 6],
          [-1, -1],
        ],
        [
          [2, 3, 6],
          [5, -1],
        ],
        [
          [2, 3, 6],
          [-2, 18],
        ],
        [
          [2, 0, 6],
          [-1, 3],
        ],
      ] as const
    ).map(([from, to]) => ({
      inputs: {
        inputIndices: exact(
          Array.from({ length: 5 }, () => from.map((size) => Math.floor(random() * size))).flat(),
          [5, from.length],
          "int32",
        ),
        inputShape: exact(from, [from.length], "int32"),
        newShape: exact(to, [to.length], "int32"),
      },
    })),
};
