/** The two ways to run a function: eagerly and compiled. */
import { compile, type Tensor } from "nabla";

export const MODES = ["eager", "compiled"] as const;
/** f itself, or f compiled. */
export const inMode = <A extends Tensor[]>(
  mode: (typeof MODES)[number],
  f: (...args: A) => Tensor,
): ((...args: A) => Tensor) => (mode === "compiled" ? (compile(f) as unknown as typeof f) : f);
