/** Losses with a margin and targets of ±1: hinge, cosineEmbedding. */

import * as ops from "../core/functions.ts";
import { runInternal } from "../core/owners.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { type LossOptions, reduce, requireSame } from "./reduction.ts";

/** Options for `hinge`. */
export interface HingeOptions extends LossOptions {
  /** Predictions with t·x at or above the margin have a loss of 0. Default 1. */
  margin?: number;
}

/** Options for `cosineEmbedding`. */
export interface CosineEmbeddingOptions extends LossOptions {
  /** Dissimilar pairs with a cosine at or below the margin have a loss of 0. Default 0. */
  margin?: number;
}

/**
 * Hinge loss max(0, margin − t·x). x and target (±1): the same shape → [], or that shape with reduction "none".
 * @throws ShapeError if the shapes differ; RangeError for an unknown reduction
 */
export function hinge(x: Tensor, target: Tensor, options: HingeOptions = {}): Tensor {
  check("hinge", arguments, "x:tensor target:tensor {margin:number reduction:string}");
  const { margin = 1, reduction } = options;
  return runInternal(() => {
    requireSame("hinge", x, target);
    return reduce("hinge", ops.sub(margin, x.mul(target)).relu(), reduction);
  });
}

/**
 * Cosine embedding loss: 1 − cos(a, b) for similar pairs (t = 1), max(0, cos(a, b) − margin) for dissimilar pairs (t = −1). a, b:
 * [batch, n] or [n]; target: [batch] or [] → [], or the target's shape with reduction "none".
 * @throws ShapeError if the shapes do not match; RangeError for an unknown reduction
 */
export function cosineEmbedding(a: Tensor, b: Tensor, target: Tensor, options: CosineEmbeddingOptions = {}): Tensor {
  check("cosineEmbedding", arguments, "a:tensor b:tensor target:tensor {margin:number reduction:string}");
  const { margin = 0, reduction } = options;
  return runInternal(() => {
    requireSame("cosineEmbedding", a, b);
    // x/√(|x|² + ε) with PyTorch's ε = 10⁻¹², which keeps the quotient finite at 0. The root is computed as the norm of
    // (|x|, √ε), because |x|² could overflow.
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
