/**
 * Pointwise kernels of one operand, and fused derivatives (dy and x or y → dx) where they are faster than composed ops.
 * Each works on elements [begin, end) and may write over an operand.
 */
import * as math from "../math";
import * as trig from "../trig";
import { storeLanes } from "../simd";
import { Op } from "../opcodes";

// SELU's constants: Klambauer et al. 2017, "Self-Normalizing Neural Networks", eq. 14.
const SELU_ALPHA: f32 = 1.6732632423543772;
const SELU_SCALE: f32 = 1.0507009873554805;

@inline
function splat(x: f32): v128 { return f32x4.splat(x); }

/** where(mask, a, b). */
@inline
function select(mask: v128, a: v128, b: v128): v128 { return v128.bitselect(a, b, mask); }

/** max(0, min(6, x + 3))/6: unlike x/6 + 1/2, it keeps its digits near −3, where x + 3 is exact. At most 1 ulp. */
@inline
function hardSigmoidOf(x: v128): v128 {
  return f32x4.div(f32x4.min(splat(6), f32x4.max(splat(0), f32x4.add(x, splat(3)))), splat(6));
}

/** x where it is positive (or NaN), `otherwise` elsewhere. */
@inline
function positiveOr(x: v128, otherwise: v128): v128 { return select(f32x4.le(x, splat(0)), otherwise, x); }

/** out[i] = f(x[i]; p, q). */
@inline
function map1<F>(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  const f = changetype<F>(0);
  const pp = splat(p), qq = splat(q);
  if (begin >= end) return;
  let i = begin;
  // The condition is at the end because V8 11 keeps the constants of such a loop in registers, but not those of a `for`.
  do {
    const at: usize = i << 2;
    storeLanes(out + at, f.of(v128.load(x + at), pp, qq), end - i);
    i += 4;
  } while (i < end);
}

/** Like map1, for an f of few instructions: unrolled, so that the loop itself does not dominate. */
@inline
function stream1<F>(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  const f = changetype<F>(0);
  const pp = splat(p), qq = splat(q);
  out += <usize>begin << 2;
  x += <usize>begin << 2;
  let rest = <i32>(end - begin);
  for (; rest >= 16; rest -= 16, out += 64, x += 64) {
    v128.store(out, f.of(v128.load(x), pp, qq));
    v128.store(out, f.of(v128.load(x, 16), pp, qq), 16);
    v128.store(out, f.of(v128.load(x, 32), pp, qq), 32);
    v128.store(out, f.of(v128.load(x, 48), pp, qq), 48);
  }
  for (; rest > 0; rest -= 4, out += 16, x += 16) storeLanes(out, f.of(v128.load(x), pp, qq), rest);
}

/** Like zip, for an f of few instructions. */
@inline
function stream2<F>(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  const f = changetype<F>(0);
  const pp = splat(p), qq = splat(q);
  out += <usize>begin << 2;
  a += <usize>begin << 2;
  b += <usize>begin << 2;
  let rest = <i32>(end - begin);
  for (; rest >= 8; rest -= 8, out += 32, a += 32, b += 32) {
    v128.store(out, f.of(v128.load(a), v128.load(b), pp, qq));
    v128.store(out, f.of(v128.load(a, 16), v128.load(b, 16), pp, qq), 16);
  }
  for (; rest > 0; rest -= 4, out += 16, a += 16, b += 16)
    storeLanes(out, f.of(v128.load(a), v128.load(b), pp, qq), rest);
}

/** out[i] = f(a[i], b[i]; p, q). */
@inline
function zip<F>(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  const f = changetype<F>(0);
  const pp = splat(p), qq = splat(q);
  if (begin >= end) return;
  let i = begin;
  do {
    const at: usize = i << 2;
    storeLanes(out + at, f.of(v128.load(a + at), v128.load(b + at), pp, qq), end - i);
    i += 4;
  } while (i < end);
}

