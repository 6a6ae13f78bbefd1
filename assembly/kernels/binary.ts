/**
 * Ops on two operands with broadcasting, comparisons of int32 with float32, and `where`. `binary` loops over the outer
 * dimensions and calls a kernel for each row. In a row, `out` is contiguous, and each operand either advances or
 * repeats one element.
 */
import { loadMask, selectLanes, storeLanes, storeMask } from "../simd";
import { Dim } from "../layouts";
import { Family, Head, Op, Type } from "../opcodes";
import { offsetAt } from "../walk";
import { row } from "./pointwise";
import { rowInt } from "./pointwiseInt";

/** The first or last two elements of v, as float64, which represents both types exactly. */
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

/**
 * Runs an op of Family.Binary or Family.Compare over `rank` dimensions, which the words at `dims` describe (layouts.ts:
 * Binary). The share [begin, end) is a range of rows, or of elements if there is only one dimension.
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
  // Along the last outer dimension, rows are a constant distance apart, so compute the offsets once per run of rows.
  const n = load<u32>(inner, Dim.size << 2), dim = inner - (Dim.words << 2), size = load<u32>(dim, Dim.size << 2);
  const stepA = load<isize>(dim, Dim.first << 2) << 2, stepB = load<isize>(dim, Dim.second << 2) << 2;
  let to = out + <usize>begin * n * outBytes;
  for (let r = begin; r < end;) {
    const stop = min<u32>(end, r - r % size + size);
    let fromA = a + (offsetAt(r, dims, inner, Dim.first) << 2), fromB = b + (offsetAt(r, dims, inner, Dim.second) << 2);
    for (; r < stop; r++, to += n * outBytes, fromA += stepA, fromB += stepB)
      oneRow(op, type, to, fromA, fromB, n, sa, sb);
  }
}

@inline
function oneRow(op: Op, type: Type, out: usize, a: usize, b: usize, n: u32, sa: u32, sb: u32): void {
  if (type == Type.Int32) rowInt(op, out, a, b, n, sa, sb);
  else if (type == Type.IntFloat || type == Type.FloatInt)
    compareMixed(op, out, a, b, n, sa, sb, type == Type.IntFloat);
  else row(op, out, a, b, n, sa, sb);
}

/** out[i] = condition[i] ? a[i] : b[i] for i in [begin, end), for 32-bit elements of any type. */
export function where(out: usize, condition: usize, a: usize, b: usize, begin: u32, end: u32): void {
  for (let i = begin; i < end; i += 4) {
    const at: usize = i << 2;
    storeLanes(out + at, selectLanes(v128.load(a + at), v128.load(b + at), loadMask(condition + i)), end - i);
  }
}
