/** The gradient of each sample of a batch by itself: by one backward pass for all, where the layers allow it. */
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
import { objective } from "../objective.ts";
import { arrivals, observed, ruleOf } from "./layers.ts";

/** Options of the gradients of single samples. */
export interface PerSampleOptions {
  /**
   * "batch": one compiled backward pass over the batch, for models whose parameters all lie in Linear, Conv2d (of one group), Embedding,
   * LayerNorm and RMSNorm, and where no sample sees another. "loop": sample by sample, for any model. Default: "batch" where it can be.
   */
  readonly method?: "batch" | "loop";
}

/** Gradients by parameter name, the batch first: [batch, …shape]. */
export type PerSample = Record<string, Tensor>;

/** A function of a batch that returns each sample's gradients. */
export interface PerSampleFunction {
  (...inputs: Tensor[]): PerSample;
  /** Frees what "batch" has recorded, its last results included. */
  dispose(): void;
}

/**
 * A function of a batch that returns each sample's gradient of its own loss by every parameter. `losses` takes tensors that all have
 * the batch as their first dimension, and returns one loss for each sample: [batch].
 *
 * ```ts
 * const gradients = perSampleGradients(model, (x, labels) =>
 *   losses.crossEntropy(model.forward(x), labels, { reduction: "none" }));
 * gradients(x, labels)["0.weight"].shape;   // [batch, out, in]
 * ```
 * The results of "batch" are overwritten by the next call: clone() one to keep it. On the first batch its sum is held against the gradient
 * of the sum: a model that uses a parameter outside of its layer goes sample by sample. An Embedding's gradient is dense, [batch, rows,
 * width]: for large vocabularies that is much.
 * @throws Error where the method is "batch" and a layer does not allow it, ShapeError where the losses are not one for each sample
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
      throw new Error(`perSampleGradients: ${obstacle}. Leave the method out, or pass { method: "loop" }.`);
  };
  const known = obstacleIn(model);
  if (known) refuse(known);
  let slow = method === "loop" || known !== undefined;
  let checked = slow;
  const together = (...inputs: Tensor[]): PerSample => {
    const { samples, odd } = batch(model, losses, inputs);
    if (odd) throw new Error(`perSampleGradients: ${odd}. Pass { method: "loop" }.`);
    return samples;
  };
  const all: Compiled<Tensor[], PerSample> = compile(together, { name: "perSampleGradients" });
  const run = (...inputs: Tensor[]): PerSample => {
    requireSeparate(model);
    if (!checked) {
      const count = inputs[0]?.shape[0] ?? 0;
      // With one sample less too: what has as many rows as the batch by chance then has not.
      const less = count > 1 ? inputs.map((x) => x.narrow(0, 0, count - 1)) : inputs;
      const obstacle = tidy(() => disagreement(model, losses, inputs) ?? disagreement(model, losses, less));
      if (obstacle) refuse(obstacle);
      slow = obstacle !== undefined;
      checked = slow || count > 1;
    }
    return slow ? loop(model, losses, inputs) : all(...inputs);
  };
  return Object.assign(run, { dispose: all.dispose });
}

/** @throws Error where samples see each other */
function requireSeparate(model: Module): void {
  for (const [name, module] of model.namedModules())
    if (module instanceof BatchNorm && module.training)
      throw new Error(
        `perSampleGradients: in training ${name || "the model"}, a ${nameOf(module)}, mixes the samples of a batch, which then have no gradients of their own. Call model.eval(), or use GroupNorm or LayerNorm.`,
      );
}

/**
 * Why the samples' gradients by layers do not sum up to the gradient of the sum, if so: a parameter is used outside of its layer (tied, or
 * changed on its way, as by SpectralNorm), or a layer's input does not have the batch first. Looked at once, on the first batch.
 */
function disagreement(
  model: Module,
  losses: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
): string | undefined {
  const { samples, whole, odd } = batch(model, losses, inputs, true);
  if (odd) return odd;
  for (const [name, g] of Object.entries(whole)) {
    const [sum, scale] = [samples[name]!.sum(0), samples[name]!.abs().sum(0).max().item()];
    const off = sum.sub(g).abs().max().item();
    if (off > 1e-3 * (scale + 1e-6)) return `${name} is also used outside of its layer's forward pass`;
  }
  return undefined;
}

/** What keeps a model from the fast way; undefined: nothing. */
function obstacleIn(model: Module): string | undefined {
  const covered = new Set<Tensor>();
  for (const [, module] of model.namedModules())
    if (ruleOf(module)) for (const value of Object.values(module)) if (value instanceof Tensor) covered.add(value);
  for (const [name, p] of model.namedParameters())
    if (!covered.has(p)) return `${name} lies in no layer whose gradient can be told apart by sample`;
  return undefined;
}

function requireLosses(y: unknown, count: number): Tensor {
  if (y instanceof Tensor && y.shape.length === 1 && y.size === count) return y;
  throw new ShapeError(
    `perSampleGradients: the losses are ${y instanceof Tensor ? show(y.shape) : typeof y}, but must be [${count}], one for each sample. ` +
      'Pass { reduction: "none" } to the loss.',
  );
}

/** Each sample's gradients by layers; with `check` also the whole gradient by parameters, and what is odd about a layer's input. */
function batch(
  model: Module,
  losses: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  check = false,
): { samples: PerSample; whole: PerSample; odd?: string } {
  const count = inputs[0]?.shape[0] ?? 0;
  const { result, passes } = observed(
    model,
    (module) => ruleOf(module) !== undefined,
    () => losses(...inputs),
  );
  const total = requireLosses(result, count).sum();
  const odd = passes.find(({ input }) => input.shape[0] !== count);
  if (odd)
    return {
      samples: {},
      whole: {},
      odd: `${odd.name || "the model"}'s input is ${show(odd.input.shape)}, without the ${count} samples as its first dimension`,
    };
  const samples: PerSample = {};
  const named = [...model.namedParameters()];
  const nameOf = new Map(named.map(([name, p]) => [p, name]));
  const dys = arrivals(total, onesLike(total), passes, check);
  passes.forEach(({ module, input }, i) => {
    for (const [key, g] of Object.entries(ruleOf(module)!(module, input, dys[i]!))) {
      const p = (module as unknown as Record<string, Tensor>)[key]!; // rules name their layer's parameters
      const name = nameOf.get(p);
      if (!g || name === undefined) continue;
      samples[name] = samples[name] ? samples[name].add(g) : g;
    }
  });
  for (const [name, p] of named) samples[name] ??= full([count, ...p.shape], 0) as Tensor;
  if (!check) return { samples, whole: {} };
  const learnt = named.filter(([, p]) => p.requiresGrad);
  const { gradients } = backpropagate([[total, onesLike(total)]], {
    targets: new Set(learnt.map(([, p]) => p)),
    retain: false,
    create: false,
  });
  const whole = Object.fromEntries(learnt.map(([name, p]) => [name, gradients.get(p) ?? (full(p.shape, 0) as Tensor)]));
  return { samples, whole };
}

function loop(model: Module, losses: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]): PerSample {
  const count = inputs[0]?.shape[0] ?? 0;
  return tidy(() => {
    const rows = Array.from({ length: count }, (_, k) => {
      const one = inputs.map((x) => x.narrow(0, k, 1));
      const at = objective(model, () => requireLosses(losses(...one), 1).sum());
      const gradient = at.gradient();
      return at.parameters.map((_, i) => at.tensorOf(gradient, i));
    });
    return Object.fromEntries(
      Array.from(model.namedParameters(), ([name], i) => [name, stack(rows.map((row) => row[i]!))]),
    );
  });
}
