/** Public functions: variance, standard deviation, norms and logSumExp. */

import { ShapeError } from "../../runtime/errors.ts";
import type { Operand } from "../definition/op.ts";
import { normalizeDims, show, sizeOf, type Value } from "../definition/value.ts";
import { add, div, mul, sub } from "../pointwise/arithmetic.ts";
import { eq, gt, lt, ne, where } from "../pointwise/comparison.ts";
import { exp, log, pow } from "../pointwise/exponential.ts";
import { abs } from "../pointwise/extremes.ts";
import { logicalAnd } from "../pointwise/logical.ts";
import { float } from "../pointwise/pointwise.ts";
import { mod, round } from "../pointwise/rounding.ts";
import { reshape } from "../shape/reshape.ts";
import { cast } from "../shape/shape.ts";
import { normDefinition, squaresDefinition } from "./euclid.ts";
import { shiftDefinition, smallestDefinition } from "./fold.ts";
import { counted, type Dims, max, mean, min, type ReduceOptions, reduce, reducedShape, sum } from "./reduce.ts";

/**
 * Computes log Σ eˣ along `dims` without overflow. For no elements, the result is −∞. The gradient is the
 * softmax, or 0 where all elements are −∞.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; float32.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist or is listed twice
 * @example
 * ```ts
 * const x = tensor([1000, 1000]);
 * x.logSumExp().item(); // 1000.6932
 * ```
 * @op
 */
