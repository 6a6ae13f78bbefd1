/**
 * The inner loops of products that do not pack: one or two rows of C at a time. Sizes are in elements, leading dimensions
 * (ld…) in bytes. As in pack.ts, the loops read up to 12 bytes past the end of an operand.
 */
import { fma } from "../simd";

/** The longest rows for which `aheadDots` is faster than `rowDots`. */
@inline
export const NEAR: usize = 512;

/** The number of columns that `rowWide` computes at once. */
@inline
export const WIDE: usize = 32;

/** The number of columns that `rowNarrow` and `rowDots` compute at once. */
@inline
export const NARROW: usize = 8;

/**
 * c[cols] = a[k]·B[cols, k]ᵀ, NARROW columns at a time. Rows of B past `cols` repeat the last row, and whole groups of columns
 * are stored.
 */
export function rowDots(c: usize, a: usize, b: usize, ldb: usize, cols: usize, k: usize): void {
  const last = b + (cols - 1) * ldb;
  const whole = (k & ~7) << 2, end = a + whole;
  for (const cEnd = c + (cols << 2); c < cEnd; c += NARROW * 4, b += NARROW * ldb) {
    let b0 = b;
    let b1 = min(b0 + ldb, last);
    let b2 = min(b1 + ldb, last);
    let b3 = min(b2 + ldb, last);
    let b4 = min(b3 + ldb, last);
    let b5 = min(b4 + ldb, last);
    let b6 = min(b5 + ldb, last);
    let b7 = min(b6 + ldb, last);
    let c0 = f32x4.splat(0);
    let c1 = c0;
    let c2 = c0;
    let c3 = c0;
    let c4 = c0;
    let c5 = c0;
    let c6 = c0;
    let c7 = c0;
    let x: v128;
    for (let rest = k & 7, at = whole; rest > 0; rest = rest > 4 ? rest - 4 : 0, at += 16) {
      const mask = headMask(rest);
      x = v128.and(v128.load(a + at), mask);
      c0 = fma(x, v128.and(v128.load(b0 + at), mask), c0);
      c1 = fma(x, v128.and(v128.load(b1 + at), mask), c1);
      c2 = fma(x, v128.and(v128.load(b2 + at), mask), c2);
      c3 = fma(x, v128.and(v128.load(b3 + at), mask), c3);
      c4 = fma(x, v128.and(v128.load(b4 + at), mask), c4);
      c5 = fma(x, v128.and(v128.load(b5 + at), mask), c5);
      c6 = fma(x, v128.and(v128.load(b6 + at), mask), c6);
      c7 = fma(x, v128.and(v128.load(b7 + at), mask), c7);
    }
    for (let p = a; p < end; p += 32) {
      x = v128.load(p);
      c0 = fma(x, v128.load(b0), c0);
      c1 = fma(x, v128.load(b1), c1);
      c2 = fma(x, v128.load(b2), c2);
      c3 = fma(x, v128.load(b3), c3);
      c4 = fma(x, v128.load(b4), c4);
      c5 = fma(x, v128.load(b5), c5);
      c6 = fma(x, v128.load(b6), c6);
      c7 = fma(x, v128.load(b7), c7);
      x = v128.load(p, 16);
      c0 = fma(x, v128.load(b0, 16), c0);
      c1 = fma(x, v128.load(b1, 16), c1);
      c2 = fma(x, v128.load(b2, 16), c2);
      c3 = fma(x, v128.load(b3, 16), c3);
      c4 = fma(x, v128.load(b4, 16), c4);
      c5 = fma(x, v128.load(b5, 16), c5);
      c6 = fma(x, v128.load(b6, 16), c6);
      c7 = fma(x, v128.load(b7, 16), c7);
      b0 += 32;
      b1 += 32;
      b2 += 32;
      b3 += 32;
      b4 += 32;
      b5 += 32;
      b6 += 32;
      b7 += 32;
    }
    v128.store(c, sums(c0, c1, c2, c3));
    v128.store(c, sums(c4, c5, c6, c7), 16);
  }
}

/**
 * Like `rowDots`, for two rows of A, `lda` bytes apart: C[2, cols] = A[2, k]·B[cols, k]ᵀ, with the same bits, 4 columns at
 * a time. Both rows use each vector of B that is loaded.
 */
