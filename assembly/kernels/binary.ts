/**
 * Kernels of two operands with broadcasting, comparisons to bool, and `where`.
 * One driver walks the dimensions. A kernel sees one row: `out` is contiguous, each operand advances or repeats one element.
 */
import * as math from "../math";
import * as trig from "../trig";
import { loadMask, storeLanes, storeMask } from "../simd";
import { Dim } from "../layouts";
import { Family, Head, Op, Type } from "../opcodes";
import { offsetAt } from "../walk";

/** One row: out[i] = f(a[i·sa], b[i·sb]) for i < n, with strides sa, sb ∈ {0, 1} in elements. */
@inline
function map2<F>(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  const f = changetype<F>(0);
  if (sa && sb) {
    for (; n >= 8; n -= 8, out += 32, a += 32, b += 32) {
      v128.store(out, f.of(v128.load(a), v128.load(b)));
      v128.store(out, f.of(v128.load(a, 16), v128.load(b, 16)), 16);
    }
    for (; <i32>n > 0; n -= 4, out += 16, a += 16, b += 16) storeLanes(out, f.of(v128.load(a), v128.load(b)), n);
  } else if (sa) {
    const scalar = v128.load32_splat(b);
    for (; n >= 8; n -= 8, out += 32, a += 32) {
      v128.store(out, f.of(v128.load(a), scalar));
      v128.store(out, f.of(v128.load(a, 16), scalar), 16);
    }
    for (; <i32>n > 0; n -= 4, out += 16, a += 16) storeLanes(out, f.of(v128.load(a), scalar), n);
  } else {
    const scalar = v128.load32_splat(a);
    for (; <i32>n > 0; n -= 4, out += 16, b += sb << 4) {
      storeLanes(out, f.of(scalar, sb ? v128.load(b) : v128.load32_splat(b)), n);
    }
  }
}

/** map2 as a single small loop: for rare ops, and for ops so costly that selecting the operand does not matter. */
@inline
function compact2<F>(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  const f = changetype<F>(0);
  const fixedA = v128.load32_splat(a), fixedB = v128.load32_splat(b);
  for (let i: u32 = 0; i < n; i += 4) {
    const at: usize = i << 2;
    storeLanes(out + at, f.of(sa ? v128.load(a + at) : fixedA, sb ? v128.load(b + at) : fixedB), n - i);
  }
}

/** map2 for predicates: writes bools, one byte each. */
@inline
function compare<F>(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  const f = changetype<F>(0);
  const fixedA = v128.load32_splat(a), fixedB = v128.load32_splat(b);
  for (let i: u32 = 0; i < n; i += 4) {
    const at: usize = i << 2;
    storeMask(out + i, f.of(sa ? v128.load(a + at) : fixedA, sb ? v128.load(b + at) : fixedB), n - i);
  }
}

@final class Add { @inline of(a: v128, b: v128): v128 { return f32x4.add(a, b); } }
@final class Sub { @inline of(a: v128, b: v128): v128 { return f32x4.sub(a, b); } }
@final class Mul { @inline of(a: v128, b: v128): v128 { return f32x4.mul(a, b); } }
@final class Div { @inline of(a: v128, b: v128): v128 { return f32x4.div(a, b); } }
@final class Pow { @inline of(a: v128, b: v128): v128 { return trig.pow(a, b); } }
@final class Maximum { @inline of(a: v128, b: v128): v128 { return f32x4.max(a, b); } }
@final class Minimum { @inline of(a: v128, b: v128): v128 { return f32x4.min(a, b); } }
@final class Atan2 { @inline of(a: v128, b: v128): v128 { return trig.atan2(a, b); } }
@final class Mod { @inline of(a: v128, b: v128): v128 { return trig.mod(a, b); } }
/** −t·ln σ(x) − (1 − t)·ln σ(−x) = |x|·(t if x < 0, else 1 − t) + ln(1 + e^−|x|), where 0·∞ = 0. */
@final class LogisticLoss {
  @inline
  of(x: v128, t: v128): v128 {
    const far = f32x4.abs(x), zero = f32x4.splat(0);
    const wrong = v128.bitselect(t, f32x4.sub(f32x4.splat(1), t), f32x4.lt(x, zero));
    return f32x4.add(v128.andnot(f32x4.mul(far, wrong), f32x4.eq(wrong, zero)), math.softplus(f32x4.neg(far)));
  }
}
/** σ(x) − t: q − t for x < 0, else 1 − t − q, where q = σ(−|x|). */
@final class LogisticSlope {
  @inline
  of(x: v128, t: v128): v128 {
    const q = math.sigmoid(f32x4.neg(f32x4.abs(x)));
    return v128.bitselect(f32x4.sub(q, t), f32x4.sub(f32x4.sub(f32x4.splat(1), t), q), f32x4.lt(x, f32x4.splat(0)));
  }
}
@final class AddInt { @inline of(a: v128, b: v128): v128 { return i32x4.add(a, b); } }
@final class SubInt { @inline of(a: v128, b: v128): v128 { return i32x4.sub(a, b); } }
@final class MulInt { @inline of(a: v128, b: v128): v128 { return i32x4.mul(a, b); } }
@final class MaximumInt { @inline of(a: v128, b: v128): v128 { return i32x4.max_s(a, b); } }
@final class MinimumInt { @inline of(a: v128, b: v128): v128 { return i32x4.min_s(a, b); } }
@final class Equal { @inline of(a: v128, b: v128): v128 { return f32x4.eq(a, b); } }
@final class NotEqual { @inline of(a: v128, b: v128): v128 { return f32x4.ne(a, b); } }
@final class Less { @inline of(a: v128, b: v128): v128 { return f32x4.lt(a, b); } }
@final class LessEqual { @inline of(a: v128, b: v128): v128 { return f32x4.le(a, b); } }
@final class ModInt { @inline of(a: v128, b: v128): v128 { return trig.modInt(a, b); } }
@final class EqualInt { @inline of(a: v128, b: v128): v128 { return i32x4.eq(a, b); } }
@final class NotEqualInt { @inline of(a: v128, b: v128): v128 { return i32x4.ne(a, b); } }
@final class LessInt { @inline of(a: v128, b: v128): v128 { return i32x4.lt_s(a, b); } }
@final class LessEqualInt { @inline of(a: v128, b: v128): v128 { return i32x4.le_s(a, b); } }

