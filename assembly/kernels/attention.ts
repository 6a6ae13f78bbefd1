/**
 * Computes scaled dot-product attention, softmax(scale·Q·Kᵀ + mask)·V (Vaswani et al. 2017, eq. 1), and its gradient,
 * one block of query rows at a time. Only one block's attention weights are stored at a time; the gradient recomputes
 * them. Each tensor has its own strides, so heads may have any layout. A share is a range of (batch, head) pairs, which
 * are independent.
 */
import { Attention } from "../layerLayouts";
import { Op } from "../opcodes";
import { exp } from "../math";
import { SUM_BLOCK, addPairs, fma, laneMask, pairSum, selectLanes, shareBegin } from "../simd";
import { blocks, gemmWorkspace } from "./gemm";
import { word } from "../operands";

/**
 * The number of query rows in a block. Causal attention with at most SHORT queries uses half as many rows, to skip more
 * masked keys.
 */
export const ROWS: u32 = 64;
const SHORT: u32 = 128;

/**
 * The distance in bytes between rows of weights: an odd number of cache lines, so that rows spread over the cache's
 * sets.
 */
export function rowBytes(keys: u32): usize {
  return (((<usize>keys << 2) + 63) & ~63) | 64;
}

/** The number of scratch bytes that one thread needs, a multiple of 64. */
export function attentionWorkspace(keys: u32): u32 {
  return gemmWorkspace(1, 1, 1, 1, 0) + <u32>(2 * ROWS * rowBytes(keys));
}

/**
 * Computes a row of weights in place: softmax(scale·s + mask) over the first `limit` of n scores, and 0 for the rest.
 * If no key is visible, all weights are 0.
 */
export function weighRow(s: usize, limit: u32, n: u32, scale: f32, mask: usize): void {
  if (mask || scale < 0) {
    const factor = f32x4.splat(scale);
    for (let j: u32 = 0; j < limit; j += 4) {
      const at: usize = j << 2, v = f32x4.mul(v128.load(s + at), factor);
      v128.store(s + at, mask ? f32x4.add(v, v128.load(mask + at)) : v);
    }
    scale = 1;
  }
  const whole = limit & ~3, rest = limit - whole, end = s + (<usize>whole << 2);
  const none = f32x4.splat(-Infinity), head = laneMask(rest);
  let top = rest ? selectLanes(v128.load(end), none, head) : none;
  for (let p = s; p < end; p += 16) top = f32x4.max(top, v128.load(p));
  const pair = f32x4.max(top, v128.shuffle<f32>(top, top, 2, 3, 0, 1));
  const largest = max(f32x4.extract_lane(pair, 0), f32x4.extract_lane(pair, 1));
  const zero = f32x4.splat(0), stop = s + (<usize>n << 2);
  let p = s;
  if (largest != -Infinity) {
    const factor = f32x4.splat(scale), shift = f32x4.splat(-largest * scale);
    let total = f64x2.splat(0), sum = zero;
    while (p < end) {
      const stop = min(end, p + SUM_BLOCK * 4);
      for (sum = zero; p < stop; p += 16) {
        const e = exp(fma(v128.load(p), factor, shift));
        v128.store(p, e);
        sum = f32x4.add(sum, e);
      }
      total = addPairs(total, sum);
    }
    if (rest) {
      const e = v128.and(exp(fma(v128.load(p), factor, shift)), head);
      v128.store(p, e);
      total = addPairs(total, e);
      p += 16;
    }
    const part = f32x4.splat(1 / <f32>pairSum(total));
    for (let q = s; q < p; q += 16) v128.store(q, f32x4.mul(v128.load(q), part));
  }
  for (; p < stop; p += 16) v128.store(p, zero);
}

/** dS = scale·P∘(dP − Σ dP∘P) along a row, written over dP; P is 0 after the last visible key. */
function weighRowGrad(dp: usize, p: usize, n: u32, scale: f32): void {
  const end = dp + ((<usize>n & ~3) << 2), toP = p - dp, head = laneMask(n & 3);
  let total = f64x2.splat(0);
  for (let d = dp; d < end;) {
    const stop = min(end, d + SUM_BLOCK * 4);
    let part = f32x4.splat(0);
    for (; d < stop; d += 16) part = fma(v128.load(d), v128.load(d + toP), part);
    total = addPairs(total, part);
  }
  if (n & 3) total = addPairs(total, v128.and(head, f32x4.mul(v128.load(end), v128.load(end + toP))));
  const sum = f32x4.splat(<f32>pairSum(total)), factor = f32x4.splat(scale);
  for (let d = dp; d < end; d += 16)
    v128.store(d, f32x4.mul(f32x4.mul(factor, v128.load(d + toP)), f32x4.sub(v128.load(d), sum)));
  // Rows end in padding, which may be overwritten but is never read.
  if (n & 3) v128.store(end, f32x4.mul(f32x4.mul(factor, v128.load(end + toP)), f32x4.sub(v128.load(end), sum)));
}

