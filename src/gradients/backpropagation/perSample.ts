/** Per-sample gradients: one backward pass for the whole batch if the layers allow it, otherwise one pass per sample. */

import { backpropagate, onesLike } from "../../autograd/backward.ts";
import { type Compiled, compile } from "../../compile/compile.ts";
import { stack } from "../../core/functions.ts";
import { tidy } from "../../core/scope.ts";
import { Tensor } from "../../core/tensor.ts";
import { type Module, nameOf } from "../../nn/module.ts";
import { BatchNorm } from "../../nn/norm.ts";
import { show } from "../../ops/definition/value.ts";
import { full } from "../../ops/shape/shape.ts";
import { check } from "../../runtime/arguments.ts";
import { Error, ShapeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { objective } from "../objective.ts";
import { outputGradients, perSampleRuleOf, recordPasses } from "./layers.ts";

/** Options for perSampleGradients. */
export interface PerSampleOptions {
  /**
   * "batch": one compiled backward pass, for models whose parameters all belong to Linear, Conv2d (one group),
   * Embedding, LayerNorm and RMSNorm layers, and which process each sample independently. "loop": one pass per sample,
   * for any model. Default: "batch" if possible.
   */
  readonly method?: "batch" | "loop";
}

/** Gradients, keyed by parameter name: [batch, …shape of the parameter]. */
export type PerSample = Record<string, Tensor>;

/** Computes each sample's gradients for a batch. */
export interface PerSampleFunction {
  (...inputs: Tensor[]): PerSample;
  /** Frees the compiled pass of the "batch" method, including its last results. */
  dispose(): void;
}

/**
 * Creates a function that computes, for a batch, the gradient of each sample's loss with respect to every parameter. `losses` takes tensors
 * [batch, …] and returns one loss per sample: [batch].
 *
 * ```ts
 * const gradients = perSampleGradients(model, (x, labels) =>
 *   losses.crossEntropy(model.forward(x), labels, { reduction: "none" }));
 * gradients(x, labels)["0.weight"].shape;   // [batch, out, in]
 * ```
 * With "batch", the next call overwrites the results; clone() them to keep them. The first call compares the sum of the
 * per-sample gradients with the gradient of the summed loss, and falls back to "loop" if the model uses a parameter
 * outside its layer. An Embedding's gradients are dense: [batch, rows, width], which is large for large vocabularies.
 * @throws Error if the method is "batch" and a layer does not support it, or if a BatchNorm is in training mode;
 * ShapeError if `losses` does not return [batch]
 */
export function perSampleGradients(
  model: Module,
  losses: (...inputs: Tensor[]) => Tensor,
  options: PerSampleOptions = {},
): PerSampleFunction {
  check("perSampleGradients", arguments, "model:module losses:function {method:string}");
  const { method } = options;
  const refuse = (obstacle: string): void => {
    if (method === "batch")
      throw new Error(`perSampleGradients: ${obstacle}. Omit the method, or pass { method: "loop" }.`);
  };
  const obstacleInModel = findObstacle(model);
  if (obstacleInModel) refuse(obstacleInModel);
  let slow = method === "loop" || obstacleInModel !== undefined;
  let checked = slow;
  const wholeBatch = (...inputs: Tensor[]): PerSample => {
    const { samples, problem } = batch(model, losses, inputs);
    if (problem) throw new Error(`perSampleGradients: ${problem}. Pass { method: "loop" }.`);
    return samples;
  };
  const compiled: Compiled<Tensor[], PerSample> = compile(wholeBatch, { name: "perSampleGradients" });
  const run = (...inputs: Tensor[]): PerSample => {
    requireSeparate(model);
    if (!checked) {
      const count = inputs[0]?.shape[0] ?? 0;
      // Repeat the check with one fewer sample, because a tensor without a batch dimension may happen to have as many
      // rows as the batch.
      const fewer = count > 1 ? inputs.map((x) => x.narrow(0, 0, count - 1)) : inputs;
      const obstacle = tidy(() => findMismatch(model, losses, inputs) ?? findMismatch(model, losses, fewer));
      if (obstacle) refuse(obstacle);
      slow = obstacle !== undefined;
      checked = slow || count > 1;
    }
    return slow ? loop(model, losses, inputs) : compiled(...inputs);
  };
  return Object.assign(run, { dispose: compiled.dispose });
}

/** @throws Error if a layer mixes the samples of a batch */
function requireSeparate(model: Module): void {
  for (const [name, module] of model.namedModules())
    if (module instanceof BatchNorm && module.training)
      throw new Error(
        `perSampleGradients: ${name || "the model"} is a ${nameOf(module)}, which mixes the samples of a batch in training. Call model.eval(), or use GroupNorm or LayerNorm.`,
      );
}

/**
 * Why the per-sample gradients do not add up to the gradient of the summed loss, or undefined if they do. Possible
 * reasons are a parameter that is used outside its layer (because it is tied or, as with SpectralNorm, reparametrized)
 * and a layer input whose first dimension is not the batch.
 */
function findMismatch(
  model: Module,
  losses: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
): string | undefined {
  const { samples, whole, problem } = batch(model, losses, inputs, true);
  if (problem) return problem;
  for (const [name, g] of Object.entries(whole)) {
    const [sum, scale] = [samples[name]!.sum(0), samples[name]!.abs().sum(0).max().item()];
    const error = sum.sub(g).abs().max().item();
    if (error > 1e-3 * (scale + 1e-6)) return `${name} is also used outside its layer's forward pass`;
  }
  return undefined;
}

/** Why a model does not support "batch", or undefined if it does. */
function findObstacle(model: Module): string | undefined {
  const covered = new Set<Tensor>();
  for (const [, module] of model.namedModules())
    if (perSampleRuleOf(module))
      for (const value of Object.values(module)) if (value instanceof Tensor) covered.add(value);
  for (const [name, p] of model.namedParameters())
    if (!covered.has(p)) return `${name} belongs to a layer without a rule for per-sample gradients`;
  return undefined;
}

function requireLosses(y: unknown, count: number): Tensor {
  if (y instanceof Tensor && y.shape.length === 1 && y.size === count) return y;
  throw new ShapeError(
    `perSampleGradients: the losses must be a tensor [${count}], one per sample, got ${describe(y)}. ` +
      'Pass { reduction: "none" } to the loss.',
  );
}

/**
 * Computes the per-sample gradients in one backward pass. If a layer's input makes that impossible, `problem` says why.
 * If `check` is true, `whole` is the gradient of the summed loss.
 */
function batch(
  model: Module,
  losses: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  check = false,
): { samples: PerSample; whole: PerSample; problem?: string } {
  const count = inputs[0]?.shape[0] ?? 0;
  const { result, passes } = recordPasses(
    model,
    (module) => perSampleRuleOf(module) !== undefined,
    () => losses(...inputs),
  );
  const total = requireLosses(result, count).sum();
  const other = passes.find(({ input }) => input.shape[0] !== count);
  if (other)
    return {
      samples: {},
      whole: {},
      problem: `the input of ${other.name || "the model"} must have the ${count} samples as its first dimension, got ${show(other.input.shape)}`,
    };
  const samples: PerSample = {};
  const named = [...model.namedParameters()];
  const nameOf = new Map(named.map(([name, p]) => [p, name]));
  const dys = outputGradients(total, onesLike(total), passes, check);
  passes.forEach(({ module, input }, i) => {
    for (const [key, g] of Object.entries(perSampleRuleOf(module)!(module, input, dys[i]!))) {
      const p = (module as unknown as Record<string, Tensor>)[key]!; // the keys are the names of the layer's parameters
      const name = nameOf.get(p);
      if (!g || name === undefined) continue;
      samples[name] = samples[name] ? samples[name].add(g) : g;
    }
  });
  for (const [name, p] of named) samples[name] ??= full([count, ...p.shape], 0) as Tensor;
  if (!check) return { samples, whole: {} };
  const trainable = named.filter(([, p]) => p.requiresGrad);
  const { gradients } = backpropagate([[total, onesLike(total)]], {
    targets: new Set(trainable.map(([, p]) => p)),
    retain: false,
    create: false,
  });
  const whole = Object.fromEntries(
    trainable.map(([name, p]) => [name, gradients.get(p) ?? (full(p.shape, 0) as Tensor)]),
  );
  return { samples, whole };
}

/** Computes per-sample gradients with one backward pass per sample. */
function loop(model: Module, losses: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]): PerSample {
  const count = inputs[0]?.shape[0] ?? 0;
  return tidy(() => {
    const rows = Array.from({ length: count }, (_, k) => {
      const sample = inputs.map((x) => x.narrow(0, k, 1));
      const at = objective(model, () => requireLosses(losses(...sample), 1).sum());
      const gradient = at.gradient();
      return at.parameters.map((_, i) => at.tensorOf(gradient, i));
    });
    return Object.fromEntries(
      Array.from(model.namedParameters(), ([name], i) => [name, stack(rows.map((row) => row[i]!))]),
    );
  });
}
