/** The maximum and minimum of two operands, clamping, absolute values and signs. */

import { Op } from "../../../assembly/opcodes.ts";
import { TypeError } from "../../runtime/errors.ts";
import { INT32_MAX as MAX, INT32_MIN as MIN, type Value } from "../definition/value.ts";
import { cast } from "../shape/shape.ts";
import { mul, neg, sub } from "./arithmetic.ts";
import { eq, lt } from "./comparison.ts";
import { binary, derivative, unary } from "./pointwise.ts";

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
 * The sign of x: −1, 0 or 1. Derivative 0.
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
 * min(max(x, low), high). An int32 tensor gives int32 if the bounds are whole numbers. Derivative 1 where low ≤ x ≤
 * high, else 0.
 *
 * @param low The lower bound. Omit it or pass null for no lower bound.
 * @param high The upper bound. Omit it or pass null for no upper bound.
 * @throws TypeError if neither bound is given
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
      throw new TypeError("clamp: no bounds given. Pass clamp(low, high), with null for no bound.");
    return [low ?? -Infinity, high ?? Infinity];
  },
  integer(x, low, high) {
    // A lower bound below int32's range or an upper bound above it has no effect. A lower bound above the range, or an
    // upper bound below it, would become the result. int32 cannot represent such a result, so the op runs in float32.
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
 * An operand's share of the gradient of a maximum or minimum: 0 if the other operand is selected, ½ in a tie, and 1
 * otherwise, even if an operand is NaN.
 */
function share(loses: Value, ties: Value): Value {
  return sub(sub(1, cast(loses, "float32")), mul(cast(ties, "float32"), 0.5));
}
/**
 * The larger of a and b, or NaN if either is NaN. An int32 tensor gives int32 even if the other operand is a number
 * below int32's range. In a tie, both operands get half the gradient.
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
 * The smaller of a and b, or NaN if either is NaN. An int32 tensor gives int32 even if the other operand is a number
 * above int32's range. In a tie, both operands get half the gradient.
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
