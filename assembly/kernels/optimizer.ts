/**
 * Optimizer updates. Each kernel makes one pass over elements [begin, end) of a parameter p, its gradient g and the
 * optimizer's state, and changes p and the state in place. If g is sparse, the engine calls the kernel for each row (sparse.ts); g is then the
 * address at which the gradient would begin if it had all rows. A kernel reads its constants from the instruction
 * (layouts.ts: Update), and p, g and the state from one of the instruction's parts (UpdatePart). The formulas and their
 * order of operations are PyTorch's (torch.optim). Constants are float64, so that 1 − β has no error before it is
 * rounded to float32.
 *
 * Denormal numbers make processors several times slower, and a decaying state would stay denormal. So a gradient or a
 * momentum whose product with a rate would be denormal becomes 0 (see `least`). For a mean of squares, the limit depends on
 * ε:
 * - ε ≥ 2⁻³⁴: a mean that is at most 2⁻¹²⁰ becomes 0, and so does the square of a gradient whose magnitude is at most 2⁻⁵⁶.
 *   Adding the square root of either to ε does not change ε.
 * - smaller ε: the limits are those of float32, as in PyTorch. The square of a gradient whose magnitude is at most 2⁻⁷⁵ becomes
 *   0. A denormal mean of squares becomes 0 only where the numerator that is divided by its root is 0 too.
 * - ε = 0: the mean of squares is never set to 0.
 *
 * Loops test their condition at the end, so that V8 hoists loop invariants.
 */
import { fma, selectLanes, storeLanes } from "../simd";
import { Update, UpdatePart } from "../layouts";
import { UpdateFlag } from "../opcodes";
import { double, word } from "../operands";

/** The learning rate. */
@inline
function rateOf(at: usize): f64 { return <f64>load<f32>(word(at, Update.lr)); }

/** The number of the parameter's current step, starting at 1. */
@inline
export function stepOf(part: usize): u32 { return load<u32>(word(part, UpdatePart.step)); }

@inline
function splat(x: f64): v128 { return f32x4.splat(<f32>x); }

/** A mask of the lanes where |x| exceeds the float32 whose bits are `bits`, or x is NaN. */
@inline
function above(x: v128, bits: v128): v128 { return i32x4.gt_s(v128.and(x, i32x4.splat(0x7fffffff)), bits); }

/** x, or 0 where |x| is at most the float32 whose bits are `bits`. Keeps NaN. */
@inline
function flush(x: v128, bits: v128): v128 { return v128.and(x, above(x, bits)); }

/**
 * The bits of 2⁻¹²⁶ / min(1, |a|, |b|): the products of smaller numbers with a or b are denormal. The result is at most
 * the bits of 2⁻⁸⁰.
 */
function least(a: f64, b: f64): v128 {
  const factor = Math.min(1, Math.min(Math.abs(a), Math.abs(b)));
  return i32x4.splat(reinterpret<i32>(<f32>Math.min(8.271806125530277e-25, 1.1754943508222875e-38 / factor)));
}

/**
 * 2⁻³⁴. If ε is at least this large, adding the root of 2⁻¹²⁰ does not change it. 2⁻¹²⁰ is the largest mean of squares
 * that becomes 0.
 */
const COARSE: f64 = 5.820766091346741e-11;

/** The bits of the largest gradient whose square is 0. */
@inline
function leastRoot(eps: f64): v128 { return i32x4.splat((eps >= COARSE ? 127 - 56 : 127 - 75) << 23); }

/** The bits of the largest mean of squares that becomes 0. */
@inline
function leastSquare(eps: f64): v128 {
  return i32x4.splat(eps >= COARSE ? (127 - 120) << 23 : eps > 0 ? 0x7fffff : -1);
}

@inline
function square(d: v128, bits: v128): v128 {
  const g = flush(d, bits);
  return f32x4.mul(g, g);
}

