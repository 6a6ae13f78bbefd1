/** Losses over classes, one per row of logits or log-probabilities [..., classes]: nll, crossEntropy. */

import * as ops from "../core/functions.ts";
import { runInternal } from "../core/owners.ts";
import type { Tensor } from "../core/tensor.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { oneHotLabels } from "../ops/index/gather.ts";
import { crossEntropyRows } from "../ops/reduce/rows.ts";
import { check } from "../runtime/arguments.ts";
import { DTypeError, requireFraction, ShapeError } from "../runtime/errors.ts";
import { type LossOptions, maskedProduct, reduce } from "./reduction.ts";

/** Options for `nll`. */
export interface ClassLossOptions extends LossOptions {
  /**
   * The weight of each class: [classes]. A weight of 0 excludes a class, even if its logits are NaN or infinite. Default:
   * none.
   */
  readonly weight?: Tensor;
  /** Rows with this label are excluded, even if they contain NaN or ∞: their loss and gradient are 0. Default -100. */
  readonly ignoreIndex?: number;
}

/** Reshapes x to [rows, classes] and labels to [rows]. @throws ShapeError */
function asRows(name: string, x: Tensor, labels: Tensor): { rows: Tensor; flat: Tensor; classes: number } {
  const classes = x.shape.at(-1) ?? 1;
  if (!x.shape.length || !sameShape(x.shape.slice(0, -1), labels.shape)) {
    throw new ShapeError(
      `${name}: the labels must be ${show(x.shape.slice(0, -1))}, got ${show(labels.shape)}. Pass one label for each row of the input ${show(x.shape)}, whose last dim holds the classes.`,
    );
  }
  return {
    rows: x.reshape([-1, classes]),
    flat: labels.reshape([labels.size]),
    classes,
  };
}

/** Reduces the weighted losses of the rows: the mean is Σ loss / Σ weight. */
function reduceWeighted(
  name: string,
  each: Tensor,
  weights: Tensor,
  labels: Tensor,
  reduction: LossOptions["reduction"] = "mean",
): Tensor {
  if (reduction === "none" || !["mean", "sum"].includes(reduction))
    return reduce(name, each, reduction).reshape(labels.shape);
  return reduction === "sum" ? each.sum() : each.sum().div(weights.sum());
}

/** @throws ShapeError unless the weight is [classes] */
function requireClassWeight(name: string, weight: Tensor | undefined, classes: number): void {
  if (weight && (weight.shape.length !== 1 || weight.size !== classes))
    throw new ShapeError(`${name}: the weight must be [${classes}], one per class, got ${show(weight.shape)}.`);
}

/** @returns which rows are included, each row's weight (0 if excluded), and labels that are 0 for excluded rows */
function rowWeights(
  labels: Tensor,
  weight: Tensor | undefined,
  ignoreIndex: number,
): { included: Tensor; weights: Tensor; safe: Tensor } {
  const included = labels.ne(ignoreIndex);
  // Ignored labels may be out of range, so replace them with 0.
  const safe = labels.where(included, 0);
  return { included, weights: weight ? weight.indexSelect(0, safe).where(included, 0) : included.to("float32"), safe };
}

/**
 * Negative log-likelihood −w·x[label]. x: log-probabilities [..., classes]; labels: int32 [...] → [], or [...] with
 * reduction "none".
 * @throws ShapeError if the labels or the weight do not match x; RangeError if a label is out of range, or for an
 * unknown reduction
 */
export function nll(x: Tensor, labels: Tensor, options: ClassLossOptions = {}): Tensor {
  check("nll", arguments, "x:tensor labels:tensor {weight:tensor ignoreIndex:number reduction:string}");
  const { weight, ignoreIndex = -100, reduction } = options;
  return runInternal(() => {
    const { rows, flat, classes } = asRows("nll", x, labels);
    requireClassWeight("nll", weight, classes);
    const { included, weights, safe } = rowWeights(flat, weight, ignoreIndex);
    const selected = rows
      .gather(1, safe.reshape([-1, 1]))
      .reshape([-1])
      .where(included, 0);
    const each = (weight ? maskedProduct(selected, weights) : selected).neg();
    return reduceWeighted("nll", each, weights, labels, reduction);
  });
}

/** Options for `crossEntropy`. */
export interface CrossEntropyOptions extends ClassLossOptions {
  /** The fraction of the target that is spread evenly over all classes, between 0 and 1. Default 0. */
  readonly labelSmoothing?: number;
}

/**
 * Cross-entropy of softmax(logits). logits: [..., classes]; target: int32 labels [...] or float32 probabilities [..., classes] → [], or
 * [...] with reduction "none".
 *
 * ```ts
 * losses.crossEntropy(model.forward(x), labels, { labelSmoothing: 0.1 });
 * ```
 * @throws ShapeError or DTypeError if the target does not match the logits; RangeError if a label is out of range, or for an
 * invalid option
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  check(
    "crossEntropy",
    arguments,
    "logits:tensor target:tensor {weight:tensor labelSmoothing:number ignoreIndex:number reduction:string}",
  );
  return runInternal(() => {
    const { weight, labelSmoothing = 0, ignoreIndex = -100, reduction } = options;
    requireFraction("crossEntropy", { labelSmoothing });
    const classes = logits.shape.at(-1) ?? 1;
    requireClassWeight("crossEntropy", weight, classes);
    /** Smoothed and weighted probabilities: w·((1 − ε)·p + ε/C). */
    const smooth = (p: Tensor): Tensor => {
      const spread = labelSmoothing ? p.mul(1 - labelSmoothing).add(labelSmoothing / classes) : p;
      return weight ? spread.mul(weight) : spread;
    };
    if (target.dtype === "float32" && sameShape(target.shape, logits.shape)) {
      const each = crossEntropyRows(logits.reshape([-1, classes]), smooth(target.reshape([-1, classes]))) as Tensor;
      return reduce("crossEntropy", reduction === "none" ? each.reshape(logits.shape.slice(0, -1)) : each, reduction);
    }
    if (target.dtype === "float32") {
      if (logits.dtype === "int32")
        throw new DTypeError(
          `crossEntropy: logits must be float32, got int32 ${show(logits.shape)}. Pass the arguments as crossEntropy(logits, target).`,
        );
      throw new DTypeError(
        `crossEntropy: the target is float32 ${show(target.shape)}, but labels must be int32: use target.to("int32") or ` +
          `tensor(values, { dtype: "int32" }). Probabilities must be ${show(logits.shape)}, like the logits.`,
      );
    }
    const { rows, flat } = asRows("crossEntropy", logits, target);
    if (!labelSmoothing) {
      const each = crossEntropyRows(rows, flat, ignoreIndex) as Tensor;
      if (!weight) return reduceWeighted("crossEntropy", each, flat.ne(ignoreIndex), target, reduction);
      const { weights } = rowWeights(flat, weight, ignoreIndex);
      return reduceWeighted("crossEntropy", maskedProduct(each, weights), weights, target, reduction);
    }
    const { included, weights, safe } = rowWeights(flat, weight, ignoreIndex);
    // A row whose target probabilities are all 0 is excluded: its loss and gradient are 0.
    const probabilities = ops.where(included.unsqueeze(-1), smooth(oneHotLabels(safe, classes) as Tensor), 0);
    return reduceWeighted("crossEntropy", crossEntropyRows(rows, probabilities) as Tensor, weights, target, reduction);
  });
}
