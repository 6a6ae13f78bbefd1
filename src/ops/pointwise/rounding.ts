/** Rounding to whole numbers, and remainders. */

import { Op } from "../../../assembly/opcodes.ts";
import { INT32_MAX as MAX, INT32_MIN as MIN } from "../definition/value.ts";
import { add, div, mul, neg, sub } from "./arithmetic.ts";
import { eq, gt, lt, where } from "./comparison.ts";
import { abs } from "./extremes.ts";
import { binary, unary } from "./pointwise.ts";

/**
 * The largest whole number ≤ x. Derivative 0.
 *
 * @example
 * ```ts
 * const x = tensor([1.5, -1.5]);
 * x.floor().toArray(); // [1, -2]
 * ```
 * @op
 */
export const floor = unary({
  code: Op.Floor,
  name: "floor",
  saves: "none",
  integer: (x) => x,
  vjp: () => [null],
});
/**
 * The smallest whole number ≥ x. Derivative 0.
 *
 * @example
 * ```ts
 * const x = tensor([1.5, -1.5]);
 * x.ceil().toArray(); // [2, -1]
 * ```
 * @op
 */
export const ceil = unary({
  code: Op.Ceil,
  name: "ceil",
  saves: "none",
  integer: (x) => x,
  vjp: () => [null],
});
/**
 * The nearest whole number, with halves rounded to even. Derivative 0.
 *
 * @example
 * ```ts
 * const x = tensor([0.5, 1.5, 1.7]);
 * x.round().toArray(); // [0, 2, 2]
 * ```
 * @op
 */
export const round = unary({
  code: Op.Round,
  name: "round",
  saves: "none",
  integer: (x) => x,
  vjp: () => [null],
});
/**
 * The remainder a − b·⌊a/b⌋, exact for any a and b, with the sign of b. If both operands are int32, so is the result
 * (modulo 2³²); it is 0 where b = 0. Derivatives 1, −⌊a/b⌋.
 *
 * @example
 * ```ts
 * const x = tensor([5, -5]);
 * x.mod(3).toArray(); // [2, 1]
 * ```
 * @op
 */
export const mod = binary({
  code: Op.Mod,
  cost: 1.5,
  name: "mod",
  type: "int",
  saves: "both",
  // For |b| > |a|, the result is a, or a + b if the signs differ.
  integer: (x, b) => (b > MAX ? where(lt(x, 0), add(x, b | 0), x) : b < MIN ? where(gt(x, 0), add(x, b | 0), x) : null),
  // Computes ⌊a/b⌋ from the remainder, because a/b may round up to the next integer. Where the remainder is infinite,
  // it equals b, and ⌊a/b⌋ is −1.
  vjp: (dy, { a, b, y, needs }) => [
    dy,
    needs[1] ? neg(mul(dy, where(eq(abs(y), Infinity), -1, round(div(sub(a, y), b))))) : null,
  ],
});