/** The number of keys to which query i may attend. */
@inline
export function reach(i: u32, keys: u32, causal: bool, offset: i32): u32 {
  return causal ? <u32>min<i32>(<i32>keys, max<i32>(0, <i32>i + 1 + offset)) : keys;
}

/** C = op(A)·op(B), or C += op(A)·op(B) if `accumulate`, on gemm's packed path. Leading dimensions are in bytes. */
@inline
function product(c: usize, ldc: usize, a: usize, lda: usize, transA: u32, b: usize, ldb: usize, transB: u32, m: usize,
  n: usize, k: usize, accumulate: u32, workspace: usize): void
{
  blocks(c, ldc, a, lda, transA, b, ldb, transB, 0, m, n, k, 1, 0, 0, accumulate, workspace);
}

function clearRows(at: usize, ld: usize, rows: u32, width: usize): void {
  for (let i: u32 = 0; i < rows; i++, at += ld) memory.fill(at, 0, width << 2);
}

export function attention(op: Op, at: usize, thread: u32, threads: u32): void {
  const batch = <u32>word(at, Attention.batch), heads = <u32>word(at, Attention.heads);
  const queries = <u32>word(at, Attention.queries), keys = <u32>word(at, Attention.keys);
  const width = word(at, Attention.width), valueWidth = word(at, Attention.valueWidth);
  const causal = word(at, Attention.causal) != 0, offset = <i32>word(at, Attention.offset),
    scale = load<f32>(at + (<usize>Attention.scale << 2));
  const ldq = word(at, Attention.qRow) << 2, ldk = word(at, Attention.kRow) << 2, ldv = word(at, Attention.vRow) << 2,
    ldo = word(at, Attention.outRow) << 2;
  const backward = op == Op.AttentionGrad;
  if (!backward && op != Op.Attention) unreachable();
  const workspace = word(at, Attention.workspace) + thread * attentionWorkspace(keys);
  const p = workspace + gemmWorkspace(1, 1, 1, 1, 0), ld = rowBytes(keys), dp = p + ROWS * ld;
  const step: u32 = causal && queries <= SHORT ? ROWS / 2 : ROWS;
  const units = batch * heads, end = shareBegin(units, 1, thread + 1, threads);
  for (let u = shareBegin(units, 1, thread, threads); u < end; u++) {
    const b: usize = u / heads, h: usize = u - <u32>b * heads;
    const ofQ = (b * word(at, Attention.qBatch) + h * word(at, Attention.qHead)) << 2,
      ofK = (b * word(at, Attention.kBatch) + h * word(at, Attention.kHead)) << 2;
    const ofV = (b * word(at, Attention.vBatch) + h * word(at, Attention.vHead)) << 2,
      ofOut = (b * word(at, Attention.outBatch) + h * word(at, Attention.outHead)) << 2;
    const q = word(at, Attention.q) + ofQ, k = word(at, Attention.k) + ofK, v = word(at, Attention.v) + ofV;
    const mask0 = word(at, Attention.mask),
      mask = mask0 ? mask0 + ((b * word(at, Attention.maskBatch) + h * word(at, Attention.maskHead)) << 2) : 0;
    // `out` is the output in the forward pass and dy in the backward pass; dq, dk, dv are laid out like q, k, v.
    const out = word(at, Attention.out) + ofOut;
    const dq = word(at, Attention.dq) + ofQ, dk = word(at, Attention.dk) + ofK, dv = word(at, Attention.dv) + ofV;
    if (backward) {
      clearRows(dk, ldk, keys, width);
      clearRows(dv, ldv, keys, valueWidth);
    }
    for (let i: u32 = 0; i < queries; i += step) {
      const rows = min<u32>(step, queries - i), n = reach(i + rows - 1, keys, causal, offset);
      const qi = q + i * ldq, oi = out + i * ldo;
      if (!n) {
        if (backward) clearRows(dq + i * ldq, ldq, rows, width);
        else clearRows(oi, ldo, rows, valueWidth);
        continue;
      }
      product(p, ld, qi, ldq, 0, k, ldk, 1, rows, n, width, 0, workspace);
      for (let r: u32 = 0; r < rows; r++) {
        const own = mask ? mask + (((i + r) * word(at, Attention.maskRow)) << 2) : 0;
        weighRow(p + r * ld, reach(i + r, keys, causal, offset), n, scale, own);
      }
      if (!backward) {
        product(oi, ldo, p, ld, 0, v, ldv, 0, rows, valueWidth, n, 0, workspace);
        continue;
      }
      product(dp, ld, oi, ldo, 0, v, ldv, 1, rows, n, valueWidth, 0, workspace);
      product(dv, ldv, p, ld, 1, oi, ldo, 0, n, valueWidth, rows, 1, workspace);
      for (let r: u32 = 0; r < rows; r++) weighRowGrad(dp + r * ld, p + r * ld, n, scale);
      product(dq + i * ldq, ldq, dp, ld, 0, k, ldk, 0, rows, width, n, 0, workspace);
      product(dk, ldk, dp, ld, 1, qi, ldq, 0, n, width, rows, 1, workspace);
    }
  }
}
