/**
 * Explains which inputs a network's answer depends on, with gradients of a score: saliency, gradient × input, integrated gradients and
 * SmoothGrad. Each result has the shape of the inputs. Parameters and their gradients do not change.
 */

import { withGrad } from "../../core/context.ts";
import { full, randn } from "../../core/creation.ts";
import { concat } from "../../core/functions.ts";
import { tidy } from "../../core/scope.ts";
import { fromElements, Tensor } from "../../core/tensor.ts";
import { check } from "../../runtime/arguments.ts";
import { quote, RangeError } from "../../runtime/errors.ts";
import { type Nodes, type Rule, rules } from "../math/quadrature.ts";
import {
  type BatchOptions,
  parts,
  repeatTarget,
  requireBroadcast,
  requireCount,
  requireInputs,
  requireNumber,
  resolveTarget,
  type Scorer,
  scoreGradient,
  scoresInBatches,
  type TargetOptions,
  targetRows,
} from "./scores.ts";

/**
 * |∂score/∂x|: how much a small change in each input changes the score (Simonyan et al. 2013, §3). x: [batch, …] → the
 * same shape, ≥ 0. For colour images, the paper shows the maximum over channels: `.max(-1)`.
 *
 * ```ts
 * saliency(model.eval(), images);                     // for the class with the highest score
 * saliency(model, images, { target: 3 });
 * saliency((x) => x.matmul(w), x, { target: labels });
 * ```
 * Works inside compile, but does not check the values of targets there.
 * @throws ShapeError, DTypeError, TypeError or RangeError for invalid inputs, scores or targets
 */
export function saliency(f: Scorer, x: Tensor, options: TargetOptions = {}): Tensor {
  check("saliency", arguments, "f:module|function x:any {target:number|tensor}");
  const { target } = options;
  requireInputs("saliency", x);
  return tidy(() => withGrad(false, () => scoreGradient("saliency", f, x, target).abs()));
}

/**
 * x·∂score/∂x: to first order, how much the score would fall if an input were 0 (Shrikumar et al. 2016). x: [batch, …] → the same shape,
 * signed. If scaling x by any positive factor scales the score by the same factor, as in ReLU networks without biases,
 * the values sum to the score.
 *
 * ```ts
 * const parts = gradientTimesInput(model.eval(), images);
 * parts.flatten(1).sum(1);   // about the scores
 * ```
 * Works inside compile, but does not check the values of targets there.
 * @throws ShapeError, DTypeError, TypeError or RangeError for invalid inputs, scores or targets
 */
export function gradientTimesInput(f: Scorer, x: Tensor, options: TargetOptions = {}): Tensor {
  check("gradientTimesInput", arguments, "f:module|function x:any {target:number|tensor}");
  const { target } = options;
  requireInputs("gradientTimesInput", x);
  return tidy(() => withGrad(false, () => scoreGradient("gradientTimesInput", f, x, target).mul(x)));
}

/** Options for integratedGradients. */
export interface IntegratedGradientsOptions extends TargetOptions, BatchOptions {
  /** The start of the path, an input that carries no information: a number, or a tensor that broadcasts to x. Default 0. */
  readonly baseline?: number | Tensor;
  /** The number of points on the path to evaluate. Default 50. */
  readonly steps?: number;
  /** The quadrature rule. Default "gaussLegendre", which is exact if the score is a polynomial of degree ≤ 2·steps. */
  readonly rule?: Rule;
}

/** How closely a sample's attributions add up to the difference between its scores at x and at the baseline. */
export interface Completeness {
  /** Σ attributions. */
  readonly sum: number;
  /** f(x) − f(baseline). */
  readonly difference: number;
  /** sum − difference: the error of the quadrature plus float32 rounding. */
  readonly error: number;
}

/** The result of integratedGradients. */
export interface IntegratedGradients {
  /** The signed attribution of each input, in the shape of x. */
  readonly attributions: Tensor;
  /** The completeness of each sample's attributions. */
  readonly completeness: readonly Completeness[];
}

/**
 * (x − x₀)·∫₀¹ ∂score/∂x(x₀ + α(x − x₀)) dα: each input's share of f(x) − f(x₀). The shares add up to this difference (Sundararajan et
 * al. 2017, eq. 1 and proposition 1). x: [batch, …]. A large error means that the path needs more steps. If the score has kinks, as in ReLU
 * networks, the error falls like 1/steps. If it is smooth, the default rule reaches float32 accuracy after a few steps.
 *
 * ```ts
 * const { attributions, completeness } = integratedGradients(model.eval(), images, { steps: 64 });
 * completeness[0].error;   // Σ attributions − (f(x) − f(baseline)) for the first image
 * ```
 * Does not work inside compile, because it reads scores from memory.
 * @throws ShapeError, DTypeError, TypeError or RangeError for invalid inputs, scores, targets, baselines or options
 */
