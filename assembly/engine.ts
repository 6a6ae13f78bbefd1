/**
 * The engine: runs a list of instructions (layouts.ts), calling each kernel with this thread's share of the work. It has no state.
 */
import { derivative, unary } from "./kernels/pointwise";
import { binary, where } from "./kernels/binary";
import { argExtreme, cumsum, max, maxInt, min, minInt, piecesOf, reduceUnits, sum, sumInt,
  sumPieces } from "./kernels/reduce";
import { crossEntropy, crossEntropyGrad, logSoftmax, logSoftmaxGrad, softCrossEntropy, softCrossEntropyGrad, softmax,
  softmaxGrad } from "./kernels/softmax";
import { norm, squares } from "./kernels/euclid";
import { prod } from "./kernels/product";
import { cast, copyUnits, fill, stridedCopy, unslice } from "./kernels/shape";
import { gather, indexAdd, indexSelect, interpolate, interpolatePlane, oneHot, scatterAdd } from "./kernels/gather";
import { unique, updateRows } from "./kernels/sparse";
import { advance, randomPermutation } from "./kernels/random";
import { adagrad, adam, lion, power, rmsProp, sgd, stepOf } from "./kernels/optimizer";
import { batchedGemm } from "./kernels/matmul";
import { conv } from "./kernels/conv";
import { dilation } from "./kernels/dilation";
import { avgPool, avgPoolGrad, maxPool } from "./kernels/pool";
import { standardize } from "./kernels/standardize";
import { attention } from "./kernels/attention";
import { cachedAttention } from "./kernels/cache";
import { recurrent, recurrentGrad } from "./kernels/recurrent";
import { recurrentWeights } from "./kernels/recurrentWeights";
import { stepQuantizedMatmul, stepQuantizeRows } from "./kernels/quantized";
import { stepWiden, stepWidenedMatmul } from "./kernels/widen";
import { check } from "./kernels/check";
import { shareBegin } from "./simd";
import { stepBernoulli, stepDistribution, stepFactor, stepNormalize, stepNormalizeGrad, stepRandomInteger,
  stepSolve } from "./steps";
import { stepsOf } from "./walk";
import { AvgPool, MaxPool, Standardize } from "./layerLayouts";
import { Advance, Binary, BoxDim, Cast, Chain, Check, CrossEntropy, CrossEntropyGrad, Derivative, Dim, Fill, Index,
  Interpolate, OneHot, RandomPermutation, Reduce, Softmax, SoftmaxGrad, StridedCopy, Unary, Unslice, Update, UpdatePart,
  Where } from "./layouts";
import { double, float, word } from "./operands";
import { Block, Family, Head, Op, Type } from "./opcodes";

/**
 * The number of elements per chunk of pointwise work. A share is a whole number of chunks, so no two threads write to the
 * same cache line.
 */
const CHUNK: u32 = Block.elements;

/**
 * The smallest number of rows of n 4-byte elements that fills whole cache lines. Shares are multiples of this number.
 */
@inline
function rowGrain(n: u32): u32 { return 16 >> ctz<u32>(n | 16); }

/** Runs one share, number `thread` of `threads`, of each of the `count` instructions at `program`. */
export function run(program: usize, count: u32, thread: u32, threads: u32): void {
  let at = program;
  for (let i: u32 = 0; i < count; i++) {
    step(at, thread, threads);
    at += <usize>word(at, Head.length) << 2;
  }
}

/**
 * Runs this thread's share of one instruction, dispatching on its family and then on its code. A code without a case
 * traps, here and in the kernels, so that it never runs another op's kernel.
 */
