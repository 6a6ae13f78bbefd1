/** Elementary pointwise ops: signs, powers, exp and log, rounding, arithmetic, comparisons, where. */

import { Op } from "../../../assembly/opcodes.ts";
import { TypeError } from "../../runtime/errors.ts";
import { encodeWhere } from "../../runtime/instructions.ts";
import { apply, type OpDefinition, type Operand } from "../definition/op.ts";
import { broadcastShapes, INT32_MAX as MAX, INT32_MIN as MIN, requireType, type Value } from "../definition/value.ts";
import { broadcastTo, cast, full } from "../shape/shape.ts";
import { binary, derivative, promote, type UnaryOp, unary } from "./pointwise.ts";

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
 * |x|. Derivative sign(x), 0 at 0.
 *
 * @example
 * ```ts
 * const x = tensor([1, -2]);
 * x.abs().toArray(); // [1, 2]
 * ```
 * @op
 */
export const abs = unary({
  code: Op.Abs,
  name: "abs",
  saves: "input",
  integer: (x) => maximum(x, neg(x)),
  vjp: (dy, { x }) => [mul(dy, sign(x))],
});
/**
 * −1, 0 or 1. Derivative 0.
 *
 * @example
 * ```ts
 * const x = tensor([3, 0, -2]);
 * x.sign().toArray(); // [1, 0, -1]
 * ```
 * @op
 */
