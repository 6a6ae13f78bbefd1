/** How the scale of input features affects gradients: conditioning of least squares, standardization and whitening. */

import { tensor } from "../../core/creation.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { show } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { symmetricEigen } from "../math/eigen.ts";
import type { Vector } from "../math/vector.ts";
import type { Objective } from "../objective.ts";

/** The curvatures of a least-squares loss: the eigenvalues of XᵀX/n, with a column of ones for the bias. */
export interface Conditioning {
  /** The smallest curvature. */
  readonly smallest: number;
  /** The largest curvature. */
  readonly largest: number;
  /**
   * largest/smallest: how many times slower gradient descent is along the flattest direction than along the steepest
   * one. Infinity if features are linearly dependent.
   */
  readonly conditionNumber: number;
}

/** A transformation of input features, and its effect on conditioning. */
export interface Scaling {
  /** Applies the transformation to other inputs: [n, d] → [n, d]. */
  readonly apply: (x: Tensor) => Tensor;
  /** The mean of each feature: [d]. */
  readonly mean: Vector;
  /** The standard deviation of each feature: [d]; 0 for a constant feature. */
  readonly std: Vector;
  /** The conditioning of the original inputs, computed on first use in O(n·d² + d³) time. */
  readonly before: Conditioning;
  /** The conditioning of the transformed inputs, computed on first use. */
  readonly after: Conditioning;
}

/** Computes the mean of each feature, [d], in float64. */
function means(name: string, x: Tensor): { n: number; d: number; mean: Vector } {
  const [n, d] = x.shape;
  if (x.shape.length !== 2 || !n || !d)
    throw new ShapeError(`${name}: x must be [samples, features] with at least one of each, got ${show(x.shape)}.`);
  const values = x.data;
  const mean = new Float64Array(d);
  for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) mean[j]! += values[i * d + j]! / n;
  return { n, d, mean };
}

/** Computes the features' means, [d], and covariance, [d × d] (divided by n), in float64. */
function moments(name: string, x: Tensor): { d: number; mean: Vector; covariance: Vector } {
  const { n, d, mean } = means(name, x);
  const values = x.data;
  const covariance = new Float64Array(d * d);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < d; j++) {
      const v = (values[i * d + j]! - mean[j]!) / n;
      for (let k = 0; k < d; k++) covariance[j * d + k]! += v * (values[i * d + k]! - mean[k]!);
    }
  return { d, mean, covariance };
}

/** The conditioning of least squares with a bias. @param x [samples, features] @throws ShapeError */
export function conditioning(x: Tensor): Conditioning {
  check("conditioning", arguments, "x:tensor");
  const { d, mean, covariance } = moments("conditioning", x);
  // E[x̄·x̄ᵀ] with x̄ = (x, 1), computed as the covariance plus the products of the means.
  const size = d + 1;
  const m = new Float64Array(size * size);
  const bar = [...mean, 1];
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) m[i * size + j] = bar[i]! * bar[j]! + (i < d && j < d ? covariance[i * d + j]! : 0);
  const { values } = symmetricEigen(m, size);
  const [smallest, largest] = [values[0]!, values.at(-1)!];
  return { smallest, largest, conditionNumber: smallest > 1e-12 * largest ? largest / smallest : Infinity };
}

/**
 * A feature counts as constant if its standard deviation is below this fraction of its largest magnitude, because so
 * small a variation is rounding noise.
 */
const CONSTANT = 1e-6;

/** A scaling that holds no tensors: `apply` creates the tensors that it needs on every call. */
function scalingOf(x: Tensor, mean: Vector, std: Vector, apply: (x: Tensor) => Tensor): Scaling {
  const [values, shape] = [x.data, x.shape];
  const of = (change: (z: Tensor) => Tensor): Conditioning => tidy(() => conditioning(change(tensor(values, shape))));
  let [before, after]: (Conditioning | undefined)[] = [];
  return {
    apply: (z) => tidy(() => apply(z)),
    mean,
    std,
    get before() {
      return (before ??= of((z) => z));
    },
    get after() {
      return (after ??= of(apply));
    },
  };
}

