/** Cases of kernels that search, count, select or read and write at indices, and of image kernels that move pixels. */
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

/** Counts of vectors: with and without weights, with values that are too large, and with a negative value. */
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

/** Segments of rows: with gaps, one that is not in order, an index that is out of range, and none. */
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

/** Boxes that overlap: with equal scores, swapped corners, without area, and with NaN and ±∞. */
function suppressions(): Case[] {
  const boxes = (n: number): Input =>
    exact(
      Array.from({ length: n }, () => {
        const [y, x] = [random(), random()];
        const [height, width] = [random() / 2, random() < 0.1 ? 0 : random() / 2];
        return random() < 0.5 ? [y, x, y + height, x + width] : [y + height, x, y, x + width];
      })
        .flat()
        .map(Math.fround),
      [n, 4],
    );
  return [0.1, 0.5, 1].flatMap((iouThreshold) =>
    [Number.NEGATIVE_INFINITY, 0, 0.4].flatMap((scoreThreshold) =>
      [
        { boxes: boxes(40), scores: make([40], "float32", { low: 0, high: 1 }) },
        { boxes: boxes(40), scores: make([40], "int32", { low: 0, high: 3 }) },
        { boxes: boxes(30), scores: exact(new Array(30).fill(0.5), [30]) },
        { boxes: boxes(9), scores: make([9], "float32", { special: true }) },
        { boxes: make([9, 4], "float32", { special: true }), scores: make([9], "float32", { low: 0, high: 1 }) },
        { boxes: make([0, 4]), scores: make([0]) },
      ].map(({ boxes, scores }) => ({
        inputs: { boxes, scores: exact(scores.values, scores.shape) },
        attrs: { maxOutputSize: 12, iouThreshold, scoreThreshold },
      })),
    ),
  );
}

/** A dilation of five channels with sums that differ by less than float32 tells apart, and sums below the least result. */
const closeSums = (): Case => {
  const x = Array.from({ length: 4 * 4 * 5 }, () =>
    random() < 0.2 ? -1e17 : Math.fround(1e8 * (1 + random() / 2 ** 24)),
  );
  const filter = Array.from({ length: 2 * 3 * 5 }, () => Math.fround(4 * random()));
  return {
    inputs: { x: exact(x, [1, 4, 4, 5]), filter: exact(filter, [2, 3, 5]), dy: make([1, 4, 4, 5]) },
    attrs: { strides: 1, pad: "same", dilations: 1 },
  };
};

/** Dilations with the gradient of their result. */
const dilations = (): Case[] => [
  closeSums(),
  ...[
    { filter: [3, 3], strides: 1, pad: "same", dilations: 1, size: [7, 6] },
    { filter: [3, 3], strides: 1, pad: "valid", dilations: 1, size: [5, 4] },
    { filter: [2, 3], strides: [2, 1], pad: "valid", dilations: 1, size: [3, 4] },
    { filter: [2, 2], strides: 2, pad: "same", dilations: 1, size: [4, 3] },
    { filter: [3, 2], strides: 1, pad: "same", dilations: 2, size: [7, 6] },
    { filter: [1, 1], strides: 1, pad: "same", dilations: 1, size: [7, 6] },
    { filter: [7, 6], strides: 1, pad: "valid", dilations: 1, size: [1, 1] },
  ].flatMap(({ filter, size, ...attrs }) =>
    [
      make([2, 7, 6, 3]),
      make([2, 7, 6, 3], "float32", { special: true }),
      // Equal sums.
      exact(make([2, 7, 6, 3], "int32").values, [2, 7, 6, 3]),
      make([2, 7, 6, 3], "int32"),
    ].map((x) => ({
      inputs: {
        x,
        filter: exact(make([...filter, 3], "int32").values, [...filter, 3], x.dtype),
        dy: make([2, ...size, 3], x.dtype),
      },
      attrs,
    })),
  ),
];

/** Gradients of resized images: larger, smaller, and to one pixel. */
const resizedGradients = (): Case[] =>
  [
    [5, 9],
    [8, 12],
    [3, 2],
    [1, 1],
    [4, 6],
  ].flatMap((size) =>
    [false, true].flatMap((alignCorners) => [
      { inputs: { images: make([1, 4, 6, 3]), dy: make([1, ...size, 3]) }, attrs: { alignCorners } },
      { inputs: { images: make([2, 4, 6, 3]), dy: make([2, ...size, 3]) }, attrs: { alignCorners } },
      {
        inputs: { images: make([1, 4, 6, 3]), dy: make([1, ...size, 3], "float32", { special: true }) },
        attrs: { alignCorners },
      },
      { inputs: { images: make([0, 4, 6, 3]), dy: make([0, ...size, 3]) }, attrs: { alignCorners } },
    ]),
  );

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
      // Equal elements, the values themselves, and numbers that differ by one unit in the last place.
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
  NonMaxSuppressionV3: suppressions,
  NonMaxSuppressionV4: () =>
    suppressions().flatMap(({ inputs, attrs }) =>
      [false, true].map((padToMaxOutputSize) => ({ inputs, attrs: { ...attrs, padToMaxOutputSize } })),
    ),
  NonMaxSuppressionV5: () =>
    suppressions().flatMap(({ inputs, attrs }) =>
      [0, 0.3, 1].map((softNmsSigma) => ({ inputs, attrs: { ...attrs, softNmsSigma } })),
    ),
  RotateWithOffset: () =>
    [0, 0.3, -2, Math.PI].flatMap((radians) =>
      [0, 7, [1, 2, 3]].flatMap((fillValue) =>
        [0.5, [0.2, 0.9]].flatMap((center) => [
          ...inEveryType([2, 5, 4, 4], "image", { radians, fillValue, center }),
          {
            inputs: { image: make([1, 3, 6, 3], "float32", { special: true }) },
            attrs: { radians, fillValue, center },
          },
        ]),
      ),
    ),
  Transform: () =>
    ["nearest", "bilinear"].flatMap((interpolation) =>
      ["constant", "reflect", "wrap", "nearest"].flatMap((fillMode) =>
        [
          [1, 0, 0, 0, 1, 0, 0, 0],
          [0.9, 0.3, -1.5, -0.2, 1.1, 2.25, 0, 0],
          [3, 0, -7, 0, -4, 30, 0, 0],
          [1, 0, 0, 0, 1, 0, -0.5, 0.25],
        ].flatMap((transform) =>
          [
            { inputs: { image: make([1, 5, 4, 3]) }, attrs: { outputShape: [6, 7] } },
            { inputs: { image: make([1, 1, 1, 2]) }, attrs: { outputShape: null } },
            { inputs: { image: make([2, 5, 4, 3]) }, attrs: { outputShape: [5, 4] } },
            { inputs: { image: make([1, 5, 4, 3], "float32", { special: true }) }, attrs: { outputShape: [3, 3] } },
          ].map(({ inputs, attrs }) => ({
            inputs: { ...inputs, transforms: exact(transform, [1, 8]) },
            attrs: { ...attrs, interpolation, fillMode, fillValue: 0.5 },
          })),
        ),
      ),
    ),
  Dilation2D: () =>
    dilations().map(({ inputs: { x, filter }, attrs }) => ({ inputs: { x: x!, filter: filter! }, attrs: attrs! })),
  Dilation2DBackpropInput: dilations,
  Dilation2DBackpropFilter: dilations,
  ResizeBilinearGrad: resizedGradients,
  ResizeNearestNeighborGrad: resizedGradients,
};
