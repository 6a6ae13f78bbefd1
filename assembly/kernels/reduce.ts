/**
 * Reductions and running sums along the middle dimension of [outer, n, inner], for float32 and int32.
 *
 * Float32 sums add the vectors of each block of eight pairwise and accumulate the block sums in float64, so the error
 * does not grow with n, and the mean of n equal numbers is exactly that number. Other folds use blocks of a fixed size.
 * The order of a fold depends only on n, not on how the work is shared, so results are bit-identical for any number of
 * threads.
 */
import { At1, At2, At3, TREE, addPairs, duo, laneMask, narrow, pairSum, promoteHigh, quad, selectLanes, storeLanes,
  tree } from "../simd";
import { Op } from "../opcodes";

/**
 * Rows with more elements than ROW_BLOCK, and columns with more rows than COLUMN_BLOCK, are split in two, and the parts
 * are folded separately.
 */
const ROW_BLOCK: u32 = 512;
const COLUMN_BLOCK: u32 = 32;

@final class Max {
  @inline identity(): v128 { return f32x4.splat(-Infinity); }
  @inline of(a: v128, b: v128): v128 { return f32x4.max(a, b); }
  /** A mask of the lanes where x equals the extreme y; NaN equals NaN. */
  @inline at(x: v128, y: v128): v128 { return v128.or(f32x4.eq(x, y), v128.and(f32x4.ne(x, x), f32x4.ne(y, y))); }
}
@final class Min {
  @inline identity(): v128 { return f32x4.splat(Infinity); }
  @inline of(a: v128, b: v128): v128 { return f32x4.min(a, b); }
  @inline at(x: v128, y: v128): v128 { return v128.or(f32x4.eq(x, y), v128.and(f32x4.ne(x, x), f32x4.ne(y, y))); }
}
/** Modulo 2³². */
@final class SumInt {
  @inline identity(): v128 { return i32x4.splat(0); }
  @inline of(a: v128, b: v128): v128 { return i32x4.add(a, b); }
}
@final class MaxInt {
  @inline identity(): v128 { return i32x4.splat(i32.MIN_VALUE); }
  @inline of(a: v128, b: v128): v128 { return i32x4.max_s(a, b); }
  @inline at(x: v128, y: v128): v128 { return i32x4.eq(x, y); }
}
@final class MinInt {
  @inline identity(): v128 { return i32x4.splat(i32.MAX_VALUE); }
  @inline of(a: v128, b: v128): v128 { return i32x4.min_s(a, b); }
  @inline at(x: v128, y: v128): v128 { return i32x4.eq(x, y); }
}

/** The position at which to split n > block in two: the largest block·2ᵏ below n. */
@inline
function cut(n: u32, block: u32): u32 { return block << (31 - clz<u32>((n - 1) / block)); }

/** Four partial folds of n contiguous elements, one per lane. */
function rowLanes<F>(x: usize, n: u32): v128 {
  const f = changetype<F>(0);
  if (n > ROW_BLOCK) {
    const half = cut(n, ROW_BLOCK);
    return f.of(rowLanes<F>(x, half), rowLanes<F>(x + (<usize>half << 2), n - half));
  }
  const identity = f.identity();
  let a = identity, b = identity, c = identity, d = identity;
  let p = x;
  let i = n;
  for (; i >= 16; i -= 16, p += 64) {
    a = f.of(a, v128.load(p));
    b = f.of(b, v128.load(p, 16));
    c = f.of(c, v128.load(p, 32));
    d = f.of(d, v128.load(p, 48));
  }
  for (; i >= 4; i -= 4, p += 16) a = f.of(a, v128.load(p));
  if (i) b = f.of(b, selectLanes(v128.load(p), identity, laneMask(i)));
  return f.of(f.of(a, b), f.of(c, d));
}

