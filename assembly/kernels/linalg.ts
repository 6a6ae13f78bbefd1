/**
 * Cholesky, triangular solve and eigendecomposition of small row-major matrices [batch, n, n], and argSort of rows.
 * Shares are ranges of matrices or rows. Factorizations compute their sums in float64.
 */
import { fma, storeLanes } from "../simd";

@inline
function at(x: usize, n: u32, i: u32, j: u32): usize { return x + ((<usize>i * n + j) << 2); }

/**
 * Computes L with L·Lᵀ = (A + Aᵀ)/2 and with zeros above the diagonal (Cholesky–Banachiewicz). If a pivot is negative,
 * because A is not positive definite, the diagonal element and all elements computed from it are NaN.
 */
export function cholesky(out: usize, x: usize, n: u32, begin: u32, end: u32): void {
  for (let m = begin; m < end; m++) {
    const a = x + ((<usize>m * n * n) << 2), l = out + ((<usize>m * n * n) << 2);
    for (let i: u32 = 0; i < n; i++) {
      for (let j: u32 = 0; j <= i; j++) {
        let sum = (<f64>load<f32>(at(a, n, i, j)) + <f64>load<f32>(at(a, n, j, i))) * 0.5;
        for (let k: u32 = 0; k < j; k++) sum -= <f64>load<f32>(at(l, n, i, k)) * <f64>load<f32>(at(l, n, j, k));
        store<f32>(at(l, n, i, j), <f32>(i == j ? Math.sqrt(sum) : sum / <f64>load<f32>(at(l, n, j, j))));
      }
      memory.fill(at(l, n, i, i) + 4, 0, <usize>(n - 1 - i) << 2);
    }
  }
}

/**
 * Solves op(A)·X = B row by row, where A is triangular and X and B are [n, columns]. Starts at the first row if op(A)
 * is lower triangular, and at the last row otherwise.
 */
export function triangularSolve(out: usize, a: usize, b: usize, n: u32, columns: u32, upper: u32, transposed: u32,
  unit: u32, begin: u32, end: u32): void
{
  const forward = upper == transposed;
  for (let m = begin; m < end; m++) {
    const t = a + ((<usize>m * n * n) << 2), x = out + ((<usize>m * n * columns) << 2),
      y = b + ((<usize>m * n * columns) << 2);
    for (let s: u32 = 0; s < n; s++) {
      const i = forward ? s : n - 1 - s;
      const row = x + ((<usize>i * columns) << 2), from = y + ((<usize>i * columns) << 2);
      const divisor: f32 = unit ? 1 : load<f32>(at(t, n, i, i));
      for (let c: u32 = 0; c < columns; c += 4) {
        let v = v128.load(from + (<usize>c << 2));
        for (let r: u32 = 0; r < s; r++) {
          const k = forward ? r : n - 1 - r;
          const factor = f32x4.splat(-load<f32>(transposed ? at(t, n, k, i) : at(t, n, i, k)));
          v = fma(factor, v128.load(x + ((<usize>k * columns + c) << 2)), v);
        }
        storeLanes(row + (<usize>c << 2), f32x4.div(v, f32x4.splat(divisor)), columns - c);
      }
    }
  }
}

/** The number of scratch bytes for one thread: a matrix and its eigenvectors in float64. */
export function eighWorkspace(n: u32): u32 { return <u32>(2 * eighRow(n) * n + 63) & ~63; }

/**
 * The number of bytes per row: an odd number of cache lines, so that a column's elements spread over the cache's sets.
 */
function eighRow(n: u32): usize { return (((<usize>n << 3) + 63) & ~63) | 64; }

/**
 * Computes the eigenvalues (ascending) and the eigenvectors (as columns) of (A + Aᵀ)/2 by cyclic Jacobi rotations
 * (Golub and Van Loan 2013, algorithm 8.5.3). In each eigenvector, the component with the largest magnitude is
 * positive.
 */
