/** Attaches the ops to Tensor's prototype, as methods that check their arguments. */
import { methods } from "../ops/methods.ts";
import { methodSignature } from "../ops/signatures.ts";
import { checker } from "../runtime/arguments.ts";
import { beginInternal, endInternal } from "./owners.ts";

/** The part of a tensor that methods need. */
interface Receiver {
  readonly shape: readonly number[];
  alias(shape: readonly number[]): unknown;
}

export function attachMethods(prototype: Receiver): void {
  for (const [name, op] of Object.entries(methods) as [keyof typeof methods, (...args: unknown[]) => unknown][]) {
    const check = checker(name, () => methodSignature(name));
    const value = function (this: Receiver, ...rest: unknown[]) {
      const args = check(rest);
      const start = beginInternal();
      let result: unknown = null;
      try {
        result = op(this, ...args);
      } finally {
        endInternal(start, result);
      }
      // An op that has nothing to do returns its operand. A method must return a new tensor, so that the caller may
      // dispose it.
      return result === this ? this.alias(this.shape) : result;
    };
    Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
  }
}
