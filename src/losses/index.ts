/** Losses, written on tensors only. Names, arguments, defaults and formulas are PyTorch's (torch.nn.functional). */

import { customGradient } from "../autograd/backward.ts";
import { currentRecorder, withGrad } from "../core/context.ts";
import * as ops from "../core/functions.ts";
import { runInternal } from "../core/owners.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { contiguousStrides, sameShape, show } from "../ops/definition/value.ts";
import { oneHotLabels } from "../ops/index/gather.ts";
import { checkedFraction } from "../ops/pointwise/fraction.ts";
import { logisticLoss } from "../ops/pointwise/logistic.ts";
import { crossEntropyRows } from "../ops/reduce/rows.ts";
import { check } from "../runtime/arguments.ts";
import { DTypeError, quote, RangeError, requireFraction, requireRange, ShapeError } from "../runtime/errors.ts";

/** What every loss takes: how its elements are combined. */
export interface LossOptions {
  /** The mean over elements (default), their sum, or each. */
  readonly reduction?: "mean" | "sum" | "none";
}

function reduce(name: string, each: Tensor, reduction: LossOptions["reduction"] = "mean"): Tensor {
  if (!["mean", "sum", "none"].includes(reduction)) {
    throw new RangeError(
      `${name}: reduction ${quote(String(reduction))} is not one of "mean", "sum", "none" (klDiv: also "batchMean").`,
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
export function mse(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  check("mse", arguments, "x:tensor target:tensor {reduction:string}");
  const { reduction } = options;
  return runInternal(() => {
    requireSame("mse", x, target);
    return reduce("mse", x.sub(target).square(), reduction);
  });
}

/** |x − t|. */
export function l1(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  check("l1", arguments, "x:tensor target:tensor {reduction:string}");
  const { reduction } = options;
  return runInternal(() => {
    requireSame("l1", x, target);
    return reduce("l1", x.sub(target).abs(), reduction);
  });
}

/** ½d² where |d| ≤ δ, else δ(|d| − ½δ), d = x − t (Huber 1964). */
export function huber(
  x: Tensor,
  target: Tensor,
  options: LossOptions & {
    /** δ, where the loss turns from quadratic to linear; above 0. Default 1. */
    delta?: number;
  } = {},
): Tensor {
  check("huber", arguments, "x:tensor target:tensor {reduction:string delta:number}");
  const { delta = 1, reduction } = options;
  return runInternal(() => {
    requireSame("huber", x, target);
    requireRange("huber", { delta }, (v) => v > 0, "above 0");
    // With c = min(max(d, −δ), δ): c(d − ½c), smooth at d = 0 too.
    const d = x.sub(target);
    const c = d.clamp(-delta, delta);
    return reduce("huber", c.mul(d.sub(c.mul(0.5))), reduction);
  });
}

/** ½d²/β where |d| ≤ β, else |d| − ½β, d = x − t; l1 where β = 0. */
export function smoothL1(
  x: Tensor,
  target: Tensor,
  options: LossOptions & {
    /** β, where the loss turns from quadratic to linear; 0 makes it l1. Default 1. */
    beta?: number;
  } = {},
): Tensor {
  check("smoothL1", arguments, "x:tensor target:tensor {reduction:string beta:number}");
  const { beta = 1, reduction } = options;
  return runInternal(() => {
    if (beta === 0) return l1(x, target, reduction ? { reduction } : {});
    requireSame("smoothL1", x, target);
    requireRange("smoothL1", { beta }, (v) => v > 0, "≥ 0");
    // huber(δ = β)/β, divided before the product, which may underflow or overflow.
    const d = x.sub(target);
    const c = d.clamp(-beta, beta);
    return reduce("smoothL1", c.div(beta).mul(d.sub(c.mul(0.5))), reduction);
  });
}

interface WeightedOptions extends LossOptions {
  /** Factors that broadcast to the elements. Elements with a factor of 0 do not count, even if they are NaN or infinite. */
  readonly weight?: Tensor;
}

/** Where x is infinite or NaN, as bool. */
const isNotFinite = (x: Tensor): Tensor => x.mul(0).ne(0);

/** x·w, where 0·∞ and 0·NaN are 0: what has the weight 0 does not count. */
const product = customGradient((x: Tensor, w: Tensor) => [
  ops.where(w.eq(0), 0, x.mul(w)),
  (dy, x, w) => [dy.mul(w), w.requiresGrad ? dy.mul(ops.where(ops.logicalAnd(w.eq(0), isNotFinite(x)), 0, x)) : null],
]);

/**
 * The weighted losses of x and target, without the elements that `isInvalid` and have the weight 0: 0 stands in for them, and no
 * gradient reaches x, the target or the weight there.
 */
function weightedLosses(
  x: Tensor,
  target: Tensor,
  weight: Tensor | undefined,
  isInvalid: () => Tensor,
  f: (x: Tensor, target: Tensor, skipped?: Tensor) => Tensor,
): Tensor {
  if (!weight) return f(x, target);
  const skipped = ops.logicalAnd(weight.eq(0), isInvalid());
  const each = f(ops.where(skipped, 0, x), ops.where(skipped, 0, target), skipped);
  return product(ops.where(skipped, 0, each), weight);
}

/** Where x is outside 0 … 1 or NaN, as bool. */
const isImprobable = (x: Tensor): Tensor => ops.logicalNot(ops.logicalAnd(x.ge(0), x.le(1)));

/** x, once its values are checked: in eager mode at once, in compiled functions on each call. @throws RangeError */
function probabilities(name: string, role: string, x: Tensor, remedy: string): Tensor {
  if (!x.size) return x;
  const error = (v: number, at: number): Error => {
    const place = contiguousStrides(x.shape).map((stride, i) => Math.floor(at / stride) % x.shape[i]!);
    return new RangeError(`${name}: the ${role} is ${v} at ${show(place)}, but must be in 0 … 1. ${remedy}`);
  };
  if (currentRecorder()) return checkedFraction(x, error) as Tensor;
  const [low, high] = tidy(() => withGrad(false, () => [x.min().item(), x.max().item()]));
  if (low! >= 0 && high! <= 1) return x;
  const { data } = x;
  const at = data.findIndex((v) => !(v >= 0 && v <= 1));
  throw error(data[at]!, at);
}

/** log x, cut off at −100. */
const cutLog = (x: Tensor): Tensor => x.log().clamp(-100);
/** log(1 − x), cut off at −100. */
const cutLogRest = (x: Tensor): Tensor => ops.log1p(x.neg()).clamp(-100);
/** bce, element by element. dx = dy·(x − t)/max(x(1 − x), 10⁻¹²), PyTorch's: finite where x is 0 or 1. */
const bceElements = customGradient((x: Tensor, target: Tensor) => [
  cutLog(x)
    .mul(target)
    .add(cutLogRest(x).mul(ops.sub(1, target)))
    .neg(),
  (dy, x, target) => [
    dy.mul(x.sub(target)).div(x.mul(ops.sub(1, x)).clamp(1e-12)),
    target.requiresGrad ? dy.mul(cutLogRest(x).sub(cutLog(x))) : null,
  ],
]);

/**
 * −t·log x − (1 − t)·log(1 − x) for probabilities x and t; logarithms are cut off at −100.
 * @throws ShapeError, RangeError if x or t is outside 0 … 1
 */
export function bce(x: Tensor, target: Tensor, options: WeightedOptions = {}): Tensor {
  check("bce", arguments, "x:tensor target:tensor {weight:tensor reduction:string}");
  const { weight, reduction } = options;
  return runInternal(() => {
    requireSame("bce", x, target);
    const isInvalid = (): Tensor => ops.logicalOr(isImprobable(x), isImprobable(target));
    const each = weightedLosses(x, target, weight, isInvalid, (p, t) =>
      bceElements(
        probabilities("bce", "prediction", p, "Use bceWithLogits for logits, or apply sigmoid first."),
        probabilities("bce", "target", t, "Give the probability of class 1."),
      ),
    );
    return reduce("bce", each, reduction);
  });
}

/**
 * bce(sigmoid(x), t), exact at any distance from 0: −t·log σ(x) − (1 − t)·log σ(−x); `posWeight` multiplies the term of t.
 * @throws ShapeError
 */
export function bceWithLogits(
  x: Tensor,
  target: Tensor,
  options: WeightedOptions & {
    /** The factor of each positive target's term; broadcasts to the logits. */
    posWeight?: Tensor;
  } = {},
): Tensor {
  check("bceWithLogits", arguments, "x:tensor target:tensor {weight:tensor posWeight:tensor reduction:string}");
  const { weight, posWeight, reduction } = options;
  return runInternal(() => {
    requireSame("bceWithLogits", x, target);
    const isInvalid = (): Tensor => isNotFinite(posWeight ? x.add(target).add(posWeight) : x.add(target));
    const each = weightedLosses(x, target, weight, isInvalid, (z, t, skipped) => {
      if (!posWeight) return logisticLoss(z, t) as Tensor;
      const positive = skipped ? ops.where(skipped, 1, posWeight) : posWeight;
      // log σ(x) = −softplus(−x).
      return product(ops.softplus(z.neg()), t.mul(positive)).add(product(ops.softplus(z), ops.sub(1, t)));
    });
    return reduce("bceWithLogits", each, reduction);
  });
}

/** Options of losses over classes. */
export interface ClassLossOptions extends LossOptions {
  /** A factor for each class: [classes]. Classes with a factor of 0 do not count, even if their logits are NaN or infinite. */
  readonly weight?: Tensor;
  /** Rows with this label do not count, even if they hold NaN or ∞: loss and gradient are 0. Default −100. */
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

function requireClassWeight(name: string, weight: Tensor | undefined, classes: number): void {
  if (weight && (weight.shape.length !== 1 || weight.size !== classes))
    throw new ShapeError(`${name}: the weight is ${show(weight.shape)}, but must be [${classes}], one per class.`);
}

/** Which rows count, the weight of each (its class's, 0 if it does not count), and labels with 0 for those that do not. */
function rowWeights(
  labels: Tensor,
  weight: Tensor | undefined,
  ignoreIndex: number,
): { counts: Tensor; weights: Tensor; safe: Tensor } {
  const counts = labels.ne(ignoreIndex);
  // Ignored labels may lie outside the classes: 0 stands in.
  const safe = labels.where(counts, 0);
  return { counts, weights: weight ? weight.indexSelect(0, safe).where(counts, 0) : counts.to("float32"), safe };
}

/**
 * −w·x[label] for log-probabilities x: [..., classes] and int32 labels [...].
 * @throws ShapeError, RangeError
 */
export function nll(x: Tensor, labels: Tensor, options: ClassLossOptions = {}): Tensor {
  check("nll", arguments, "x:tensor labels:tensor {weight:tensor ignoreIndex:number reduction:string}");
  const { weight, ignoreIndex = -100, reduction } = options;
  return runInternal(() => {
    const { rows, flat, classes } = asRows("nll", x, labels);
    requireClassWeight("nll", weight, classes);
    const { counts, weights, safe } = rowWeights(flat, weight, ignoreIndex);
    const picked = rows
      .gather(1, safe.reshape([-1, 1]))
      .reshape([-1])
      .where(counts, 0);
    return reduceWeighted("nll", (weight ? product(picked, weights) : picked).neg(), weights, labels, reduction);
  });
}

/** Options of crossEntropy. */
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
    /** Spread by ε over all C classes, and weighted: w·((1 − ε)·p + ε/C). */
    const spread = (p: Tensor): Tensor => {
      const smooth = labelSmoothing ? p.mul(1 - labelSmoothing).add(labelSmoothing / classes) : p;
      return weight ? smooth.mul(weight) : smooth;
    };
    if (target.dtype === "float32" && sameShape(target.shape, logits.shape)) {
      const each = crossEntropyRows(logits.reshape([-1, classes]), spread(target.reshape([-1, classes]))) as Tensor;
      return reduce("crossEntropy", reduction === "none" ? each.reshape(logits.shape.slice(0, -1)) : each, reduction);
    }
    if (target.dtype === "float32") {
      throw new DTypeError(
        `crossEntropy: the target is float32 ${show(target.shape)}; class labels must be int32. Use target.to("int32"), or ` +
          `tensor(values, { dtype: "int32" }); probabilities have the shape of the logits, ${show(logits.shape)}.`,
      );
    }
    const { rows, flat } = asRows("crossEntropy", logits, target);
    if (!labelSmoothing) {
      const each = crossEntropyRows(rows, flat, ignoreIndex) as Tensor;
      if (!weight) return reduceWeighted("crossEntropy", each, flat.ne(ignoreIndex), target, reduction);
      const { weights } = rowWeights(flat, weight, ignoreIndex);
      return reduceWeighted("crossEntropy", product(each, weights), weights, target, reduction);
    }
    const { counts, weights, safe } = rowWeights(flat, weight, ignoreIndex);
    // A row of zeros is what does not count.
    const shares = ops.where(counts.unsqueeze(-1), spread(oneHotLabels(safe, classes) as Tensor), 0);
    return reduceWeighted("crossEntropy", crossEntropyRows(rows, shares) as Tensor, weights, target, reduction);
  });
}

/**
 * t·(log t − x) for log-probabilities x and probabilities t, or log-probabilities with logTarget. Where the probability is 0, the
 * loss is 0, even if x is −∞; a negative probability or an x of NaN gives NaN.
 */
export function klDiv(
  x: Tensor,
  target: Tensor,
  options: {
    /** Whether the target holds logarithms of probabilities. Default false. */
    logTarget?: boolean;
    /**
     * How elements are combined; "batchMean" divides the sum by the batch, as the definition does. Default "mean".
     */
    reduction?: LossOptions["reduction"] | "batchMean";
  } = {},
): Tensor {
  check("klDiv", arguments, "x:tensor target:tensor {reduction:string logTarget:boolean}");
  const { logTarget = false, reduction = "mean" } = options;
  return runInternal(() => {
    requireSame("klDiv", x, target);
    // Where t = 0, compute 1·(log 1 − 0) = 0 instead of 0·(log 0 − x), without a gradient.
    const impossible = target.eq(logTarget ? Number.NEGATIVE_INFINITY : 0);
    const t = ops.where(impossible, logTarget ? 0 : 1, target);
    const logP = logTarget ? t : t.log();
    const terms = (logTarget ? t.exp() : t).mul(logP.sub(ops.where(impossible, 0, x)));
    const each = ops.where(ops.logicalAnd(impossible, ops.isNaN(x)), Number.NaN, terms);
    return reduction === "batchMean" ? each.sum().div(x.shape[0] ?? 1) : reduce("klDiv", each, reduction);
  });
}

/** max(0, margin − t·x) for targets ±1. */
export function hinge(
  x: Tensor,
  target: Tensor,
  options: LossOptions & {
    /** How far from 0 a prediction must be to cost nothing. Default 1. */
    margin?: number;
  } = {},
): Tensor {
  check("hinge", arguments, "x:tensor target:tensor {margin:number reduction:string}");
  const { margin = 1, reduction } = options;
  return runInternal(() => {
    requireSame("hinge", x, target);
    return reduce("hinge", ops.sub(margin, x.mul(target)).relu(), reduction);
  });
}

/** 1 − cos(a, b) where t = 1, max(0, cos(a, b) − margin) where t = −1. a, b: [batch, n] (or [n]), t: [batch] (or []). */
export function cosineEmbedding(
  a: Tensor,
  b: Tensor,
  target: Tensor,
  options: LossOptions & {
    /** The cosine up to which a pair with target −1 costs nothing. Default 0. */
    margin?: number;
  } = {},
): Tensor {
  check("cosineEmbedding", arguments, "a:tensor b:tensor target:tensor {margin:number reduction:string}");
  const { margin = 0, reduction } = options;
  return runInternal(() => {
    requireSame("cosineEmbedding", a, b);
    // x/√(|x|² + ε), ε = 10⁻¹²: PyTorch's ε keeps the quotient finite at 0. Norms do not overflow where squares would.
    const unit = (x: Tensor): Tensor => {
      const length = ops.norm(x, 2, -1, { keepdim: true }) as Tensor;
      const root = ops.norm(ops.pad(length, [0, 1], 1e-6), 2, -1, { keepdim: true }) as Tensor;
      return x.div(root);
    };
    const cosine = unit(a).mul(unit(b)).sum(-1);
    requireSame("cosineEmbedding", cosine, target);
    return reduce("cosineEmbedding", ops.where(target.gt(0), ops.sub(1, cosine), cosine.sub(margin).relu()), reduction);
  });
}
