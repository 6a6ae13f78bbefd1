/**
 * The Fisher information matrix F = E[Jᵀ·H·J] of a model, where J is the Jacobian of its outputs with respect to θ and H the information of
 * the outputs under their likelihood (Amari 1998; Martens 2020, §9): products with F, the full matrix for small θ, its diagonal, and the
 * natural gradient F⁻¹∇L.
 */

import { backpropagate } from "../../autograd/backward.ts";
import { valueAndGrad } from "../../autograd/transforms.ts";
import { withGrad } from "../../core/context.ts";
import type { TypedArray } from "../../core/elements.ts";
import { concat } from "../../core/functions.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import type { Module } from "../../nn/module.ts";
import { full } from "../../ops/shape/shape.ts";
import { check } from "../../runtime/arguments.ts";
import { Error } from "../../runtime/errors.ts";
import { type PerSample, perSampleGradients } from "../backpropagation/perSample.ts";
import { type ConjugateOptions, conjugateGradient, type Solution } from "../math/conjugate.ts";
import { basis, concatenate, type Vector } from "../math/vector.ts";
import { type Objective, objective, type Point } from "../objective.ts";
import { EPSILON32 } from "../sensitivities/differences.ts";
import { type Likelihood, likelihoodOf, requireOutputs, score } from "./likelihood.ts";

/** Options for the Fisher matrix. */
export interface FisherOptions {
  /** The distribution of the target given the model's outputs. */
  readonly likelihood: Likelihood;
}
/** A source of parameters: a model, or a list of tensors. */
export type Parametric = Module | readonly Tensor[];

/** A model's outputs at one point, and products with their Jacobian and Fisher matrix. All products use passes over the same graph. */
export interface Linearized {
  /** The outputs: [batch, outputs]. */
  readonly outputs: Tensor;
  /** J·v: [batch, outputs]. */
  pushforward(v: Point): Tensor;
  /** Jᵀ·w. */
  pullback(w: Tensor): Vector;
  /** F·v, averaged over the batch. */
  product(v: Point): Vector;
  /** uᵀ·F·v for all pairs of the given directions, from one pushforward per direction. */
  form(directions: readonly Point[]): number[][];
}

/**
 * Linearizes a model's outputs at the current parameters, calls f with the result, and frees all tensors that this
 * creates.
 */
export function linearize<T>(
  layout: Objective,
  outputs: () => Tensor,
  likelihood: Likelihood,
  f: (at: Linearized) => T,
): T {
  const { information } = likelihoodOf(likelihood);
  return tidy(() => {
    const y = requireOutputs(withGrad(true, outputs));
    const batch = y.shape[0]!;
    // Jᵀ·u is linear in u, so the gradient of v·(Jᵀ·u) with respect to u is J·v.
    const u = full(y.shape, 0) as Tensor;
    u.requiresGrad = true;
    const targets = new Set(layout.parameters);
    const { gradients } = backpropagate([[y, u]], { targets, retain: true, create: true });
    const pushforward = (v: Point): Tensor => {
      layout.requireSize(v);
      const roots = layout.parameters.flatMap((p, i): [Tensor, Tensor][] => {
        const g = gradients.get(p);
        return g?.requiresGrad ? [[g, layout.tensorOf(v, i)]] : [];
      });
      const along = backpropagate(roots, { targets: new Set([u]), retain: true, create: false }).gradients.get(u);
      return along ?? (full(y.shape, 0) as Tensor);
    };
    const pullback = (w: Tensor): Vector =>
      tidy(() => layout.collect(backpropagate([[y, w]], { targets, retain: true, create: false }).gradients));
    const at: Linearized = {
      outputs: y.detach(),
      pushforward,
      pullback,
      product: (v) => tidy(() => pullback(withGrad(false, () => information(y.detach(), pushforward(v)).div(batch)))),
      form: (directions) =>
        tidy(() =>
          withGrad(false, () => {
            const moved = directions.map(pushforward);
            const informed = moved.map((d) => information(y.detach(), d));
            return moved.map((a) => informed.map((b) => a.mul(b).sum().item() / batch));
          }),
        ),
    };
    try {
      return f(at);
    } finally {
      for (const g of gradients.values()) g.dispose();
    }
  });
}

/** An objective that serves only to map parameters to a vector. It has no loss; a likelihood defines the loss. */
export const layoutOf = (source: Parametric): Objective =>
  objective(source as Module, () => {
    throw new Error("fisher: this objective has no loss.");
  });

/**
 * F·v, computed without forming F. θ contains all parameters in order, as in `objective`.
 * @param outputs the model's outputs on a batch: [batch, outputs]
 */
export function fisherProduct(source: Parametric, outputs: () => Tensor, v: Point, options: FisherOptions): Vector {
  check("fisherProduct", arguments, "source:module|array outputs:function v:numbers {likelihood!:string}");
  const { likelihood } = options;
  return linearize(layoutOf(source), outputs, likelihood, (at) => at.product(v));
}

/**
 * Computes the matrix F, row by row. This takes one product with F per parameter, so use it for small models.
 *
 * ```ts
 * fisherMatrix(model, () => model.forward(x), { likelihood: "softmax" });   // n × n numbers
 * ```
 */
