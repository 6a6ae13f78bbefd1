/** Kernel calls for volumes, local response normalization and Einstein summation. */
import { type Case, make } from "./inputs.ts";

const SIZES = [
  { strides: [1, 1, 1], pad: "valid", filter: [2, 2, 3] },
  { strides: [1, 1, 1], pad: "same", filter: [3, 3, 3] },
  { strides: [2, 1, 2], pad: "same", filter: [3, 2, 1] },
  { strides: [2, 2, 2], pad: "valid", filter: [1, 1, 1] },
  { strides: [2, 2, 2], pad: "same", filter: [1, 2, 2] },
] as const;
const INPUT = [2, 5, 4, 6, 3] as const;

/** The size of a convolution's or a pool's result along a dim. */
const outSize = (size: number, window: number, stride: number, pad: string): number =>
  Math.ceil((pad === "same" ? size : size - window + 1) / stride);
const outShape = ({ strides, pad, filter }: (typeof SIZES)[number], channels: number): number[] => [
  INPUT[0],
  ...filter.map((window, i) => outSize(INPUT[i + 1]!, window, strides[i]!, pad)),
  channels,
];

const overSizes = (f: (one: (typeof SIZES)[number]) => Case[]): Case[] => SIZES.flatMap(f);
const conv = ({ strides, pad }: (typeof SIZES)[number], more: Case["attrs"]) => ({ strides, pad, ...more });
const NDHWC = { dataFormat: "NDHWC" };

const pools = (): Case[] =>
  overSizes(({ strides, pad, filter }) => [
    { inputs: { x: make(INPUT) }, attrs: { filterSize: filter, strides, pad, ...NDHWC } },
    { inputs: { x: make(INPUT, "float32", { special: true }) }, attrs: { filterSize: filter, strides, pad, ...NDHWC } },
    { inputs: { x: make(INPUT, "int32") }, attrs: { filterSize: filter, strides, pad, ...NDHWC } },
  ]);
const poolGradients = (): Case[] =>
  overSizes((one) => {
    const attrs = { filterSize: one.filter, strides: one.strides, pad: one.pad };
    const dy = make(outShape(one, INPUT[4]));
    // Small integers produce ties.
    const tied = { ...make(INPUT, "int32", { low: 0, high: 3 }), dtype: "float32" as const };
    return [make(INPUT), tied].map((input) => ({ inputs: { dy, input, output: dy }, attrs }));
  });

export const volumeCases: Readonly<Record<string, () => Case[]>> = {
  Conv3D: () => [
    ...overSizes((one) => [
      { inputs: { x: make(INPUT), filter: make([...one.filter, 3, 4]) }, attrs: conv(one, { dilations: 1, ...NDHWC }) },
    ]),
    {
      inputs: { x: make([1, 7, 6, 5, 2]), filter: make([2, 3, 2, 2, 3]) },
      attrs: { strides: [1, 1, 1], pad: "valid", dilations: [3, 2, 1], ...NDHWC },
    },
    {
      inputs: { x: make([0, 5, 4, 6, 3]), filter: make([2, 2, 2, 3, 4]) },
      attrs: { ...conv(SIZES[0], NDHWC), dilations: 1 },
    },
  ],
  Conv3DBackpropInputV2: () =>
    overSizes((one) => [
      {
        inputs: { dy: make(outShape(one, 4)), filter: make([...one.filter, 3, 4]) },
        attrs: conv(one, { inputShape: INPUT }),
      },
    ]),
  Conv3DBackpropFilterV2: () =>
    overSizes((one) => [
      {
        inputs: { x: make(INPUT), dy: make(outShape(one, 4)) },
        attrs: conv(one, { filterShape: [...one.filter, 3, 4] }),
      },
    ]),
  MaxPool3D: pools,
  AvgPool3D: pools,
  MaxPool3DGrad: poolGradients,
  AvgPool3DGrad: poolGradients,
  Einsum: () =>
    (
      [
        ["ij,jk->ik", [3, 4], [4, 5]],
        ["ij,kj->ki", [3, 4], [5, 4]],
        ["ji,jk->ik", [4, 3], [4, 5]],
        ["bhqd,bhkd->bhqk", [2, 3, 4, 5], [2, 3, 6, 5]],
        ["bqhd,bkhd->bhqk", [2, 4, 3, 5], [2, 6, 3, 5]],
        ["bhqk,bkhd->bqhd", [2, 3, 4, 6], [2, 6, 3, 5]],
        ["i,j->ij", [3], [4]],
        ["i,i->", [5], [5]],
        ["ij,j->i", [3, 4], [4]],
        ["ijl,jk->ik", [3, 4, 2], [4, 5]],
        ["ij,ij->ji", [3, 4], [3, 4]],
        ["ij->ji", [3, 4]],
        ["ijk->j", [2, 3, 4]],
        ["ij->", [3, 4]],
        ["i->i", [3]],
        ["abcdef,fg->gabcde", [2, 1, 2, 3, 1, 2], [2, 3]],
        ["ij,jk->ik", [3, 4], [5, 5]],
      ] as const
    ).map(([equation, ...shapes]) => ({
      inputs: Object.fromEntries(shapes.map((shape, i) => [i, make(shape)])),
      attrs: { equation },
    })),
  LRN: () =>
    [0, 1, 9].map((depthRadius) => ({
      inputs: { x: make([2, 3, 2, 5]) },
      attrs: { depthRadius, bias: 1.5, alpha: 0.3, beta: 0.75 },
    })),
  LRNGrad: () =>
    [0, 1, 9].map((depthRadius) => ({
      inputs: { x: make([2, 3, 2, 5]), y: make([2, 3, 2, 5]), dy: make([2, 3, 2, 5]) },
      attrs: { depthRadius, bias: 1.5, alpha: 0.3, beta: 0.75 },
    })),
};
