/**
 * Several copies of nabla in one process, such as two installed versions. Each has a memory of its own, so an address of one
 * means nothing to another: their tensors are recognized by a mark and refused.
 */
import { TypeError } from "./runtime/errors.ts";

const MARK = Symbol.for("nabla.tensor");
const COPIES = Symbol.for("nabla.copies");
/** What this copy's tensors are marked with. */
const OWN = {};

/** Marks this copy's tensors, and warns once if another copy is there already. */
export function announce(prototype: object): void {
  Object.defineProperty(prototype, MARK, { value: OWN });
  const shared = globalThis as { [COPIES]?: number };
  const copies = (shared[COPIES] ?? 0) + 1;
  Reflect.defineProperty(shared, COPIES, { value: copies, configurable: true, writable: true });
  if (copies === 2) {
    console.warn(
      "nabla: a second copy was loaded. Each copy refuses the other's tensors. Check for two installed versions: npm ls nabla.",
    );
  }
}

/** Whether a value is a tensor of another copy. */
export function isForeign(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const mark = (value as { readonly [MARK]?: unknown })[MARK];
  return mark !== undefined && mark !== OWN;
}

/** @throws TypeError if a value is a tensor of another copy */
export function refuseForeign(name: string, what: string, value: unknown): void {
  if (!isForeign(value)) return;
  throw new TypeError(
    `${name}: ${what} is a tensor of another copy of nabla, which has its own memory. ` +
      "Use one copy: check for two installed versions with npm ls nabla, or pass x.data.",
  );
}
