/** The operands of instructions for layers and small matrices. The comment in layouts.ts explains the notation. */
import { Head } from "./opcodes.ts";

/**
 * The geometry always describes the forward convolution, from x: [batch, height, width, channels] and w: [outChannels,
 * kernelHeight, kernelWidth, channels/groups] to y: [batch, outHeight, outWidth, outChannels]:
 * Conv: out = y from a = x, b = w;  ConvInput: out = dx from a = dy, b = w;  ConvWeight: out = dw from a = x, b = dy.
 * Conv and ConvInput add `bias` (unless it is 0) to each channel of out, then apply `activation`. Padding may be negative.
 * The members for width directly follow those for height; convPhase.ts relies on this order.
 * Conv may have a last step, out ← act((out − mean)·scale + shift + addend) (see Standardize). `finish` is 1 + the activation of this
 * step, or 0 if there is no such step. The address of an absent operand is 0. addend has out's shape.
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
  finish,
  mean,
  scale,
  shift,
  addend,
  winograd,
  workspace,
  words,
}

/**
 * out and places (int32, or 0): [batch, outHeight, outWidth, channels] from x: [batch, height, width, channels].
 * `propagates`: whether the result of MaxPool without places is NaN if the window contains NaN. If not, NaNs are ignored.
 * Dilation: also taps (int32, or 0), in the shape of places, and filter: [kernelH, kernelW, channels].
 */
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
  propagates,
  taps,
  filter,
  words,
}

/**
 * The geometry describes the forward op. AvgPool: out: [batch, outHeight, outWidth, channels] from x: [batch, height,
 * width, channels]; AvgPoolGrad: out = dx from x = dy. `countPad`: whether to divide by the whole window's size instead
 * of the size of its part inside the image.
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

/**
 * out = x̂·weight + bias, normalized along n of [outer, n, inner]. weight and bias may be 0 (absent). stats: [outer, 2,
 * inner] receives μ and σ².
 */
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
  eps, // f32
  words,
}

/** out = act((x − mean)·scale + shift) for x: [pixels, channels]. shift may be 0 (absent); activation: up to Relu6. */
export const enum Standardize {
  out = Head.words,
  x,
  mean,
  scale,
  shift,
  activation,
  pixels,
  channels,
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
  eps, // f32
  words,
}

/**
 * Computes y, c (LSTM) and saved (LSTM and GRU: 4·hidden numbers per row) from x (`inputs` numbers per row). In x and in
 * the outputs, consecutive steps are `stepRows` rows apart, and consecutive sequences are `batchRows` rows apart.
 * inputWeight: [gates·hidden, inputs]; w: [gates·hidden, hidden]; inputBias and bias, which is added to the state's
 * product: [gates·hidden] or 0; h0, c0: [batch, hidden], or 0 for zeros; lengths: int32 [batch] or 0. `rectify`: whether
 * Rnn uses relu instead of tanh.
 */
export const enum Recurrent {
  y = Head.words,
  c,
  saved,
  x,
  inputWeight,
  inputBias,
  w,
  bias,
  h0,
  c0,
  lengths,
  steps,
  batch,
  hidden,
  inputs,
  stepRows,
  batchRows,
  reverse,
  rectify,
  workspace,
  words,
}

/**
 * Computes dz, the gradients of the gates before their activations (gates·hidden numbers per row; GRU: those of r, z and n
 * for the state, and of n for the input), dh and dc (LSTM) from dy, dcs (or 0) and the inputs and outputs of the forward
 * op, which are laid out as in Recurrent.
 */
export const enum RecurrentGrad {
  dz = Head.words,
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
 * Computes the gradients of both weights and both biases from dz and the inputs and outputs of the forward op, which are
 * laid out as in RecurrentGrad. `gates`: 1 (RNN), 4 (LSTM) or 3 (GRU).
 */
export const enum RecurrentWeights {
  dwInput = Head.words,
  dw,
  dbInput,
  db,
  dz,
  x,
  y,
  h0,
  steps,
  batch,
  hidden,
  inputs,
  stepRows,
  batchRows,
  reverse,
  gates,
  workspace,
  words,
}

/**
 * Attention computes out from q, k and v; AttentionGrad computes dq, dk and dv from dy (in `out`), q, k and v. Each tensor has
 * its own strides, in elements, between batches, heads and rows; dq, dk and dv have the strides of q, k and v. q and out have
 * `queries` rows, k and v have `keys` rows. A row of q or k has `width` numbers, a row of v or out has `valueWidth`. mask: the
 * address of a tensor to add to the scores, or 0. If `causal`, query i sees the keys up to i + offset.
 *
 * CachedAttention: k and v have `queries` rows, which are written to the caches dk and dv, [batch, heads, keys, width],
 * after the first `length` rows. `length` is the address of an int32. Each query sees the first `length` rows. It also sees all new
 * rows or, if `causal`, the new rows up to its own.
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
  length,
  batch,
  heads,
  queries,
  keys,
  width,
  valueWidth,
  scale, // f32
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
 * [count, n], the indices that sort x: [count, n], float32 (or int32 if `integer`), largest first if `descending`.
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
 * Quantizes the rows of x: [m, k]. out: bytes [m, planes, k rounded up to a multiple of 32]; stats: [m, 2], each row's scale and
 * zero point. With one plane, each number has 7 bits; with two, it has 14, and the first plane holds the high 7 bits.
 */
export const enum QuantizeRows {
  out = Head.words,
  stats,
  x,
  m,
  k,
  planes,
  words,
}

/**
 * out: [m, n] = q·wᵀ in float32, plus bias unless its address is 0. q and stats are the results of QuantizeRows; w: uint8 [n, k], the
 * weights plus 128; scale: float32 [n], the scale of each row of w; sums: int32 [n], the sum of each row's weights.
 */
export const enum QuantizedMatmul {
  out = Head.words,
  q,
  stats,
  w,
  scale,
  sums,
  bias,
  m,
  n,
  k,
  planes,
  workspace,
  words,
}

/**
 * Converts low-precision numbers, in format `kind` of opcodes.ts, to float32. out: [m, k]; w: m rows of bytes; scale: the scales of the rows or
 * groups, or 0 if the format has none. The workspace holds one row per thread.
 */
export const enum Widen {
  out = Head.words,
  w,
  scale,
  m,
  k,
  kind,
  workspace,
  words,
}

/** out: [m, n] = x·wᵀ, plus bias unless its address is 0. x: float32 [m, k]; w and scale: n rows of k low-precision numbers, as in Widen. */
export const enum WidenedMatmul {
  out = Head.words,
  x,
  w,
  scale,
  bias,
  m,
  n,
  k,
  kind,
  workspace,
  words,
}