/** The fold of n contiguous elements, in every lane. */
@inline
function foldRow<F>(x: usize, n: u32): v128 {
  const f = changetype<F>(0);
  const v = rowLanes<F>(x, n);
  const pairs = f.of(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
  return f.of(pairs, i32x4.shuffle(pairs, pairs, 1, 0, 3, 2));
}

/** The folds of four neighbouring columns of n rows, `stride` bytes apart. */
function foldColumns<F>(x: usize, n: u32, stride: usize): v128 {
  const f = changetype<F>(0);
  if (n > COLUMN_BLOCK) {
    const half = cut(n, COLUMN_BLOCK);
    return f.of(foldColumns<F>(x, half, stride), foldColumns<F>(x + half * stride, n - half, stride));
  }
  let a = f.identity(), b = a;
  let p = x;
  let i = n;
  for (; i >= 2; i -= 2, p += stride << 1) {
    a = f.of(a, v128.load(p));
    b = f.of(b, v128.load(p + stride));
  }
  if (i) a = f.of(a, v128.load(p));
  return f.of(a, b);
}

/** Σ of n elements `step` bytes apart, in float64 throughout, which is necessary if a float32 block overflows. */
export function longTotal(x: usize, n: u32, step: usize): f64 {
  let total: f64 = 0;
  for (let i: u32 = 0; i < n; i++, x += step) total += <f64>load<f32>(x);
  return total;
}

/** Σ of n contiguous elements; finite if all elements are finite. */
export function rowTotal(x: usize, n: u32): f64 {
  let total = f64x2.splat(0), p = x, i = n;
  for (; i >= 8 * TREE; i -= 8 * TREE, p += 32 * TREE)
    total = addPairs(total, f32x4.add(tree(p, 16), tree(p + 16 * TREE, 16)));
  if (i & 32) {
    total = addPairs(total, tree(p, 16));
    p += 128;
  }
  if (i & 16) {
    total = addPairs(total, quad(p, 16));
    p += 64;
  }
  if (i & 8) {
    total = addPairs(total, duo(p, 16));
    p += 32;
  }
  if (i & 4) {
    total = addPairs(total, v128.load(p));
    p += 16;
  }
  if (i & 3) total = addPairs(total, v128.and(v128.load(p), laneMask(i & 3)));
  const sum = pairSum(total);
  return isFinite(sum) ? sum : longTotal(x, n, 4);
}

/** The sums of two neighbouring columns, recomputed in float64 throughout if they are not finite. */
function recompute(totals: v128, x: usize, n: u32, stride: usize): v128 {
  const a = f64x2.extract_lane(totals, 0), b = f64x2.extract_lane(totals, 1);
  return f64x2(isFinite(a) ? a : longTotal(x, n, stride), isFinite(b) ? b : longTotal(x + 4, n, stride));
}

/** 0 in both lanes if all four sums are finite, otherwise NaN in at least one lane. */
@inline
function nonFinite(low: v128, high: v128): v128 { return f64x2.add(f64x2.sub(low, low), f64x2.sub(high, high)); }

/** Stores the first `count` of four column sums: as float64, or divided by `divisor` as float32. */
@inline
function storeTotals(out: usize, asDouble: bool, low: v128, high: v128, divisor: f64, count: u32): void {
  if (!asDouble) {
    if (divisor != 1) {
      const by = f64x2.splat(divisor);
      low = f64x2.div(low, by);
      high = f64x2.div(high, by);
    }
    storeLanes(out, narrow(low, high), count);
    return;
  }
  if (count > 1) v128.store(out, low);
  else v128.store64_lane(out, low, 0);
  if (count > 3) v128.store(out, high, 16);
  else if (count == 3) v128.store64_lane(out, high, 0, 16);
}

/** Sums four neighbouring columns of n rows, and stores the sums with `storeTotals`. */
function columnTotals(out: usize, asDouble: bool, x: usize, n: u32, stride: usize, divisor: f64, count: u32): void {
  let low = f64x2.splat(0), high = low, p = x, i = n;
  for (; i >= TREE; i -= TREE, p += stride * TREE) {
    let v = tree(p, stride);
    if (i >= 4 * TREE) {
      p += stride * TREE;
      v = f32x4.add(v, tree(p, stride));
      p += stride * TREE;
      const w = tree(p, stride);
      p += stride * TREE;
      v = f32x4.add(v, f32x4.add(w, tree(p, stride)));
      i -= 3 * TREE;
    }
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, promoteHigh(v));
  }
  for (; i > 0; i--, p += stride) {
    const v = v128.load(p);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, promoteHigh(v));
  }
  const wrong = nonFinite(low, high);
  if (v128.any_true(f64x2.ne(wrong, wrong))) {
    low = recompute(low, x, n, stride);
    high = recompute(high, x + 8, n, stride);
  }
  storeTotals(out, asDouble, low, high, divisor, count);
}

