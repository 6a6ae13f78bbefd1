/**
 * Vector helpers for the kernels: fused multiply-add, lane masks, horizontal sums, loads and stores of tails. All are inlined and
 * stateless. Buffers are padded, so kernels may *read* past the end of a tail; they never *write* past it.
 */

/** The number of 32-bit lanes in a vector. */
export const LANES: u32 = 4;

/** a·b + c, rounded once (fused) in the relaxed build and twice in the simd build. */
@inline
export function fma(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/**
 * Two ways to round a·b + c. Fast rounds like `fma`, so its bits depend on the build; Same rounds twice in both builds,
 * so its bits do not.
 */
@final export class Fast { @inline of(a: v128, b: v128, c: v128): v128 { return fma(a, b, c); } }
@final export class Same { @inline of(a: v128, b: v128, c: v128): v128 { return f32x4.add(f32x4.mul(a, b), c); } }

/** a·b + c. M, which is Fast or Same, decides how it is rounded. */
@inline
export function madd<M>(a: v128, b: v128, c: v128): v128 {
  return changetype<M>(0).of(a, b, c);
}

/**
 * The lanes of a where the mask is all ones, and those of b where it is 0. For any other mask, the relaxed build's result
 * depends on the machine. relaxed_laneselect takes one instruction on x64, where bitselect takes three.
 */
@inline
export function selectLanes(a: v128, b: v128, mask: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_laneselect(a, b, mask);
  return v128.bitselect(a, b, mask);
}

/** A mask with all ones in the first `count` lanes. */
@inline
export function laneMask(count: u32): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(<i32>count));
}

/** Stores the first min(count, 4) lanes, count ≥ 1. */
@inline
export function storeLanes(p: usize, v: v128, count: u32): void {
  if (count >= LANES) v128.store(p, v);
  else storeTail(p, v, count);
}

/** Stores the first `count` lanes, 1 ≤ count ≤ 3. */
export function storeTail(p: usize, v: v128, count: u32): void {
  if (count & 2) {
    v128.store64_lane(p, v, 0);
    if (count & 1) v128.store32_lane(p, v, 2, 8);
  } else v128.store32_lane(p, v, 0);
}

/** Loads four bools, one byte each, as a lane mask. */
@inline
export function loadMask(p: usize): v128 {
  const bytes = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(p)));
  return i32x4.ne(bytes, i32x4.splat(0));
}

/** Stores a lane mask as min(count, 4) bools, one byte each. */
@inline
export function storeMask(p: usize, mask: v128, count: u32): void {
  const one = v128.and(mask, i32x4.splat(1));
  const bytes = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_u(one, one), i16x8.splat(0));
  storeBytes(p, bytes, count);
}

/** Stores the first min(count, 4) bytes. */
@inline
export function storeBytes(p: usize, bytes: v128, count: u32): void {
  if (count >= LANES) v128.store32_lane(p, bytes, 0);
  else {
    const word = i32x4.extract_lane(bytes, 0);
    for (let i: u32 = 0; i < count; i++) i32.store8(p + i, word >> (i << 3));
  }
}

/**
 * The index of `thread`'s first unit among n units of work: a multiple of `grain`, or n. The share ends where the next
 * one begins.
 */
@inline
export function shareBegin(n: u32, grain: u32, thread: u32, threads: u32): u32 {
  if (threads == 1) return thread ? n : 0;
  const grains = (n + grain - 1) / grain;
  return min<u32>(n, <u32>(<u64>grains * thread / threads) * grain);
}

/** The number of elements that are summed in float32 before their sum is added to a float64 total. A multiple of 16. */
export const SUM_BLOCK: u32 = 256;

/** The last two lanes as float64. */
@inline
export function promoteHigh(v: v128): v128 { return f64x2.promote_low_f32x4(i64x2.shuffle(v, v, 1, 0)); }

/** total + (v₀ + v₂, v₁ + v₃). Long sums use it to add the lanes of a block's sum to a float64 total. */
@inline
export function addPairs(total: v128, v: v128): v128 {
  return f64x2.add(total, f64x2.promote_low_f32x4(f32x4.add(v, i64x2.shuffle(v, v, 1, 0))));
}

/** v₀ + v₁ of float64. */
@inline
export function pairSum(v: v128): f64 { return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1); }

/** Converts two pairs of float64 to four float32. */
@inline
export function narrow(low: v128, high: v128): v128 {
  return i64x2.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

/** The number of vectors that are summed pairwise in float32. If they are equal, their sum is exact. */
export const TREE: u32 = 8;

/** Loads the n-th vector from an address, counting from 0. */
@final export class At0 { @inline load(p: usize): v128 { return v128.load(p); } }
@final export class At1 { @inline load(p: usize): v128 { return v128.load(p, 16); } }
@final export class At2 { @inline load(p: usize): v128 { return v128.load(p, 32); } }
@final export class At3 { @inline load(p: usize): v128 { return v128.load(p, 48); } }

/** The sum of eight vectors `step` bytes apart, pairwise. */
@inline
export function tree<A = At0>(p: usize, step: usize): v128 {
  return f32x4.add(quad<A>(p, step), quad<A>(p + 4 * step, step));
}

/** Like `tree`, for four vectors. */
@inline
export function quad<A = At0>(p: usize, step: usize): v128 {
  return f32x4.add(duo<A>(p, step), duo<A>(p + 2 * step, step));
}

/** Like `tree`, for two vectors. */
@inline
export function duo<A = At0>(p: usize, step: usize): v128 {
  return f32x4.add(changetype<A>(0).load(p), changetype<A>(0).load(p + step));
}
