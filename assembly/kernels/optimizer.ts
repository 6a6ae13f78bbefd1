/**
 * Optimizer updates: one pass over a parameter p, its gradient g and the optimizer's state, in place, on elements
 * [begin, end). The formulas and their order of operations are PyTorch's (torch.optim). Constants are float64, so that 1 − β
 * is exact before it is rounded.
 *
 * Denormal numbers make processors several times slower, and a state that decays would stay among them. So a momentum or mean of
 * at most 2⁻¹⁰⁰ (8·10⁻³¹) becomes 0; so does a mean of squares of at most 2⁻¹²⁰, and beside it a gradient of at most 2⁻⁵⁶
 * (10⁻¹⁷) is 0.
 *
 * Loops test at their end: V8 then computes what does not change before them, not in every turn.
 */
import { fma, storeLanes } from "../simd";
import { UpdateFlag } from "../opcodes";

// @ts-ignore: decorator
@inline
function splat(x: f64): v128 { return f32x4.splat(<f32>x); }

// @ts-ignore: decorator
@inline
/** x, or 0 where |x| ≤ 2ᵏ, `bits` being those of 2ᵏ. NaN stays. */
function flushed(x: v128, bits: i32): v128 {
  return v128.and(x, i32x4.gt_s(v128.and(x, i32x4.splat(0x7fffffff)), i32x4.splat(bits)));
}

/** 2⁻¹⁰⁰, for momenta, means and gradients. */
const LEAST: i32 = (127 - 100) << 23;
/** 2⁻¹²⁰, for means of squares. */
const LEAST_SQUARE: i32 = (127 - 120) << 23;
/** 2⁻⁵⁶, for gradients in means of squares. */
const LEAST_ROOT: i32 = (127 - 56) << 23;

// @ts-ignore: decorator
@inline
function square(d: v128): v128 {
  const g = flushed(d, LEAST_ROOT);
  return f32x4.mul(g, g);
}

/** xᵗ by repeated squaring. */
export function power(x: f64, t: u32): f64 {
  let result: f64 = 1;
  for (; t; t >>= 1, x *= x) if (t & 1) result *= x;
  return result;
}

/** ∏ μᵢ for i ≤ t, μᵢ = β₁(1 − ½·qⁱ); 0 once it counts no more. */
function momentumProduct(beta1: f64, q: f64, t: u32): f64 {
  let product: f64 = 1, decay = q;
  for (let i: u32 = 0; i < t; i++, decay *= q) {
    product *= beta1 * (1 - 0.5 * decay);
    if (product < 1e-18) return 0;
  }
  return product;
}

// @ts-ignore: decorator
@inline
/** The gradient to follow: g, or −g to maximize, plus decay·p. */
function direction(g: v128, p: v128, maximize: u32, decay: f64): v128 {
  if (maximize) g = f32x4.neg(g);
  return decay != 0 ? fma(splat(decay), p, g) : g;
}

/**
 * b ← μ·b + (1 − τ)·g (b = g at the first step);  p ← p − lr·(g + μ·b  if nesterov, else b).
 * s0: b, or 0 where momentum μ is 0.
 */
export function sgd(p: usize, g: usize, s0: usize, lr: f64, step: u32, flags: u32, momentum: f64, dampening: f64, decay: f64, begin: u32, end: u32): void {
  const rate = splat(-lr), mu = splat(momentum), fresh = splat(step == 1 ? 1 : 1 - dampening);
  if (begin >= end) return;
  let i = begin;
  do {
    const at: usize = i << 2;
    const w = v128.load(p + at);
    let d = direction(v128.load(g + at), w, flags & UpdateFlag.Maximize, decay);
    if (s0) {
      const b = step == 1 ? d : flushed(fma(mu, v128.load(s0 + at), f32x4.mul(fresh, d)), LEAST);
      storeLanes(s0 + at, b, end - i);
      d = flags & UpdateFlag.Nesterov ? fma(mu, b, d) : b;
    }
    storeLanes(p + at, fma(rate, d, w), end - i);
  } while ((i += 4) < end);
}

