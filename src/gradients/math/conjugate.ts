/** Linear systems by products alone: the conjugate gradient method (Hestenes and Stiefel 1952). */

import { check } from "../../runtime/arguments.ts";
import { RangeError } from "../../runtime/errors.ts";
import { dot, norm, plus, type Vector } from "./vector.ts";

/** When conjugateGradient stops. */
export interface ConjugateOptions {
  /** λ ≥ 0, added to the matrix's diagonal. Default 0. */
  readonly damping?: number;
  /** Products at most. Default 50. */
  readonly iterations?: number;
  /** Ends where ‖b − Ax‖ ≤ tolerance·‖b‖. Default 10⁻⁵. */
  readonly tolerance?: number;
  /** Where to begin. Default 0. */
  readonly start?: Vector;
}

/** What conjugateGradient found. */
export interface Solution {
  /** The solution. */
  readonly x: Vector;
  /** Iterations until the residual was small enough. */
  readonly iterations: number;
  /** ‖b − (A + λ)x‖/‖b‖, as the recurrence has it. */
  readonly residual: number;
}

/**
 * x with (A + λ)·x = b, A symmetric and positive semidefinite, known by its products. Ends early where a direction has no curvature
 * above 0.
 */
export function conjugateGradient(product: (v: Vector) => Vector, b: Vector, options: ConjugateOptions = {}): Solution {
  check(
    "conjugateGradient",
    arguments,
    "product:function b:numbers {damping:number iterations:number tolerance:number start:numbers}",
  );
  const { damping = 0, iterations = 50, tolerance = 1e-5, start } = options;
  const damped = (v: Vector): Vector => plus(product(v), v, damping);
  const size = norm(b);
  if (!Number.isFinite(size))
    throw new RangeError(`conjugateGradient: the right-hand side's norm is ${size}. Is the loss finite here?`);
  let x = start ?? new Float64Array(b.length);
  let r = start ? plus(b, damped(start), -1) : b;
  let p = r;
  let rr = dot(r, r);
  let done = 0;
  while (done < iterations && Math.sqrt(rr) > tolerance * size) {
    const ap = damped(p);
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