/** Like `columnTotals`, for 16 columns, so that each cache line is read once. */
function lineTotals(out: usize, asDouble: bool, x: usize, n: u32, stride: usize, divisor: f64): void {
  const zero = f64x2.splat(0);
  let l0 = zero, h0 = zero, l1 = zero, h1 = zero, l2 = zero, h2 = zero, l3 = zero, h3 = zero, p = x;
  for (let rest = n; rest > 0;) {
    let a = zero, b = zero, c = zero, d = zero;
    if (rest >= 4 * TREE) {
      for (const stop = rest - 4 * TREE; rest > stop; rest -= 2 * TREE) {
        let e = tree(p, stride), f = tree<At1>(p, stride), g = tree<At2>(p, stride), h = tree<At3>(p, stride);
        p += stride * TREE;
        e = f32x4.add(e, tree(p, stride));
        f = f32x4.add(f, tree<At1>(p, stride));
        g = f32x4.add(g, tree<At2>(p, stride));
        h = f32x4.add(h, tree<At3>(p, stride));
        p += stride * TREE;
        a = f32x4.add(a, e);
        b = f32x4.add(b, f);
        c = f32x4.add(c, g);
        d = f32x4.add(d, h);
      }
    } else if (rest >= TREE) {
      a = tree(p, stride);
      b = tree<At1>(p, stride);
      c = tree<At2>(p, stride);
      d = tree<At3>(p, stride);
      p += stride * TREE;
      rest -= TREE;
    } else {
      a = v128.load(p);
      b = v128.load(p, 16);
      c = v128.load(p, 32);
      d = v128.load(p, 48);
      p += stride;
      rest--;
    }
    l0 = f64x2.add(l0, f64x2.promote_low_f32x4(a));
    h0 = f64x2.add(h0, promoteHigh(a));
    l1 = f64x2.add(l1, f64x2.promote_low_f32x4(b));
    h1 = f64x2.add(h1, promoteHigh(b));
    l2 = f64x2.add(l2, f64x2.promote_low_f32x4(c));
    h2 = f64x2.add(h2, promoteHigh(c));
    l3 = f64x2.add(l3, f64x2.promote_low_f32x4(d));
    h3 = f64x2.add(h3, promoteHigh(d));
  }
  const wrong = f64x2.add(f64x2.add(nonFinite(l0, h0), nonFinite(l1, h1)),
    f64x2.add(nonFinite(l2, h2), nonFinite(l3, h3)));
  if (v128.any_true(f64x2.ne(wrong, wrong))) {
    l0 = recompute(l0, x, n, stride);
    h0 = recompute(h0, x + 8, n, stride);
    l1 = recompute(l1, x + 16, n, stride);
    h1 = recompute(h1, x + 24, n, stride);
    l2 = recompute(l2, x + 32, n, stride);
    h2 = recompute(h2, x + 40, n, stride);
    l3 = recompute(l3, x + 48, n, stride);
    h3 = recompute(h3, x + 56, n, stride);
  }
  const step: usize = asDouble ? 32 : 16;
  storeTotals(out, asDouble, l0, h0, divisor, 4);
  storeTotals(out + step, asDouble, l1, h1, divisor, 4);
  storeTotals(out + 2 * step, asDouble, l2, h2, divisor, 4);
  storeTotals(out + 3 * step, asDouble, l3, h3, divisor, 4);
}

