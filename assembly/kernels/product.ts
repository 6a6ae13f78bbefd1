/** Products of float32, computed in float64. */
import { narrow, promoteHigh, storeLanes } from "../simd";

/**
 * Π of n contiguous elements in float64. They are multiplied in eight lanes; if this product is 0 or not finite, they
 * are multiplied again in order.
 */
function rowProduct(x: usize, n: u32): f64 {
  let a = f64x2.splat(1), b = a, c = a, d = a, p = x, i = n;
  for (; i >= 8; i -= 8, p += 32) {
    const v = v128.load(p), w = v128.load(p, 16);
    a = f64x2.mul(a, f64x2.promote_low_f32x4(v));
    b = f64x2.mul(b, promoteHigh(v));
    c = f64x2.mul(c, f64x2.promote_low_f32x4(w));
    d = f64x2.mul(d, promoteHigh(w));
  }
  a = f64x2.mul(f64x2.mul(a, b), f64x2.mul(c, d));
  const rest = inOrder(p, i, f64x2.extract_lane(a, 0) * f64x2.extract_lane(a, 1));
  return isFinite(rest) && rest != 0 ? rest : inOrder(x, n, 1);
}
/** The product of `from` and n elements, in order. */
function inOrder(x: usize, n: u32, from: f64): f64 {
  for (; n > 0; n--, x += 4) from *= <f64>load<f32>(x);
  return from;
}

/**
 * Π along the middle dimension of [outer, n, inner]. The share [begin, end) is a range of rows if inner = 1, otherwise of groups of four
 * columns.
 */
export function prod(out: usize, x: usize, n: u32, inner: u32, begin: u32, end: u32): void {
  const quads = (inner + 3) >> 2, stride = <usize>inner << 2;
  for (let q = begin; q < end; q++) {
    const o = q / quads, column = (q - o * quads) << 2, to = out + ((<usize>o * inner + column) << 2);
    let p = x + ((<usize>o * n * inner + column) << 2);
    if (inner == 1) {
      store<f32>(to, <f32>rowProduct(p, n));
      continue;
    }
    let low = f64x2.splat(1), high = low;
    for (let i = n; i > 0; i--, p += stride) {
      const v = v128.load(p);
      low = f64x2.mul(low, f64x2.promote_low_f32x4(v));
      high = f64x2.mul(high, promoteHigh(v));
    }
    storeLanes(to, narrow(low, high), inner - column);
  }
}
