/**
 * Trigonometry, powers and remainders on four f32 lanes, and helpers that math.ts uses too. Kernels import them from
 * math.ts. Where f32 has too few bits for the range reduction (x mod π/2, y·log₂x, a − ⌊a/b⌋·b), both halves are
 * promoted to f64x2. As in math.ts, error bounds hold for all of f32 and in both builds.
 */
import { Fast, fma, madd, selectLanes } from "./simd";

const SIGN: i32 = 0x80000000;

@inline
export function splat(c: f32): v128 {
  return f32x4.splat(c);
}

/** x with the sign of `s`, for x ≥ +0. */
@inline
export function withSign(x: v128, s: v128): v128 {
  return v128.or(x, v128.and(s, i32x4.splat(SIGN)));
}

// Horner chains, lowest coefficient first: c0 + x(c1 + x(c2 + …)). M decides how each step is rounded.

@inline
export function poly2<M = Fast>(x: v128, c0: f32, c1: f32, c2: f32): v128 {
  return madd<M>(madd<M>(splat(c2), x, splat(c1)), x, splat(c0));
}
@inline
export function poly4<M = Fast>(x: v128, c0: f32, c1: f32, c2: f32, c3: f32, c4: f32): v128 {
  return madd<M>(madd<M>(poly2<M>(x, c2, c3, c4), x, splat(c1)), x, splat(c0));
}
@inline
export function poly5<M = Fast>(x: v128, c0: f32, c1: f32, c2: f32, c3: f32, c4: f32, c5: f32): v128 {
  return madd<M>(poly4<M>(x, c1, c2, c3, c4, c5), x, splat(c0));
}
@inline
export function poly7<M = Fast>(x: v128, c0: f32, c1: f32, c2: f32, c3: f32, c4: f32, c5: f32, c6: f32, c7: f32): v128 {
  return madd<M>(madd<M>(poly5<M>(x, c2, c3, c4, c5, c6, c7), x, splat(c1)), x, splat(c0));
}

@inline
function low(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}

@inline
function high(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i32>(x, x, 2, 3, 0, 1));
}

/** The inverse of `low` and `high`. */
@inline
function demote(x0: v128, x1: v128): v128 {
  return v128.shuffle<i32>(f32x4.demote_f64x2_zero(x0), f32x4.demote_f64x2_zero(x1), 0, 1, 4, 5);
}

@inline
function splat64(c: f64): v128 {
  return f64x2.splat(c);
}

/** a·b + c in f64, rounded twice in every build. */
@inline
function madd64(a: v128, b: v128, c: v128): v128 {
  return f64x2.add(f64x2.mul(a, b), c);
}

/** 1.5·2⁵²: adding it rounds to an integer and leaves that integer in the low bits. */
const SHIFT: f64 = 6755399441055744;

// ---- angles: x = q·π/2 + r, |r| ≤ π/4 ------------------------------------------------------------------------------

const TWO_OVER_PI: f64 = 0.6366197723675814;
const HALF_PI_HI: f64 = 1.5707963267341256; // 33 bits: q·HALF_PI_HI is exact for |q| < 2²⁰
const HALF_PI_LO: f64 = 6.077100506506192e-11; // π/2 − HALF_PI_HI

/** Above this |x|, q has more than 20 bits and the slow reduction takes over. */
const FAR: f32 = 1e6;

/** Adds x·part to the pair `turn`, (q, fraction), where `part` holds 29 bits of 2/π. The product and its multiples of 4 are exact. */
function addPart(turn: v128, x: f64, part: f64): v128 {
  let p = x * part;
  p -= 4 * nearest(p * 0.25);
  p += f64x2.extract_lane(turn, 1);
  const q = nearest(p);
  return f64x2.replace_lane(f64x2.splat(f64x2.extract_lane(turn, 0) + q), 1, p - q);
}

/**
 * (SHIFT + q, r) for any finite x, NaN for ±∞. Above FAR, x is reduced by Payne and Hanek's method, with q mod 4 and
 * with 2/π in seven parts of 29 bits. Up to FAR, x is reduced as in `quadrant` and `angle`, so a lane's result does not
 * depend on its neighbours.
 */
