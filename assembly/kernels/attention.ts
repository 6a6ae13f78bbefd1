/**
 * Computes scaled dot-product attention, softmax(scale·Q·Kᵀ + mask)·V (Vaswani et al. 2017, eq. 1), and its gradient,
 * one block of query rows at a time. Only the attention weights of one block are in memory at a time, and the gradient
 * recomputes them. K and V are packed once per head. The products skip tiles whose keys the causal mask hides entirely.
 * Each tensor has its own strides, so heads may have any layout. A share is a range of (batch, head) pairs, which are
 * independent.
 */
import { Attention } from "../layerLayouts";
import { Activation, Op } from "../opcodes";
import { exp2NonPositive } from "../math";
import { SUM_BLOCK, addPairs, fma, laneMask, pairSum, selectLanes, shareBegin, storeLanes } from "../simd";
import { finish } from "./epilogue";
import { KC, PANELS, tile, tileRows } from "./gemm";
import { copyPanel, micro, MR, NR, storeRow, transpose } from "./pack";
import { word } from "../operands";

/** The number of query rows in a block. */
export const ROWS: u32 = 64;

const LOG2E: f32 = 1.4426950408889634;

/**
 * The distance in bytes between rows of attention weights: an odd number of cache lines, so that rows spread over the
 * cache's sets.
 */
export function rowBytes(keys: u32): usize {
  return (((<usize>keys << 2) + 63) & ~63) | 64;
}

/** n rounded up to whole panels. */
@inline
function whole(n: usize): usize { return (n + NR - 1) & ~(NR - 1); }

// The workspace: [a tile | P | dP | Kᵀ | V, or Vᵀ in the backward pass | only in the backward pass: K | a block of dy | a block of Q].
// The matrices after dP are in panels.
/** The number of scratch bytes that one thread needs, a multiple of 64. */
export function attentionWorkspace(keys: u32, width: u32, valueWidth: u32): u32 {
  const k = whole(keys), w = whole(width), v = whole(valueWidth);
  const panels = (k * (2 * w + v) + ROWS * (w + v)) << 2;
  return <u32>(PANELS + 2 * ROWS * rowBytes(keys) + ((panels + 63) & ~63));
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
  const length = limit & ~3, rest = limit - length, end = s + (<usize>length << 2);
  const none = f32x4.splat(-Infinity), head = laneMask(rest);
  const last = rest ? selectLanes(v128.load(end), none, head) : none;
  // pmax takes one instruction, and f32x4.max takes eight in V8 on x64, but pmax can lose NaN. If any score exceeds −∞, a NaN reaches all
  // weights through their sum anyway, so look for NaN only if none does.
  let top = last;
  for (let p = s; p < end; p += 16) top = f32x4.pmax(top, v128.load(p));
  top = f32x4.pmax(top, v128.shuffle<f32>(top, top, 2, 3, 0, 1));
  top = f32x4.pmax(top, v128.shuffle<f32>(top, top, 1, 0, 3, 2));
  let largest = f32x4.extract_lane(top, 0);
  if (largest == -Infinity) {
    let odd = f32x4.ne(last, last);
    for (let p = s; p < end; p += 16) odd = v128.or(odd, f32x4.ne(v128.load(p), v128.load(p)));
    if (v128.any_true(odd)) largest = NaN;
  }
  const zero = f32x4.splat(0), stop = s + (<usize>n << 2);
  let p = s;
  if (largest != -Infinity) {
    // e^(scale·(s − largest)) = 2^(factor·(s − largest)). Subtracting first keeps the digits of large scores, and cannot overflow to
    // ∞ − ∞ if all scores are near the smallest float32, which some masks use instead of −∞.
    const factor = f32x4.splat(scale * LOG2E), most = f32x4.splat(largest);
    let total = f64x2.splat(0), sum = zero;
    while (p < end) {
      const stop = min(end, p + SUM_BLOCK * 4);
      for (sum = zero; p < stop; p += 16) {
        const e = exp2NonPositive(f32x4.mul(f32x4.sub(v128.load(p), most), factor));
        v128.store(p, e);
        sum = f32x4.add(sum, e);
      }
      total = addPairs(total, sum);
    }
    if (rest) {
      const e = v128.and(exp2NonPositive(f32x4.mul(f32x4.sub(v128.load(p), most), factor)), head);
      v128.store(p, e);
      total = addPairs(total, e);
      p += 16;
    }
    const part = f32x4.splat(1 / <f32>pairSum(total));
    for (let q = s; q < p; q += 16) v128.store(q, f32x4.mul(v128.load(q), part));
  }
  for (; p < stop; p += 16) v128.store(p, zero);
}

