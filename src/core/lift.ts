/**
 * Turns an op's function, which takes Values, into a function that takes tensors and checks its arguments. functions.ts
 * exports such a function for each op.
 */
import "./eager.ts";
import { signatures } from "../ops/signatures.ts";
import { checker } from "../runtime/arguments.ts";
import { asInternal } from "./owners.ts";

export function lift<F>(name: keyof typeof signatures, f: unknown): F {
  const check = checker(name, () => signatures[name]);
  const run = asInternal(f as (...args: unknown[]) => unknown);
  // The casts are safe because Tensor is the only implementation of Value.
  return ((...args: unknown[]) => run(...check(args))) as F;
}
