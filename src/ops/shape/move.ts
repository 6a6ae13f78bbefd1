/** Entries for the ops that move whole arrays: fill, permute, broadcast, concatenate, convert, and copy in place. */
import { Op } from "../../../assembly/opcodes.ts";
import { DTypeError, ShapeError } from "../../runtime/errors.ts";
import { encodeCast } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { broadcastStrides, contiguousStrides, type DType, type Shape, show, typeCode } from "../definition/value.ts";
import { cut, sliceDefinition, unsliceDefinition } from "./box.ts";
import { copyElements, fillWith, whole } from "./copy.ts";

/** Fills a new tensor with a single number. */
const fillDefinition: OpDefinition<{
  shape: Shape;
  dtype: DType;
  value: number;
}> = {
  code: Op.Fill,
  cost: 0.25,
  flops: () => 0,
  name: "full",
  infer: (_, { shape, dtype }) => [{ shape, dtype }],
  encode: (encoder, { outputs: [out], attributes, address }) =>
    fillWith(encoder, address(out!), out!, attributes.value),
};

/** Reorders the dims. The gradient is permuted back. */
const permuteDefinition: OpDefinition<{ dims: readonly number[] }> = {
  code: Op.Permute,
  cost: 0.25,
  flops: () => 0,
  name: "permute",
  infer: ([x], { dims }) => [{ shape: dims.map((dim) => x!.shape[dim]!), dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], attributes: { dims }, address }) {
    const own = contiguousStrides(x!.shape);
    copyElements(encoder, Op.Permute, x!.dtype, out!.shape, whole(address(out!), out!.shape), {
      address: address(x!),
      offset: 0,
      strides: dims.map((dim) => own[dim]!),
    });
  },
  vjp: (dy, { attributes: { dims } }) => [
    apply(permuteDefinition, [dy], { dims: dims.map((_, i) => dims.indexOf(i)) }),
  ],
};

/** Repeats x along new dims and dims of size 1. The gradient is summed over these dims. */
const broadcastDefinition: OpDefinition<{ shape: Shape }> = {
  code: Op.BroadcastTo,
  cost: 0.25,
  flops: () => 0,
  name: "broadcastTo",
  infer: ([x], { shape }) => [{ shape, dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], address }) {
    copyElements(encoder, Op.BroadcastTo, x!.dtype, out!.shape, whole(address(out!), out!.shape), {
      address: address(x!),
      offset: 0,
      strides: broadcastStrides(x!.shape, out!.shape),
    });
  },
  vjp: (dy) => [dy],
};

/** Concatenates operands along a dim. Each operand gets its part of the gradient. */
const concatDefinition: OpDefinition<{ dim: number }> = {
  code: Op.Concat,
  cost: 0.25,
  flops: () => 0,
  name: "concat",
  infer([first, ...rest], { dim }) {
    let n = first!.shape[dim]!;
    for (const x of rest) {
      if (x.dtype !== first!.dtype)
        throw new DTypeError(`concat: ${first!.dtype} and ${x.dtype} cannot be joined. Convert one with .to(…).`);
      if (x.shape.length !== first!.shape.length || x.shape.some((size, i) => i !== dim && size !== first!.shape[i])) {
        throw new ShapeError(
          `concat: sizes must be equal except in dim ${dim}, got ${show(first!.shape)} and ${show(x.shape)}.`,
        );
      }
      n += x.shape[dim]!;
    }
    return [
      {
        shape: first!.shape.map((size, i) => (i === dim ? n : size)),
        dtype: first!.dtype,
      },
    ];
  },
  encode(encoder, { inputs, outputs: [out], attributes: { dim }, address }) {
    const strides = contiguousStrides(out!.shape);
    let at = 0;
    for (const x of inputs) {
      copyElements(
        encoder,
        Op.Concat,
        x.dtype,
        x.shape,
        { address: address(out!), offset: at * strides[dim]!, strides },
        whole(address(x), x.shape),
      );
      at += x.shape[dim]!;
    }
  },
  vjp(dy, { inputs, attributes: { dim }, needs }) {
    let at = 0;
    return inputs.map((x, i) => {
      const start = at;
      at += x.shape[dim]!;
      const box = {
        starts: dy.shape.map((_, d) => (d === dim ? start : 0)),
        sizes: x.shape,
        steps: x.shape.map(() => 1),
      };
      return needs[i] ? cut(dy, box) : null;
    });
  },
};

/**
 * Converts the element type. For int32, numbers are truncated and saturated (NaN becomes 0); for uint8, the low 8 bits
 * of the int32 result are kept; for bool, the result is x ≠ 0 (true for NaN). A conversion has no gradient.
 */
const castDefinition: OpDefinition<{ dtype: DType }> = {
  code: Op.Cast,
  chainable: "same",
  cost: 0.25,
  flops: () => 0,
  name: "to",
  infer: ([x], { dtype }) => [{ shape: x!.shape, dtype }],
  encode(encoder, { inputs: [x], outputs: [out], address }) {
    const [from, to] = [typeCode[x!.dtype], typeCode[out!.dtype]];
    encodeCast(encoder, { out: address(out!), x: address(x!), n: x!.size, from, to });
  },
};

/** Overwrites the first operand with the second. */
const assignDefinition: OpDefinition<null> = {
  code: Op.Assign,
  cost: 0.25,
  flops: () => 0,
  name: "copyFrom",
  mutates: () => [0],
  infer: () => [],
  encode(encoder, { inputs: [to, from], address }) {
    copyElements(
      encoder,
      Op.Assign,
      to!.dtype,
      to!.shape,
      whole(address(to!), to!.shape),
      whole(address(from!), from!.shape),
    );
  },
};

/** The entries in this file. */
export const moves = {
  fill: fillDefinition,
  permute: permuteDefinition,
  slice: sliceDefinition,
  unslice: unsliceDefinition,
  broadcastTo: broadcastDefinition,
  concat: concatDefinition,
  cast: castDefinition,
  assign: assignDefinition,
};
