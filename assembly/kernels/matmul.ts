/**
 * The Matmul instruction: gemm for each matrix of a batch whose operands may be broadcast.
 * A thread's share is a run of matrices where there are enough of them, else a band of the one product's tiles.
 */
import { gemm, gemmWorkspace } from "./gemm";
import { shareBegin } from "../simd";
import { Dim, Matmul } from "../opcodes";
import { offsetAt, stepsOf } from "../walk";

/** Rows and columns of C to a share's grain: multiples of every tile. */
const GRAIN: u32 = 24;

export function batchedGemm(at: usize, thread: u32, threads: u32): void {
  const m = load<u32>(at, Matmul.m << 2), n = load<u32>(at, Matmul.n << 2), k = load<u32>(at, Matmul.k << 2);
  const out = load<usize>(at, Matmul.out << 2), a = load<usize>(at, Matmul.a << 2), b = load<usize>(at, Matmul.b << 2);
  const rank = load<u32>(at, Matmul.rank << 2);
  const dims = at + (Matmul.words << 2);
  const dimsEnd = dims + ((rank * Dim.words) << 2);
  const batches = stepsOf(dims, dimsEnd);
  const transA = load<u32>(at, Matmul.transA << 2), transB = load<u32>(at, Matmul.transB << 2);
  // Each thread has a workspace of its own, one after the other.
  const workspace = load<usize>(at, Matmul.workspace << 2) + thread * gemmWorkspace(m, n, k, transA, transB);

  const byBatch = batches >= threads, byRow = m >= n;
  const first = byBatch ? shareBegin(batches, 1, thread, threads) : 0;
  const last = byBatch ? shareBegin(batches, 1, thread + 1, threads) : batches;
  const rowBegin = byBatch || !byRow ? 0 : shareBegin(m, GRAIN, thread, threads);
  const rowEnd = byBatch || !byRow ? m : shareBegin(m, GRAIN, thread + 1, threads);
  const colBegin = byBatch || byRow ? 0 : shareBegin(n, GRAIN, thread, threads);
  const colEnd = byBatch || byRow ? n : shareBegin(n, GRAIN, thread + 1, threads);
  for (let i = first; i < last; i++) {
    const atA = offsetAt(i, dims, dimsEnd, Dim.first), atB = offsetAt(i, dims, dimsEnd, Dim.second);
    const atC = (<usize>i * m * n) << 2;
    gemm(out + atC, a + ((atA * m * k) << 2), b + ((atB * k * n) << 2),
      load<usize>(at, Matmul.bias << 2), load<usize>(at, Matmul.y << 2) + atC, m, n, k, transA, transB,
      load<f32>(at, Matmul.alpha << 2), load<u32>(at, Matmul.activation << 2), 0, workspace, rowBegin, rowEnd, colBegin, colEnd);
  }
}
