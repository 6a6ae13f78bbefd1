/**
 * How noise lets gradient descent escape from saddle points: a run with noise, and the escape time that theory
 * predicts.
 */

import { check } from "../../runtime/arguments.ts";
import { RangeError } from "../../runtime/errors.ts";
import { randomVector } from "../math/eigen.ts";
import { minus, norm, plus, type Vector } from "../math/vector.ts";
import type { Objective } from "../objective.ts";

/** Options for escape. */
export interface EscapeOptions {
  /** The learning rate, above 0. Required. */
  readonly lr: number;
  /** The standard deviation σ of the noise on each component of the gradient, ≥ 0; 0 is plain gradient descent. Required. */
  readonly noise: number;
  /** The distance from the start at which θ counts as escaped, above 0. Required. */
  readonly distance: number;
  /** The maximum number of steps. Default 10,000. */
  readonly maxSteps?: number;
  /** Called with θ after each step. Default: none. */
  readonly onStep?: (theta: Vector) => void;
}

/** The result of `escape`. */
export interface Escape {
  /** The number of steps to escape; Infinity if θ did not escape. */
  readonly steps: number;
  /** The distance from the start, before the first step and after each step. */
  readonly distances: readonly number[];
}

function requireEscape(name: string, { lr, noise, distance }: EscapeOptions): void {
  if (!(lr > 0 && noise >= 0 && distance > 0))
    throw new RangeError(
      `${name}: lr and distance must be above 0 and noise at least 0, got ${lr}, ${distance} and ${noise}.`,
    );
}

/**
 * Runs noisy gradient descent θ ← θ − lr·(∇L(θ) + σξ), ξ ~ N(0, I), from the current parameters until θ is `distance`
 * away from them (Jin et al. 2017, with noise at every step). The parameters keep their values.
 * @throws RangeError for an invalid option
 */
export function escape(objective: Objective, options: EscapeOptions): Escape {
  check(
    "escape",
    arguments,
    "objective:objective {lr!:number noise!:number distance!:number maxSteps:number onStep:function}",
  );
  requireEscape("escape", options);
  const { lr, noise, distance, maxSteps = 10_000, onStep } = options;
  const start = objective.theta;
  const distances = [0];
  let theta = start;
  for (let step = 1; step <= maxSteps; step++) {
    const gradient = objective.gradient(theta);
    theta = plus(theta, noise ? plus(gradient, randomVector(objective.size), noise) : gradient, -lr);
    onStep?.(theta);
    distances.push(norm(minus(theta, start)));
    if (distances[step]! >= distance) return { steps: step, distances };
  }
  return { steps: Infinity, distances };
}

/**
 * The median number of steps that `escape` takes from a saddle whose most negative curvature is −h. Along that
 * direction, xₜ₊₁ = a·xₜ + lr·σ·ξ with a = 1 + lr·h, so xₜ is normal with variance (lr·σ)²·(a²ᵗ − 1)/(a² − 1). |xₜ|
 * exceeds the distance with probability ½ once the standard deviation is distance/0.6745.
 * @param curvature −h, below 0
 * @throws RangeError for an invalid option or a curvature that is not below 0
 */
export function predictedEscape(curvature: number, options: EscapeOptions): number {
  check(
    "predictedEscape",
    arguments,
    "curvature:number {lr!:number noise!:number distance!:number maxSteps:number onStep:function}",
  );
  requireEscape("predictedEscape", options);
  const { lr, noise, distance } = options;
  const a = 1 + lr * Math.abs(curvature);
  if (!(curvature < 0)) throw new RangeError(`predictedEscape: curvature must be below 0, got ${curvature}.`);
  const growth = ((distance / 0.6744897501960817) ** 2 * (a * a - 1)) / (lr * noise) ** 2;
  return Math.log1p(growth) / (2 * Math.log(a));
}
