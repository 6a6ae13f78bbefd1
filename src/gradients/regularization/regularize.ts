/**
 * Penalties on the gradient of a function with respect to its inputs, to add to a loss. Their gradients are second derivatives (double
 * backward). They work in eager mode, inside `optimizer.minimize(() => …)` and inside `compile`.
 */

import { grad, vjp } from "../../autograd/transforms.ts";
import { tidy } from "../../core/scope.ts";
import { fromElements, Tensor } from "../../core/tensor.ts";
import { Module } from "../../nn/module.ts";
import { sameShape } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { ShapeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { requireCount, requireInputs, requireNumber, type Scorer, scoresOf } from "../interpretation/scores.ts";
import { onSphere } from "../math/sphere.ts";

/** A constant that is added under the square root, so that the norm is differentiable even at a gradient of 0. */
const TINY = 1e-12;

/** Runs f, and returns its output, which must have one number per sample. @throws ShapeError */
function onePerSample(name: string, f: Scorer, x: Tensor): Tensor {
  const y: unknown = f instanceof Module ? f.forward(x) : f(x);
  const [batch] = x.shape;
  if (!(y instanceof Tensor) || !(sameShape(y.shape, [batch!]) || sameShape(y.shape, [batch!, 1])))
    throw new ShapeError(
      `${name}: the function must return one number per sample, [${batch}] or [${batch}, 1], got ${describe(y)}. ` +
        'Use { reduction: "none" }, or select one class\'s score. For several outputs, use jacobianPenalty.',
    );
  return y;
}

/** Σ (∂f/∂x)² over all dimensions except the batch: [batch]. Differentiable with respect to everything that f depends on. */
function squaredNorms(name: string, f: Scorer, x: Tensor): Tensor {
  requireInputs(name, x);
  return grad((z: Tensor) => onePerSample(name, f, z).sum())(x)
    .square()
    .flatten(1)
    .sum(1);
}

const roots = (squares: Tensor): Tensor => squares.add(TINY).sqrt();

/**
 * ‖∂f/∂x‖₂ for each sample: how steep f is at that sample. f is a network or a function of x: [batch, …] → [batch] or
 * [batch, 1], and its value for a sample must depend on that sample alone (no batch norm in training mode). The result
 * is √(‖∂f/∂x‖² + 10⁻¹²): [batch]. It is differentiable with respect to f's parameters even if a norm is 0, and is
 * never below 10⁻⁶.
 *
 * ```ts
 * inputGradientNorms(critic, x).mean().item();
 * inputGradientNorms((z) => losses.mse(model.forward(z), y, { reduction: "none" }).mean(1), x);
 * ```
 * @throws ShapeError, DTypeError or TypeError for invalid inputs or outputs
 */
export function inputGradientNorms(f: Scorer, x: Tensor): Tensor {
  check("inputGradientNorms", arguments, "f:module|function x:any");
  return tidy(() => roots(squaredNorms("inputGradientNorms", f, x)));
}

/** Options for gradientPenalty. */
export interface GradientPenaltyOptions {
  /** The desired norm: 0 for a flat function, 1 for WGAN-GP. Default 0. */
  readonly target?: number;
}

/**
 * The mean over samples of (‖∂f/∂x‖₂ − target)². Target 0 is the double backpropagation of Drucker and Le Cun (1992).
 * Target 1, at points between real and generated samples, is the penalty of WGAN-GP (Gulrajani et al. 2017, eq. 3). f
 * has the same form as for inputGradientNorms.
 *
 * ```ts
 * const each = (z: Tensor) => losses.crossEntropy(model.forward(z), labels, { reduction: "none" });
 * optimizer.minimize(() => each(x).mean().add(gradientPenalty(each, x).mul(0.1)));
 * gradientPenalty(critic, real.add(fake.sub(real).mul(rand([n, 1]))), { target: 1 });   // WGAN-GP
 * ```
 * @throws ShapeError, DTypeError or TypeError for invalid inputs or outputs; RangeError if target is below 0
 */
export function gradientPenalty(f: Scorer, x: Tensor, options: GradientPenaltyOptions = {}): Tensor {
  check("gradientPenalty", arguments, "f:module|function x:any {target:number}");
  const { target = 0 } = options;
  requireNumber("gradientPenalty", "target", target, 0);
  return tidy(() => {
    const squares = squaredNorms("gradientPenalty", f, x);
    return (target === 0 ? squares : roots(squares).sub(target).square()).mean();
  });
}

/** Options for lipschitzPenalty. */
export interface LipschitzPenaltyOptions {
  /** The largest norm without a penalty. Default 1. */
  readonly bound?: number;
}

/**
 * The mean over samples of max(0, ‖∂f/∂x‖₂ − bound)²: only norms above the bound are penalized (Petzka et al. 2018, eq.
 * 8, the penalty of WGAN-LP). f has the same form as for inputGradientNorms.
 *
 * ```ts
 * optimizer.minimize(() => loss(x).add(lipschitzPenalty(critic, x, { bound: 2 }).mul(10)));
 * ```
 * @throws ShapeError, DTypeError or TypeError for invalid inputs or outputs; RangeError if the bound is below 0
 */
export function lipschitzPenalty(f: Scorer, x: Tensor, options: LipschitzPenaltyOptions = {}): Tensor {
  check("lipschitzPenalty", arguments, "f:module|function x:any {bound:number}");
  const { bound = 1 } = options;
  requireNumber("lipschitzPenalty", "bound", bound, 0);
  return tidy(() =>
    roots(squaredNorms("lipschitzPenalty", f, x))
      .sub(bound)
      .relu()
      .square()
      .mean(),
  );
}

/** Options for jacobianPenalty. */
export interface JacobianPenaltyOptions {
  /**
   * The number of random directions onto which to project each sample's outputs. The penalty is exact if this is at least
   * the number of outputs. Default 1.
   */
  readonly projections?: number;
}

/**
 * The mean over samples of ‖∂f/∂x‖²_F, the sum of the Jacobian's squared elements (Hoffman et al. 2019; their loss adds
 * λ/2 times this). With fewer projections than outputs, this is an unbiased estimate, C·‖vᵀ∂f/∂x‖² for C outputs and v
 * uniform on the unit sphere (their eq. 10), drawn with the generator that `manualSeed` seeds. Otherwise, the result is
 * exact. Each projection costs one backward pass. f is a network or a function of x: [batch, …] → [batch, C] or
 * [batch], and its values for a sample must depend on that sample alone. The result is differentiable with respect to
 * f's parameters.
 *
 * ```ts
 * optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels).add(jacobianPenalty(model, x).mul(0.01)));
 * jacobianPenalty(model, x, { projections: 10 });   // exact for 10 classes
 * ```
 * @throws ShapeError, DTypeError or TypeError for invalid inputs or outputs; RangeError if projections is not a whole number ≥ 1
 */
export function jacobianPenalty(f: Scorer, x: Tensor, options: JacobianPenaltyOptions = {}): Tensor {
  check("jacobianPenalty", arguments, "f:module|function x:any {projections:number}");
  const { projections = 1 } = options;
  const name = "jacobianPenalty";
  requireInputs(name, x);
  requireCount(name, "projections", projections);
  return tidy(() => {
    const [y, pullback] = vjp((z: Tensor) => scoresOf(name, f, z), x);
    const [batch, outputs] = y.shape as readonly [number, number];
    const exact = projections >= outputs;
    // The sum over the basis is exact; C/P times the sum over P random directions has the same mean.
    const squares = Array.from({ length: exact ? outputs : projections }, (_, k) => {
      const v = exact ? basisRows(batch, outputs, k) : onSphere([batch, outputs]);
      return pullback(v)[0]!.square().sum();
    });
    const total = squares.reduce((a, b) => a.add(b));
    return total.mul((exact ? 1 : outputs / projections) / batch);
  });
}

/** A matrix with basis vector k in each row. */
function basisRows(batch: number, n: number, k: number): Tensor {
  const elements = new Float32Array(batch * n);
  for (let i = 0; i < batch; i++) elements[i * n + k] = 1;
  return fromElements(elements, [batch, n], "float32", "jacobianPenalty");
}
