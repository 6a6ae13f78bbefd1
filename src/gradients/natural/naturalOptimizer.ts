/**
 * An optimizer that follows the natural gradient, for networks of any kind. It uses conjugate gradients and products
 * with the Fisher matrix.
 */

import { withGrad } from "../../core/context.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Module } from "../../nn/module.ts";
import { type OptimizerState, stateError } from "../../optim/optimizerState.ts";
import { packVectors, readOptions, unpackVectors } from "../../optim/vectors.ts";
import { check } from "../../runtime/arguments.ts";
import { requireRange, requireWhole } from "../../runtime/errors.ts";
import { withoutUndefined } from "../../runtime/options.ts";
import { conjugateGradient } from "../math/conjugate.ts";
import { plus, scale, type Vector } from "../math/vector.ts";
import type { Objective } from "../objective.ts";
import { layoutOf, linearize, lossAt } from "./fisher.ts";
import { type Likelihood, likelihoodOf } from "./likelihood.ts";
import { adaptDamping, bestStep, requireNatural, requireSameLikelihood } from "./trustRegion.ts";

/** Options for NaturalGradient, the optimizer. */
export interface NaturalGradientOptions {
  /** The distribution of the target given the outputs. The loss is its mean negative logarithm. */
  readonly likelihood: Likelihood;
  /** The factor that multiplies the best step of the quadratic model. Default 1. */
  readonly lr?: number;
  /** The initial damping λ, which is added to the diagonal of F. Default 0.1. */
  readonly damping?: number;
  /**
   * Whether to adapt λ to how well the quadratic model predicts the loss on its own batch. Default true. If batches are
   * small compared with the number of parameters, λ falls until each step fits only its own batch. In this case, use
   * false and a fixed λ.
   */
  readonly adapt?: boolean;
  /** The maximum number of products with F per step. Default 20. */
  readonly iterations?: number;
  /** The relative residual at which conjugate gradients stop. Default 10⁻². */
  readonly tolerance?: number;
}

/** The maximum number of times that a step is halved. */
const HALVINGS = 10;

function validate({ iterations, tolerance, ...options }: Required<NaturalGradientOptions>): void {
  requireNatural("NaturalGradient", options);
  requireWhole("NaturalGradient", { iterations });
  requireRange("NaturalGradient", { tolerance }, (v) => v >= 0, "≥ 0");
}

/**
 * θ ← θ − lr·(F + λ)⁻¹∇L (Amari 1998) by conjugate gradients, starting from the previous step's solution (Martens 2010). Each iteration of
 * conjugate gradients costs about two passes, but one step makes as much progress as many steps of SGD. A step that raises the loss on its
 * batch is halved up to ten times; if the loss is still higher, the step is undone.
 *
 * ```ts
 * const optimizer = new NaturalGradient(model.parameters(), { likelihood: "softmax" });
 * for (const [x, labels] of batches) optimizer.minimize(() => model.forward(x), labels);
 * ```
 */
export class NaturalGradient {
  static readonly kind: string = "NaturalGradient";
  /** The current damping λ. */
  damping: number;
  private options: Required<NaturalGradientOptions>;
  private readonly layout: Objective;
  private last: Vector | undefined;

  /** @throws RangeError if an option is out of range; Error if the model has no parameters */
  constructor(parameters: Module | readonly Tensor[], options: NaturalGradientOptions) {
    check(
      "NaturalGradient",
      arguments,
      "parameters:module|array {likelihood!:string lr:number damping:number adapt:boolean iterations:number tolerance:number}",
    );
    this.options = { lr: 1, damping: 0.1, adapt: true, iterations: 20, tolerance: 1e-2, ...withoutUndefined(options) };
    validate(this.options);
    this.damping = this.options.damping;
    this.layout = layoutOf(parameters);
  }

  /**
   * Takes one step on a batch.
   * @param outputs computes the model's outputs, [batch, outputs]; must be the same function of the parameters on every call
   * @param target the target, in the format that the likelihood expects
   * @returns the loss before the step
   * @throws RangeError if the loss or the gradient is not finite; the parameters then do not change
   */
  minimize(outputs: () => Tensor, target: Tensor): number {
    const { likelihood, lr, adapt, iterations, tolerance } = this.options;
    const { layout, damping } = this;
    const { loss, noise, step } = linearize(layout, outputs, likelihood, (at) => {
      const { gradient, ...rest } = lossAt(at, target, likelihood);
      const start = this.last && scale(this.last, 0.95);
      const { x } = conjugateGradient(at.product, gradient, {
        damping,
        iterations,
        tolerance,
        ...(start ? { start } : {}),
      });
      this.last = x;
      return { ...rest, step: bestStep(gradient, [x], at.form([x]), damping) };
    });
    const theta = layout.theta;
    const losses: number[] = [];
    try {
      // The direction points downhill, so a short enough step lowers the loss.
      while (!(losses.at(-1)! <= loss) && losses.length <= HALVINGS) {
        layout.moveTo(plus(theta, step.delta, lr / 2 ** losses.length));
        losses.push(tidy(() => withGrad(false, () => likelihoodOf(likelihood).loss(outputs(), target).item())));
      }
    } finally {
      if (!(losses.at(-1)! <= loss)) {
        layout.moveTo(theta);
        this.last = undefined;
      }
    }
    const after = losses[0]!;
    if (adapt) this.damping = adaptDamping(damping, step, { before: loss, after, noise, lr, factor: 2 / 3 });
    return loss;
  }
  /**
   * The state to save: the options, the current λ and the last solution. The tensors are new, and hold float64 vectors
   * as bytes.
   */
  stateDict(): OptimizerState {
    const vectors = { damping: [Float64Array.of(this.damping)], last: this.last ? [this.last] : [] };
    return { groups: [{ ...this.options }], state: [packVectors(this.layout.parameters, vectors)] };
  }

  /**
   * Loads options and state. Checks everything before it changes anything.
   * @throws Error if the options or the state do not fit the model
   */
  loadStateDict(saved: OptimizerState): void {
    this.checkState(saved)();
  }
  /** @internal */
  checkState(saved: OptimizerState): () => void {
    const name = "NaturalGradient";
    const options = readOptions(name, saved, this.options, 1);
    requireSameLikelihood(name, this.options, options);
    const lengths = { damping: 1, last: this.layout.theta.length };
    const { damping, last } = unpackVectors(name, this.layout.parameters, saved.state[0]!, lengths);
    if (damping.length !== 1 || last.length > 1) throw stateError(name, "is incomplete");
    const [lambda] = damping[0]!;
    validate(options);
    validate({ ...options, damping: lambda! });
    return () => {
      this.options = options;
      this.damping = lambda!;
      [this.last] = last;
    };
  }
}
