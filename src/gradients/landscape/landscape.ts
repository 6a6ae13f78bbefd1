/**
 * The shape of a loss around a point, from Hessian-vector products: extreme curvatures, trace, spectrum, and the kind
 * of critical point.
 */

import { check } from "../../runtime/arguments.ts";
import { RangeError } from "../../runtime/errors.ts";
import {
  type Eigen,
  type LanczosOptions,
  lanczos,
  type Ritz,
  rademacher,
  randomVector,
  symmetricEigen,
} from "../math/eigen.ts";
import { basis, dot, mean, norm, type Vector, variance } from "../math/vector.ts";
import type { Objective } from "../objective.ts";

/** The largest number of parameters for which the functions below compute the full Hessian and all of its eigenvalues. */
const DENSE = 200;

/** An eigenvector of the Hessian, and the second derivative along it. */
export interface Curvature {
  /** The eigenvalue. */
  readonly value: number;
  /** The eigenvector, of length 1. */
  readonly direction: Vector;
  /** ‖H·v − λ·v‖: some eigenvalue of the Hessian is at most this far from the value. */
  readonly residual: number;
}

/**
 * The largest and smallest eigenvalues of the Hessian, by Lanczos on Hessian-vector products: `count` eigenvalues at
 * each end, the most extreme first.
 *
 * ```ts
 * const { largest, smallest } = hessianExtremes(objective(model, loss), { count: 3 });
 * ```
 * Interior eigenvalues, and the smallest eigenvalues of an ill-conditioned Hessian, converge last. Check `residual`,
 * and raise `iterations` if needed.
 */
export function hessianExtremes(
  objective: Objective,
  options: LanczosOptions = {},
): {
  /** The largest eigenvalues and their directions, in descending order. */
  largest: Curvature[];
  /** The smallest eigenvalues and their directions, in ascending order. */
  smallest: Curvature[];
  /** The number of Hessian-vector products computed. */
  products: number;
} {
  check(
    "hessianExtremes",
    arguments,
    "objective:objective {iterations:number tolerance:number count:number start:numbers}",
  );
  const { count = 1 } = options;
  if (!Number.isInteger(count) || count < 1 || count > objective.size)
    throw new RangeError(`hessianExtremes: count must be a whole number from 1 to ${objective.size}, got ${count}.`);
  const ritz = lanczos((v) => objective.hvp(v), objective.size, options);
  const { values, residuals, products } = ritz;
  const at = (i: number): Curvature => ({ value: values[i]!, direction: ritz.vector(i), residual: residuals[i]! });
  const found = Math.min(count, values.length);
  return {
    largest: Array.from({ length: found }, (_, i) => at(values.length - 1 - i)),
    smallest: Array.from({ length: found }, (_, i) => at(i)),
    products,
  };
}

/**
 * Computes the full Hessian, row by row, and makes it symmetric. This takes one Hessian-vector product per parameter,
 * so use it for small models and for checks.
 */
export function denseHessian(objective: Objective): Vector {
  check("denseHessian", arguments, "objective:objective");
  const n = objective.size;
  const h = new Float64Array(n * n);
  for (let i = 0; i < n; i++) h.set(objective.hvp(basis(n, i)), i * n);
  return h.map((v, k) => (v + h[(k % n) * n + Math.floor(k / n)]!) / 2);
}

/** All eigenvalues of the Hessian, ascending, with their eigenvectors. Use it for small models. */
export function denseEigen(objective: Objective): Eigen {
  check("denseEigen", arguments, "objective:objective");
  return symmetricEigen(denseHessian(objective), objective.size);
}

/** A mean of random samples, and its standard error. */
export interface Estimate {
  /** The mean of the samples. */
  readonly value: number;
  /** The standard error of the mean. */
  readonly standardError: number;
}

/** Estimates the trace of the Hessian, the sum of all curvatures: the mean of vᵀHv over vectors v of random signs (Hutchinson 1990). */
export function hessianTrace(
  objective: Objective,
  options: {
    /** The number of random vectors to average over. Default 30. */
    samples?: number;
  } = {},
): Estimate {
  check("hessianTrace", arguments, "objective:objective {samples:number}");
  const { samples = 30 } = options;
  if (!(Number.isInteger(samples) && samples > 1))
    throw new RangeError(
      `hessianTrace: samples must be a whole number, 2 or more for a standard error, got ${samples}.`,
    );
  const products = Array.from({ length: samples }, () => {
    const v = rademacher(objective.size);
    return dot(v, objective.hvp(v));
  });
  return { value: mean(products), standardError: Math.sqrt(variance(products) / samples) };
}

