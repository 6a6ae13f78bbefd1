/**
 * Reductions of the middle of [outer, n, inner], and running sums along it.
 * Every fold is pairwise over blocks of fixed size, so a sum's error grows with log n and its bits depend on n alone,
 * never on how the work is shared.
 */
import { laneMask, storeLanes } from "../simd";
import { Op } from "../opcodes";

/** Elements (of a row) and rows (of a column) that are folded in order before folding pairwise. */
const ROW_BLOCK: u32 = 512;
const COLUMN_BLOCK: u32 = 32;

@final class Sum {
  @inline identity(): f32 { return 0; }
  @inline of(a: v128, b: v128): v128 { return f32x4.add(a, b); }
}
@final class Max {
  @inline identity(): f32 { return -Infinity; }
  @inline of(a: v128, b: v128): v128 { return f32x4.max(a, b); }
}
@final class Min {
  @inline identity(): f32 { return Infinity; }
  @inline of(a: v128, b: v128): v128 { return f32x4.min(a, b); }
}

// @ts-ignore: decorator
@inline
/** Where to cut n > block in two: the largest block·2ᵏ below n. */
function cut(n: u32, block: u32): u32 { return block << (31 - clz<u32>((n - 1) / block)); }

/** Four partial folds of n contiguous elements, one per lane. */
function rowLanes<F>(x: usize, n: u32): v128 {
  const f = changetype<F>(0);
  if (n > ROW_BLOCK) {
    const half = cut(n, ROW_BLOCK);
    return f.of(rowLanes<F>(x, half), rowLanes<F>(x + (<usize>half << 2), n - half));
  }
  const identity = f32x4.splat(f.identity());
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
  if (i) b = f.of(b, v128.bitselect(v128.load(p), identity, laneMask(i)));
  return f.of(f.of(a, b), f.of(c, d));
}

