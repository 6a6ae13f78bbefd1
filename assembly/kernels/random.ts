/**
 * Random numbers from Philox 4×32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a block cipher
 * applied to a counter, so element i depends only on the seed, the counter and i, not on the thread that computes it. Both
 * builds compute the same bits: no multiply-add here is fused.
 *
 * `state` holds [seed low, seed high, counter low, counter high]. Element i is made from word i mod 4 of block counter +
 * ⌊i/4⌋; normal elements use words 0, 1 of their block as u₁ and 2, 3 as u₂; a permutation uses two words per element.
 */
import { log } from "../math";
import { Same, selectLanes, storeLanes } from "../simd";
import { cos, sin } from "../trig";

/**
 * The four random 32-bit words of the block whose number is the counter at `state` plus `block`. The ten rounds run on
 * one block of four words held as [c0, c1, c2, c3] in one vector. An element that needs more words takes them from
 * further calls, with `attempt` = 1, 2, …
 */
function philox(state: usize, block: u32, attempt: u32 = 0): v128 {
  const counter = load<u64>(state, 8) + block;
  let k0 = load<u32>(state), k1 = load<u32>(state, 4);
  let v = i64x2.replace_lane(i64x2.splat(<i64>attempt), 0, <i64>counter);
  const multipliers = i32x4(<i32>0xD2511F53, <i32>0xCD9E8D57, 0, 0);
  for (let round = 0; round < 10; round++) {
    // c0·M0 and c2·M1 as [lo0, hi0, lo1, hi1]; the new block is [hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0].
    const products = i64x2.extmul_low_i32x4_u(i32x4.shuffle(v, v, 0, 2, 0, 2), multipliers);
    const key = i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(0), 0, k0), 2, k1);
    const kept = v128.and(i32x4.shuffle(v, v, 1, 1, 3, 3), i32x4(-1, 0, -1, 0));
    v = v128.xor(v128.xor(i32x4.shuffle(products, products, 3, 2, 1, 0), kept), key);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return v;
}

/** Converts random words to float32 numbers in [0, 1) with 24 random bits. */
@inline
function unit(words: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_u(i32x4.shr_u(words, 8)), f32x4.splat(5.9604644775390625e-8));
}

/**
 * Draws numbers uniformly from [low, high). In every random kernel, the share [begin, end) starts at a multiple of 4.
 */
export function uniform(out: usize, state: usize, low: f32, high: f32, begin: u32, end: u32): void {
  // If high − low overflows, draw from an interval of half the size, and double the result.
  const size: f32 = high - low == Infinity ? 0.5 : 1;
  const scale = f32x4.splat(high * size - low * size), start = f32x4.splat(low * size), unscale = f32x4.splat(1 / size);
  const shift = f32x4.splat(low), limit = f32x4.splat(high);
  for (let i = begin; i < end; i += 4) {
    const u = f32x4.mul(f32x4.add(f32x4.mul(unit(philox(state, i >> 2)), scale), start), unscale);
    // low + u·(high − low) may round up to high, which the interval excludes: use low instead.
    storeLanes(out + (<usize>i << 2), selectLanes(shift, u, v128.and(f32x4.ge(u, limit), f32x4.gt(limit, shift))),
      end - i);
  }
}

/**
 * Draws normal numbers with the Box–Muller transform: √(−2 ln u₁)·(cos 2πu₂, sin 2πu₂), u₁ ∈ (0, 1]. Words 0, 1 of a
 * block are u₁; 2, 3 are u₂.
 */
