/** Exponentials, logarithms, roots and powers. */

import { Op } from "../../../assembly/opcodes.ts";
import { INT32_MAX as MAX, type Value } from "../definition/value.ts";
import { full } from "../shape/shape.ts";
import { add, div, mul, square, sub } from "./arithmetic.ts";
import { eq, ge, where } from "./comparison.ts";
import { logicalAnd } from "./logical.ts";
import { binary, unary } from "./pointwise.ts";

/**
 * √x, or NaN where x < 0. Derivative 1/(2√x).
 *
 * @example
 * ```ts
 * const x = tensor([4, 9]);
 * x.sqrt().toArray(); // [2, 3]
 * ```
 * @op
 */
export const sqrt = unary({
  code: Op.Sqrt,
  name: "sqrt",
  saves: "output",
  vjp: (dy, { y }) => [mul(div(dy, y), 0.5)],
});
/**
 * 1/√x (≤ 1.5 ulp). Derivative −½·x^(−3/2).
 *
 * @example
 * ```ts
 * const x = tensor([4, 16]);
 * x.rsqrt().toArray(); // [0.5, 0.25]
 * ```
 * @op
 */
export const rsqrt = unary({
  code: Op.Rsqrt,
  name: "rsqrt",
  saves: "output",
  vjp: (dy, { y }) => [mul(mul(dy, mul(square(y), y)), -0.5)],
});
/**
 * eˣ (≤ 1.1 ulp). Derivative eˣ.
 *
 * @example
 * ```ts
 * const x = tensor([0, 1]);
 * x.exp().toArray(); // [1, 2.7183]
 * ```
 * @op
 */
export const exp = unary({
  code: Op.Exp,
  cost: 1,
  name: "exp",
  saves: "output",
  vjp: (dy, { y }) => [mul(dy, y)],
});
/**
 * eˣ − 1 (≤ 1.5 ulp, even near 0). Derivative eˣ.
 *
 * @example
 * ```ts
 * const x = tensor([0, 1]);
 * x.expm1().toArray(); // [0, 1.7183]
 * ```
 * @op
 */
export const expm1 = unary({
  code: Op.Expm1,
  cost: 1,
  name: "expm1",
  saves: "output",
  vjp: (dy, { y }) => [mul(dy, add(y, 1))],
});
/**
 * Natural logarithm (≤ 1 ulp), or NaN where x < 0. Derivative 1/x.
 *
 * @example
 * ```ts
 * const x = tensor([1, 10]);
 * x.log().toArray(); // [0, 2.3026]
 * ```
 * @op
 */
export const log = unary({
  code: Op.Log,
  cost: 1,
  name: "log",
  saves: "input",
  vjp: (dy, { x }) => [div(dy, x)],
});
/**
 * log(1 + x) (≤ 1.5 ulp, even near 0). Derivative 1/(1 + x).
 *
 * @example
 * ```ts
 * const x = tensor([0, 9]);
 * x.log1p().toArray(); // [0, 2.3026]
 * ```
 * @op
 */
export const log1p = unary({
  code: Op.Log1p,
  cost: 1,
  name: "log1p",
  saves: "input",
  vjp: (dy, { x }) => [div(dy, add(x, 1))],
});
/**
 * aᵇ (≤ 0.6 ulp), float32. If a is an int32 tensor and b is a whole number ≥ 0, the result is int32, modulo 2³².
 * Derivatives b·aᵇ⁻¹ (0 where b = 0) and aᵇ·log a (0 where a = 0 ≤ b).
 *
 * @example
 * ```ts
 * const x = tensor([2, 3]);
 * x.pow(2).toArray(); // [4, 9]
 * pow(2, x).toArray(); // [4, 8]
 * ```
 * @op
 */
export const pow = binary({
  code: Op.Pow,
  cost: 4,
  name: "pow",
  saves: "both",
  integer(x, exponent) {
    if (exponent < 0 || exponent > MAX) return null;
    const power = (base: Value, n: number): Value => {
      if (n <= 1) return n ? base : full(x.shape, 1, "int32");
      const even = power(mul(base, base), n >> 1);
      return n & 1 ? mul(base, even) : even;
    };
    return power(x, exponent);
  },
  vjp: (dy, { a, b, y, needs }) => {
    const flat = () => logicalAnd(eq(a, 0), ge(b, 0));
    return [
      needs[0] ? where(eq(b, 0), 0, mul(dy, mul(b, pow(a, sub(b, 1))))) : null,
      needs[1] ? where(flat(), 0, mul(dy, mul(y, log(where(flat(), 1, a))))) : null,
    ];
  },
});