export function step(at: usize, thread: u32, threads: u32): void {
  const op = <Op>(word(at, Head.code) & 0xffff);
  switch (<Family>(<i32>op >> Head.family)) {
    case Family.Unary: stepPointwise(at, word(at, Unary.n), thread, threads); break;
    case Family.Derivative: stepPointwise(at, word(at, Derivative.n), thread, threads); break;
    case Family.Binary: case Family.Compare: stepBinary(op, at, thread, threads); break;
    case Family.Where: stepPointwise(at, word(at, Where.n), thread, threads); break;
    case Family.Reduce: stepReduce(op, at, thread, threads); break;
    case Family.Softmax: stepSoftmax(op, at, thread, threads); break;
    case Family.SoftmaxGrad: stepSoftmaxGrad(op, at, thread, threads); break;
    case Family.CrossEntropy: stepCrossEntropy(op, at, thread, threads); break;
    case Family.CrossEntropyGrad: stepCrossEntropyGrad(op, at, thread, threads); break;
    case Family.Matmul: only(op, Op.Matmul); batchedGemm(at, thread, threads); break;
    case Family.Fill: only(op, Op.Fill); stepFill(at, thread, threads); break;
    case Family.StridedCopy: stepCopy(at, thread, threads); break;
    case Family.Unslice: only(op, Op.Unslice); stepUnslice(at, thread, threads); break;
    case Family.Cast: stepPointwise(at, word(at, Cast.n), thread, threads); break;
    case Family.Index: stepIndex(op, at, thread, threads); break;
    case Family.Interpolate: only(op, Op.Interpolate); stepInterpolate(at, thread, threads); break;
    case Family.OneHot: only(op, Op.OneHot); stepOneHot(at, thread, threads); break;
    case Family.Unique: only(op, Op.Unique); if (!thread) unique(at); break;
    case Family.Distribution: stepDistribution(op, at, thread, threads); break;
    case Family.Bernoulli: only(op, Op.Bernoulli); stepBernoulli(at, thread, threads); break;
    case Family.RandomInteger: only(op, Op.RandomInteger); stepRandomInteger(at, thread, threads); break;
    case Family.RandomPermutation:
      only(op, Op.RandomPermutation);
      if (!thread)
        randomPermutation(word(at, RandomPermutation.out), word(at, RandomPermutation.state),
          word(at, RandomPermutation.n));
      break;
    case Family.Advance:
      only(op, Op.Advance);
      if (!thread) advance(word(at, Advance.address), word(at, Advance.by), word(at, Advance.wide));
      break;
    case Family.Update: stepUpdate(op, at, thread, threads); break;
    case Family.Conv: conv(op, at, thread, threads); break;
    case Family.MaxPool: stepMaxPool(op, at, thread, threads); break;
    case Family.AvgPool: stepAvgPool(op, at, thread, threads); break;
    case Family.Normalize: only(op, Op.Normalize); stepNormalize(at, thread, threads); break;
    case Family.NormalizeGrad: only(op, Op.NormalizeGrad); stepNormalizeGrad(at, thread, threads); break;
    case Family.Standardize: only(op, Op.Standardize); stepStandardize(at, thread, threads); break;
    case Family.Recurrent: recurrent(op, at, thread, threads); break;
    case Family.RecurrentGrad: recurrentGrad(op, at, thread, threads); break;
    case Family.RecurrentWeights: only(op, Op.RecurrentWeights); recurrentWeights(at, thread, threads); break;
    case Family.Attention:
      if (op == Op.CachedAttention) cachedAttention(at, thread, threads);
      else attention(op, at, thread, threads);
      break;
    case Family.Factor: stepFactor(op, at, thread, threads); break;
    case Family.Solve: only(op, Op.TriangularSolve); stepSolve(at, thread, threads); break;
    case Family.QuantizeRows: only(op, Op.QuantizeRows); stepQuantizeRows(at, thread, threads); break;
    case Family.QuantizedMatmul: only(op, Op.QuantizedMatmul); stepQuantizedMatmul(at, thread, threads); break;
    case Family.Widen: only(op, Op.Widen); stepWiden(at, thread, threads); break;
    case Family.WidenedMatmul: only(op, Op.WidenedMatmul); stepWidenedMatmul(at, thread, threads); break;
    case Family.Chain: only(op, Op.Chain); stepChain(at, thread, threads); break;
    case Family.Check: only(op, Op.Check); if (!thread) check(at); break;
    default:
      unreachable();
  }
}