export function add(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void { map2<Add>(out, a, b, n, sa, sb); }
export function sub(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void { map2<Sub>(out, a, b, n, sa, sb); }
export function mul(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void { map2<Mul>(out, a, b, n, sa, sb); }
export function div(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void { map2<Div>(out, a, b, n, sa, sb); }
export function pow(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<Pow>(out, a, b, n, sa, sb);
}
export function maximum(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  map2<Maximum>(out, a, b, n, sa, sb);
}
export function minimum(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  map2<Minimum>(out, a, b, n, sa, sb);
}
export function atan2(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<Atan2>(out, a, b, n, sa, sb);
}
export function mod(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<Mod>(out, a, b, n, sa, sb);
}
export function logisticLoss(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<LogisticLoss>(out, a, b, n, sa, sb);
}
export function logisticSlope(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<LogisticSlope>(out, a, b, n, sa, sb);
}
export function addInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<AddInt>(out, a, b, n, sa, sb);
}
export function subInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<SubInt>(out, a, b, n, sa, sb);
}
export function mulInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<MulInt>(out, a, b, n, sa, sb);
}
export function maximumInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<MaximumInt>(out, a, b, n, sa, sb);
}
export function minimumInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<MinimumInt>(out, a, b, n, sa, sb);
}
export function equal(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compare<Equal>(out, a, b, n, sa, sb);
}
export function notEqual(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compare<NotEqual>(out, a, b, n, sa, sb);
}
export function less(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compare<Less>(out, a, b, n, sa, sb);
}
export function lessEqual(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compare<LessEqual>(out, a, b, n, sa, sb);
}
export function modInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compact2<ModInt>(out, a, b, n, sa, sb);
}
export function equalInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compare<EqualInt>(out, a, b, n, sa, sb);
}
export function notEqualInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compare<NotEqualInt>(out, a, b, n, sa, sb);
}
export function lessInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compare<LessInt>(out, a, b, n, sa, sb);
}
export function lessEqualInt(out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  compare<LessEqualInt>(out, a, b, n, sa, sb);
}

/** The first two elements of v, or the last two, as float64, which represents both types exactly. */
@inline
function promotePair(v: v128, integer: bool, last: bool): v128 {
  if (last) v = i64x2.shuffle(v, v, 1, 0);
  return integer ? f64x2.convert_low_i32x4_s(v) : f64x2.promote_low_f32x4(v);
}

@inline
function comparePair(op: Op, a: v128, b: v128): v128 {
  return op == Op.Equal
    ? f64x2.eq(a, b)
    : op == Op.NotEqual
    ? f64x2.ne(a, b)
    : op == Op.Less
    ? f64x2.lt(a, b)
    : f64x2.le(a, b);
}

