/**
 * The loops of the pointwise kernels, four elements at a time. F is a class whose method `of` computes the formula; asc
 * inlines it. `out` may be one of the operands, except in `compare`. Unrolled loops compute two vectors before they store
 * either, so that V8 can combine the vectors in the wide build (wide.ts).
 */
import { storeLanes, storeMask } from "../simd";

/** out[i] = f(x[i]; p, q). */
@inline
export function unary<F>(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  const f = changetype<F>(0);
  const pp = f32x4.splat(p), qq = f32x4.splat(q);
  if (begin >= end) return;
  let i = begin;
  // The condition is at the end because V8 11 keeps the constants of such a loop in registers, but not those of a `for`
  // loop.
  do {
    const at: usize = i << 2;
    storeLanes(out + at, f.of(v128.load(x + at), pp, qq), end - i);
    i += 4;
  } while (i < end);
}

/** Like `unary`, but unrolled, for an f so short that the loop's overhead would otherwise dominate the run time. */
@inline
export function unaryUnrolled<F>(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  const f = changetype<F>(0);
  const pp = f32x4.splat(p), qq = f32x4.splat(q);
  out += <usize>begin << 2;
  x += <usize>begin << 2;
  let rest = <i32>(end - begin);
  for (; rest >= 16; rest -= 16, out += 64, x += 64) {
    const y0 = f.of(v128.load(x), pp, qq), y1 = f.of(v128.load(x, 16), pp, qq);
    v128.store(out, y0);
    v128.store(out, y1, 16);
    const y2 = f.of(v128.load(x, 32), pp, qq), y3 = f.of(v128.load(x, 48), pp, qq);
    v128.store(out, y2, 32);
    v128.store(out, y3, 48);
  }
  for (; rest > 0; rest -= 4, out += 16, x += 16) storeLanes(out, f.of(v128.load(x), pp, qq), rest);
}

/** out[i] = f(dy[i], x[i]; p, q). */
@inline
export function derivative<F>(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  const f = changetype<F>(0);
  const pp = f32x4.splat(p), qq = f32x4.splat(q);
  if (begin >= end) return;
  let i = begin;
  do {
    const at: usize = i << 2;
    storeLanes(out + at, f.of(v128.load(a + at), v128.load(b + at), pp, qq), end - i);
    i += 4;
  } while (i < end);
}

/** Like `derivative`, but unrolled, for a short f. */
@inline
export function derivativeUnrolled<F>(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  const f = changetype<F>(0);
  const pp = f32x4.splat(p), qq = f32x4.splat(q);
  out += <usize>begin << 2;
  a += <usize>begin << 2;
  b += <usize>begin << 2;
  let rest = <i32>(end - begin);
  for (; rest >= 8; rest -= 8, out += 32, a += 32, b += 32) {
    const y0 = f.of(v128.load(a), v128.load(b), pp, qq), y1 = f.of(v128.load(a, 16), v128.load(b, 16), pp, qq);
    v128.store(out, y0);
    v128.store(out, y1, 16);
  }
  for (; rest > 0; rest -= 4, out += 16, a += 16, b += 16)
    storeLanes(out, f.of(v128.load(a), v128.load(b), pp, qq), rest);
}

/** One row: out[i] = f(a[i·sa], b[i·sb]) for i < n, with strides sa, sb ∈ {0, 1} in elements. */
@inline
export function binary<F>(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  const f = changetype<F>(0);
  const fixedA = v128.load32_splat(a), fixedB = v128.load32_splat(b);
  for (let i: u32 = 0; i < n; i += 4) {
    const at: usize = i << 2;
    storeLanes(out + at, f.of(sa ? v128.load(a + at) : fixedA, sb ? v128.load(b + at) : fixedB), n - i);
  }
}

/**
 * Like `binary`, but unrolled, for a short f: one loop if both operands advance, and one for each operand that may
 * repeat its element.
 */
@inline
export function binaryUnrolled<F>(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  const f = changetype<F>(0);
  if (sa && sb) {
    for (; n >= 8; n -= 8, out += 32, a += 32, b += 32) {
      const y0 = f.of(v128.load(a), v128.load(b)), y1 = f.of(v128.load(a, 16), v128.load(b, 16));
      v128.store(out, y0);
      v128.store(out, y1, 16);
    }
    for (; <i32>n > 0; n -= 4, out += 16, a += 16, b += 16) storeLanes(out, f.of(v128.load(a), v128.load(b)), n);
  } else if (sa) {
    const scalar = v128.load32_splat(b);
    for (; n >= 8; n -= 8, out += 32, a += 32) {
      const y0 = f.of(v128.load(a), scalar), y1 = f.of(v128.load(a, 16), scalar);
      v128.store(out, y0);
      v128.store(out, y1, 16);
    }
    for (; <i32>n > 0; n -= 4, out += 16, a += 16) storeLanes(out, f.of(v128.load(a), scalar), n);
  } else {
    const scalar = v128.load32_splat(a);
    for (; <i32>n > 0; n -= 4, out += 16, b += sb << 4) {
      storeLanes(out, f.of(scalar, sb ? v128.load(b) : v128.load32_splat(b)), n);
    }
  }
}

/** Like `binary`, for predicates: writes bools, one byte each. */
@inline
export function compare<F>(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  const f = changetype<F>(0);
  const fixedA = v128.load32_splat(a), fixedB = v128.load32_splat(b);
  for (let i: u32 = 0; i < n; i += 4) {
    const at: usize = i << 2;
    storeMask(out + i, f.of(sa ? v128.load(a + at) : fixedA, sb ? v128.load(b + at) : fixedB), n - i);
  }
}
