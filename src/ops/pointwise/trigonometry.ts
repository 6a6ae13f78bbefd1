/** Sine, cosine and tangent, and the angle of a point. */

import { Op } from "../../../assembly/opcodes.ts";
import { add, div, mul, neg, square } from "./arithmetic.ts";
import { binary, type UnaryOp, unary } from "./pointwise.ts";

/**
 * sin x, with x in radians (≤ 1.6 ulp for any finite x). Derivative cos x.
 *
 * @example
 * ```ts
 * const x = tensor([0, Math.PI / 2]);
 * x.sin().toArray(); // [0, 1]
 * ```
 * @op
 */
export const sin: UnaryOp = unary({
  code: Op.Sin,
  cost: 1,
  name: "sin",
  saves: "input",
  vjp: (dy, { x }) => [mul(dy, cos(x))],
});
/**
 * cos x, with x in radians (≤ 1.6 ulp for any finite x). Derivative −sin x.
 *
 * @example
 * ```ts
 * const x = tensor([0, Math.PI]);
 * x.cos().toArray(); // [1, -1]
 * ```
 * @op
 */
export const cos: UnaryOp = unary({
  code: Op.Cos,
  cost: 1,
  name: "cos",
  saves: "input",
  vjp: (dy, { x }) => [neg(mul(dy, sin(x)))],
});
/**
 * tan x, with x in radians (≤ 0.6 ulp for any finite x). Derivative 1 + tan² x.
 *
 * @example
 * ```ts
 * const x = tensor([0, Math.PI / 4]);
 * x.tan().toArray(); // [0, 1]
 * ```
 * @op
 */
export const tan = unary({
  code: Op.Tan,
  cost: 1,
  name: "tan",
  saves: "output",
  vjp: (dy, { y }) => [mul(dy, add(square(y), 1))],
});
/**
 * The angle of the point (b, a), in (−π, π] (≤ 2 ulp). Derivatives b/(a² + b²), −a/(a² + b²).
 *
 * @example
 * ```ts
 * const y = tensor([1, -1]);
 * y.atan2(tensor([1, -1])).toArray(); // [0.7854, -2.3562]
 * ```
 * @op
 */
export const atan2 = binary({
  code: Op.Atan2,
  cost: 1.5,
  name: "atan2",
  saves: "input",
  vjp(dy, { a, b }) {
    const scaled = div(dy, add(square(a), square(b)));
    return [mul(scaled, b), neg(mul(scaled, a))];
  },
});
