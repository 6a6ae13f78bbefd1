/**
 * Backpropagation layer by layer: records each layer's inputs and the gradients at its outputs, and computes each
 * sample's weight gradients from them. Per-sample gradients and K-FAC's Kronecker factors build on this file.
 */
import { backpropagate } from "../../autograd/backward.ts";
import { withGrad } from "../../core/context.ts";
import { arange } from "../../core/creation.ts";
import * as ops from "../../core/functions.ts";
import { type Edge, Tensor } from "../../core/tensor.ts";
import { Conv2d } from "../../nn/conv.ts";
import { Embedding } from "../../nn/embedding.ts";
import { interceptDuring, isPlain } from "../../nn/intercept.ts";
import { Linear } from "../../nn/layers.ts";
import type { Module } from "../../nn/module.ts";
import { LayerNorm, RMSNorm } from "../../nn/norm.ts";
import { paddingAlong, pair } from "../../ops/image/convolve.ts";
import { full } from "../../ops/shape/shape.ts";

/** One forward pass of a layer. */
export interface Pass {
  readonly name: string;
  readonly module: Module;
  readonly input: Tensor;
  /** Zeros that were added to the output. The gradient of these zeros equals the gradient of the output. */
  readonly probe: Tensor;
}

/**
 * Runs f and records the forward passes of selected layers that take and return a tensor. `outputGradients` then
 * computes the gradients at the layers' outputs.
 */
export function recordPasses<T>(
  model: Module,
  select: (module: Module) => boolean,
  f: () => T,
): { result: T; passes: Pass[] } {
  const passes: Pass[] = [];
  const result = withGrad(true, () =>
    interceptDuring(
      model,
      ({ name, module, inputs, forward }) => {
        const y = forward();
        if (!select(module)) return y;
        if (!(y instanceof Tensor && inputs[0] instanceof Tensor)) return y;
        const probe = full(y.shape, 0) as Tensor;
        probe.requiresGrad = true;
        passes.push({ name, module, input: inputs[0].detach(), probe });
        return y.add(probe);
      },
      f,
    ),
  );
  return { result, passes };
}

/**
 * ∂root/∂y for the output y of each pass; zeros if root does not depend on it.
 * @param retain whether to keep the graph for another call
 */
export function outputGradients(root: Tensor, seed: Tensor, passes: readonly Pass[], retain = false): Tensor[] {
  const targets = new Set<Edge>(passes.map(({ probe }) => probe));
  const { gradients } = backpropagate([[root, seed]], { targets, retain, create: false });
  return passes.map(({ probe }) => {
    const g = gradients.get(probe);
    return g ?? (full(probe.shape, 0) as Tensor);
  });
}

/**
 * The patches of x that a convolution multiplies by its kernel (im2col): [batch, h, w, channels] → [batch, outH·outW,
 * kernelH·kernelW·channels], in the order of the weight's elements. Supports only convolutions with one group.
 */
export function patches(
  { kernelSize, options }: Conv2d,
  x: Tensor,
  outputs: readonly [outH: number, outW: number],
): Tensor {
  const { stride = 1, dilation = 1, padding = 0 } = options;
  const axes = ([0, 1] as const).map((i) => {
    const [size, taps] = [x.shape[i + 1]!, kernelSize[i]!];
    const [step, spacing] = [pair("Conv2d", "stride", stride, 1)[i], pair("Conv2d", "dilation", dilation, 1)[i]];
    const [before] = paddingAlong("Conv2d", padding, i, size, (taps - 1) * spacing + 1, step);
    const reach = (outputs[i] - 1) * step + 1;
    const after = Math.max(0, reach + (taps - 1) * spacing - size - before);
    const ranges = Array.from({ length: taps }, (_, t): Range => [t * spacing, t * spacing + reach, step]);
    return { around: [before, after] as [number, number], ranges };
  });
  const [rows, columns] = [axes[0]!, axes[1]!];
  const padded = x.pad([0, 0, ...columns.around, ...rows.around]);
  const taps = rows.ranges.flatMap((r) => columns.ranges.map((c) => padded.slice([], r, c, [])));
  return ops.concat(taps, -1).reshape([x.shape[0]!, outputs[0] * outputs[1], -1]);
}
type Range = [from: number, to: number, step: number];

