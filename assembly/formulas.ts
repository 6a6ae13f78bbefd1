/**
 * The formulas of the pointwise kernels, each named after its op's code. A formula takes four elements of each operand,
 * (x), (dy, x) or (a, b), and then the op's parameters p and q, if it has any. Formulas for int32 operands have the
 * suffix Int. `npm run generate` writes kernels/pointwise.ts and kernels/pointwiseInt.ts from the formulas in this
 * file, math.ts and trig.ts.
 */
import * as math from "./math";
import { selectLanes } from "./simd";

// SELU's constants: Klambauer et al. 2017, "Self-Normalizing Neural Networks", eq. 14.
const SELU_ALPHA: f32 = 1.6732632423543772;
const SELU_SCALE: f32 = 1.0507009873554805;

@inline
function splat(x: f32): v128 { return f32x4.splat(x); }

/** x where x is positive or NaN, and `otherwise` elsewhere. */
@inline
function positiveOr(x: v128, otherwise: v128): v128 { return selectLanes(otherwise, x, f32x4.le(x, splat(0))); }

// `neg` and `abs` do not use f32x4.neg and f32x4.abs, because V8 rebuilds the constants of these instructions at every
// use. In loops, it keeps −0 in a register.
@inline
export function neg(x: v128): v128 { return v128.xor(x, splat(-0.0)); }

@inline
export function abs(x: v128): v128 { return v128.andnot(x, splat(-0.0)); }

@inline
export function sign(x: v128): v128 {
  return selectLanes(x, v128.or(v128.and(f32x4.gt(f32x4.abs(x), splat(0)), splat(1)), v128.and(x, splat(-0.0))),
    f32x4.ne(x, x));
}

@inline
export function square(x: v128): v128 { return f32x4.mul(x, x); }

@inline
export function sqrt(x: v128): v128 { return f32x4.sqrt(x); }

@inline
export function rsqrt(x: v128): v128 { return f32x4.div(splat(1), f32x4.sqrt(x)); }

@inline
export function reciprocal(x: v128): v128 { return f32x4.div(splat(1), x); }

@inline
export function leakyRelu(x: v128, p: v128): v128 { return positiveOr(x, f32x4.mul(p, x)); }

@inline
export function elu(x: v128, p: v128): v128 { return positiveOr(x, f32x4.mul(p, math.expm1(x))); }

@inline
export function selu(x: v128): v128 {
  return f32x4.mul(splat(SELU_SCALE), positiveOr(x, f32x4.mul(splat(SELU_ALPHA), math.expm1(x))));
}

/** max(0, min(6, x + 3))/6: more accurate near −3 than x/6 + 1/2, because x + 3 is exact there. Error at most 1 ulp. */
@inline
export function hardSigmoid(x: v128): v128 {
  return f32x4.div(f32x4.pmin(f32x4.pmax(f32x4.add(x, splat(3)), splat(0)), splat(6)), splat(6));
}

@inline
export function hardSwish(x: v128): v128 { return f32x4.mul(x, hardSigmoid(x)); }

@inline
export function clamp(x: v128, p: v128, q: v128): v128 { return f32x4.pmin(f32x4.pmax(x, p), q); }

@inline
export function hardTanh(x: v128, p: v128, q: v128): v128 { return clamp(x, p, q); }

/** 1 where x > 0, else p; NaN where x is NaN. */
@inline
export function heaviside(x: v128, p: v128): v128 {
  return selectLanes(selectLanes(splat(1), p, f32x4.gt(x, splat(0))), x, f32x4.eq(x, x));
}

@inline
export function floor(x: v128): v128 { return f32x4.floor(x); }

@inline
export function ceil(x: v128): v128 { return f32x4.ceil(x); }

@inline
export function round(x: v128): v128 { return f32x4.nearest(x); }

/** dy where x > 0, else p·dy. */
@inline
export function leakyReluGrad(dy: v128, x: v128, p: v128): v128 {
  return selectLanes(dy, f32x4.mul(p, dy), f32x4.gt(x, splat(0)));
}

/** dy where y > 0, else dy·(y + p), because p·eˣ = y + p. */
@inline
export function eluGrad(dy: v128, y: v128, p: v128): v128 {
  return selectLanes(dy, f32x4.mul(dy, f32x4.add(y, p)), f32x4.gt(y, splat(0)));
}

/** dy·λ where y > 0, else dy·(y + λα). */
@inline
export function seluGrad(dy: v128, y: v128): v128 {
  return f32x4.mul(dy,
    selectLanes(splat(SELU_SCALE), f32x4.add(y, splat(SELU_SCALE * SELU_ALPHA)), f32x4.gt(y, splat(0))));
}

/** dy·(Φ(x) + x·φ(x)). */
@inline
export function geluGrad(dy: v128, x: v128): v128 {
  return f32x4.mul(dy, math.geluSlope(x));
}