export const sign = unary({
  code: Op.Sign,
  name: "sign",
  saves: "none",
  integer: (x) => minimum(maximum(x, -1), 1),
  vjp: () => [null],
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
 * √x, NaN below 0. Derivative 1/(2√x).
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
 * eˣ − 1 (≤ 1.5 ulp, near 0 too). Derivative eˣ.
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
 * Natural logarithm (≤ 1 ulp), NaN below 0. Derivative 1/x.
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
 * log(1 + x) (≤ 1.5 ulp, near 0 too). Derivative 1/(1 + x).
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
 * The nearest whole number, halves to even. Derivative 0.
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
 * min(max(x, low), high); int32 stays int32 for whole bounds. Derivative 1 inside, bounds included; 0 outside.
 *
 * @param low The lower bound; null or none leaves it open.
 * @param high The upper bound; null or none leaves it open.
 * @throws TypeError if both bounds are missing
 * @example
 * ```ts
 * const x = tensor([-2, 0.5, 3]);
 * x.clamp(0, 1).toArray(); // [0, 0.5, 1]
 * x.clamp(null, 1).toArray(); // [-2, 0.5, 1]
 * ```
 * @op
 */
export const clamp = unary({
  code: Op.Clamp,
  cost: 0.4,
  name: "clamp",
  saves: "input",
  parameters: (low?: number | null, high?: number | null) => {
    if (low == null && high == null)
      throw new TypeError("clamp: no bounds given. Pass clamp(low, high); null leaves one open.");
    return [low ?? -Infinity, high ?? Infinity];
  },
  integer(x, low, high) {
    // A bound beyond int32 on the far side never binds; one on the near side is a result that int32 does not hold.
    const isLow = low === -Infinity || (Number.isInteger(low) && low <= MAX);
    const isHigh = high === Infinity || (Number.isInteger(high) && high >= MIN);
    if (!isLow || !isHigh) return null;
    const raised = low <= MIN ? x : maximum(x, low);
    return high >= MAX ? raised : minimum(raised, high);
  },
  vjp: (dy, { x, p, q }) => [clampGrad(dy, x, p, q)],
});
/** dy where low ≤ x ≤ high, else 0. */
export const clampGrad = derivative({
  code: Op.ClampGrad,
  name: "clampGrad",
  vjp: () => null,
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
  // (a/b)/b rather than (1/b)·(a/b): 1/b overflows first.
  vjp: (dy, { b, y, needs }) => [needs[0] ? div(dy, b) : null, needs[1] ? neg(mul(dy, div(y, b))) : null],
});
/**
 * aᵇ (≤ 0.6 ulp), float32; int32 modulo 2³² for int32 a and a whole number b ≥ 0. Derivatives b·aᵇ⁻¹ (0 where b = 0)
 * and aᵇ·log a (0 where a = 0 ≤ b).
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
/** What an operand gets of the gradient of a maximum or minimum: nothing if it loses, half in a tie, else (NaN too) all. */
function share(loses: Value, ties: Value): Value {
  return sub(sub(1, cast(loses, "float32")), mul(cast(ties, "float32"), 0.5));
}
/**
 * The larger of a and b, NaN if either is; a number below int32 leaves int32 as it is. Ties share the gradient.
 *
 * @example
 * ```ts
 * const x = tensor([1, 5]);
 * x.maximum(3).toArray(); // [3, 5]
 * ```
 * @op
 */
export const maximum = binary({
  code: Op.Maximum,
  name: "maximum",
  type: "int",
  saves: "input",
  integer: (x, c) => (c < MIN ? x : null),
  commutes: true,
  vjp: (dy, { a, b, needs }) => [
    needs[0] ? mul(dy, share(lt(a, b), eq(a, b))) : null,
    needs[1] ? mul(dy, share(lt(b, a), eq(a, b))) : null,
  ],
});
/**
 * The smaller of a and b, NaN if either is; a number above int32 leaves int32 as it is. Ties share the gradient.
 *
 * @example
 * ```ts
 * const x = tensor([1, 5]);
 * x.minimum(3).toArray(); // [1, 3]
 * ```
 * @op
 */
export const minimum = binary({
  code: Op.Minimum,
  name: "minimum",
  type: "int",
  saves: "input",
  integer: (x, c) => (c > MAX ? x : null),
  commutes: true,
  vjp: (dy, { a, b, needs }) => [
    needs[0] ? mul(dy, share(lt(b, a), eq(a, b))) : null,
    needs[1] ? mul(dy, share(lt(a, b), eq(a, b))) : null,
  ],
});
/**
 * a − b·⌊a/b⌋ with the sign of b, exact for any a and b; int32 stays int32 (modulo 2³²), 0 if b = 0. Derivatives 1,
 * −⌊a/b⌋.
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
  // |b| > |a|: a stays, or becomes a + b if the signs differ.
  integer: (x, b) => (b > MAX ? where(lt(x, 0), add(x, b | 0), x) : b < MIN ? where(gt(x, 0), add(x, b | 0), x) : null),
  // ⌊a/b⌋ from the remainder, since a/b may round up to the next whole number; −1 where the remainder is an infinite b.
  vjp: (dy, { a, b, y, needs }) => [
    dy,
    needs[1] ? neg(mul(dy, where(eq(abs(y), Infinity), -1, round(div(sub(a, y), b))))) : null,
  ],
});
/**
 * a = b, as bool.
 *
 * @example
 * ```ts
 * const x = tensor([1, 2]);
 * x.eq(2).toArray(); // [false, true]
 * ```
 * @op
 */
export const eq = binary({
  code: Op.Equal,
  name: "eq",
  type: "bool",
  saves: "none",
});
/**
 * a ≠ b, as bool.
 *
 * @example
 * ```ts
 * const x = tensor([1, 2]);
 * x.ne(2).toArray(); // [true, false]
 * ```
 * @op
 */
export const ne = binary({
  code: Op.NotEqual,
  name: "ne",
  type: "bool",
  saves: "none",
});
/**
 * a < b, as bool.
 *
 * @example
 * ```ts
 * const x = tensor([1, 2, 3]);
 * x.lt(2).toArray(); // [true, false, false]
 * ```
 * @op
 */
export const lt = binary({
  code: Op.Less,
  name: "lt",
  type: "bool",
  round: { first: Math.floor, second: Math.ceil },
  saves: "none",
});
/**
 * a ≤ b, as bool.
 *
 * @example
 * ```ts
 * const x = tensor([1, 2, 3]);
 * x.le(2).toArray(); // [true, true, false]
 * ```
 * @op
 */
export const le = binary({
  code: Op.LessEqual,
  name: "le",
  type: "bool",
  round: { first: Math.ceil, second: Math.floor },
  saves: "none",
});
/**
 * a > b, as bool. No gradient.
 *
 * a, b: any shapes that broadcast → the broadcast shape, bool.
 *
 * @throws ShapeError if the shapes do not broadcast
 * @example
 * ```ts
 * const x = tensor([1, 2, 3]);
 * x.gt(2).toArray(); // [false, false, true]
 * ```
 * @op
 */
export const gt = (a: Operand, b: Operand): Value => lt(b, a);
/**
 * a ≥ b, as bool. No gradient.
 *
 * a, b: any shapes that broadcast → the broadcast shape, bool.
 *
 * @throws ShapeError if the shapes do not broadcast
 * @example
 * ```ts
 * const x = tensor([1, 2, 3]);
 * x.ge(2).toArray(); // [false, true, true]
 * ```
 * @op
 */
export const ge = (a: Operand, b: Operand): Value => le(b, a);

const truth = (x: Operand): Value => (typeof x === "object" && x.dtype === "bool" ? x : ne(x, 0));
/**
 * a ∧ b: true where both are true. Numbers other than 0, and NaN, count as true. No gradient.
 *
 * a, b: any shapes that broadcast → the broadcast shape, bool.
 *
 * @throws ShapeError if the shapes do not broadcast
 * @example
 * ```ts
 * const x = tensor([true, false]);
 * x.logicalAnd(tensor([true, true])).toArray(); // [true, false]
 * ```
 * @op
 */
export const logicalAnd = (a: Operand, b: Operand): Value => cast(mul(truth(a), truth(b)), "bool");
/**
 * a ∨ b: true where at least one is true. Numbers other than 0, and NaN, count as true. No gradient.
 *
 * a, b: any shapes that broadcast → the broadcast shape, bool.
 *
 * @throws ShapeError if the shapes do not broadcast
 * @example
 * ```ts
 * const x = tensor([true, false]);
 * x.logicalOr(tensor([false, false])).toArray(); // [true, false]
 * ```
 * @op
 */
export const logicalOr = (a: Operand, b: Operand): Value => cast(maximum(truth(a), truth(b)), "bool");
/**
 * a ⊕ b: true where exactly one is true. Numbers other than 0, and NaN, count as true. No gradient.
 *
 * a, b: any shapes that broadcast → the broadcast shape, bool.
 *
 * @throws ShapeError if the shapes do not broadcast
 * @example
 * ```ts
 * const x = tensor([true, false]);
 * x.logicalXor(tensor([true, true])).toArray(); // [false, true]
 * ```
 * @op
 */
export const logicalXor = (a: Operand, b: Operand): Value => ne(truth(a), truth(b));
/**
 * ¬x: true where x is 0 or false. No gradient.
 *
 * x: any shape → the same shape, bool.
 *
 * @example
 * ```ts
 * const x = tensor([true, false]);
 * x.logicalNot().toArray(); // [false, true]
 * ```
 * @op
 */
export const logicalNot = (x: Operand): Value => eq(x, 0);
/**
 * True where x is NaN. No gradient.
 *
 * x: any shape → the same shape, bool.
 *
 * @example
 * ```ts
 * const x = tensor([1, Number.NaN]);
 * x.isNaN().toArray(); // [false, true]
 * ```
 * @op
 */
export const isNaN = (x: Operand): Value => ne(x, x);

/** condition ? a : b. The gradient goes to whichever was taken. */
export const whereDefinition: OpDefinition<null> = {
  code: Op.Where,
  name: "where",
  cost: 0.25,
  chainable: "same",
  saves: [0],
  inPlace: [1, 2],
  infer: ([, a]) => [{ shape: a!.shape, dtype: a!.dtype }],
  encode(encoder, { inputs: [condition, a, b], outputs: [out], address }) {
    const n = out!.size;
    encodeWhere(encoder, { out: address(out!), condition: address(condition!), a: address(a!), b: address(b!), n });
  },
  vjp: (dy, { inputs: [condition], needs }) => [
    null,
    needs[1] ? where(condition!, dy, 0) : null,
    needs[2] ? where(condition!, 0, dy) : null,
  ],
};

/**
 * condition ? a : b, element by element. The gradient goes to the operand that was taken.
 *
 * condition: bool; a, b: any shapes that broadcast with it → the broadcast shape. int32 if no operand is float32; two
 * numbers give float32 where float32 holds both; two masks give bool.
 *
 * @param condition A mask of type bool.
 * @param a Taken where the mask is true.
 * @param b Taken where the mask is false.
 * @throws DTypeError if the condition is not bool
 * @throws ShapeError if the shapes do not broadcast
 * @example
 * ```ts
 * const x = tensor([1, -2, 3]);
 * where(x.gt(0), x, 0).toArray(); // [1, 0, 3]
 * ```
 * @op function
 */
export function where(condition: Value, a: Operand, b: Operand): Value {
  requireType("where", condition, "bool", "condition");
  const isBool = (x: Operand) => typeof x === "object" && x.dtype === "bool";
  const [x, y] = promote("where", a, b, true);
  const shape = broadcastShapes("where", broadcastShapes("where", x.shape, y.shape), condition.shape);
  const chosen = apply(
    whereDefinition,
    [broadcastTo(condition, shape), broadcastTo(x, shape), broadcastTo(y, shape)],
    null,
  );
  return isBool(a) && isBool(b) ? cast(chosen, "bool") : chosen;
}

/**
 * This tensor where the condition is true, `other` elsewhere. The gradient goes to the one that was taken.
 *
 * condition: bool; the three shapes broadcast → the broadcast shape.
 *
 * @param condition A mask of type bool.
 * @param other Taken where the mask is false.
 * @throws DTypeError if the condition is not bool
 * @throws ShapeError if the shapes do not broadcast
 * @example
 * ```ts
 * const x = tensor([1, -2, 3]);
 * x.where(x.gt(0), 0).toArray(); // [1, 0, 3]
 * ```
 * @op method where
 */
export const whereElse = (x: Value, condition: Value, other: Operand): Value => where(condition, x, other);