export function pairDots(c: usize, ldc: usize, a: usize, lda: usize, b: usize, ldb: usize, cols: usize,
  k: usize): void
{
  const last = b + (cols - 1) * ldb;
  const whole = (k & ~7) << 2, end = a + whole;
  for (const cEnd = c + (cols << 2); c < cEnd; c += 16, b += 4 * ldb) {
    let b0 = b;
    let b1 = min(b0 + ldb, last);
    let b2 = min(b1 + ldb, last);
    let b3 = min(b2 + ldb, last);
    let c0 = f32x4.splat(0);
    let c1 = c0;
    let c2 = c0;
    let c3 = c0;
    let d0 = c0;
    let d1 = c0;
    let d2 = c0;
    let d3 = c0;
    let x: v128, y: v128, v: v128;
    for (let rest = k & 7, at = whole; rest > 0; rest = rest > 4 ? rest - 4 : 0, at += 16) {
      const mask = headMask(rest);
      x = v128.and(v128.load(a + at), mask);
      y = v128.and(v128.load(a + lda + at), mask);
      v = v128.and(v128.load(b0 + at), mask);
      c0 = fma(x, v, c0);
      d0 = fma(y, v, d0);
      v = v128.and(v128.load(b1 + at), mask);
      c1 = fma(x, v, c1);
      d1 = fma(y, v, d1);
      v = v128.and(v128.load(b2 + at), mask);
      c2 = fma(x, v, c2);
      d2 = fma(y, v, d2);
      v = v128.and(v128.load(b3 + at), mask);
      c3 = fma(x, v, c3);
      d3 = fma(y, v, d3);
    }
    for (let p = a, q = a + lda; p < end; p += 16, q += 16) {
      x = v128.load(p);
      y = v128.load(q);
      v = v128.load(b0);
      c0 = fma(x, v, c0);
      d0 = fma(y, v, d0);
      v = v128.load(b1);
      c1 = fma(x, v, c1);
      d1 = fma(y, v, d1);
      v = v128.load(b2);
      c2 = fma(x, v, c2);
      d2 = fma(y, v, d2);
      v = v128.load(b3);
      c3 = fma(x, v, c3);
      d3 = fma(y, v, d3);
      b0 += 16;
      b1 += 16;
      b2 += 16;
      b3 += 16;
    }
    v128.store(c, sums(c0, c1, c2, c3));
    v128.store(c + ldc, sums(d0, d1, d2, d3));
  }
}

/**
 * Like `rowDots`, with the same bits, for rows of at most NEAR elements in a large B: 4 columns at a time. The processor's prefetcher
 * does not follow several short rows at once, so the loop also loads one word of each cache line of the next 4 rows, in the order of
 * memory. B ends at `end`. `scratch` receives a word, so that the compiler keeps these loads.
 */
export function aheadDots(c: usize, a: usize, b: usize, ldb: usize, cols: usize, k: usize, end: usize,
  scratch: usize): void
{
  const last = b + (cols - 1) * ldb, whole = (k & ~7) << 2, aEnd = a + whole;
  let seen: u32 = 0;
  for (const cEnd = c + (cols << 2); c < cEnd; c += 16, b += 4 * ldb) {
    let next = b + 4 * ldb;
    if (next + 4 * ldb > end) next = b;
    let b0 = b;
    let b1 = min(b0 + ldb, last);
    let b2 = min(b1 + ldb, last);
    let b3 = min(b2 + ldb, last);
    let c0 = f32x4.splat(0);
    let c1 = c0;
    let c2 = c0;
    let c3 = c0;
    let x: v128;
    for (let rest = k & 7, at = whole; rest > 0; rest = rest > 4 ? rest - 4 : 0, at += 16) {
      const mask = headMask(rest);
      x = v128.and(v128.load(a + at), mask);
      c0 = fma(x, v128.and(v128.load(b0 + at), mask), c0);
      c1 = fma(x, v128.and(v128.load(b1 + at), mask), c1);
      c2 = fma(x, v128.and(v128.load(b2 + at), mask), c2);
      c3 = fma(x, v128.and(v128.load(b3 + at), mask), c3);
    }
    for (let p = a; p < aEnd; p += 32, next += 128) {
      seen |= load<u32>(next) | load<u32>(next, 64);
      x = v128.load(p);
      c0 = fma(x, v128.load(b0), c0);
      c1 = fma(x, v128.load(b1), c1);
      c2 = fma(x, v128.load(b2), c2);
      c3 = fma(x, v128.load(b3), c3);
      x = v128.load(p, 16);
      c0 = fma(x, v128.load(b0, 16), c0);
      c1 = fma(x, v128.load(b1, 16), c1);
      c2 = fma(x, v128.load(b2, 16), c2);
      c3 = fma(x, v128.load(b3, 16), c3);
      b0 += 32;
      b1 += 32;
      b2 += 32;
      b3 += 32;
    }
    v128.store(c, sums(c0, c1, c2, c3));
  }
  store<u32>(scratch, seen);
}

