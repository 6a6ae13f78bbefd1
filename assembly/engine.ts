/**
 * The engine: walks a list of instructions (opcodes.ts) and gives each kernel this thread's share of its work.
 * It holds no state; what it needs is in the instruction.
 */
import { unary, unaryGrad } from "./kernels/unary";
import { binary, where } from "./kernels/binary";
import { argMax, argMin, cumsum, max, min, reduceUnits, sum } from "./kernels/reduce";
import {
  crossEntropy, crossEntropyGrad, logSoftmax, logSoftmaxGrad, softCrossEntropy, softCrossEntropyGrad, softmax, softmaxGrad,
} from "./kernels/softmax";
import { cast, copyUnits, fill, stridedCopy } from "./kernels/shape";
import { gather, indexAdd, indexSelect, oneHot, scatterAdd } from "./kernels/gather";
import { advance, bernoulli, normal, randomPermutation, uniform } from "./kernels/random";
import { adagrad, adam, rmsProp, sgd } from "./kernels/optimizer";
import { batchedGemm } from "./kernels/matmul";
import { shareBegin } from "./simd";
import { stepsOf } from "./walk";
import {
  Advance, Binary, Cast, CrossEntropy, CrossEntropyGrad, Dim, Fill, Head, Index, Matmul, OneHot, Op, Random, Reduce,
  Softmax, SoftmaxGrad, StridedCopy, Unary, Update, Where, Zip,
} from "./opcodes";

/** Elements per chunk of elementwise work: a share is a whole number of chunks, so that cache lines are not shared. */
const CHUNK: u32 = 1024;

// @ts-ignore: decorator
@inline
/** The operand at word `index` of the instruction at `at`. */
function word(at: usize, index: i32): u32 { return load<u32>(at + (<usize>index << 2)); }

// @ts-ignore: decorator
@inline
function float(at: usize, index: i32): f32 { return load<f32>(at + (<usize>index << 2)); }

// @ts-ignore: decorator
@inline
function double(at: usize, index: i32): f64 { return load<f64>(at + (<usize>index << 2)); }

/** Runs `count` instructions from `program` on as many threads as `threads` says, of which this is number `thread`. */
export function run(program: usize, count: u32, thread: u32, threads: u32): void {
  let at = program;
  for (let i: u32 = 0; i < count; i++) {
    step(at, thread, threads);
    at += <usize>word(at, Head.length) << 2;
  }
}

/** One instruction. */
export function step(at: usize, thread: u32, threads: u32): void {
  const op = <Op>word(at, Head.code);
  if (op <= Op.Round) {
    const n = word(at, Unary.n);
    unary(op, word(at, Unary.out), word(at, Unary.x), shareBegin(n, CHUNK, thread, threads),
      shareBegin(n, CHUNK, thread + 1, threads), float(at, Unary.p), float(at, Unary.q));
  } else if (op <= Op.ClampGrad) {
    const n = word(at, Zip.n);
    unaryGrad(op, word(at, Zip.out), word(at, Zip.a), word(at, Zip.b), shareBegin(n, CHUNK, thread, threads),
      shareBegin(n, CHUNK, thread + 1, threads), float(at, Zip.p), float(at, Zip.q));
  } else if (op <= Op.LessEqual) stepBinary(op, at, thread, threads);
  else if (op <= Op.Cumsum) stepReduce(op, at, thread, threads);
  else if (op <= Op.SoftCrossEntropyGrad) stepRows(op, at, thread, threads);
  else if (op == Op.Matmul) batchedGemm(at, thread, threads);
  else if (op <= Op.Cast) stepShape(op, at, thread, threads);
  else if (op <= Op.OneHot) stepIndex(op, at, thread, threads);
  else if (op <= Op.Advance) stepRandom(op, at, thread, threads);
  else stepUpdate(op, at, thread, threads);
}

function stepBinary(op: Op, at: usize, thread: u32, threads: u32): void {
  const rank = word(at, Binary.rank), dims = at + (Binary.words << 2);
  let units: u32 = 1, grain = CHUNK;
  if (rank == 1) units = load<u32>(dims, Dim.size << 2);
  else {
    units = stepsOf(dims, dims + (((rank - 1) * Dim.words) << 2));
    grain = 16;
  }
  binary(op, word(at, Binary.type), word(at, Binary.out), word(at, Binary.a), word(at, Binary.b), rank, dims,
    shareBegin(units, grain, thread, threads), shareBegin(units, grain, thread + 1, threads));
}