function farTurn(x: f64): v128 {
  if (abs(x) <= FAR) {
    const t = x * TWO_OVER_PI + SHIFT;
    const q = t - SHIFT;
    return f64x2.replace_lane(f64x2.splat(t), 1, q * -HALF_PI_LO + (q * -HALF_PI_HI + x));
  }
  let turn = f64x2.splat(0);
  turn = addPart(turn, x, 0.636619770899415);
  turn = addPart(turn, x, 1.4681663246252086e-09);
  turn = addPart(turn, x, 2.2760100671971816e-18);
  turn = addPart(turn, x, 5.8812147387730434e-27);
  turn = addPart(turn, x, 1.0346868700836215e-35);
  turn = addPart(turn, x, 3.783256351091319e-45);
  turn = addPart(turn, x, 3.720474878517739e-53);
  const q = f64x2.extract_lane(turn, 0), r = f64x2.extract_lane(turn, 1) * 1.5707963267948966;
  return f64x2.replace_lane(f64x2.splat(SHIFT + q), 1, r);
}

@inline
function isFar(x: v128): bool {
  return v128.any_true(f32x4.gt(f32x4.abs(x), splat(FAR)));
}

/** SHIFT + q, where q = round(x·2/π) is the quadrant, for two f64 lanes. */
@inline
function quadrant(x: v128): v128 {
  return madd64(x, splat64(TWO_OVER_PI), splat64(SHIFT));
}

/** r = x − q·π/2 for two f64 lanes, with the product in two parts. */
@inline
function angle(x: v128, t: v128): v128 {
  const q = f64x2.sub(t, splat64(SHIFT));
  return madd64(q, splat64(-HALF_PI_LO), madd64(q, splat64(-HALF_PI_HI), x));
}

/** The low words of SHIFT + q: q as i32, of which only two bits matter. */
@inline
function lowWords(t0: v128, t1: v128): v128 {
  return v128.shuffle<i32>(t0, t1, 0, 2, 4, 6);
}

// sin r = r + r³·(S1 + S2 r² + S3 r⁴), cos r = 1 − r²/2 + r⁴·(C1 + C2 r² + C3 r⁴): minimax polynomials with errors of
// 4e-9 and 1.2e-10
const S1: f32 = -0.16666655;
const S2: f32 = 0.008332187;
const S3: f32 = -0.00019517897;
const C1: f32 = 0.041666646;
const C2: f32 = -0.001388731;
const C3: f32 = 2.4432327e-5;

/** sin(x + phase·π/2): the low bit of the quadrant selects sin r or cos r, the next bit negates it. */
@inline
function sine<M>(x: v128, phase: i32): v128 {
  const x0 = low(x), x1 = high(x);
  let t0 = quadrant(x0), t1 = quadrant(x1);
  let r0 = angle(x0, t0), r1 = angle(x1, t1);
  if (isFar(x)) {
    const a = farTurn(f64x2.extract_lane(x0, 0)), b = farTurn(f64x2.extract_lane(x0, 1));
    const c = farTurn(f64x2.extract_lane(x1, 0)), d = farTurn(f64x2.extract_lane(x1, 1));
    t0 = v128.shuffle<f64>(a, b, 0, 2);
    r0 = v128.shuffle<f64>(a, b, 1, 3);
    t1 = v128.shuffle<f64>(c, d, 0, 2);
    r1 = v128.shuffle<f64>(c, d, 1, 3);
  }
  const r = demote(r0, r1);
  const q = i32x4.add(lowWords(t0, t1), i32x4.splat(phase));
  const z = f32x4.mul(r, r);
  const s = madd<M>(f32x4.mul(r, z), poly2<M>(z, S1, S2, S3), r);
  const c = f32x4.add(madd<M>(f32x4.mul(z, z), poly2<M>(z, C1, C2, C3), f32x4.mul(z, splat(-0.5))), splat(1));
  const odd = i32x4.shr_s(i32x4.shl(q, 31), 31);
  // −0 + 0·P would be +0
  const y = selectLanes(c, v128.or(s, v128.and(r, i32x4.splat(SIGN))), odd);
  return v128.xor(y, i32x4.shl(i32x4.shr_u(q, 1), 31));
}

