/**
 * A bound on the Lipschitz constant of a network: the product of its layers' bounds (Szegedy et al. 2014, §4.3). Throws
 * for layers without a known bound.
 */

import { withGrad } from "../../core/context.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { Conv2d } from "../../nn/conv.ts";
import { isPlain } from "../../nn/intercept.ts";
import * as layers from "../../nn/layers.ts";
import { type Module, nameOf } from "../../nn/module.ts";
import { GlobalAvgPool2d, MaxPool2d } from "../../nn/pool.ts";
import { Sequential } from "../../nn/sequential.ts";
import { SpectralNorm } from "../../nn/spectral.ts";
import { check } from "../../runtime/arguments.ts";
import { TypeError } from "../../runtime/errors.ts";
import { spectralNorm } from "../vanishing/spectral.ts";

/** The bound of a layer without a weight, such as the largest slope of an activation. */
type BoundOf = (layer: never) => number;
const entry = <L extends Module>(type: abstract new (...args: never[]) => L, bound: (layer: L) => number) =>
  [type, bound as BoundOf] as const;

const bounds: readonly (readonly [abstract new (...args: never[]) => Module, BoundOf])[] = [
  entry(layers.Identity, () => 1),
  entry(layers.Flatten, () => 1),
  entry(layers.ReLU, () => 1),
  entry(layers.ReLU6, () => 1),
  entry(layers.LeakyReLU, ({ negativeSlope }) => Math.max(1, Math.abs(negativeSlope))),
  entry(layers.ELU, ({ alpha }) => Math.max(1, Math.abs(alpha))),
  entry(layers.SELU, () => 1.7580993408473766), // λα, just below 0
  entry(layers.Softplus, () => 1),
  entry(layers.Tanh, () => 1),
  entry(layers.Hardtanh, () => 1),
  entry(layers.Sigmoid, () => 1 / 4),
  entry(layers.Hardsigmoid, () => 1 / 6),
  entry(layers.LogSigmoid, () => 1),
  entry(layers.Hardswish, () => 1.5), // the slope at 3
  entry(layers.GELU, () => 1.13), // the slope at √2 is 1.1289, or 1.1290 with the tanh approximation
  entry(layers.SiLU, () => 1.0999), // the slope at 2.399 is 1.09984
  entry(layers.Mish, () => 1.089), // the slope at 1.491 is 1.0885
  entry(layers.Softmax, () => 1 / 2), // Gershgorin: the norm of diag(p) − ppᵀ is at most 2p(1 − p) ≤ ½
  entry(layers.Dropout, ({ training, p }) => (training ? 1 / (1 - p) : 1)),
  entry(GlobalAvgPool2d, () => 1),
  entry(MaxPool2d, overlap),
];

/** The square root of the largest number of windows that can contain the same pixel; 1 if windows do not overlap. */
function overlap(pool: MaxPool2d): number {
  const { stride = pool.kernelSize, dilation = 1 } = pool.options;
  const along = (v: number | readonly [number, number], i: 0 | 1): number => (typeof v === "number" ? v : v[i]);
  const windows = ([0, 1] as const).map((i) => {
    // A window has taps at 0, d, 2d, … The positions of the taps that can read a given pixel are all equal modulo the
    // stride.
    const step = along(stride, i);
    return Math.ceil(along(pool.kernelSize, i) / (step / greatestDivisor(step, along(dilation, i))));
  });
  return Math.sqrt(windows[0]! * windows[1]!);
}
const greatestDivisor = (a: number, b: number): number => (b ? greatestDivisor(b, a % b) : a);

/**
 * A number L with ‖f(x) − f(y)‖₂ ≤ L·‖x − y‖₂ for all inputs x and y: the product of the bounds for a Sequential's
 * layers. Layers may be
 * - Linear: its largest singular value, exact;
 * - Conv2d: the minimum of √taps·σ([out, taps·in]), √taps·σ([taps·out, in]) and Σ over taps of σ([out, in]), where σ is the largest singular
 *   value of the weight in that shape, and taps = kernel height × width. Valid for any stride, padding, dilation and image size
 *   (Singla and Feizi 2021, theorem 1; Tsuzuku et al. 2018, §4.2), and at most √taps times the true norm;
 * - SpectralNorm around a Linear or a Conv2d; activations, with their largest slope as the bound; MaxPool2d,
 *   GlobalAvgPool2d, Flatten, Identity, Dropout; Sequential.
 *
 * The smallest such L is often far smaller than this product, because the layers' worst directions rarely coincide. The
 * bound holds up to float32 rounding.
 *
 * ```ts
 * lipschitzBound(new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1)));
 * const radius = margin / (Math.SQRT2 * lipschitzBound(model));   // no smaller change of x flips the answer (Tsuzuku et al. 2018)
 * ```
 * Does not work inside compile, because it reads weights from memory.
 * @throws TypeError that names the layer without a known bound
 */
export function lipschitzBound(model: Module): number {
  check("lipschitzBound", arguments, "model:module");
  return boundOf(model, "");
}

function boundOf(module: Module, path: string): number {
  if (isPlain(module, Sequential))
    return (module as Sequential).layers.reduce(
      (product, layer, i) => product * boundOf(layer, path ? `${path}.${i}` : `${i}`),
      1,
    );
  const inner = module instanceof SpectralNorm ? (module.layer as Module) : module;
  if (isPlain(inner, layers.Linear) || isPlain(inner, Conv2d)) {
    return tidy(() => {
      const { weight } = module as Module & { readonly weight: Tensor };
      return withGrad(false, () => (inner instanceof Conv2d ? convolutionBound(inner, weight) : spectralNorm(weight)));
    });
  }
  const found = bounds.find(([type]) => isPlain(module, type));
  if (found) return found[1](module as never);
  throw new TypeError(
    `lipschitzBound: ${nameOf(module)}${path ? ` (layer ${path})` : ""} has no known bound. Layers may be Linear, Conv2d, SpectralNorm ` +
      "of these, MaxPool2d, GlobalAvgPool2d, Flatten, Identity, Dropout, activations, Softmax, and Sequential of these.",
  );
}

/** The bound of a convolution. Each group of channels is a separate convolution, so this is the largest of their bounds. */
function convolutionBound(layer: Conv2d, weight: Tensor): number {
  const [outputs, height, width, inputs] = weight.shape as unknown as [number, number, number, number]; // the weight of a convolution has four dimensions
  const [taps, groups] = [height * width, layer.inChannels / inputs];
  const per = outputs / groups;
  return Math.max(
    ...Array.from({ length: groups }, (_, g) => {
      const w = weight.narrow(0, g * per, per).reshape([per, taps, inputs]);
      const byTap = w.permute([1, 0, 2]);
      const tapByTap = Array.from({ length: taps }, (_, k) =>
        spectralNorm(byTap.narrow(0, k, 1).reshape([per, inputs])),
      );
      return Math.min(
        Math.sqrt(taps) * spectralNorm(w.reshape([per, taps * inputs])),
        Math.sqrt(taps) * spectralNorm(byTap.reshape([taps * per, inputs])),
        tapByTap.reduce((a, b) => a + b),
      );
    }),
  );
}