@final class Neg { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.neg(x); } }
@final class Abs { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.abs(x); } }
@final class Sign {
  @inline
  of(x: v128, p: v128, q: v128): v128 {
    return select(f32x4.ne(x, x), x,
      v128.or(v128.and(f32x4.gt(f32x4.abs(x), splat(0)), splat(1)), v128.and(x, splat(-0.0))));
  }
}
@final class Square { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.mul(x, x); } }
@final class Sqrt { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.sqrt(x); } }
@final class Rsqrt { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.div(splat(1), f32x4.sqrt(x)); } }
@final class Reciprocal { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.div(splat(1), x); } }
@final class Exp { @inline of(x: v128, p: v128, q: v128): v128 { return math.exp(x); } }
@final class Expm1 { @inline of(x: v128, p: v128, q: v128): v128 { return math.expm1(x); } }
@final class Log { @inline of(x: v128, p: v128, q: v128): v128 { return math.log(x); } }
@final class Log1p { @inline of(x: v128, p: v128, q: v128): v128 { return math.log1p(x); } }
@final class Sin { @inline of(x: v128, p: v128, q: v128): v128 { return trig.sin(x); } }
@final class Cos { @inline of(x: v128, p: v128, q: v128): v128 { return trig.cos(x); } }
@final class Tan { @inline of(x: v128, p: v128, q: v128): v128 { return trig.tan(x); } }
@final class Tanh { @inline of(x: v128, p: v128, q: v128): v128 { return math.tanh(x); } }
@final class Sigmoid { @inline of(x: v128, p: v128, q: v128): v128 { return math.sigmoid(x); } }
@final class LogSigmoid { @inline of(x: v128, p: v128, q: v128): v128 { return math.logSigmoid(x); } }
@final class Softplus { @inline of(x: v128, p: v128, q: v128): v128 { return math.softplus(x); } }
@final class Relu { @inline of(x: v128, p: v128, q: v128): v128 { return math.relu(x); } }
@final class LeakyRelu { @inline of(x: v128, p: v128, q: v128): v128 { return positiveOr(x, f32x4.mul(p, x)); } }
@final class Elu { @inline of(x: v128, p: v128, q: v128): v128 { return positiveOr(x, f32x4.mul(p, math.expm1(x))); } }
@final class Selu {
  @inline
  of(x: v128, p: v128, q: v128): v128 {
    return f32x4.mul(splat(SELU_SCALE), positiveOr(x, f32x4.mul(splat(SELU_ALPHA), math.expm1(x))));
  }
}
@final class Gelu { @inline of(x: v128, p: v128, q: v128): v128 { return math.gelu(x); } }
@final class GeluTanh { @inline of(x: v128, p: v128, q: v128): v128 { return math.geluTanh(x); } }
@final class Silu { @inline of(x: v128, p: v128, q: v128): v128 { return math.silu(x); } }
@final class Mish { @inline of(x: v128, p: v128, q: v128): v128 { return math.mish(x); } }
@final class HardSigmoid { @inline of(x: v128, p: v128, q: v128): v128 { return hardSigmoidOf(x); } }
@final class HardSwish { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.mul(x, hardSigmoidOf(x)); } }
@final class Clamp { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.min(q, f32x4.max(p, x)); } }
@final class Erf { @inline of(x: v128, p: v128, q: v128): v128 { return math.erf(x); } }
@final class Floor { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.floor(x); } }
@final class Ceil { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.ceil(x); } }
@final class Round { @inline of(x: v128, p: v128, q: v128): v128 { return f32x4.nearest(x); } }