/** Op.Where and the reductions. */
function stepReduce(op: Op, at: usize, thread: u32, threads: u32): void {
  if (op == Op.Where) {
    const n = word(at, Where.n);
    where(word(at, Where.out), word(at, Where.condition), word(at, Where.a), word(at, Where.b),
      shareBegin(n, CHUNK, thread, threads), shareBegin(n, CHUNK, thread + 1, threads));
    return;
  }
  const out = word(at, Reduce.out), x = word(at, Reduce.x), n = word(at, Reduce.n), inner = word(at, Reduce.inner);
  const units = reduceUnits(op, word(at, Reduce.outer), inner);
  const begin = shareBegin(units, 16, thread, threads), end = shareBegin(units, 16, thread + 1, threads);
  switch (op) {
    case Op.Sum: sum(out, x, n, inner, float(at, Reduce.scale), begin, end); break;
    case Op.Max: max(out, x, n, inner, begin, end); break;
    case Op.Min: min(out, x, n, inner, begin, end); break;
    case Op.ArgMax: argMax(out, x, n, begin, end); break;
    case Op.ArgMin: argMin(out, x, n, begin, end); break;
    case Op.Cumsum: cumsum(out, x, n, inner, word(at, Reduce.reverse), begin, end); break;
  }
}

function stepRows(op: Op, at: usize, thread: u32, threads: u32): void {
  if (op <= Op.LogSoftmaxGrad) {
    const grad = op >= Op.SoftmaxGrad;
    const rows = word(at, grad ? SoftmaxGrad.rows : Softmax.rows), n = word(at, grad ? SoftmaxGrad.n : Softmax.n);
    const begin = shareBegin(rows, 16, thread, threads), end = shareBegin(rows, 16, thread + 1, threads);
    switch (op) {
      case Op.Softmax: softmax(word(at, Softmax.out), word(at, Softmax.x), n, begin, end); break;
      case Op.LogSoftmax: logSoftmax(word(at, Softmax.out), word(at, Softmax.x), n, begin, end); break;
      case Op.SoftmaxGrad: softmaxGrad(word(at, SoftmaxGrad.out), word(at, SoftmaxGrad.dy), word(at, SoftmaxGrad.y), n, begin, end); break;
      case Op.LogSoftmaxGrad: logSoftmaxGrad(word(at, SoftmaxGrad.out), word(at, SoftmaxGrad.dy), word(at, SoftmaxGrad.y), n, begin, end); break;
    }
    return;
  }
  if (op == Op.CrossEntropy || op == Op.SoftCrossEntropy) {
    const rows = word(at, CrossEntropy.rows), classes = word(at, CrossEntropy.classes);
    const begin = shareBegin(rows, 16, thread, threads), end = shareBegin(rows, 16, thread + 1, threads);
    const loss = word(at, CrossEntropy.loss), lse = word(at, CrossEntropy.lse);
    const logits = word(at, CrossEntropy.logits), target = word(at, CrossEntropy.target);
    if (op == Op.CrossEntropy) crossEntropy(loss, lse, logits, target, classes, word(at, CrossEntropy.ignoreIndex), begin, end);
    else softCrossEntropy(loss, lse, logits, target, classes, begin, end);
    return;
  }
  const rows = word(at, CrossEntropyGrad.rows), classes = word(at, CrossEntropyGrad.classes);
  const begin = shareBegin(rows, 16, thread, threads), end = shareBegin(rows, 16, thread + 1, threads);
  const out = word(at, CrossEntropyGrad.out), dy = word(at, CrossEntropyGrad.dy), lse = word(at, CrossEntropyGrad.lse);
  const logits = word(at, CrossEntropyGrad.logits), target = word(at, CrossEntropyGrad.target);
  if (op == Op.CrossEntropyGrad) crossEntropyGrad(out, dy, logits, target, lse, classes, word(at, CrossEntropyGrad.ignoreIndex), begin, end);
  else softCrossEntropyGrad(out, dy, logits, target, lse, classes, begin, end);
}