/** Traps unless `op` is `own`, the only op of its family. */
@inline
function only(op: Op, own: Op): void { if (op != own) unreachable(); }

function stepPointwise(at: usize, n: u32, thread: u32, threads: u32): void {
  pointwise(at, shareBegin(n, CHUNK, thread, threads), shareBegin(n, CHUNK, thread + 1, threads), 0, 0);
}

/**
 * Runs a pointwise instruction on elements [begin, end). An operand whose bit is set in `locals` is in scratch memory
 * and holds only these elements; this thread's copy is `scratch` bytes after the address in the instruction.
 */
function pointwise(at: usize, begin: u32, end: u32, locals: u32, scratch: usize): void {
  const op = <Op>(word(at, Head.code) & 0xffff);
  const move = scratch - (<usize>begin << 2);
  const out = word(at, Head.words) + (locals & 1 ? move : 0);
  const a = word(at, Head.words + 1) + (locals & 2 ? move : 0);
  const b = word(at, Head.words + 2) + (locals & 4 ? move : 0);
  switch (<Family>(<i32>op >> Head.family)) {
    case Family.Unary: unary(op, out, a, begin, end, float(at, Unary.p), float(at, Unary.q)); break;
    case Family.Derivative:
      derivative(op, out, a, b, begin, end, float(at, Derivative.p), float(at, Derivative.q));
      break;
    case Family.Binary:
    case Family.Compare:
      binary(op, word(at, Binary.type), out, a, b, 1, at + (Binary.words << 2), begin, end);
      break;
    case Family.Where:
      only(op, Op.Where);
      where(out, a, b, word(at, Where.b) + (locals & 8 ? move : 0), begin, end);
      break;
    case Family.Cast: only(op, Op.Cast); cast(out, a, word(at, Cast.from), word(at, Cast.to), begin, end); break;
    default:
      unreachable();
  }
}

/** Runs the whole chain on one block before the next, so intermediate results stay in the L1 cache. */
function stepChain(at: usize, thread: u32, threads: u32): void {
  const n = word(at, Chain.n), count = word(at, Chain.count), scratch = <usize>word(at, Chain.scratch) * thread;
  const masks = at + (Chain.words << 2), parts = masks + (<usize>count << 2);
  const end = shareBegin(n, CHUNK, thread + 1, threads);
  for (let begin = shareBegin(n, CHUNK, thread, threads); begin < end; begin += CHUNK) {
    let part = parts;
    for (let i: u32 = 0; i < count; i++) {
      pointwise(part, begin, begin + CHUNK < end ? begin + CHUNK : end, word(masks, i), scratch);
      part += <usize>word(part, Head.length) << 2;
    }
  }
}

function stepBinary(op: Op, at: usize, thread: u32, threads: u32): void {
  const rank = word(at, Binary.rank), dims = at + (Binary.words << 2);
  let units: u32 = 1, grain = CHUNK;
  if (rank == 1) units = load<u32>(dims, Dim.size << 2);
  else {
    const inner = dims + (((rank - 1) * Dim.words) << 2);
    units = stepsOf(dims, inner);
    grain = rowGrain(load<u32>(inner, Dim.size << 2));
  }
  binary(op, word(at, Binary.type), word(at, Binary.out), word(at, Binary.a), word(at, Binary.b), rank, dims,
    shareBegin(units, grain, thread, threads), shareBegin(units, grain, thread + 1, threads));
}

