/**
 * Eigenvalues of symmetric matrices in float64: all eigenvalues of a small matrix, or the extreme eigenvalues of a
 * large one from matrix-vector products.
 */

import { randn } from "../../core/creation.ts";
import { tidy } from "../../core/scope.ts";
import { check } from "../../runtime/arguments.ts";
import { RangeError } from "../../runtime/errors.ts";
import { addScaled, basis, dot, norm, plus, scale, unit, type Vector, vector } from "./vector.ts";

/** The eigenvalues and eigenvectors of a symmetric matrix. */
export interface Eigen {
  /** The eigenvalues, ascending. */
  readonly values: Vector;
  /** The eigenvector of each eigenvalue, of length 1. */
  readonly vectors: readonly Vector[];
}

/** n normally distributed numbers from nabla's seeded generator. */
export const randomVector = (n: number): Vector => vector(tidy(() => randn([n]).data));
/**
 * n normally distributed numbers that are the same on every call. They come from a separate generator (mulberry32), so that analysing a
 * landscape does not change the random numbers of a training run.
 */
function startVector(n: number, seed: number): Vector {
  let state = (seed + 1) * 0x9e3779b9;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  // The Box–Muller transform (Box and Muller 1958).
  return Float64Array.from(
    { length: n },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** ±1, each with probability ½. */
export const rademacher = (n: number): Vector => randomVector(n).map((v) => (v < 0 ? -1 : 1));

/**
 * All eigenvalues and eigenvectors of a symmetric matrix (n × n, row-major): Householder's reduction to a tridiagonal
 * matrix, then implicit QL steps (Golub and Van Loan 2013, algorithms 8.3.1 and 8.3.2). Takes O(n³) time: use it for n
 * up to a few hundred.
 * @throws RangeError if an element is not finite
 */
export function symmetricEigen(matrix: ArrayLike<number>, n: number): Eigen {
  check("symmetricEigen", arguments, "matrix:numbers n:number");
  // tridiagonalize replaces rows[j] with column j of Q, the product of all reflections, so each column is contiguous in
  // memory.
  const rows = Array.from({ length: n }, (_, i) => Float64Array.from({ length: n }, (_, j) => matrix[i * n + j]!));
  if (rows.some((row) => !row.every(Number.isFinite)))
    throw new RangeError("symmetricEigen: the matrix has elements that are not finite. Replace NaN and infinities.");
  const { diagonal, below } = tridiagonalize(rows);
  return tridiagonalEigen(diagonal, below, rows);
}

/** Factors a symmetric matrix as Q·T·Qᵀ with T tridiagonal. Overwrites the rows of the matrix with the rows of Qᵀ. */
function tridiagonalize(a: readonly Vector[]): { diagonal: Vector; below: Vector } {
  const n = a.length;
  const reflections: { v: Vector; beta: number }[] = [];
  const below = new Float64Array(Math.max(0, n - 1));
  for (let k = 0; k < n - 2; k++) {
    // The reflection along v maps column k below the diagonal to a multiple of the first basis vector.
    const v = new Float64Array(n);
    for (let i = k + 1; i < n; i++) v[i] = a[i]![k]!;
    const size = norm(v);
    const head = v[k + 1]!;
    const target = head > 0 ? -size : size;
    below[k] = target;
    v[k + 1] = head - target;
    const square = dot(v, v);
    const beta = square > 0 ? 2 / square : 0;
    reflections.push({ v, beta });
    if (!beta) continue;
    // A ← A − v·wᵀ − w·vᵀ, w = p − ½β(p·v)v, p = βA·v.
    const p = new Float64Array(n);
    for (let i = k; i < n; i++) p[i] = beta * dot(a[i]!, v);
    const w = plus(p, v, -0.5 * beta * dot(p, v));
    for (let i = k; i < n; i++) {
      const [row, vi, wi] = [a[i]!, v[i]!, w[i]!];
      for (let j = k; j < n; j++) row[j]! -= vi * w[j]! + wi * v[j]!;
    }
  }
  const diagonal = Float64Array.from(a, (row, i) => row[i]!);
  if (n > 1) below[n - 2] = a[n - 1]![n - 2]!;
  // Q = H₀·H₁·…, applied to the rows of the identity from the last reflection to the first.
  a.forEach((row, i) => {
    row.fill(0);
    row[i] = 1;
  });
  for (const { v, beta } of reflections.reverse()) {
    if (!beta) continue;
    // Rows of Qᵀ: Qᵀ ← Qᵀ·H.
    for (const row of a) addScaled(row, v, -beta * dot(row, v));
  }
  return { diagonal, below };
}

/** The eigenvalues and eigenvectors of a tridiagonal matrix T. Rotates the rows of Qᵀ too: row k becomes eigenvector k of Q·T·Qᵀ. */
function tridiagonalEigen(diagonal: Vector, below: Vector, rows: readonly Vector[]): Eigen {
  const n = diagonal.length;
  const d = diagonal.slice();
  const e = new Float64Array(n);
  e.set(below.subarray(0, n - 1));
  for (let l = 0; l < n; l++) {
    for (let sweep = 0; ; sweep++) {
      let m = l;
      for (; m < n - 1; m++) if (Math.abs(e[m]!) <= 2 ** -52 * (Math.abs(d[m]!) + Math.abs(d[m + 1]!))) break;
      if (m === l || sweep === 60) break;
      // Wilkinson's shift, then one pass of bulge chasing upwards.
      let g = (d[l + 1]! - d[l]!) / (2 * e[l]!);
      let r = Math.hypot(g, 1);
      g = d[m]! - d[l]! + e[l]! / (g + (g >= 0 ? r : -r));
      let [s, c, p] = [1, 1, 0];
      let i = m - 1;
      for (; i >= l; i--) {
        const f = s * e[i]!;
        const b = c * e[i]!;
        r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) {
          d[i + 1]! -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1]! - p;
        r = (d[i]! - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        rotate(rows[i]!, rows[i + 1]!, c, s);
      }
      if (r === 0 && i >= l) continue;
      d[l]! -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => d[i]! - d[j]!);
  return { values: Float64Array.from(order, (i) => d[i]!), vectors: order.map((i) => rows[i]!) };
}

function rotate(u: Vector, v: Vector, c: number, s: number): void {
  for (let k = 0; k < u.length; k++) {
    const [x, y] = [u[k]!, v[k]!];
    v[k] = s * x + c * y;
    u[k] = c * x - s * y;
  }
}

/** Options for lanczos. */
export interface LanczosOptions {
  /** The maximum number of matrix-vector products. Default 100, or n if that is less. */
  readonly iterations?: number;
  /**
   * Stops when the residuals of the requested eigenvalues are at most this fraction of the largest |eigenvalue|.
   * Default 10⁻⁵.
   */
  readonly tolerance?: number;
  /** The number of eigenvalues at each end that must converge. Default 1. */
  readonly count?: number;
  /** The initial vector. Default: a random vector that is the same on every call. */
  readonly start?: Vector;
}

/** The result of lanczos: Ritz values and vectors. */
export interface Ritz {
  /** Approximations of the extreme eigenvalues, ascending. */
  readonly values: Vector;
  /** The Ritz vector of value i, of length 1. */
  vector(i: number): Vector;
  /** ‖A·v − λ·v‖ for each value λ and its vector v: some eigenvalue is at most this far from λ. */
  readonly residuals: Vector;
  /** The squared first components of the tridiagonal matrix's eigenvectors: the weights of Gauss quadrature over the spectrum. */
  readonly weights: Vector;
  /** The number of matrix-vector products computed. */
  readonly products: number;
}

/**
 * The extreme eigenvalues of a symmetric n × n matrix, from a function that multiplies it by a vector (Lanczos 1950).
 * The eigenvalues at both ends of the spectrum converge first. Orthogonalizes each vector against all earlier ones.
 */
export function lanczos(product: (v: Vector) => Vector, n: number, options: LanczosOptions = {}): Ritz {
  check(
    "lanczos",
    arguments,
    "product:function n:number {iterations:number tolerance:number count:number start:numbers}",
  );
  const { iterations = 100, tolerance = 1e-5, count = 1, start = startVector(n, 0) } = options;
  const limit = Math.min(n, iterations);
  const q: Vector[] = [unit(start)];
  const [alpha, beta]: [number[], number[]] = [[], []];
  // If vectors are short, a convergence check costs more than a product, so check less and less often.
  let nextCheck = 5;
  for (;;) {
    const k = alpha.length;
    const w = vector(product(q[k]!));
    alpha.push(dot(w, q[k]!));
    if (!Number.isFinite(alpha[k]))
      throw new RangeError(
        "lanczos: a matrix-vector product is not finite. Check that the loss is finite at this point.",
      );
    const rest = orthogonalize(w, q);
    const isInvariant = rest <= 1e-7 * Math.max(...alpha.map(Math.abs), ...beta, 1e-300);
    if (alpha.length === limit || (tolerance > 0 && (isInvariant || alpha.length >= nextCheck))) {
      const ritz = ritzOf(alpha, beta, isInvariant ? 0 : rest, q);
      if (alpha.length === limit || converged(ritz, count, tolerance)) return { ...ritz, products: alpha.length };
      nextCheck = Math.ceil(1.25 * alpha.length);
    }
    if (isInvariant) {
      // The vectors so far span an invariant subspace. Continue in its orthogonal complement from a new vector.
      const fresh = startVector(n, alpha.length);
      beta.push(0);
      q.push(scale(fresh, 1 / orthogonalize(fresh, q)));
    } else {
      beta.push(rest);
      q.push(scale(w, 1 / rest));
    }
  }
}

/**
 * Orthogonalizes w in place against the unit vectors q. Two passes suffice (Kahan and Parlett).
 * @returns the remaining length of w
 */
function orthogonalize(w: Vector, q: readonly Vector[]): number {
  for (let pass = 0; pass < 2; pass++) for (const v of q) addScaled(w, v, -dot(w, v));
  return norm(w);
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
  const identity = Array.from({ length: k }, (_, i) => basis(k, i));
  const { values, vectors } = tridiagonalEigen(
    Float64Array.from(alpha),
    Float64Array.from(beta.slice(0, k - 1)),
    identity,
  );
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