function stepShape(op: Op, at: usize, thread: u32, threads: u32): void {
  if (op == Op.Fill) {
    const bytes = word(at, Fill.bytes), begin = shareBegin(bytes, 4 * CHUNK, thread, threads);
    fill(word(at, Fill.out) + begin, shareBegin(bytes, 4 * CHUNK, thread + 1, threads) - begin, word(at, Fill.value));
  } else if (op == Op.Cast) {
    const n = word(at, Cast.n);
    cast(word(at, Cast.out), word(at, Cast.x), word(at, Cast.from), word(at, Cast.to),
      shareBegin(n, CHUNK, thread, threads), shareBegin(n, CHUNK, thread + 1, threads));
  } else {
    const elementBytes = word(at, StridedCopy.elementBytes), rank = word(at, StridedCopy.rank);
    const dims = at + (StridedCopy.words << 2);
    const units = copyUnits(elementBytes, rank, dims);
    stridedCopy(word(at, StridedCopy.out), word(at, StridedCopy.x), elementBytes, rank, dims,
      shareBegin(units, 1, thread, threads), shareBegin(units, 1, thread + 1, threads));
  }
}

function stepIndex(op: Op, at: usize, thread: u32, threads: u32): void {
  if (op == Op.OneHot) {
    const rows = word(at, OneHot.rows);
    oneHot(word(at, OneHot.out), word(at, OneHot.index), word(at, OneHot.classes),
      shareBegin(rows, 16, thread, threads), shareBegin(rows, 16, thread + 1, threads));
    return;
  }
  const out = word(at, Index.out), x = word(at, Index.x), index = word(at, Index.index);
  const outer = word(at, Index.outer), n = word(at, Index.n), count = word(at, Index.count), inner = word(at, Index.inner);
  const units = op == Op.IndexSelect || op == Op.Gather ? outer * count : outer;
  const begin = shareBegin(units, 1, thread, threads), end = shareBegin(units, 1, thread + 1, threads);
  switch (op) {
    case Op.IndexSelect: indexSelect(out, x, index, n, count, inner, word(at, Index.elementBytes), begin, end); break;
    case Op.IndexAdd: indexAdd(out, x, index, n, count, inner, begin, end); break;
    case Op.Gather: gather(out, x, index, n, count, inner, word(at, Index.elementBytes), begin, end); break;
    case Op.ScatterAdd: scatterAdd(out, x, index, n, count, inner, begin, end); break;
  }
}

function stepRandom(op: Op, at: usize, thread: u32, threads: u32): void {
  if (op == Op.Advance) {
    if (!thread) advance(word(at, Advance.address), word(at, Advance.by), word(at, Advance.wide));
    return;
  }
  const out = word(at, Random.out), n = word(at, Random.n), state = word(at, Random.state);
  const p = float(at, Random.p), q = float(at, Random.q);
  const begin = shareBegin(n, CHUNK, thread, threads), end = shareBegin(n, CHUNK, thread + 1, threads);
  switch (op) {
    case Op.Uniform: uniform(out, state, p, q, begin, end); break;
    case Op.Normal: normal(out, state, p, q, begin, end); break;
    case Op.Bernoulli: bernoulli(out, state, p, q, begin, end); break;
    case Op.RandomPermutation: if (!thread) randomPermutation(out, state, n); break;
  }
}

function stepUpdate(op: Op, at: usize, thread: u32, threads: u32): void {
  const n = word(at, Update.n);
  const begin = shareBegin(n, CHUNK, thread, threads), end = shareBegin(n, CHUNK, thread + 1, threads);
  const p = word(at, Update.p), g = word(at, Update.g);
  const s0 = word(at, Update.s0), s1 = word(at, Update.s1), s2 = word(at, Update.s2);
  const lr = <f64>load<f32>(word(at, Update.lr)), count = load<u32>(word(at, Update.step));
  const flags = word(at, Update.flags);
  const c0 = double(at, Update.c0), c1 = double(at, Update.c1), c2 = double(at, Update.c2), c3 = double(at, Update.c3);
  switch (op) {
    case Op.Sgd: sgd(p, g, s0, lr, count, flags, c0, c1, c2, begin, end); break;
    case Op.Adam: adam(p, g, s0, s1, s2, lr, count, flags, c0, c1, c2, c3, begin, end); break;
    case Op.RmsProp: rmsProp(p, g, s0, s1, s2, lr, flags, c0, c1, c2, c3, begin, end); break;
    case Op.Adagrad: adagrad(p, g, s0, lr, count, flags, c0, c1, c2, begin, end); break;
  }
}
