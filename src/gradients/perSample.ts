/** The gradient of each sample of a batch by itself: by one backward pass for all, where the layers allow it. */
import { type Compiled, compile } from "../compile/compile.ts";
import { stack } from "../functions.ts";
import type { Module } from "../nn/module.ts";
import { BatchNorm } from "../nn/norm.ts";
import { show } from "../ops/value.ts";
import { ShapeError } from "../runtime/errors.ts";
import { Tensor, tidy } from "../tensor.ts";
import { arrivals, observed, ruleOf } from "./layers.ts";
import { objective } from "./objective.ts";

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
 * The results of "batch" are overwritten by the next call: clone() one to keep it.
 * @throws Error where the method is "batch" and a layer does not allow it, ShapeError where the losses are not one for each sample
 */
export function perSampleGradients(
  model: Module,
  losses: (...inputs: Tensor[]) => Tensor,
  { method }: PerSampleOptions = {},
): PerSampleFunction {
  const obstacle = obstacleIn(model);
  if (method === "batch" && obstacle)
    throw new Error(`perSampleGradients: ${obstacle}. Leave the method out, or pass { method: "loop" }.`);
  for (const [name, module] of model.namedModules())
    if (module instanceof BatchNorm && module.training)
      throw new Error(
        `perSampleGradients: in training ${name || "the model"}, a ${module.constructor.name}, mixes the samples of a batch, which then have no gradients of their own. Call model.eval(), or use GroupNorm or LayerNorm.`,
      );
  if (method === "loop" || obstacle)
    return Object.assign((...inputs: Tensor[]) => loop(model, losses, inputs), { dispose() {} });
  const all: Compiled<Tensor[], PerSample> = compile((...inputs: Tensor[]) => batch(model, losses, inputs), {
    name: "perSampleGradients",
  });
  return Object.assign((...inputs: Tensor[]) => all(...inputs), { dispose: all.dispose });
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

function batch(model: Module, losses: (...inputs: Tensor[]) => Tensor, inputs: readonly Tensor[]): PerSample {
  const count = inputs[0]?.shape[0] ?? 0;
  const { result, passes } = observed(
    model,
    (module) => ruleOf(module) !== undefined,
    () => losses(...inputs),
  );
  const total = requireLosses(result, count).sum();
  const found: PerSample = {};
  const nameOf = new Map([...model.namedParameters()].map(([name, p]) => [p, name]));
  const dys = arrivals(total, total.detach().mul(0).add(1), passes);
  passes.forEach(({ module, input }, i) => {
    for (const [key, g] of Object.entries(ruleOf(module)!(module, input, dys[i]!))) {
      const p = (module as unknown as Record<string, Tensor>)[key]!; // rules name their layer's parameters
      const name = nameOf.get(p);
      if (!g || name === undefined) continue;
      found[name] = found[name] ? found[name].add(g) : g;
    }
  });
  for (const [name, p] of model.namedParameters())
    found[name] ??= p
      .detach()
      .mul(0)
      .unsqueeze(0)
      .broadcastTo([count, ...p.shape]);
  return found;
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
