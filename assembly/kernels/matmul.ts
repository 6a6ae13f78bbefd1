/**
 * The Matmul instruction: gemm for each matrix of a batch whose operands may be broadcast.
 * A thread's share is a run of matrices where there are enough of them, else a band of the one product's tiles.
 */
import { gemm } from "./gemm";
import { shareBegin } from "../simd";
import { Dim, Matmul } from "../opcodes";

/** Rows and columns of C to a share's grain: multiples of every tile. */
const GRAIN: u32 = 24;

export function batchedGemm(at: usize, thread: u32, threads: u32): void {
  const m = load<u32>(at, Matmul.m << 2), n = load<u32>(at, Matmul.n << 2), k = load<u32>(at, Matmul.k << 2);
  const out = load<usize>(at, Matmul.out << 2), a = load<usize>(at, Matmul.a << 2), b = load<usize>(at, Matmul.b << 2);
  const rank = load<u32>(at, Matmul.rank << 2);
  const dims = at + (Matmul.words << 2);
  let batches: u32 = 1;
  for (let i: u32 = 0; i < rank; i++) batches *= load<u32>(dims + ((i * Dim.words) << 2), Dim.size << 2);

  const byBatch = batches >= threads, byRow = m >= n;
  const first = byBatch ? shareBegin(batches, 1, thread, threads) : 0;
  const last = byBatch ? shareBegin(batches, 1, thread + 1, threads) : batches;
  const rowBegin = byBatch || !byRow ? 0 : shareBegin(m, GRAIN, thread, threads);
  const rowEnd = byBatch || !byRow ? m : shareBegin(m, GRAIN, thread + 1, threads);
  const colBegin = byBatch || byRow ? 0 : shareBegin(n, GRAIN, thread, threads);
  const colEnd = byBatch || byRow ? n : shareBegin(n, GRAIN, thread + 1, threads);
  for (let i = first; i < last; i++) {
    let rest = i;
    let atA: usize = 0, atB: usize = 0;
    for (let dim = dims + ((rank * Dim.words) << 2); dim > dims;) {
      dim -= Dim.words << 2;
      const size = load<u32>(dim, Dim.size << 2);
      const quotient = rest / size, index = rest - quotient * size;
      atA += <usize>index * load<u32>(dim, Dim.first << 2);
      atB += <usize>index * load<u32>(dim, Dim.second << 2);
      rest = quotient;
    }
    gemm(out + ((<usize>i * m * n) << 2), a + ((atA * m * k) << 2), b + ((atB * k * n) << 2),
      load<usize>(at, Matmul.bias << 2), m, n, k, load<u32>(at, Matmul.transA << 2), load<u32>(at, Matmul.transB << 2),
      load<f32>(at, Matmul.alpha << 2), load<u32>(at, Matmul.activation << 2), 0,
      load<usize>(at, Matmul.workspace << 2), rowBegin, rowEnd, colBegin, colEnd);
  }
}
