/** Calls of kernels to compare between backends: inputs of every element type, with NaN and ±∞, empty, and with six dims. */

import { indexCases } from "./indexCases.ts";
import { type Case, DTYPES, exact, inEveryType, make, restart, SHAPES } from "./inputs.ts";

const unary = (attrs?: Case["attrs"], name = "x"): Case[] =>
  [
    ...SHAPES.map((shape) => make(shape)),
    ...DTYPES.map((dtype) => make([4, 6], dtype)),
    make([40], "float32", { special: true }),
    make([5], "float32", { low: 50, high: 200 }),
    make([5], "float32", { low: -1e-2, high: -1e-4 }),
    make([5], "float32", { low: 1e-6, high: 1e-4 }),
    make([5], "float32", { low: -0.99999, high: -0.99 }),
    make([5], "float32", { low: 88.8, high: 89.3 }),
  ].map((input) => ({ inputs: { [name]: input }, ...(attrs && { attrs }) }));

const PAIRS = [
  [[7], [7]],
  [[3, 5], [5]],
  [
    [3, 1],
    [1, 4],
  ],
  [[2, 3], []],
  [[0], [1]],
  [
    [2, 1, 2, 3, 1, 2],
    [2, 1, 1, 3, 2],
  ],
] as const;
const binary = (): Case[] => [
  ...DTYPES.flatMap((dtype) => PAIRS.map(([a, b]) => ({ inputs: { a: make(a, dtype), b: make(b, dtype) } }))),
  { inputs: { a: make([40], "float32", { special: true }), b: make([40]) } },
  { inputs: { a: make([40]), b: make([40], "float32", { special: true }) } },
  // Many equal elements.
  { inputs: { a: make([30], "int32"), b: make([30], "int32") } },
];

const reductions = (axes = "axis"): Case[] =>
  [
    [[3, 5], [0]],
    [[3, 5], [1]],
    [[3, 5], [-1]],
    [
      [2, 3, 4],
      [0, 2],
    ],
    [
      [2, 3, 4],
      [0, 1, 2],
    ],
    [
      [2, 1, 2, 3, 1, 2],
      [1, 3, 5],
    ],
    [[7], [0]],
    [[2, 0, 3], [0]],
    [[2, 0, 3], [1]],
  ].flatMap(([shape, axis]) =>
    [false, true].flatMap((keepDims) => [
      ...DTYPES.map((dtype) => ({ inputs: { x: make(shape!, dtype) }, attrs: { [axes]: axis, keepDims } })),
      { inputs: { x: make(shape!, "float32", { special: true }) }, attrs: { [axes]: axis, keepDims } },
    ]),
  );

const positions = (): Case[] =>
  [
    [[3, 5], 0],
    [[3, 5], 1],
    [[2, 3, 4], 1],
    [[2, 1, 2, 3, 1, 2], 3],
  ].flatMap(([shape, axis]) => [
    ...DTYPES.map((dtype) => ({ inputs: { x: make(shape as number[], dtype) }, attrs: { axis } })),
    { inputs: { x: make(shape as number[], "float32", { special: true }) }, attrs: { axis } },
  ]);

const lists = (shapes: readonly (readonly number[])[], attrs: Case["attrs"]): Case[] =>
  DTYPES.map((dtype) => ({
    inputs: Object.fromEntries(shapes.map((shape, i) => [i, make(shape, dtype)])),
    ...(attrs && { attrs }),
  }));

const ACTIVATIONS = ["linear", "relu", "relu6", "elu", "sigmoid", "leakyrelu", "prelu"];

const products = (): Case[] =>
  [false, true].flatMap((transposeA) =>
    [false, true].flatMap((transposeB) =>
      [[], [3], [2, 3], [1, 3]].flatMap((outer) => [
        {
          inputs: {
            a: make([...outer, ...(transposeA ? [5, 4] : [4, 5])]),
            b: make([...outer, ...(transposeB ? [6, 5] : [5, 6])]),
          },
          attrs: { transposeA, transposeB },
        },
        {
          inputs: {
            a: make([...outer, ...(transposeA ? [5, 4] : [4, 5])]),
            b: make([...outer.map(() => 1), ...(transposeB ? [6, 5] : [5, 6])]),
          },
          attrs: { transposeA, transposeB },
        },
      ]),
    ),
  );

