/** Gradients of logistic regression and of a linear layer in closed form, as the article derives them. */

import type { Tensor } from "../../core/tensor.ts";
import { show } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { ShapeError } from "../../runtime/errors.ts";

/** Each sample's contribution to the gradient of logistic regression. */
export interface LogisticPulls {
  /** ŷ − y: [n]. */
  readonly errors: Tensor;
  /** (ŷ − y)·x: [n, d]. The mean over samples is the gradient. */
  readonly pulls: Tensor;
  /** ∂L/∂w: [d]. */
  readonly gradient: Tensor;
}

/**
 * The gradient of the mean binary cross-entropy of ŷ = σ(x·w) in closed form: (1/n)·Σ (ŷᵢ − yᵢ)·xᵢ. Each sample pulls the weights along its
 * input, in proportion to its error.
 * @param w [d]
 * @param x [n, d]
 * @param y [n], 0 … 1
 * @throws ShapeError
 */
export function logisticPulls(w: Tensor, x: Tensor, y: Tensor): LogisticPulls {
  check("logisticPulls", arguments, "w:tensor x:tensor y:tensor");
  const [n, d] = x.shape;
  if (x.shape.length !== 2 || w.shape.length !== 1 || w.size !== d || y.shape.length !== 1 || y.size !== n)
    throw new ShapeError(
      `logisticPulls: w, x and y must be [d], [n, d] and [n], got ${show(w.shape)}, ${show(x.shape)} and ${show(y.shape)}.`,
    );
  const errors = x.matmul(w).sigmoid().sub(y);
  const pulls = x.mul(errors.unsqueeze(1));
  return { errors, pulls, gradient: pulls.mean(0) };
}

/**
 * The gradients of a linear layer y = W·x + b, in closed form: ∂L/∂b = Σₖ g⁽ᵏ⁾, ∂L/∂W = Σₖ g⁽ᵏ⁾·x⁽ᵏ⁾ᵀ.
 * @param g ∂L/∂y: [n, out]
 * @param x [n, in]
 * @throws ShapeError
 */
export function linearGradients(
  g: Tensor,
  x: Tensor,
): {
  /** ∂L/∂W: [out, in]. */
  weight: Tensor;
  /** ∂L/∂b: [out]. */
  bias: Tensor;
} {
  check("linearGradients", arguments, "g:tensor x:tensor");
  if (g.shape.length !== 2 || x.shape.length !== 2 || g.shape[0] !== x.shape[0])
    throw new ShapeError(
      `linearGradients: g and x must be [n, out] and [n, in], got ${show(g.shape)} and ${show(x.shape)}.`,
    );
  return { weight: g.t().matmul(x), bias: g.sum(0) };
}
