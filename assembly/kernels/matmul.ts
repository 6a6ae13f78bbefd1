/**
 * The Matmul instruction: gemm for each matrix of a batch, with broadcast operands. If there are at least as many
 * matrices as threads, a share is a range of matrices; otherwise it is the same rectangle of every product.
 */
import { gemm, gemmWorkspace } from "./gemm";
import { NR } from "./pack";
import { shareBegin } from "../simd";
import { Dim, Matmul } from "../layouts";
import { offsetAt, stepsOf } from "../walk";

/**
 * A share begins at a row and a column of C that are multiples of these numbers. Both are multiples of every tile's
 * size.
 */
const ROWS: u32 = 12;
const COLUMNS: u32 = <u32>NR;
/** The cost of packing one element, in multiply-adds. */
const PACKING: u64 = 6;

/** The length of the longest share if n is divided into `parts` shares. */
@inline
function longest(n: u32, grain: u32, parts: u32): u64 {
  const grains = (n + grain - 1) / grain;
  return min<u64>(n, <u64>((grains + parts - 1) / parts) * grain);
}

/**
 * The number of row bands into which C is split, chosen so that the largest share costs least. The threads that share a
 * band split its columns. Every share packs the part of B that it needs and, if A is transposed, the part of A.
 */
function bandsOf(m: u32, n: u32, transA: u32, threads: u32): u32 {
  let bands: u32 = 1, least: u64 = u64.MAX_VALUE;
  for (let b: u32 = 1; b <= threads; b++) {
    if (threads % b) continue;
    const rows = longest(m, ROWS, b), cols = longest(n, COLUMNS, threads / b);
    const cost = rows * cols + PACKING * (cols + (transA ? rows : 0));
    if (cost >= least) continue;
    least = cost;
    bands = b;
  }
  return bands;
}

export function batchedGemm(at: usize, thread: u32, threads: u32): void {
  const m = load<u32>(at, Matmul.m << 2), n = load<u32>(at, Matmul.n << 2), k = load<u32>(at, Matmul.k << 2);
  const out = load<usize>(at, Matmul.out << 2), a = load<usize>(at, Matmul.a << 2), b = load<usize>(at, Matmul.b << 2);
  const rank = load<u32>(at, Matmul.rank << 2);
  const dims = at + (Matmul.words << 2);
  const dimsEnd = dims + ((rank * Dim.words) << 2);
  const batches = stepsOf(dims, dimsEnd);
  const transA = load<u32>(at, Matmul.transA << 2), transB = load<u32>(at, Matmul.transB << 2);
  // Each thread has its own workspace. The workspaces are consecutive.
  const workspace = load<usize>(at, Matmul.workspace << 2) + thread * gemmWorkspace(m, n, k, transA, transB);

  let first: u32 = 0, last = batches, rowBegin: u32 = 0, rowEnd = m, colBegin: u32 = 0, colEnd = n;
  if (batches >= threads) {
    first = shareBegin(batches, 1, thread, threads);
    last = shareBegin(batches, 1, thread + 1, threads);
  } else {
    const bands = bandsOf(m, n, transA, threads), parts = threads / bands;
    const band = thread / parts, part = thread - band * parts;
    rowBegin = shareBegin(m, ROWS, band, bands);
    rowEnd = shareBegin(m, ROWS, band + 1, bands);
    colBegin = shareBegin(n, COLUMNS, part, parts);
    colEnd = shareBegin(n, COLUMNS, part + 1, parts);
  }
  for (let i = first; i < last; i++) {
    const atA = offsetAt(i, dims, dimsEnd, Dim.first), atB = offsetAt(i, dims, dimsEnd, Dim.second);
    const atC = (<usize>i * m * n) << 2;
    gemm(out + atC, a + ((atA * m * k) << 2), b + ((atB * k * n) << 2), load<usize>(at, Matmul.bias << 2),
      load<usize>(at, Matmul.y << 2) + atC, m, n, k, transA, transB, load<f32>(at, Matmul.alpha << 2),
      load<u32>(at, Matmul.activation << 2), 0, workspace, rowBegin, rowEnd, colBegin, colEnd);
  }
}