function stepReduce(op: Op, at: usize, thread: u32, threads: u32): void {
  const out = word(at, Reduce.out), x = word(at, Reduce.x), n = word(at, Reduce.n), inner = word(at, Reduce.inner);
  const length = word(at, Reduce.piece), piece = length ? length : n;
  const units = reduceUnits(op, word(at, Reduce.outer) * piecesOf(n, piece), inner);
  const begin = shareBegin(units, 16, thread, threads), end = shareBegin(units, 16, thread + 1, threads);
  const integer: u32 = word(at, Reduce.type) == <u32>Type.Int32 ? 1 : 0;
  switch (op) {
    case Op.Sum:
      if (integer) sumInt(out, x, n, piece, inner, begin, end);
      else if (word(at, Reduce.type) == <u32>Type.Float64)
        sumPieces(out, x, n, inner, double(at, Reduce.divisor), begin, end);
      else sum(out, x, n, piece, inner, double(at, Reduce.divisor), begin, end);
      break;
    case Op.Max:
      integer ? maxInt(out, x, n, piece, inner, begin, end) : max(out, x, n, piece, inner, begin, end);
      break;
    case Op.Min:
      integer ? minInt(out, x, n, piece, inner, begin, end) : min(out, x, n, piece, inner, begin, end);
      break;
    case Op.ArgMax: case Op.ArgMin: argExtreme(out, x, n, op == Op.ArgMin ? 1 : 0, integer, begin, end); break;
    case Op.Norm: norm(out, x, n, piece, inner, double(at, Reduce.divisor), begin, end); break;
    case Op.Squares: squares(out, x, n, piece, inner, double(at, Reduce.divisor), begin, end); break;
    case Op.Cumsum: cumsum(out, x, n, inner, word(at, Reduce.reverse), integer, begin, end); break;
    case Op.Prod: prod(out, x, n, inner, begin, end); break;
    default:
      unreachable();
  }
}

function stepSoftmax(op: Op, at: usize, thread: u32, threads: u32): void {
  const out = word(at, Softmax.out), x = word(at, Softmax.x), rows = word(at, Softmax.rows), n = word(at, Softmax.n);
  const grain = rowGrain(n), begin = shareBegin(rows, grain, thread, threads),
    end = shareBegin(rows, grain, thread + 1, threads);
  switch (op) {
    case Op.Softmax: softmax(out, x, n, begin, end); break;
    case Op.LogSoftmax: logSoftmax(out, x, n, begin, end); break;
    default:
      unreachable();
  }
}

function stepSoftmaxGrad(op: Op, at: usize, thread: u32, threads: u32): void {
  const out = word(at, SoftmaxGrad.out), dy = word(at, SoftmaxGrad.dy), y = word(at, SoftmaxGrad.y);
  const rows = word(at, SoftmaxGrad.rows), n = word(at, SoftmaxGrad.n);
  const grain = rowGrain(n), begin = shareBegin(rows, grain, thread, threads),
    end = shareBegin(rows, grain, thread + 1, threads);
  switch (op) {
    case Op.SoftmaxGrad: softmaxGrad(out, dy, y, n, begin, end); break;
    case Op.LogSoftmaxGrad: logSoftmaxGrad(out, dy, y, n, begin, end); break;
    default:
      unreachable();
  }
}

function stepCrossEntropy(op: Op, at: usize, thread: u32, threads: u32): void {
  const rows = word(at, CrossEntropy.rows), classes = word(at, CrossEntropy.classes);
  const begin = shareBegin(rows, 16, thread, threads), end = shareBegin(rows, 16, thread + 1, threads);
  const loss = word(at, CrossEntropy.loss), lse = word(at, CrossEntropy.lse);
  const logits = word(at, CrossEntropy.logits), target = word(at, CrossEntropy.target);
  switch (op) {
    case Op.CrossEntropy:
      crossEntropy(loss, lse, logits, target, classes, word(at, CrossEntropy.ignoreIndex), begin, end);
      break;
    case Op.SoftCrossEntropy: softCrossEntropy(loss, lse, logits, target, classes, begin, end); break;
    default:
      unreachable();
  }
}

