/** Errors of models that the client caused: the specs leave some sizes and ranges open, and the client chose wrong ones. */

import { ShapeError } from "nabla";
import { TypeError } from "../../runtime/errors.ts";
import { Problem, quote } from "./problems.ts";
import type { FullSpec } from "./schema.ts";

/** The problem that a model's error reveals in the request; undefined if the client did not cause it. */
export function clientFault(error: unknown, sent: Readonly<Record<string, FullSpec>>): Problem | undefined {
  const names = (isOpen: (spec: FullSpec) => boolean): string =>
    Object.entries(sent)
      .filter(([, spec]) => isOpen(spec))
      .map(([name]) => quote(name))
      .join(" or ");
  if (error instanceof ShapeError && names(hasOpenSizes))
    return new Problem(422, `The model rejects these sizes of ${names(hasOpenSizes)}. Send other sizes.`);
  if (error instanceof RangeError && names(hasOpenRange))
    return new Problem(
      422,
      `${names(hasOpenRange)} contains a number that is negative or too large for the model. Send other numbers.`,
    );
  return undefined;
}

const hasOpenSizes = ({ shape }: FullSpec): boolean => shape.indexOf(null, 1) > 0;

/** Indices and labels whose number of values the spec leaves open. */
const hasOpenRange = ({ dtype, min, max }: FullSpec): boolean =>
  (dtype === "int32" && !(min >= 0 && max < 2 ** 31 - 1)) || (dtype === "uint8" && !(max < 255));

/** Passes a model's or a loss's result through. @throws TypeError if it is a promise */
export function synchronous<T>(what: string, result: T): T {
  if (typeof (result as { then?: unknown } | undefined)?.then !== "function") return result;
  // An unhandled rejection would end the process.
  Promise.resolve(result).catch(() => {});
  throw new TypeError(`${what} returned a promise. Make it synchronous.`);
}