export function logSumExp(x: Operand, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Value {
  const v = float(x);
  if (!counted("logSumExp", v, dims)) return add(sum(v, dims, { keepdim }), -Infinity);
  const top = reduce(shiftDefinition, v, dims, true);
  // Don't subtract an infinite maximum, because ∞ − ∞ is NaN.
  const shift = where(ne(mul(top, 0), 0), 0, top);
  const total = sum(exp(sub(v, shift)), dims, { keepdim: true });
  const result = add(unlessZero(total, log, -Infinity), shift);
  return reshape(result, reducedShape(v, normalizeDims("logSumExp", dims, v.shape.length), keepdim));
}

/** f(x), but `atZero` where x = 0, with gradients of 0 there. Use it for functions without a finite derivative at 0. */
function unlessZero(x: Value, f: (x: Value) => Value, atZero: number): Value {
  const zero = eq(x, 0);
  return where(zero, atZero, f(where(zero, 1, x)));
}

export interface VarianceOptions extends ReduceOptions {
  /** The number to subtract from n: 1 is Bessel's correction, and 0 gives the population variance. Default 1. */
  readonly correction?: number;
}

/** x − mean. The second mean corrects the rounding error of the first, which matters if x is far from 0. */
export function centre(x: Value, dims: Dims | undefined): Value {
  const near = sub(x, mean(x, dims, { keepdim: true }));
  return sub(near, mean(near, dims, { keepdim: true }));
}

/**
 * x − mean for int32. First subtracts the rounded mean of the upper 16 bits. This subtraction is exact, so elements far
 * from 0 but close to each other lose no digits in float32.
 */
function centreWhole(x: Value, dims: Dims | undefined): Value {
  const low = mod(x, 2 ** 16);
  const high = mul(float(sub(x, low)), 2 ** -16);
  const near = sub(high, round(mean(high, dims, { keepdim: true })));
  return centre(add(mul(near, 2 ** 16), float(low)), dims);
}

/** Applies `definition` to x − mean along `dims`, with divisor n − correction. */
function deviation(
  name: string,
  definition: typeof squaresDefinition,
  x: Operand,
  dims: Dims | undefined,
  keepdim: boolean,
  correction: number,
): Value {
  const v = float(x);
  const divisor = Math.max(0, counted(name, v, dims) - correction);
  const centred = typeof x === "object" && x.dtype === "int32" ? centreWhole(x, dims) : centre(v, dims);
  return reduce(definition, centred, dims, keepdim, divisor);
}

/**
 * The variance along `dims`: Σ (x − mean)² / (n − correction), in two passes. It overflows or underflows only if the
 * exact result does.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; float32.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist or is listed twice
 * @example
 * ```ts
 * const x = tensor([1, 2, 3, 4]);
 * x.var().item(); // 1.6667
 * x.var({ correction: 0 }).item(); // 1.25
 * ```
 * @op function var
 */
export function variance(x: Operand, dims?: Dims, { keepdim = false, correction = 1 }: VarianceOptions = {}): Value {
  return deviation("var", squaresDefinition, x, dims, keepdim, correction);
}

/**
 * The standard deviation along `dims`: √(Σ (x − mean)² / (n − correction)), finite even if the variance overflows. The
 * gradient is 0 where the result is 0.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; float32.
 *
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist or is listed twice
 * @example
 * ```ts
 * const x = tensor([1, 2, 3, 4]);
 * x.std().item(); // 1.291
 * x.std({ correction: 0 }).item(); // 1.118
 * ```
 * @op
 */
export function std(x: Operand, dims?: Dims, { keepdim = false, correction = 1 }: VarianceOptions = {}): Value {
  return deviation("std", normDefinition, x, dims, keepdim, correction);
}

/**
 * The p-norm (Σ |x|ᵖ)^(1/p) along `dims`. It overflows or underflows only if the exact result does. The gradient is 0
 * where the norm is 0.
 *
 * x: any shape → x's shape without `dims`, or with size 1 in their place if `keepdim` is true; float32.
 *
 * @param p The order: any number, ∞ or −∞; 0 counts the nonzero elements. Default 2.
 * @param dims The dim or dims to reduce; all by default. Negative dims count from the end.
 * @throws ShapeError if a dim does not exist or is listed twice, or if x is empty and p is ∞ or negative
 * @example
 * ```ts
 * const x = tensor([3, -4]);
 * x.norm().item(); // 5
 * x.norm(1).item(); // 7
 * ```
 * @op
 */
export function norm(x: Operand, p = 2, dims?: Dims, { keepdim = false }: ReduceOptions = {}): Value {
  const v = float(x);
  const shape = reducedShape(v, normalizeDims("norm", dims, v.shape.length), keepdim);
  if ((p < 0 || p === Infinity) && !counted("norm", v, dims) && sizeOf(shape))
    throw new ShapeError(
      `norm: ${show(v.shape)} has no elements along the reduced dims, so the ${p}-norm is undefined. Use a finite p ≥ 0.`,
    );
  if (p === 1) return sum(abs(v), dims, { keepdim });
  if (p === Infinity) return max(abs(v), dims, { keepdim });
  if (p === -Infinity) return min(abs(v), dims, { keepdim });
  if (p === 0) return sum(cast(ne(v, 0), "float32"), dims, { keepdim });
  if (!counted("norm", v, dims)) return sum(v, dims, { keepdim });
  if (p === 2) return reduce(normDefinition, v, dims, keepdim);
  // ‖x‖ = s·‖x/s‖, where s is the largest |x|, or the smallest for p < 0, so that no power of |x|/s is above 1.
  const most = reduce(p > 0 ? shiftDefinition : smallestDefinition, abs(v), dims, true);
  const scale = where(logicalAnd(gt(most, 0), lt(most, Infinity)), most, 1);
  // For p < 1, |x|ᵖ has no derivative at 0, and neither does the root of a sum that is 0. Elements that are 0 get a
  // gradient of 0, as in PyTorch.
  const zero = eq(v, 0);
  const powers = pow(abs(div(where(zero, 1, v), scale)), p);
  const total = sum(p > 0 ? where(zero, 0, powers) : where(zero, Infinity, powers), dims, { keepdim: true });
  const empty = p > 0 ? eq(total, 0) : eq(total, Infinity);
  const result = where(empty, 0, mul(pow(where(empty, 1, total), 1 / p), scale));
  return reshape(result, shape);
}
