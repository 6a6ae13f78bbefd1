/** The K-FAC optimizer: natural gradients from Kronecker factors, with step lengths from the exact Fisher matrix. */

import { withGrad } from "../../core/context.ts";
import { full } from "../../core/creation.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Module } from "../../nn/module.ts";
import { SpectralNorm } from "../../nn/spectral.ts";
import { sameShape, show } from "../../ops/definition/value.ts";
import { type OptimizerState, type State, stateError } from "../../optim/optimizerState.ts";
import { packVectors, readOptions, unpackVectors } from "../../optim/vectors.ts";
import { check } from "../../runtime/arguments.ts";
import { Error, RangeError, requireRange, requireWhole } from "../../runtime/errors.ts";
import { withoutUndefined } from "../../runtime/options.ts";
import { outputGradients, recordPasses } from "../backpropagation/layers.ts";
import { concatenate, norm, plus, scale, type Vector } from "../math/vector.ts";
import type { Objective } from "../objective.ts";
import { layoutOf, linearize, lossAt } from "./fisher.ts";
import {
  factorsOf,
  invertFactors,
  isKronecker,
  type KroneckerFactors,
  type KroneckerLayer,
  precondition,
} from "./kfac.ts";
import { type Likelihood, likelihoodOf, requireOutputs, score } from "./likelihood.ts";
import { adaptDamping, bestStep, requireNatural, requireSameLikelihood } from "./trustRegion.ts";

/** Options for KFAC. */
export interface KFACOptions {
  /** The distribution of the target given the outputs. The loss is its mean negative logarithm. */
  readonly likelihood: Likelihood;
  /** The factor that multiplies the best step of the quadratic model. Default 1. */
  readonly lr?: number;
  /** The initial damping λ. Default 0.1. */
  readonly damping?: number;
  /** Whether to adapt λ to how well the quadratic model predicts the loss. Default true. */
  readonly adapt?: boolean;
  /** The fraction of the running factors to keep at each step. Default 0.95. */
  readonly decay?: number;
  /** The number of steps between inversions of the factors. Default 10. */
  readonly every?: number;
}

/**
 * Every ADAPT_EVERY steps, λ may be multiplied or divided by ADAPT_FACTOR, which amounts to a factor of 19/20 per step.
 */
const ADAPT_EVERY = 5;
const ADAPT_FACTOR = (19 / 20) ** ADAPT_EVERY;

function validate({ decay, every, ...options }: Required<KFACOptions>): void {
  requireNatural("KFAC", options);
  requireRange("KFAC", { decay }, (v) => v >= 0 && v < 1, "at least 0 and below 1");
  requireWhole("KFAC", { every });
}

/** Kronecker factors, keyed by the layer's path. */
type Factors = Map<string, KroneckerFactors>;

/**
 * K-FAC (Martens and Grosse 2015): θ ← θ + α·Δ + μ·(previous step), where Δ = −(A + π√λ)⁻¹ ⊗ (G + √λ/π)⁻¹ ∇L. α and μ
 * minimize a quadratic model of the loss that uses the batch's exact Fisher matrix. Works for models whose parameters
 * all belong to Linear layers or to Conv2d layers with one group.
 *
 * ```ts
 * const optimizer = new KFAC(model, { likelihood: "softmax" });
 * for (const [x, labels] of batches) optimizer.minimize(() => model.forward(x), labels);
 * ```
 */
export class KFAC {
  static readonly kind: string = "KFAC";
  /** The current damping λ. */
  damping: number;
  private options: Required<KFACOptions>;
  private readonly layout: Objective;
  private readonly layers: ReadonlyMap<string, KroneckerLayer>;
  private readonly factors: Factors = new Map();
  private readonly inverses: Factors = new Map();
  private last: Vector | undefined;
  private steps = 0;