function stepCrossEntropyGrad(op: Op, at: usize, thread: u32, threads: u32): void {
  const rows = word(at, CrossEntropyGrad.rows), classes = word(at, CrossEntropyGrad.classes);
  const grain = rowGrain(classes), begin = shareBegin(rows, grain, thread, threads),
    end = shareBegin(rows, grain, thread + 1, threads);
  const out = word(at, CrossEntropyGrad.out), dy = word(at, CrossEntropyGrad.dy), lse = word(at, CrossEntropyGrad.lse);
  const logits = word(at, CrossEntropyGrad.logits), target = word(at, CrossEntropyGrad.target);
  switch (op) {
    case Op.CrossEntropyGrad:
      crossEntropyGrad(out, dy, logits, target, lse, classes, word(at, CrossEntropyGrad.ignoreIndex), begin, end);
      break;
    case Op.SoftCrossEntropyGrad: softCrossEntropyGrad(out, dy, logits, target, lse, classes, begin, end); break;
    default:
      unreachable();
  }
}

function stepFill(at: usize, thread: u32, threads: u32): void {
  const bytes = word(at, Fill.bytes), begin = shareBegin(bytes, 4 * CHUNK, thread, threads);
  fill(word(at, Fill.out) + begin, shareBegin(bytes, 4 * CHUNK, thread + 1, threads) - begin, word(at, Fill.value));
}

function stepCopy(at: usize, thread: u32, threads: u32): void {
  const elementBytes = word(at, StridedCopy.elementBytes), rank = word(at, StridedCopy.rank);
  const dims = at + (StridedCopy.words << 2);
  const units = copyUnits(elementBytes, rank, dims);
  stridedCopy(word(at, StridedCopy.out), word(at, StridedCopy.x), elementBytes, rank, dims,
    shareBegin(units, 1, thread, threads), shareBegin(units, 1, thread + 1, threads));
}

function stepUnslice(at: usize, thread: u32, threads: u32): void {
  const rank = word(at, Unslice.rank), rows = word(at, Unslice.rows), dims = at + (Unslice.words << 2);
  const grain = rowGrain(word(dims + (((rank - 1) * BoxDim.words) << 2), BoxDim.size));
  unslice(at, shareBegin(rows, grain, thread, threads), shareBegin(rows, grain, thread + 1, threads));
}

function stepInterpolate(at: usize, thread: u32, threads: u32): void {
  const rows = word(at, Interpolate.outer) * word(at, Interpolate.count), columns = word(at, Interpolate.columns);
  const size = word(at, Interpolate.inner) * (columns ? word(at, Interpolate.columnCount) : 1), grain = rowGrain(size);
  const begin = shareBegin(rows, grain, thread, threads), end = shareBegin(rows, grain, thread + 1, threads);
  if (columns) interpolatePlane(at, begin, end);
  else interpolate(at, begin, end);
}

function stepOneHot(at: usize, thread: u32, threads: u32): void {
  const rows = word(at, OneHot.rows);
  oneHot(word(at, OneHot.out), word(at, OneHot.index), word(at, OneHot.classes), word(at, OneHot.one),
    shareBegin(rows, 16, thread, threads), shareBegin(rows, 16, thread + 1, threads));
}

function stepIndex(op: Op, at: usize, thread: u32, threads: u32): void {
  const out = word(at, Index.out), x = word(at, Index.x), index = word(at, Index.index);
  const outer = word(at, Index.outer), n = word(at, Index.n), count = word(at, Index.count),
    inner = word(at, Index.inner);
  const units = outer * (op == Op.IndexSelect || op == Op.Gather ? count : n);
  const grain = rowGrain(inner), begin = shareBegin(units, grain, thread, threads),
    end = shareBegin(units, grain, thread + 1, threads);
  const type = word(at, Index.type), elementBytes: u32 = type > <u32>Type.Int32 ? 1 : 4,
    workspace = word(at, Index.workspace);
  switch (op) {
    case Op.IndexSelect: indexSelect(out, x, index, n, count, inner, elementBytes, begin, end); break;
    case Op.IndexAdd:
      indexAdd(out, x, index, word(at, Index.rows), word(at, Index.height), n, count, inner,
        workspace + thread * word(at, Index.listBytes), begin, end);
      break;
    case Op.Gather: gather(out, x, index, n, count, inner, elementBytes, begin, end); break;
    case Op.ScatterAdd:
      scatterAdd(out, x, index, n, count, inner, type == <u32>Type.Int32, workspace, begin, end);
      break;
    default:
      unreachable();
  }
}

