/** Reductions, and kernels along rows. */
import { util } from "@tensorflow/tfjs-core";
import type { Value } from "../../ops/definition/value.ts";
import { all, any, argMax, argMin, cumsum, max, mean, min, prod, reducedShape, sum } from "../../ops/reduce/reduce.ts";
import { logSoftmax, softmax } from "../../ops/reduce/rows.ts";
import { concat, flip, full, narrow } from "../../ops/shape/shape.ts";
import type { View } from "../view.ts";
import { ALL, isFilled, type NativeKernel, NUMBERS } from "./kernel.ts";

type Reduction = (x: Value, dims: number[], options: { keepdim: boolean }) => Value;

/** A reduction along `attributes[axes]`, or along all dims if it is absent. */
const reduction = (f: Reduction, types: NativeKernel["types"], axes = "axis"): NativeKernel => ({
  ...(types && { types }),
  accepts: isFilled,
  run: ({ x }, attributes) =>
    f(x!, util.parseAxisParam(attributes[axes], x!.shape as number[]), { keepdim: attributes.keepDims === true }),
});

/**
 * The position of an extreme along one dim. TensorFlow.js ignores NaNs after the first element, which nabla does not, so NaNs are left to
 * the CPU kernel.
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
  Sum: { ...reduction(sum, ALL), accepts: () => true },
  Mean: reduction(mean, undefined),
  Max: reduction(max, NUMBERS, "reductionIndices"),
  Min: reduction(min, NUMBERS),
  Prod: reduction(prod, undefined),
  All: reduction(all, ["bool"]),
  Any: reduction(any, ["bool"]),
  ArgMax: position(max, argMax),
  ArgMin: position(min, argMin),
  Softmax: {
    accepts: isFilled,
    run: ({ logits }, { dim }) => softmax(logits!, dim),
  },
  LogSoftmax: { accepts: isFilled, run: ({ logits }, { axis }) => logSoftmax(logits!, axis) },
  Cumsum: {
    types: NUMBERS,
    accepts: ({ x }) => x!.shape.length > 0 && !x!.shape.includes(0),
    run({ x }, { axis, exclusive, reverse }) {
      const dim = util.parseAxisParam(axis, x!.shape as number[])[0]!;
      const sums = cumsum(reverse ? flip(x!, dim) : x!, dim);
      const zeros = (): Value => full(reducedShape(x!, [dim], true), 0, x!.dtype);
      const shifted = exclusive ? concat([zeros(), narrow(sums, dim, 0, x!.shape[dim]! - 1)], dim) : sums;
      return reverse ? flip(shifted, dim) : shifted;
    },
  },
};
