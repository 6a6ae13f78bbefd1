/**
 * The micro-kernel of the `wide` build. With --experimental-wasm-revectorize, V8 combines two operations on adjacent vectors into
 * one on 256 bits. V8 starts from stores to adjacent addresses and follows the stored values back to their loads, so here every
 * vector has a neighbour with the same operations, and no store is between the loads of a pair. Without this flag, a tile does not
 * fit in the vector registers.
 */
import { fma } from "../simd";
import { ceilingOf, clamp, floorOf, zeroOf } from "./epilogue";

/** Like `micro` in pack.ts, for tiles of 16 columns. Each sum has the same terms, in the same order. */
@inline
export function micro16(six: bool, c: usize, ldc: usize, a: usize, lda: usize, rows: usize, panel: usize, k: usize,
  segments: usize, jump: usize, load: bool, bias: usize, activation: u32): void
{
  const last = a + (rows - 1) * lda;
  let a0 = a;
  let a1 = min(a0 + lda, last);
  let a2 = min(a1 + lda, last);
  let a3 = min(a2 + lda, last);
  let a4 = min(a3 + lda, last);
  let a5 = min(a4 + lda, last);
  let b = panel;
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c02 = c00;
  let c03 = c00;
  let c10 = c00;
  let c11 = c00;
  let c12 = c00;
  let c13 = c00;
  let c20 = c00;
  let c21 = c00;
  let c22 = c00;
  let c23 = c00;
  let c30 = c00;
  let c31 = c00;
  let c32 = c00;
  let c33 = c00;
  let c40 = c00;
  let c41 = c00;
  let c42 = c00;
  let c43 = c00;
  let c50 = c00;
  let c51 = c00;
  let c52 = c00;
  let c53 = c00;
  let x: v128, b0: v128, b1: v128, b2: v128, b3: v128;
  // The distance in A from the end of a segment to the beginning of the next one.
  const advance = jump - (k << 2);
  for (;;) {
    for (const end = b + (k << 6); b < end; b += 64) {
      b0 = v128.load(b);
      b1 = v128.load(b, 16);
      b2 = v128.load(b, 32);
      b3 = v128.load(b, 48);
      x = v128.load32_splat(a0);
      c00 = fma(x, b0, c00);
      c01 = fma(x, b1, c01);
      c02 = fma(x, b2, c02);
      c03 = fma(x, b3, c03);
      a0 += 4;
      x = v128.load32_splat(a1);
      c10 = fma(x, b0, c10);
      c11 = fma(x, b1, c11);
      c12 = fma(x, b2, c12);
      c13 = fma(x, b3, c13);
      a1 += 4;
      x = v128.load32_splat(a2);
      c20 = fma(x, b0, c20);
      c21 = fma(x, b1, c21);
      c22 = fma(x, b2, c22);
      c23 = fma(x, b3, c23);
      a2 += 4;
      x = v128.load32_splat(a3);
      c30 = fma(x, b0, c30);
      c31 = fma(x, b1, c31);
      c32 = fma(x, b2, c32);
      c33 = fma(x, b3, c33);
      a3 += 4;
      if (six) {
        x = v128.load32_splat(a4);
        c40 = fma(x, b0, c40);
        c41 = fma(x, b1, c41);
        c42 = fma(x, b2, c42);
        c43 = fma(x, b3, c43);
        a4 += 4;
        x = v128.load32_splat(a5);
        c50 = fma(x, b0, c50);
        c51 = fma(x, b1, c51);
        c52 = fma(x, b2, c52);
        c53 = fma(x, b3, c53);
        a5 += 4;
      }
    }
    if (--segments == 0) break;
    a0 += advance;
    a1 += advance;
    a2 += advance;
    a3 += advance;
    a4 += advance;
    a5 += advance;
  }
  const act = bias || activation;
  const zero = zeroOf(activation), floor = floorOf(activation), ceiling = ceilingOf(activation);
  b0 =
    b1 =
    b2 =
    b3 =
      zero;
  if (bias) {
    b0 = f32x4.add(v128.load(bias), zero);
    b1 = f32x4.add(v128.load(bias, 16), zero);
    b2 = f32x4.add(v128.load(bias, 32), zero);
    b3 = f32x4.add(v128.load(bias, 48), zero);
  }
  storeRow(c, c00, c01, c02, c03, load, act, b0, b1, b2, b3, floor, ceiling);
  storeRow(c += ldc, c10, c11, c12, c13, load, act, b0, b1, b2, b3, floor, ceiling);
  storeRow(c += ldc, c20, c21, c22, c23, load, act, b0, b1, b2, b3, floor, ceiling);
  storeRow(c += ldc, c30, c31, c32, c33, load, act, b0, b1, b2, b3, floor, ceiling);
  if (six) {
    storeRow(c += ldc, c40, c41, c42, c43, load, act, b0, b1, b2, b3, floor, ceiling);
    storeRow(c += ldc, c50, c51, c52, c53, load, act, b0, b1, b2, b3, floor, ceiling);
  }
}

@inline
function storeRow(c: usize, v0: v128, v1: v128, v2: v128, v3: v128, load: bool, act: usize, b0: v128, b1: v128,
  b2: v128, b3: v128, floor: v128, ceiling: v128): void
{
  if (load) {
    v0 = f32x4.add(v128.load(c), v0);
    v1 = f32x4.add(v128.load(c, 16), v1);
    v2 = f32x4.add(v128.load(c, 32), v2);
    v3 = f32x4.add(v128.load(c, 48), v3);
  }
  if (act) {
    v0 = clamp(f32x4.add(v0, b0), floor, ceiling);
    v1 = clamp(f32x4.add(v1, b1), floor, ceiling);
    v2 = clamp(f32x4.add(v2, b2), floor, ceiling);
    v3 = clamp(f32x4.add(v3, b3), floor, ceiling);
  }
  v128.store(c, v0);
  v128.store(c, v1, 16);
  v128.store(c, v2, 32);
  v128.store(c, v3, 48);
}