/** The number of pieces of length `piece` in n; the last may be shorter. */
@inline
export function piecesOf(n: u32, piece: u32): u32 {
  return piece < n ? (n + piece - 1) / piece : 1;
}

@inline
function shorter(a: u32, b: u32): u32 { return a < b ? a : b; }

/**
 * Folds each piece of n: [outer, n, inner] → [outer, pieces, inner]. A single piece covers all of n. The share [begin,
 * end) is a range of pieces if inner = 1, otherwise a range of groups of four columns (quads) over all pieces.
 */
@inline
function fold<F>(out: usize, x: usize, n: u32, piece: u32, inner: u32, begin: u32, end: u32): void {
  const pieces = piecesOf(n, piece), quads = (inner + 3) >> 2;
  for (let q = begin; q < end; q++) {
    const p = q / quads, column = (q - p * quads) << 2;
    const o = p / pieces, first = (p - o * pieces) * piece;
    const from = x + (((<usize>o * n + first) * inner + column) << 2), length = shorter(piece, n - first);
    if (inner == 1) v128.store32_lane(out + (<usize>p << 2), foldRow<F>(from, length), 0);
    else storeLanes(out + ((<usize>p * inner + column) << 2), foldColumns<F>(from, length, <usize>inner << 2),
        inner - column);
  }
}

/**
 * Sums of float32 divided by `divisor`, with `fold`'s shares. With several pieces, stores undivided float64 sums: [outer,
 * pieces, inner].
 */
export function sum(out: usize, x: usize, n: u32, piece: u32, inner: u32, divisor: f64, begin: u32, end: u32): void {
  const pieces = piecesOf(n, piece), quads = (inner + 3) >> 2, stride = <usize>inner << 2;
  if (inner == 1 && pieces == 1) {
    for (let r = begin; r < end; r++)
      store<f32>(out + (<usize>r << 2), <f32>(rowTotal(x + ((<usize>r * n) << 2), n) / divisor));
    return;
  }
  const shift: usize = pieces > 1 ? 3 : 2;
  while (begin < end) {
    const p = begin / quads, column = (begin - p * quads) << 2;
    const o = p / pieces, first = (p - o * pieces) * piece;
    const from = x + (((<usize>o * n + first) * inner + column) << 2), length = shorter(piece, n - first);
    const to = out + ((<usize>p * inner + column) << shift), rest = inner - column;
    let vectors: u32 = 1;
    if (inner == 1) store<f64>(to, rowTotal(from, length));
    else if (end - begin >= 4 && rest >= 16) {
      lineTotals(to, pieces > 1, from, length, stride, divisor);
      vectors = 4;
    } else columnTotals(to, pieces > 1, from, length, stride, divisor, rest);
    begin += vectors;
  }
}

/**
 * Adds the float64 sums of n pieces and divides by `divisor`: [outer, n, inner] → float32 [outer, inner], with `fold`'s
 * shares.
 */
