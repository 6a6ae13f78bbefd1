/**
 * Steps from a quadratic model of the loss, shared by KFAC and NaturalGradient: the best step along given directions, and the damping, which
 * depends on how well the model predicts the loss (Levenberg and Marquardt; Martens and Grosse 2015, §6.4–7).
 */

import { stateError } from "../../optim/optimizerState.ts";
import { requireRange } from "../../runtime/errors.ts";
import { dot, plus, scale, type Vector } from "../math/vector.ts";
import { type Likelihood, likelihoodOf } from "./likelihood.ts";

/** Options that KFAC and NaturalGradient share. */
export interface NaturalOptions {
  readonly likelihood: Likelihood;
  readonly lr: number;
  readonly damping: number;
}
/** @throws RangeError if an option is out of range */
export function requireNatural(name: string, { likelihood, lr, damping }: NaturalOptions): void {
  likelihoodOf(likelihood);
  requireRange(name, { damping }, (v) => v > 0 && v < Number.POSITIVE_INFINITY, "finite and above 0");
  requireRange(name, { lr }, (v) => v > 0 && v < 2, "above 0 and below 2");
}
/** Requires a saved state to have the optimizer's likelihood, which depends on the model. @throws Error */
export function requireSameLikelihood(name: string, own: NaturalOptions, saved: NaturalOptions): void {
  if (own.likelihood !== saved.likelihood) throw stateError(name, `has the likelihood "${saved.likelihood}"`);
}

/** A step, and the change in the loss that the quadratic model predicts. */
export interface Step {
  readonly delta: Vector;
  /** Always below 0. */
  readonly predicted: number;
}

/**
 * The combination of one or two directions that minimizes M(δ) = ∇L·δ + ½·δᵀ(F + λ)δ.
 * @param form uᵀ·F·v for all pairs of the directions
 */
export function bestStep(
  gradient: Vector,
  directions: readonly Vector[],
  form: readonly (readonly number[])[],
  damping: number,
): Step {
  const slopes = directions.map((d) => dot(gradient, d));
  const m = directions.map((a, i) => directions.map((b, j) => form[i]![j]! + damping * dot(a, b)));
  const weights = solve(
    m,
    slopes.map((s) => -s),
  );
  const delta = directions.reduce((sum, d, i) => plus(sum, d, weights[i]!), scale(gradient, 0));
  // At the minimum over these directions, M is half of ∇L·δ.
  return { delta, predicted: 0.5 * slopes.reduce((total, s, i) => total + s * weights[i]!, 0) };
}

/** Solves one or two linear equations. Uses only the first equation if the two are dependent. */
function solve(m: readonly (readonly number[])[], b: readonly number[]): number[] {
  const first = (): number[] => [m[0]![0]! > 0 ? b[0]! / m[0]![0]! : 0, ...b.slice(1).map(() => 0)];
  if (b.length < 2) return first();
  const [[a, c], [d, e]] = m as [[number, number], [number, number]];
  const determinant = a * e - c * d;
  if (!(determinant > 1e-6 * a * e)) return first();
  return [(b[0]! * e - c * b[1]!) / determinant, (a * b[1]! - d * b[0]!) / determinant];
}

/** Bounds on λ. */
const [LEAST, MOST] = [1e-8, 1e6];

/**
 * The new λ after a step that is scaled by lr: smaller if the loss fell as the model predicted, larger if it did not,
 * unchanged if the prediction is below the rounding error of the loss. M(lr·δ) = lr·(2 − lr)·M(δ), because δ minimizes
 * M.
 */
export function adaptDamping(
  damping: number,
  { predicted }: Step,
  { before, after, noise, lr, factor }: { before: number; after: number; noise: number; lr: number; factor: number },
): number {
  const expected = lr * (2 - lr) * predicted;
  if (Number.isFinite(after) && Math.abs(expected) <= noise) return damping;
  const ratio = expected < 0 ? (after - before) / expected : 0;
  if (ratio > 0.75) return Math.max(damping * factor, LEAST);
  return ratio >= 0.25 ? damping : Math.min(damping / factor, MOST);
}
