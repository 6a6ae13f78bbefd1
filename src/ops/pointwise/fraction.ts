/**
 * Checks that float32 values are between 0 and 1, also in compiled functions. Losses use the check; it is not public.
 */

import { apply, type OpDefinition, type RangeCheck } from "../definition/op.ts";
import type { Value } from "../definition/value.ts";
import { clamp } from "./extremes.ts";

interface FractionAttributes extends Array<number> {
  readonly error: RangeCheck["error"];
}
const definition = {
  ...(clamp.definition as unknown as OpDefinition<FractionAttributes>),
  saves: "none",
  checks: (_, { error }) => [{ input: 0, low: 0, high: 1, isFloat: true, error }],
  // The gradient passes through unchanged, because clamping does not change values that are in the range.
  vjp: (dy) => [dy],
} satisfies OpDefinition<FractionAttributes>;

/** Returns x after checking that all values are between 0 and 1. @throws the error for the first value that is not */
export const checkedFraction = (x: Value, error: RangeCheck["error"]): Value =>
  apply<FractionAttributes>(definition, [x], Object.assign([0, 1], { error }));
