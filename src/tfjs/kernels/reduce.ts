/** Reductions, softmax and cumulative sums. */
import { util } from "@tensorflow/tfjs-core";
import { apply } from "../../ops/definition/op.ts";
import type { DType, Value } from "../../ops/definition/value.ts";
import { around } from "../../ops/index/gather.ts";
import { cumsumDefinition, prodDefinition } from "../../ops/reduce/fold.ts";
import { all, any, argMax, argMin, max, mean, min, reduce, reducedShape, sum } from "../../ops/reduce/reduce.ts";
import { softmax } from "../../ops/reduce/rows.ts";
import { concat, full, narrow } from "../../ops/shape/shape.ts";
import { type NumericArray, newView, type View } from "../view.ts";
import { ALL, isFilled, type NativeKernel, NUMBERS } from "./kernel.ts";

type Reduction = (x: Value, dims: number[], options: { keepdim: boolean }) => Value;

/** A reduction along the dims in `attributes[axes]`, or along all dims if that attribute is absent. */
const reduction = (f: Reduction, types: readonly DType[] = ["float32"], axes = "axis"): NativeKernel => ({
  types,
  accepts: isFilled,
  run: ({ x }, attributes) =>
    f(x!, util.parseAxisParam(attributes[axes], x!.shape as number[]), { keepdim: attributes.keepDims === true }),
});

type OfRow = (x: NumericArray, at: number, n: number) => number;

/**
 * A reduction that loops over rows in JavaScript if the reduced dims are the last ones. In all other cases, `otherwise`
 * computes the reduction.
 */
const byRows = (ofRow: OfRow, dtype: DType, otherwise: Reduction): NativeKernel => ({
  types: [dtype],
  accepts: isFilled,
  run({ x }, { axis, keepDims }) {
    const dims = util.parseAxisParam(axis, x!.shape as number[]);
    const keepdim = keepDims === true;
    const first = x!.shape.length - dims.length;
    if (!dims.every((dim) => dim >= first)) return otherwise(x!, dims, { keepdim });
    const out = newView(reducedShape(x!, dims, keepdim), dtype);
    const [values, results] = [x!.live(), out.live()];
    const rows = results.length;
    const n = values.length / rows;
    for (let row = 0; row < rows; row++) results[row] = ofRow(values, row * n, n);
    return out;
  },
});

const allOf: OfRow = (x, at, n) => {
  for (let i = at; i < at + n; i++) if (!x[i]) return 0;
  return 1;
};
const anyOf: OfRow = (x, at, n) => {
  for (let i = at; i < at + n; i++) if (x[i]) return 1;
  return 0;
};

/**
 * ArgMax or ArgMin along one dim. TensorFlow.js ignores NaNs after the first element, but nabla does not, so tensors
 * with NaNs are left to the CPU kernel.
 */
const position = (extreme: Reduction, f: (x: Value, dim: number) => Value): NativeKernel => ({
  accepts: isFilled,
  run({ x }, { axis }) {
    const dims = x!.shape.map((_, i) => i);
    if (Number.isNaN((extreme(x!, dims, { keepdim: false }) as View).live()[0]!)) return null;
    return f(x!, util.parseAxisParam(axis, x!.shape as number[])[0]!);
  },
});

export const reduceKernels: Readonly<Record<string, NativeKernel>> = {
  // Accept empty tensors too, because their sum is 0 in both libraries.
  Sum: { types: ALL, run: reduction(sum).run },
  Mean: reduction(mean),
  Max: reduction(max, NUMBERS, "reductionIndices"),
  Min: reduction(min, NUMBERS),
  Prod: reduction((x, dims, { keepdim }) => reduce(prodDefinition, x, dims, keepdim)),
  All: byRows(allOf, "bool", all),
  Any: byRows(anyOf, "bool", any),
  ArgMax: position(max, argMax),
  ArgMin: position(min, argMin),
  Softmax: {
    accepts: ({ logits }) => logits!.shape.length > 0 && isFilled({ logits: logits! }),
    run: ({ logits }, { dim }) => softmax(logits!, dim),
  },
  Cumsum: {
    types: NUMBERS,
    accepts: ({ x }) => x!.shape.length > 0 && !x!.shape.includes(0),
    run({ x }, { axis, exclusive, reverse }) {
      const dim = util.parseAxisParam(axis, x!.shape as number[])[0]!;
      const { outer, middle: n, inner } = around(x!.shape, dim);
      const attributes = { outer, n, inner, shape: x!.shape, divisor: 1, reverse };
      const sums = apply(cumsumDefinition, [x!], attributes);
      if (!exclusive) return sums;
      const zeros = full(reducedShape(x!, [dim], true), 0, x!.dtype);
      return reverse
        ? concat([narrow(sums, dim, 1, n - 1), zeros], dim)
        : concat([zeros, narrow(sums, dim, 0, n - 1)], dim);
    },
  },
};
