/**
 * The operands of instructions: one layout per family of ops (compiled by asc and by tsc). A member is the index of the
 * word that holds the operand. The layouts for layers are in layerLayouts.ts.
 *
 * Operands are addresses (in bytes), sizes (in elements unless noted) and flags, one word each. Comments mark the exceptions:
 * `f32` and `f64` (two words). An operand with brackets is the number of records of the kind in brackets; the records follow
 * the layout's `words`. From these layouts, `npm run generate` writes the functions that encode instructions
 * (src/runtime/instructions.ts).
 */
import { Head } from "./opcodes.ts";

/** out[i] = f(x[i]; p, q) for i < n. */
export const enum Unary {
  out = Head.words,
  x,
  n,
  p, // f32
  q, // f32
  words,
}

/** out[i] = f(dy[i], x[i]; p, q) for i < n. */
export const enum Derivative {
  out = Head.words,
  dy,
  x,
  n,
  p, // f32
  q, // f32
  words,
}

/**
 * out = f(a, b) over `rank` ≥ 1 dimensions, outermost first. A dimension is [size, stride of a, stride of b], in elements;
 * out is contiguous. A stride is 0 where an operand is broadcast; the innermost strides are 0 or 1.
 */
export const enum Binary {
  out = Head.words,
  a,
  b,
  type,
  rank, // [dims: Dim]
  words,
}

/** The words of one dimension in Binary, Matmul and StridedCopy. */
export const enum Dim {
  size,
  first,
  second,
  words,
}

/** out[i] = condition[i] ? a[i] : b[i]. */
export const enum Where {
  out = Head.words,
  condition,
  a,
  b,
  n,
  words,
}

/**
 * x: [outer, n, inner], float32 or int32 (`type`) → out: [outer, inner], divided by `divisor` (Sum of float32, Norm,
 * Squares); Cumsum keeps the shape and, if `reverse`, starts at the end.
 */
export const enum Reduce {
  out = Head.words,
  x,
  outer,
  n,
  inner,
  divisor, // f64
  reverse = divisor + 2,
  type,
  /**
   * The length of the pieces of n that are reduced separately, or 0 to reduce n as a whole. With pieces, out is [outer, ⌈n /
   * piece⌉, inner], in float64 for a Sum of float32.
   */
  piece,
  words,
}

/** out, x: [rows, n]. */
export const enum Softmax {
  out = Head.words,
  x,
  rows,
  n,
  words,
}

/** dx, dy, y: [rows, n], where y is the output of the forward op. */
export const enum SoftmaxGrad {
  out = Head.words,
  dy,
  y,
  rows,
  n,
  words,
}

/**
 * loss: [rows], lse: [rows, 2] from logits: [rows, classes] and target: int32 [rows], or float32 [rows, classes]
 * (SoftCrossEntropy).
 */
export const enum CrossEntropy {
  loss = Head.words,
  lse,
  logits,
  target,
  rows,
  classes,
  ignoreIndex,
  words,
}

/** dx: [rows, classes] from dy: [rows], lse: [rows, 2]. */
export const enum CrossEntropyGrad {
  out = Head.words,
  dy,
  logits,
  target,
  lse,
  rows,
  classes,
  ignoreIndex,
  words,
}

/**
 * C = act(alpha·op(A)·op(B) + bias) for each matrix of a batch. There are `rank` batch dimensions [size, stride of A, stride of
 * B], with strides in matrices. The matrices of C are contiguous, and so are those of `y`, which is 0 unless act is a
 * derivative.
 */
export const enum Matmul {
  out = Head.words,
  a,
  b,
  bias,
  y,
  m,
  n,
  k,
  transA,
  transB,
  alpha, // f32
  activation,
  workspace,
  rank, // [dims: Dim]
  words,
}

/** Fills `bytes` bytes of out. `value` is the bit pattern of one element, repeated to fill 32 bits. */
export const enum Fill {
  out = Head.words,
  bytes,
  value,
  words,
}

/**
 * out[…] = x[…] over `rank` ≥ 1 dimensions, outermost first. A dimension is [size, stride of out, stride of x]; strides are
 * in bytes and may be negative.
 */
export const enum StridedCopy {
  out = Head.words,
  x,
  elementBytes,
  rank, // [dims: Dim]
  words,
}

/**
 * out is an array of `rows` rows, filled with `value` except for a box that holds the elements of x. The `rank` ≥ 1 dimensions
 * describe out and the box, outermost first. `value` is the bit pattern of one element, repeated to fill 32 bits.
 */
export const enum Unslice {
  out = Head.words,
  x,
  elementBytes,
  value,
  rows,
  rank, // [dims: BoxDim]
  words,
}

/**
 * One dimension in Unslice: the size of out, and the `count` positions in out at which x's elements are placed. The
 * positions begin at `start` and are `step` apart; `step` may be negative.
 */
export const enum BoxDim {
  size,
  count,
  start,
  step,
  words,
}

/** out[i] = x[i], converted. */
export const enum Cast {
  out = Head.words,
  x,
  n,
  from,
  to,
  words,
}

