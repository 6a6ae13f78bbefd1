/** Comparisons, and selection by a mask. */

import { Op } from "../../../assembly/opcodes.ts";
import { encodeWhere } from "../../runtime/instructions.ts";
import { apply, type OpDefinition, type Operand } from "../definition/op.ts";
import { broadcastShapes, requireType, type Value } from "../definition/value.ts";
import { broadcastTo, cast } from "../shape/shape.ts";
import { binary, promote } from "./pointwise.ts";

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

/** condition ? a : b. The gradient goes to the selected operand. */
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
 * condition ? a : b, element by element. The gradient goes to the selected operand.
 *
 * condition: bool; a, b: any shapes that broadcast with it → the broadcast shape. int32 if neither a nor b is float32,
 * but two numbers that float32 can represent give float32, and two masks give bool.
 *
 * @param condition A mask of type bool.
 * @param a The values where the mask is true.
 * @param b The values where the mask is false.
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
 * This tensor where the condition is true, `other` elsewhere. The gradient goes to the selected tensor.
 *
 * condition: bool; the three shapes broadcast → the broadcast shape.
 *
 * @param condition A mask of type bool.
 * @param other The values where the mask is false.
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