/** xᵗ by repeated squaring. */
export function power(x: f64, t: u32): f64 {
  let result: f64 = 1;
  for (; t; t >>= 1, x *= x) if (t & 1) result *= x;
  return result;
}

/** ∏ μᵢ for i ≤ t, μᵢ = β₁(1 − ½·qⁱ); 0 if the product is below 10⁻¹⁸. */
function momentumProduct(beta1: f64, q: f64, t: u32): f64 {
  let product: f64 = 1, decay = q;
  for (let i: u32 = 0; i < t; i++, decay *= q) {
    product *= beta1 * (1 - 0.5 * decay);
    if (product < 1e-18) return 0;
  }
  return product;
}

/** The gradient to follow: g, or −g to maximize, plus decay·p if `decays`. */
@inline
function direction(g: v128, p: v128, maximize: u32, decays: bool, decay: v128): v128 {
  if (maximize) g = f32x4.neg(g);
  return decays ? fma(decay, p, g) : g;
}

/**
 * b ← μ·b + (1 − τ)·g (b = g at the first step);  p ← p − lr·(g + μ·b  if nesterov, else b).
 * s0: b, or 0 if the momentum μ is 0.
 */
export function sgd(at: usize, part: usize, g: usize, begin: u32, end: u32): void {
  const lr = rateOf(at), step = stepOf(part), flags = word(at, Update.flags);
  const momentum = double(at, Update.c0), dampening = double(at, Update.c1), decay = double(at, Update.c2);
  const p = word(part, UpdatePart.p), s0 = word(part, UpdatePart.s0);
  const rate = splat(-lr), mu = splat(momentum), fresh = splat(step == 1 ? 1 : 1 - dampening),
    low = least(lr, s0 ? 1 - dampening : 1);
  const shrink = splat(decay), decays = decay != 0;
  if (begin >= end) return;
  let i = begin;
  do {
    const k: usize = i << 2;
    const w = v128.load(p + k);
    let d = flush(direction(v128.load(g + k), w, flags & UpdateFlag.Maximize, decays, shrink), low);
    if (s0) {
      const b = step == 1 ? d : flush(fma(mu, v128.load(s0 + k), f32x4.mul(fresh, d)), low);
      storeLanes(s0 + k, b, end - i);
      d = flags & UpdateFlag.Nesterov ? fma(mu, b, d) : b;
    }
    storeLanes(p + k, fma(rate, d, w), end - i);
  } while ((i += 4) < end);
}

/**
 * m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  p ← p − lr/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)
 * (Kingma and Ba 2015, algorithm 1); decoupled decay first scales p by 1 − lr·decay (Loshchilov and Hutter 2019).
 * s0: m, s1: v, s2: the largest v so far if amsgrad; beta1t = β₁ᵗ, beta2t = β₂ᵗ. Nadam (Dozat 2016) replaces m/(1 − β₁ᵗ) with
 * (1 − μₜ)/(1 − ∏μ)·g + μₜ₊₁/(1 − ∏μ·μₜ₊₁)·m, where μᵢ = β₁(1 − ½·qⁱ). If g is sparse, the denominator is
 * (√v + ε)/√(1 − β₂ᵗ), as in PyTorch's SparseAdam.
 */