/** Compares int32 with float32 if `intFirst`, otherwise float32 with int32. */
export function compareMixed(op: Op, out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32, intFirst: bool): void {
  if (op != Op.Equal && op != Op.NotEqual && op != Op.Less && op != Op.LessEqual) unreachable();
  for (let i: u32 = 0; i < n; i += 4) {
    const at: usize = i << 2;
    const v = sa ? v128.load(a + at) : v128.load32_splat(a), w = sb ? v128.load(b + at) : v128.load32_splat(b);
    const low = comparePair(op, promotePair(v, intFirst, false), promotePair(w, !intFirst, false));
    const high = comparePair(op, promotePair(v, intFirst, true), promotePair(w, !intFirst, true));
    storeMask(out + i, i32x4.shuffle(low, high, 0, 2, 4, 6), n - i);
  }
}

/** One row of float32 operands. */
function row(op: Op, out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  switch (op) {
    case Op.Add: add(out, a, b, n, sa, sb); break;
    case Op.Sub: sub(out, a, b, n, sa, sb); break;
    case Op.Mul: mul(out, a, b, n, sa, sb); break;
    case Op.Div: div(out, a, b, n, sa, sb); break;
    case Op.Pow: pow(out, a, b, n, sa, sb); break;
    case Op.Maximum: maximum(out, a, b, n, sa, sb); break;
    case Op.Minimum: minimum(out, a, b, n, sa, sb); break;
    case Op.Atan2: atan2(out, a, b, n, sa, sb); break;
    case Op.Mod: mod(out, a, b, n, sa, sb); break;
    case Op.LogisticLoss: logisticLoss(out, a, b, n, sa, sb); break;
    case Op.LogisticSlope: logisticSlope(out, a, b, n, sa, sb); break;
    case Op.Equal: equal(out, a, b, n, sa, sb); break;
    case Op.NotEqual: notEqual(out, a, b, n, sa, sb); break;
    case Op.Less: less(out, a, b, n, sa, sb); break;
    case Op.LessEqual: lessEqual(out, a, b, n, sa, sb); break;
    default:
      unreachable();
  }
}

/** One row of int32 operands. */
function rowInt(op: Op, out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  switch (op) {
    case Op.Add: addInt(out, a, b, n, sa, sb); break;
    case Op.Sub: subInt(out, a, b, n, sa, sb); break;
    case Op.Mul: mulInt(out, a, b, n, sa, sb); break;
    case Op.Maximum: maximumInt(out, a, b, n, sa, sb); break;
    case Op.Minimum: minimumInt(out, a, b, n, sa, sb); break;
    case Op.Mod: modInt(out, a, b, n, sa, sb); break;
    case Op.Equal: equalInt(out, a, b, n, sa, sb); break;
    case Op.NotEqual: notEqualInt(out, a, b, n, sa, sb); break;
    case Op.Less: lessInt(out, a, b, n, sa, sb); break;
    case Op.LessEqual: lessEqualInt(out, a, b, n, sa, sb); break;
    default:
      unreachable();
  }
}

/**
 * Family.Binary and Family.Compare over `rank` dimensions described by the words at `dims` (layouts.ts: Binary).
 * The share [begin, end) counts rows, or elements if there is only one dimension.
 */
export function binary(op: Op, type: Type, out: usize, a: usize, b: usize, rank: u32, dims: usize, begin: u32,
  end: u32): void
{
  const inner = dims + (((rank - 1) * Dim.words) << 2);
  const sa = load<u32>(inner, Dim.first << 2), sb = load<u32>(inner, Dim.second << 2);
  const outBytes: usize = <i32>op >> Head.family == Family.Compare ? 1 : 4;
  if (rank == 1) {
    const at: usize = begin;
    oneRow(op, type, out + at * outBytes, a + ((at * sa) << 2), b + ((at * sb) << 2), end - begin, sa, sb);
    return;
  }
  const n = load<u32>(inner, Dim.size << 2);
  for (let r = begin; r < end; r++) {
    const atA = offsetAt(r, dims, inner, Dim.first), atB = offsetAt(r, dims, inner, Dim.second);
    oneRow(op, type, out + <usize>r * n * outBytes, a + (atA << 2), b + (atB << 2), n, sa, sb);
  }
}

@inline
function oneRow(op: Op, type: Type, out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  if (type == Type.Int32) rowInt(op, out, a, b, n, sa, sb);
  else if (type == Type.IntFloat || type == Type.FloatInt)
    compareMixed(op, out, a, b, n, sa, sb, type == Type.IntFloat);
  else row(op, out, a, b, n, sa, sb);
}

/** out[i] = condition[i] ? a[i] : b[i] for i in [begin, end): any 32-bit elements. */
export function where(out: usize, condition: usize, a: usize, b: usize, begin: u32, end: u32): void {
  for (let i = begin; i < end; i += 4) {
    const at: usize = i << 2;
    storeLanes(out + at, v128.bitselect(v128.load(a + at), v128.load(b + at), loadMask(condition + i)), end - i);
  }
}
