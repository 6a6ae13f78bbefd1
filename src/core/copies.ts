/**
 * Handles several copies of nabla in one process, such as two installed versions. Each has its own memory, so they
 * cannot exchange tensors. Tensors and modules carry a mark, so that each copy can recognize and reject those of other
 * copies.
 */
import { TypeError } from "../runtime/errors.ts";

const MARK = Symbol.for("nabla.tensor");
const COPIES = Symbol.for("nabla.copies");
/** The mark of this copy. */
const OWN = {};

/** Marks an object or prototype as belonging to this copy. */
export function mark(own: object): void {
  Object.defineProperty(own, MARK, { value: OWN });
}

/** Marks this copy's tensors, and warns once if another copy was loaded earlier. */
export function registerCopy(prototype: object): void {
  mark(prototype);
  const shared = globalThis as { [COPIES]?: number };
  const copies = (shared[COPIES] ?? 0) + 1;
  Reflect.defineProperty(shared, COPIES, { value: copies, configurable: true, writable: true });
  if (copies === 2) {
    console.warn(
      "nabla: a second copy was loaded. Copies cannot exchange tensors. Run `npm ls nabla` to find duplicate installations, and keep one.",
    );
  }
}

/** Whether a value is a tensor or module from another copy. */
export function isFromOtherCopy(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const own = (value as { readonly [MARK]?: unknown })[MARK];
  return own !== undefined && own !== OWN;
}

/** @throws TypeError if a value is a tensor or module from another copy */
export function rejectOtherCopy(name: string, what: string, value: unknown): void {
  if (!isFromOtherCopy(value)) return;
  const isModule = typeof (value as { forward?: unknown }).forward === "function";
  throw new TypeError(
    `${name}: ${what} is a ${isModule ? "module" : "tensor"} from another copy of nabla, which has its own memory. ` +
      `Run \`npm ls nabla\` to find duplicate installations, and keep one${isModule ? "" : ", or pass x.data instead"}.`,
  );
}
