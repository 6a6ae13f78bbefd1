/**
 * Scores: a network's output for each class, and the gradient of one score per sample with respect to the inputs.
 * interpret.ts and maps.ts build on this file. Nothing here changes a parameter's `.grad`, and autograd does not record
 * the results.
 */

import { grad } from "../../autograd/transforms.ts";
import { withGrad } from "../../core/context.ts";
import { concat } from "../../core/functions.ts";
import { tidy } from "../../core/scope.ts";
import { fromElements, Tensor } from "../../core/tensor.ts";
import { Module } from "../../nn/module.ts";
import { type Shape, show } from "../../ops/definition/value.ts";
import { DTypeError, RangeError, ShapeError, TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";

/**
 * The model to explain: a network or a function of x: [batch, …] that returns scores [batch, classes], or one score per sample, [batch].
 * Each sample's scores must depend on that sample alone, so call eval() on models with batch norm or dropout.
 */
export type Scorer = Module | ((x: Tensor) => Tensor);

/** The class to explain: one class for all samples, one per sample as int32 [batch], or undefined for each sample's highest score. */
export type Target = number | Tensor | undefined;

/** Selects the score to explain. */
export interface TargetOptions {
  /**
   * The class to explain: one class for all samples or, as int32 [batch], one per sample. Default: each sample's
   * highest score.
   */
  readonly target?: Target;
}

/** Limits how many inputs the network processes at a time. */
export interface BatchOptions {
  /** The maximum number of rows per forward pass. Memory use grows with this number. Default 256. */
  readonly batchSize?: number;
}

/** @throws TypeError, DTypeError, ShapeError unless x is a float32 tensor [batch, …] with elements */
export function requireInputs(name: string, x: Tensor): void {
  if (!(x instanceof Tensor))
    throw new TypeError(`${name}: x must be a tensor, got ${describe(x)}. Pass tensor(values).`);
  if (x.dtype !== "float32")
    throw new DTypeError(`${name}: x must be float32 to have gradients, got ${x.dtype}. Use x.to("float32").`);
  if (x.shape.length < 2 || x.size === 0)
    throw new ShapeError(
      `${name}: x must be [batch, …] and not empty, got ${show(x.shape)}. Make a batch of one sample with x.unsqueeze(0).`,
    );
}

/** @throws RangeError unless the value is a finite number ≥ least */
export function requireNumber(name: string, what: string, value: number, least: number): void {
  if (!(value >= least && Number.isFinite(value)))
    throw new RangeError(`${name}: ${what} must be a number ≥ ${least}, got ${value}.`);
}

/** @throws RangeError unless n is a whole number ≥ 1 */
export function requireCount(name: string, what: string, n: number): void {
  if (!(Number.isInteger(n) && n >= 1)) throw new RangeError(`${name}: ${what} must be a whole number ≥ 1, got ${n}.`);
}

/** @throws ShapeError unless the tensor broadcasts to the shape */
export function requireBroadcast(name: string, what: string, tensor: Tensor, shape: Shape): void {
  const offset = shape.length - tensor.shape.length;
  if (offset < 0 || tensor.shape.some((n, i) => n !== 1 && n !== shape[i + offset]))
    throw new ShapeError(
      `${name}: ${what} must be a number or broadcast to ${show(shape)}, got ${show(tensor.shape)}.`,
    );
}

/** The scores as [batch, classes]. @throws TypeError, ShapeError */
export function scoresOf(name: string, f: Scorer, x: Tensor): Tensor {
  const scores: unknown = f instanceof Module ? f.forward(x) : f(x);
  if (!(scores instanceof Tensor))
    throw new TypeError(
      `${name}: the scores must be a tensor, got ${describe(scores)}. Return a tensor of scores from the function.`,
    );
  const [batch] = x.shape;
  const { shape } = scores;
  if (shape[0] !== batch || shape.length > 2 || scores.size === 0)
    throw new ShapeError(
      `${name}: the scores must be [${batch}, classes] or [${batch}], one row for each sample of ${show(x.shape)}, got ${show(shape)}. ` +
        "Reduce other dimensions, for example with mean().",
    );
  return shape.length === 2 ? scores : scores.reshape([-1, 1]);
}

/** The class of each sample, int32 [batch, 1]. @throws RangeError, DTypeError, ShapeError */
function classesOf(name: string, scores: Tensor, target: Target): Tensor {
  const [batch, classes] = scores.shape as readonly [number, number];
  if (target === undefined) return scores.detach().argMax(-1, { keepdim: true });
  if (typeof target === "number") {
    if (!(Number.isInteger(target) && target >= 0 && target < classes))
      throw new RangeError(`${name}: target must be a class in 0 … ${classes - 1}, got ${target}.`);
    return fromElements(new Int32Array(batch).fill(target), [batch, 1], "int32", name);
  }
  if (target.dtype !== "int32")
    throw new DTypeError(`${name}: target must be int32, got ${target.dtype}. Use target.to("int32").`);
  if (target.size !== batch || target.shape[0] !== batch)
    throw new ShapeError(`${name}: target must be [${batch}], one class for each sample, got ${show(target.shape)}.`);
  return target.reshape([batch, 1]);
}

/** The selected score of each sample: [batch]. @throws RangeError if a target is not one of the classes */
export function selectScores(name: string, f: Scorer, x: Tensor, target: Target): Tensor {
  const scores = scoresOf(name, f, x);
  return scores.gather(1, classesOf(name, scores, target)).reshape([-1]);
}

/** Replaces an undefined target with the class of each sample's highest score at x: int32 [batch]. */
export function resolveTarget(name: string, f: Scorer, x: Tensor, target: Target, batchSize: number): number | Tensor {
  if (target !== undefined) return target;
  const classes = Array.from(parts(x.shape[0]!, batchSize), ([from, count]) =>
    tidy(() => {
      const scores = withGrad(false, () => scoresOf(name, f, x.narrow(0, from, count)));
      return classesOf(name, scores, undefined).reshape([-1]);
    }),
  );
  return classes.length === 1 ? classes[0]! : concat(classes, 0);
}

/** The selected scores, computed for at most batchSize rows at a time. */
export function scoresInBatches(
  name: string,
  f: Scorer,
  x: Tensor,
  target: number | Tensor,
  batchSize: number,
): Float64Array {
  const scores = new Float64Array(x.shape[0]!);
  for (const [from, count] of parts(scores.length, batchSize)) {
    tidy(() => {
      const chosen = withGrad(false, () =>
        selectScores(name, f, x.narrow(0, from, count), targetRows(target, from, count)),
      );
      scores.set(chosen.data, from);
    });
  }
  return scores;
}

/**
 * ∂score/∂x in the shape of x. Samples are independent, so the gradient of the summed scores holds the gradient of each
 * score.
 */
export function scoreGradient(name: string, f: Scorer, x: Tensor, target: Target): Tensor {
  return withGrad(false, () => grad((z: Tensor) => selectScores(name, f, z, target).sum())(x));
}

/** The targets of `count` samples, starting at sample `from`. */
export const targetRows = (target: number | Tensor, from: number, count: number): number | Tensor =>
  typeof target === "number" ? target : target.narrow(0, from, count);

/** Repeats a resolved target for `times` copies of the batch, one copy after the other. */
export function repeatTarget(target: number | Tensor, times: number): number | Tensor {
  if (typeof target === "number") return target;
  return target.reshape([1, -1]).broadcastTo([times, target.size]).reshape([-1]);
}

/** Splits n items into ranges [from, count] of at most `most` items each. */
export function* parts(n: number, most: number): Generator<readonly [from: number, count: number]> {
  for (let from = 0; from < n; from += most) yield [from, Math.min(most, n - from)];
}
