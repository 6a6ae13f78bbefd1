/**
 * Code that all losses share: the reduction, the check that shapes match, and products in which a weight of 0 excludes an
 * element.
 */

import { withRule } from "../autograd/backward.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { quote, RangeError, ShapeError } from "../runtime/errors.ts";

/** Options that every loss has. */
export interface LossOptions {
  /** How to reduce the losses: their mean, their sum, or "none" for one loss per element or row. Default "mean". */
  readonly reduction?: "mean" | "sum" | "none";
}

/** @throws RangeError for an unknown reduction */
export function reduce(name: string, each: Tensor, reduction: LossOptions["reduction"] = "mean"): Tensor {
  if (!["mean", "sum", "none"].includes(reduction)) {
    throw new RangeError(
      `${name}: unknown reduction ${quote(String(reduction))}. Valid: "mean", "sum", "none" (klDiv: also "batchMean").`,
    );
  }
  return reduction === "none" ? each : reduction === "sum" ? each.sum() : each.mean();
}

/** @throws ShapeError unless x and the target have the same shape */
export function requireSame(name: string, x: Tensor, target: Tensor): void {
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(
      `${name}: the prediction is ${show(x.shape)}, but the target is ${show(target.shape)}. Losses do not broadcast: reshape one of them.`,
    );
  }
}

/** A bool mask in x's shape: true where x is infinite or NaN. */
export const isNotFinite = (x: Tensor): Tensor => x.mul(0).ne(0);

/** x·w, with 0·∞ = 0·NaN = 0: elements with weight 0 affect neither the result nor its gradients. */
export const maskedProduct = withRule((x: Tensor, w: Tensor) => [
  ops.where(w.eq(0), 0, x.mul(w)),
  (dy, x, w) => [dy.mul(w), w.requiresGrad ? dy.mul(ops.where(ops.logicalAnd(w.eq(0), isNotFinite(x)), 0, x)) : null],
]);
