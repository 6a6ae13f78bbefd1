/**
 * What optimizers that believe in a quadratic model of the loss share: how far to go along given directions, and how much to trust the
 * model, by what it promised and what came (Levenberg and Marquardt; Martens and Grosse 2015, §6.4–7).
 */

import { stateError } from "../../optim/optimizerState.ts";
import { requireRange } from "../../runtime/errors.ts";
import { dot, plus, scale, type Vector } from "../math/vector.ts";
import { type Likelihood, likelihoodOf } from "./likelihood.ts";

/** Options of both. */
export interface NaturalOptions {
  readonly likelihood: Likelihood;
  readonly lr: number;
  readonly damping: number;
}
/** @throws RangeError where one is out of range */
export function requireNatural(name: string, { likelihood, lr, damping }: NaturalOptions): void {
  likelihoodOf(likelihood);
  requireRange(name, { damping }, (v) => v > 0 && v < Number.POSITIVE_INFINITY, "above 0, and finite");
  requireRange(name, { lr }, (v) => v > 0 && v < 2, "above 0 and below 2");
}
/** What the outputs mean belongs to the model, not to a state. @throws Error */
export function requireSameLikelihood(name: string, own: NaturalOptions, saved: NaturalOptions): void {
  if (own.likelihood !== saved.likelihood) throw stateError(name, `has the likelihood "${saved.likelihood}"`);
}

/** A step, and what the quadratic model says it changes of the loss. */
export interface Step {
  readonly delta: Vector;
  /** Below 0. */
  readonly predicted: number;
}

/**
 * The best combination of one or two directions under M(δ) = ∇L·δ + ½·δᵀ(F + λ)δ.
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
  // At the minimum along these directions M is half its slope.
  return { delta, predicted: 0.5 * slopes.reduce((total, s, i) => total + s * weights[i]!, 0) };
}

/** One or two equations; of two that depend on each other the first only. */
function solve(m: readonly (readonly number[])[], b: readonly number[]): number[] {
  const first = (): number[] => [m[0]![0]! > 0 ? b[0]! / m[0]![0]! : 0, ...b.slice(1).map(() => 0)];
  if (b.length < 2) return first();
  const [[a, c], [d, e]] = m as [[number, number], [number, number]];
  const determinant = a * e - c * d;
  if (!(determinant > 1e-6 * a * e)) return first();
  return [(b[0]! * e - c * b[1]!) / determinant, (a * b[1]! - d * b[0]!) / determinant];
}

/** Bounds of λ. */
const [LEAST, MOST] = [1e-8, 1e6];

/**
 * λ after lr times a step: less where the loss fell as the model said it would, more where it did not, the same where it said less than
 * the loss's rounding. Along the step M(lr·δ) = lr·(2 − lr)·M(δ), since δ is its minimum.
 */
export function adaptDamping(
  damping: number,
  { predicted }: Step,
  { before, after, noise, lr, factor }: { before: number; after: number; noise: number; lr: number; factor: number },
): number {
  const promised = lr * (2 - lr) * predicted;
  if (Number.isFinite(after) && Math.abs(promised) <= noise) return damping;
  const ratio = promised < 0 ? (after - before) / promised : 0;
  if (ratio > 0.75) return Math.max(damping * factor, LEAST);
  return ratio >= 0.25 ? damping : Math.min(damping / factor, MOST);
}
