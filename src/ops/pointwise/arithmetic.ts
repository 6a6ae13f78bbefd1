/** Sums, differences, products and quotients. */

import { Op } from "../../../assembly/opcodes.ts";
import type { Operand } from "../definition/op.ts";
import type { Value } from "../definition/value.ts";
import { binary, type UnaryOp, unary } from "./pointwise.ts";

/**
 * −x. Derivative −1.
 *
 * @example
 * ```ts
 * const x = tensor([1, -2]);
 * x.neg().toArray(); // [-1, 2]
 * ```
 * @op
 */
export const neg: UnaryOp = unary({
  code: Op.Neg,
  name: "neg",
  saves: "none",
  integer: (x) => sub(0, x),
  vjp: (dy) => [neg(dy)],
});
/**
 * x². Derivative 2x.
 *
 * @example
 * ```ts
 * const x = tensor([3, -2]);
 * x.square().toArray(); // [9, 4]
 * ```
 * @op
 */
export const square = unary({
  code: Op.Square,
  name: "square",
  saves: "input",
  integer: (x) => mul(x, x),
  vjp: (dy, { x }) => [mul(mul(dy, x), 2)],
});
/**
 * 1/x. Derivative −1/x².
 *
 * @example
 * ```ts
 * const x = tensor([2, 4]);
 * x.reciprocal().toArray(); // [0.5, 0.25]
 * ```
 * @op
 */
export const reciprocal = unary({
  code: Op.Reciprocal,
  name: "reciprocal",
  saves: "output",
  vjp: (dy, { y }) => [neg(mul(dy, square(y)))],
});

/**
 * a + b. Derivatives 1, 1.
 *
 * @example
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.add(tensor([10, 20])).toArray(); // [[11, 22], [13, 24]]
 * x.add(1).toArray(); // [[2, 3], [4, 5]]
 * ```
 * @op
 */
export const add = binary({
  code: Op.Add,
  name: "add",
  type: "int",
  saves: "none",
  vjp: (dy) => [dy, dy],
});
/**
 * a − b. Derivatives 1, −1.
 *
 * @example
 * ```ts
 * const x = tensor([5, 7]);
 * x.sub(tensor([1, 2])).toArray(); // [4, 5]
 * ```
 * @op
 */
export const sub = binary({
  code: Op.Sub,
  name: "sub",
  type: "int",
  saves: "none",
  vjp: (dy, { needs }) => [dy, needs[1] ? neg(dy) : null],
});
/** (a − b)². Derivatives 2(a − b), −2(a − b). */
export const squaredDifference = binary({
  code: Op.SquaredDifference,
  name: "squaredDifference",
  saves: "input",
  vjp: (dy, { a, b, needs }) => {
    const d = mul(mul(dy, 2), sub(a, b));
    return [d, needs[1] ? neg(d) : null];
  },
});
/**
 * a·b. Derivatives b, a.
 *
 * @example
 * ```ts
 * const x = tensor([5, 7]);
 * x.mul(tensor([1, 2])).toArray(); // [5, 14]
 * ```
 * @op
 */
export const mul = binary({
  code: Op.Mul,
  name: "mul",
  type: "int",
  saves: "input",
  vjp: (dy, { a, b, needs }) => [needs[0] ? mul(dy, b) : null, needs[1] ? mul(dy, a) : null],
});
/**
 * a / b, always float32. Derivatives 1/b, −a/b².
 *
 * @example
 * ```ts
 * const x = tensor([5, 7]);
 * x.div(2).toArray(); // [2.5, 3.5]
 * ```
 * @op
 */
export const div = binary({
  code: Op.Div,
  name: "div",
  saves: "both",
  // Use y/b instead of (1/b)·y, because 1/b can overflow where y/b does not.
  vjp: (dy, { b, y, needs }) => [needs[0] ? div(dy, b) : null, needs[1] ? neg(mul(dy, div(y, b))) : null],
});

/** The product of any number of operands. */
export const product = (...xs: Operand[]): Value => xs.reduce((a, b) => mul(a, b)) as Value;