/**
 * IndexSelect: out[o, j, i] = x[o, index[j], i];  IndexAdd: out[o, index[j], i] += x[o, rows[j], i], j < count;
 * Gather: out[o, j, i] = x[o, index[o, j, i], i];  ScatterAdd: out[o, index[o, j, i], i] += x[o, j, i].
 * n is the size of the indexed dimension. IndexAdd and ScatterAdd first fill out with 0. For an index outside 0…n−1, reads
 * give 0, and additions skip the element. For IndexAdd, x has `height` rows, rows[j] is j if `rows` is 0, and the workspace
 * holds each share's lists, `listBytes` apart. ScatterAdd's workspace holds as many float64 numbers as out has elements; its
 * address is 0 for short sums and for int32.
 */
export const enum Index {
  out = Head.words,
  x,
  index,
  outer,
  n,
  count,
  inner,
  type,
  workspace,
  listBytes,
  rows,
  height,
  words,
}

/**
 * out[o, j, i] = x[o, k₀, i] + Σ weight[j, t − 1]·(x[o, kₜ, i] − x[o, k₀, i]) over 0 < t < taps, where kₜ = index[j, t], j <
 * count and kₜ < n. A larger index is read as n − 1. If `columns` is not 0, taps is 2, and each slice of x is a row of `width`
 * columns of `inner` elements. Each row of x is first interpolated to `columnCount` columns in the same way, with the indices
 * in columns: int32 [columnCount, 2] and the weights in columnWeight: float32 [columnCount].
 */
export const enum Interpolate {
  out = Head.words,
  x,
  index,
  weight,
  outer,
  n,
  count,
  inner,
  taps,
  columns,
  columnWeight,
  width,
  columnCount,
  words,
}

/** out: float32 or int32 [rows, classes] from index: int32 [rows]. `one` is the bit pattern of 1. */
export const enum OneHot {
  out = Head.words,
  index,
  rows,
  classes,
  one,
  words,
}

/**
 * out: int32 [min(count, n)], the distinct indices in ascending order, followed by −1s. inverse: int32 [count], the
 * position in out of each index. Indices outside 0 … n − 1 are ignored, and their inverse is −1. The workspace has
 * 2·count + 256 words.
 */
export const enum Unique {
  out = Head.words,
  inverse,
  index,
  n,
  count,
  workspace,
  words,
}

/**
 * Random numbers, uniform in [p, q), or normal with mean p and standard deviation q. `state` is the address of [seed low, seed
 * high, counter low, counter high].
 */
export const enum Distribution {
  out = Head.words,
  n,
  state,
  p, // f32
  q, // f32
  words,
}

/** Writes `value` with probability (2³²·high + low + 1)/2⁶⁴, and 0 otherwise. */
export const enum Bernoulli {
  out = Head.words,
  n,
  state,
  low,
  high,
  value, // f32
  words,
}

/** Random int32 numbers from low to low + range − 1; a range of 0 means 2³². */
export const enum RandomInteger {
  out = Head.words,
  n,
  state,
  low,
  range,
  words,
}

/** The int32 numbers from 0 to n − 1, in random order. */
export const enum RandomPermutation {
  out = Head.words,
  n,
  state,
  words,
}

/** Adds `by` to the 64-bit (wide) or 32-bit counter at `address`. */
export const enum Advance {
  address = Head.words,
  by,
  wide,
  words,
}

/**
 * Updates `count` parameters, each described by an UpdatePart. `lr` is the address of an f32, so a schedule can change the
 * learning rate without recording the program again. c0 … c4 are the optimizer's constants, in the kernel's order.
 */
export const enum Update {
  lr = Head.words,
  flags,
  c0, // f64
  c1 = c0 + 2, // f64
  c2 = c1 + 2, // f64
  c3 = c2 + 2, // f64
  c4 = c3 + 2, // f64
  count = c4 + 2, // [parts: UpdatePart]
  words,
}

/**
 * A parameter p and its gradient g of n elements. s0, s1 and s2 are the optimizer's state (0 if unused). `step` is the
 * address of a u32, the number of the step, starting at 1. If g is dense, `rows` is 0, and p has n elements too. If g is sparse, it
 * consists of rows of `width` elements, and `rows` is the address of the rows of p that they belong to: distinct numbers, followed by
 * −1s, whose rows of g are ignored.
 */
export const enum UpdatePart {
  p,
  g,
  s0,
  s1,
  s2,
  n,
  step,
  rows,
  width,
  words,
}

/**
 * `count` pointwise instructions (layouts Unary, Derivative, Binary with one dimension, Where, Cast) on the same n elements,
 * run block by block. The operands are followed by one mask for each of the instructions, then by the instructions; the chain's
 * Head.length includes both. If bit j of an instruction's mask is set, its word Head.words + j is not the address of a whole
 * array, but that of one block of 32-bit elements in the first thread's scratch memory. Each thread has `scratch` bytes of
 * scratch memory.
 */
export const enum Chain {
  n = Head.words,
  count, // [masks]
  scratch,
  words, // [instructions]
}

/**
 * Writes `id` at the address `status` (layout Status) if one of the n elements is out of range. An Int32 element is in range
 * if it is in low … high or equal to `skip`, a Float32 element if it is in low … high. NaN is never in range.
 */
export const enum Check {
  status = Head.words,
  id,
  x,
  n,
  type,
  low, // f64
  high = low + 2, // f64
  skip = high + 2, // f64
  words = skip + 2,
}