export function integratedGradients(
  f: Scorer,
  x: Tensor,
  options: IntegratedGradientsOptions = {},
): IntegratedGradients {
  check(
    "integratedGradients",
    arguments,
    "f:module|function x:any {target:number|tensor baseline:number|tensor steps:number rule:string batchSize:number}",
  );
  const { target, baseline = 0, steps = 50, rule = "gaussLegendre", batchSize = DEFAULT_BATCH } = options;
  const name = "integratedGradients";
  requireInputs(name, x);
  requireCount(name, "steps", steps);
  requireCount(name, "batchSize", batchSize);
  if (!Object.hasOwn(rules, rule))
    throw new RangeError(`${name}: rule must be one of ${Object.keys(rules).join(", ")}, got ${quote(String(rule))}.`);
  return tidy(() =>
    withGrad(false, () => {
      const nodes = rules[rule](steps);
      const from = startOfPath(x, baseline);
      const change = x.sub(from);
      const classes = resolveTarget(name, f, x, target, batchSize);
      const integral = averageGradients(name, f, x, classes, nodes.weights, batchSize, (samples, points) => {
        const along = column(nodes, points, x.shape.length);
        return rows(from, samples).add(rows(change, samples).mul(along));
      });
      const attributions = integral.mul(change);
      const ends = [x, from].map((z) => scoresInBatches(name, f, z, classes, batchSize));
      const each = x.size / x.shape[0]!;
      const values = attributions.data;
      const completeness = Array.from({ length: x.shape[0]! }, (_, i) => {
        let sum = 0;
        for (let k = i * each; k < (i + 1) * each; k++) sum += values[k]!;
        const difference = ends[0]![i]! - ends[1]![i]!;
        return { sum, difference, error: sum - difference };
      });
      return { attributions, completeness };
    }),
  );
}

/** Options for smoothGrad. */
export interface SmoothGradOptions extends TargetOptions, BatchOptions {
  /** The standard deviation of the noise, relative to the range of each sample's values. Default 0.15. */
  readonly noise?: number;
  /** The number of noisy copies to average. Default 50. */
  readonly samples?: number;
}

/**
 * The mean of ∂score/∂x over copies of x with Gaussian noise: the gradient of the score smoothed by the noise (Smilkov
 * et al. 2017). x: [batch, …] → the same shape, signed. The paper shows absolute values: `.abs()`. The noise comes from
 * the generator that `manualSeed` seeds. A sample whose values are all equal gets no noise.
 *
 * ```ts
 * manualSeed(1);
 * smoothGrad(model.eval(), images, { noise: 0.2, samples: 100 }).abs();
 * ```
 * Works inside compile if the target is a number.
 * @throws ShapeError, DTypeError, TypeError or RangeError for invalid inputs, scores, targets or options
 */
export function smoothGrad(f: Scorer, x: Tensor, options: SmoothGradOptions = {}): Tensor {
  check(
    "smoothGrad",
    arguments,
    "f:module|function x:any {target:number|tensor noise:number samples:number batchSize:number}",
  );
  const { target, noise = 0.15, samples: copies = 50, batchSize = DEFAULT_BATCH } = options;
  const name = "smoothGrad";
  requireInputs(name, x);
  requireCount(name, "samples", copies);
  requireCount(name, "batchSize", batchSize);
  requireNumber(name, "noise", noise, 0);
  return tidy(() =>
    withGrad(false, () => {
      const flat = x.flatten(1);
      const range = flat.max(1).sub(flat.min(1));
      const std = range.mul(noise).reshape([-1, ...x.shape.slice(1).map(() => 1)]);
      const classes = resolveTarget(name, f, x, target, batchSize);
      const weights = Array.from({ length: copies }, () => 1 / copies);
      return averageGradients(name, f, x, classes, weights, batchSize, (samples, [, points]) => {
        const z = rows(x, samples);
        return z.add(rows(std, samples).mul(randn([points, ...z.shape.slice(1)])));
      });
    }),
  );
}

const DEFAULT_BATCH = 256;

/** A range of samples or points. */
type Part = readonly [from: number, count: number];

/** A range of x's samples: [1, count, …]. */
const rows = (x: Tensor, [from, count]: Part): Tensor => x.narrow(0, from, count).unsqueeze(0);

/** A range of a rule's points on [0, 1]: [count, 1, …], which broadcasts with [1, batch, …]. */
function column({ points }: Nodes, [from, count]: Part, dims: number): Tensor {
  const shape = [count, ...Array.from({ length: dims }, () => 1)];
  return fromElements(points.slice(from, from + count), shape, "float32", "integratedGradients");
}

/** The baseline, expanded to the shape of x. @throws ShapeError */
function startOfPath(x: Tensor, baseline: number | Tensor): Tensor {
  if (!(baseline instanceof Tensor)) return full(x.shape, baseline);
  requireBroadcast("integratedGradients", "baseline", baseline, x.shape);
  return baseline.detach().broadcastTo(x.shape);
}

/**
 * Σₖ wₖ·∂score/∂x(zₖ) in the shape of x, for points zₖ near each sample. `at` creates the given range of points for the
 * given range of samples: [points, samples, …]. The network processes at most batchSize rows at a time.
 */
function averageGradients(
  name: string,
  f: Scorer,
  x: Tensor,
  target: number | Tensor,
  weights: readonly number[],
  batchSize: number,
  at: (samples: Part, points: Part) => Tensor,
): Tensor {
  const inner = x.shape.slice(1);
  const sums = Array.from(parts(x.shape[0]!, batchSize), (samples) =>
    tidy(() => {
      const [first, count] = samples;
      const classes = targetRows(target, first, count);
      let total: Tensor | undefined;
      for (const points of parts(weights.length, Math.max(1, Math.floor(batchSize / count)))) {
        const before: Tensor | undefined = total;
        total = tidy(() => {
          const [k, n] = points;
          const z = at(samples, points).reshape([n * count, ...inner]);
          const g = scoreGradient(name, f, z, repeatTarget(classes, n)).reshape([n, count * (x.size / x.shape[0]!)]);
          const part = fromElements(weights.slice(k, k + n), [1, n], "float32", name).matmul(g);
          return before ? before.add(part) : part;
        });
        before?.dispose();
      }
      return total!.reshape([count, ...inner]); // every rule has at least one point, so `total` is defined
    }),
  );
  return sums.length === 1 ? sums[0]! : concat(sums, 0);
}
