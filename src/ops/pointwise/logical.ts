/** Logical ops on masks. */

import type { Operand } from "../definition/op.ts";
import type { Value } from "../definition/value.ts";
import { cast } from "../shape/shape.ts";
import { mul } from "./arithmetic.ts";
import { eq, ne } from "./comparison.ts";
import { maximum } from "./extremes.ts";

const truth = (x: Operand): Value => (typeof x === "object" && x.dtype === "bool" ? x : ne(x, 0));
/**
 * a ∧ b: true where both are true. Nonzero numbers and NaN count as true. No gradient.
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
 * a ∨ b: true where at least one is true. Nonzero numbers and NaN count as true. No gradient.
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
 * a ⊕ b: true where exactly one is true. Nonzero numbers and NaN count as true. No gradient.
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
