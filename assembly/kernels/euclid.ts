/**
 * Euclidean norms along the middle of [outer, n, inner]. They add squares in float64, which holds the square of any float32, so no
 * norm overflows or underflows before its result does. Rows and columns are shared, and cut into pieces, as other reductions are.
 */
import { laneMask, storeLanes } from "../simd";
import { piecesOf } from "./reduce";

// @ts-ignore: decorator
@inline
/** Squares of the first two lanes, as float64. */
function lowSquares(v: v128): v128 {
  const x = f64x2.promote_low_f32x4(v);
  return f64x2.mul(x, x);
}
// @ts-ignore: decorator
@inline
/** Squares of the last two lanes, as float64. */
function highSquares(v: v128): v128 { return lowSquares(i64x2.shuffle(v, v, 1, 0)); }

function rowNorm(x: usize, n: u32): f32 {
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
  return <f32>Math.sqrt(f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1));
}

/** Of four neighbouring columns of n rows, `stride` bytes apart. */
function columnNorms(x: usize, n: u32, stride: usize): v128 {
  let low = f64x2.splat(0), high = low;
  for (let i: u32 = 0, p = x; i < n; i++, p += stride) {
    const v = v128.load(p);
    low = f64x2.add(low, lowSquares(v));
    high = f64x2.add(high, highSquares(v));
  }
  return i64x2.shuffle(f32x4.demote_f64x2_zero(f64x2.sqrt(low)), f32x4.demote_f64x2_zero(f64x2.sqrt(high)), 0, 2);
}

/**
 * [outer, n, inner] → [outer, pieces of n, inner]; the norm of the pieces' norms is that of all. The share [begin, end) counts
 * pieces where inner = 1, else groups of four columns of all pieces.
 */
export function norm(out: usize, x: usize, n: u32, piece: u32, inner: u32, begin: u32, end: u32): void {
  const pieces = piecesOf(n, piece), quads = (inner + 3) >> 2;
  for (let q = begin; q < end; q++) {
    const p = q / quads, column = (q - p * quads) << 2, o = p / pieces, first = (p - o * pieces) * piece;
    const from = x + (((<usize>o * n + first) * inner + column) << 2), length = min<u32>(piece, n - first);
    if (inner == 1) store<f32>(out + (<usize>p << 2), rowNorm(from, length));
    else storeLanes(out + ((<usize>p * inner + column) << 2), columnNorms(from, length, <usize>inner << 2), inner - column);
  }
}