const fused = (): Case[] =>
  ACTIVATIONS.flatMap((activation) =>
    [[6], [1, 6], [1], [4, 6]].map((bias) => ({
      inputs: {
        a: make([1, 4, 5]),
        b: make([1, 5, 6]),
        bias: make(bias),
        ...(activation === "prelu" && { preluActivationWeights: make([6]) }),
      },
      attrs: { transposeA: false, transposeB: false, activation, leakyreluAlpha: 0.3 },
    })),
  );

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

/** Resized images: larger, smaller, to one pixel, and with each way to align them. */
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

const MANY: Readonly<Record<string, () => Case[]>> = {
  EluGrad: () => [{ inputs: { dy: make([4, 5]), y: make([4, 5]) } }],
  LeakyRelu: () => unary({ alpha: 0.2 }),
  // Long products, and products that exceed the range of float32 or float64 on the way.
  Prod: () => [
    ...reductions(),
    ...[[0], [1]].flatMap((axis) =>
      [
        make([41, 41], "float32", { low: -1.6, high: 1.6 }),
        exact(
          Array.from({ length: 36 }, (_, i) => (i % 2 ? 1e-30 : 3e30)),
          [6, 6],
        ),
        exact(
          Array.from({ length: 1600 }, (_, i) => 10 ** ((i * 7) % 40 < 20 ? 38 : -38)),
          [40, 40],
        ),
        exact(
          Array.from({ length: 1600 }, (_, i) => 10 ** (i % 8 < 4 ? -38 : 38)),
          [40, 40],
        ),
      ].map((x) => ({ inputs: { x }, attrs: { axis, keepDims: false } })),
    ),
  ],
  Step: () => unary({ alpha: 0.5 }),
  ClipByValue: () => unary({ clipValueMin: -1, clipValueMax: 1.5 }),
  Prelu: () => [
    { inputs: { x: make([3, 5]), alpha: make([5]) } },
    { inputs: { x: make([3, 5], "float32", { special: true }), alpha: make([3, 1]) } },
  ],
  // The CPU kernel rounds remainders that are far smaller or larger than the divisor to 0.
  Mod: () => binary().filter(({ inputs: { a, b } }) => ![a!, b!].some(({ values }) => values.includes(1e-30))),
  Select: () => [
    ...DTYPES.flatMap((dtype) => [
      { inputs: { condition: make([3, 4], "bool"), t: make([3, 4], dtype), e: make([3, 4], dtype) } },
      { inputs: { condition: make([3], "bool"), t: make([3, 4], dtype), e: make([3, 4], dtype) } },
    ]),
    { inputs: { condition: make([5], "bool"), t: make([5], "float32", { special: true }), e: make([5]) } },
  ],
  Cast: () =>
    DTYPES.flatMap((from) =>
      DTYPES.flatMap((dtype) =>
        SHAPES.map((shape) => ({ inputs: { x: make(shape, from, { low: -9, high: 9 }) }, attrs: { dtype } })),
      ),
    ).concat(
      (["int32", "bool"] as const).map((dtype) => ({
        inputs: { x: make([40], "float32", { special: true }) },
        attrs: { dtype },
      })),
    ),
  LogicalNot: () => unary(),
  Max: () => reductions("reductionIndices"),
  ArgMax: positions,
  ArgMin: positions,
  Softmax: () => [
    ...SHAPES.filter((shape) => shape.length).map((shape) => ({
      inputs: { logits: make(shape) },
      attrs: { dim: shape.length - 1 },
    })), // prettier-ignore
    { inputs: { logits: make([2, 3], "int32") }, attrs: { dim: 1 } },
  ],
  Cumsum: () =>
    [[7], [3, 5], [2, 0, 3], [2, 1, 2, 3, 1, 2]].flatMap((shape) =>
      [false, true].flatMap((exclusive) =>
        [false, true].flatMap((reverse) => inEveryType(shape, "x", { axis: shape.length - 1, exclusive, reverse })),
      ),
    ),
  BatchMatMul: products,
  _FusedMatMul: fused,
  Concat: () => [
    ...lists(
      [
        [2, 3],
        [4, 3],
      ],
      { axis: 0 },
    ), // prettier-ignore
    ...lists(
      [
        [2, 3],
        [2, 1],
        [2, 0],
      ],
      { axis: 1 },
    ), // prettier-ignore
    ...lists(
      [
        [2, 1, 2, 3, 1, 2],
        [2, 1, 2, 1, 1, 2],
      ],
      { axis: 3 },
    ), // prettier-ignore
    ...lists([[0], [0]], { axis: 0 }), // prettier-ignore
  ],
  Pack: () => [
    ...lists(
      [
        [2, 3],
        [2, 3],
      ],
      { axis: 1 },
    ),
    ...lists([[], []], { axis: 0 }),
  ], // prettier-ignore
  Unpack: () => [
    ...inEveryType([3, 4], "value", { axis: 0 }),
    ...inEveryType([3, 4], "value", { axis: -1 }),
    ...inEveryType([2, 1, 2, 3, 1, 2], "value", { axis: 3 }),
    ...inEveryType([1, 4], "value", { axis: 0 }),
  ],
  SplitV: () => [
    ...inEveryType([6, 4], "x", { numOrSizeSplits: 3, axis: 0 }),
    ...inEveryType([6, 4], "x", { numOrSizeSplits: [1, -1, 2], axis: 0 }),
    ...inEveryType([2, 4], "x", { numOrSizeSplits: 1, axis: 1 }),
  ],
  Slice: () => [
    ...inEveryType([6, 4], "x", { begin: [1, 2], size: [3, 2] }),
    ...inEveryType([6, 4], "x", { begin: [2, 0], size: [-1, 4] }),
    ...inEveryType([2, 1, 2, 3, 1, 2], "x", { begin: [1, 0, 0, 1, 0, 0], size: [1, 1, 2, 2, 1, 1] }),
    ...inEveryType([6, 4], "x", { begin: [1, 2], size: [0, 2] }),
  ],
  StridedSlice: () => {
    const masks = { beginMask: 0, endMask: 0, ellipsisMask: 0, newAxisMask: 0, shrinkAxisMask: 0 };
    return [
      ...inEveryType([6, 5], "x", { begin: [0, 1], end: [6, 5], strides: [2, 3], ...masks }),
      ...inEveryType([6, 5], "x", { begin: [5, 4], end: [0, 0], strides: [-2, -1], ...masks }),
      ...inEveryType([6, 5], "x", { begin: [1, 0], end: [3, 5], strides: [1, 1], ...masks, shrinkAxisMask: 1 }),
      ...inEveryType([6, 5], "x", { begin: [0, 0], end: [0, 0], strides: [1, 1], ...masks, beginMask: 3, endMask: 3 }),
      ...inEveryType([6], "x", { begin: [0, 1], end: [1, 4], strides: [1, 2], ...masks, newAxisMask: 1 }),
    ];
  },
  PadV2: () => [
    ...inEveryType([2, 3], "x", {
      paddings: [
        [1, 0],
        [2, 1],
      ],
      constantValue: 1,
    }), // prettier-ignore
    ...inEveryType([0, 3], "x", {
      paddings: [
        [1, 1],
        [0, 0],
      ],
      constantValue: 0,
    }), // prettier-ignore
    { inputs: { x: make([3]) }, attrs: { paddings: [[1, 1]], constantValue: Number.NEGATIVE_INFINITY } },
    { inputs: { x: make([]) }, attrs: { paddings: [], constantValue: 1 } },
    // An image, short rows that are filled in several blocks, and long rows.
    ...inEveryType([2, 3, 4, 5], "x", {
      paddings: [
        [0, 0],
        [1, 2],
        [2, 1],
        [0, 0],
      ],
      constantValue: 1,
    }), // prettier-ignore
    ...[700, 3000].map((size) => ({
      inputs: { x: make([20, size], "float32", { special: true }) },
      attrs: {
        paddings: [
          [1, 2],
          [3, 4],
        ],
        constantValue: 7,
      },
    })),
  ],
  Reverse: () => [
    ...inEveryType([3, 4], "x", { dims: [0] }),
    ...inEveryType([2, 1, 2, 3, 1, 2], "x", { dims: [0, 3, 5] }),
    ...inEveryType([], "x", { dims: [] }),
  ],
  FlipLeftRight: () => [
    ...[1, 2, 4, 5].flatMap((channels) => inEveryType([2, 3, 4, channels], "image", undefined)),
    { inputs: { image: make([1, 2, 3, 600], "float32", { special: true }) } },
    { inputs: { image: make([2, 0, 4, 2]) } },
  ],
  AddN: () => [
    ...lists(
      [
        [2, 3],
        [2, 3],
        [2, 3],
      ],
      undefined,
    ),
    ...lists([[2]], undefined),
  ], // prettier-ignore
  MirrorPad: () =>
    ["reflect", "symmetric"].flatMap((mode) => [
      ...inEveryType([3, 4], "x", {
        paddings: [
          [2, 1],
          [0, 3],
        ],
        mode,
      }), // prettier-ignore
      ...inEveryType([2, 1, 2, 3, 1, 2], "x", {
        paddings: [
          [1, 0],
          [0, 0],
          [1, 1],
          [2, 2],
          [0, 0],
          [0, 1],
        ],
        mode,
      }), // prettier-ignore
    ]),
  ...indexCases,
  SpaceToBatchND: () => [
    ...inEveryType([2, 4, 6, 3], "x", {
      blockShape: [2, 3],
      paddings: [
        [0, 0],
        [0, 0],
      ],
    }), // prettier-ignore
    ...inEveryType([1, 3, 5, 2], "x", {
      blockShape: [2, 2],
      paddings: [
        [1, 0],
        [0, 1],
      ],
    }), // prettier-ignore
    ...inEveryType([2, 5], "x", { blockShape: [3], paddings: [[0, 1]] }),
  ],
  BatchToSpaceND: () => [
    ...inEveryType([12, 2, 2, 3], "x", {
      blockShape: [2, 3],
      crops: [
        [0, 0],
        [0, 0],
      ],
    }), // prettier-ignore
    ...inEveryType([4, 2, 3, 2], "x", {
      blockShape: [2, 2],
      crops: [
        [1, 0],
        [0, 1],
      ],
    }), // prettier-ignore
  ],
  ResizeBilinear: resized,
  ResizeNearestNeighbor: resized,
  GatherNd: () =>
    DTYPES.flatMap((dtype) => [
      { inputs: { params: make([4, 3], dtype), indices: make([5, 2], "int32", { low: 0, high: 3 }) } },
      { inputs: { params: make([4, 3], dtype), indices: make([2, 2, 1], "int32", { low: 0, high: 4 }) } },
      { inputs: { params: make([4, 3], dtype), indices: make([5, 1], "int32", { low: 2, high: 9 }) } },
      { inputs: { params: make([4, 3], dtype), indices: make([0, 2], "int32") } },
    ]),
  ScatterNd: () =>
    (["float32", "int32"] as const).flatMap((dtype) => [
      {
        inputs: { indices: make([5, 1], "int32", { low: 0, high: 4 }), updates: make([5, 3], dtype) },
        attrs: { shape: [4, 3] },
      },
      {
        inputs: { indices: make([5, 2], "int32", { low: 0, high: 3 }), updates: make([5], dtype) },
        attrs: { shape: [4, 3] },
      },
      {
        inputs: { indices: make([5, 1], "int32", { low: 3, high: 9 }), updates: make([5, 3], dtype) },
        attrs: { shape: [4, 3] },
      },
    ]), // prettier-ignore
  TopK: () => [
    ...[1, 3, 7].map((k) => ({ inputs: { x: make([4, 7]) }, attrs: { k, sorted: true } })),
    { inputs: { x: make([9], "int32") }, attrs: { k: 4, sorted: true } },
    {
      inputs: { x: { values: [2, 1, 2, 1, 2, 3], shape: [6], dtype: "float32" as const } },
      attrs: { k: 4, sorted: true },
    },
    { inputs: { x: make([2, 1, 2, 3, 1, 5]) }, attrs: { k: 2, sorted: true } },
    { inputs: { x: make([2, 6], "bool") }, attrs: { k: 3, sorted: true } },
    { inputs: { x: make([3, 50], "int32") }, attrs: { k: 50, sorted: true } },
    { inputs: { x: make([3, 200]) }, attrs: { k: 100, sorted: true } },
    { inputs: { x: make([3, 200], "int32") }, attrs: { k: 100, sorted: true } },
    { inputs: { x: make([2, 40], "float32", { special: true }) }, attrs: { k: 4, sorted: true } },
    { inputs: { x: make([2, 90], "float32", { special: true }) }, attrs: { k: 80, sorted: true } },
    { inputs: { x: make([4, 7]) }, attrs: { k: 3, sorted: false } },
  ],
  Tile: () => [
    ...inEveryType([2, 3], "x", { reps: [2, 3] }),
    ...inEveryType([2], "x", { reps: [0] }),
    ...inEveryType([2, 1, 2], "x", { reps: [1, 2, 2] }),
  ],
  Transpose: () => [
    ...inEveryType([2, 3, 4], "x", { perm: [2, 0, 1] }),
    ...inEveryType([2, 1, 2, 3, 1, 2], "x", { perm: [5, 3, 0, 2, 1, 4] }),
    ...inEveryType([0, 3], "x", { perm: [1, 0] }),
  ],
  Fill: () =>
    (
      [
        [[2, 3], 1.5, "float32"],
        [[2, 3], 7, "int32"],
        [[4], 1, "bool"],
        [[0], 1, "float32"],
        [[], 3, "float32"],
        [[2], 2.5, undefined],
      ] as const
    ).map(([shape, value, dtype]) => ({ inputs: {}, attrs: { shape, value, dtype } })),
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
  GatherV2: () =>
    DTYPES.flatMap((dtype) => [
      {
        inputs: { x: make([5, 3], dtype), indices: make([4], "int32", { low: 0, high: 5 }) },
        attrs: { axis: 0, batchDims: 0 },
      },
      {
        inputs: { x: make([2, 5, 3], dtype), indices: make([2, 2], "int32", { low: 0, high: 5 }) },
        attrs: { axis: 1, batchDims: 0 },
      },
      {
        inputs: { x: make([2, 5, 3], dtype), indices: make([2, 2], "int32", { low: 0, high: 5 }) },
        attrs: { axis: 1, batchDims: 1 },
      },
      { inputs: { x: make([5], dtype), indices: make([0], "int32") }, attrs: { axis: 0, batchDims: 0 } },
      {
        inputs: { x: make([5], dtype), indices: make([3], "int32", { low: 4, high: 9 }) },
        attrs: { axis: 0, batchDims: 0 },
      },
    ]), // prettier-ignore
  UnsortedSegmentSum: () => [
    { inputs: { x: make([6, 3]), segmentIds: make([6], "int32", { low: 0, high: 4 }) }, attrs: { numSegments: 4 } },
    { inputs: { x: make([6]), segmentIds: make([6], "int32", { low: -2, high: 6 }) }, attrs: { numSegments: 4 } },
    {
      inputs: { x: make([6, 3], "int32"), segmentIds: make([6], "int32", { low: 0, high: 4 }) },
      attrs: { numSegments: 4 },
    },
  ], // prettier-ignore
  OneHot: () =>
    ["int32", "float32", "bool"].flatMap((dtype) => [
      {
        inputs: { indices: make([5], "int32", { low: -1, high: 5 }) },
        attrs: { depth: 4, onValue: 1, offValue: 0, dtype },
      },
      {
        inputs: { indices: make([2, 2], "int32", { low: 0, high: 4 }) },
        attrs: { depth: 4, onValue: 1, offValue: 0, dtype },
      },
    ]), // prettier-ignore
  FusedBatchNorm: () => [
    {
      inputs: {
        x: make([2, 3, 3, 4]),
        mean: make([4]),
        variance: make([4], "float32", { low: 0.1, high: 2 }),
        scale: make([4]),
        offset: make([4]),
      },
      attrs: { varianceEpsilon: 1e-3 },
    },
    {
      inputs: {
        x: make([6, 4], "float32", { low: 99, high: 101 }),
        mean: make([4], "float32", { low: 100, high: 100 }),
        variance: make([4], "float32", { low: 0.1, high: 2 }),
      },
      attrs: { varianceEpsilon: 1e-3 },
    },
  ], // prettier-ignore
};

const BINARY =
  /^(Add|Sub|Multiply|Maximum|Minimum|RealDiv|FloorDiv|Mod|Pow|Atan2|SquaredDifference|Equal|NotEqual|Less|LessEqual|Greater|GreaterEqual|LogicalAnd|LogicalOr|BitwiseAnd)$/;
const REDUCTIONS = /^(Sum|Mean|Min|Prod|All|Any)$/;

/** The cases of a kernel. Gradients of convolutions and pools have their own test. */
export function casesOf(kernel: string): Case[] {
  restart();
  if (MANY[kernel]) return MANY[kernel]();
  if (BINARY.test(kernel)) return binary();
  if (REDUCTIONS.test(kernel)) return reductions();
  return unary();
}
