/**
 * The vector vocabulary of the kernels: fused multiply-add, lane masks, horizontal sums, loads and stores of a tail.
 * Everything is inlined and stateless. Buffers are 64-byte aligned and padded, so a tail may be *read* past its end;
 * it is never *written* past its end.
 */

/** Lanes of a 32-bit vector. */
export const LANES: usize = 4;

// @ts-ignore: decorator
@inline
/** a·b + c: fused (one rounding) in the relaxed build, two roundings in the simd build. */
export function fma(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}
