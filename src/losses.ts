/** Losses, written on tensors only. Names, arguments, defaults and formulas are PyTorch's (torch.nn.functional). */

import { customGradient } from "./autograd.ts";
import * as ops from "./functions.ts";
import { crossEntropyRows } from "./ops/rows.ts";
import { sameShape, show } from "./ops/value.ts";
import { DTypeError, requireFraction, requireRange, ShapeError } from "./runtime/errors.ts";
import type { Tensor } from "./tensor.ts";

export interface LossOptions {
  /** The mean over elements (default), their sum, or each. */
  readonly reduction?: "mean" | "sum" | "none";
}

function reduce(each: Tensor, reduction: LossOptions["reduction"] = "mean"): Tensor {
  if (!["mean", "sum", "none"].includes(reduction)) {
    throw new RangeError(
      `loss: reduction "${reduction}" is not one of "mean", "sum", "none" (klDiv: also "batchMean").`,
    );
  }
  return reduction === "none" ? each : reduction === "sum" ? each.sum() : each.mean();
}

function requireSame(name: string, x: Tensor, target: Tensor): void {
  if (!sameShape(x.shape, target.shape)) {
    throw new ShapeError(
      `${name}: the prediction is ${show(x.shape)}, but the target is ${show(target.shape)}. Reshape one: they are not broadcast.`,
    );
  }
}

/** (x − t)². */
export function mse(x: Tensor, target: Tensor, { reduction }: LossOptions = {}): Tensor {
  requireSame("mse", x, target);
  return reduce(x.sub(target).square(), reduction);
}

/** |x − t|. */
export function l1(x: Tensor, target: Tensor, { reduction }: LossOptions = {}): Tensor {
  requireSame("l1", x, target);
  return reduce(x.sub(target).abs(), reduction);
}

/** ½d² where |d| ≤ δ, else δ(|d| − ½δ), d = x − t (Huber 1964). */
export function huber(
  x: Tensor,
  target: Tensor,
  { delta = 1, reduction }: LossOptions & { delta?: number } = {},
): Tensor {
  requireSame("huber", x, target);
  requireRange("huber", { delta }, (v) => v > 0, "above 0");
  // With c = min(max(d, −δ), δ): c(d − ½c), smooth at d = 0 too.
  const d = x.sub(target);
  const c = d.clamp(-delta, delta);
  return reduce(c.mul(d.sub(c.mul(0.5))), reduction);
}

/** huber(δ = β)/β; l1 where β = 0. */
export function smoothL1(
  x: Tensor,
  target: Tensor,
  { beta = 1, reduction }: LossOptions & { beta?: number } = {},
): Tensor {
  if (beta === 0) return l1(x, target, reduction ? { reduction } : {});
  return huber(x, target, {
    delta: beta,
    ...(reduction ? { reduction } : {}),
  }).div(beta);
}

interface WeightedOptions extends LossOptions {
  /** Factors that broadcast to the elements. */
  readonly weight?: Tensor;
}
const weighted = (each: Tensor, weight?: Tensor): Tensor => (weight ? each.mul(weight) : each);

/** log x, cut off at −100. */
const cutLog = (x: Tensor): Tensor => x.log().clamp(-100);
/** bce, element by element. dx = dy·(x − t)/max(x(1 − x), 10⁻¹²), PyTorch's: finite where x is 0 or 1. */
const bceElements = customGradient((x: Tensor, target: Tensor) => [
  cutLog(x)
    .mul(target)
    .add(cutLog(ops.sub(1, x)).mul(ops.sub(1, target)))
    .neg(),
  (dy, x, target) => [
    dy.mul(x.sub(target)).div(x.mul(ops.sub(1, x)).clamp(1e-12)),
    target.requiresGrad ? dy.mul(cutLog(ops.sub(1, x)).sub(cutLog(x))) : null,
  ],
]);

/** −t·log x − (1 − t)·log(1 − x) for probabilities x; logarithms are cut off at −100. */
export function bce(x: Tensor, target: Tensor, { weight, reduction }: WeightedOptions = {}): Tensor {
  requireSame("bce", x, target);
  return reduce(weighted(bceElements(x, target), weight), reduction);
}

