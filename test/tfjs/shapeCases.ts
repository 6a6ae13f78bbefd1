/** Cases for kernels that join, cut, pad, repeat, reverse or reorder tensors. */
import { type Case, inEveryType, lists, make } from "./inputs.ts";

export const shapeCases: Readonly<Record<string, () => Case[]>> = {
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
    // Paddings of an image, of short rows that are filled in several blocks, and of long rows.
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
};
