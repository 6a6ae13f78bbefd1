/**
 * Elementary functions on four f32 lanes: exponentials, logarithms, the error function and the activations built from them
 * (angles, powers and remainders come from trig.ts). All are inlined and stateless, and branch only for rare lanes; the result
 * of a lane never depends on its neighbours. NaN gives NaN, and ±∞ gives the function's limit. Error bounds hold for all of
 * f32, including denormals, and for both builds, unless a comment names one; 1 ulp is the spacing of f32 at the exact result.
 */
import { Fast, fma, madd, selectLanes } from "./simd";
import { poly4, poly5, poly7, splat, withSign } from "./trig";

export { atan2, cos, mod, pow, sin, tan } from "./trig";

const LN2_HI: f32 = 0.693145751953125; // 15 bits: n·LN2_HI is exact for |n| < 2⁹
const LN2_LO: f32 = 1.4286068203094172e-6; // ln 2 − LN2_HI
const LOG2E: f32 = 1.4426950408889634;
const SQRT_HALF_BITS: i32 = 0x3f3504f3;

// ---- exponentials: eˣ = 2ⁿ·eʳ, n = round(x·log₂e), |r| ≤ ½ ln 2 -------------------------------------------------

/** 1.5·2²³ + 254: adding it rounds to an integer n and leaves n + 254, twice the exponent's bias, in the low bits. */
const SHIFT: f32 = 12583166;

/** SHIFT + round(x·log₂e), for |x| below about 2¹⁵. */
@inline
function roundShifted(x: v128): v128 {
  return fma(x, splat(LOG2E), splat(SHIFT));
}

/** r = x − n·ln 2, with the product in two parts. */
@inline
function reduce(x: v128, t: v128): v128 {
  const n = f32x4.sub(t, splat(SHIFT));
  return fma(n, splat(-LN2_LO), fma(n, splat(-LN2_HI), x));
}

/** eʳ ≈ 1 + r + r²·P(r), minimax, error 3.3e-9. */
@inline
function expPoly(r: v128): v128 {
  const p = poly4(r, 0.49999994, 0.16666515, 0.041668084, 0.008369349, 0.0013840399);
  return f32x4.add(fma(f32x4.mul(r, r), p, r), splat(1));
}

/** y·2ⁿ as y·2^⌊n/2⌋·2^⌈n/2⌉, so that overflow and underflow round only once; −150 ≤ n ≤ 150. */
@inline
function scaleByPower(y: v128, t: v128): v128 {
  const half = i32x4.shr_u(t, 1);
  const rest = i32x4.sub(t, half);
  return f32x4.mul(f32x4.mul(y, i32x4.shl(half, 23)), i32x4.shl(rest, 23));
}

/** eˣ for −105 ≤ x ≤ 90. */
@inline
function expBounded(x: v128): v128 {
  const t = roundShifted(x);
  return scaleByPower(expPoly(reduce(x, t)), t);
}

/** eˣ for |x| < 87, scaled in one step. */
@inline
function expSmall(x: v128): v128 {
  const t = roundShifted(x);
  const power = i32x4.sub(i32x4.shl(t, 23), i32x4.splat(127 << 23));
  return f32x4.mul(expPoly(reduce(x, t)), power);
}

/** e^−|x|: the building block of all sigmoids, because it cannot overflow. */
@inline
function expNegAbs(x: v128): v128 {
  return expBounded(f32x4.neg(f32x4.pmin(f32x4.abs(x), splat(105))));
}

/**
 * eˣ = 2ⁿ·eʳ. Error at most 1.1 ulp; ∞ above 88.7228, gradual underflow, 0 below −103.98.
 */
@inline
export function exp(x: v128): v128 {
  return expBounded(f32x4.pmin(f32x4.pmax(x, splat(-105)), splat(90)));
}

/** eˣ for x ≤ 0. */
@inline
export function expNonPositive(x: v128): v128 { return expBounded(f32x4.pmax(x, splat(-105))); }

/** SHIFT for exp2NonPositive: leaves n + 127, a biased exponent, in the low bits. */
const SHIFT2: f32 = 12583039;

/**
 * 2ʸ = 2ⁿ·2ʳ, n = round(y), for y ≤ 0; a positive y counts as 0. Error at most 1 ulp; 0 below −125, so that no result is
 * denormal. 2ʳ ≈ 1 + r·P(r), minimax, error 2e-9.
 */
