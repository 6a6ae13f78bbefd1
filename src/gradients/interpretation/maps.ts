/**
 * Explains which parts of an image or a sequence determine a network's answer. Grad-CAM uses the gradient at a layer's
 * output. Occlusion needs no gradient, so it serves as a control for methods that need one. Parameters and their
 * gradients do not change.
 */

import { backpropagate, onesLike } from "../../autograd/backward.ts";
import { withGrad } from "../../core/context.ts";
import { where } from "../../core/functions.ts";
import { tidy } from "../../core/scope.ts";
import { fromElements, Tensor } from "../../core/tensor.ts";
import { type Call, interceptDuring } from "../../nn/intercept.ts";
import { type Module, nameOf } from "../../nn/module.ts";
import { interpolate } from "../../nn/resize.ts";
import { show, sizeOf } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { Error, RangeError, ShapeError, TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import {
  type BatchOptions,
  parts,
  repeatTarget,
  requireBroadcast,
  requireCount,
  requireInputs,
  resolveTarget,
  type Scorer,
  scoresInBatches,
  selectScores,
  type TargetOptions,
  targetRows,
} from "./scores.ts";

/** Options for gradCam. */
export interface GradCamOptions extends TargetOptions {
  /**
   * Whether to resize the map by bilinear interpolation to the height and width of x: [batch, height, width, channels].
   * Default false.
   */
  readonly resize?: boolean;
}

/**
 * Shows where in an image the evidence for a class lies: max(0, Σ_c α_c·A_c), where A: [batch, h, w, channels] is the
 * output of a layer and α_c is the mean of ∂score/∂A_c over pixels (Selvaraju et al. 2017, eq. 1 and 2). The usual
 * choice is the last layer whose output is an image. x: the model's input, batch first → [batch, h, w], ≥ 0.
 *
 * ```ts
 * gradCam(model.eval(), model.layers[4], images);                             // [batch, 14, 14]
 * gradCam(model, model.layers[4], images, { target: 3, resize: true });       // [batch, 28, 28]
 * ```
 * Works inside compile, but does not check the values of targets there.
 * @throws Error if the model does not run the layer exactly once, or the score does not depend on it; ShapeError if the
 * layer's output is not an image; and the errors that saliency throws
 */
export function gradCam(model: Module, layer: Module, x: Tensor, options: GradCamOptions = {}): Tensor {
  check("gradCam", arguments, "model:module layer:module x:any {target:number|tensor resize:boolean}");
  const { target, resize = false } = options;
  if (!(x instanceof Tensor))
    throw new TypeError(`gradCam: x must be a tensor, got ${describe(x)}. Pass tensor(values).`);
  if (resize && x.shape.length !== 4)
    throw new ShapeError(
      `gradCam: x must be images [batch, height, width, channels] for resize, got ${show(x.shape)}. Omit resize.`,
    );
  return tidy(() => {
    const { output, score } = captureOutput(model, layer, () =>
      selectScores("gradCam", model, x.detach(), target instanceof Tensor ? target.detach() : target).sum(),
    );
    const { gradients } = backpropagate([[score, onesLike(score)]], {
      targets: new Set([output]),
      retain: false,
      create: false,
    });
    const g = gradients.get(output);
    if (!g)
      throw new Error(
        `gradCam: the score does not depend on the output of ${nameOf(layer)}. Pass a layer between inputs and scores.`,
      );
    return withGrad(false, () => {
      const weights = g.mean([1, 2], { keepdim: true });
      const map = output.mul(weights).sum(-1, { keepdim: true }).relu();
      const size = x.shape.slice(1, 3) as [number, number];
      return (resize ? interpolate(map, { size, mode: "bilinear" }) : map).squeeze(-1);
    });
  });
}

/** Runs f with the layer's output replaced by a leaf of the autograd graph. */
function captureOutput(model: Module, layer: Module, f: () => Tensor): { output: Tensor; score: Tensor } {
  const outputs: Tensor[] = [];
  const around = ({ module, forward }: Call): unknown => {
    const y = forward();
    if (module !== layer) return y;
    if (!(y instanceof Tensor) || y.shape.length !== 4)
      throw new ShapeError(
        `gradCam: the output of ${nameOf(layer)} must be an image, [batch, h, w, channels], got ${describe(y)}. Pass a layer before the images are flattened.`,
      );
    const leaf = y.detach();
    leaf.requiresGrad = true;
    outputs.push(leaf);
    return leaf;
  };
  const score = interceptDuring(layer, around, () => withGrad(true, f));
  if (outputs.length !== 1)
    throw new Error(
      `gradCam: ${nameOf(model)} must run the layer ${nameOf(layer)} once, got ${outputs.length} runs. ` +
        "Pass a layer whose forward() the model calls, such as model.layers[0].",
    );
  return { output: outputs[0]!, score };
}

/** Options for occlusion. */
export interface OcclusionOptions extends TargetOptions, BatchOptions {
  /**
   * The size of the window: one number for each dimension between batch and channels, or one number for all of them.
   * Default 1.
   */
  readonly window?: number | readonly number[];
  /**
   * The distance between the starts of neighbouring windows, at most the size of a window: one number for each
   * dimension, or one number for all of them. Default: the size of the window.
   */
  readonly stride?: number | readonly number[];
  /** What to put in place of covered values: a number, or a tensor that broadcasts to one sample. Default 0. */
  readonly fill?: number | Tensor;
}

/**
 * How much the score falls when a window covers a part of x: f(x) − f(x covered) (Zeiler and Fergus 2014, §4.2). Each
 * position gets the mean over the windows that cover it. x: [batch, …positions, channels] → [batch, …positions]; x:
 * [batch, features] → the same shape. Windows begin at multiples of the stride; the last window ends at the end of x.
 *
 * ```ts
 * occlusion(model.eval(), images, { window: 4, stride: 2 });    // [batch, 28, 28]
 * occlusion(model, rows);                                       // one feature at a time
 * ```
 * Does not work inside compile, because scores are read from memory.
 * @throws ShapeError, DTypeError, TypeError or RangeError for invalid inputs, scores, targets or options
 */
export function occlusion(f: Scorer, x: Tensor, options: OcclusionOptions = {}): Tensor {
  check(
    "occlusion",
    arguments,
    "f:module|function x:any {target:number|tensor window:number|numbers stride:number|numbers fill:number|tensor batchSize:number}",
  );
  const { target, window = 1, stride = window, fill = 0, batchSize = 256 } = options;
  const name = "occlusion";
  requireInputs(name, x);
  requireCount(name, "batchSize", batchSize);
  const [batch, ...rest] = x.shape as [number, ...number[]];
  const positions = rest.length > 1 ? rest.slice(0, -1) : rest;
  if (fill instanceof Tensor) requireBroadcast(name, "fill", fill, rest);
  const windows = perDimension("window", window, positions);
  const strides = perDimension("stride", stride, positions);
  strides.forEach((s, i) => {
    if (s > windows[i]!)
      throw new RangeError(
        `${name}: stride must be at most the window size ${windows[i]}, to leave no gaps, got ${s}.`,
      );
  });
  // The start of each window: all combinations of the start positions along the dimensions.
  const corners = positions
    .map((n, i) => startsAlong(n, windows[i]!, strides[i]!))
    .reduce<number[][]>((all, starts) => all.flatMap((corner) => starts.map((s) => [...corner, s])), [[]]);
  const covered = corners.map((corner) => positionsWithin(corner, windows, positions));
  const size = sizeOf(positions);
  const drops = new Float64Array(batch * size);
  const counts = new Float64Array(size);
  for (const cover of covered) for (const at of cover) counts[at]!++;

  tidy(() => {
    const classes = resolveTarget(name, f, x, target, batchSize);
    const whole = scoresInBatches(name, f, x, classes, batchSize);
    for (const [first, samples] of parts(batch, batchSize)) {
      const some = x.detach().narrow(0, first, samples).unsqueeze(0);
      for (const [k, n] of parts(corners.length, Math.max(1, Math.floor(batchSize / samples)))) {
        tidy(() => {
          const mask = new Uint8Array(n * size);
          for (let j = 0; j < n; j++) for (const at of covered[k + j]!) mask[j * size + at] = 1;
          const shape = [n, 1, ...positions, ...rest.slice(positions.length).map(() => 1)];
          const z = where(fromElements(mask, shape, "bool", name), fill instanceof Tensor ? fill.detach() : fill, some);
          const rows = z.reshape([n * samples, ...rest]);
          const scores = scoresInBatches(
            name,
            f,
            rows,
            repeatTarget(targetRows(classes, first, samples), n),
            batchSize,
          );
          scores.forEach((score, row) => {
            const sample = first + (row % samples);
            const cover = covered[k + Math.floor(row / samples)]!;
            for (const at of cover) drops[sample * size + at]! += (whole[sample]! - score) / counts[at]!;
          });
        });
      }
    }
  });
  return fromElements(drops, [batch, ...positions], "float32", name);
}

/** Expands a single number to one for each dimension. @throws RangeError */
function perDimension(
  what: string,
  value: number | readonly number[],
  positions: readonly number[],
): readonly number[] {
  const list = typeof value === "number" ? positions.map(() => value) : value;
  if (list.length !== positions.length || !list.every((n, i) => Number.isInteger(n) && n >= 1 && n <= positions[i]!))
    throw new RangeError(
      `occlusion: ${what} must have one whole number per dimension, each between 1 and that dimension's size in [${positions.join(", ")}], got [${list.join(", ")}].`,
    );
  return list;
}

/** The positions at which the windows start along a dimension of size n. */
function startsAlong(n: number, window: number, stride: number): number[] {
  const starts = Array.from({ length: Math.ceil((n - window) / stride) }, (_, i) => i * stride);
  return [...starts, n - window];
}

/** The positions that a window covers, as row-major indices. */
function positionsWithin(corner: readonly number[], window: readonly number[], positions: readonly number[]): number[] {
  return corner.reduce<number[]>(
    (found, start, i) =>
      found.flatMap((at) => Array.from({ length: window[i]! }, (_, j) => at * positions[i]! + start + j)),
    [0],
  );
}