export function normal(out: usize, state: usize, mean: f32, std: f32, begin: u32, end: u32): void {
  for (let i = begin; i < end; i += 4) {
    const words = philox(state, i >> 2);
    const u = unit(words);
    const u1 = f32x4.sub(f32x4.splat(1), i32x4.shuffle(u, u, 0, 1, 0, 1));
    const angle = f32x4.mul(f32x4.splat(6.283185307179586), i32x4.shuffle(u, u, 2, 3, 2, 3));
    const radius = f32x4.sqrt(f32x4.mul(f32x4.splat(-2), log<Same>(u1)));
    const turn = i32x4.shuffle(cos<Same>(angle), sin<Same>(angle), 0, 1, 6, 7);
    storeLanes(out + (<usize>i << 2),
      f32x4.add(f32x4.mul(f32x4.mul(radius, turn), f32x4.splat(std)), f32x4.splat(mean)), end - i);
  }
}

/** Writes `value` with probability (2³²·high + low + 1)/2⁶⁴, and 0 otherwise. */
export function bernoulli(out: usize, state: usize, low: u32, high: u32, value: f32, begin: u32, end: u32): void {
  const most = i32x4.splat(high), rest = i32x4.splat(low), one = f32x4.splat(value);
  for (let i = begin; i < end; i += 4) {
    const words = philox(state, i >> 2);
    let drawn = i32x4.lt_u(words, most);
    const tied = i32x4.eq(words, most);
    // A word equals `most` with probability 2⁻³²; a second word then decides.
    if (v128.any_true(tied)) drawn = v128.or(drawn, v128.and(tied, i32x4.le_u(philox(state, i >> 2, 1), rest)));
    storeLanes(out + (<usize>i << 2), v128.and(drawn, one), end - i);
  }
}

/**
 * Draws whole numbers from low … low + range − 1, each equally likely; a range of 0 means 2³². Computes
 * ⌊word·range/2³²⌋ as Lemire does (2019, "Fast random integer generation in an interval"): if the low half of
 * word·range is below 2³² mod range, the word is drawn again.
 */
export function randomInteger(out: usize, state: usize, low: i32, range: u32, begin: u32, end: u32): void {
  const uneven: u32 = range ? (<u32>0 - range) % range : 0;
  const first = i32x4.splat(low), ranges = i32x4.splat(range), biased = i32x4.splat(uneven);
  for (let i = begin; i < end; i += 4) {
    let words = philox(state, i >> 2), results = words;
    if (range) {
      for (let attempt = 1;; attempt++) {
        const p0 = i64x2.extmul_low_i32x4_u(words, ranges), p1 = i64x2.extmul_high_i32x4_u(words, ranges);
        results = v128.shuffle<i32>(p0, p1, 1, 3, 5, 7);
        const rejected = i32x4.lt_u(v128.shuffle<i32>(p0, p1, 0, 2, 4, 6), biased);
        if (!v128.any_true(rejected)) break;
        words = selectLanes(philox(state, i >> 2, attempt), words, rejected);
      }
    }
    storeLanes(out + (<usize>i << 2), i32x4.add(results, first), end - i);
  }
}

/**
 * Writes a random permutation of 0…n−1 as int32 with a Fisher–Yates shuffle; each swap uses two random words. A single
 * share computes the whole permutation.
 */
export function randomPermutation(out: usize, state: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) store<u32>(out + (<usize>i << 2), i);
  for (let i: u32 = 0; i + 1 < n; i++) {
    const words = philox(state, i >> 1);
    // 64 random bits scaled to [0, n − i): the bias is below n/2⁶⁴.
    const bits = i & 1 ? i64x2.extract_lane(words, 1) : i64x2.extract_lane(words, 0);
    const j = i + <u32>(((<u64>bits >> 32) * (n - i) + (((<u64>bits & 0xffffffff) * (n - i)) >> 32)) >> 32);
    const p = out + (<usize>i << 2), q = out + (<usize>j << 2);
    const kept = load<u32>(p);
    store<u32>(p, load<u32>(q));
    store<u32>(q, kept);
  }
}

/** Adds `by` to the 64-bit (wide) or 32-bit counter at `address`. */
export function advance(address: usize, by: u32, wide: u32): void {
  if (wide) store<u64>(address, load<u64>(address) + by);
  else store<u32>(address, load<u32>(address) + by);
}