/** sin x, for every finite x. Error at most 1.6 ulp, near its zeros too; NaN at ±∞; keeps −0. */
@inline
export function sin<M = Fast>(x: v128): v128 {
  return sine<M>(x, 0);
}

/** cos x = sin(x + π/2), for every finite x. Error at most 1.6 ulp, near its zeros too; NaN at ±∞. */
@inline
export function cos<M = Fast>(x: v128): v128 {
  return sine<M>(x, 1);
}

/** tan x = sin r/cos r in even quadrants, −cos r/sin r in odd ones, for two f64 lanes. */
@inline
function tanHalf(x: v128, far: bool): v128 {
  let t = quadrant(x);
  let r = angle(x, t);
  if (far) {
    const a = farTurn(f64x2.extract_lane(x, 0)), b = farTurn(f64x2.extract_lane(x, 1));
    t = v128.shuffle<f64>(a, b, 0, 2);
    r = v128.shuffle<f64>(a, b, 1, 3);
  }
  const z = f64x2.mul(r, r);
  const s = f64x2.mul(r, madd64(madd64(madd64(splat64(S3), z, splat64(S2)), z, splat64(S1)), z, splat64(1)));
  const c = madd64(madd64(madd64(madd64(splat64(C3), z, splat64(C2)), z, splat64(C1)), z, splat64(-0.5)), z,
    splat64(1));
  const sign = i64x2.shl(t, 63);
  const odd = i64x2.ne(sign, i64x2.splat(0));
  return v128.xor(f64x2.div(selectLanes(c, s, odd), selectLanes(s, c, odd)), sign);
}

/** tan x, for every finite x, in f64. Error at most 0.6 ulp, near its zeros and poles too; NaN at ±∞; keeps −0. */
@inline
export function tan(x: v128): v128 {
  const far = isFar(x);
  return demote(tanHalf(low(x), far), tanHalf(high(x), far));
}

/**
 * The angle of the point (x, y): atan t = t + t³·P(t²), t = min(|x|, |y|)/max(|x|, |y|), mirrored at π/4 and π/2. Error
 * at most 2 ulp, measured on 17 million pairs; ±0 and ±∞ as in C99.
 */
@inline
export function atan2(y: v128, x: v128): v128 {
  const ax = f32x4.abs(x), ay = f32x4.abs(y);
  const max = f32x4.max(ax, ay), min = f32x4.min(ax, ay);
  let t = f32x4.div(min, max);
  t = selectLanes(splat(0), t, f32x4.eq(max, splat(0)));
  t = selectLanes(splat(1), t, f32x4.eq(min, splat(Infinity)));
  const z = f32x4.mul(t, t);
  const p = fma(
    fma(fma(poly4(z, 0.106657684, -0.07551656, 0.043204635, -0.016363103, 0.0029193931), z, splat(-0.14211002)), z,
      splat(0.19993767)),
    z,
    splat(-0.33333153),
  );
  const a = fma(f32x4.mul(t, z), p, t);
  // π/2 and π in two parts
  const b = selectLanes(f32x4.add(f32x4.sub(splat(-4.371139e-8), a), splat(1.5707964)), a, f32x4.gt(ay, ax));
  const c = selectLanes(f32x4.add(f32x4.sub(splat(-8.742278e-8), b), splat(3.1415927)), b, i32x4.shr_s(x, 31));
  return withSign(c, y);
}

// ---- powers --------------------------------------------------------------------------------------------------------

const SQRT_HALF_BITS: i64 = 0x3fe6a09e667f3bcd;

/**
 * 2^(y·log₂x) for positive finite x: x = 2ᵏ·m, log₂m = s·P(s²) with s = (m − 1)/(m + 1); 2ᶻ = 2ⁿ·(1 + f·Q(f)), n =
 * round(z). Accurate to 35 bits.
 */
