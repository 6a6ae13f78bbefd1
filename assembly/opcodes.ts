/**
 * Op codes and operand layouts: the one place that both sides of the boundary read (compiled by asc and by tsc).
 *
 * An instruction is a run of 32-bit words, [code, length in words, operands …]. Operands are addresses (bytes), sizes
 * (elements unless said), floats (the bits of an f32) and flags. The layout enums below name the word of each operand,
 * one layout per family; `words` is the length, to which a family with `rank` adds a run of words per dimension.
 */

/** Every primitive. The order groups the families: the engine tells them apart by ranges. */
export const enum Op {
  // Pointwise, one operand (layout Unary).
  Neg,
  Abs,
  Sign,
  Square,
  Sqrt,
  Rsqrt,
  Reciprocal,
  Exp,
  Expm1,
  Log,
  Log1p,
  Sin,
  Cos,
  Tan,
  Tanh,
  Sigmoid,
  LogSigmoid,
  Softplus,
  Relu,
  LeakyRelu,
  Elu,
  Selu,
  Gelu,
  GeluTanh,
  Silu,
  Mish,
  HardSigmoid,
  HardSwish,
  HardTanh,
  Clamp,
  Erf,
  Floor,
  Ceil,
  Round,
  // Pointwise derivatives, (dy, x or y) → dx (layout Zip).
  TanhGrad,
  SigmoidGrad,
  ReluGrad,
  LeakyReluGrad,
  EluGrad,
  SeluGrad,
  GeluGrad,
  GeluTanhGrad,
  SiluGrad,
  MishGrad,
  HardSigmoidGrad,
  HardSwishGrad,
  HardTanhGrad,
  ClampGrad,
  // Two operands with broadcasting (layout Binary).
  Add,
  Sub,
  Mul,
  Div,
  Pow,
  Maximum,
  Minimum,
  Atan2,
  Mod,
  LogisticLoss,
  LogisticSlope,
  // Comparisons, to bool (layout Binary).
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Where,
  // Reductions of the middle of [outer, n, inner] (layout Reduce).
  Sum,
  Max,
  Min,
  ArgMax,
  ArgMin,
  Norm,
  Squares,
  Cumsum,
  // Rows (layouts Softmax, SoftmaxGrad, CrossEntropy, CrossEntropyGrad).
  Softmax,
  LogSoftmax,
  SoftmaxGrad,
  LogSoftmaxGrad,
  CrossEntropy,
  CrossEntropyGrad,
  SoftCrossEntropy,
  SoftCrossEntropyGrad,
  Matmul,
  // Moving elements (layouts Fill, StridedCopy, Cast).
  Fill,
  Permute,
  Slice,
  Unslice,
  BroadcastTo,
  Concat,
  Assign,
  Cast,
  // Indexing (layouts Index, OneHot).
  IndexSelect,
  IndexAdd,
  Gather,
  ScatterAdd,
  OneHot,
  // Random numbers and counters (layouts Random, Advance).
  Uniform,
  Normal,
  Bernoulli,
  RandomInteger,
  RandomPermutation,
  Advance,
  // Optimizer updates in place (layout Update).
  Sgd,
  Adam,
  RmsProp,
  Adagrad,
  Lion,
  // Convolutions (layout Conv).
  Conv,
  ConvInput,
  ConvWeight,
  /** Layout MaxPool. */
  MaxPool,
  // Layout AvgPool.
  AvgPool,
  AvgPoolGrad,
  /** Layout Normalize. */
  Normalize,
  /** Layout NormalizeGrad. */
  NormalizeGrad,
  // Recurrent layers over a sequence (layout Recurrent), and their gradients (layout RecurrentGrad).
  Rnn,
  Lstm,
  Gru,
  RnnGrad,
  LstmGrad,
  GruGrad,
  // Scaled dot-product attention (layout Attention).
  Attention,
  AttentionGrad,
  // Small matrices, and the order of rows (layout Factor; TriangularSolve: Solve).
  Cholesky,
  Eigh,
  ArgSort,
  TriangularSolve,
  // Several pointwise instructions as one pass (layout Chain).
  Chain,
  /** Looks whether elements are in a range (layout Check). */
  Check,
  /** How many codes there are; not an op. */
  Count,
}