@inline
export function exp2NonPositive(y: v128): v128 {
  const c = f32x4.pmin(y, splat(0)), t = f32x4.add(c, splat(SHIFT2)), r = f32x4.sub(c, f32x4.sub(t, splat(SHIFT2)));
  const p = poly5(r, 0.6931472, 0.24022648, 0.055503324, 0.009618437, 0.0013398874, 0.00015353362);
  return v128.andnot(f32x4.mul(fma(p, r, splat(1)), i32x4.shl(t, 23)), f32x4.lt(c, splat(-125)));
}

/**
 * eˣ − 1 = 2((eʳ − 1)·2ⁿ⁻¹ + (2ⁿ⁻¹ − ½)), and eʳ − 1 = r + r²·P(r) itself for n = 0. Error at most 1.5 ulp; keeps −0.
 */
@inline
export function expm1(x: v128): v128 {
  const c = f32x4.pmin(f32x4.pmax(x, splat(-20)), splat(89));
  const t = roundShifted(c);
  const r = reduce(c, t);
  const p = fma(f32x4.mul(r, r), poly5(r, 0.5, 0.16666636, 0.04166651, 0.00834151, 0.0013930543, 0.00015016444), r);
  const s = i32x4.sub(i32x4.shl(t, 23), i32x4.splat(128 << 23));
  const y = fma(p, s, f32x4.sub(s, splat(0.5)));
  return withSign(selectLanes(p, f32x4.add(y, y), f32x4.eq(t, splat(SHIFT))), x);
}

// ---- logarithms: x = 2ᵏ·(1 + f), √½ ≤ 1 + f < √2 -------------------------------------------------------------------

/** k·ln 2 + f − f²/2 + f³·P(f), with k·ln 2 in two parts. */
@inline
function logSum<M = Fast>(k: v128, f: v128): v128 {
  const p = poly7<M>(f, 0.3333333, -0.25000823, 0.2000126, -0.16623345, 0.14201072, -0.13159549, 0.12765728,
    -0.07641177);
  const z = f32x4.mul(f, f);
  const tail = madd<M>(z, splat(-0.5), f32x4.mul(f32x4.mul(f, z), p));
  return madd<M>(k, splat(LN2_HI), f32x4.add(f, madd<M>(k, splat(LN2_LO), tail)));
}

/** A mask of the lanes where x is not positive, finite and normal. */
@inline
function outsideNormal(x: v128): v128 {
  return i32x4.ge_u(i32x4.sub(x, i32x4.splat(0x00800000)), i32x4.splat(0x7f000000));
}

/** The logarithm of x in lanes where x is 0, negative, ∞ or NaN; y in the others. */
@inline
function logLimits(y: v128, x: v128): v128 {
  y = selectLanes(y, x, f32x4.lt(x, splat(Infinity)));
  y = selectLanes(splat(-Infinity), y, f32x4.eq(x, splat(0)));
  return selectLanes(splat(NaN), y, f32x4.lt(x, splat(0)));
}

/** ln x = k·ln 2 + ln(1 + f). Error at most 1 ulp, for denormals too; −∞ at ±0, NaN below. */
@inline
export function log<M = Fast>(x: v128): v128 {
  const rare = v128.any_true(outsideNormal(x));
  let m = x;
  let bias = splat(0);
  if (rare) {
    const denormal = f32x4.lt(x, splat(1.1754943508222875e-38));
    m = selectLanes(f32x4.mul(x, splat(8388608)), x, denormal);
    bias = v128.and(denormal, splat(23));
  }
  const k = i32x4.shr_s(i32x4.sub(m, i32x4.splat(SQRT_HALF_BITS)), 23);
  const f = f32x4.sub(i32x4.sub(m, i32x4.shl(k, 23)), splat(1));
  const y = logSum<M>(f32x4.sub(f32x4.convert_i32x4_s(k), bias), f);
  return rare ? logLimits(y, x) : y;
}