@inline
function powHalf(x: v128, y: v128): v128 {
  // Offset the bits of x, so that the exponent field is k + 1023 and the other bits count up from m = √½.
  const bits = i64x2.add(x, i64x2.splat(0x3ff0000000000000 - SQRT_HALF_BITS));
  const k = f64x2.sub(v128.or(i64x2.shr_u(bits, 52), i64x2.splat(0x4330000000000000)),
    splat64(4503599627370496.0 + 1023.0));
  const m = i64x2.add(v128.and(bits, i64x2.splat(0x000fffffffffffff)), i64x2.splat(SQRT_HALF_BITS));
  const s = f64x2.div(f64x2.sub(m, splat64(1)), f64x2.add(m, splat64(1)));
  const w = f64x2.mul(s, s);
  let p = madd64(splat64(0.34074268032633803), w, splat64(0.41167199459663495));
  p = madd64(p, w, splat64(0.5770835980046649));
  p = madd64(p, w, splat64(0.9617966732666737));
  p = madd64(p, w, splat64(2.885390081790154));
  const z = f64x2.pmin(f64x2.pmax(f64x2.mul(y, madd64(s, p, k)), splat64(-200)), splat64(200));
  const t = f64x2.add(z, splat64(SHIFT + 1023));
  const f = f64x2.sub(z, f64x2.sub(t, splat64(SHIFT + 1023)));
  let e = madd64(splat64(0.00015594676995989365), f, splat64(0.001340664386717813));
  e = madd64(e, f, splat64(0.009617692976460882));
  e = madd64(e, f, splat64(0.055503105511061274));
  e = madd64(e, f, splat64(0.24022652782869913));
  e = madd64(e, f, splat64(0.6931472149679787));
  return f64x2.mul(madd64(e, f, splat64(1)), i64x2.shl(t, 52));
}

/**
 * xʸ = ±2^(y·log₂|x|) in f64, with the special cases of C99's pow. The error is at most 0.6 ulp, measured on 17 million
 * pairs.
 */
@inline
export function pow(x: v128, y: v128): v128 {
  const a = f32x4.abs(x), b = f32x4.abs(y);
  let r = demote(powHalf(low(a), low(y)), powHalf(high(a), high(y)));
  const inf = splat(Infinity), one = splat(1), zero = splat(0);
  // x is 0, ±∞ or NaN, or y is ±∞
  const rare = v128.or(v128.or(f32x4.eq(a, zero), v128.not(f32x4.lt(a, inf))), f32x4.eq(b, inf));
  if (v128.any_true(rare)) {
    const grows = v128.xor(f32x4.gt(a, one), f32x4.lt(y, zero));
    let limit = v128.and(inf, grows);
    limit = selectLanes(one, limit, f32x4.eq(a, one));
    limit = selectLanes(limit, f32x4.add(a, y), v128.and(f32x4.eq(x, x), f32x4.eq(y, y)));
    r = selectLanes(limit, r, rare);
  }
  if (i32x4.bitmask(x)) {
    const whole = f32x4.eq(f32x4.nearest(y), y);
    const half = f32x4.mul(y, splat(0.5));
    const odd = v128.andnot(whole, f32x4.eq(f32x4.nearest(half), half));
    r = v128.xor(r, v128.and(v128.and(x, odd), i32x4.splat(SIGN)));
    const undefined = v128.andnot(v128.and(f32x4.lt(x, zero), f32x4.gt(x, splat(-Infinity))), whole);
    r = selectLanes(splat(NaN), r, undefined);
  }
  return selectLanes(one, r, v128.or(f32x4.eq(x, one), f32x4.eq(y, zero)));
}

// ---- remainders: a − ⌊a/b⌋·b, a and b from f32 or i32 ----------------------------------------------------------------

/** 2²⁹. If the quotient is smaller, its product with the 24 bits of b fits into f64. */
const EXACT_QUOTIENT: f64 = 536870912;

const MANTISSA: u64 = 0x000fffffffffffff;
const HIDDEN: u64 = 0x0010000000000000;

/**
 * Computes a − trunc(a/b)·b for |a/b| ≥ 2²⁹ exactly, by long division of the mantissas (24 bits each), 40 bits of the
 * quotient at a time.
 */
