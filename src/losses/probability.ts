/** Losses between probabilities, element by element: bce, bceWithLogits, klDiv. Targets are between 0 and 1. */

import { withRule } from "../autograd/backward.ts";
import { currentRecorder, withGrad } from "../core/context.ts";
import * as ops from "../core/functions.ts";
import { runInternal } from "../core/owners.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { contiguousStrides, show } from "../ops/definition/value.ts";
import { checkedFraction } from "../ops/pointwise/fraction.ts";
import { logisticLoss } from "../ops/pointwise/logistic.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError } from "../runtime/errors.ts";
import { isNotFinite, type LossOptions, maskedProduct, reduce, requireSame } from "./reduction.ts";

/** Options for `bce`. */
export interface WeightedLossOptions extends LossOptions {
  /** Weights that broadcast to the elements. A weight of 0 excludes an element, even one that is NaN or infinite. Default: none. */
  readonly weight?: Tensor;
}

/** Options for `bceWithLogits`. */
export interface LogitsLossOptions extends WeightedLossOptions {
  /** Weights of the positive term t·log σ(x), which broadcast to the elements. Default: none. */
  posWeight?: Tensor;
}

/** Options for `klDiv`. */
export interface KLDivOptions {
  /** Whether the target holds log-probabilities. Default false. */
  logTarget?: boolean;
  /** How to reduce the losses: their mean, their sum, "batchMean" (the sum divided by the batch size), or "none". Default "mean". */
  reduction?: LossOptions["reduction"] | "batchMean";
}

/**
 * The weighted losses of x and target. Invalid elements with weight 0 are replaced with 0, and get no gradient for x,
 * target or weight.
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
  return maskedProduct(ops.where(skipped, 0, each), weight);
}

/** A bool mask in x's shape: true where x is NaN or not between 0 and 1. */
const isNotProbability = (x: Tensor): Tensor => ops.logicalNot(ops.logicalAnd(x.ge(0), x.le(1)));

/**
 * Checks that x is between 0 and 1: immediately in eager mode, and on each call in compiled functions.
 * @returns x
 * @throws RangeError
 */
function requireProbabilities(name: string, role: string, x: Tensor, remedy: string): Tensor {
  if (!x.size) return x;
  const error = (v: number, at: number): Error => {
    const place = contiguousStrides(x.shape).map((stride, i) => Math.floor(at / stride) % x.shape[i]!);
    return new RangeError(`${name}: the ${role} must be in 0 … 1, got ${v} at ${show(place)}. ${remedy}`);
  };
  if (currentRecorder()) return checkedFraction(x, error) as Tensor;
  const [low, high] = tidy(() => withGrad(false, () => [x.min().item(), x.max().item()]));
  if (low! >= 0 && high! <= 1) return x;
  const { data } = x;
  const at = data.findIndex((v) => !(v >= 0 && v <= 1));
  throw error(data[at]!, at);
}

/** max(log x, −100). */
const clampedLog = (x: Tensor): Tensor => x.log().clamp(-100);
/** max(log(1 − x), −100). */
const clampedLogOfComplement = (x: Tensor): Tensor => ops.log1p(x.neg()).clamp(-100);
/**
 * bce of each element. dx = dy·(x − t)/max(x(1 − x), 10⁻¹²), as in PyTorch; the maximum keeps the derivative finite at 0 and 1.
 */
const bceElements = withRule((x: Tensor, target: Tensor) => [
  clampedLog(x)
    .mul(target)
    .add(clampedLogOfComplement(x).mul(ops.sub(1, target)))
    .neg(),
  (dy, x, target) => [
    dy.mul(x.sub(target)).div(x.mul(ops.sub(1, x)).clamp(1e-12)),
    target.requiresGrad ? dy.mul(clampedLogOfComplement(x).sub(clampedLog(x))) : null,
  ],
]);

/**
 * Binary cross-entropy −t·log x − (1 − t)·log(1 − x) of probabilities; logarithms are clamped to at least −100. x and
 * target: the same shape, values from 0 to 1 → [], or that shape with reduction "none".
 * @throws ShapeError if the shapes differ; RangeError if x or the target is not between 0 and 1, or for an unknown
 * reduction
 */
export function bce(x: Tensor, target: Tensor, options: WeightedLossOptions = {}): Tensor {
  check("bce", arguments, "x:tensor target:tensor {weight:tensor reduction:string}");
  const { weight, reduction } = options;
  return runInternal(() => {
    requireSame("bce", x, target);
    const isInvalid = (): Tensor => ops.logicalOr(isNotProbability(x), isNotProbability(target));
    const each = weightedLosses(x, target, weight, isInvalid, (p, t) =>
      bceElements(
        requireProbabilities("bce", "prediction", p, "Use bceWithLogits for logits, or apply sigmoid first."),
        requireProbabilities("bce", "target", t, "Pass the probability of class 1."),
      ),
    );
    return reduce("bce", each, reduction);
  });
}

/**
 * Binary cross-entropy of logits: −t·log σ(x) − (1 − t)·log σ(−x), accurate for any x. x and target: the same shape → [], or that shape
 * with reduction "none".
 * @throws ShapeError if the shapes differ; RangeError for an unknown reduction
 */
export function bceWithLogits(x: Tensor, target: Tensor, options: LogitsLossOptions = {}): Tensor {
  check("bceWithLogits", arguments, "x:tensor target:tensor {weight:tensor posWeight:tensor reduction:string}");
  const { weight, posWeight, reduction } = options;
  return runInternal(() => {
    requireSame("bceWithLogits", x, target);
    const isInvalid = (): Tensor => isNotFinite(posWeight ? x.add(target).add(posWeight) : x.add(target));
    const each = weightedLosses(x, target, weight, isInvalid, (z, t, skipped) => {
      if (!posWeight) return logisticLoss(z, t) as Tensor;
      const positive = skipped ? ops.where(skipped, 1, posWeight) : posWeight;
      // log σ(x) = −softplus(−x).
      return maskedProduct(ops.softplus(z.neg()), t.mul(positive)).add(maskedProduct(ops.softplus(z), ops.sub(1, t)));
    });
    return reduce("bceWithLogits", each, reduction);
  });
}

/**
 * Kullback–Leibler divergence t·(log t − x) between log-probabilities x and probabilities t. Where t is 0 the loss is
 * 0, even if x is −∞; negative t and NaN give NaN. x and target: the same shape → [], or that shape with reduction
 * "none".
 * @throws ShapeError if the shapes differ; RangeError for an unknown reduction
 */
export function klDiv(x: Tensor, target: Tensor, options: KLDivOptions = {}): Tensor {
  check("klDiv", arguments, "x:tensor target:tensor {reduction:string logTarget:boolean}");
  const { logTarget = false, reduction = "mean" } = options;
  return runInternal(() => {
    requireSame("klDiv", x, target);
    // Where t = 0, compute 1·(log 1 − 0) = 0 instead of 0·(log 0 − x), so that neither x nor t gets a gradient.
    const impossible = target.eq(logTarget ? Number.NEGATIVE_INFINITY : 0);
    const t = ops.where(impossible, logTarget ? 0 : 1, target);
    const logP = logTarget ? t : t.log();
    const terms = (logTarget ? t.exp() : t).mul(logP.sub(ops.where(impossible, 0, x)));
    const each = ops.where(ops.logicalAnd(impossible, ops.isNaN(x)), Number.NaN, terms);
    return reduction === "batchMean" ? each.sum().div(x.shape[0] ?? 1) : reduce("klDiv", each, reduction);
  });
}
