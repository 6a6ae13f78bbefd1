/** Scopes. When a scope ends, it frees the tensors that were made inside it and are not returned. */

import { check } from "../runtime/arguments.ts";
import { Error } from "../runtime/errors.ts";
import { isPlainObject } from "../runtime/kinds.ts";
import { withScope } from "./context.ts";
import { isFromOtherCopy, rejectOtherCopy } from "./copies.ts";
import { freeGradient } from "./gradient.ts";
import { Tensor } from "./tensor.ts";

/**
 * Collects the tensors in a value: the value itself, or the tensors in arrays, objects, Maps and Sets. Adds tensors and
 * modules from other copies to `foreign`.
 */
export function tensorsIn(
  value: unknown,
  found = new Set<Tensor>(),
  seen?: Set<object>,
  foreign?: object[],
): Set<Tensor> {
  if (value instanceof Tensor) found.add(value);
  else if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value) && !seen?.has(value)) {
    if (!Array.isArray(value) && isFromOtherCopy(value)) {
      foreign?.push(value);
      return found;
    }
    const parts = value instanceof Map || value instanceof Set ? value.values() : Object.values(value);
    let known = seen;
    for (const part of parts) {
      if (part instanceof Tensor) found.add(part);
      else if (typeof part === "object" && part !== null) {
        // Only nested objects can form a cycle.
        known ??= new Set();
        known.add(value);
        tensorsIn(part, found, known, foreign);
      }
    }
  }
  return found;
}

/**
 * @throws TypeError if a value is a tensor or module from another copy of nabla, or an array or plain object with one
 * inside
 */
export function rejectOtherCopyIn(name: string, what: string, value: unknown): void {
  if (value instanceof Tensor || typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return;
  rejectOtherCopy(name, what, value);
  if (Array.isArray(value) || isPlainObject(value))
    for (const part of Object.values(value)) rejectOtherCopyIn(name, what, part);
}

const SCOPE_END = "the end of its scope (tidy, grad, minimize or compile)";

/** @throws Error if `result` is a promise: the function would continue after `name` has ended */
export function requireSynchronous(name: string, result: unknown): void {
  if (typeof (result as PromiseLike<unknown> | null | undefined)?.then !== "function") return;
  (result as PromiseLike<unknown>).then(undefined, () => {});
  throw new Error(
    `${name}: f returned a promise, but ${name} ends when f returns. Call ${name} inside the async function instead.`,
  );
}

/**
 * Runs f and frees the tensors made inside it, except those that f returns (alone, or in arrays and objects) or keeps
 * with keep().
 *
 * ```ts
 * const y = tidy(() => x.mul(2).add(1));   // x.mul(2) is freed
 * ```
 * @throws Error if f returns a promise, because the scope ends when f returns
 */
export function tidy<T>(f: () => T): T {
  if (typeof f !== "function") check("tidy", arguments, "f:function");
  const own: Tensor[] = [];
  const foreign: object[] = [];
  let result: T | undefined;
  try {
    result = withScope(own, f);
  } finally {
    const returned = tensorsIn(result, undefined, undefined, foreign);
    for (const tensor of own) {
      if (tensor.isDisposed) continue;
      if (tensor.isKept || returned.has(tensor)) tensor.escape();
      else {
        tensor.disposeBecause(SCOPE_END);
        // backward exempted the leaf's gradient from scopes, so free it with the leaf.
        if (tensor.gradient) freeGradient(tensor.gradient, SCOPE_END, returned);
      }
    }
  }
  requireSynchronous("tidy", result);
  for (const x of foreign) rejectOtherCopy("tidy", "the result", x);
  return result;
}
