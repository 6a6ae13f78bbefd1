/**
 * Slice and pad: cut a box of elements out of an array, or surround a box with a constant. Each computes the other's
 * gradient.
 */
import { Op } from "../../../assembly/opcodes.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { contiguousStrides, type Shape, type Value } from "../definition/value.ts";
import { copyElements, fillWith, whole } from "./copy.ts";

/**
 * A box of elements: along each dim, `sizes` elements that begin at `starts` and are `steps` apart (a negative step
 * goes backwards).
 */
export interface Box {
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
  readonly steps: readonly number[];
}

/** The offset and the strides of a box in a contiguous array, in elements. */
export function boxLayout(shape: Shape, box: Box): { offset: number; strides: number[] } {
  const own = contiguousStrides(shape);
  const offset = box.starts.reduce((sum, start, i) => sum + start * own[i]!, 0);
  return { offset, strides: own.map((stride, i) => stride * box.steps[i]!) };
}

/** Cuts out a box of elements. The gradient is dy inside the box and 0 outside. */
export const sliceDefinition: OpDefinition<Box> = {
  code: Op.Slice,
  cost: 0.25,
  flops: () => 0,
  name: "slice",
  infer: ([x], { sizes }) => [{ shape: sizes, dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], attributes, address }) {
    copyElements(encoder, Op.Slice, x!.dtype, out!.shape, whole(address(out!), out!.shape), {
      address: address(x!),
      ...boxLayout(x!.shape, attributes),
    });
  },
  vjp: (dy, { inputs: [x], attributes }) => [unslice(dy, x!.shape, attributes, 0)],
};

/** Surrounds a box of elements with a constant. The gradient is the part of dy inside the box. */
export const unsliceDefinition: OpDefinition<Box & { shape: Shape; value: number }> = {
  code: Op.Unslice,
  cost: 0.25,
  flops: () => 0,
  name: "pad",
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
};

export const cut = (x: Value, { starts, sizes, steps }: Box): Value =>
  apply(sliceDefinition, [x], { starts, sizes, steps });

export function unslice(x: Value, shape: Shape, { starts, sizes, steps }: Box, value: number): Value {
  return apply(unsliceDefinition, [x], { starts, sizes, steps, shape, value });
}