export function adam(at: usize, part: usize, g: usize, beta1t: f64, beta2t: f64, begin: u32, end: u32): void {
  const lr = rateOf(at), t = stepOf(part), flags = word(at, Update.flags);
  const beta1 = double(at, Update.c0), beta2 = double(at, Update.c1), eps = double(at, Update.c2);
  const decay = double(at, Update.c3), q = double(at, Update.c4);
  const p = word(part, UpdatePart.p);
  const s0 = word(part, UpdatePart.s0), s1 = word(part, UpdatePart.s1), s2 = word(part, UpdatePart.s2);
  const b1 = splat(beta1), b2 = splat(beta2), c1 = splat(1 - beta1), c2 = splat(1 - beta2),
    e = splat(word(part, UpdatePart.rows) ? eps / Math.sqrt(1 - beta2t) : eps);
  let ofGradient: f64 = 0, ofMean = 1 / (1 - beta1t);
  if (flags & UpdateFlag.Nadam) {
    const product = momentumProduct(beta1, q, t), qt = power(q, t);
    const next = beta1 * (1 - 0.5 * qt * q);
    ofGradient = (1 - beta1 * (1 - 0.5 * qt)) / (1 - product);
    ofMean = next / (1 - product * next);
  }
  const rate = splat(-lr * ofMean), direct = splat(-lr * ofGradient);
  const correction = splat(1 / Math.sqrt(1 - beta2t));
  const low = least(1 - beta1, ofGradient != 0 ? lr * ofGradient : 1), lowMean = least(lr * ofMean, 1);
  const root = leastRoot(eps), lowSquare = leastSquare(eps), fine = eps < COARSE;
  const decoupled = flags & UpdateFlag.DecoupledDecay, decays = !decoupled && decay != 0;
  // The factor that multiplies p: in the update if weight decay is decoupled, otherwise in the gradient.
  const shrink = splat(decoupled ? 1 - lr * decay : decay);
  let i = begin;
  // Adam and AdamW without other options have a loop that does not test them, because it takes a third less time.
  if (!(flags & ~<u32>UpdateFlag.DecoupledDecay) && !decays && !fine && i + 4 <= end) {
    const keep = decoupled ? shrink : splat(1);
    do {
      adamVector(p, g, s0, s1, 0, <usize>i << 2, 4, UpdateFlag.DecoupledDecay, false, keep, b1, b2, c1, c2, e, direct,
        false, rate, correction, low, lowMean, root, lowSquare, false);
    } while ((i += 4) + 4 <= end);
  }
  if (i >= end) return;
  do {
    adamVector(p, g, s0, s1, s2, <usize>i << 2, end - i, flags, decays, shrink, b1, b2, c1, c2, e, direct,
      ofGradient != 0, rate, correction, low, lowMean, root, lowSquare, fine);
  } while ((i += 4) < end);
}

/** Updates min(count, 4) elements, k bytes after the first ones. */
@inline
function adamVector(p: usize, g: usize, s0: usize, s1: usize, s2: usize, k: usize, count: u32, flags: u32, decays: bool,
  shrink: v128, b1: v128, b2: v128, c1: v128, c2: v128, e: v128, direct: v128, isNadam: bool, rate: v128,
  correction: v128, low: v128, lowMean: v128, root: v128, lowSquare: v128, fine: bool): void
{
  let w = v128.load(p + k);
  const d = flush(direction(v128.load(g + k), w, flags & UpdateFlag.Maximize, decays, shrink), low);
  if (flags & UpdateFlag.DecoupledDecay) w = f32x4.mul(w, shrink);
  let m = fma(b1, v128.load(s0 + k), f32x4.mul(c1, d)),
    v = fma(b2, v128.load(s1 + k), f32x4.mul(c2, square(d, root)));
  const moving = above(m, lowMean);
  m = v128.and(m, moving);
  let stays = above(v, lowSquare);
  if (fine) stays = v128.or(stays, moving);
  v = v128.and(v, stays);
  storeLanes(s0 + k, m, count);
  storeLanes(s1 + k, v, count);
  let second = v;
  if (flags & UpdateFlag.Amsgrad) {
    second = f32x4.max(v128.load(s2 + k), v);
    storeLanes(s2 + k, second, count);
  }
  const denominator = fma(f32x4.sqrt(second), correction, e);
  const move = isNadam ? fma(direct, d, f32x4.mul(rate, m)) : f32x4.mul(rate, m);
  storeLanes(p + k, f32x4.add(f32x4.div(move, denominator), w), count);
}

