/**
 * Which inputs a network's answer hangs on, by gradients of a score: saliency, gradient × input, integrated gradients, SmoothGrad.
 * What each returns has the shape of the inputs. Parameters and their gradients stay as they are.
 */

import { withGrad } from "../../core/context.ts";
import { full, randn } from "../../core/creation.ts";
import { concat } from "../../core/functions.ts";
import { tidy } from "../../core/scope.ts";
import { fromElements, Tensor } from "../../core/tensor.ts";
import { check } from "../../runtime/arguments.ts";
import { RangeError } from "../../runtime/errors.ts";
import { type Nodes, type Rule, rules } from "../math/quadrature.ts";
import {
  type BatchOptions,
  parts,
  repeatTarget,
  requireBroadcast,
  requireCount,
  requireInputs,
  resolveTarget,
  type Scorer,
  scoreGradient,
  scoresInBatches,
  type TargetOptions,
  targetRows,
} from "./scores.ts";

/**
 * |∂score/∂x|: how much the score would change by a small change of each input (Simonyan et al. 2013, §3). x: [batch, …] → the same
 * shape, ≥ 0. Of coloured images the paper draws the largest over channels: `.max(-1)`.
 *
 * ```ts
 * saliency(model.eval(), images);                     // of the class with the highest score
 * saliency(model, images, { target: 3 });
 * saliency((x) => x.matmul(w), x, { target: labels });
 * ```
 * Works inside compile, without a check of targets' values.
 * @throws ShapeError, DTypeError, TypeError, RangeError where inputs, scores or targets do not fit
 */
export function saliency(f: Scorer, x: Tensor, options: TargetOptions = {}): Tensor {
  check("saliency", arguments, "f:module|function x:any {target:number|tensor}");
  const { target } = options;
  requireInputs("saliency", x);
  return tidy(() => withGrad(false, () => scoreGradient("saliency", f, x, target).abs()));
}

/**
 * x·∂score/∂x: the score's first-order change if an input were 0 (Shrikumar et al. 2016). x: [batch, …] → the same shape, signed.
 * For scores that grow in proportion to x, as those of ReLU networks without biases, the sum over inputs is the score.
 *
 * ```ts
 * const parts = gradientTimesInput(model.eval(), images);
 * parts.flatten(1).sum(1);   // about the scores
 * ```
 * Works inside compile, without a check of targets' values.
 * @throws ShapeError, DTypeError, TypeError, RangeError where inputs, scores or targets do not fit
 */
export function gradientTimesInput(f: Scorer, x: Tensor, options: TargetOptions = {}): Tensor {
  check("gradientTimesInput", arguments, "f:module|function x:any {target:number|tensor}");
  const { target } = options;
  requireInputs("gradientTimesInput", x);
  return tidy(() => withGrad(false, () => scoreGradient("gradientTimesInput", f, x, target).mul(x)));
}

/** Options of integratedGradients. */
export interface IntegratedGradientsOptions extends TargetOptions, BatchOptions {
  /** Where the path begins, an input that says nothing: a number, or a tensor that broadcasts to x. Default 0. */
  readonly baseline?: number | Tensor;
  /** Points on the path. Default 50. */
  readonly steps?: number;
  /** How the integral becomes a sum. Default "gaussLegendre": exact where the score is a polynomial of degree ≤ 2·steps. */
  readonly rule?: Rule;
}

/** How far one sample's attributions are from what they should add up to. */
export interface Completeness {
  /** Σ attributions. */
  readonly sum: number;
  /** f(x) − f(baseline). */
  readonly difference: number;
  /** sum − difference: the quadrature's error, and float32's. */
  readonly error: number;
}

/** What integratedGradients returns. */
export interface IntegratedGradients {
  /** In x's shape, signed. */
  readonly attributions: Tensor;
  /** One for each sample. */
  readonly completeness: readonly Completeness[];
}