  /**
   * @throws Error if a parameter belongs to a layer that KFAC does not support; RangeError if an option is out of range
   */
  constructor(
    private readonly model: Module,
    options: KFACOptions,
  ) {
    check(
      "KFAC",
      arguments,
      "model:module {likelihood!:string lr:number damping:number adapt:boolean decay:number every:number}",
    );
    this.options = { lr: 1, damping: 0.1, adapt: true, decay: 0.95, every: 10, ...withoutUndefined(options) };
    validate(this.options);
    this.damping = this.options.damping;
    this.layers = new Map(
      [...model.namedModules()].flatMap(([name, module]) => (isKronecker(module) ? [[name, module] as const] : [])),
    );
    for (const [name, module] of model.namedModules())
      if (module instanceof SpectralNorm)
        throw new Error(
          `KFAC: ${name || "the model"} is a SpectralNorm, which KFAC does not support. Use NaturalGradient.`,
        );
    const covered = new Set([...this.layers.values()].flatMap(({ weight, bias }) => [weight, bias]));
    for (const [name, p] of model.namedParameters()) {
      if (!p.requiresGrad)
        throw new Error(`KFAC: ${name} is frozen, but KFAC trains whole layers. Unfreeze it, or use NaturalGradient.`);
      if (!covered.has(p))
        throw new Error(
          `KFAC: ${name} must belong to a Linear layer or to a Conv2d layer with one group. Use NaturalGradient for other layers.`,
        );
    }
    this.layout = layoutOf(model);
  }

  /**
   * Takes one step on a batch.
   * @param outputs computes the model's outputs: [batch, outputs]
   * @param target the target, in the format that the likelihood expects
   * @returns the loss before the step
   * @throws RangeError if the outputs, the loss or the step are not finite; the parameters then do not change
   */
  minimize(outputs: () => Tensor, target: Tensor): number {
    const { likelihood, lr, adapt, every } = this.options;
    const { layout } = this;
    tidy(() => this.observe(outputs));
    if (this.steps % every === 0) tidy(() => this.invert());
    this.steps++;
    const { loss, noise, step } = linearize(layout, outputs, likelihood, (at) => {
      const { gradient, ...rest } = lossAt(at, target, likelihood);
      requireFinite("loss", rest.loss);
      requireFinite("gradient", norm(gradient));
      const directions = [tidy(() => this.direction(gradient)), ...(this.last ? [this.last] : [])];
      return { ...rest, step: bestStep(gradient, directions, at.form(directions), this.damping) };
    });
    requireFinite("step", norm(step.delta));
    this.last = scale(step.delta, lr);
    layout.moveTo(plus(layout.theta, this.last));
    if (adapt && this.steps % ADAPT_EVERY === 0) {
      const after = tidy(() => withGrad(false, () => likelihoodOf(likelihood).loss(outputs(), target).item()));
      this.damping = adaptDamping(this.damping, step, { before: loss, after, noise, lr, factor: ADAPT_FACTOR });
    }
    return loss;
  }

  /** Adds this batch's factors to the running means. */
  private observe(outputs: () => Tensor): void {
    const { likelihood, decay } = this.options;
    const { result, passes } = recordPasses(this.model, isKronecker, outputs);
    const y = requireOutputs(result);
    if (!y.size) throw new RangeError("KFAC: the batch must have at least one sample, got none.");
    requireFinite("outputs' sum", y.sum().item());
    // As in Martens and Grosse, §5, use the mean of all batches at first and a running mean later.
    const kept = Math.min(1 - 1 / (this.steps + 1), decay);
    withGrad(false, () => {
      const fresh = factorsOf(passes, outputGradients(y, score(y, likelihood), passes));
      for (const [name, { a, g }] of Object.entries(fresh)) {
        const before = this.factors.get(name);
        const runningMean = (old: Tensor | undefined, now: Tensor): Tensor =>
          (old ? now.add(old.sub(now).mul(full([], kept))) : now).keep();
        this.factors.set(name, { a: runningMean(before?.a, a), g: runningMean(before?.g, g) });
        free(before);
      }
    });
  }

  private invert(): void {
    withGrad(false, () => {
      for (const [name, factors] of this.factors) {
        const { a, g } = invertFactors(factors, this.damping);
        free(this.inverses.get(name));
        this.inverses.set(name, { a: a.keep(), g: g.keep() });
      }
    });
  }

  /** −F̂⁻¹·∇L; 0 for layers that no pass has reached yet, because they have no factors. */
  private direction(gradient: Vector): Vector {
    const { layout } = this;
    const indexOf = new Map(layout.parameters.map((p, i) => [p, i]));
    const tensorOf = (p: Tensor | null): Tensor | null => p && layout.tensorOf(gradient, indexOf.get(p)!);
    const found = new Map<Tensor, Tensor>();
    withGrad(false, () => {
      for (const [name, layer] of this.layers) {
        const inverses = this.inverses.get(name);
        if (!inverses) continue;
        const { weight, bias } = precondition(layer, inverses, tensorOf(layer.weight)!, tensorOf(layer.bias));
        found.set(layer.weight, weight);
        if (layer.bias && bias) found.set(layer.bias, bias);
      }
    });
    return scale(concatenate(layout.parameters.map((p) => found.get(p)?.data ?? new Float32Array(p.size))), -1);
  }

