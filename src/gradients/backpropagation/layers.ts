/**
 * What layers do to gradients, layer by layer: their inputs, the gradients that arrive at their outputs, and from both each sample's own
 * part in the gradient of a weight. Per-sample gradients and the Kronecker factors of Fisher's matrix are made of these.
 */
import { backpropagate } from "../../autograd/backward.ts";
import { withGrad } from "../../core/context.ts";
import { arange } from "../../core/creation.ts";
import * as ops from "../../core/functions.ts";
import { type Edge, Tensor } from "../../core/tensor.ts";
import { Conv2d } from "../../nn/conv.ts";
import { Embedding } from "../../nn/embedding.ts";
import { intercepted, isPlain } from "../../nn/intercept.ts";
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
  /** Zeros that were added to the output: the gradient by them is the gradient that arrives there. */
  readonly probe: Tensor;
}

/** Runs f, and notes every pass from tensor to tensor of the layers that `wanted` picks. The probes' gradients come from f's result by `arrivals`. */
export function observed<T>(
  model: Module,
  wanted: (module: Module) => boolean,
  f: () => T,
): { result: T; passes: Pass[] } {
  const passes: Pass[] = [];
  const result = withGrad(true, () =>
    intercepted(
      model,
      ({ name, module, inputs, forward }) => {
        const y = forward();
        if (!wanted(module)) return y;
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

/** ∂root/∂(output of each pass), zeros where none arrives; `retain` keeps the graph for another time. */
export function arrivals(root: Tensor, seed: Tensor, passes: readonly Pass[], retain = false): Tensor[] {
  const targets = new Set<Edge>(passes.map(({ probe }) => probe));
  const { gradients } = backpropagate([[root, seed]], { targets, retain, create: false });
  return passes.map(({ probe }) => {
    const g = gradients.get(probe);
    return g ?? (full(probe.shape, 0) as Tensor);
  });
}

/**
 * The patches that a convolution's taps see: x [batch, h, w, channels] → [batch, outH·outW, kernelH·kernelW·channels], in the order of
 * the weight's elements. One group only.
 */
export function patches(
  { kernelSize, options }: Conv2d,
  x: Tensor,
  outputs: readonly [outH: number, outW: number],
): Tensor {
  const { stride = 1, dilation = 1, padding = 0 } = options;
  const axes = ([0, 1] as const).map((i) => {
    const [size, taps] = [x.shape[i + 1]!, kernelSize[i]!];
    const [step, apart] = [pair("Conv2d", "stride", stride, 1)[i], pair("Conv2d", "dilation", dilation, 1)[i]];
    const [before] = paddingAlong("Conv2d", padding, i, size, (taps - 1) * apart + 1, step);
    const reach = (outputs[i] - 1) * step + 1;
    const behind = Math.max(0, reach + (taps - 1) * apart - size - before);
    const ranges = Array.from({ length: taps }, (_, t): Range => [t * apart, t * apart + reach, step]);
    return { around: [before, behind] as [number, number], ranges };
  });
  const [rows, columns] = [axes[0]!, axes[1]!];
  const padded = x.pad([0, 0, ...columns.around, ...rows.around]);
  const taps = rows.ranges.flatMap((r) => columns.ranges.map((c) => padded.slice([], r, c, [])));
  return ops.concat(taps, -1).reshape([x.shape[0]!, outputs[0] * outputs[1], -1]);
}
type Range = [from: number, to: number, step: number];

/** x as [batch, positions, features]: what lies between is one dimension. */
export const asPositions = (x: Tensor): Tensor => x.reshape([x.shape[0]!, -1, x.shape.at(-1)!]);

/** Each sample's own gradients of a layer's parameters, by their names in the layer: [batch, …shape]. */
type Rule<M extends Module> = (layer: M, x: Tensor, dy: Tensor) => Record<string, Tensor | null>;

/** Σ over a sample's positions of dyᵀ·x: [batch, …shape]. */
const outer = (dy: Tensor, x: Tensor, shape: readonly number[]): Tensor =>
  dy
    .mT()
    .matmul(x)
    .reshape([dy.shape[0]!, ...shape]);

/** Σ over a sample's positions: all between the batch and the last dimensions, which are the parameter's. */
const summed = (dy: Tensor, shape: readonly number[]): Tensor => dy.reshape([dy.shape[0]!, -1, ...shape]).sum(1);

const linear: Rule<Linear> = ({ weight, bias }, x, dy) => {
  const g = asPositions(dy);
  return { weight: outer(g, asPositions(x), weight.shape), bias: bias && g.sum(1) };
};
const conv2d: Rule<Conv2d> = (layer, x, dy) => {
  const g = asPositions(dy);
  const seen = patches(layer, x, [dy.shape[1]!, dy.shape[2]!]);
  return { weight: outer(g, seen, layer.weight.shape), bias: layer.bias && g.sum(1) };
};
const embedding: Rule<Embedding> = ({ weight, paddingIdx }, index, dy) => {
  const [n, width] = [index.shape[0]!, dy.shape.at(-1)!];
  // Sample k's rows are counted from k·numEmbeddings on.
  const offsets = ops.reshape(arange(n, undefined, 1, { dtype: "int32" }).mul(weight.shape[0]!), [n, 1]);
  const places = index.reshape([n, -1]).add(offsets).reshape([-1]);
  const g = paddingIdx === null ? dy : dy.where(index.ne(paddingIdx).unsqueeze(-1), 0);
  const none = full([n * weight.shape[0]!, width], 0) as Tensor;
  return { weight: none.indexAdd(0, places, g.reshape([-1, width])).reshape([n, ...weight.shape]) };
};
const layerNorm: Rule<LayerNorm> = ({ normalizedShape: shape, weight, bias, options }, x, dy) => ({
  weight: weight && summed(dy.mul(ops.layerNorm(x, shape, null, null, options)), shape),
  bias: bias && summed(dy, shape),
});
const rmsNorm: Rule<RMSNorm> = ({ normalizedShape: shape, weight, options }, x, dy) => ({
  weight: weight && summed(dy.mul(ops.rmsNorm(x, shape, null, options)), shape),
});

/** Whether a convolution has one group: its weight then sees all of a patch. */
export const oneGroup = (layer: Conv2d): boolean => (layer.options.groups ?? 1) === 1;

/** The rule for a layer; undefined where its gradient cannot be told apart by sample from inputs and outputs. */
export function ruleOf(layer: Module): Rule<Module> | undefined {
  const found = isPlain(layer, Linear)
    ? linear
    : isPlain(layer, Conv2d)
      ? oneGroup(layer as Conv2d) && conv2d
      : isPlain(layer, Embedding)
        ? embedding
        : isPlain(layer, LayerNorm)
          ? layerNorm
          : isPlain(layer, RMSNorm) && rmsNorm;
  return (found || undefined) as Rule<Module> | undefined; // each is for the class that was just tested
}
