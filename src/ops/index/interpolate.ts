/** Interpolation between slices along a dim, for resizing images. */
import { Op } from "../../../assembly/opcodes.ts";
import { ShapeError } from "../../runtime/errors.ts";
import { encodeInterpolate } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { requireType, show, sizeOf, type Value } from "../definition/value.ts";
import { mul, sub } from "../pointwise/arithmetic.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { concat } from "../shape/shape.ts";
import { around, gatherDefinitions, indexCheck, resized } from "./gather.ts";

/**
 * Prepends the weight of the first tap, so that the weights of each result add up to 1: [count, taps − 1] → [count,
 * taps].
 */
const allWeights = (weight: Value): Value => concat([sub(1, sum(weight, 1, { keepdim: true })), weight], 1);

/**
 * out[j] = x[k₀] + Σ weight[j, t − 1]·(x[kₜ] − x[k₀]) over t > 0, where kₜ = index[j, t]. Each result is a sum of
 * slices along a dim, with weights that add up to 1; if all of these slices are equal, the result equals them. The
 * gradient is dy, added to the slices with the same weights; the weights have no gradient. With five operands, every
 * slice is first interpolated along the next dim in the same way; the last two operands are that interpolation's index
 * and weights.
 */
export const interpolateDefinition: OpDefinition<{ dim: number }> = {
  code: Op.Interpolate,
  name: "interpolate",
  cost: 0.2,
  saves: [1, 2, 3, 4],
  infer([x, index, , columns], { dim }) {
    requireType("interpolate", x!, "float32");
    let { shape } = x!;
    for (const [along, list] of [
      [dim, index],
      [dim + 1, columns],
    ] as const) {
      if (!list) continue;
      const count = list.shape[0]!;
      if (count && !x!.shape[along]) throw new ShapeError(`interpolate: dim ${along} of ${show(x!.shape)} is empty.`);
      shape = resized(shape, along, count);
    }
    return [{ shape, dtype: "float32" }];
  },
  checks: ([x, , , columns], { dim }) =>
    [1, 3].slice(0, columns ? 2 : 1).map((input, i) => indexCheck("interpolate", input, x!.shape[dim + i]!)),
  encode(encoder, { inputs: [x, index, weight, columns, columnWeight], outputs: [out], attributes: { dim }, address }) {
    const { outer, middle: n } = around(x!.shape, dim);
    const [count, taps] = index!.shape as [number, number];
    const columnCount = columns ? columns.shape[0]! : 1;
    const inner = sizeOf(x!.shape.slice(columns ? dim + 2 : dim + 1));
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
      columns: columns ? address(columns) : 0,
      columnWeight: columnWeight ? address(columnWeight) : 0,
      width: columns ? x!.shape[dim + 1]! : 1,
      columnCount,
    });
  },
  vjp: (dy, { inputs: [x, index, weight, columns, columnWeight], attributes: { dim } }) => {
    const d = interpolateGrad(dy, dim, index!, allWeights(weight!), x!.shape[dim]!);
    if (!columns) return [d, null, null];
    return [
      interpolateGrad(d, dim + 1, columns, allWeights(columnWeight!), x!.shape[dim + 1]!),
      null,
      null,
      null,
      null,
    ];
  },
};

/**
 * The indices of the slices to interpolate between, int32 [count, taps], and the weights of all taps but the first,
 * float32 [count, taps − 1].
 */
export type Taps = readonly [index: Value, weight: Value];

/**
 * Interpolates between the slices of x along `dim`, with at least two taps per result. x: any shape → x's shape with
 * size `count` at `dim`.
 */
export function interpolate(x: Value, dim: number, taps: Taps): Value {
  return apply(interpolateDefinition, [x, ...taps], { dim });
}

/**
 * If a result has at least this many elements, one pass over both dims is faster than two passes, whose intermediate
 * result does not fit in the cache.
 */
const LARGE = 2 ** 21;
/** The smallest number of inner elements for which a single pass is efficient. */
const WIDE = 16;

/** Interpolates along `dim` and the next dim. `rows` and `columns` must have two taps. */
export function interpolatePlane(x: Value, dim: number, rows: Taps, columns: Taps): Value {
  const [height, width, ...rest] = x.shape.slice(dim) as [number, number, ...number[]];
  const count = rows[0].shape[0]!;
  const size = sizeOf(x.shape.slice(0, dim)) * count * columns[0].shape[0]! * sizeOf(rest);
  if (height * width > 0 && sizeOf(rest) >= WIDE && size >= LARGE)
    return apply(interpolateDefinition, [x, ...rows, ...columns], { dim });
  // Resize the height first if it shrinks, otherwise the width first: resizing the width is slower, so it should run on as few rows as
  // possible.
  return count < height
    ? interpolate(interpolate(x, dim, rows), dim + 1, columns)
    : interpolate(interpolate(x, dim + 1, columns), dim, rows);
}

/**
 * The gradient with respect to x, which has size n at `dim`. `weights` holds the weights of all taps: [count, taps].
 */
export function interpolateGrad(dy: Value, dim: number, index: Value, weights: Value, n: number): Value {
  const { outer, middle: count, inner } = around(dy.shape, dim);
  const [taps, many] = [index.shape[1]!, index.size];
  const terms = mul(reshape(dy, [outer, count, 1, inner]), reshape(weights, [count, taps, 1]));
  const rows = reshape(terms, [outer, many, inner]);
  const dx = apply(gatherDefinitions.indexAdd, [rows, reshape(index, [many])], { dim: 1, n });
  return reshape(dx, resized(dy.shape, dim, n));
}
