/**
 * Sums of squares and Euclidean norms along the middle dimension of [outer, n, inner]. Squares are added in float64,
 * which can represent the square of any float32, so only the conversion of the result to float32 can overflow or
 * underflow. Shares and pieces are those of `fold` in reduce.ts.
 */
import { laneMask, storeLanes } from "../simd";
import { piecesOf } from "./reduce";

/** Squares of the first two lanes, as float64. */
@inline
function lowSquares(v: v128): v128 {
  const x = f64x2.promote_low_f32x4(v);
  return f64x2.mul(x, x);
}
/** Squares of the last two lanes, as float64. */
@inline
function highSquares(v: v128): v128 { return lowSquares(i64x2.shuffle(v, v, 1, 0)); }

function rowSquares(x: usize, n: u32): f64 {
  let a = f64x2.splat(0), b = a, c = a, d = a, p = x, i = n;
  for (; i >= 8; i -= 8, p += 32) {
    const v = v128.load(p), w = v128.load(p, 16);
    a = f64x2.add(a, lowSquares(v));
    b = f64x2.add(b, highSquares(v));
    c = f64x2.add(c, lowSquares(w));
    d = f64x2.add(d, highSquares(w));
  }
  for (; <i32>i > 0; i -= 4, p += 16) {
    const v = v128.and(v128.load(p), laneMask(i));
    a = f64x2.add(a, lowSquares(v));
    b = f64x2.add(b, highSquares(v));
  }
  const total = f64x2.add(f64x2.add(a, b), f64x2.add(c, d));
  return f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1);
}

/** √(Σ x² / divisor) if `root`, otherwise Σ x² / divisor, for four neighbouring columns of n rows, `stride` bytes apart. */
@inline
function columnFold(root: bool, x: usize, n: u32, stride: usize, divisor: f64): v128 {
  let low = f64x2.splat(0), high = low;
  for (let i: u32 = 0, p = x; i < n; i++, p += stride) {
    const v = v128.load(p);
    low = f64x2.add(low, lowSquares(v));
    high = f64x2.add(high, highSquares(v));
  }
  const by = f64x2.splat(divisor);
  low = f64x2.div(low, by);
  high = f64x2.div(high, by);
  if (root) {
    low = f64x2.sqrt(low);
    high = f64x2.sqrt(high);
  }
  return i64x2.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

/**
 * [outer, n, inner] → [outer, pieces of n, inner]. The share [begin, end) is a range of pieces if inner = 1, otherwise a
 * range of groups of four columns over all pieces.
 */
@inline
function fold(root: bool, out: usize, x: usize, n: u32, piece: u32, inner: u32, divisor: f64, begin: u32,
  end: u32): void
{
  const pieces = piecesOf(n, piece), quads = (inner + 3) >> 2;
  for (let q = begin; q < end; q++) {
    const p = q / quads, column = (q - p * quads) << 2, o = p / pieces, first = (p - o * pieces) * piece;
    const from = x + (((<usize>o * n + first) * inner + column) << 2), length = min<u32>(piece, n - first);
    if (inner == 1) {
      const quotient = rowSquares(from, length) / divisor;
      store<f32>(out + (<usize>p << 2), <f32>(root ? Math.sqrt(quotient) : quotient));
    } else storeLanes(out + ((<usize>p * inner + column) << 2),
        columnFold(root, from, length, <usize>inner << 2, divisor), inner - column);
  }
}

/** √(Σ x² / divisor), with `fold`'s shapes; the norm of the pieces' norms is the norm of all elements. */
export function norm(out: usize, x: usize, n: u32, piece: u32, inner: u32, divisor: f64, begin: u32, end: u32): void {
  fold(true, out, x, n, piece, inner, divisor, begin, end);
}

/** Σ x² / divisor, with `fold`'s shapes. */
export function squares(out: usize, x: usize, n: u32, piece: u32, inner: u32, divisor: f64, begin: u32,
  end: u32): void
{
  fold(false, out, x, n, piece, inner, divisor, begin, end);
}