export function fisherMatrix(source: Parametric, outputs: () => Tensor, options: FisherOptions): Vector {
  check("fisherMatrix", arguments, "source:module|array outputs:function {likelihood!:string}");
  const { likelihood } = options;
  const layout = layoutOf(source);
  return linearize(layout, outputs, likelihood, (at) =>
    concatenate(Array.from({ length: layout.size }, (_, i) => at.product(basis(layout.size, i)))),
  );
}

/**
 * The empirical Fisher matrix: the mean of gᵢ·gᵢᵀ over per-sample gradients for the true labels. This matrix is close
 * to F near a good fit, but not elsewhere (Kunstner, Balles and Hennig 2019).
 * @param gradients a result of `perSampleGradients`
 */
export function empiricalFisher(gradients: PerSample): Vector {
  check("empiricalFisher", arguments, "gradients:object");
  return tidy(() => {
    const rows = Object.values(gradients).map((g) => g.reshape([g.shape[0]!, -1]));
    const g = concat(rows, 1);
    return Float64Array.from(g.t().matmul(g).div(g.shape[0]!).live());
  });
}

/** Options for fisherDiagonal. */
export interface DiagonalOptions extends FisherOptions {
  /** "exact": the expectation over all targets; "sampled": an estimate from one drawn target per sample. Default "exact". */
  readonly kind?: "exact" | "sampled";
}

/**
 * The diagonal of F, by parameter: E[Σₖ (Jᵀ·sₖ)²] over the columns sₖ of a square root of H. Takes one pass of
 * per-sample gradients per output if "exact", and only one pass in total if "sampled".
 * @param forward computes the model's outputs [batch, outputs] from inputs whose first dimension is the batch
 */
export function fisherDiagonal(
  model: Module,
  forward: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: DiagonalOptions,
): Record<string, Vector> {
  check("fisherDiagonal", arguments, "model:module forward:function inputs:tensors {likelihood!:string kind:string}");
  const { likelihood, kind = "exact" } = options;
  const { factor } = likelihoodOf(likelihood);
  return tidy(() => {
    const y = withGrad(false, () => requireOutputs(forward(...inputs)));
    const seeded = perSampleGradients(model, (seed, ...xs) =>
      forward(...xs)
        .mul(seed)
        .sum(-1),
    );
    const seeds = (): Tensor[] => {
      if (kind === "exact") return Array.from({ length: y.shape[1]! }, (_, k) => factor(y, k));
      return [score(y, likelihood)];
    };
    const squares = (seed: Tensor) =>
      Object.fromEntries(Object.entries(seeded(seed, ...inputs)).map(([name, g]) => [name, g.square().mean(0).data]));
    let sums: Record<string, TypedArray>[];
    try {
      sums = seeds().map(squares);
    } finally {
      seeded.dispose();
    }
    return Object.fromEntries(
      Object.keys(sums[0]!).map((name) => [
        name,
        Float64Array.from({ length: sums[0]![name]!.length }, (_, i) =>
          sums.reduce((total, s) => total + s[name]![i]!, 0),
        ),
      ]),
    );
  });
}

/** A natural gradient, and statistics from the solver that computed it. */
export interface NaturalGradient extends Solution {
  /** (F + λ)⁻¹·∇L. */
  readonly direction: Vector;
  /** The plain gradient ∇L. */
  readonly gradient: Vector;
  /** The loss at the parameters' current values. */
  readonly loss: number;
}

/**
 * The natural gradient (F + λ)⁻¹·∇L of the mean negative log-likelihood, by conjugate gradients on products with F
 * (Martens 2010). Of all small steps that change the model's predictions by the same amount, a step against this
 * direction lowers the loss the most, no matter how the model is parametrized.
 *
 * ```ts
 * naturalGradient(model, () => model.forward(x), labels, { likelihood: "softmax", damping: 1e-3 }).direction;
 * ```
 */
export function naturalGradient(
  source: Parametric,
  outputs: () => Tensor,
  target: Tensor,
  options: FisherOptions & ConjugateOptions,
): NaturalGradient {
  check(
    "naturalGradient",
    arguments,
    "source:module|array outputs:function target:tensor {likelihood!:string damping:number iterations:number tolerance:number start:numbers}",
  );
  const { likelihood, ...solver } = options;
  return linearize(layoutOf(source), outputs, likelihood, (at) => {
    const { loss, gradient } = lossAt(at, target, likelihood);
    const solution = conjugateGradient(at.product, gradient, solver);
    return { ...solution, direction: solution.x, gradient, loss };
  });
}

/** The mean negative log-likelihood, its gradient with respect to θ, and the error that float32 rounding of the outputs may cause. */
export function lossAt(
  at: Linearized,
  target: Tensor,
  likelihood: Likelihood,
): { loss: number; gradient: Vector; noise: number } {
  return tidy(() => {
    const [loss, dy] = valueAndGrad((y: Tensor) => likelihoodOf(likelihood).loss(y, target))(at.outputs);
    const value = loss.item();
    const noise = 4 * EPSILON32 * (Math.abs(value) + dy.mul(at.outputs).abs().sum().item());
    return { loss: value, gradient: at.pullback(dy), noise };
  });
}
