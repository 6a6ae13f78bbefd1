/**
 * Attention for generating text: writes the new keys and values to a cache, in place, then attends to the cache's
 * filled rows. The work grows with the number of filled rows, not with the capacity. A share is a range of (batch,
 * head) pairs.
 */
import { Attention } from "../layerLayouts";
import { Activation } from "../opcodes";
import { word } from "../operands";
import { shareBegin } from "../simd";
import { reach, rowBytes, ROWS, weighRow } from "./attention";
import { blocks, deepThin, dots, gemmWorkspace } from "./gemm";

/** If there are at most this many queries, the products do not pack keys and values. */
const FEW: u32 = 8;

/** The number of scratch bytes that one thread needs, a multiple of 64. */
export function cacheWorkspace(capacity: u32): u32 {
  return gemmWorkspace(1, 1, 1, 1, 0) + <u32>(ROWS * rowBytes(capacity));
}

/** Copies rows of `bytes` bytes that are `step` bytes apart. The copies are contiguous. */
function append(to: usize, from: usize, step: usize, rows: u32, bytes: usize): void {
  for (let i: u32 = 0; i < rows; i++, to += bytes, from += step) memory.copy(to, from, bytes);
}

export function cachedAttention(at: usize, thread: u32, threads: u32): void {
  const heads = <u32>word(at, Attention.heads), queries = <u32>word(at, Attention.queries);
  const width = word(at, Attention.width), valueWidth = word(at, Attention.valueWidth);
  const capacity = word(at, Attention.keys), length = load<u32>(word(at, Attention.length));
  const causal = word(at, Attention.causal) != 0, offset = <i32>length,
    scale = load<f32>(at + (<usize>Attention.scale << 2));
  const ldq = word(at, Attention.qRow) << 2, ldo = word(at, Attention.outRow) << 2, ldk = width << 2,
    ldv = valueWidth << 2;
  // In a compiled function, the instruction that checks whether the rows fit may run in the same call into WebAssembly, and JavaScript
  // reads its result only after the call. If the rows do not fit, write nothing.
  if (<u64>length + queries > capacity) return;
  const filled = length + queries, ld = rowBytes(filled);
  const workspace = word(at, Attention.workspace) + thread * cacheWorkspace(<u32>capacity);
  const p = workspace + gemmWorkspace(1, 1, 1, 1, 0), mask0 = word(at, Attention.mask);
  const units = <u32>word(at, Attention.batch) * heads, end = shareBegin(units, 1, thread + 1, threads);
  for (let u = shareBegin(units, 1, thread, threads); u < end; u++) {
    const b: usize = u / heads, h: usize = u - <u32>b * heads;
    const q = word(at, Attention.q) + ((b * word(at, Attention.qBatch) + h * word(at, Attention.qHead)) << 2);
    const fresh = word(at, Attention.k) + ((b * word(at, Attention.kBatch) + h * word(at, Attention.kHead)) << 2);
    const freshV = word(at, Attention.v) + ((b * word(at, Attention.vBatch) + h * word(at, Attention.vHead)) << 2);
    const out = word(at, Attention.out) + ((b * word(at, Attention.outBatch) + h * word(at, Attention.outHead)) << 2);
    const k = word(at, Attention.dk) + u * capacity * ldk, v = word(at, Attention.dv) + u * capacity * ldv;
    const mask = mask0 ? mask0 + ((b * word(at, Attention.maskBatch) + h * word(at, Attention.maskHead)) << 2) : 0;
    append(k + length * ldk, fresh, word(at, Attention.kRow) << 2, queries, ldk);
    append(v + length * ldv, freshV, word(at, Attention.vRow) << 2, queries, ldv);
    for (let i: u32 = 0; i < queries; i += ROWS) {
      const rows = min<u32>(ROWS, queries - i), n = reach(i + rows - 1, filled, causal, offset);
      const qi = q + i * ldq, oi = out + i * ldo;
      if (queries <= FEW) dots(p, ld, qi, ldq, k, ldk, 0, rows, n, width, 1, Activation.None, 0, 0, workspace);
      else blocks(p, ld, qi, ldq, 0, k, ldk, 1, 0, rows, n, width, 1, Activation.None, 0, 0, workspace);
      for (let r: u32 = 0; r < rows; r++) {
        const own = mask ? mask + (((i + r) * word(at, Attention.maskRow)) << 2) : 0;
        weighRow(p + r * ld, reach(i + r, filled, causal, offset), n, scale, own);
      }
      if (queries <= FEW)
        deepThin(oi, ldo, p, ld, 4, v, ldv, 0, rows, valueWidth, n, 1, Activation.None, 0, 0, workspace);
      else blocks(oi, ldo, p, ld, 0, v, ldv, 0, 0, rows, valueWidth, n, 1, Activation.None, 0, 0, workspace);
    }
  }
}