function stepMaxPool(op: Op, at: usize, thread: u32, threads: u32): void {
  const pixels = word(at, MaxPool.batch) * word(at, MaxPool.outHeight) * word(at, MaxPool.outWidth);
  const begin = shareBegin(pixels, 16, thread, threads), end = shareBegin(pixels, 16, thread + 1, threads);
  switch (op) {
    case Op.MaxPool: maxPool(at, begin, end); break;
    case Op.Dilation: dilation(at, begin, end); break;
    default:
      unreachable();
  }
}

function stepAvgPool(op: Op, at: usize, thread: u32, threads: u32): void {
  const forward = op == Op.AvgPool, batch = word(at, AvgPool.batch);
  const pixels = batch
    * (forward
      ? word(at, AvgPool.outHeight) * word(at, AvgPool.outWidth)
      : word(at, AvgPool.height) * word(at, AvgPool.width));
  const begin = shareBegin(pixels, 16, thread, threads), end = shareBegin(pixels, 16, thread + 1, threads);
  switch (op) {
    case Op.AvgPool: avgPool(at, begin, end); break;
    case Op.AvgPoolGrad: avgPoolGrad(at, begin, end); break;
    default:
      unreachable();
  }
}

function stepStandardize(at: usize, thread: u32, threads: u32): void {
  const pixels = word(at, Standardize.pixels), channels = word(at, Standardize.channels), grain = rowGrain(channels);
  const begin = shareBegin(pixels, grain, thread, threads), end = shareBegin(pixels, grain, thread + 1, threads);
  const ld = <usize>channels << 2;
  standardize(word(at, Standardize.out) + begin * ld, word(at, Standardize.x) + begin * ld, ld, end - begin, channels,
    word(at, Standardize.mean), word(at, Standardize.scale), word(at, Standardize.shift), 0,
    word(at, Standardize.activation));
}

function stepUpdate(op: Op, at: usize, thread: u32, threads: u32): void {
  let known: u32 = 0;
  let power0: f64 = 1, power1: f64 = 1;
  let part = at + (Update.words << 2);
  for (let i = word(at, Update.count); i > 0; i--, part += UpdatePart.words << 2) {
    if (op == Op.Adam) {
      // Recompute the powers of β only if this parameter's step differs from the previous one's, which happens only if
      // some parameters were frozen.
      const t = stepOf(part);
      if (t != known) {
        known = t;
        power0 = power(double(at, Update.c0), t);
        power1 = power(double(at, Update.c1), t);
      }
    }
    const n = word(part, UpdatePart.n), g = word(part, UpdatePart.g);
    if (word(part, UpdatePart.rows)) {
      const rows = n / word(part, UpdatePart.width);
      updateRows(op, at, part, power0, power1, shareBegin(rows, 1, thread, threads),
        shareBegin(rows, 1, thread + 1, threads));
      continue;
    }
    const begin = shareBegin(n, CHUNK, thread, threads), end = shareBegin(n, CHUNK, thread + 1, threads);
    switch (op) {
      case Op.Sgd: sgd(at, part, g, begin, end); break;
      case Op.Adam: adam(at, part, g, power0, power1, begin, end); break;
      case Op.RmsProp: rmsProp(at, part, begin, end); break;
      case Op.Lion: lion(at, part, begin, end); break;
      case Op.Adagrad: adagrad(at, part, g, begin, end); break;
      default:
        unreachable();
    }
  }
}