/** Options for spectralDensity. */
export interface DensityOptions {
  /** The number of random starts to average over. Default 4. */
  readonly probes?: number;
  /** The number of Lanczos steps from each start. Default 60. */
  readonly iterations?: number;
  /** The number of points across the spectrum at which to evaluate the density. Default 200. */
  readonly points?: number;
  /** The standard deviation of the Gaussian that represents each eigenvalue, relative to the width of the spectrum. Default 0.01. */
  readonly width?: number;
}

/**
 * Estimates the density of the Hessian's eigenvalues, normalized to area 1, by stochastic Lanczos quadrature (Ghorbani,
 * Krishnan and Xiao 2019).
 */
export function spectralDensity(
  objective: Objective,
  options: DensityOptions = {},
): {
  /** The curvatures at which the density was computed. */
  curvatures: Vector;
  /** The density of the Hessian's eigenvalues at each of these curvatures. */
  density: Vector;
} {
  check(
    "spectralDensity",
    arguments,
    "objective:objective {probes:number iterations:number points:number width:number}",
  );
  const { probes = 4, iterations = 60, points = 200, width = 0.01 } = options;
  const runs = Array.from(
    { length: probes },
    (): Ritz =>
      lanczos((v) => objective.hvp(v), objective.size, {
        iterations,
        tolerance: 0,
        start: randomVector(objective.size),
      }),
  );
  const low = Math.min(...runs.map(({ values }) => values[0]!));
  const high = Math.max(...runs.map(({ values }) => values.at(-1)!));
  const sigma = width * Math.max(high - low, 1e-12 + 1e-6 * Math.abs(high));
  const [from, to] = [low - 4 * sigma, high + 4 * sigma];
  const curvatures = Float64Array.from({ length: points }, (_, i) => from + ((to - from) * i) / (points - 1));
  const density = curvatures.map((x) => {
    let total = 0;
    for (const { values, weights } of runs)
      values.forEach((v, i) => {
        total += weights[i]! * Math.exp(-0.5 * ((x - v) / sigma) ** 2);
      });
    return total / (probes * sigma * Math.sqrt(2 * Math.PI));
  });
  return { curvatures, density };
}

/** The kind of a point, judged by the length of its gradient and the signs of the Hessian's eigenvalues. */
export type CriticalKind =
  | "minimum"
  | "maximum"
  | "saddle"
  | "flat minimum"
  | "flat maximum"
  | "plateau"
  | "undecided"
  | "not critical";

/** A point with a small gradient, classified by its curvature. */
export interface CriticalPoint {
  /**
   * "flat minimum": some curvatures are nearly 0 and none is negative; "flat maximum": some are nearly 0 and none is
   * positive; "plateau": all are nearly 0; "undecided": the extreme eigenvalues are not accurate enough to decide, so
   * allow more iterations.
   */
  readonly kind: CriticalKind;
  /** The length of the gradient at the point. */
  readonly gradientNorm: number;
  /** The number of curvatures below 0. For a saddle, this is its index. */
  readonly index: number;
  /** Whether all curvatures were computed. If not, `index` is a lower bound. */
  readonly exact: boolean;
  /** The smallest eigenvalue of the Hessian and its direction. */
  readonly smallest: Curvature;
  /** The largest eigenvalue of the Hessian and its direction. */
  readonly largest: Curvature;
}

/** Options for classifyCriticalPoint. */
export interface CriticalOptions {
  /** A gradient whose norm is at most this value counts as 0. Default 10⁻³. */
  readonly gradientTolerance?: number;
  /**
   * Curvatures whose magnitude is at most this value count as 0. Default: 10⁻³ times the largest magnitude, but at
   * least 10⁻⁶.
   */
  readonly curvatureTolerance?: number;
  /** The number of Lanczos steps for more than 200 parameters. Default 100. */
  readonly iterations?: number;
}

/**
 * Classifies the point at the current parameters: whether the gradient vanishes, and which signs the curvatures have.
 *
 * ```ts
 * classifyCriticalPoint(objective((t) => t.square().mul(tensor([1, -1])).sum(), [0, 0]));   // saddle, index 1
 * ```
 */
