/**
 * Kernel calls whose results the tests compare between backends: inputs of every element type, inputs with NaN and ±∞, empty inputs, and
 * inputs with six dims.
 */
import { imageCases } from "./imageCases.ts";
import { indexCases } from "./indexCases.ts";
import { ACTIVATIONS, type Case, DTYPES, exact, inEveryType, lists, make, restart, SHAPES } from "./inputs.ts";
import { shapeCases } from "./shapeCases.ts";

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
  // Inputs with many equal elements.
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

const MANY: Readonly<Record<string, () => Case[]>> = {
  ...imageCases,
  ...indexCases,
  ...shapeCases,
  EluGrad: () => [{ inputs: { dy: make([4, 5]), y: make([4, 5]) } }],
  LeakyRelu: () => unary({ alpha: 0.2 }),
  // Long products, and products whose intermediate results exceed the range of float32 or float64.
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
  // Leave out 1e-30: for operands of different signs, the CPU kernel computes (a % b + b) % b, in which rounding loses a tiny a % b.
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

/** A kernel's cases. Gradients of convolutions and pools have their own test. */
export function casesOf(kernel: string): Case[] {
  restart();
  if (MANY[kernel]) return MANY[kernel]();
  if (BINARY.test(kernel)) return binary();
  if (REDUCTIONS.test(kernel)) return reductions();
  return unary();
}