/** Overwrites a row of dP with dS = scale·P∘(dP − Σ dP∘P) in the first `limit` of n elements, and with 0 in the rest. */
function weighRowGrad(dp: usize, p: usize, limit: u32, n: u32, scale: f32): void {
  const end = dp + ((<usize>limit & ~3) << 2), toP = p - dp, head = laneMask(limit & 3);
  let total = f64x2.splat(0);
  for (let d = dp; d < end;) {
    const stop = min(end, d + SUM_BLOCK * 4);
    let part = f32x4.splat(0);
    for (; d < stop; d += 16) part = fma(v128.load(d), v128.load(d + toP), part);
    total = addPairs(total, part);
  }
  if (limit & 3) total = addPairs(total, v128.and(head, f32x4.mul(v128.load(end), v128.load(end + toP))));
  const sum = f32x4.splat(<f32>pairSum(total)), factor = f32x4.splat(scale);
  let d = dp;
  for (; d < end; d += 16)
    v128.store(d, f32x4.mul(f32x4.mul(factor, v128.load(d + toP)), f32x4.sub(v128.load(d), sum)));
  if (limit & 3) {
    const last = f32x4.mul(f32x4.mul(factor, v128.load(d + toP)), f32x4.sub(v128.load(d), sum));
    v128.store(d, v128.and(head, last));
    d += 16;
  }
  for (const stop = dp + (<usize>n << 2); d < stop; d += 16) v128.store(d, f32x4.splat(0));
}

/** The number of keys to which query i may attend. */
@inline
export function reach(i: u32, keys: u32, causal: bool, offset: i32): u32 {
  return causal ? <u32>min<i32>(<i32>keys, max<i32>(0, <i32>i + 1 + offset)) : keys;
}

/** Packs B[k, n], or the transpose of B[n, k], in panels of NR columns. */
function pack(panel: usize, b: usize, ldb: usize, n: usize, k: usize, transposed: bool): void {
  for (let j: usize = 0; j < n; j += NR, panel += k * NR * 4) {
    const cols = min(NR, n - j);
    if (transposed) transpose(panel, NR * 4, b + j * ldb, ldb, cols, k);
    else copyPanel(panel, b + (j << 2), ldb, cols, k);
  }
}

/** c[rows, n] = A[rows, k]·B (+ c if load), for at most MR rows. B is in panels that are `next` bytes apart. */
function strip(c: usize, ldc: usize, a: usize, lda: usize, rows: usize, panel: usize, next: usize, k: usize, n: usize,
  load: bool, scratch: usize): void
{
  const tiles = rows == MR || rows == 4 ? n / NR : 0, full = tiles * NR;
  if (tiles) micro(c, ldc, a, lda, rows, panel, k, 1, 0, load, 0, Activation.None, tiles, NR * 4, next);
  panel += tiles * next;
  for (let j = full; j < n; j += NR, panel += next)
    tile(c + (j << 2), ldc, a, lda, rows, min(NR, n - j), panel, k, 1, 0, 0, Activation.None, load, scratch);
}

/**
 * s[rows, keys] = A[rows, k]·B, with B in panels. Skips tiles without visible keys. The first row belongs to query i. Eight panels
 * stay in the L1 cache until all rows have used them.
 */
