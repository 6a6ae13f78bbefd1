/** Leaving a saddle by noise: gradient descent with a random push at each step, and how long it takes by theory. */

import { check } from "../../runtime/arguments.ts";
import { RangeError } from "../../runtime/errors.ts";
import { randomVector } from "../math/eigen.ts";
import { minus, norm, plus, type Vector } from "../math/vector.ts";
import type { Objective } from "../objective.ts";

/** Options of escape. */
export interface EscapeOptions {
  /** The learning rate of each noisy step. */
  readonly lr: number;
  /** σ: the standard deviation of what is added to each component of the gradient. 0 is plain gradient descent. */
  readonly noise: number;
  /** It has escaped when it is this far from where it started. */
  readonly distance: number;
  /** Steps after which it gives up. Default 10,000. */
  readonly maxSteps?: number;
  /** Told θ after each step. */
  readonly onStep?: (theta: Vector) => void;
}
/** How noisy gradient descent left a saddle. */
export interface Escape {
  /** Steps taken to get there; Infinity where it did not. */
  readonly steps: number;
  /** How far away after each step, the start first. */
  readonly distances: readonly number[];
}

function requireEscape({ lr, noise, distance }: EscapeOptions): void {
  if (!(lr > 0 && noise >= 0 && distance > 0))
    throw new RangeError(`escape: lr ${lr}, noise ${noise}, distance ${distance}: must be above 0 (noise: 0 or more).`);
}

/**
 * θ ← θ − lr·(∇L(θ) + σξ), ξ normal, from where the parameters are, until they are `distance` away (as in Jin et al. 2017, with noise
 * at every step). The parameters are put back.
 */
export function escape(objective: Objective, options: EscapeOptions): Escape {
  check(
    "escape",
    arguments,
    "objective:objective {lr!:number noise!:number distance!:number maxSteps:number onStep:function}",
  );
  requireEscape(options);
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
 * The median of the steps that `escape` takes from a saddle, along the direction of its most negative curvature −h: there
 * xₜ₊₁ = (1 + lr·h)·xₜ + lr·σ·ξ is normal with variance (lr·σ)²·(a²ᵗ − 1)/(a² − 1), a = 1 + lr·h, and is beyond the distance with
 * probability ½ when its standard deviation is distance/0.6745.
 */
export function predictedEscape(curvature: number, options: EscapeOptions): number {
  check(
    "predictedEscape",
    arguments,
    "curvature:number {lr!:number noise!:number distance!:number maxSteps:number onStep:function}",
  );
  requireEscape(options);
  const { lr, noise, distance } = options;
  const a = 1 + lr * Math.abs(curvature);
  if (!(curvature < 0)) throw new RangeError(`predictedEscape: the curvature is ${curvature}, but must be below 0.`);
  const growth = ((distance / 0.6744897501960817) ** 2 * (a * a - 1)) / (lr * noise) ** 2;
  return Math.log1p(growth) / (2 * Math.log(a));
}