export function classifyCriticalPoint(objective: Objective, options: CriticalOptions = {}): CriticalPoint {
  check(
    "classifyCriticalPoint",
    arguments,
    "objective:objective {gradientTolerance:number curvatureTolerance:number iterations:number}",
  );
  const { gradientTolerance = 1e-3, iterations = 100 } = options;
  const gradientNorm = norm(objective.gradient());
  if (!Number.isFinite(gradientNorm))
    throw new RangeError(
      `classifyCriticalPoint: the norm of the gradient must be finite, got ${gradientNorm}. Check that the loss is finite at this point.`,
    );
  const exact = objective.size <= DENSE;
  const { values, residuals, vector } = exact
    ? asRitz(denseEigen(objective))
    : lanczos((v) => objective.hvp(v), objective.size, { iterations, tolerance: 0 });
  const top = values.length - 1;
  const size = Math.max(Math.abs(values[0]!), Math.abs(values[top]!));
  const { curvatureTolerance = Math.max(1e-6, 1e-3 * size) } = options;
  // Each Ritz value below 0 implies a curvature below 0, even before it has converged (Cauchy's interlacing theorem).
  const index = values.filter((v) => v < -curvatureTolerance).length;
  const flat = values.some((v) => Math.abs(v) <= curvatureTolerance);
  const above = values[top]! > curvatureTolerance;
  const kind = (): CriticalKind => {
    if (gradientNorm > gradientTolerance) return "not critical";
    if (index && above) return "saddle";
    if (residuals[index ? top : 0]! > curvatureTolerance) return "undecided";
    if (index) return flat ? "flat maximum" : "maximum";
    if (above) return flat ? "flat minimum" : "minimum";
    return "plateau";
  };
  const at = (i: number): Curvature => ({ value: values[i]!, direction: vector(i), residual: residuals[i]! });
  return { kind: kind(), gradientNorm, index, exact, smallest: at(0), largest: at(top) };
}

/** All eigenvalues, in the format that lanczos returns. */
const asRitz = ({ values, vectors }: Eigen): Pick<Ritz, "values" | "residuals" | "vector"> => ({
  values,
  residuals: new Float64Array(values.length),
  vector: (i) => vectors[i]!,
});

/** The largest and the smallest curvature: exact for few parameters, approximated by Lanczos for many. */
function extremes(objective: Objective, options: LanczosOptions): { largest: Curvature; smallest: Curvature } {
  if (objective.size > DENSE) {
    const { largest, smallest } = hessianExtremes(objective, { iterations: 200, tolerance: 1e-7, ...options });
    return { largest: largest[0]!, smallest: smallest[0]! };
  }
  const { values, residuals, vector } = asRitz(denseEigen(objective));
  const at = (i: number): Curvature => ({ value: values[i]!, direction: vector(i), residual: residuals[i]! });
  return { largest: at(values.length - 1), smallest: at(0) };
}

/**
 * The ratio of the largest to the smallest curvature of a minimum; Infinity if the smallest is not above 0. With more
 * than 200 parameters, the result is a lower bound, because Lanczos may not reach the smallest curvature. With up to
 * 200 parameters, the options have no effect.
 */
export function conditionNumber(objective: Objective, options: LanczosOptions = {}): number {
  check(
    "conditionNumber",
    arguments,
    "objective:objective {iterations:number tolerance:number count:number start:numbers}",
  );
  const { largest, smallest } = extremes(objective, options);
  return smallest.value > 0 ? largest.value / smallest.value : Infinity;
}

/** The slope and the curvature along one direction. */
export interface Along {
  /** The direction, a unit vector. */
  readonly direction: Vector;
  /** The first derivative along the direction. */
  readonly slope: number;
  /** The second derivative along the direction. */
  readonly curvature: number;
}

/**
 * Measures a ravine: slope and curvature across it (along the eigenvector of the Hessian's largest eigenvalue) and
 * along its floor (along the eigenvector of the smallest), and the fraction of the gradient that points across the
 * ravine.
 */
export function ravine(
  objective: Objective,
  options: LanczosOptions = {},
): {
  /** Slope and curvature across the ravine. */
  across: Along;
  /** Slope and curvature along the ravine's floor. */
  along: Along;
  /** The fraction of the gradient that points across the ravine, from 0 to 1. */
  share: number;
  /** The ratio of the largest curvature to the smallest. */
  conditionNumber: number;
} {
  check("ravine", arguments, "objective:objective {iterations:number tolerance:number count:number start:numbers}");
  const gradient = objective.gradient();
  const { largest, smallest } = extremes(objective, options);
  const measure = ({ value, direction }: Curvature): Along => {
    return { direction, slope: dot(gradient, direction), curvature: value };
  };
  const [across, along] = [measure(largest), measure(smallest)];
  return {
    across,
    along,
    share: across.slope ? Math.abs(across.slope) / norm(gradient) : 0,
    conditionNumber: along.curvature > 0 ? across.curvature / along.curvature : Infinity,
  };
}
