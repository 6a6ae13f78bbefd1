/** Slice and pad: cut a box of elements out of an array, or put one into a constant surrounding. Each is the other's gradient. */
import { Op } from "../../../assembly/opcodes.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { contiguousStrides, type Shape, sizeOf, type Value } from "../definition/value.ts";
import { copyElements, fillWith, strided, whole } from "./copy.ts";

/** A box of elements: `sizes` of them from `starts`, `steps` apart (negative: backwards). */
export interface Box {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
  readonly steps: readonly number[];
}

/** Where a box begins in a contiguous array, and its strides; in elements. */
function boxLayout(shape: Shape, box: Box): { offset: number; strides: number[] } {
  const own = contiguousStrides(shape);
  const offset = box.starts.reduce((sum, start, i) => sum + start * own[i]!, 0);
  return { offset, strides: own.map((stride, i) => stride * box.steps[i]!) };
}

export const sliceDefinition: OpDefinition<Box> = {
  code: Op.Slice,
  cost: 0.25,
  flops: () => 0,
  name: "slice",
  doc: "A box of elements. The gradient is put back into zeros.",
  infer: ([x], { sizes }) => [{ shape: sizes, dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], attributes, address }) {
    copyElements(encoder, Op.Slice, x!.dtype, out!.shape, whole(address(out!), out!.shape), {
      address: address(x!),
      ...boxLayout(x!.shape, attributes),
    });
  },
  vjp: (dy, { inputs: [x], attributes }) => [unslice(dy, x!.shape, attributes, 0)],
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

export const unsliceDefinition: OpDefinition<Box & { shape: Shape; value: number }> = {
  code: Op.Unslice,
  cost: 0.25,
  flops: () => 0,
  name: "pad",
  doc: "A box of elements put into a constant surrounding. The gradient is the box cut out again.",
  infer: ([x], { shape }) => [{ shape, dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], attributes, address }) {
    fillWith(encoder, address(out!), out!, attributes.value);
    copyElements(
      encoder,
      Op.Unslice,
      x!.dtype,
      x!.shape,
      { address: address(out!), ...boxLayout(out!.shape, attributes) },
      whole(address(x!), x!.shape),
    );
  },
  vjp: (dy, { attributes }) => [cut(dy, attributes)],
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

export const cut = (x: Value, { starts, sizes, steps }: Box): Value =>
  apply(sliceDefinition, [x], { starts, sizes, steps });

export function unslice(x: Value, shape: Shape, { starts, sizes, steps }: Box, value: number): Value {
  return apply(unsliceDefinition, [x], { starts, sizes, steps, shape, value });
}
