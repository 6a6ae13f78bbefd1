/** Interpolation between slices along a dim, which resizes images. */
import { Op } from "../../../assembly/opcodes.ts";
import { ShapeError } from "../../runtime/errors.ts";
import { encodeInterpolate } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { requireType, show, type Value } from "../definition/value.ts";
import { mul, sub } from "../pointwise/arithmetic.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { concat } from "../shape/shape.ts";
import { around, gatherDefinitions, indexCheck, resized } from "./gather.ts";

/**
 * out[j] = x[k₀] + Σ weight[j, t − 1]·(x[kₜ] − x[k₀]) over t > 0, where kₜ = index[j, t]: sums of slices along a dim,
 * with weights that add up to 1. If all slices are equal, so is the result. The gradient is added back to the slices
 * with the same weights; the weights have no gradient.
 */
export const interpolateDefinition: OpDefinition<{ dim: number }> = {
  code: Op.Interpolate,
  name: "interpolate",
  cost: 0.2,
  saves: [1, 2],
  infer([x, index], { dim }) {
    requireType("interpolate", x!, "float32");
    const count = index!.shape[0]!;
    if (count && !x!.shape[dim]) throw new ShapeError(`interpolate: dim ${dim} of ${show(x!.shape)} is empty.`);
    return [{ shape: resized(x!.shape, dim, count), dtype: "float32" }];
  },
  checks: ([x], { dim }) => [indexCheck("interpolate", 1, x!.shape[dim]!)],
  encode(encoder, { inputs: [x, index, weight], outputs: [out], attributes: { dim }, address }) {
    const { outer, middle: n, inner } = around(x!.shape, dim);
    const [count, taps] = index!.shape as [number, number];
    encodeInterpolate(encoder, {
      out: address(out!),
      x: address(x!),
      index: address(index!),
      weight: address(weight!),
      outer,
      n,
      count,
      inner,
      taps,
    });
  },
  vjp: (dy, { inputs: [x, index, weight], attributes: { dim } }) => [
    interpolateGrad(dy, dim, index!, concat([sub(1, sum(weight!, 1, { keepdim: true })), weight!], 1), x!.shape[dim]!),
    null,
    null,
  ],
};

/**
 * Interpolates between the slices of x along `dim`: x: any shape, index: int32 [count, taps], at least two taps, weight: float32
 * [count, taps − 1], the weights of the taps after the first → x's shape with size `count` at `dim`.
 */
export function interpolate(x: Value, dim: number, index: Value, weight: Value): Value {
  return apply(interpolateDefinition, [x, index, weight], { dim });
}

/** The gradient with respect to x, which has size n at `dim`. `weights` has the weights of all taps: [count, taps]. */
export function interpolateGrad(dy: Value, dim: number, index: Value, weights: Value, n: number): Value {
  const { outer, middle: count, inner } = around(dy.shape, dim);
  const [taps, many] = [index.shape[1]!, index.size];
  const terms = mul(reshape(dy, [outer, count, 1, inner]), reshape(weights, [count, taps, 1]));
  const rows = reshape(terms, [outer, many, inner]);
  const dx = apply(gatherDefinitions.indexAdd, [rows, reshape(index, [many])], { dim: 1, n });
  return reshape(dx, resized(dy.shape, dim, n));
}
