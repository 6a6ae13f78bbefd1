/** Oracles for src/ops/shape/move.ts. */
import { Op } from "../../../assembly/opcodes.ts";
import {
  broadcastStrides,
  contiguousStrides,
  type DType,
  type Shape,
  sizeOf,
  toDType,
} from "../../../src/ops/definition/value.ts";
import type { Oracle, Reference } from "./oracle.ts";

/** A strided read: the element of `shape` at `index` is x[offset + Σ index·stride]. */
export function strided(x: Reference, shape: Shape, offset: number, strides: readonly number[]): Reference {
  const data: number[] = [];
  const visit = (dim: number, at: number): void => {
    if (dim === shape.length) data.push(x.data[at]!);
    else for (let i = 0; i < shape[dim]!; i++) visit(dim + 1, at + i * strides[dim]!);
  };
  visit(0, offset);
  return { shape, data };
}

const fill: Oracle<{ shape: Shape; dtype: DType; value: number }> = {
  reference: (_, { shape, value }) => [{ shape, data: new Array<number>(sizeOf(shape)).fill(value) }],
  samples: [
    { inputs: [], attributes: { shape: [33], dtype: "float32", value: 1.5 } },
    { inputs: [], attributes: { shape: [3, 5], dtype: "int32", value: -7 } },
    { inputs: [], attributes: { shape: [31], dtype: "bool", value: 1 } },
  ],
};

const permute: Oracle<{ dims: readonly number[] }> = {
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

const broadcastTo: Oracle<{ shape: Shape }> = {
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

const concat: Oracle<{ dim: number }> = {
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

const cast: Oracle<{ dtype: DType }> = {
  reference: ([x], { dtype }) => [
    {
      shape: x!.shape,
      data: Array.from(x!.data, (v) => toDType(v, dtype)),
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

export const move = {
  [Op.Fill]: fill,
  [Op.Permute]: permute,
  [Op.BroadcastTo]: broadcastTo,
  [Op.Concat]: concat,
  [Op.Cast]: cast,
};
