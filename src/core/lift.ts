/** An op as a function of tensors, with its arguments checked: functions.ts has one for each. */
import "./eager.ts";
import { signatures } from "../ops/signatures.ts";
import { checker } from "../runtime/arguments.ts";
import { asInternal } from "./owners.ts";

export function lift<F>(name: keyof typeof signatures, f: unknown): F {
  const check = checker(name, signatures[name]);
  const run = asInternal(f as (...args: unknown[]) => unknown);
  // Ops speak of Value, whose only implementation is Tensor; the cast says so in one place.
  return ((...args: unknown[]) => run(...check(args))) as F;
}