// @ts-ignore: decorator
@inline
/** The fold of n contiguous elements. */
function foldRow<F>(x: usize, n: u32): f32 {
  const f = changetype<F>(0);
  const v = rowLanes<F>(x, n);
  const pairs = f.of(v, i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  return f32x4.extract_lane(f.of(pairs, i8x16.shuffle(pairs, pairs, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)), 0);
}

/** The folds of four neighbouring columns of n rows, `stride` bytes apart. */
function foldColumns<F>(x: usize, n: u32, stride: usize): v128 {
  const f = changetype<F>(0);
  if (n > COLUMN_BLOCK) {
    const half = cut(n, COLUMN_BLOCK);
    return f.of(foldColumns<F>(x, half, stride), foldColumns<F>(x + half * stride, n - half, stride));
  }
  let a = f32x4.splat(f.identity()), b = a;
  let p = x;
  let i = n;
  for (; i >= 2; i -= 2, p += stride << 1) {
    a = f.of(a, v128.load(p));
    b = f.of(b, v128.load(p + stride));
  }
  if (i) a = f.of(a, v128.load(p));
  return f.of(a, b);
}

/**
 * The sums of 16 neighbouring columns, a block of rows at a time, so that whole cache lines are read once: to `stack`. Partial
 * sums lie on it by powers of two of blocks, and are added in the order in which foldColumns does it.
 */
function sumLines(stack: usize, x: usize, n: u32, stride: usize): void {
  const zero = f32x4.splat(0);
  let top = stack, blocks: u32 = 0, p = x;
  let a0 = zero, a1 = zero, a2 = zero, a3 = zero;
  for (let rest = n; rest > 0 || !blocks;) {
    let i = rest < COLUMN_BLOCK ? rest : COLUMN_BLOCK;
    rest -= i;
    a0 = zero, a1 = zero, a2 = zero, a3 = zero;
    let b0 = zero, b1 = zero, b2 = zero, b3 = zero;
    for (; i >= 2; i -= 2, p += stride << 1) {
      const next = p + stride;
      a0 = f32x4.add(a0, v128.load(p));
      a1 = f32x4.add(a1, v128.load(p, 16));
      a2 = f32x4.add(a2, v128.load(p, 32));
      a3 = f32x4.add(a3, v128.load(p, 48));
      b0 = f32x4.add(b0, v128.load(next));
      b1 = f32x4.add(b1, v128.load(next, 16));
      b2 = f32x4.add(b2, v128.load(next, 32));
      b3 = f32x4.add(b3, v128.load(next, 48));
    }
    if (i) {
      a0 = f32x4.add(a0, v128.load(p));
      a1 = f32x4.add(a1, v128.load(p, 16));
      a2 = f32x4.add(a2, v128.load(p, 32));
      a3 = f32x4.add(a3, v128.load(p, 48));
    }
    a0 = f32x4.add(a0, b0);
    a1 = f32x4.add(a1, b1);
    a2 = f32x4.add(a2, b2);
    a3 = f32x4.add(a3, b3);
    // A number of blocks that ends in ones has pairs waiting; at the end, everything has.
    for (let pairs = rest ? blocks : ~0; top > stack && pairs & 1; pairs >>= 1) {
      top -= 64;
      a0 = f32x4.add(v128.load(top), a0);
      a1 = f32x4.add(v128.load(top, 16), a1);
      a2 = f32x4.add(v128.load(top, 32), a2);
      a3 = f32x4.add(v128.load(top, 48), a3);
    }
    v128.store(top, a0);
    v128.store(top, a1, 16);
    v128.store(top, a2, 32);
    v128.store(top, a3, 48);
    top += 64;
    blocks++;
  }
}

/** How many pieces of length `piece` n is cut into; the last may be shorter. */
// @ts-ignore: decorator
@inline
export function piecesOf(n: u32, piece: u32): u32 {
  return piece < n ? (n + piece - 1) / piece : 1;
}

// @ts-ignore: decorator
@inline
function shorter(a: u32, b: u32): u32 { return a < b ? a : b; }

// @ts-ignore: decorator
@inline
/**
 * [outer, n, inner] → [outer, pieces of n, inner], each folded apart (one piece: all of n). The share [begin, end) counts pieces where
 * inner = 1, else groups of four columns (quads) of all pieces.
 */
function fold<F>(out: usize, x: usize, n: u32, piece: u32, inner: u32, scale: f32, begin: u32, end: u32): void {
  const pieces = piecesOf(n, piece), quads = (inner + 3) >> 2;
  for (let q = begin; q < end; q++) {
    const p = q / quads, column = (q - p * quads) << 2;
    const o = p / pieces, first = (p - o * pieces) * piece;
    const from = x + (((<usize>o * n + first) * inner + column) << 2), length = shorter(piece, n - first);
    if (inner == 1) store<f32>(out + (<usize>p << 2), scale * foldRow<F>(from, length));
    else {
      const v = foldColumns<F>(from, length, <usize>inner << 2);
      storeLanes(out + ((<usize>p * inner + column) << 2), f32x4.mul(v, f32x4.splat(scale)), inner - column);
    }
  }
}

export function sum(out: usize, x: usize, n: u32, piece: u32, inner: u32, scale: f32, stack: usize, begin: u32, end: u32): void {
  const pieces = piecesOf(n, piece), quads = (inner + 3) >> 2;
  // Whole lines of columns where there are; what is left of a piece goes as everywhere.
  while (inner > 1 && begin < end) {
    const p = begin / quads, column = (begin - p * quads) << 2;
    if (end - begin < 4 || inner - column < 16) {
      const next = shorter(end, (p + 1) * quads);
      fold<Sum>(out, x, n, piece, inner, scale, begin, next);
      begin = next;
      continue;
    }
    const o = p / pieces, first = (p - o * pieces) * piece;
    sumLines(stack, x + (((<usize>o * n + first) * inner + column) << 2), shorter(piece, n - first), <usize>inner << 2);
    const to = out + ((<usize>p * inner + column) << 2);
    for (let i: usize = 0; i < 64; i += 16) v128.store(to + i, f32x4.mul(v128.load(stack + i), f32x4.splat(scale)));
    begin += 4;
  }
  fold<Sum>(out, x, n, piece, inner, scale, begin, end);
}
export function max(out: usize, x: usize, n: u32, piece: u32, inner: u32, begin: u32, end: u32): void {
  fold<Max>(out, x, n, piece, inner, 1, begin, end);
}
export function min(out: usize, x: usize, n: u32, piece: u32, inner: u32, begin: u32, end: u32): void {
  fold<Min>(out, x, n, piece, inner, 1, begin, end);
}

/** Σ of a row: for the kernels that work on rows. */
export function sumRow(x: usize, n: u32): f32 { return foldRow<Sum>(x, n); }
/** The largest of a row, NaN if it holds one. */
export function maxRow(x: usize, n: u32): f32 { return foldRow<Max>(x, n); }

// @ts-ignore: decorator
@inline
/** The first index of a row at which the extreme stands (NaN counts as extreme). */
function firstOf<F>(x: usize, n: u32): u32 {
  const extreme = foldRow<F>(x, n);
  const v = f32x4.splat(extreme);
  const isNaN = extreme != extreme;
  for (let i: u32 = 0; i < n; i += 4) {
    const at = v128.load(x + (<usize>i << 2));
    const hits = i32x4.bitmask(v128.and(isNaN ? f32x4.ne(at, at) : f32x4.eq(at, v), laneMask(n - i)));
    if (hits) return i + ctz<u32>(hits);
  }
  return 0;
}

/** x: [rows, n] → int32 [rows]; the share counts rows. */
export function argMax(out: usize, x: usize, n: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) store<u32>(out + (<usize>r << 2), firstOf<Max>(x + ((<usize>r * n) << 2), n));
}
/** x: [rows, n] → int32 [rows]; the share counts rows. */
export function argMin(out: usize, x: usize, n: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) store<u32>(out + (<usize>r << 2), firstOf<Min>(x + ((<usize>r * n) << 2), n));
}

/**
 * Running sums along the middle of [outer, n, inner], from the end if `reverse`; the share counts quads as `fold` does.
 * They run in float64, since a running sum cannot be pairwise.
 */
export function cumsum(out: usize, x: usize, n: u32, inner: u32, reverse: u32, begin: u32, end: u32): void {
  const quads = (inner + 3) >> 2;
  const stride: isize = reverse ? -(<isize>inner << 2) : <isize>inner << 2;
  for (let q = begin; q < end; q++) {
    const o = q / quads, column = (q - o * quads) << 2;
    let at: usize = (<usize>o * n * inner + column + (reverse ? <usize>(n - 1) * inner : 0)) << 2;
    let low = f64x2.splat(0), high = low;
    for (let i: u32 = 0; i < n; i++, at += stride) {
      const v = v128.load(x + at);
      low = f64x2.add(low, f64x2.promote_low_f32x4(v));
      high = f64x2.add(high, f64x2.promote_low_f32x4(i64x2.shuffle(v, v, 1, 0)));
      const total = i64x2.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
      storeLanes(out + at, total, inner - column);
    }
  }
}

/** Units that a share of a reduction counts. */
export function reduceUnits(op: Op, outer: u32, inner: u32): u32 {
  return inner == 1 && op != Op.Cumsum ? outer : outer * ((inner + 3) >> 2);
}
