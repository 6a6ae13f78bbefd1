/** An optimizer that follows the natural gradient, for networks of any layers: conjugate gradients on products with Fisher's matrix. */

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

/** Options of NaturalGradient, the optimizer. */
export interface NaturalGradientOptions {
  /** What the outputs mean: the loss is its mean negative logarithm. */
  readonly likelihood: Likelihood;
  /** How much of the step that the quadratic model finds best is taken. Default 1. */
  readonly lr?: number;
  /** λ at first, added to F's diagonal. Default 0.1. */
  readonly damping?: number;
  /** Whether λ follows how well the model predicts the loss. Default true. */
  readonly adapt?: boolean;
  /** Products with F in a step, at most. Default 20. */
  readonly iterations?: number;
  /** Where conjugate gradients may stop. Default 10⁻². */
  readonly tolerance?: number;
}

function validate({ iterations, tolerance, ...options }: Required<NaturalGradientOptions>): void {
  requireNatural("NaturalGradient", options);
  requireWhole("NaturalGradient", { iterations });
  requireRange("NaturalGradient", { tolerance }, (v) => v >= 0, "≥ 0");
}

/**
 * θ ← θ − lr·(F + λ)⁻¹∇L (Amari 1998) by conjugate gradients, begun where the last step's ended (Martens 2010). A step costs about two
 * passes for each of them and does as much as many steps of SGD; a step that would raise the loss of its batch is not made.
 *
 * ```ts
 * const optimizer = new NaturalGradient(model.parameters(), { likelihood: "softmax" });
 * for (const [x, labels] of batches) optimizer.minimize(() => model.forward(x), labels);
 * ```
 */
export class NaturalGradient {
  static readonly kind: string = "NaturalGradient";
  /** λ now. */
  damping: number;
  private options: Required<NaturalGradientOptions>;
  private readonly layout: Objective;
  private last: Vector | undefined;

  /** @throws RangeError, or Error if the model has no parameters */
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
   * One step on a batch.
   * @param outputs the model's outputs: [batch, outputs]; the same function of the parameters at each call
   * @param target as the likelihood wants it
   * @returns the loss before the step
   * @throws RangeError where loss or gradient is not finite; nothing is changed then
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
    layout.moveTo(plus(theta, step.delta, lr));
    let after = Number.NaN;
    try {
      after = tidy(() => withGrad(false, () => likelihoodOf(likelihood).loss(outputs(), target).item()));
    } finally {
      if (!(after <= loss)) {
        layout.moveTo(theta);
        this.last = undefined;
      }
    }
    if (adapt) this.damping = adaptDamping(damping, step, { before: loss, after, noise, lr, factor: 2 / 3 });
    return loss;
  }
  /** Options and λ now, and the last step, for saving: vectors in float64, as bytes. The tensors are new. */
  stateDict(): OptimizerState {
    const vectors = { damping: [Float64Array.of(this.damping)], last: this.last ? [this.last] : [] };
    return { groups: [{ ...this.options }], state: [packVectors(this.layout.parameters, vectors)] };
  }

  /** Takes over options and state. Everything is checked before anything is changed. @throws Error where they do not fit */
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
    const [now] = damping[0]!;
    validate(options);
    validate({ ...options, damping: now! });
    return () => {
      this.options = options;
      this.damping = now!;
      [this.last] = last;
    };
  }
}