  /**
   * The state to save: the options, λ, the number of steps, the last step, and the factors and inverses by layer. The
   * factors and inverses still belong to the optimizer; the other tensors are new.
   */
  stateDict(): OptimizerState {
    const numbers = packVectors(this.layout.parameters, {
      progress: [Float64Array.of(this.damping, this.steps)],
      last: this.last ? [this.last] : [],
    });
    return { groups: [{ ...this.options }], state: [numbers, byLayer(this.factors), byLayer(this.inverses)] };
  }

  /**
   * Loads options and state. Checks everything before it changes anything.
   * @throws Error if the options or the state do not fit the model
   */
  loadStateDict(saved: OptimizerState): void {
    tidy(() => this.checkState(saved)());
  }
  /** Must be called inside a scope. @internal */
  checkState(saved: OptimizerState): () => void {
    const options = readOptions("KFAC", saved, this.options, 3);
    requireSameLikelihood("KFAC", this.options, options);
    const [numbers, ...parts] = saved.state as [State, State, State];
    const lengths = { progress: 2, last: this.layout.theta.length };
    const { progress, last } = unpackVectors("KFAC", this.layout.parameters, numbers, lengths);
    const [damping = 0, steps = -1] = progress[0] ?? [];
    const [factors, inverses] = parts.map((part) => this.factorsIn(part)) as [Factors, Factors];
    const isWhole =
      progress.length === 1 &&
      last.length < 2 &&
      Number.isInteger(steps) &&
      steps >= 0 &&
      [...inverses.keys()].every((layer) => factors.has(layer)) &&
      (steps === 0 || inverses.size > 0);
    if (!isWhole) throw stateError("KFAC", "is incomplete");
    validate(options);
    validate({ ...options, damping });
    return () => {
      this.options = options;
      this.damping = damping;
      this.steps = steps;
      [this.last] = last;
      replace(this.factors, factors);
      replace(this.inverses, inverses);
    };
  }

  /**
   * Copies the factors of each layer from a state with the keys that byLayer writes.
   * @throws Error if their layers or shapes differ from the model's
   */
  private factorsIn(state: State): Factors {
    const found: Factors = new Map();
    for (const [name, { weight, bias }] of this.layers) {
      const [a, g] = [state[`${name}.a`], state[`${name}.g`]];
      if (!a || !g) continue;
      const out = weight.shape[0]!;
      const width = weight.size / out + (bias ? 1 : 0);
      for (const [factor, side] of [
        [a, width],
        [g, out],
      ] as const)
        if (factor.dtype !== "float32" || !sameShape(factor.shape, [side, side]))
          throw stateError(
            "KFAC",
            `has a factor of ${name || "the model"} as ${factor.dtype} ${show(factor.shape)}, but must be float32 ${show([side, side])}`,
          );
      found.set(name, { a: a.clone(), g: g.clone() });
    }
    if (2 * found.size !== Object.keys(state).length)
      throw stateError("KFAC", "has factors for layers that the model does not have");
    return found;
  }

  /** Frees the factors and their inverses, but not the model. */
  dispose(): void {
    for (const factors of [...this.factors.values(), ...this.inverses.values()]) free(factors);
    this.factors.clear();
    this.inverses.clear();
  }
}

/** @throws RangeError */
function requireFinite(what: string, value: number): void {
  if (!Number.isFinite(value))
    throw new RangeError(`KFAC: the ${what} must be finite, got ${value}. Check the batch, or lower lr.`);
}

/** Replaces an optimizer's factors and frees the old ones. */
function replace(own: Factors, factors: Factors): void {
  for (const old of own.values()) free(old);
  own.clear();
  for (const [name, { a, g }] of factors) own.set(name, { a: a.keep(), g: g.keep() });
}

function free(factors: KroneckerFactors | undefined): void {
  factors?.a.dispose();
  factors?.g.dispose();
}

const byLayer = (factors: Factors): State =>
  Object.fromEntries(
    [...factors].flatMap(([name, { a, g }]) => [
      [`${name}.a`, a],
      [`${name}.g`, g],
    ]),
  );
