/** Losses between predictions and targets of the same shape: mse, l1, huber, smoothL1. */

import { runInternal } from "../core/owners.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { requireRange } from "../runtime/errors.ts";
import { type LossOptions, reduce, requireSame } from "./reduction.ts";

/** Options for `huber`. */
export interface HuberOptions extends LossOptions {
  /** The value of |x − t| at which the loss changes from quadratic to linear. It must be above 0. Default 1. */
  delta?: number;
}

/** Options for `smoothL1`. */
export interface SmoothL1Options extends LossOptions {
  /** The value of |x − t| at which the loss changes from quadratic to linear. It must be at least 0, and 0 gives l1. Default 1. */
  beta?: number;
}

/**
 * Squared error (x − t)². x and target: the same shape → [], or that shape with reduction "none".
 * @throws ShapeError if the shapes differ; RangeError for an unknown reduction
 */
export function mse(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  check("mse", arguments, "x:tensor target:tensor {reduction:string}");
  const { reduction } = options;
  return runInternal(() => {
    requireSame("mse", x, target);
    return reduce("mse", x.sub(target).square(), reduction);
  });
}

/**
 * Absolute error |x − t|. x and target: the same shape → [], or that shape with reduction "none".
 * @throws ShapeError if the shapes differ; RangeError for an unknown reduction
 */
export function l1(x: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  check("l1", arguments, "x:tensor target:tensor {reduction:string}");
  const { reduction } = options;
  return runInternal(() => {
    requireSame("l1", x, target);
    return reduce("l1", x.sub(target).abs(), reduction);
  });
}

/**
 * Huber loss (Huber 1964): ½d² where |d| ≤ δ, else δ(|d| − ½δ), with d = x − t. x and target: the same shape → [], or that shape with
 * reduction "none".
 * @throws ShapeError if the shapes differ; RangeError for an invalid delta or reduction
 */
export function huber(x: Tensor, target: Tensor, options: HuberOptions = {}): Tensor {
  check("huber", arguments, "x:tensor target:tensor {reduction:string delta:number}");
  const { delta = 1, reduction } = options;
  return runInternal(() => {
    requireSame("huber", x, target);
    requireRange("huber", { delta }, (v) => v > 0, "above 0");
    // With c = min(max(d, −δ), δ) the loss is c(d − ½c), which is also smooth at d = 0.
    const d = x.sub(target);
    const c = d.clamp(-delta, delta);
    return reduce("huber", c.mul(d.sub(c.mul(0.5))), reduction);
  });
}

/**
 * Smooth L1 loss (Girshick 2015): ½d²/β where |d| ≤ β, else |d| − ½β, with d = x − t. x and target: the same shape → [], or that shape
 * with reduction "none".
 * @throws ShapeError if the shapes differ; RangeError for an invalid beta or reduction
 */
export function smoothL1(x: Tensor, target: Tensor, options: SmoothL1Options = {}): Tensor {
  check("smoothL1", arguments, "x:tensor target:tensor {reduction:string beta:number}");
  const { beta = 1, reduction } = options;
  return runInternal(() => {
    if (beta === 0) return l1(x, target, reduction ? { reduction } : {});
    requireSame("smoothL1", x, target);
    requireRange("smoothL1", { beta }, (v) => v > 0, "≥ 0");
    // This is huber(δ = β)/β. Divide first, because the product could underflow or overflow.
    const d = x.sub(target);
    const c = d.clamp(-beta, beta);
    return reduce("smoothL1", c.div(beta).mul(d.sub(c.mul(0.5))), reduction);
  });
}
