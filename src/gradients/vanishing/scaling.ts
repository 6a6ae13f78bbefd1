/** What the scale of inputs does to gradients: conditioning before and after, feature by feature, and weights against biases. */

import { onesLike } from "../../autograd/backward.ts";
import { tensor } from "../../core/creation.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { Linear } from "../../nn/layers.ts";
import type { Module } from "../../nn/module.ts";
import { show } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { arrivals, asPositions, observed } from "../backpropagation/layers.ts";
import { symmetricEigen } from "../math/eigen.ts";
import { norm, type Vector } from "../math/vector.ts";
import type { Objective } from "../objective.ts";

/** The curvatures that least squares has on inputs: those of XᵀX/n, with a column of ones for the bias. */
export interface Conditioning {
  /** The smallest eigenvalue of the inputs' second moments. */
  readonly smallest: number;
  /** The largest eigenvalue of the inputs' second moments. */
  readonly largest: number;
  /** Their ratio: how much longer gradient descent takes along the floor of the ravine. Infinity for inputs that depend on each other. */
  readonly conditionNumber: number;
}

/** How the inputs were changed, and what it did. */
export interface Scaling {
  /** The same change, of inputs to come: [n, d] → [n, d]. */
  readonly apply: (x: Tensor) => Tensor;
  /** Of each feature: [d]. */
  readonly mean: Vector;
  /** The standard deviation of each feature before scaling. */
  readonly std: Vector;
  /** Of the inputs given. Computed when first asked for: of order n·d² + d³. */
  readonly before: Conditioning;
  /** The conditioning of the scaled inputs. */
  readonly after: Conditioning;
}

/** Means [d], in float64. */
function means(name: string, x: Tensor): { n: number; d: number; mean: Vector } {
  const [n, d] = x.shape;
  if (x.shape.length !== 2 || !n || !d)
    throw new ShapeError(
      `${name}: the inputs are ${show(x.shape)}, but must be [samples, features], one or more of each.`,
    );
  const values = x.data;
  const mean = new Float64Array(d);
  for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) mean[j]! += values[i * d + j]! / n;
  return { n, d, mean };
}

/** Means [d] and covariance [d × d] (divided by n), in float64. */
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

/** The conditioning of least squares with a bias on inputs x: [samples, features]. @throws ShapeError */
export function conditioning(x: Tensor): Conditioning {
  check("conditioning", arguments, "x:tensor");
  const { d, mean, covariance } = moments("conditioning", x);
  // E[x̄·x̄ᵀ] with x̄ = (x, 1): the covariance and the means' products.
  const size = d + 1;
  const m = new Float64Array(size * size);
  const bar = [...mean, 1];
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) m[i * size + j] = bar[i]! * bar[j]! + (i < d && j < d ? covariance[i * d + j]! : 0);
  const { values } = symmetricEigen(m, size);
  const [smallest, largest] = [values[0]!, values.at(-1)!];
  return { smallest, largest, conditionNumber: smallest > 1e-12 * largest ? largest / smallest : Infinity };
}

/** Standard deviations this small by the largest value are rounding: the feature never changes. */
const CONSTANT = 1e-6;

/** A scaling that holds no tensors: they are made when it is applied. */
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
 * Features of mean 0 and standard deviation 1; one that never changes becomes 0.
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

/**
 * Features of mean 0, standard deviation 1 and no correlation: W·(x − μ) with W = Σ^(−½), the whitening that changes x least (ZCA), or
 * along principal axes, the largest first (PCA).
 * @throws ShapeError; RangeError where features depend on each other and epsilon is 0
 */
export function whiten(
  x: Tensor,
  options: {
    /** "zca" stays close to the inputs; "pca" returns principal components. Default "zca". */
    readonly kind?: "zca" | "pca";
    /** Added to variances, in proportion to the largest. */
    readonly epsilon?: number;
  } = {},
): Scaling {
  check("whiten", arguments, "x:tensor {kind:string epsilon:number}");
  const { kind = "zca", epsilon = 1e-8 } = options;
  const { d, mean, covariance } = moments("whiten", x);
  const { values, vectors } = symmetricEigen(covariance, d);
  const added = epsilon * values.at(-1)!;
  // Below this an eigenvalue is rounding.
  if (!(values[0]! + added > 1e-10 * values.at(-1)!))
    throw new RangeError(
      "whiten: some features are combinations of others, or never change. Leave them out, or give an epsilon.",
    );
  const scales = values.map((v) => 1 / Math.sqrt(v + added));
  // The transposed matrix, for rows: Σᵢ sᵢ·vᵢ·vᵢᵀ, or columns sᵢ·vᵢ.
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
 * ∂L/∂θ before and after the features were multiplied by factors: for a linear model whose predictions stay the same (θ divided by them),
 * each partial grows by its factor.
 * @param objectiveOf the loss of parameters on inputs [n, d]
 */
export function partialsUnderScaling(
  objectiveOf: (x: Tensor) => Objective,
  x: Tensor,
  factors: readonly number[],
): {
  /** The partial derivatives before the scaling. */
  before: Vector;
  /** The partial derivatives after the scaling. */
  after: Vector;
} {
  check("partialsUnderScaling", arguments, "objectiveOf:function x:tensor factors:numbers");
  if (factors.length !== x.shape.at(-1))
    throw new ShapeError(`partialsUnderScaling: ${factors.length} factors for ${x.shape.at(-1)} features.`);
  return tidy(() => ({
    before: objectiveOf(x).gradient(),
    after: objectiveOf(x.mul(tensor([...factors]))).gradient(),
  }));
}

/** A linear layer's gradients by weight and by bias. */
export interface WeightBias {
  /** The name of the layer that has both. */
  readonly name: string;
  /** ‖∂L/∂W‖. */
  readonly weight: number;
  /** ‖∂L/∂b‖. */
  readonly bias: number;
  /** Their ratio: of one sample exactly the length of its input, since ∂L/∂W = g·xᵀ and ∂L/∂b = g. */
  readonly ratio: number;
  /** The root of the mean squared length of what went in. */
  readonly inputLength: number;
}

/**
 * Weights against biases, for each Linear layer with a bias: which of them a step moves more.
 * @param loss one number, from a forward pass of the model
 */
export function weightsAgainstBiases(model: Module, loss: () => Tensor): WeightBias[] {
  check("weightsAgainstBiases", arguments, "model:module loss:function");
  return tidy(() => {
    const { result, passes } = observed(model, (module) => module instanceof Linear && module.bias !== null, loss);
    const arrived = arrivals(result, onesLike(result), passes);
    return passes.map(({ name, input }, i) => {
      const [x, g] = [asPositions(input), asPositions(arrived[i]!)];
      const [rows, gradients] = [x.reshape([-1, x.shape[2]!]), g.reshape([-1, g.shape[2]!])];
      const lengthOf = (t: Tensor): number => norm(Float64Array.from(t.live()));
      const [weight, bias] = [lengthOf(gradients.t().matmul(rows)), lengthOf(gradients.sum(0))];
      return { name, weight, bias, ratio: weight / bias, inputLength: lengthOf(rows) / Math.sqrt(rows.shape[0]!) };
    });
  });
}