/** bce(sigmoid(x), t), without overflow: softplus(x) − t·x; `posWeight` multiplies the term of t. */
export function bceWithLogits(
  x: Tensor,
  target: Tensor,
  { weight, posWeight, reduction }: WeightedOptions & { posWeight?: Tensor } = {},
): Tensor {
  requireSame("bceWithLogits", x, target);
  // −w·t·log σ(x) − (1 − t)·log σ(−x), log σ(x) = −softplus(−x).
  const each = posWeight
    ? ops
        .softplus(x.neg())
        .mul(target)
        .mul(posWeight)
        .add(ops.softplus(x).mul(ops.sub(1, target)))
    : ops.softplus(x).sub(x.mul(target));
  return reduce(weighted(each, weight), reduction);
}

export interface ClassLossOptions extends LossOptions {
  /** A factor for each class: [classes]. */
  readonly weight?: Tensor;
  /** Rows with this label count for nothing. Default −100. */
  readonly ignoreIndex?: number;
}

/** x as [rows, classes] and labels as [rows]. */
function asRows(name: string, x: Tensor, labels: Tensor): { rows: Tensor; flat: Tensor; classes: number } {
  const classes = x.shape.at(-1) ?? 1;
  if (!x.shape.length || !sameShape(x.shape.slice(0, -1), labels.shape)) {
    throw new ShapeError(
      `${name}: labels ${show(labels.shape)} must be one per row of ${show(x.shape)}: the same shape without the classes, which come last.`,
    );
  }
  return {
    rows: x.reshape([-1, classes]),
    flat: labels.reshape([labels.size]),
    classes,
  };
}

/** Each row's loss and its weight, reduced: the mean is Σ loss / Σ weight. */
function reduceWeighted(
  each: Tensor,
  weights: Tensor,
  labels: Tensor,
  reduction: LossOptions["reduction"] = "mean",
): Tensor {
  if (reduction === "none" || !["mean", "sum"].includes(reduction))
    return reduce(each, reduction).reshape(labels.shape);
  return reduction === "sum" ? each.sum() : each.sum().div(weights.sum());
}

/** The weight of each row: its class's, 0 where it is ignored. */
function rowWeights(
  labels: Tensor,
  classes: number,
  weight: Tensor | undefined,
  ignoreIndex: number,
): { weights: Tensor; safe: Tensor } {
  const counts = labels.ne(ignoreIndex);
  if (weight && (weight.shape.length !== 1 || weight.size !== classes)) {
    throw new ShapeError(`crossEntropy: the weight is ${show(weight.shape)}, but must be [${classes}], one per class.`);
  }
  // Labels that are ignored may lie outside the classes: 0 stands in, and counts for nothing.
  const safe = labels.where(counts, 0);
  return {
    weights: weight ? weight.indexSelect(0, safe).where(counts, 0) : counts.to("float32"),
    safe,
  };
}

/**
 * −w·x[label] for log-probabilities x: [..., classes] and int32 labels [...].
 * @throws ShapeError, RangeError
 */
export function nll(
  x: Tensor,
  labels: Tensor,
  { weight, ignoreIndex = -100, reduction }: ClassLossOptions = {},
): Tensor {
  const { rows, flat, classes } = asRows("nll", x, labels);
  const { weights, safe } = rowWeights(flat, classes, weight, ignoreIndex);
  const picked = rows.gather(1, safe.reshape([-1, 1])).reshape([-1]);
  return reduceWeighted(picked.mul(weights).neg(), weights, labels, reduction);
}

export interface CrossEntropyOptions extends ClassLossOptions {
  /** How much of the target is spread evenly over all classes: 0 … 1. Default 0. */
  readonly labelSmoothing?: number;
}

/**
 * The cross-entropy of softmax(logits) against int32 labels, or against probabilities. Classes come last:
 * logits [..., classes], labels [...], probabilities [..., classes].
 *
 * ```ts
 * losses.crossEntropy(model.forward(x), labels, { labelSmoothing: 0.1 });
 * ```
 * @throws ShapeError, DTypeError, RangeError where a label is none of the classes
 */
