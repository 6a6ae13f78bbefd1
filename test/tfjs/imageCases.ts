/** Cases for image kernels: convolutions, pools, resizing, dilation, transforms and box suppression. */
import { ACTIVATIONS, type Case, exact, type Input, inEveryType, make, random } from "./inputs.ts";

interface Geometry {
  readonly strides: number | [number, number];
  readonly pad: unknown;
  readonly dilations: number | [number, number];
}

const GEOMETRIES: readonly Geometry[] = [
  { strides: 1, pad: "valid", dilations: 1 },
  { strides: 1, pad: "same", dilations: 1 },
  { strides: 2, pad: "same", dilations: 1 },
  { strides: [1, 2], pad: 1, dilations: 1 },
  { strides: 1, pad: "same", dilations: 2 },
  {
    strides: 1,
    pad: [
      [0, 0],
      [1, 2],
      [0, 1],
      [0, 0],
    ],
    dilations: 1,
  }, // prettier-ignore
];

const FILTERS = [
  [1, 1],
  [3, 3],
  [2, 3],
] as const; // prettier-ignore

const convolutions = (last: number, more: Case["inputs"] = {}, attrs: Case["attrs"] = {}): Case[] =>
  GEOMETRIES.flatMap((geometry) =>
    FILTERS.map(([height, width]) => ({
      inputs: { x: make([2, 7, 6, 3]), filter: make([height, width, 3, last]), ...more },
      attrs: { ...geometry, dataFormat: "NHWC", ...attrs },
    })),
  );

const POOLS = [
  { filterSize: 2, strides: 2, pad: "valid" },
  { filterSize: 3, strides: 2, pad: "same" },
  { filterSize: [2, 3], strides: 1, pad: "same" },
  { filterSize: 1, strides: 1, pad: "valid" },
  { filterSize: 1, strides: 2, pad: "valid" },
  { filterSize: 3, strides: 3, pad: 1, dimRoundingMode: "floor" },
] as const;

const pools = (): Case[] =>
  POOLS.flatMap((attrs) => [
    { inputs: { x: make([2, 7, 6, 3]) }, attrs },
    { inputs: { x: make([1, 7, 6, 2], "float32", { special: true }) }, attrs },
    { inputs: { x: make([1, 7, 6, 2], "int32") }, attrs },
  ]);

/** Images enlarged, shrunk, and reduced to one pixel, with every alignment option. */
const resized = (): Case[] =>
  [
    [5, 9],
    [3, 2],
    [1, 1],
    [4, 6],
  ].flatMap((size) =>
    [
      { alignCorners: false, halfPixelCenters: false },
      { alignCorners: true, halfPixelCenters: false },
      { alignCorners: false, halfPixelCenters: true },
    ].flatMap((attrs) => [
      { inputs: { images: make([2, 4, 6, 3]) }, attrs: { ...attrs, size } },
      { inputs: { images: make([1, 4, 6, 1], "int32") }, attrs: { ...attrs, size } },
      { inputs: { images: make([1, 4, 6, 21], "float32", { special: true }) }, attrs: { ...attrs, size } },
      { inputs: { images: make([2, 1, 3, 4]) }, attrs: { ...attrs, size } },
    ]),
  );

/** Overlapping boxes: with equal scores, with swapped corners, with zero area, and with NaN and ±∞. */
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

/**
 * A dilation with five channels. Some sums differ by less than float32 can resolve, and some are below Number.MIN_SAFE_INTEGER, at which
 * TensorFlow.js starts its search for the largest sum.
 */
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

/** Dilations, each with a random gradient of its result. */
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

/** Gradients of resized images: enlarged, shrunk, and reduced to one pixel. */
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

export const imageCases: Readonly<Record<string, () => Case[]>> = {
  ResizeBilinear: resized,
  ResizeNearestNeighbor: resized,
  DepthToSpace: () => [
    { inputs: { x: make([2, 3, 2, 8]) }, attrs: { blockSize: 2, dataFormat: "NHWC" } },
    { inputs: { x: make([2, 8, 3, 2]) }, attrs: { blockSize: 2, dataFormat: "NCHW" } },
    { inputs: { x: make([1, 1, 1, 9], "int32") }, attrs: { blockSize: 3, dataFormat: "NHWC" } },
  ],
  Conv2D: () => [
    ...convolutions(5),
    { inputs: { x: make([2, 3, 7, 6]), filter: make([3, 3, 3, 5]) }, attrs: { ...GEOMETRIES[1], dataFormat: "NCHW" } },
  ],
  FusedConv2D: () =>
    ACTIVATIONS.flatMap((activation) =>
      convolutions(
        5,
        { bias: make([5]), ...(activation === "prelu" && { preluActivationWeights: make([5]) }) },
        { activation, leakyreluAlpha: 0.3 },
      ),
    ),
  FusedDepthwiseConv2D: () =>
    ACTIVATIONS.flatMap((activation) =>
      convolutions(
        2,
        { bias: make([6]), ...(activation === "prelu" && { preluActivationWeights: make([6]) }) },
        { activation, leakyreluAlpha: 0.3 },
      ),
    ),
  DepthwiseConv2dNative: () => [...convolutions(1), ...convolutions(2)],
  MaxPool: pools,
  AvgPool: pools,
  MaxPoolWithArgmax: () =>
    [false, true].flatMap((includeBatchInIndex) =>
      pools().map(({ inputs, attrs }) => ({ inputs, attrs: { ...attrs, includeBatchInIndex } })),
    ),
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
