/** Linear algebra, functions and integrals in float64, for predictions that do not use the library. */

export type Vector = readonly number[];
export type Matrix = readonly Vector[];

export const sigmoid = (z: number): number => 1 / (1 + Math.exp(-z));

export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};
export const norm = (v: ArrayLike<number>): number => Math.sqrt(dot(v, v));
export const transpose = (a: Matrix): Matrix => (a[0] ?? []).map((_, j) => a.map((row) => row[j]!));
/** a·x. */
export const times = (a: Matrix, x: ArrayLike<number>): number[] => a.map((row) => dot(row, x));
export function product(a: Matrix, b: Matrix): Matrix {
  const columns = transpose(b);
  return a.map((row) => columns.map((column) => dot(row, column)));
}

/**
 * The mean of a function over an interval, by Simpson's rule. `values` are the function's values at an odd number of
 * equally spaced points.
 */
export function simpson(values: Vector): number {
  const n = values.length - 1;
  const weight = (i: number): number => (i === 0 || i === n ? 1 : i % 2 ? 4 : 2);
  return values.reduce((sum, value, i) => sum + weight(i) * value, 0) / (3 * n);
}

/** Solves a·x = b by Gaussian elimination with partial pivoting. */
export function solve(a: Matrix, b: Vector): number[] {
  const n = b.length;
  const rows = a.map((row, i) => [...row, b[i]!]);
  for (let k = 0; k < n; k++) {
    const pivot = rows.reduce((best, row, i) => (i > k && Math.abs(row[k]!) > Math.abs(rows[best]![k]!) ? i : best), k);
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = k + 1; i < n; i++) {
      const factor = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j <= n; j++) rows[i]![j]! -= factor * rows[k]![j]!;
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let k = n - 1; k >= 0; k--) x[k] = (rows[k]![n]! - dot(rows[k]!.slice(k + 1, n), x.slice(k + 1))) / rows[k]![k]!;
  return x;
}