export function eigh(values: usize, vectors: usize, x: usize, n: u32, workspace: usize, begin: u32, end: u32): void {
  const ld = eighRow(n), s = workspace, v = workspace + ld * n;
  for (let m = begin; m < end; m++) {
    const a = x + ((<usize>m * n * n) << 2), w = values + ((<usize>m * n) << 2),
      out = vectors + ((<usize>m * n * n) << 2);
    let norm: f64 = 0;
    for (let i: u32 = 0; i < n; i++) {
      for (let j: u32 = 0; j < n; j++) {
        const e = (<f64>load<f32>(at(a, n, i, j)) + <f64>load<f32>(at(a, n, j, i))) * 0.5;
        norm += e * e;
        store<f64>(s + i * ld + (<usize>j << 3), e);
        store<f64>(v + i * ld + (<usize>j << 3), i == j ? 1 : 0);
      }
    }
    for (let sweep = 0; sweep < 30; sweep++) {
      let off: f64 = 0;
      for (let p: u32 = 0; p < n; p++) {
        for (let q = p + 1; q < n; q++) {
          const apq = load<f64>(s + p * ld + (<usize>q << 3));
          off += apq * apq;
          // Skip elements that are negligible compared with the matrix's norm.
          if (apq * apq <= norm * 1e-34) continue;
          const theta = (load<f64>(s + q * ld + (<usize>q << 3)) - load<f64>(s + p * ld + (<usize>p << 3))) / (2 * apq);
          const t = (theta < 0 ? -1.0 : 1.0) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
          const c = 1 / Math.sqrt(t * t + 1), sine = t * c;
          rotate(s + (<usize>p << 3), s + (<usize>q << 3), ld, n, c, sine);
          rotate(s + p * ld, s + q * ld, 8, n, c, sine);
          rotate(v + (<usize>p << 3), v + (<usize>q << 3), ld, n, c, sine);
        }
      }
      if (!(off > norm * 1e-20)) break;
    }
    for (let i: u32 = 0; i < n; i++) store<f32>(w + (<usize>i << 2), <f32>load<f64>(s + i * ld + (<usize>i << 3)));
    // Selection sort, ascending: its O(n²) steps are few compared with the O(n³) of the rotations.
    for (let i: u32 = 0; i < n; i++) {
      let least = i;
      for (let j = i + 1; j < n; j++)
        if (load<f32>(w + (<usize>j << 2)) < load<f32>(w + (<usize>least << 2))) least = j;
      if (least != i) {
        const kept = load<f32>(w + (<usize>i << 2));
        store<f32>(w + (<usize>i << 2), load<f32>(w + (<usize>least << 2)));
        store<f32>(w + (<usize>least << 2), kept);
        // A rotation by a quarter turn swaps two columns, and changes the sign of one.
        rotate(v + (<usize>i << 3), v + (<usize>least << 3), ld, n, 0, 1);
      }
      let largest: f64 = 0;
      for (let k: u32 = 0; k < n; k++) {
        const e = load<f64>(v + k * ld + (<usize>i << 3));
        if (Math.abs(e) > Math.abs(largest)) largest = e;
      }
      const sign: f64 = largest < 0 ? -1 : 1;
      for (let k: u32 = 0; k < n; k++)
        store<f32>(at(out, n, k, i), <f32>(sign * load<f64>(v + k * ld + (<usize>i << 3))));
    }
  }
}

/** (x, y) ← (c·x − s·y, s·x + c·y) for n pairs of float64, `step` bytes apart. */
function rotate(x: usize, y: usize, step: usize, n: u32, c: f64, s: f64): void {
  for (let i: u32 = 0; i < n; i++, x += step, y += step) {
    const a = load<f64>(x), b = load<f64>(y);
    store<f64>(x, c * a - s * b);
    store<f64>(y, s * a + c * b);
  }
}

/** Whether a comes after b; NaN comes after all numbers. */
@inline
function after(a: f64, b: f64, descending: u32): bool {
  return descending ? a < b || (b != b && a == a) : a > b || (a != a && b == b);
}

/** An element as float64, which also represents every int32 exactly. */
@inline
function element(row: usize, i: u32, integer: u32): f64 {
  const p = row + (<usize>i << 2);
  return integer ? <f64>load<i32>(p) : <f64>load<f32>(p);
}

/** Writes the indices that sort each row, found by a stable merge sort; scratch holds n 32-bit words. */
export function argSort(out: usize, x: usize, n: u32, descending: u32, integer: u32, scratch: usize, begin: u32,
  end: u32): void
{
  const bytes: usize = n << 2;
  for (let r = begin; r < end; r++) {
    const row = x + r * bytes, target = out + r * bytes;
    let from = target, to = scratch;
    for (let i: u32 = 0; i < n; i++) store<u32>(from + (<usize>i << 2), i);
    for (let run: u32 = 1; run < n; run <<= 1) {
      for (let low: u32 = 0; low < n; low += 2 * run) {
        const middle = min<u32>(low + run, n), high = min<u32>(low + 2 * run, n);
        let i = low, j = middle;
        for (let k = low; k < high; k++) {
          const a = load<u32>(from + (<usize>i << 2)), b = load<u32>(from + (<usize>j << 2));
          const takesB = i == middle
            || (j < high && after(element(row, a, integer), element(row, b, integer), descending));
          store<u32>(to + (<usize>k << 2), takesB ? b : a);
          if (takesB) j++;
          else i++;
        }
      }
      const kept = from;
      from = to;
      to = kept;
    }
    if (from != target) memory.copy(target, from, bytes);
  }
}