/** Merges the dimensions between batch and features: [batch, …, features] → [batch, positions, features]. */
export const asPositions = (x: Tensor): Tensor => x.reshape([x.shape[0]!, -1, x.shape.at(-1)!]);

/** Computes each sample's gradients for a layer's parameters, keyed by their names in the layer: [batch, …shape]. */
type PerSampleRule<M extends Module> = (layer: M, x: Tensor, dy: Tensor) => Record<string, Tensor | null>;

/** Σ dyᵀ·x over each sample's positions: [batch, …shape]. */
const outer = (dy: Tensor, x: Tensor, shape: readonly number[]): Tensor =>
  dy
    .mT()
    .matmul(x)
    .reshape([dy.shape[0]!, ...shape]);

/** Σ dy over each sample's positions, which are the dimensions between the batch and the parameter's own: [batch, …shape]. */
const sumPositions = (dy: Tensor, shape: readonly number[]): Tensor => dy.reshape([dy.shape[0]!, -1, ...shape]).sum(1);

const linear: PerSampleRule<Linear> = ({ weight, bias }, x, dy) => {
  const g = asPositions(dy);
  return { weight: outer(g, asPositions(x), weight.shape), bias: bias && g.sum(1) };
};
const conv2d: PerSampleRule<Conv2d> = (layer, x, dy) => {
  const g = asPositions(dy);
  const x2 = patches(layer, x, [dy.shape[1]!, dy.shape[2]!]);
  return { weight: outer(g, x2, layer.weight.shape), bias: layer.bias && g.sum(1) };
};
const embedding: PerSampleRule<Embedding> = ({ weight, paddingIdx }, index, dy) => {
  const [n, width] = [index.shape[0]!, dy.shape.at(-1)!];
  // Give each sample its own copy of the weight's rows: those of sample k start at row k·numEmbeddings.
  const offsets = ops.reshape(arange(n, undefined, 1, { dtype: "int32" }).mul(weight.shape[0]!), [n, 1]);
  const rows = index.reshape([n, -1]).add(offsets).reshape([-1]);
  const g = paddingIdx === null ? dy : dy.where(index.ne(paddingIdx).unsqueeze(-1), 0);
  const zeros = full([n * weight.shape[0]!, width], 0) as Tensor;
  return { weight: zeros.indexAdd(0, rows, g.reshape([-1, width])).reshape([n, ...weight.shape]) };
};
const layerNorm: PerSampleRule<LayerNorm> = ({ normalizedShape: shape, weight, bias, options }, x, dy) => ({
  weight: weight && sumPositions(dy.mul(ops.layerNorm(x, shape, null, null, options)), shape),
  bias: bias && sumPositions(dy, shape),
});
const rmsNorm: PerSampleRule<RMSNorm> = ({ normalizedShape: shape, weight, options }, x, dy) => ({
  weight: weight && sumPositions(dy.mul(ops.rmsNorm(x, shape, null, options)), shape),
});

/** Whether a convolution has only one group, which means that its weight multiplies whole patches. */
export const hasOneGroup = (layer: Conv2d): boolean => (layer.options.groups ?? 1) === 1;

/** The per-sample rule of a layer, or undefined if it has none. */
export function perSampleRuleOf(layer: Module): PerSampleRule<Module> | undefined {
  const rule = isPlain(layer, Linear)
    ? linear
    : isPlain(layer, Conv2d)
      ? hasOneGroup(layer as Conv2d) && conv2d
      : isPlain(layer, Embedding)
        ? embedding
        : isPlain(layer, LayerNorm)
          ? layerNorm
          : isPlain(layer, RMSNorm) && rmsNorm;
  return (rule || undefined) as PerSampleRule<Module> | undefined; // isPlain has checked that the layer is of the rule's class
}