/**
 * Shifts and scales features to mean 0 and standard deviation 1. Constant features become 0. x: [n, d].
 *
 * ```ts
 * const { apply, before, after } = standardize(x);   // x: [n, d]
 * before.conditionNumber; after.conditionNumber;     // 250000, 3.2
 * ```
 * @throws ShapeError
 */
export function standardize(x: Tensor): Scaling {
  check("standardize", arguments, "x:tensor");
  const { n, d, mean } = means("standardize", x);
  const values = x.data;
  const [squares, largest] = [new Float64Array(d), new Float64Array(d)];
  for (let i = 0; i < n; i++)
    for (let j = 0; j < d; j++) {
      const v = values[i * d + j]!;
      squares[j]! += (v - mean[j]!) ** 2 / n;
      largest[j] = Math.max(largest[j]!, Math.abs(v));
    }
  const std = squares.map((s, j) => (Math.sqrt(s) > CONSTANT * largest[j]! ? Math.sqrt(s) : 0));
  const factors = std.map((s) => (s > 0 ? 1 / s : 0));
  return scalingOf(x, mean, std, (z) => z.sub(tensor(mean)).mul(tensor(factors)));
}

export interface WhitenOptions {
  /**
   * "zca": W = Σ^(−½), which changes x the least; "pca": rotates x to its principal axes, sorted by descending
   * variance. Default "zca".
   */
  readonly kind?: "zca" | "pca";
  /** A number to add to the variances, as a fraction of the largest variance. Default 1e-8. */
  readonly epsilon?: number;
}

/**
 * Transforms features so that they have mean 0, standard deviation 1 and no correlation: W·(x − μ). x: [n, d].
 * @throws ShapeError unless x is [n, d]; RangeError if features are linearly dependent and epsilon is 0
 */
export function whiten(x: Tensor, options: WhitenOptions = {}): Scaling {
  check("whiten", arguments, "x:tensor {kind:string epsilon:number}");
  const { kind = "zca", epsilon = 1e-8 } = options;
  const { d, mean, covariance } = moments("whiten", x);
  const { values, vectors } = symmetricEigen(covariance, d);
  const added = epsilon * values.at(-1)!;
  // Eigenvalues below 10⁻¹⁰ times the largest are rounding noise.
  if (!(values[0]! + added > 1e-10 * values.at(-1)!))
    throw new RangeError(
      "whiten: some features are constant or linearly dependent. Remove them, or pass a larger epsilon.",
    );
  const scales = values.map((v) => 1 / Math.sqrt(v + added));
  // Wᵀ, by which rows are multiplied: Σᵢ sᵢ·vᵢ·vᵢᵀ for ZCA, or the matrix with columns sᵢ·vᵢ for PCA.
  const w = new Float64Array(d * d);
  vectors.forEach((v, i) => {
    const column = d - 1 - i;
    for (let j = 0; j < d; j++) {
      if (kind === "pca") w[j * d + column] = scales[i]! * v[j]!;
      else for (let k = 0; k < d; k++) w[j * d + k]! += scales[i]! * v[j]! * v[k]!;
    }
  });
  const std = Float64Array.from({ length: d }, (_, j) => Math.sqrt(covariance[j * d + j]!));
  return scalingOf(x, mean, std, (z) => z.sub(tensor(mean)).matmul(tensor(w, [d, d])));
}

/**
 * ∂L/∂θ before and after multiplying the features by factors. If a linear model keeps its predictions (because θ is
 * divided by the factors), each partial derivative is multiplied by its factor.
 * @param objectiveOf creates the objective for inputs [n, d]
 * @param factors [d]
 * @throws ShapeError
 */
export function partialsUnderScaling(
  objectiveOf: (x: Tensor) => Objective,
  x: Tensor,
  factors: readonly number[],
): {
  /** The partial derivatives before scaling. */
  before: Vector;
  /** The partial derivatives after scaling. */
  after: Vector;
} {
  check("partialsUnderScaling", arguments, "objectiveOf:function x:tensor factors:numbers");
  if (factors.length !== x.shape.at(-1))
    throw new ShapeError(
      `partialsUnderScaling: factors must have one number per feature (${x.shape.at(-1)}), got ${factors.length}.`,
    );
  return tidy(() => ({
    before: objectiveOf(x).gradient(),
    after: objectiveOf(x.mul(tensor([...factors]))).gradient(),
  }));
}