@final class TanhGrad { @inline of(dy: v128, y: v128, p: v128, q: v128): v128 { return math.tanhGrad(dy, y); } }
@final class SigmoidGrad { @inline of(dy: v128, y: v128, p: v128, q: v128): v128 { return math.sigmoidGrad(dy, y); } }
@final class ReluGrad { @inline of(dy: v128, y: v128, p: v128, q: v128): v128 { return math.reluGrad(dy, y); } }
/** dy, or p·dy where x ≤ 0. */
@final class LeakyReluGrad {
  @inline
  of(dy: v128, x: v128, p: v128, q: v128): v128 {
    return select(f32x4.gt(x, splat(0)), dy, f32x4.mul(p, dy));
  }
}
/** dy, or dy·(y + p) where y ≤ 0, since p·eˣ = y + p. */
@final class EluGrad {
  @inline
  of(dy: v128, y: v128, p: v128, q: v128): v128 {
    return select(f32x4.gt(y, splat(0)), dy, f32x4.mul(dy, f32x4.add(y, p)));
  }
}
/** dy·λ, or dy·(y + λα) where y ≤ 0. */
@final class SeluGrad {
  @inline
  of(dy: v128, y: v128, p: v128, q: v128): v128 {
    return f32x4.mul(dy,
      select(f32x4.gt(y, splat(0)), splat(SELU_SCALE), f32x4.add(y, splat(SELU_SCALE * SELU_ALPHA))));
  }
}
/** dy·(Φ(x) + x·φ(x)). */
@final class GeluGrad {
  @inline
  of(dy: v128, x: v128, p: v128, q: v128): v128 {
    return f32x4.mul(dy, math.geluGrad(x));
  }
}
/** dy·d gelu_tanh(x)/dx. */
@final class GeluTanhGrad {
  @inline
  of(dy: v128, x: v128, p: v128, q: v128): v128 {
    return f32x4.mul(dy, math.geluTanhGrad(x));
  }
}
/** dy·σ(x)·(1 + x·(1 − σ(x))). */
@final class SiluGrad {
  @inline
  of(dy: v128, x: v128, p: v128, q: v128): v128 {
    return f32x4.mul(dy, math.siluGrad(x));
  }
}
/** dy·d mish(x)/dx. */
@final class MishGrad {
  @inline
  of(dy: v128, x: v128, p: v128, q: v128): v128 {
    return f32x4.mul(dy, math.mishGrad(x));
  }
}
/** dy/6 inside (−3, 3). */
@final class HardSigmoidGrad {
  @inline
  of(dy: v128, x: v128, p: v128, q: v128): v128 {
    return v128.and(f32x4.div(dy, splat(6)), f32x4.lt(f32x4.abs(x), splat(3)));
  }
}
/** dy·(2x + 3)/6 inside (−3, 3), dy above, 0 below. */
@final class HardSwishGrad {
  @inline
  of(dy: v128, x: v128, p: v128, q: v128): v128 {
    return f32x4.mul(dy,
      select(f32x4.lt(f32x4.abs(x), splat(3)), f32x4.div(f32x4.add(f32x4.add(x, x), splat(3)), splat(6)),
        v128.and(splat(1), f32x4.gt(x, splat(0)))));
  }
}
/** dy where p < x < q. */
@final class HardTanhGrad {
  @inline
  of(dy: v128, x: v128, p: v128, q: v128): v128 {
    return v128.and(dy, v128.and(f32x4.gt(x, p), f32x4.lt(x, q)));
  }
}
/** dy where p ≤ x ≤ q. */
@final class ClampGrad {
  @inline
  of(dy: v128, x: v128, p: v128, q: v128): v128 {
    return v128.and(dy, v128.and(f32x4.ge(x, p), f32x4.le(x, q)));
  }
}

