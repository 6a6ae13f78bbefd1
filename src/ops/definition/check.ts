/**
 * Checks element values: for example, that indices are in range or that numbers are finite. Eager mode runs the checks
 * before an op; compiled programs contain check instructions.
 */
import { Op, Type } from "../../../assembly/opcodes.ts";
import { STATUS } from "../../runtime/heap.ts";
import { encodeCheck } from "../../runtime/instructions.ts";
import type { AnyOp, OpDefinition, RangeCheck } from "./op.ts";
import type { Value } from "./value.ts";

/** The largest finite float32. Any value outside ±LARGEST is infinite or NaN. */
export const LARGEST = (2 - 2 ** -23) * 2 ** 127;

/** @throws the error of the first check that fails */
export function verify(
  op: AnyOp,
  inputs: readonly Value[],
  attributes: unknown,
  read: (value: Value) => ArrayLike<number>,
): void {
  for (const check of op.checks!(inputs, attributes)) verifyOne(check, read(inputs[check.input]!));
}

/** @throws the check's error for the first value that fails it */
export function verifyOne({ low, high, skip, error }: RangeCheck, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    if (!(v >= low && v <= high) && v !== skip) throw error(v, i);
  }
}

/** The operands of a check instruction. If an element is out of range, the instruction records `id`. */
export interface CheckAttributes extends Pick<RangeCheck, "low" | "high" | "skip"> {
  readonly id: number;
}

/**
 * Records the check's id and the position and value of the first element that is out of range. Used only in compiled
 * functions.
 */
export const checkDefinition: OpDefinition<CheckAttributes> = {
  code: Op.Check,
  name: "check",
  // A cost of 0 keeps the check on a single thread.
  cost: 0,
  infer: () => [],
  encode(encoder, { inputs: [x], attributes: { low, high, skip, id }, address }) {
    // The kernel accepts the integer `skip` in addition to the range, so an empty range is checked as float32, which has no `skip`.
    const isFloat = x!.dtype === "float32" || (skip === undefined && low > high);
    const type = isFloat ? Type.Float32 : Type.Int32;
    encodeCheck(encoder, { status: STATUS, id, x: address(x!), n: x!.size, type, low, high, skip: skip ?? low });
  },
};