/** ln(hi + lo) for hi ≥ |lo|, hi + lo normal and finite: the rounding error of the sum is added back to f. */
@inline
function logOfSum(hi: v128, lo: v128): v128 {
  const u = f32x4.add(hi, lo);
  const error = f32x4.sub(lo, f32x4.sub(u, hi));
  const k = i32x4.shr_s(i32x4.sub(u, i32x4.splat(SQRT_HALF_BITS)), 23);
  const shift = i32x4.shl(i32x4.min_s(k, i32x4.splat(126)), 23);
  const f = f32x4.sub(i32x4.sub(u, i32x4.shl(k, 23)), splat(1));
  return logSum(f32x4.convert_i32x4_s(k), fma(error, i32x4.sub(i32x4.splat(127 << 23), shift), f));
}

/** ln(1 + x), with the rounding error of 1 + x added back. Error at most 1.5 ulp; −∞ at −1, NaN below; keeps −0. */
@inline
export function log1p(x: v128): v128 {
  const y = logOfSum(f32x4.pmax(x, splat(1)), f32x4.pmin(x, splat(1)));
  const u = f32x4.add(x, splat(1));
  return withSign(v128.any_true(outsideNormal(u)) ? logLimits(y, u) : y, x);
}

/** ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|). Error at most 1.8 ulp. */
@inline
export function softplus(x: v128): v128 {
  return f32x4.add(f32x4.pmax(x, splat(0)), logOfSum(splat(1), expNegAbs(x)));
}

/** ln σ(x) = min(x, 0) − ln(1 + e^−|x|). Error at most 1.8 ulp; +0 at +∞. */
@inline
export function logSigmoid(x: v128): v128 {
  return f32x4.sub(f32x4.pmin(x, splat(0)), logOfSum(splat(1), expNegAbs(x)));
}

// ---- sigmoids ------------------------------------------------------------------------------------------------------

/** tanh x = 1 − 2/(e²ˣ + 1) for |x| ≥ 0.625, x + x³·P(x²) below. Error at most 1.4 ulp; keeps −0. */
@inline
export function tanh(x: v128): v128 {
  const a = f32x4.pmin(f32x4.abs(x), splat(10));
  const z = f32x4.mul(a, a);
  const p = poly4(z, -0.3333328, 0.13331406, -0.053736515, 0.020628167, -0.0056922967);
  const near = fma(f32x4.mul(a, z), p, a);
  const e = expSmall(f32x4.add(a, a));
  const far = f32x4.sub(splat(1), f32x4.div(splat(2), f32x4.add(e, splat(1))));
  return withSign(selectLanes(near, far, f32x4.lt(a, splat(0.625))), x);
}

/**
 * σ(x) = 1/(1 + e⁻ˣ) = b − b·e/(1 + e), where e = e^−|x| and b = e for x < 0, 1 for x ≥ 0.
 * Error at most 1.9 ulp (relaxed: 1.7).
 */
@inline
export function sigmoid(x: v128): v128 {
  const e = expNegAbs(x);
  const b = selectLanes(e, splat(1), f32x4.lt(x, splat(0)));
  // If e ≤ 2⁻²⁶, the product has no effect: make q 0, because a denormal number would be slow.
  const q = v128.andnot(f32x4.div(e, f32x4.add(e, splat(1))), f32x4.le(e, splat(1.4901161193847656e-8)));
  return fma(f32x4.neg(b), q, b);
}

/** σ(x) for gates: error at most 2 ulp for |x| ≤ 86; beyond that, the result is constant: below 1e-37 or exactly 1. */
@inline
export function gateSigmoid(x: v128): v128 {
  const c = f32x4.neg(f32x4.pmin(f32x4.pmax(x, splat(-86)), splat(86)));
  return f32x4.div(splat(1), f32x4.add(splat(1), expSmall(c)));
}

/**
 * tanh x for gates: m/(m + 2), where m = e²ˣ − 1 = 2ⁿ·p + (2ⁿ − 1), p = eʳ − 1, r = 2x − n·ln 2. Takes half the
 * instructions of tanh. Error at most 3 ulp; ±1 for |x| ≥ 10.
 */
@inline
export function gateTanh(x: v128): v128 {
  const c = f32x4.pmin(f32x4.pmax(x, splat(-10)), splat(10));
  const t = fma(c, splat(2 * LOG2E), splat(SHIFT)), n = f32x4.sub(t, splat(SHIFT));
  // r/2
  const r = fma(n, splat(-LN2_LO / 2), fma(n, splat(-LN2_HI / 2), c));
  const p = fma(f32x4.mul(r, r), poly4(r, 2, 1.3333234, 0.6666605, 0.2677326, 0.08925793), f32x4.add(r, r));
  const power = i32x4.sub(i32x4.shl(t, 23), i32x4.splat(127 << 23));
  const m = fma(p, power, f32x4.sub(power, splat(1)));
  return f32x4.div(m, f32x4.add(m, splat(2)));
}