// Each kernel is exported under its own name, for tests and benches. asc still inlines small ones into their dispatcher, and
// V8 takes long to optimize such a big function; unrolled kernels are too large to inline (test/package/emitted.test.ts
// checks).
export function neg(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Neg>(out, x, begin, end, p, q);
}
export function abs(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Abs>(out, x, begin, end, p, q);
}
export function sign(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Sign>(out, x, begin, end, p, q);
}
export function square(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Square>(out, x, begin, end, p, q);
}
export function sqrt(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Sqrt>(out, x, begin, end, p, q);
}
export function rsqrt(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Rsqrt>(out, x, begin, end, p, q);
}
export function reciprocal(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Reciprocal>(out, x, begin, end, p, q);
}
export function exp(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Exp>(out, x, begin, end, p, q);
}
export function expm1(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Expm1>(out, x, begin, end, p, q);
}
export function log(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Log>(out, x, begin, end, p, q);
}
export function log1p(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Log1p>(out, x, begin, end, p, q);
}
export function sin(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Sin>(out, x, begin, end, p, q);
}
export function cos(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Cos>(out, x, begin, end, p, q);
}
export function tan(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Tan>(out, x, begin, end, p, q);
}
export function tanh(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Tanh>(out, x, begin, end, p, q);
}
export function sigmoid(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Sigmoid>(out, x, begin, end, p, q);
}
export function logSigmoid(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<LogSigmoid>(out, x, begin, end, p, q);
}
export function softplus(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Softplus>(out, x, begin, end, p, q);
}
export function relu(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Relu>(out, x, begin, end, p, q);
}
export function leakyRelu(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<LeakyRelu>(out, x, begin, end, p, q);
}
export function elu(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Elu>(out, x, begin, end, p, q);
}
export function selu(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Selu>(out, x, begin, end, p, q);
}
export function gelu(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Gelu>(out, x, begin, end, p, q);
}
export function geluTanh(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<GeluTanh>(out, x, begin, end, p, q);
}
export function silu(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Silu>(out, x, begin, end, p, q);
}
export function mish(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Mish>(out, x, begin, end, p, q);
}
export function hardSigmoid(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<HardSigmoid>(out, x, begin, end, p, q);
}
export function hardSwish(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<HardSwish>(out, x, begin, end, p, q);
}
export function clamp(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Clamp>(out, x, begin, end, p, q);
}
export function erf(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  map1<Erf>(out, x, begin, end, p, q);
}
export function floor(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Floor>(out, x, begin, end, p, q);
}
export function ceil(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Ceil>(out, x, begin, end, p, q);
}
export function round(out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream1<Round>(out, x, begin, end, p, q);
}

export function tanhGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<TanhGrad>(out, a, b, begin, end, p, q);
}
export function sigmoidGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<SigmoidGrad>(out, a, b, begin, end, p, q);
}
export function reluGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<ReluGrad>(out, a, b, begin, end, p, q);
}
export function leakyReluGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<LeakyReluGrad>(out, a, b, begin, end, p, q);
}
export function eluGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<EluGrad>(out, a, b, begin, end, p, q);
}
export function seluGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<SeluGrad>(out, a, b, begin, end, p, q);
}
export function geluGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  zip<GeluGrad>(out, a, b, begin, end, p, q);
}
export function geluTanhGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  zip<GeluTanhGrad>(out, a, b, begin, end, p, q);
}
export function siluGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  zip<SiluGrad>(out, a, b, begin, end, p, q);
}
export function mishGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  zip<MishGrad>(out, a, b, begin, end, p, q);
}
export function hardSigmoidGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<HardSigmoidGrad>(out, a, b, begin, end, p, q);
}
export function hardSwishGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<HardSwishGrad>(out, a, b, begin, end, p, q);
}
export function hardTanhGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<HardTanhGrad>(out, a, b, begin, end, p, q);
}
export function clampGrad(out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  stream2<ClampGrad>(out, a, b, begin, end, p, q);
}

