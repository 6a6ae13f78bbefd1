/** Eigenvalues of symmetric matrices in float64: all of a small one by Jacobi's rotations, the extreme ones of a product by Lanczos. */
import { randn } from "../creation.ts";
import { tidy } from "../tensor.ts";
import { addScaled, dot, norm, scale, unit, type Vector, vector } from "./vector.ts";

/** Eigenvalues, ascending, and eigenvector k as vectors[k]. */
export interface Eigen {
  readonly values: Vector;
  readonly vectors: readonly Vector[];
}

/** A normal vector of n numbers, from nabla's seeded generator. */
export const randomVector = (n: number): Vector => vector(tidy(() => randn([n]).data));
/** ±1, each with probability ½. */
export const rademacher = (n: number): Vector => randomVector(n).map((v) => (v < 0 ? -1 : 1));

/**
 * All eigenvalues and vectors of a symmetric matrix (n × n, row-major), by cyclic Jacobi rotations (Golub and Van Loan 2013,
 * algorithm 8.5.2). Of order n³ a sweep: for n up to a few hundred.
 */
export function symmetricEigen(matrix: ArrayLike<number>, n: number): Eigen {
  const a = vector(matrix);
  const rows = Array.from({ length: n }, (_, i) => {
    const row = new Float64Array(n);
    row[i] = 1;
    return row;
  });
  const size = norm(a);
  for (let sweep = 0; sweep < 60; sweep++) {
    let off = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) off += 2 * a[i * n + j]! ** 2;
    if (Math.sqrt(off) <= 1e-15 * size) break;
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) rotate(a, rows, n, p, q);
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => a[i * n + i]! - a[j * n + j]!);
  return {
    values: Float64Array.from(order, (i) => a[i * n + i]!),
    vectors: order.map((i) => rows[i]!),
  };
}

/** Makes a[p, q] zero: a ← Jᵀ·a·J, and the same turn of the vectors. */
function rotate(a: Vector, vectors: readonly Vector[], n: number, p: number, q: number): void {
  const apq = a[p * n + q]!;
  if (apq === 0) return;
  const tau = (a[q * n + q]! - a[p * n + p]!) / (2 * apq);
  const t = (tau >= 0 ? 1 : -1) / (Math.abs(tau) + Math.sqrt(1 + tau * tau));
  const c = 1 / Math.sqrt(1 + t * t);
  const s = t * c;
  for (let k = 0; k < n; k++) {
    const [x, y] = [a[k * n + p]!, a[k * n + q]!];
    a[k * n + p] = c * x - s * y;
    a[k * n + q] = s * x + c * y;
  }
  for (let k = 0; k < n; k++) {
    const [x, y] = [a[p * n + k]!, a[q * n + k]!];
    a[p * n + k] = c * x - s * y;
    a[q * n + k] = s * x + c * y;
  }
  const [u, v] = [vectors[p]!, vectors[q]!];
  for (let k = 0; k < n; k++) {
    const [x, y] = [u[k]!, v[k]!];
    u[k] = c * x - s * y;
    v[k] = s * x + c * y;
  }
}

export interface LanczosOptions {
  /** Products at most. Default 100, or n if that is less. */
  readonly iterations?: number;
  /** Ends when the wanted values' residuals are below this, in proportion to the largest |value|. Default 10⁻⁵. */
  readonly tolerance?: number;
  /** How many values at each end must have come that far. Default 1. */
  readonly count?: number;
  /** Where to start. Default: a random vector. */
  readonly start?: Vector;
}

/** What Lanczos found: Ritz values, ascending. */
export interface Ritz {
  readonly values: Vector;
  /** The vector of value i, of unit length. */
  vector(i: number): Vector;
  /** ‖A·v − λ·v‖ of each: an eigenvalue lies that near. */
  readonly residuals: Vector;
  /** The squared first components of the tridiagonal matrix's vectors: the weights of a Gauss quadrature over the spectrum. */
  readonly weights: Vector;
  readonly products: number;
}

/**
 * Eigenvalues of a symmetric matrix that is known by its products with vectors: those at both ends come first (Lanczos 1950), with
 * every vector made orthogonal to all before.
 */
export function lanczos(
  product: (v: Vector) => Vector,
  n: number,
  { iterations = 100, tolerance = 1e-5, count = 1, start = randomVector(n) }: LanczosOptions = {},
): Ritz {
  const limit = Math.min(n, iterations);
  const q: Vector[] = [unit(start)];
  const [alpha, beta]: [number[], number[]] = [[], []];
  for (;;) {
    const k = alpha.length;
    const w = vector(product(q[k]!));
    alpha.push(dot(w, q[k]!));
    // Twice is enough (Kahan and Parlett).
    for (let pass = 0; pass < 2; pass++) for (const v of q) addScaled(w, v, -dot(w, v));
    const rest = norm(w);
    const last = alpha.length === limit || rest <= 1e-7 * Math.max(...alpha.map(Math.abs), ...beta, 1e-300);
    if (last || alpha.length % 5 === 0) {
      const ritz = ritzOf(alpha, beta, rest, q);
      if (last || converged(ritz, count, tolerance)) return { ...ritz, products: alpha.length };
    }
    beta.push(rest);
    q.push(scale(w, 1 / rest));
  }
}

function converged(
  { values, residuals }: Pick<Ritz, "values" | "residuals">,
  count: number,
  tolerance: number,
): boolean {
  const size = Math.max(Math.abs(values[0]!), Math.abs(values.at(-1)!));
  const k = values.length;
  if (k < 2 * count) return false;
  return Array.from({ length: count }, (_, i) => Math.max(residuals[i]!, residuals[k - 1 - i]!)).every(
    (r) => r <= tolerance * size,
  );
}

function ritzOf(
  alpha: readonly number[],
  beta: readonly number[],
  rest: number,
  q: readonly Vector[],
): Omit<Ritz, "products"> {
  const k = alpha.length;
  const t = new Float64Array(k * k);
  alpha.forEach((a, i) => {
    t[i * k + i] = a;
    if (i < k - 1) t[i * k + i + 1] = t[(i + 1) * k + i] = beta[i]!;
  });
  const { values, vectors } = symmetricEigen(t, k);
  return {
    values,
    residuals: Float64Array.from(vectors, (s) => Math.abs(rest * s[k - 1]!)),
    weights: Float64Array.from(vectors, (s) => s[0]! ** 2),
    vector(i) {
      const sum = new Float64Array(q[0]!.length);
      vectors[i]!.forEach((factor, j) => addScaled(sum, q[j]!, factor));
      return unit(sum);
    },
  };
}