function scores(s: usize, ld: usize, a: usize, lda: usize, panel: usize, rows: u32, k: usize, i: u32, keys: u32,
  causal: bool, offset: i32, scratch: usize): void
{
  const n = reach(i + rows - 1, keys, causal, offset), next = k * NR * 4;
  for (let j: u32 = 0; j < n; j += <u32>NR * 8, panel += 8 * next) {
    for (let r: u32 = 0, own: u32 = 0; r < rows; r += own) {
      own = <u32>tileRows(rows - r);
      const limit = reach(i + r + own - 1, keys, causal, offset);
      if (limit > j)
        strip(s + r * ld + (<usize>j << 2), ld, a + r * lda, lda, own, panel, next, k, min(NR * 8, whole(limit - j)),
          false, scratch);
    }
  }
}

/**
 * c[rows, n] = W[rows, keys]·B, with B in panels. A tile of rows sums over the keys that its last row sees, so W must be 0 for those of
 * these keys that an earlier row of the tile does not see.
 */
function combine(c: usize, ldc: usize, w: usize, ld: usize, panel: usize, rows: u32, n: usize, i: u32, keys: u32,
  causal: bool, offset: i32, scratch: usize): void
{
  const visible = reach(i + rows - 1, keys, causal, offset);
  let p: u32 = 0;
  do {
    for (let r: u32 = 0, own: u32 = 0; r < rows; r += own) {
      own = <u32>tileRows(rows - r);
      const limit = reach(i + r + own - 1, keys, causal, offset);
      if (p && limit <= p) continue;
      strip(c + r * ldc, ldc, w + r * ld + (<usize>p << 2), ld, own, panel + p * NR * 4, <usize>keys * NR * 4,
        min<u32>(<u32>KC, limit - p), n, p > 0, scratch);
    }
    p += <u32>KC;
  } while (p < visible);
}

/**
 * C[MR, NR] = A[k, MR]ᵀ·panel[k, NR] (+ C if load): multiplies by the transpose of A without packing it. This is fast only
 * if all k rows of A stay in the L1 cache.
 */
export function microTransposed(c: usize, ldc: usize, a: usize, lda: usize, panel: usize, k: usize, load: bool): void {
  eightTransposed(c, ldc, a, lda, panel, k, load);
  if (NR == 16) eightTransposed(c + 32, ldc, a, lda, panel + 32, k, load);
}

/** Like microTransposed, for eight of the panel's columns. */
function eightTransposed(c: usize, ldc: usize, a: usize, lda: usize, panel: usize, k: usize, load: bool): void {
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  let c40 = c00;
  let c41 = c00;
  let c50 = c00;
  let c51 = c00;
  for (const end = panel + k * NR * 4; panel < end; panel += NR * 4, a += lda) {
    const b0 = v128.load(panel), b1 = v128.load(panel, 16);
    let x = v128.load32_splat(a);
    c00 = fma(x, b0, c00);
    c01 = fma(x, b1, c01);
    x = v128.load32_splat(a, 4);
    c10 = fma(x, b0, c10);
    c11 = fma(x, b1, c11);
    x = v128.load32_splat(a, 8);
    c20 = fma(x, b0, c20);
    c21 = fma(x, b1, c21);
    x = v128.load32_splat(a, 12);
    c30 = fma(x, b0, c30);
    c31 = fma(x, b1, c31);
    if (MR == 6) {
      x = v128.load32_splat(a, 16);
      c40 = fma(x, b0, c40);
      c41 = fma(x, b1, c41);
      x = v128.load32_splat(a, 20);
      c50 = fma(x, b0, c50);
      c51 = fma(x, b1, c51);
    }
  }
  addRow(c, c00, c01, load);
  addRow(c += ldc, c10, c11, load);
  addRow(c += ldc, c20, c21, load);
  addRow(c += ldc, c30, c31, load);
  if (MR == 6) {
    addRow(c += ldc, c40, c41, load);
    addRow(c += ldc, c50, c51, load);
  }
}

@inline
function addRow(c: usize, v0: v128, v1: v128, load: bool): void {
  if (load) {
    v0 = f32x4.add(v128.load(c), v0);
    v1 = f32x4.add(v128.load(c, 16), v1);
  }
  storeRow(c, v0, v1);
}