/** dy·d gelu_tanh(x)/dx. */
@inline
export function geluTanhGrad(dy: v128, x: v128): v128 {
  return f32x4.mul(dy, math.geluTanhSlope(x));
}

/** dy·σ(x)·(1 + x·(1 − σ(x))). */
@inline
export function siluGrad(dy: v128, x: v128): v128 {
  return f32x4.mul(dy, math.siluSlope(x));
}

/** dy·d mish(x)/dx. */
@inline
export function mishGrad(dy: v128, x: v128): v128 {
  return f32x4.mul(dy, math.mishSlope(x));
}

/** dy/6 inside (−3, 3). */
@inline
export function hardSigmoidGrad(dy: v128, x: v128): v128 {
  return v128.and(f32x4.div(dy, splat(6)), f32x4.lt(f32x4.abs(x), splat(3)));
}

/** dy·(2x + 3)/6 inside (−3, 3), dy above, 0 below. */
@inline
export function hardSwishGrad(dy: v128, x: v128): v128 {
  return f32x4.mul(dy,
    selectLanes(f32x4.div(f32x4.add(f32x4.add(x, x), splat(3)), splat(6)), v128.and(splat(1), f32x4.gt(x, splat(0))),
      f32x4.lt(f32x4.abs(x), splat(3))));
}

/** dy where p < x < q. */
@inline
export function hardTanhGrad(dy: v128, x: v128, p: v128, q: v128): v128 {
  return v128.and(dy, v128.and(f32x4.gt(x, p), f32x4.lt(x, q)));
}

/** dy where p ≤ x ≤ q. */
@inline
export function clampGrad(dy: v128, x: v128, p: v128, q: v128): v128 {
  return v128.and(dy, v128.and(f32x4.ge(x, p), f32x4.le(x, q)));
}

@inline
export function add(a: v128, b: v128): v128 { return f32x4.add(a, b); }

@inline
export function sub(a: v128, b: v128): v128 { return f32x4.sub(a, b); }

@inline
export function mul(a: v128, b: v128): v128 { return f32x4.mul(a, b); }

@inline
export function div(a: v128, b: v128): v128 { return f32x4.div(a, b); }

@inline
export function squaredDifference(a: v128, b: v128): v128 {
  const d = f32x4.sub(a, b);
  return f32x4.mul(d, d);
}

/** a, or b·a where a is negative. */
@inline
export function prelu(a: v128, b: v128): v128 {
  return selectLanes(f32x4.mul(a, b), a, f32x4.lt(a, splat(0)));
}

@inline
export function maximum(a: v128, b: v128): v128 { return f32x4.max(a, b); }

@inline
export function minimum(a: v128, b: v128): v128 { return f32x4.min(a, b); }

/** −t·ln σ(x) − (1 − t)·ln σ(−x) = |x|·(t if x < 0, else 1 − t) + ln(1 + e^−|x|), where 0·∞ = 0. */
@inline
export function logisticLoss(x: v128, t: v128): v128 {
  const far = f32x4.abs(x), zero = splat(0);
  const wrong = selectLanes(t, f32x4.sub(splat(1), t), f32x4.lt(x, zero));
  return f32x4.add(v128.andnot(f32x4.mul(far, wrong), f32x4.eq(wrong, zero)), math.softplus(f32x4.neg(far)));
}

/** σ(x) − t: q − t for x < 0, else 1 − t − q, where q = σ(−|x|). */
@inline
export function logisticSlope(x: v128, t: v128): v128 {
  const q = math.sigmoid(f32x4.neg(f32x4.abs(x)));
  return selectLanes(f32x4.sub(q, t), f32x4.sub(f32x4.sub(splat(1), t), q), f32x4.lt(x, splat(0)));
}

@inline
export function addInt(a: v128, b: v128): v128 { return i32x4.add(a, b); }

@inline
export function subInt(a: v128, b: v128): v128 { return i32x4.sub(a, b); }

@inline
export function mulInt(a: v128, b: v128): v128 { return i32x4.mul(a, b); }

@inline
export function maximumInt(a: v128, b: v128): v128 { return i32x4.max_s(a, b); }

@inline
export function minimumInt(a: v128, b: v128): v128 { return i32x4.min_s(a, b); }

@inline
export function equal(a: v128, b: v128): v128 { return f32x4.eq(a, b); }

@inline
export function notEqual(a: v128, b: v128): v128 { return f32x4.ne(a, b); }

@inline
export function less(a: v128, b: v128): v128 { return f32x4.lt(a, b); }

@inline
export function lessEqual(a: v128, b: v128): v128 { return f32x4.le(a, b); }

@inline
export function equalInt(a: v128, b: v128): v128 { return i32x4.eq(a, b); }

@inline
export function notEqualInt(a: v128, b: v128): v128 { return i32x4.ne(a, b); }

@inline
export function lessInt(a: v128, b: v128): v128 { return i32x4.lt_s(a, b); }

@inline
export function lessEqualInt(a: v128, b: v128): v128 { return i32x4.le_s(a, b); }
