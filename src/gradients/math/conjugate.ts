/** Solves linear systems with matrix-vector products only: the conjugate gradient method (Hestenes and Stiefel 1952). */

import { check } from "../../runtime/arguments.ts";
import { RangeError } from "../../runtime/errors.ts";
import { dot, norm, plus, type Vector } from "./vector.ts";

/** Options for conjugateGradient. */
export interface ConjugateOptions {
  /** λ ≥ 0, added to the matrix's diagonal. Default 0. */
  readonly damping?: number;
  /** The maximum number of matrix-vector products. Default 50. */
  readonly iterations?: number;
  /** Stops when ‖b − (A + λ)x‖ ≤ tolerance·‖b‖. Default 10⁻⁵. */
  readonly tolerance?: number;
  /** The initial x. Default 0. */
  readonly start?: Vector;
}

/** The result of conjugateGradient. */
export interface Solution {
  /** The solution. */
  readonly x: Vector;
  /** The number of iterations used. */
  readonly iterations: number;
  /** ‖b − (A + λ)x‖/‖b‖, as computed by the recurrence. */
  readonly residual: number;
}

/**
 * Solves (A + λ)·x = b for a symmetric positive semidefinite matrix A, from a function that multiplies A by a vector.
 * Stops early if the curvature along a direction is not above 0.
 */
export function conjugateGradient(product: (v: Vector) => Vector, b: Vector, options: ConjugateOptions = {}): Solution {
  check(
    "conjugateGradient",
    arguments,
    "product:function b:numbers {damping:number iterations:number tolerance:number start:numbers}",
  );
  const { damping = 0, iterations = 50, tolerance = 1e-5, start } = options;
  const dampedProduct = (v: Vector): Vector => plus(product(v), v, damping);
  const size = norm(b);
  if (!Number.isFinite(size))
    throw new RangeError(
      `conjugateGradient: the norm of b must be finite, got ${size}. Check that the loss is finite at this point.`,
    );
  let x = start ?? new Float64Array(b.length);
  let r = start ? plus(b, dampedProduct(start), -1) : b;
  let p = r;
  let rr = dot(r, r);
  let done = 0;
  while (done < iterations && Math.sqrt(rr) > tolerance * size) {
    const ap = dampedProduct(p);
    const curvature = dot(p, ap);
    done++;
    if (!(curvature > 0)) break;
    const alpha = rr / curvature;
    x = plus(x, p, alpha);
    r = plus(r, ap, -alpha);
    const next = dot(r, r);
    p = plus(r, p, next / rr);
    rr = next;
  }
  return { x, iterations: done, residual: size > 0 ? Math.sqrt(rr) / size : 0 };
}