/** Elements of pointwise work that belong together: a share is a whole number of them, a chain takes one at a time. */
export const enum Block {
  elements = 1024,
}

/** Element types as instructions name them. */
export const enum Type {
  Float32,
  Int32,
  Bool,
  Uint8,
  /** Of two operands that are compared: int32 and float32, or the other way round. */
  IntFloat,
  FloatInt,
  /** Of sums of pieces, which a second instruction adds. */
  Float64,
}

/**
 * What a gemm applies to each element of C last. The activations are differentiable from their output y alone; the
 * derivatives multiply C by act′ at y, which lies as C does.
 */
export const enum Activation {
  None,
  Relu,
  Tanh,
  Sigmoid,
  ReluGrad,
  TanhGrad,
  SigmoidGrad,
}

/** The first two words of every instruction. The code's upper half says into how many shares it is cut among threads; 0: none. */
export const enum Head {
  code,
  length,
  words,
  /** Where the number of shares begins in the code's word. */
  shares = 16,
}

/**
 * How threads find each other: byte offsets of the words of a control block (pool.ts). Words that several threads write have
 * cache lines of their own, two each, since processors fetch them in pairs.
 */
export const enum Control {
  /** Counts jobs; workers wait for it to change. */
  epoch = 0,
  /** Workers asleep until then. */
  asleep = 4,
  /** What to run, and how many instructions that is. */
  program = 128,
  count = 132,
  /** Whether there is something to run. */
  open = 136,
  /** Whether workers are to leave. */
  stop = 140,
  /** How often to look before sleeping: for another share to end, and, for workers, for the next job. */
  patience = 144,
  idle = 148,
  /** Workers that are at a job. */
  inside = 256,
  /** Shares of the job taken so far, and shares done. */
  taken = 384,
  done = 512,
  /** Threads asleep until shares are done. */
  waiting = 640,
  bytes = 768,
}

/** What a program's checks found, as byte offsets: the lowest number of a check that failed (0: none), the element's place, its word. */
export const enum Status {
  id = 0,
  at = 4,
  value = 8,
}

/**
 * Writes `id` at the address `status` (layout Status) if one of n elements of `type` Int32 or Float32 is neither in low … high nor
 * `skip`, which are words of that type. NaN is in no range.
 */
export const enum Check {
  status = Head.words,
  id,
  x,
  n,
  type,
  low,
  high,
  skip,
  words,
}

/** out[i] = f(x[i]; p, q) for i < n. */
export const enum Unary {
  out = Head.words,
  x,
  n,
  p,
  q,
  words,
}

/** out[i] = f(a[i], b[i]; p, q) for i < n. */
export const enum Zip {
  out = Head.words,
  a,
  b,
  n,
  p,
  q,
  words,
}

/**
 * out = f(a, b) over `rank` ≥ 1 dimensions, outermost first, each [size, stride of a, stride of b] in elements;
 * out is contiguous. Strides are 0 where an operand is broadcast; the innermost are 0 or 1.
 */
