/**
 * Scores: what a network says of each class, and the gradient of one score of each sample by the inputs. The explanations of
 * interpret.ts and maps.ts rest on it. No parameter's `.grad` is touched, and nothing is recorded for gradients.
 */

import { grad } from "../../autograd/transforms.ts";
import { withGrad } from "../../core/context.ts";
import { concat } from "../../core/functions.ts";
import { tidy } from "../../core/scope.ts";
import { fromElements, Tensor } from "../../core/tensor.ts";
import { Module } from "../../nn/module.ts";
import { type Shape, show } from "../../ops/definition/value.ts";
import { DTypeError, RangeError, ShapeError, TypeError } from "../../runtime/errors.ts";

/**
 * What is explained: a network, or a function, of x: [batch, …] that gives scores [batch, classes], or one for each sample,
 * [batch]. Each sample's scores must depend on that sample alone: a model with batch norm or dropout belongs in eval().
 */
export type Scorer = Module | ((x: Tensor) => Tensor);

/** Which class's score: one for all samples, int32 [batch] with one for each, or, undefined, each sample's highest. */
export type Target = number | Tensor | undefined;

/** Which score is explained. */
export interface TargetOptions {
  /** The class whose score is explained, for all samples or, as int32 [batch], for each. Default: each sample's highest score. */
  readonly target?: Target;
}

/** How many inputs are computed together. */
export interface BatchOptions {
  /** Rows that the network is given at a time, at most: memory grows with it. Default 256. */
  readonly batchSize?: number;
}

/** @throws TypeError, DTypeError, ShapeError unless x is float32 [batch, …] with something in it */
export function requireInputs(name: string, x: Tensor): void {
  if (!(x instanceof Tensor)) throw new TypeError(`${name}: the inputs are not a tensor. Pass tensor(values).`);
  if (x.dtype !== "float32")
    throw new DTypeError(`${name}: the inputs are ${x.dtype}, and have no gradients. Use x.to("float32").`);
  if (x.shape.length < 2 || x.size === 0)
    throw new ShapeError(
      `${name}: the inputs are ${show(x.shape)}, but must be [batch, …]. Put one sample into a batch with x.unsqueeze(0).`,
    );
}

/** @throws RangeError unless a number ≥ least */
export function requireNumber(name: string, what: string, value: number, least: number): void {
  if (!(value >= least && Number.isFinite(value)))
    throw new RangeError(`${name}: ${what} is ${value}, but must be a number ≥ ${least}.`);
}

/** @throws RangeError unless a whole number ≥ 1 */
export function requireCount(name: string, what: string, n: number): void {
  if (!(Number.isInteger(n) && n >= 1))
    throw new RangeError(`${name}: ${what} is ${n}, but must be a whole number ≥ 1.`);
}

/** @throws ShapeError unless a tensor broadcasts to the shape */
export function requireBroadcast(name: string, what: string, tensor: Tensor, shape: Shape): void {
  const offset = shape.length - tensor.shape.length;
  if (offset < 0 || tensor.shape.some((n, i) => n !== 1 && n !== shape[i + offset]))
    throw new ShapeError(
      `${name}: the ${what} is ${show(tensor.shape)}, but must be a number, ${show(shape)}, or broadcast to that.`,
    );
}

/** The scores as [batch, classes]. @throws TypeError, ShapeError */
export function scoresOf(name: string, f: Scorer, x: Tensor): Tensor {
  const scores: unknown = f instanceof Module ? f.forward(x) : f(x);
  if (!(scores instanceof Tensor)) throw new TypeError(`${name}: the function must return a tensor of scores.`);
  const [batch] = x.shape;
  const { shape } = scores;
  if (shape[0] !== batch || shape.length > 2 || scores.size === 0)
    throw new ShapeError(
      `${name}: the scores are ${show(shape)}, but must be [${batch}, classes] or [${batch}]: one row for each sample of ${show(x.shape)}. ` +
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
      throw new RangeError(`${name}: the target is ${target}, but must be a class, 0 … ${classes - 1}.`);
    return fromElements(new Int32Array(batch).fill(target), [batch, 1], "int32", name);
  }
  if (target.dtype !== "int32")
    throw new DTypeError(`${name}: the targets are ${target.dtype}, but must be int32. Use target.to("int32").`);
  if (target.size !== batch || target.shape[0] !== batch)
    throw new ShapeError(
      `${name}: the targets are ${show(target.shape)}, but must be [${batch}]: one for each sample.`,
    );
  return target.reshape([batch, 1]);
}

/** The chosen score of each sample, [batch]. @throws RangeError where a target is none of the classes */
export function selectScores(name: string, f: Scorer, x: Tensor, target: Target): Tensor {
  const scores = scoresOf(name, f, x);
  return scores.gather(1, classesOf(name, scores, target)).reshape([-1]);
}

/** The target, settled: where it is each sample's highest score, which class that is at x, int32 [batch]. */
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

/** The chosen scores, at most batchSize rows at a time. */
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

/** ∂score/∂x in x's shape: samples do not depend on each other, so the sum's gradient is each one's. */
export function scoreGradient(name: string, f: Scorer, x: Tensor, target: Target): Tensor {
  return withGrad(false, () => grad((z: Tensor) => selectScores(name, f, z, target).sum())(x));
}

/** Samples `from` … `from + count` of a target. */
export const targetRows = (target: number | Tensor, from: number, count: number): number | Tensor =>
  typeof target === "number" ? target : target.narrow(0, from, count);

/** A settled target for `times` copies of its samples, one copy behind the other. */
export function repeatTarget(target: number | Tensor, times: number): number | Tensor {
  if (typeof target === "number") return target;
  return target.reshape([1, -1]).broadcastTo([times, target.size]).reshape([-1]);
}

/** [from, count] of the parts of n things, at most `most` each. */
export function* parts(n: number, most: number): Generator<readonly [from: number, count: number]> {
  for (let from = 0; from < n; from += most) yield [from, Math.min(most, n - from)];
}
