/** Table entries of the ops that move whole arrays: fill, permute, broadcast, concatenate, convert, copy in place. */
import { Op } from "../../../assembly/opcodes.ts";
import { DTypeError, ShapeError } from "../../runtime/errors.ts";
import { encodeCast } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import {
  broadcastStrides,
  contiguousStrides,
  type DType,
  held,
  type Shape,
  show,
  sizeOf,
  typeCode,
} from "../definition/value.ts";
import { cut, sliceDefinition, unsliceDefinition } from "./box.ts";
import { copyElements, fillWith, strided, whole } from "./copy.ts";

const fillDefinition: OpDefinition<{
  shape: Shape;
  dtype: DType;
  value: number;
}> = {
  code: Op.Fill,
  cost: 0.25,
  flops: () => 0,
  name: "full",
  doc: "One number everywhere.",
  infer: (_, { shape, dtype }) => [{ shape, dtype }],
  encode: (encoder, { outputs: [out], attributes, address }) =>
    fillWith(encoder, address(out!), out!, attributes.value),
  reference: (_, { shape, value }) => [{ shape, data: new Array<number>(sizeOf(shape)).fill(value) }],
  samples: [
    { inputs: [], attributes: { shape: [33], dtype: "float32", value: 1.5 } },
    { inputs: [], attributes: { shape: [3, 5], dtype: "int32", value: -7 } },
    { inputs: [], attributes: { shape: [31], dtype: "bool", value: 1 } },
  ],
};

const permuteDefinition: OpDefinition<{ dims: readonly number[] }> = {
  code: Op.Permute,
  cost: 0.25,
  flops: () => 0,
  name: "permute",
  doc: "Dimensions in another order. The gradient goes back by the inverse order.",
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
  reference([x], { dims }) {
    const own = contiguousStrides(x!.shape);
    return [
      strided(
        x!,
        dims.map((dim) => x!.shape[dim]!),
        0,
        dims.map((dim) => own[dim]!),
      ),
    ];
  },
  samples: [
    { inputs: [{ shape: [3, 5] }], attributes: { dims: [1, 0] } },
    { inputs: [{ shape: [33, 31] }], attributes: { dims: [1, 0] } },
    { inputs: [{ shape: [8, 4] }], attributes: { dims: [1, 0] } },
    { inputs: [{ shape: [2, 3, 4, 5] }], attributes: { dims: [0, 2, 1, 3] } },
    { inputs: [{ shape: [2, 3, 4, 5] }], attributes: { dims: [3, 1, 2, 0] } },
    { inputs: [{ shape: [2, 7, 6] }], attributes: { dims: [0, 2, 1] } },
    { inputs: [{ shape: [0, 3] }], attributes: { dims: [1, 0] } },
    {
      inputs: [{ shape: [5, 6], dtype: "bool" }],
      attributes: { dims: [1, 0] },
    },
  ],
};

const broadcastDefinition: OpDefinition<{ shape: Shape }> = {
  code: Op.BroadcastTo,
  cost: 0.25,
  flops: () => 0,
  name: "broadcastTo",
  doc: "Repeats along new dimensions and dimensions of size 1. The gradient is summed back over them.",
  infer: ([x], { shape }) => [{ shape, dtype: x!.dtype }],
  encode(encoder, { inputs: [x], outputs: [out], address }) {
    copyElements(encoder, Op.BroadcastTo, x!.dtype, out!.shape, whole(address(out!), out!.shape), {
      address: address(x!),
      offset: 0,
      strides: broadcastStrides(x!.shape, out!.shape),
    });
  },
  vjp: (dy) => [dy],
  reference: ([x], { shape }) => [strided(x!, shape, 0, broadcastStrides(x!.shape, shape))],
  samples: [
    { inputs: [{ shape: [] }], attributes: { shape: [5] } },
    { inputs: [{ shape: [3, 1] }], attributes: { shape: [2, 3, 33] } },
    { inputs: [{ shape: [4] }], attributes: { shape: [3, 4] } },
    { inputs: [{ shape: [1, 5] }], attributes: { shape: [0, 5] } },
    {
      inputs: [{ shape: [2, 1], dtype: "bool" }],
      attributes: { shape: [2, 7] },
    },
  ],
};

const concatDefinition: OpDefinition<{ dim: number }> = {
  code: Op.Concat,
  cost: 0.25,
  flops: () => 0,
  name: "concat",
  doc: "Side by side along a dimension. The gradient is cut into the same pieces.",
  infer([first, ...rest], { dim }) {
    let n = first!.shape[dim]!;
    for (const x of rest) {
      if (x.dtype !== first!.dtype)
        throw new DTypeError(`concat: ${first!.dtype} and ${x.dtype} do not join. Convert with .to(…).`);
      if (x.shape.length !== first!.shape.length || x.shape.some((size, i) => i !== dim && size !== first!.shape[i])) {
        throw new ShapeError(`concat: ${show(first!.shape)} and ${show(x.shape)} differ in a dim other than ${dim}.`);
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
  reference(inputs, { dim }) {
    const shape = inputs[0]!.shape.map((n, i) => (i === dim ? inputs.reduce((sum, x) => sum + x.shape[dim]!, 0) : n));
    const outer = sizeOf(shape.slice(0, dim));
    const data: number[] = [];
    for (let o = 0; o < outer; o++) {
      for (const x of inputs) {
        const run = x.data.length / outer;
        for (let i = 0; i < run; i++) data.push(x.data[o * run + i]!);
      }
    }
    return [{ shape, data }];
  },
  samples: [
    { inputs: [{ shape: [3] }, { shape: [5] }], attributes: { dim: 0 } },
    {
      inputs: [{ shape: [2, 3] }, { shape: [2, 1] }, { shape: [2, 7] }],
      attributes: { dim: 1 },
    },
    {
      inputs: [{ shape: [2, 3, 4] }, { shape: [2, 2, 4] }],
      attributes: { dim: 1 },
    },
    { inputs: [{ shape: [0, 3] }, { shape: [2, 3] }], attributes: { dim: 0 } },
  ],
};

const castDefinition: OpDefinition<{ dtype: DType }> = {
  code: Op.Cast,
  chainable: "same",
  cost: 0.25,
  flops: () => 0,
  name: "to",
  doc: "Another element type: to int32 truncates and saturates (NaN: 0), to uint8 keeps the low 8 bits of that, to bool tests ≠ 0 (NaN: true). The gradient passes between float32 only.",
  infer: ([x], { dtype }) => [{ shape: x!.shape, dtype }],
  encode(encoder, { inputs: [x], outputs: [out], address }) {
    const [from, to] = [typeCode[x!.dtype], typeCode[out!.dtype]];
    encodeCast(encoder, { out: address(out!), x: address(x!), n: x!.size, from, to });
  },
  reference: ([x], { dtype }) => [
    {
      shape: x!.shape,
      data: Array.from(x!.data, (v) => held(v, dtype)),
    },
  ],
  samples: (["float32", "int32", "bool", "uint8"] as const).flatMap((from) =>
    (["float32", "int32", "bool", "uint8"] as const)
      .filter((to) => to !== from)
      .flatMap((to) =>
        [[0], [1], [5], [33]].map((shape) => ({
          inputs: [{ shape, dtype: from }],
          attributes: { dtype: to },
        })),
      ),
  ),
};

const assignDefinition: OpDefinition<null> = {
  code: Op.Assign,
  cost: 0.25,
  flops: () => 0,
  name: "copyFrom",
  doc: "Overwrites the first operand with the second.",
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

/** Table entries of this file. */
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
