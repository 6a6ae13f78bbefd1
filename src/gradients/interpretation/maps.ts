/**
 * Where in an image, or a sequence, a network's answer comes from: Grad-CAM by the gradient at a layer's output, and occlusion, which
 * needs no gradient and so is the control of all that do. Parameters and their gradients stay as they are.
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

/** Options of gradCam. */
export interface GradCamOptions extends TargetOptions {
  /** Whether the map is made as large as x: [batch, height, width, channels], by bilinear interpolation. Default false. */
  readonly resize?: boolean;
}

/**
 * max(0, Σ_c α_c·A_c), α_c being the mean over pixels of ∂score/∂A_c, for the output A: [batch, h, w, channels] of a layer: where the
 * evidence for the class lies (Selvaraju et al. 2017, eq. 1 and 2). The last layer whose output is an image is the usual choice.
 * x: what the model takes, batch first → [batch, h, w], ≥ 0.
 *
 * ```ts
 * gradCam(model.eval(), model.layers[4], images);                             // [batch, 14, 14]
 * gradCam(model, model.layers[4], images, { target: 3, resize: true });       // [batch, 28, 28]
 * ```
 * Works inside compile, without a check of targets' values.
 * @throws Error where the model does not run the layer, or more than once, or the score does not depend on it; ShapeError where its
 * output is no image; otherwise as saliency
 */
export function gradCam(model: Module, layer: Module, x: Tensor, options: GradCamOptions = {}): Tensor {
  check("gradCam", arguments, "model:module layer:module x:any {target:number|tensor resize:boolean}");
  const { target, resize = false } = options;
  if (!(x instanceof Tensor)) throw new TypeError("gradCam: the inputs are not a tensor. Pass tensor(values).");
  if (resize && x.shape.length !== 4)
    throw new ShapeError(
      `gradCam: resize is for images [batch, height, width, channels], but the inputs are ${show(x.shape)}. Leave it out.`,
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
        `gradCam: ${nameOf(layer)} returns ${y instanceof Tensor ? show(y.shape) : typeof y}, but the map is of an image, [batch, h, w, channels]. Pass a layer before the images are flattened.`,
      );
    const leaf = y.detach();
    leaf.requiresGrad = true;
    outputs.push(leaf);
    return leaf;
  };
  const score = interceptDuring(layer, around, () => withGrad(true, f));
  if (outputs.length !== 1)
    throw new Error(
      `gradCam: ${nameOf(model)} runs the layer ${nameOf(layer)} ${outputs.length} times, but must run it once. ` +
        "Pass a module that it calls, such as model.layers[0], by its forward().",
    );
  return { output: outputs[0]!, score };
}

/** Options of occlusion. */
export interface OcclusionOptions extends TargetOptions, BatchOptions {
  /** How much is covered at a time: one number for each dimension between batch and channels, or one for all. Default 1. */
  readonly window?: number | readonly number[];
  /** From one window to the next, at most the window; so too. Default: the window. */
  readonly stride?: number | readonly number[];
  /** What covers: a number, or a tensor that broadcasts to one sample. Default 0. */
  readonly fill?: number | Tensor;
}

/**
 * How much the score falls, f(x) − f(x covered), where a window covers a part of x (Zeiler and Fergus 2014, §4.2): for each place the
 * mean over the windows that cover it. x: [batch, …places, channels] → [batch, …places]; x: [batch, features] → the same shape.
 * Windows begin at multiples of the stride; the last one ends where x ends.
 *
 * ```ts
 * occlusion(model.eval(), images, { window: 4, stride: 2 });    // [batch, 28, 28]
 * occlusion(model, rows);                                       // one feature at a time
 * ```
 * Not inside compile: scores are read from memory.
 * @throws ShapeError, DTypeError, TypeError, RangeError where inputs, scores, targets or options do not fit
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
  const places = rest.length > 1 ? rest.slice(0, -1) : rest;
  if (fill instanceof Tensor) requireBroadcast(name, "fill", fill, rest);
  const windows = perDimension("window", window, places);
  const strides = perDimension("stride", stride, places);
  strides.forEach((s, i) => {
    if (s > windows[i]!)
      throw new RangeError(
        `${name}: stride ${s} leaves gaps between windows of ${windows[i]}. Use at most ${windows[i]}.`,
      );
  });
  // The windows' first corners: one list for each dimension, then all of their combinations.
  const corners = places
    .map((n, i) => startsAlong(n, windows[i]!, strides[i]!))
    .reduce<number[][]>((all, starts) => all.flatMap((corner) => starts.map((s) => [...corner, s])), [[]]);
  const covered = corners.map((corner) => placesWithin(corner, windows, places));
  const size = sizeOf(places);
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
          const shape = [n, 1, ...places, ...rest.slice(places.length).map(() => 1)];
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
  return fromElements(drops, [batch, ...places], "float32", name);
}

/** One number for each dimension. @throws RangeError */
function perDimension(what: string, value: number | readonly number[], places: readonly number[]): readonly number[] {
  const list = typeof value === "number" ? places.map(() => value) : value;
  if (list.length !== places.length || !list.every((n, i) => Number.isInteger(n) && n >= 1 && n <= places[i]!))
    throw new RangeError(
      `occlusion: ${what} is [${list.join(", ")}], but must be whole numbers from 1 to ${places.join(" × ")}, one for each of the dimensions [${places.join(", ")}].`,
    );
  return list;
}

/** Where windows begin along a dimension of n. */
function startsAlong(n: number, window: number, stride: number): number[] {
  const starts = Array.from({ length: Math.ceil((n - window) / stride) }, (_, i) => i * stride);
  return [...starts, n - window];
}

/** The places that a window covers, as their numbers in row-major order. */
function placesWithin(corner: readonly number[], window: readonly number[], places: readonly number[]): number[] {
  return corner.reduce<number[]>(
    (found, start, i) =>
      found.flatMap((at) => Array.from({ length: window[i]! }, (_, j) => at * places[i]! + start + j)),
    [0],
  );
}