export function sumPieces(out: usize, x: usize, n: u32, inner: u32, divisor: f64, begin: u32, end: u32): void {
  const quads = (inner + 3) >> 2;
  for (let q = begin; q < end; q++) {
    const o = q / quads, first = (q - o * quads) << 2, last = shorter(inner, first + 4);
    for (let column = first; column < last; column++) {
      let total: f64 = 0, p = x + ((<usize>o * n * inner + column) << 3);
      for (let i: u32 = 0; i < n; i++, p += <usize>inner << 3) total += load<f64>(p);
      store<f32>(out + ((<usize>o * inner + column) << 2), <f32>(total / divisor));
    }
  }
}
export function sumInt(out: usize, x: usize, n: u32, piece: u32, inner: u32, begin: u32, end: u32): void {
  fold<SumInt>(out, x, n, piece, inner, begin, end);
}
export function max(out: usize, x: usize, n: u32, piece: u32, inner: u32, begin: u32, end: u32): void {
  fold<Max>(out, x, n, piece, inner, begin, end);
}
export function maxInt(out: usize, x: usize, n: u32, piece: u32, inner: u32, begin: u32, end: u32): void {
  fold<MaxInt>(out, x, n, piece, inner, begin, end);
}
export function min(out: usize, x: usize, n: u32, piece: u32, inner: u32, begin: u32, end: u32): void {
  fold<Min>(out, x, n, piece, inner, begin, end);
}
export function minInt(out: usize, x: usize, n: u32, piece: u32, inner: u32, begin: u32, end: u32): void {
  fold<MinInt>(out, x, n, piece, inner, begin, end);
}

/** Σ of a row, for the kernels that work on rows. */
export function sumRow(x: usize, n: u32): f32 { return <f32>rowTotal(x, n); }
/** The largest element of a row, or NaN if the row contains a NaN. */
export function maxRow(x: usize, n: u32): f32 { return f32x4.extract_lane(foldRow<Max>(x, n), 0); }

/** The index of the first element that is the row's extreme (the first NaN if there is one). */
function firstOf<F>(x: usize, n: u32): u32 {
  const f = changetype<F>(0);
  const extreme = foldRow<F>(x, n);
  for (let i: u32 = 0; i < n; i += 4) {
    const hits = i32x4.bitmask(v128.and(f.at(v128.load(x + (<usize>i << 2)), extreme), laneMask(n - i)));
    if (hits) return i + ctz<u32>(hits);
  }
  return 0;
}

/**
 * x: [rows, n] → int32 [rows], the index of the largest or smallest (`least`) element of each row. The share is a range
 * of rows.
 */
export function argExtreme(out: usize, x: usize, n: u32, least: u32, integer: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const row = x + ((<usize>r * n) << 2);
    const at = least
      ? (integer ? firstOf<MinInt>(row, n) : firstOf<Min>(row, n))
      : integer
      ? firstOf<MaxInt>(row, n)
      : firstOf<Max>(row, n);
    store<u32>(out + (<usize>r << 2), at);
  }
}

/**
 * Running sums along the middle dimension of [outer, n, inner], from the end if `reverse`. The share is a range of quads, as
 * in `fold`. Float32 elements are summed in float64, int32 elements modulo 2³².
 */
export function cumsum(out: usize, x: usize, n: u32, inner: u32, reverse: u32, integer: u32, begin: u32,
  end: u32): void
{
  const quads = (inner + 3) >> 2;
  const stride: isize = reverse ? -(<isize>inner << 2) : <isize>inner << 2;
  for (let q = begin; q < end; q++) {
    const o = q / quads, column = (q - o * quads) << 2;
    let at: usize = (<usize>o * n * inner + column + (reverse ? <usize>(n - 1) * inner : 0)) << 2;
    let low = f64x2.splat(0), high = low;
    for (let i: u32 = 0; i < n; i++, at += stride) {
      const v = v128.load(x + at);
      if (integer) {
        low = i32x4.add(low, v);
        storeLanes(out + at, low, inner - column);
        continue;
      }
      low = f64x2.add(low, f64x2.promote_low_f32x4(v));
      high = f64x2.add(high, promoteHigh(v));
      storeLanes(out + at, narrow(low, high), inner - column);
    }
  }
}

/** The number of units of work in a reduction, which are split into shares. */
export function reduceUnits(op: Op, outer: u32, inner: u32): u32 {
  return inner == 1 && op != Op.Cumsum ? outer : outer * ((inner + 3) >> 2);
}
