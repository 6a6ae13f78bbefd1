/** Errors of a model that are a client's: what the specs leave open, the client chose. */

import { ShapeError } from "nabla";
import { TypeError } from "../../runtime/errors.ts";
import { Problem, quote } from "./problems.ts";
import type { FullSpec } from "./schema.ts";

/** What a model that threw says of what was sent; undefined where that is not at fault. */
export function faultOf(error: unknown, sent: Readonly<Record<string, FullSpec>>): Problem | undefined {
  const named = (isOpen: (spec: FullSpec) => boolean): string =>
    Object.entries(sent)
      .filter(([, spec]) => isOpen(spec))
      .map(([name]) => quote(name))
      .join(" or ");
  if (error instanceof ShapeError && named(hasOpenSizes))
    return new Problem(422, "The model takes no inputs of these sizes. Send others.");
  if (error instanceof RangeError && named(hasOpenRange))
    return new Problem(
      422,
      `The model takes no such numbers: ${named(hasOpenRange)} holds one that is too large, or below 0. Send others.`,
    );
  return undefined;
}

const hasOpenSizes = ({ shape }: FullSpec): boolean => shape.indexOf(null, 1) > 0;

/** Indices and labels, of which the spec does not say how many there are. */
const hasOpenRange = ({ dtype, min, max }: FullSpec): boolean =>
  (dtype === "int32" && !(min >= 0 && max < 2 ** 31 - 1)) || (dtype === "uint8" && !(max < 255));

/** What a model or a loss gave, if not a promise of it. @throws TypeError */
export function synchronous<T>(what: string, given: T): T {
  if (typeof (given as { then?: unknown } | undefined)?.then !== "function") return given;
  // It may reject where nobody hears it, which ends a process.
  Promise.resolve(given).catch(() => {});
  throw new TypeError(`${what} gave a promise: models are synchronous.`);
}