/**
 * m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  p ← p − lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)
 * (Kingma and Ba 2015, algorithm 1); decoupled decay first scales p by 1 − lr·decay (Loshchilov and Hutter 2019).
 * s0: m, s1: v, s2: the largest v so far if amsgrad; beta1t = β₁ᵗ, beta2t = β₂ᵗ. Nadam (Dozat 2016) replaces m/(1 − β₁ᵗ) by
 * (1 − μₜ)/(1 − ∏μ)·g + μₜ₊₁/(1 − ∏μ·μₜ₊₁)·m with μᵢ = β₁(1 − ½·qⁱ).
 */
export function adam(p: usize, g: usize, s0: usize, s1: usize, s2: usize, lr: f64, beta1t: f64, beta2t: f64, t: u32, flags: u32, beta1: f64, beta2: f64, eps: f64, decay: f64, q: f64, begin: u32, end: u32): void {
  const b1 = splat(beta1), b2 = splat(beta2), c1 = splat(1 - beta1), c2 = splat(1 - beta2), e = splat(eps);
  let ofGradient: f64 = 0, ofMean = 1 / (1 - beta1t);
  if (flags & UpdateFlag.Nadam) {
    const product = momentumProduct(beta1, q, t), qt = power(q, t);
    const next = beta1 * (1 - 0.5 * qt * q);
    ofGradient = (1 - beta1 * (1 - 0.5 * qt)) / (1 - product);
    ofMean = next / (1 - product * next);
  }
  const rate = splat(-lr * ofMean), direct = splat(-lr * ofGradient);
  const correction = splat(1 / Math.sqrt(1 - beta2t));
  const decoupled = flags & UpdateFlag.DecoupledDecay;
  const keep = splat(decoupled ? 1 - lr * decay : 1);
  if (begin >= end) return;
  let i = begin;
  do {
    const at: usize = i << 2, count = end - i;
    let w = v128.load(p + at);
    const d = direction(v128.load(g + at), w, flags & UpdateFlag.Maximize, decoupled ? 0 : decay);
    if (decoupled) w = f32x4.mul(w, keep);
    const m = flushed(fma(b1, v128.load(s0 + at), f32x4.mul(c1, flushed(d, LEAST))), LEAST);
    const v = flushed(fma(b2, v128.load(s1 + at), f32x4.mul(c2, square(d))), LEAST_SQUARE);
    storeLanes(s0 + at, m, count);
    storeLanes(s1 + at, v, count);
    let second = v;
    if (flags & UpdateFlag.Amsgrad) {
      second = f32x4.max(v128.load(s2 + at), v);
      storeLanes(s2 + at, second, count);
    }
    const denominator = fma(f32x4.sqrt(second), correction, e);
    const move = ofGradient != 0 ? fma(direct, d, f32x4.mul(rate, m)) : f32x4.mul(rate, m);
    storeLanes(p + at, f32x4.add(f32x4.div(move, denominator), w), count);
  } while ((i += 4) < end);
}

/**
 * v ← αv + (1 − α)g²;  centered: a ← αa + (1 − α)g, v̂ = max(v − a², δv);  d = g / (√v̂ + ε);
 * δ = 2⁻²⁴/(1 − α) is how far rounding takes v and a² off: a difference below it says nothing, and may be negative.
 * with momentum μ: b ← μb + d, d = b;  p ← p − lr·d  (Tieleman and Hinton 2012, lecture 6.5).
 * s0: v, s1: b or 0, s2: a if centered.
 */