function farRemainder(a: f64, b: f64): f64 {
  const bitsA = reinterpret<u64>(abs(a)), bitsB = reinterpret<u64>(abs(b));
  const divisor = ((bitsB & MANTISSA) | HIDDEN) >> 29;
  let rest = (((bitsA & MANTISSA) | HIDDEN) >> 29) % divisor;
  for (let shift = (bitsA >> 52) - (bitsB >> 52); shift;) {
    const part = min<u64>(shift, 40);
    rest = (rest << part) % divisor;
    shift -= part;
  }
  // `rest` is in units of b's last bit.
  return copysign(<f64>rest * reinterpret<f64>(((bitsB >> 52) - 23) << 52), a);
}

/** The remainder of any a and b. */
function rareMod(a: f64, b: f64): f64 {
  const q = trunc(a / b);
  let m = a;
  if (abs(q) >= EXACT_QUOTIENT && abs(q) < Infinity) m = farRemainder(a, b);
  else if (q != 0) m = a - q * b;
  return m * b < 0 ? m + b : m;
}

/** trunc(a/b) for two f64 lanes. */
@inline
function quotient(a: v128, b: v128): v128 {
  return f64x2.trunc(f64x2.div(a, b));
}

/**
 * a − q·b, the remainder of truncating division, which has the sign of a. If the remainder and b have different signs, adds b.
 */
@inline
function remainder(a: v128, b: v128, q: v128): v128 {
  const m = f64x2.sub(a, f64x2.mul(q, b));
  return f64x2.add(m, v128.and(b, f64x2.lt(f64x2.mul(m, b), splat64(0))));
}

/**
 * a − ⌊a/b⌋·b with the sign of b, like torch.remainder and Python's %. Correctly rounded for all finite a and b, and exact if
 * their signs agree. If b is infinite and has the sign of a, the result is a; if b = 0 or a = ±∞, it is NaN. A remainder of 0
 * has the sign of a.
 */
@inline
export function mod(a: v128, b: v128): v128 {
  const a0 = low(a), b0 = low(b), a1 = high(a), b1 = high(b);
  const q0 = quotient(a0, b0), q1 = quotient(a1, b1);
  let m0 = remainder(a0, b0, q0), m1 = remainder(a1, b1, q1);
  // A lane's quotient has too many bits, or its result is NaN because b is infinite.
  const size = f64x2.add(f64x2.abs(q0), f64x2.abs(q1)), sum = f64x2.add(m0, m1);
  if (v128.any_true(v128.or(f64x2.ge(size, splat64(EXACT_QUOTIENT)), f64x2.ne(sum, sum)))) {
    const c0 = rareMod(f64x2.extract_lane(a0, 0), f64x2.extract_lane(b0, 0)),
      c1 = rareMod(f64x2.extract_lane(a0, 1), f64x2.extract_lane(b0, 1));
    const c2 = rareMod(f64x2.extract_lane(a1, 0), f64x2.extract_lane(b1, 0)),
      c3 = rareMod(f64x2.extract_lane(a1, 1), f64x2.extract_lane(b1, 1));
    m0 = f64x2.replace_lane(f64x2.splat(c0), 1, c1);
    m1 = f64x2.replace_lane(f64x2.splat(c2), 1, c3);
  }
  const m = demote(m0, m1);
  return v128.or(m, v128.and(v128.and(a, i32x4.splat(SIGN)), f32x4.eq(m, splat(0))));
}

/** a − ⌊a/b⌋·b for i32 lanes, exactly; 0 for b = 0. */
@inline
export function modInt(a: v128, b: v128): v128 {
  const a0 = f64x2.convert_low_i32x4_s(a), a1 = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  const b0 = f64x2.convert_low_i32x4_s(b), b1 = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(b, b, 2, 3, 0, 1));
  const m0 = remainder(a0, b0, quotient(a0, b0)), m1 = remainder(a1, b1, quotient(a1, b1));
  return v128.shuffle<i32>(i32x4.trunc_sat_f64x2_s_zero(m0), i32x4.trunc_sat_f64x2_s_zero(m1), 0, 1, 4, 5);
}