/** d/dx x·σ(v(x)) = s(1 + x·(1 − s)·v′), with 1 − s computed as σ(−v), not by subtraction. */
@inline
function gateGrad(x: v128, v: v128, dv: v128): v128 {
  const e = expNegAbs(v);
  const d = f32x4.div(splat(1), f32x4.add(e, splat(1)));
  const ed = f32x4.mul(e, d);
  const negative = f32x4.lt(v, splat(0));
  const s = selectLanes(ed, d, negative);
  const rest = selectLanes(d, ed, negative);
  return f32x4.mul(s, fma(f32x4.mul(x, rest), dv, splat(1)));
}

/** silu x = x·σ(x). Error at most 2.8 ulp for x ≥ −87; below, where σ is denormal, an absolute error under 1e-43. */
@inline
export function silu(x: v128): v128 {
  const c = f32x4.pmax(x, splat(-110));
  return f32x4.mul(c, sigmoid(c));
}

/** d silu/dx = σ(x)·(1 + x·(1 − σ(x))). Absolute error under 2.4e-7; the function has a zero at −1.278. */
@inline
export function siluSlope(x: v128): v128 {
  const c = f32x4.pmin(f32x4.pmax(x, splat(-110)), splat(110));
  return gateGrad(c, c, splat(1));
}

/**
 * mish x = x·tanh(softplus x) = x·w/(w + 2), w = eˣ(eˣ + 2).
 * Error at most 5 ulp for x ≥ −87; below, where eˣ is denormal, an absolute error under 1e-43.
 */
@inline
export function mish(x: v128): v128 {
  const c = f32x4.pmax(x, splat(-110));
  const e = expBounded(f32x4.pmin(f32x4.pmax(x, splat(-105)), splat(20)));
  const w = f32x4.mul(e, f32x4.add(e, splat(2)));
  return f32x4.mul(c, f32x4.div(w, f32x4.add(w, splat(2))));
}

/**
 * d mish/dx = w/(w + 2) + 4x·e(e + 1)/(w + 2)², e = eˣ, w = e(e + 2). Absolute error under 2.5e-7; the function has a
 * zero at −1.192.
 */
@inline
export function mishSlope(x: v128): v128 {
  const c = f32x4.pmin(f32x4.pmax(x, splat(-105)), splat(20));
  const e = expBounded(c);
  const w = f32x4.mul(e, f32x4.add(e, splat(2)));
  const d = f32x4.div(splat(1), f32x4.add(w, splat(2)));
  const slope = f32x4.mul(f32x4.mul(f32x4.mul(c, splat(4)), fma(e, e, e)), d);
  return f32x4.mul(f32x4.add(w, slope), d);
}

// ---- the normal distribution ---------------------------------------------------------------------------------------

/** erf x = x + x·P(x²) for |x| < 0.875, 1 − e^Q(|x|) above. Error at most 1.5 ulp (relaxed: 1.2); keeps −0. */
@inline
export function erf(x: v128): v128 {
  const a = f32x4.pmin(f32x4.abs(x), splat(4));
  const p = poly5(f32x4.mul(a, a), 0.12837915, -0.37612504, 0.11281922, -0.026770486, 0.004998928, -0.0006020491);
  const near = fma(a, p, a);
  const q = fma(poly5(a, -1.1279361, -0.6367372, -0.104327515, 0.022420226, -0.0030922939, 0.00020099612), a,
    splat(-0.00013357577));
  const far = f32x4.sub(splat(1), expSmall(q));
  return withSign(selectLanes(near, far, f32x4.lt(a, splat(0.875))), x);
}

/** Mills' ratio over √2π, R(a) = Φ(−a)·e^(a²/2), for 0 ≤ a ≤ 15: P(a)/Q(a), all coefficients positive, error 1.2e-8. */
@inline
function mills(a: v128): v128 {
  const p = poly4(a, 0.5, 0.43928552, 0.18397006, 0.04088127, 0.004153195);
  return f32x4.div(p, poly5(a, 1, 1.676456, 1.2055535, 0.471411, 0.10248025, 0.010410405));
}