export function rmsProp(p: usize, g: usize, s0: usize, s1: usize, s2: usize, lr: f64, flags: u32, alpha: f64, eps: f64, decay: f64, momentum: f64, begin: u32, end: u32): void {
  const a = splat(alpha), c = splat(1 - alpha), e = splat(eps), mu = splat(momentum), rate = splat(-lr);
  const noise = splat(Math.min(1, 5.960464477539063e-8 / (1 - alpha)));
  if (begin >= end) return;
  let i = begin;
  do {
    const at: usize = i << 2, count = end - i;
    const w = v128.load(p + at);
    let d = flushed(direction(v128.load(g + at), w, flags & UpdateFlag.Maximize, decay), LEAST_ROOT);
    let v = flushed(fma(a, v128.load(s0 + at), f32x4.mul(c, f32x4.mul(d, d))), LEAST_SQUARE);
    storeLanes(s0 + at, v, count);
    if (flags & UpdateFlag.Centered) {
      const mean = flushed(fma(a, v128.load(s2 + at), f32x4.mul(c, d)), LEAST_ROOT);
      storeLanes(s2 + at, mean, count);
      // pmax: ∞ − ∞ leaves ∞.
      v = f32x4.pmax(f32x4.mul(noise, v), f32x4.sub(v, f32x4.mul(mean, mean)));
    }
    d = f32x4.div(d, f32x4.add(f32x4.sqrt(v), e));
    if (s1) {
      d = flushed(fma(mu, v128.load(s1 + at), d), LEAST);
      storeLanes(s1 + at, d, count);
    }
    storeLanes(p + at, fma(rate, d, w), count);
  } while ((i += 4) < end);
}

/** s ← s + g²;  p ← p − lr/(1 + (t − 1)·lrDecay) · g / (√s + ε)  (Duchi et al. 2011). s0: s. */
export function adagrad(p: usize, g: usize, s0: usize, lr: f64, step: u32, flags: u32, eps: f64, decay: f64, lrDecay: f64, begin: u32, end: u32): void {
  const rate = splat(-lr / (1 + <f64>(step - 1) * lrDecay)), e = splat(eps);
  if (begin >= end) return;
  let i = begin;
  do {
    const at: usize = i << 2, count = end - i;
    const w = v128.load(p + at);
    const d = direction(v128.load(g + at), w, flags & UpdateFlag.Maximize, decay);
    const s = f32x4.add(square(d), v128.load(s0 + at));
    storeLanes(s0 + at, s, count);
    storeLanes(p + at, fma(rate, f32x4.div(d, f32x4.add(f32x4.sqrt(s), e)), w), count);
  } while ((i += 4) < end);
}

/** p ← p·(1 − lr·decay) − lr·sign(β₁m + (1 − β₁)g);  m ← β₂m + (1 − β₂)g  (Chen et al. 2023, algorithm 2). s0: m. */
export function lion(p: usize, g: usize, s0: usize, lr: f64, flags: u32, beta1: f64, beta2: f64, decay: f64, begin: u32, end: u32): void {
  const b1 = splat(beta1), b2 = splat(beta2), c1 = splat(1 - beta1), c2 = splat(1 - beta2), keep = splat(1 - lr * decay);
  const rate = splat(-lr), zero = f32x4.splat(0), bits = i32x4.splat(0x80000000);
  if (begin >= end) return;
  let i = begin;
  do {
    const at: usize = i << 2, count = end - i;
    const d = direction(v128.load(g + at), zero, flags & UpdateFlag.Maximize, 0), m = v128.load(s0 + at);
    const u = fma(b1, m, f32x4.mul(c1, d));
    const move = v128.andnot(v128.xor(rate, v128.and(u, bits)), f32x4.eq(u, zero));
    // A NaN has no sign: the parameter becomes one, as elsewhere.
    storeLanes(p + at, fma(v128.load(p + at), keep, v128.bitselect(move, u, f32x4.eq(u, u))), count);
    storeLanes(s0 + at, flushed(fma(b2, m, f32x4.mul(c2, d)), LEAST), count);
  } while ((i += 4) < end);
}