/** Family.Unary on elements [begin, end). */
export function unary(op: Op, out: usize, x: usize, begin: u32, end: u32, p: f32, q: f32): void {
  switch (op) {
    case Op.Neg: neg(out, x, begin, end, p, q); break;
    case Op.Abs: abs(out, x, begin, end, p, q); break;
    case Op.Sign: sign(out, x, begin, end, p, q); break;
    case Op.Square: square(out, x, begin, end, p, q); break;
    case Op.Sqrt: sqrt(out, x, begin, end, p, q); break;
    case Op.Rsqrt: rsqrt(out, x, begin, end, p, q); break;
    case Op.Reciprocal: reciprocal(out, x, begin, end, p, q); break;
    case Op.Exp: exp(out, x, begin, end, p, q); break;
    case Op.Expm1: expm1(out, x, begin, end, p, q); break;
    case Op.Log: log(out, x, begin, end, p, q); break;
    case Op.Log1p: log1p(out, x, begin, end, p, q); break;
    case Op.Sin: sin(out, x, begin, end, p, q); break;
    case Op.Cos: cos(out, x, begin, end, p, q); break;
    case Op.Tan: tan(out, x, begin, end, p, q); break;
    case Op.Tanh: tanh(out, x, begin, end, p, q); break;
    case Op.Sigmoid: sigmoid(out, x, begin, end, p, q); break;
    case Op.LogSigmoid: logSigmoid(out, x, begin, end, p, q); break;
    case Op.Softplus: softplus(out, x, begin, end, p, q); break;
    case Op.Relu: relu(out, x, begin, end, p, q); break;
    case Op.LeakyRelu: leakyRelu(out, x, begin, end, p, q); break;
    case Op.Elu: elu(out, x, begin, end, p, q); break;
    case Op.Selu: selu(out, x, begin, end, p, q); break;
    case Op.Gelu: gelu(out, x, begin, end, p, q); break;
    case Op.GeluTanh: geluTanh(out, x, begin, end, p, q); break;
    case Op.Silu: silu(out, x, begin, end, p, q); break;
    case Op.Mish: mish(out, x, begin, end, p, q); break;
    case Op.HardSigmoid: hardSigmoid(out, x, begin, end, p, q); break;
    case Op.HardSwish: hardSwish(out, x, begin, end, p, q); break;
    case Op.HardTanh:
    case Op.Clamp: clamp(out, x, begin, end, p, q); break;
    case Op.Erf: erf(out, x, begin, end, p, q); break;
    case Op.Floor: floor(out, x, begin, end, p, q); break;
    case Op.Ceil: ceil(out, x, begin, end, p, q); break;
    case Op.Round: round(out, x, begin, end, p, q); break;
    default:
      unreachable();
  }
}

/** Family.Derivative on elements [begin, end). */
export function unaryGrad(op: Op, out: usize, a: usize, b: usize, begin: u32, end: u32, p: f32, q: f32): void {
  switch (op) {
    case Op.TanhGrad: tanhGrad(out, a, b, begin, end, p, q); break;
    case Op.SigmoidGrad: sigmoidGrad(out, a, b, begin, end, p, q); break;
    case Op.ReluGrad: reluGrad(out, a, b, begin, end, p, q); break;
    case Op.LeakyReluGrad: leakyReluGrad(out, a, b, begin, end, p, q); break;
    case Op.EluGrad: eluGrad(out, a, b, begin, end, p, q); break;
    case Op.SeluGrad: seluGrad(out, a, b, begin, end, p, q); break;
    case Op.GeluGrad: geluGrad(out, a, b, begin, end, p, q); break;
    case Op.GeluTanhGrad: geluTanhGrad(out, a, b, begin, end, p, q); break;
    case Op.SiluGrad: siluGrad(out, a, b, begin, end, p, q); break;
    case Op.MishGrad: mishGrad(out, a, b, begin, end, p, q); break;
    case Op.HardSigmoidGrad: hardSigmoidGrad(out, a, b, begin, end, p, q); break;
    case Op.HardSwishGrad: hardSwishGrad(out, a, b, begin, end, p, q); break;
    case Op.HardTanhGrad: hardTanhGrad(out, a, b, begin, end, p, q); break;
    case Op.ClampGrad: clampGrad(out, a, b, begin, end, p, q); break;
    default:
      unreachable();
  }
}