/** m·e^(−a²/2) for 0 ≤ a ≤ 15: a² is computed in two exact parts, because otherwise the tail would lose its last seven bits. */
@inline
function timesGaussian(m: v128, a: v128): v128 {
  const hi = v128.and(a, i32x4.splat(0xfffff000));
  const lo = f32x4.mul(f32x4.mul(f32x4.sub(a, hi), f32x4.add(a, hi)), splat(-0.5));
  const x = f32x4.mul(f32x4.mul(hi, hi), splat(-0.5));
  const t = roundShifted(x);
  return scaleByPower(f32x4.mul(m, expPoly(f32x4.add(reduce(x, t), lo))), t);
}

/**
 * gelu x = x·Φ(x) = max(x, 0) − a·Φ(−a), a = |x|. The relative error is under 6e-7, at most 9 ulp (relaxed: 7), down
 * the left tail to −14.3, where the result underflows.
 */
@inline
export function gelu(x: v128): v128 {
  const a = f32x4.pmin(f32x4.abs(x), splat(15));
  return f32x4.sub(f32x4.pmax(x, splat(0)), timesGaussian(f32x4.mul(a, mills(a)), a));
}

/**
 * d gelu/dx = Φ(x) + x·φ(x): g = e^(−a²/2)·(R(a) − a/√2π) for x < 0, 1 − g for x ≥ 0, a = |x|. Absolute error under
 * 1.5e-7, relative error under 3e-7 for x < −2; the function has a zero at −0.7518.
 */
@inline
export function geluSlope(x: v128): v128 {
  const a = f32x4.pmin(f32x4.abs(x), splat(15));
  const g = timesGaussian(fma(a, splat(-0.3989422804014327), mills(a)), a);
  return selectLanes(g, f32x4.sub(splat(1), g), f32x4.lt(x, splat(0)));
}

// √(8/π)·(x + 0.044715x³), twice the argument of gelu's tanh
const GELU_1: f32 = 1.5957691216057308;
const GELU_3: f32 = 0.07135481627159945;

/**
 * gelu's tanh form, ½x(1 + tanh(√(2/π)(x + 0.044715x³))) = x·σ(√(8/π)(x + 0.044715x³)). Relative error under 4.5e-7 for
 * x ≥ −2, growing with σ's argument to 1.5e-5 at −10.2, where the result underflows.
 */
@inline
export function geluTanh(x: v128): v128 {
  const c = f32x4.pmax(x, splat(-20));
  return f32x4.mul(c, sigmoid(f32x4.mul(c, fma(f32x4.mul(c, c), splat(GELU_3), splat(GELU_1)))));
}

/**
 * d geluTanh/dx = s(1 + x·(1 − s)·v′), s = σ(v), v = √(8/π)(x + 0.044715x³). Absolute error under 2.5e-7; the function
 * has a zero at −0.7525.
 */
@inline
export function geluTanhSlope(x: v128): v128 {
  const c = f32x4.pmin(f32x4.pmax(x, splat(-20)), splat(20));
  const z = f32x4.mul(c, c);
  const v = f32x4.mul(c, fma(z, splat(GELU_3), splat(GELU_1)));
  return gateGrad(c, v, fma(z, splat(3.0 * GELU_3), splat(GELU_1)));
}

/** max(x, 0), or NaN, in two instructions; f32x4.max takes eight in V8 on x64. */
@inline
export function relu(x: v128): v128 { return v128.andnot(x, f32x4.le(x, f32x4.splat(0))); }

/** min(max(x, 0), 6), with the bits of formulas.ts: hardTanh. */
@inline
export function relu6(x: v128): v128 { return f32x4.pmin(f32x4.pmax(x, f32x4.splat(0)), f32x4.splat(6)); }

/** dy where y > 0. */
@inline
export function reluGrad(dy: v128, y: v128): v128 { return v128.and(dy, f32x4.gt(y, f32x4.splat(0))); }

/** dy·(1 − y²). */
@inline
export function tanhGrad(dy: v128, y: v128): v128 { return f32x4.mul(dy, f32x4.sub(f32x4.splat(1), f32x4.mul(y, y))); }

/** dy·y·(1 − y). */
@inline
export function sigmoidGrad(dy: v128, y: v128): v128 {
  return f32x4.mul(dy, f32x4.mul(y, f32x4.sub(f32x4.splat(1), y)));
}