/**
 * v ← αv + (1 − α)g²;  centered: a ← αa + (1 − α)g, v̂ = max(v − a², δv);  d = g / (√v̂ + ε);
 * δ = 2⁻²⁴/(1 − α), where δv bounds the rounding error of v − a²: a smaller difference is noise and may be negative.
 * With momentum μ: b ← μb + d, d = b;  p ← p − lr·d  (Tieleman and Hinton 2012, lecture 6.5).
 * s0: v, s1: b or 0, s2: a if centered.
 * TensorFlow.js's variant, which is not centered: d = lr·g / √(v + ε);  b ← μb + d;  p ← p − b.
 */
export function rmsProp(at: usize, part: usize, begin: u32, end: u32): void {
  if (begin >= end) return;
  const lr = rateOf(at), flags = word(at, Update.flags), s1 = word(part, UpdatePart.s1);
  const alpha = double(at, Update.c0), eps = double(at, Update.c1), decay = double(at, Update.c2);
  const momentum = double(at, Update.c3);
  if (flags & UpdateFlag.TensorFlow) {
    rmsPropOf(false, true, true, part, lr, flags, alpha, eps, decay, momentum, begin, end);
  } else if (flags & UpdateFlag.Centered) {
    if (s1) rmsPropOf(true, true, false, part, lr, flags, alpha, eps, decay, momentum, begin, end);
    else rmsPropOf(true, false, false, part, lr, flags, alpha, eps, decay, momentum, begin, end);
  } else if (s1) rmsPropOf(false, true, false, part, lr, flags, alpha, eps, decay, momentum, begin, end);
  else rmsPropOf(false, false, false, part, lr, flags, alpha, eps, decay, momentum, begin, end);
}

/**
 * Each variant has its own loop, because V8 keeps too few values in registers in a single loop for all variants. The
 * constants are arguments, because the loops are 10% slower if each variant reads them from the instruction.
 */
@inline
function rmsPropOf(isCentered: bool, hasMomentum: bool, ofTensorFlow: bool, part: usize, lr: f64, flags: u32,
  alpha: f64, eps: f64, decay: f64, momentum: f64, begin: u32, end: u32): void
{
  const p = word(part, UpdatePart.p), g = word(part, UpdatePart.g), s0 = word(part, UpdatePart.s0);
  const s1 = hasMomentum ? word(part, UpdatePart.s1) : 0, s2 = isCentered ? word(part, UpdatePart.s2) : 0;
  const a = splat(alpha), c = splat(1 - alpha), e = splat(eps), mu = splat(momentum), rate = splat(-lr);
  const step = splat(lr), shrink = splat(decay), decays = decay != 0;
  const low = least(ofTensorFlow ? 1 : lr, 1), normal = least(1, 1);
  const root = leastRoot(eps), lowSquare = leastSquare(eps), fine = eps < COARSE;
  const noise = splat(Math.min(1, 5.960464477539063e-8 / (1 - alpha)));
  let i = begin;
  do {
    const k: usize = i << 2, count = end - i;
    const w = v128.load(p + k);
    let d = direction(v128.load(g + k), w, flags & UpdateFlag.Maximize, decays, shrink);
    const counts = above(d, normal);
    d = v128.and(d, counts);
    const large = flush(d, root);
    let v = fma(a, v128.load(s0 + k), f32x4.mul(c, f32x4.mul(large, large)));
    let stays = above(v, lowSquare);
    if (fine) stays = v128.or(stays, counts);
    v = v128.and(v, stays);
    storeLanes(s0 + k, v, count);
    if (isCentered) {
      const mean = flush(fma(a, v128.load(s2 + k), f32x4.mul(c, large)), root);
      storeLanes(s2 + k, mean, count);
      // If v and a² are ∞, their difference is NaN, but pmax returns ∞.
      v = f32x4.pmax(f32x4.mul(noise, v), f32x4.sub(v, f32x4.mul(mean, mean)));
    }
    if (ofTensorFlow) d = f32x4.div(f32x4.mul(step, d), f32x4.sqrt(f32x4.add(v, e)));
    else d = f32x4.div(d, f32x4.add(f32x4.sqrt(v), e));
    if (hasMomentum) {
      d = flush(fma(mu, v128.load(s1 + k), d), low);
      storeLanes(s1 + k, d, count);
    }
    storeLanes(p + k, ofTensorFlow ? f32x4.sub(w, d) : fma(rate, d, w), count);
  } while ((i += 4) < end);
}

