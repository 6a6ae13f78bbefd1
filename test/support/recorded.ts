/** The recorded steps of a function, and the memory that outlives a call, as the passes of compile receive them. */
import type { Tensor } from "nabla";
import { signatureOf } from "../../src/compile/signature.ts";
import type { Step } from "../../src/compile/step.ts";
import { recordFor } from "../../src/compile/trace.ts";
import type { Storage } from "../../src/core/memory.ts";

export function recorded<A extends unknown[]>(
  f: (...args: A) => unknown,
  ...args: A
): { steps: readonly Step[]; placed: Set<Storage>; arguments: Storage[] } {
  const { recording, symbols } = recordFor(f, signatureOf("f", args));
  const inputs = symbols.map((x: Tensor) => x.storage("test"));
  return { steps: recording.steps, placed: new Set([...inputs, ...recording.storageOf.values()]), arguments: inputs };
}

/** The steps' names, with fused ops joined by +. */
export const names = (steps: readonly Step[]): string[] => steps.map(({ op, fused }) => fused?.join("+") ?? op.name);
