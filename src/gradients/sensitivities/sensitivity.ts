/** What single parameters and directions do to the loss: the gradient's components, ranked, and its products with directions. */

import type { Tensor } from "../../core/tensor.ts";
import { show } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { ShapeError } from "../../runtime/errors.ts";
import { dot, norm, scale, unit, type Vector, vector } from "../math/vector.ts";
import type { Objective, Point } from "../objective.ts";

/** How sensitive the loss is to one number. */
export interface Sensitivity {
  /** The parameter's name. */
  readonly name: string;
  /** Where in it: one index for each dimension. */
  readonly index: readonly number[];
  /** ∂L/∂θᵢ. */
  readonly derivative: number;
}

/**
 * ∂L/∂θᵢ for all i, the largest in size first.
 *
 * ```ts
 * sensitivities(objective(model, loss), { top: 10 });
 * ```
 */
export function sensitivities(
  objective: Objective,
  options: {
    /** How many parameters to return. Default: all of them. */
    top?: number;
  } = {},
): Sensitivity[] {
  check("sensitivities", arguments, "objective:objective {top:number}");
  const { top = Infinity } = options;
  const gradient = objective.gradient();
  const order = Array.from(gradient.keys()).sort((a, b) => Math.abs(gradient[b]!) - Math.abs(gradient[a]!));
  return order.slice(0, top).map((i) => {
    const place = objective.offsets.findLastIndex((offset) => offset <= i);
    let rest = i - objective.offsets[place]!;
    const index = [...objective.parameters[place]!.shape]
      .reverse()
      .map((n) => {
        const digit = rest % n;
        rest = Math.floor(rest / n);
        return digit;
      })
      .reverse();
    return { name: objective.names[place]!, index, derivative: gradient[i]! };
  });
}

/** D_u L = ∇L·u for u scaled to length 1. @throws RangeError where u is zero */
export function directionalDerivative(objective: Objective, u: Point, theta?: Point): number {
  check("directionalDerivative", arguments, "objective:objective u:numbers theta?:numbers");
  objective.requireSize(u);
  return dot(objective.gradient(theta), unit(vector(u)));
}

/** The direction in which the loss falls fastest, −∇L/‖∇L‖, and how fast, ‖∇L‖. @throws RangeError where the gradient is zero */
export function steepestDescent(
  objective: Objective,
  theta?: Point,
): {
  /** −∇L/‖∇L‖, of length 1. */
  direction: Vector;
  /** The slope along it, −‖∇L‖. */
  slope: number;
} {
  check("steepestDescent", arguments, "objective:objective theta?:numbers");
  const gradient = objective.gradient(theta);
  return { direction: scale(unit(gradient), -1), slope: norm(gradient) };
}

/** Each sample's part in the gradient of logistic regression. */
export interface LogisticPulls {
  /** ŷ − y: [n]. */
  readonly errors: Tensor;
  /** (ŷ − y)·x: [n, d], whose mean is the gradient. */
  readonly pulls: Tensor;
  /** ∇L by w: [d]. */
  readonly gradient: Tensor;
}

/**
 * The gradient of mean binary cross-entropy of σ(x·w), in closed form: (1/n)·Σ (ŷᵢ − yᵢ)·xᵢ. Each sample pulls along its own input, by
 * as much as it is misjudged.
 * @param w [d] @param x [n, d] @param y [n], 0 … 1
 * @throws ShapeError
 */
export function logisticPulls(w: Tensor, x: Tensor, y: Tensor): LogisticPulls {
  check("logisticPulls", arguments, "w:tensor x:tensor y:tensor");
  const [n, d] = x.shape;
  if (x.shape.length !== 2 || w.shape.length !== 1 || w.size !== d || y.shape.length !== 1 || y.size !== n)
    throw new ShapeError(
      `logisticPulls: w ${show(w.shape)}, x ${show(x.shape)}, y ${show(y.shape)} must be [d], [n, d], [n].`,
    );
  const errors = x.matmul(w).sigmoid().sub(y);
  const pulls = x.mul(errors.unsqueeze(1));
  return { errors, pulls, gradient: pulls.mean(0) };
}

/**
 * The gradients of a linear layer y = W·x + b, in closed form: ∂L/∂b = Σₖ g⁽ᵏ⁾, ∂L/∂W = Σₖ g⁽ᵏ⁾·x⁽ᵏ⁾ᵀ.
 * @param g ∂L/∂y: [n, out] @param x [n, in]
 * @throws ShapeError
 */
export function linearGradients(
  g: Tensor,
  x: Tensor,
): {
  /** dL/dW = g·xᵀ, of the weight's shape. */
  weight: Tensor;
  /** dL/db = g, of the bias's shape. */
  bias: Tensor;
} {
  check("linearGradients", arguments, "g:tensor x:tensor");
  if (g.shape.length !== 2 || x.shape.length !== 2 || g.shape[0] !== x.shape[0])
    throw new ShapeError(`linearGradients: g ${show(g.shape)} and x ${show(x.shape)} must be [n, out] and [n, in].`);
  return { weight: g.t().matmul(x), bias: g.sum(0) };
}