/** A mask with all ones in the first `count` lanes. */
@inline
function headMask(count: usize): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(<i32>count));
}

/** [Σ a, Σ b, Σ c, Σ d] */
@inline
function sums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f64>(ab, cd, 0, 2), v128.shuffle<f64>(ab, cd, 1, 3));
}

/** c[WIDE] = a[k]·B[k, WIDE] (+ c if load); the elements of a are `stepA` bytes apart. */
export function rowWide(c: usize, a: usize, stepA: usize, b: usize, ldb: usize, k: usize, load: bool): void {
  wideRow(c, a, stepA, b, ldb, k, load);
}

/** Like `rowWide`, but inlined, for a short k. */
@inline
export function wideRow(c: usize, a: usize, stepA: usize, b: usize, ldb: usize, k: usize, load: bool): void {
  let c0 = f32x4.splat(0);
  let c1 = c0;
  let c2 = c0;
  let c3 = c0;
  let c4 = c0;
  let c5 = c0;
  let c6 = c0;
  let c7 = c0;
  if (load) {
    c0 = v128.load(c);
    c1 = v128.load(c, 16);
    c2 = v128.load(c, 32);
    c3 = v128.load(c, 48);
    c4 = v128.load(c, 64);
    c5 = v128.load(c, 80);
    c6 = v128.load(c, 96);
    c7 = v128.load(c, 112);
  }
  for (const end = b + k * ldb; b < end; b += ldb, a += stepA) {
    const x = v128.load32_splat(a);
    c0 = fma(x, v128.load(b), c0);
    c1 = fma(x, v128.load(b, 16), c1);
    c2 = fma(x, v128.load(b, 32), c2);
    c3 = fma(x, v128.load(b, 48), c3);
    c4 = fma(x, v128.load(b, 64), c4);
    c5 = fma(x, v128.load(b, 80), c5);
    c6 = fma(x, v128.load(b, 96), c6);
    c7 = fma(x, v128.load(b, 112), c7);
  }
  v128.store(c, c0);
  v128.store(c, c1, 16);
  v128.store(c, c2, 32);
  v128.store(c, c3, 48);
  v128.store(c, c4, 64);
  v128.store(c, c5, 80);
  v128.store(c, c6, 96);
  v128.store(c, c7, 112);
}

/** c[NARROW] = a[k]·B[k, cols]; the elements past `cols` are padding. */
export function rowNarrow(c: usize, a: usize, stepA: usize, b: usize, ldb: usize, cols: usize, k: usize): void {
  narrowRow(c, a, stepA, b, ldb, cols, k);
}

/** Like `rowNarrow`, but inlined, for a short k. */
@inline
export function narrowRow(c: usize, a: usize, stepA: usize, b: usize, ldb: usize, cols: usize, k: usize): void {
  const second: usize = cols > 4 ? 16 : 0;
  let c0 = f32x4.splat(0);
  let c1 = c0;
  for (const end = b + k * ldb; b < end; b += ldb, a += stepA) {
    const x = v128.load32_splat(a);
    c0 = fma(x, v128.load(b), c0);
    c1 = fma(x, v128.load(b + second), c1);
  }
  v128.store(c, c0);
  v128.store(c, c1, 16);
}
