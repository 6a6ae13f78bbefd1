/**
 * Decides which of a model's errors the client caused: a spec may leave sizes and ranges open, so the model may reject
 * a request that matches the spec.
 */

import { ShapeError } from "nabla";
import { TypeError } from "../../runtime/errors.ts";
import { Problem, quote } from "./problems.ts";
import type { FullSpec } from "./schema.ts";

/** The problem to report if the client's request caused a model's error; undefined if it did not. */
export function clientFault(error: unknown, sent: Readonly<Record<string, FullSpec>>): Problem | undefined {
  const names = (isOpen: (spec: FullSpec) => boolean): string =>
    Object.entries(sent)
      .filter(([, spec]) => isOpen(spec))
      .map(([name]) => quote(name))
      .join(" or ");
  if (error instanceof ShapeError && names(hasOpenSizes))
    return new Problem(422, `The model does not accept this shape of ${names(hasOpenSizes)}. Send a different shape.`);
  if (error instanceof RangeError && names(hasOpenRange))
    return new Problem(
      422,
      `${names(hasOpenRange)} contains a number that is negative or too large for the model. Send numbers that the model accepts.`,
    );
  return undefined;
}

const hasOpenSizes = ({ shape }: FullSpec): boolean => shape.indexOf(null, 1) > 0;

/** Whether a spec leaves the range of indices or labels open. */
const hasOpenRange = ({ dtype, min, max }: FullSpec): boolean =>
  (dtype === "int32" && !(min >= 0 && max < 2 ** 31 - 1)) || (dtype === "uint8" && !(max < 255));

/** Returns `result`, the output of a model or a loss, unless it is a promise. @throws TypeError if the result is a promise */
export function synchronous<T>(what: string, result: T): T {
  if (typeof (result as { then?: unknown } | undefined)?.then !== "function") return result;
  // An unhandled rejection would crash the process.
  Promise.resolve(result).catch(() => {});
  throw new TypeError(`${what} returned a promise. Make it synchronous.`);
}