export function crossEntropy(logits: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const { weight, labelSmoothing = 0, ignoreIndex = -100, reduction } = options;
  requireFraction("crossEntropy", { labelSmoothing });
  const probabilities = target.dtype === "float32" && sameShape(target.shape, logits.shape);
  if (probabilities) {
    const classes = logits.shape.at(-1)!;
    const smooth = labelSmoothing ? target.mul(1 - labelSmoothing).add(labelSmoothing / classes) : target;
    const rows = logits.reshape([-1, classes]);
    const each = weight
      ? rows
          .logSoftmax()
          .mul(smooth.reshape([-1, classes]))
          .mul(weight)
          .sum(-1)
          .neg()
      : (crossEntropyRows(rows, smooth.reshape([-1, classes])) as Tensor);
    return reduce(reduction === "none" ? each.reshape(logits.shape.slice(0, -1)) : each, reduction);
  }
  if (target.dtype === "float32") {
    throw new DTypeError(
      `crossEntropy: the target is float32 ${show(target.shape)}; class labels must be int32. Use target.to("int32"), or ` +
        `tensor(values, { dtype: "int32" }); probabilities have the shape of the logits, ${show(logits.shape)}.`,
    );
  }
  const { rows, flat, classes } = asRows("crossEntropy", logits, target);
  if (!weight && !labelSmoothing) {
    const each = crossEntropyRows(rows, flat, ignoreIndex) as Tensor;
    return reduceWeighted(each, flat.ne(ignoreIndex), target, reduction);
  }
  // (1 − ε)·w[label]·(−log p[label]) + ε/C·Σ_c w[c]·(−log p[c]).
  const { weights, safe } = rowWeights(flat, classes, weight, ignoreIndex);
  const logP = rows.logSoftmax();
  const picked = logP
    .gather(1, safe.reshape([-1, 1]))
    .reshape([-1])
    .mul(weights);
  const even = weighted(logP, weight).sum(-1).mul(flat.ne(ignoreIndex));
  const each = picked
    .mul(1 - labelSmoothing)
    .add(even.mul(labelSmoothing / classes))
    .neg();
  return reduceWeighted(each, weights, target, reduction);
}

/** t·(log t − x) for log-probabilities x and probabilities t (0·log 0 = 0), or log-probabilities with logTarget. */
export function klDiv(
  x: Tensor,
  target: Tensor,
  {
    logTarget = false,
    reduction = "mean",
  }: {
    logTarget?: boolean;
    reduction?: LossOptions["reduction"] | "batchMean";
  } = {},
): Tensor {
  requireSame("klDiv", x, target);
  const positive = target.gt(0);
  const each = logTarget
    ? target.exp().mul(target.sub(x))
    : target.mul(target.where(positive, 1).log().sub(x)).where(positive, 0);
  return reduction === "batchMean" ? each.sum().div(x.shape[0] ?? 1) : reduce(each, reduction);
}

/** max(0, margin − t·x) for targets ±1. */
export function hinge(
  x: Tensor,
  target: Tensor,
  { margin = 1, reduction }: LossOptions & { margin?: number } = {},
): Tensor {
  requireSame("hinge", x, target);
  return reduce(ops.sub(margin, x.mul(target)).relu(), reduction);
}

/** 1 − cos(a, b) where t = 1, max(0, cos(a, b) − margin) where t = −1. a, b: [batch, n] (or [n]), t: [batch] (or []). */
export function cosineEmbedding(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  { margin = 0, reduction }: LossOptions & { margin?: number } = {},
): Tensor {
  requireSame("cosineEmbedding", a, b);
  // PyTorch's ε inside the root keeps the quotient finite at 0.
  const squares = (x: Tensor) => x.square().sum(-1).add(1e-12);
  const cosine = a
    .mul(b)
    .sum(-1)
    .div(squares(a).mul(squares(b)).sqrt());
  requireSame("cosineEmbedding", cosine, target);
  return reduce(ops.where(target.gt(0), ops.sub(1, cosine), cosine.sub(margin).relu()), reduction);
}
