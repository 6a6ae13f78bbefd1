/** Vectors in float64, for the algorithms that use gradients: Lanczos, conjugate gradients, integrators. */

import { concatenate, dot } from "../../optim/vectors.ts";
import { RangeError } from "../../runtime/errors.ts";

export { concatenate, dot };
/** A vector in float64. */
export type Vector = Float64Array;

export const vector = (values: ArrayLike<number>): Vector => new Float64Array(values);
export const norm = (a: Vector): number => Math.sqrt(dot(a, a));
// These functions use loops because map with a callback is several times slower.
export function scale(a: Vector, factor: number): Vector {
  const y = new Float64Array(a.length);
  for (let i = 0; i < y.length; i++) y[i] = a[i]! * factor;
  return y;
}
/** a + factor·b. */
export function plus(a: Vector, b: Vector, factor = 1): Vector {
  const y = new Float64Array(a.length);
  for (let i = 0; i < y.length; i++) y[i] = a[i]! + factor * b[i]!;
  return y;
}
/** a ← a + factor·b. */
export function addScaled(a: Vector, b: Vector, factor: number): void {
  for (let i = 0; i < a.length; i++) a[i]! += factor * b[i]!;
}
export const minus = (a: Vector, b: Vector): Vector => plus(a, b, -1);
/** a/‖a‖. @throws RangeError if the length of a is zero or not finite */
export function unit(a: Vector): Vector {
  const length = norm(a);
  if (!(length > 0 && Number.isFinite(length)))
    throw new RangeError(`direction: the length must be finite and above 0, got ${length}.`);
  return scale(a, 1 / length);
}
/** a·b/(‖a‖‖b‖); 0 if either is zero. */
export function cosine(a: Vector, b: Vector): number {
  const lengths = norm(a) * norm(b);
  return lengths > 0 ? dot(a, b) / lengths : 0;
}
/** Basis vector i in n dimensions. */
export function basis(n: number, i: number): Vector {
  const e = new Float64Array(n);
  e[i] = 1;
  return e;
}
export const mean = (a: ArrayLike<number>): number => {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i]!;
  return total / a.length;
};
/** The mean of vectors of equal length. */
export function meanOf(rows: readonly ArrayLike<number>[]): Vector {
  const total = new Float64Array(rows[0]?.length ?? 0);
  for (const row of rows) for (let i = 0; i < total.length; i++) total[i]! += row[i]!;
  return scale(total, 1 / rows.length);
}
/** The unbiased variance. */
export function variance(a: ArrayLike<number>): number {
  const centre = mean(a);
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i]! - centre) ** 2;
  return total / (a.length - 1);
}
/** The middle value, or the mean of the two middle values. */
export function median(a: ArrayLike<number>): number {
  const sorted = Float64Array.from(a).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
/** The slope of the least-squares line through points. */
export function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const [cx, cy] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))];
  let [top, bottom] = [0, 0];
  for (const [x, y] of points) {
    top += (x - cx) * (y - cy);
    bottom += (x - cx) ** 2;
  }
  return top / bottom;
}
