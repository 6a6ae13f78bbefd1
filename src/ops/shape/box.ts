/**
 * Slice and pad: cut a box of elements out of an array, or surround a box with a constant. Each computes the other's
 * gradient.
 */
import { Op } from "../../../assembly/opcodes.ts";
import { encodeUnslice, type UnsliceOperands } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { bytesPerElement, contiguousStrides, type Shape, sizeOf, type Value } from "../definition/value.ts";
import { copyElements, patternOf, whole } from "./copy.ts";

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

/** The dims of a box in an array. A dim that the box fills is merged into the dim before it, so that rows are long. */
function boxDims(shape: Shape, { starts, sizes, steps }: Box) {
  const dims: UnsliceOperands["dims"][number][] = [];
  shape.forEach((size, i) => {
    const own = { size, count: sizes[i]!, start: starts[i]!, step: steps[i]! };
    const last = dims.at(-1);
    if (last?.step === 1 && own.step === 1 && own.count === size)
      dims[dims.length - 1] = { size: last.size * size, count: last.count * size, start: last.start * size, step: 1 };
    else dims.push(own);
  });
  return dims.length ? dims : [{ size: 1, count: 1, start: 0, step: 1 }];
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
    const dims = boxDims(out!.shape, attributes);
    encodeUnslice(encoder, {
      out: address(out!),
      x: address(x!),
      elementBytes: bytesPerElement[x!.dtype],
      value: patternOf(attributes.value, x!.dtype),
      rows: sizeOf(dims.slice(0, -1).map(({ size }) => size)),
      dims,
    });
  },
  vjp: (dy, { attributes }) => [cut(dy, attributes)],
};

export const cut = (x: Value, { starts, sizes, steps }: Box): Value =>
  apply(sliceDefinition, [x], { starts, sizes, steps });

export function unslice(x: Value, shape: Shape, { starts, sizes, steps }: Box, value: number): Value {
  return apply(unsliceDefinition, [x], { starts, sizes, steps, shape, value });
}