export const enum Binary {
  out = Head.words,
  a,
  b,
  type,
  rank,
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
 * x: [outer, n, inner], float32 or int32 (`type`) → out: [outer, inner], by `divisor` (Sum of float32, Norm, Squares); Cumsum keeps
 * the shape, `reverse` from the end.
 */
export const enum Reduce {
  out = Head.words,
  x,
  outer,
  n,
  inner,
  /** float64, two words. */
  divisor,
  reverse = divisor + 2,
  type,
  /** 0, or the length of the pieces of n that are folded apart: out is then [outer, ⌈n / piece⌉, inner], float64 for a Sum of float32. */
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

/** dx, dy, y: [rows, n], where y is what the forward op returned. */
export const enum SoftmaxGrad {
  out = Head.words,
  dy,
  y,
  rows,
  n,
  words,
}

/** loss: [rows], lse: [rows, 2] from logits: [rows, classes] and target: int32 [rows], or float32 [rows, classes] (Soft…). */
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
 * C = act(alpha·op(A)·op(B) + bias) for each batch; then `rank` times [size, stride of A, stride of B], in matrices.
 * C's batches are contiguous, and so are those of `y`, which a derivative reads (else 0).
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
  alpha,
  activation,
  workspace,
  rank,
  words,
}

/** `value` is the pattern of one element, repeated to fill 32 bits; `bytes` are counted, not elements. */
export const enum Fill {
  out = Head.words,
  bytes,
  value,
  words,
}

/** out[…] = x[…] over `rank` ≥ 1 dimensions, outermost first, each [size, stride of out, stride of x] in bytes, signed. */
export const enum StridedCopy {
  out = Head.words,
  x,
  elementBytes,
  rank,
  words,
}

/** Words per dimension in Binary, Matmul and StridedCopy. */
export const enum Dim {
  size,
  first,
  second,
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
 * IndexSelect: out[o, j, i] = x[o, index[j], i];  IndexAdd: out[o, index[j], i] += x[o, j, i], j < count;
 * Gather: out[o, j, i] = x[o, index[o, j, i], i];  ScatterAdd: out[o, index[o, j, i], i] += x[o, j, i].
 * n is the size of the indexed dimension. The adding ops clear out first. An index outside 0…n−1 is passed over (0).
 * workspace: of IndexAdd, the lists of each share, `listBytes` apart; of ScatterAdd, as many floats as out, or 0 for short sums.
 */
export const enum Index {
  out = Head.words,
  x,
  index,
  outer,
  n,
  count,
  inner,
  elementBytes,
  workspace,
  listBytes,
  words,
}

/** out: float32 [rows, classes] from index: int32 [rows]. */
export const enum OneHot {
  out = Head.words,
  index,
  rows,
  classes,
  words,
}

/** `state` is the address of [seed low, seed high, counter low, counter high]; p, q, r are the distribution's parameters. */
export const enum Random {
  out = Head.words,
  n,
  state,
  p,
  q,
  r,
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
 * One pass over `count` parameters, each an UpdatePart that follows. `lr` is the address of one f32, so that schedules trace
 * nothing anew; c0 … c4 are the optimizer's constants, float64 (two words each), in the kernel's order.
 */
export const enum Update {
  lr = Head.words,
  flags,
  c0,
  c1 = c0 + 2,
  c2 = c1 + 2,
  c3 = c2 + 2,
  c4 = c3 + 2,
  count = c4 + 2,
  words,
}

/**
 * n elements of a parameter p with its gradient g; s0, s1, s2 are the optimizer's state (0 where unused), `step` is the
 * address of one u32, from 1.
 */
export const enum UpdatePart {
  p,
  g,
  s0,
  s1,
  s2,
  n,
  step,
  words,
}

/**
 * The geometry is that of the forward convolution x: [batch, height, width, channels] with w: [outChannels, kernelHeight,
 * kernelWidth, channels/groups] to y: [batch, outHeight, outWidth, outChannels], whatever is computed:
 * Conv: out = y from a = x, b = w;  ConvInput: out = dx from a = dy, b = w;  ConvWeight: out = dw from a = x, b = dy.
 * Conv and ConvInput add `bias` (or 0) for each channel of out, then apply `activation`. Padding may be negative.
 */
export const enum Conv {
  out = Head.words,
  a,
  b,
  bias,
  batch,
  height,
  width,
  channels,
  outHeight,
  outWidth,
  outChannels,
  kernelHeight,
  kernelWidth,
  strideH,
  strideW,
  padTop,
  padLeft,
  dilationH,
  dilationW,
  groups,
  activation,
  workspace,
  words,
}

/** out and places (int32): [batch, outHeight, outWidth, channels] from x: [batch, height, width, channels]. */
export const enum MaxPool {
  out = Head.words,
  places,
  x,
  batch,
  height,
  width,
  channels,
  outHeight,
  outWidth,
  kernelH,
  kernelW,
  strideH,
  strideW,
  padTop,
  padLeft,
  dilationH,
  dilationW,
  words,
}

/**
 * The geometry is that of the forward op. AvgPool: out: [batch, outHeight, outWidth, channels] from x: [batch, height, width,
 * channels];  AvgPoolGrad: out = dx from x = dy. `countPad`: means divide by the whole window, not by what it has in the image.
 */
export const enum AvgPool {
  out = Head.words,
  x,
  batch,
  height,
  width,
  channels,
  outHeight,
  outWidth,
  kernelH,
  kernelW,
  strideH,
  strideW,
  padTop,
  padLeft,
  countPad,
  words,
}

/** out = x̂·weight + bias (addresses or 0) along n of [outer, n, inner]; stats: [outer, 2, inner] takes μ and σ². */
export const enum Normalize {
  out = Head.words,
  stats,
  x,
  weight,
  bias,
  outer,
  n,
  inner,
  center,
  eps,
  words,
}

/** out, dy, x: [outer, n, inner]. */
export const enum NormalizeGrad {
  out = Head.words,
  dy,
  x,
  outer,
  n,
  inner,
  center,
  eps,
  words,
}

/**
 * y, c (LSTM) and saved (LSTM, GRU: 4 rows of `hidden` each) from x: rows of gates·hidden, `stepRows` apart from step to step and
 * `batchRows` from sequence to sequence, as are those of the outputs. w: [gates·hidden, hidden]; bias: [gates·hidden] or 0; h0, c0:
 * [batch, hidden], or 0 for zeros; lengths: int32 [batch] or 0. `rectify`: relu instead of tanh (Rnn).
 */
export const enum Recurrent {
  y = Head.words,
  c,
  saved,
  x,
  w,
  bias,
  h0,
  c0,
  lengths,
  steps,
  batch,
  hidden,
  stepRows,
  batchRows,
  reverse,
  rectify,
  workspace,
  words,
}

/** dx, dg (GRU), dh, dc (LSTM) from dy, dcs (or 0) and what the forward op read and returned, laid out as in Recurrent. */
export const enum RecurrentGrad {
  dx = Head.words,
  dg,
  dh,
  dc,
  dy,
  dcs,
  saved,
  y,
  c,
  w,
  h0,
  c0,
  lengths,
  steps,
  batch,
  hidden,
  stepRows,
  batchRows,
  reverse,
  rectify,
  workspace,
  words,
}

/**
 * out from q, k, v; or dq, dk, dv from dy (in `out`), q, k, v. Each lies in batches, heads and rows so many elements apart
 * (gradients as what they are of): `queries` rows of q and out, `keys` rows of k and v, `width` numbers in a row of q and k,
 * `valueWidth` in one of v and out. mask: 0, or what is added to the scores. Causal: query i sees keys up to i + offset.
 */
export const enum Attention {
  out = Head.words,
  q,
  k,
  v,
  dq,
  dk,
  dv,
  mask,
  batch,
  heads,
  queries,
  keys,
  width,
  valueWidth,
  scale,
  causal,
  offset,
  outBatch,
  outHead,
  outRow,
  qBatch,
  qHead,
  qRow,
  kBatch,
  kHead,
  kRow,
  vBatch,
  vHead,
  vRow,
  maskBatch,
  maskHead,
  maskRow,
  workspace,
  words,
}

/**
 * Cholesky: out from x: [count, n, n];  Eigh: out: [count, n] (values) and second: [count, n, n] (vectors);  ArgSort: out: int32
 * [count, n], places of x: [count, n], float32 or `integer`, in their order, from the largest if `descending`.
 */
export const enum Factor {
  out = Head.words,
  second,
  x,
  count,
  n,
  descending,
  integer,
  workspace,
  words,
}

/** out = op(a)⁻¹·b; a: [count, n, n], triangular, with ones on the diagonal if `unit`; b and out: [count, n, columns]. */
export const enum Solve {
  out = Head.words,
  a,
  b,
  count,
  n,
  columns,
  upper,
  transposed,
  unit,
  words,
}

/**
 * `count` pointwise instructions (layouts Unary, Zip, Binary of one dimension, Where, Cast) over the same n elements, done block
 * by block. After the head `count` masks, then the instructions, which `length` includes. Bit j of a mask says that operand
 * word Head.words + j is no whole array but one block of 32-bit elements in this thread's scratch memory of `scratch` bytes.
 */
export const enum Chain {
  n = Head.words,
  count,
  scratch,
  words,
}

/** Flags of Update. */
export const enum UpdateFlag {
  Nesterov = 1,
  Maximize = 2,
  Amsgrad = 4,
  DecoupledDecay = 8,
  Centered = 16,
  Nadam = 32,
}
