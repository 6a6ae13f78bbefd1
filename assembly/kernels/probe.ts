/**
 * A loop with which benchmarks measure the machine's peak rate. It runs only multiply-adds, in enough independent
 * chains to hide their latency, but few enough to fit into the registers. No op uses this kernel.
 */
import { addPairs, fma, pairSum } from "../simd";

/** n × 12 vectors × 4 lanes × (multiply + add) = 96·n floating-point operations: aᵢ ← aᵢ·x + y. Keep |x| < 1. */
export function fmaCeiling(n: u32, x: f32, y: f32): f32 {
  const xx = f32x4.splat(x), yy = f32x4.splat(y);
  let a0 = yy, a1 = yy, a2 = yy, a3 = yy, a4 = yy, a5 = yy, a6 = yy, a7 = yy, a8 = yy, a9 = yy, a10 = yy, a11 = yy;
  for (let i: u32 = 0; i < n; i++) {
    a0 = fma(a0, xx, yy);
    a1 = fma(a1, xx, yy);
    a2 = fma(a2, xx, yy);
    a3 = fma(a3, xx, yy);
    a4 = fma(a4, xx, yy);
    a5 = fma(a5, xx, yy);
    a6 = fma(a6, xx, yy);
    a7 = fma(a7, xx, yy);
    a8 = fma(a8, xx, yy);
    a9 = fma(a9, xx, yy);
    a10 = fma(a10, xx, yy);
    a11 = fma(a11, xx, yy);
  }
  a0 = f32x4.add(f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3)), f32x4.add(f32x4.add(a4, a5), f32x4.add(a6, a7)));
  return <f32>pairSum(addPairs(f64x2.splat(0), f32x4.add(a0, f32x4.add(f32x4.add(a8, a9), f32x4.add(a10, a11)))));
}
