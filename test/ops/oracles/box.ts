/** Oracles for src/ops/shape/box.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import { type Shape, sizeOf } from "../../../src/ops/definition/value.ts";
import { type Box, boxLayout } from "../../../src/ops/shape/box.ts";
import { strided } from "./move.ts";
import type { Oracle } from "./oracle.ts";

const slice: Oracle<Box> = {
  reference([x], attributes) {
    const { offset, strides } = boxLayout(x!.shape, attributes);
    return [strided(x!, attributes.sizes, offset, strides)];
  },
  samples: [
    {
      inputs: [{ shape: [7] }],
      attributes: { starts: [1], sizes: [5], steps: [1] },
    },
    {
      inputs: [{ shape: [33] }],
      attributes: { starts: [32], sizes: [17], steps: [-2] },
    },
    {
      inputs: [{ shape: [4, 5, 6] }],
      attributes: { starts: [1, 4, 0], sizes: [2, 3, 6], steps: [1, -2, 1] },
    },
    {
      inputs: [{ shape: [4, 5] }],
      attributes: { starts: [0, 1], sizes: [0, 3], steps: [1, 1] },
    },
    {
      inputs: [{ shape: [6, 5], dtype: "bool" }],
      attributes: { starts: [0, 1], sizes: [3, 3], steps: [2, 1] },
    },
  ],
};

const unslice: Oracle<Box & { shape: Shape; value: number }> = {
  reference([x], attributes) {
    const data = new Array<number>(sizeOf(attributes.shape)).fill(attributes.value);
    const places = strided(
      { shape: attributes.shape, data: data.map((_, i) => i) },
      x!.shape,
      boxLayout(attributes.shape, attributes).offset,
      boxLayout(attributes.shape, attributes).strides,
    ).data;
    Array.from(places, (place, i) => (data[place] = x!.data[i]!));
    return [{ shape: attributes.shape, data }];
  },
  samples: [
    {
      inputs: [{ shape: [5] }],
      attributes: {
        starts: [2],
        sizes: [5],
        steps: [1],
        shape: [9],
        value: 1.5,
      },
    },
    {
      inputs: [{ shape: [2, 3] }],
      attributes: {
        starts: [3, 0],
        sizes: [2, 3],
        steps: [-2, 2],
        shape: [4, 5],
        value: 0,
      },
    },
    {
      inputs: [{ shape: [0] }],
      attributes: { starts: [0], sizes: [0], steps: [1], shape: [3], value: 2 },
    },
  ],
};

export const box = { [Op.Slice]: slice, [Op.Unslice]: unslice };