/** c[keys, n] += W[rows, keys]ᵀ·B[rows, n], with B in panels. Skips the rows that see none of a tile's keys. */
function spread(c: usize, ldc: usize, w: usize, ld: usize, panel: usize, rows: u32, n: usize, i: u32, keys: u32,
  causal: bool, offset: i32, scratch: usize): void
{
  const visible = reach(i + rows - 1, keys, causal, offset);
  for (let j: u32 = 0; j < visible; j += <u32>MR, c += MR * ldc) {
    const first = causal ? <u32>max<i32>(0, <i32>(j - i) - offset) : 0, own = min<u32>(<u32>MR, visible - j);
    const from = w + first * ld + (<usize>j << 2);
    let b = panel + first * NR * 4;
    for (let q: usize = 0; q < n; q += NR, b += rows * NR * 4) {
      const to = c + (q << 2), cols = min(NR, n - q);
      if (own == MR && cols == NR) microTransposed(to, ldc, from, ld, b, rows - first, true);
      else {
        microTransposed(scratch, NR * 4, from, ld, b, rows - first, false);
        finish(to, ldc, scratch, NR * 4, own, cols, 1, 1, 0, Activation.None, 0, 0);
      }
    }
  }
}

function clearRows(at: usize, ld: usize, rows: u32, width: usize): void {
  // For short rows, memory.fill takes longer than this loop.
  for (let i: u32 = 0; i < rows; i++, at += ld) {
    for (let j: usize = 0; j < width; j += 4) storeLanes(at + (j << 2), f32x4.splat(0), <u32>(width - j));
  }
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
  const scratch = word(at, Attention.workspace) + thread * attentionWorkspace(keys, <u32>width, <u32>valueWidth);
  const p = scratch + PANELS, ld = rowBytes(keys), dp = p + ROWS * ld;
  const panelsKT = dp + ROWS * ld, panelsV = panelsKT + whole(keys) * whole(width) * 4;
  const panelsK = panelsV + whole(keys) * whole(valueWidth) * 4, panelsDy = panelsK + whole(keys) * whole(width) * 4,
    panelsQ = panelsDy + ROWS * whole(valueWidth) * 4;
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
    pack(panelsKT, k, ldk, keys, width, true);
    if (backward) {
      pack(panelsV, v, ldv, keys, valueWidth, true);
      pack(panelsK, k, ldk, width, keys, false);
      clearRows(dk, ldk, keys, width);
      clearRows(dv, ldv, keys, valueWidth);
    } else pack(panelsV, v, ldv, valueWidth, keys, false);
    for (let i: u32 = 0; i < queries; i += ROWS) {
      const rows = min<u32>(ROWS, queries - i), n = reach(i + rows - 1, keys, causal, offset);
      const qi = q + i * ldq, oi = out + i * ldo;
      scores(p, ld, qi, ldq, panelsKT, rows, width, i, keys, causal, offset, scratch);
      for (let r: u32 = 0; r < rows; r++) {
        const own = mask ? mask + (((i + r) * word(at, Attention.maskRow)) << 2) : 0,
          limit = reach(i + r, keys, causal, offset);
        weighRow(p + r * ld, limit, min(n, limit + <u32>MR), scale, own);
      }
      if (!backward) {
        combine(oi, ldo, p, ld, panelsV, rows, valueWidth, i, keys, causal, offset, scratch);
        continue;
      }
      scores(dp, ld, oi, ldo, panelsV, rows, valueWidth, i, keys, causal, offset, scratch);
      pack(panelsDy, oi, ldo, valueWidth, rows, false);
      spread(dv, ldv, p, ld, panelsDy, rows, valueWidth, i, keys, causal, offset, scratch);
      for (let r: u32 = 0; r < rows; r++) {
        const limit = reach(i + r, keys, causal, offset);
        weighRowGrad(dp + r * ld, p + r * ld, limit, min(n, limit + <u32>MR), scale);
      }
      combine(dq + i * ldq, ldq, dp, ld, panelsK, rows, width, i, keys, causal, offset, scratch);
      pack(panelsQ, qi, ldq, width, rows, false);
      spread(dk, ldk, dp, ld, panelsQ, rows, width, i, keys, causal, offset, scratch);
    }
  }
}
