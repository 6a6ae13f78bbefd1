/** An optimizer's saved state, and the checks that run before it is loaded. */

import type { Tensor } from "../core/tensor.ts";
import { Error } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";

/** Creates the error for a saved state that does not fit the optimizer. @param what the problem, as a clause that follows "the state" */
export const stateError = (optimizer: string, what: string): Error =>
  new Error(`${optimizer}: the state ${what}. Was it saved by this optimizer, for this model?`);

/**
 * Whether a saved value has the same type as the current one. null matches a string, because a string option that is not set is
 * null.
 */
const isAlike = (own: unknown, saved: unknown): boolean =>
  Array.isArray(own)
    ? Array.isArray(saved) && own.length === saved.length && own.every((v, i) => isAlike(v, saved[i]))
    : own === null || saved === null
      ? own === saved || typeof (own ?? saved) === "string"
      : typeof own === typeof saved;

/**
 * The object's own values, overridden by the saved ones.
 * @throws Error if a saved value has an unknown name or a different type
 */
export function mergeOptions<O extends object>(optimizer: string, own: O, saved: object): O {
  for (const [key, value] of Object.entries(saved ?? {}))
    if (!Object.hasOwn(own, key) || !isAlike(own[key as keyof O], value))
      throw stateError(optimizer, `has ${key} as ${describe(value)}`);
  return { ...own, ...saved };
}

/** The state tensors of one parameter, keyed by name. */
export type State = Record<string, Tensor>;

/** The state of an optimizer, as `stateDict` returns it. */
export interface OptimizerState {
  /** The options of each parameter group. */
  readonly groups: readonly object[];
  /** The state of each parameter, in the order of the groups' parameters. */
  readonly state: readonly State[];
}