/**
 * (x − x₀)·∫₀¹ ∂score/∂x(x₀ + α(x − x₀)) dα: each input's share of f(x) − f(x₀), to which the shares add up (Sundararajan et al. 2017,
 * eq. 1 and proposition 1). x: [batch, …]. A large error says that the path needs more steps: where the score has kinks, as in
 * ReLU networks, it falls like 1/steps; where it is smooth, the default rule is exact to float32 after a few.
 *
 * ```ts
 * const { attributions, completeness } = integratedGradients(model.eval(), images, { steps: 64 });
 * completeness[0].error;   // Σ attributions − (f(x) − f(baseline)), of the first image
 * ```
 * Not inside compile: completeness is read from memory.
 * @throws ShapeError, DTypeError, TypeError, RangeError where inputs, scores, targets, the baseline or options do not fit
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
    throw new RangeError(`${name}: "${String(rule)}" is not a rule. Valid rules: ${Object.keys(rules).join(", ")}.`);
  return tidy(() =>
    withGrad(false, () => {
      const nodes = rules[rule](steps);
      const from = startOfPath(x, baseline);
      const way = x.sub(from);
      const classes = resolveTarget(name, f, x, target, batchSize);
      const integral = averageGradients(name, f, x, classes, nodes.weights, batchSize, (samples, points) => {
        const along = column(nodes, points, x.shape.length);
        return rows(from, samples).add(rows(way, samples).mul(along));
      });
      const attributions = integral.mul(way);
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

/** Options of smoothGrad. */
export interface SmoothGradOptions extends TargetOptions, BatchOptions {
  /** The noise's standard deviation, as a part of the sample's range, largest minus least value. Default 0.15. */
  readonly noise?: number;
  /** How many noisy copies are averaged. Default 50. */
  readonly samples?: number;
}

/**
 * The mean of ∂score/∂x over copies of x with Gaussian noise: the gradient of the score smoothed by the noise (Smilkov et al. 2017).
 * x: [batch, …] → the same shape, signed; the paper draws `.abs()`. Noise is from manualSeed's generator. What is the same everywhere
 * in a sample has no range, and gets no noise.
 *
 * ```ts
 * manualSeed(1);
 * smoothGrad(model.eval(), images, { noise: 0.2, samples: 100 }).abs();
 * ```
 * Works inside compile with a number as target.
 * @throws ShapeError, DTypeError, TypeError, RangeError where inputs, scores, targets or options do not fit
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
  if (!(noise >= 0 && Number.isFinite(noise))) throw new RangeError(`${name}: noise is ${noise}, but must be ≥ 0.`);
  return tidy(() =>
    withGrad(false, () => {
      const flat = x.flatten(1);
      const range = flat.max(1).sub(flat.min(1));
      const std = range.mul(noise).reshape([-1, ...x.shape.slice(1).map(() => 1)]);
      const classes = resolveTarget(name, f, x, target, batchSize);
      const even = Array.from({ length: copies }, () => 1 / copies);
      return averageGradients(name, f, x, classes, even, batchSize, (samples, [, points]) => {
        const z = rows(x, samples);
        return z.add(rows(std, samples).mul(randn([points, ...z.shape.slice(1)])));
      });
    }),
  );
}

const DEFAULT_BATCH = 256;

/** From, and how many. */
type Part = readonly [from: number, count: number];

/** Some samples of x, as [1, count, …]. */
const rows = (x: Tensor, [from, count]: Part): Tensor => x.narrow(0, from, count).unsqueeze(0);

/** Some of a rule's places on [0, 1], as [count, 1, …] beside [1, batch, …]. */
function column({ places }: Nodes, [from, count]: Part, dims: number): Tensor {
  const shape = [count, ...Array.from({ length: dims }, () => 1)];
  return fromElements(places.slice(from, from + count), shape, "float32", "integratedGradients");
}

/** The baseline in x's shape. @throws ShapeError */
function startOfPath(x: Tensor, baseline: number | Tensor): Tensor {
  if (!(baseline instanceof Tensor)) return full(x.shape, baseline);
  requireBroadcast("integratedGradients", "baseline", baseline, x.shape);
  return baseline.detach().broadcastTo(x.shape);
}

/**
 * Σₖ wₖ·∂score/∂x(zₖ), in x's shape, for points zₖ near each sample: `at` makes some of them, [points, samples, …], for some of the
 * samples. The network is given at most batchSize rows at a time.
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
      return total!.reshape([count, ...inner]); // there is at least one point
    }),
  );
  return sums.length === 1 ? sums[0]! : concat(sums, 0);
}
