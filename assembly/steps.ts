/** The engine's steps (engine.ts) for factorizations, normalizations and random numbers. */
import { argSort, cholesky, eigh, eighWorkspace, triangularSolve } from "./kernels/linalg";
import { normalize, normalizeGrad, normUnits } from "./kernels/norm";
import { bernoulli, normal, randomInteger, uniform } from "./kernels/random";
import { Factor, Normalize, NormalizeGrad, Solve } from "./layerLayouts";
import { Bernoulli, Distribution, RandomInteger } from "./layouts";
import { Block, Op } from "./opcodes";
import { float, word } from "./operands";
import { shareBegin } from "./simd";

export function stepSolve(at: usize, thread: u32, threads: u32): void {
  const count = word(at, Solve.count);
  triangularSolve(word(at, Solve.out), word(at, Solve.a), word(at, Solve.b), word(at, Solve.n), word(at, Solve.columns),
    word(at, Solve.upper), word(at, Solve.transposed), word(at, Solve.unit), shareBegin(count, 1, thread, threads),
    shareBegin(count, 1, thread + 1, threads));
}

export function stepFactor(op: Op, at: usize, thread: u32, threads: u32): void {
  const out = word(at, Factor.out), x = word(at, Factor.x), n = word(at, Factor.n), count = word(at, Factor.count);
  const workspace = word(at, Factor.workspace), begin = shareBegin(count, 1, thread, threads),
    end = shareBegin(count, 1, thread + 1, threads);
  switch (op) {
    case Op.Cholesky: cholesky(out, x, n, begin, end); break;
    case Op.Eigh: eigh(out, word(at, Factor.second), x, n, workspace + thread * eighWorkspace(n), begin, end); break;
    case Op.ArgSort:
      argSort(out, x, n, word(at, Factor.descending), word(at, Factor.integer),
        workspace + thread * ((4 * n + 63) & ~63), begin, end);
      break;
    default:
      unreachable();
  }
}

export function stepDistribution(op: Op, at: usize, thread: u32, threads: u32): void {
  const out = word(at, Distribution.out), n = word(at, Distribution.n), state = word(at, Distribution.state);
  const p = float(at, Distribution.p), q = float(at, Distribution.q);
  const begin = shareBegin(n, Block.elements, thread, threads),
    end = shareBegin(n, Block.elements, thread + 1, threads);
  switch (op) {
    case Op.Uniform: uniform(out, state, p, q, begin, end); break;
    case Op.Normal: normal(out, state, p, q, begin, end); break;
    default:
      unreachable();
  }
}

export function stepBernoulli(at: usize, thread: u32, threads: u32): void {
  const n = word(at, Bernoulli.n);
  bernoulli(word(at, Bernoulli.out), word(at, Bernoulli.state), word(at, Bernoulli.low), word(at, Bernoulli.high),
    float(at, Bernoulli.value), shareBegin(n, Block.elements, thread, threads),
    shareBegin(n, Block.elements, thread + 1, threads));
}

export function stepRandomInteger(at: usize, thread: u32, threads: u32): void {
  const n = word(at, RandomInteger.n);
  randomInteger(word(at, RandomInteger.out), word(at, RandomInteger.state), word(at, RandomInteger.low),
    word(at, RandomInteger.range), shareBegin(n, Block.elements, thread, threads),
    shareBegin(n, Block.elements, thread + 1, threads));
}

export function stepNormalize(at: usize, thread: u32, threads: u32): void {
  const inner = word(at, Normalize.inner), units = normUnits(word(at, Normalize.outer), inner);
  normalize(word(at, Normalize.out), word(at, Normalize.stats), word(at, Normalize.x), word(at, Normalize.weight),
    word(at, Normalize.bias), word(at, Normalize.n), inner, word(at, Normalize.center), float(at, Normalize.eps),
    shareBegin(units, 4, thread, threads), shareBegin(units, 4, thread + 1, threads));
}

export function stepNormalizeGrad(at: usize, thread: u32, threads: u32): void {
  const inner = word(at, NormalizeGrad.inner), units = normUnits(word(at, NormalizeGrad.outer), inner);
  normalizeGrad(word(at, NormalizeGrad.out), word(at, NormalizeGrad.dy), word(at, NormalizeGrad.x),
    word(at, NormalizeGrad.n), inner, word(at, NormalizeGrad.center), float(at, NormalizeGrad.eps),
    shareBegin(units, 4, thread, threads), shareBegin(units, 4, thread + 1, threads));
}