/**
 * s ← s + g²;  p ← p − lr/(1 + (t − 1)·lrDecay) · g / (√s + ε)  (Duchi et al. 2011), or g / √(s + ε) in TensorFlow.js.
 * s0: s.
 */
export function adagrad(at: usize, part: usize, g: usize, begin: u32, end: u32): void {
  const lr = rateOf(at), step = stepOf(part), flags = word(at, Update.flags);
  const eps = double(at, Update.c0), decay = double(at, Update.c1), lrDecay = double(at, Update.c2);
  const p = word(part, UpdatePart.p), s0 = word(part, UpdatePart.s0);
  // TensorFlow.js adds ε inside the root (`inner`), PyTorch outside (`outer`).
  const inner = splat(flags & UpdateFlag.TensorFlow ? eps : 0), outer = splat(flags & UpdateFlag.TensorFlow ? 0 : eps);
  const rate = splat(-lr / (1 + <f64>(step - 1) * lrDecay)), root = leastRoot(eps), low = least(1, 1);
  const shrink = splat(decay), decays = decay != 0;
  if (begin >= end) return;
  let i = begin;
  do {
    const k: usize = i << 2, count = end - i;
    const w = v128.load(p + k);
    const d = flush(direction(v128.load(g + k), w, flags & UpdateFlag.Maximize, decays, shrink), low);
    const s = f32x4.add(square(d, root), v128.load(s0 + k));
    storeLanes(s0 + k, s, count);
    storeLanes(p + k, fma(rate, f32x4.div(d, f32x4.add(f32x4.sqrt(f32x4.add(s, inner)), outer)), w), count);
  } while ((i += 4) < end);
}

/** p ← p·(1 − lr·decay) − lr·sign(β₁m + (1 − β₁)g);  m ← β₂m + (1 − β₂)g  (Chen et al. 2023, algorithm 2). s0: m. */
export function lion(at: usize, part: usize, begin: u32, end: u32): void {
  const lr = rateOf(at), flags = word(at, Update.flags);
  const beta1 = double(at, Update.c0), beta2 = double(at, Update.c1), decay = double(at, Update.c2);
  const p = word(part, UpdatePart.p), g = word(part, UpdatePart.g), s0 = word(part, UpdatePart.s0);
  const b1 = splat(beta1), b2 = splat(beta2), c1 = splat(1 - beta1), c2 = splat(1 - beta2),
    keep = splat(1 - lr * decay);
  const low = least(1 - beta1, 1), lowMean = least(1 - beta2, beta1);
  const rate = splat(-lr), zero = f32x4.splat(0), bits = i32x4.splat(0x80000000);
  if (begin >= end) return;
  let i = begin;
  do {
    const k: usize = i << 2, count = end - i;
    const d = flush(direction(v128.load(g + k), zero, flags & UpdateFlag.Maximize, false, zero), low),
      m = v128.load(s0 + k);
    const u = fma(b1, m, f32x4.mul(c1, d));
    const move = v128.andnot(v128.xor(rate, v128.and(u, bits)), f32x4.eq(u, zero));
    // Where u is NaN, which has no sign, move the parameter by NaN, as the other optimizers do.
    storeLanes(p + k, fma(v128.load(p + k), keep, selectLanes(move, u, f32x4.eq(u, u))), count);
    storeLanes(s0 + k, flush(fma(b2, m, f32x4.mul(c2, flush(d, lowMean))), lowMean), count);
  } while ((i += 4) < end);
}
