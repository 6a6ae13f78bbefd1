/**
 * C = act(α·op(A)·op(B) + bias) (+ C), in blocks as in GotoBLAS and BLIS. Matrices are row-major and dense; op is the identity
 * or transposes; act is an activation, or multiplies by an activation's derivative at y, a matrix with C's shape. Writes only
 * the requested share of C. The path and the order of the sum over k depend only on the shape of the whole product, so an
 * element's bits do not depend on how C is split into shares.
 */
import { Activation } from "../opcodes";
import { addTotals, clamped, complete, finish, graded, isClamped, isGraded } from "./epilogue";
import { copyPanel, MR, micro, NR, part, transpose } from "./pack";
import { aheadDots, NARROW, narrowRow, NEAR, pairDots, rowDots, rowNarrow, rowWide, WIDE, wideRow } from "./rows";

/** The largest k of one block: a panel of B, KC × NR, stays in the L1 cache. */
@inline
export const KC: usize = 512;

/** The number of rows in a block: MC × KC elements of A stay in the L2 cache. A multiple of every MR. */
@inline
export const MC: usize = 192;

/** The number of B's columns that are packed at once. A multiple of NR. */
@inline
const NC: usize = 32;

/**
 * Packing does not pay off if C has at most FEW rows, or if C has at least WIDE columns and k is at most SHORT. Measured in
 * both builds, for n and k from 64 to 1024: without packing, 1 row is 3 to 7 times as fast, 4 rows 1.1 to 2.5 times, and 8
 * rows 0.95 to 1.7 times. If B is transposed and k is at least DEEP, 12 rows are still 1.0 to 1.25 times as fast, so up to
 * SEVERAL rows are not packed.
 */
@inline
const FEW: usize = 8;
@inline
const SHORT: usize = 16;
@inline
const SEVERAL: usize = 12;
@inline
const DEEP: usize = 128;

/** The number of rows after which the paths that do not pack apply the epilogue. */
@inline
const STRIP: usize = 32;

/** The number of products that a lane sums before it adds the sum to C, on the paths that do not pack. */
@inline
const DEPTH: usize = 256;

/** From this many elements on, B exceeds the L2 cache, so it is read in the order of memory: SPAN columns of ROWS rows at a time. */
@inline
const LARGE: usize = 1 << 18;
@inline
const SPAN: usize = 1024;
@inline
const ROWS: usize = 16;

/** A longer k is split into parts whose products are added in float64, so errors do not grow with the number of parts. */
@inline
const LONG: usize = 16384;

// The workspace: [one tile of C, and one to add to it | panels of B | a block of A, if transposed | partial sums, if k
// is split | their float64 totals, if k is long]. The distance of the block's rows is an odd number of cache lines, at most LDA,
// so that rows spread over the cache's sets.
@inline
export const LDA: usize = (KC + 16) * 4;
@inline
export const PANELS: usize = WIDE_BUILD ? 384 : 256;
@inline
export const BLOCK: usize = PANELS + NC * KC * 4;
@inline
const PARTIAL: usize = BLOCK + MC * LDA;
@inline
const TOTALS: usize = PARTIAL + MC * MC * 4;

/** Row shares begin at multiples of this number. */
export function rowStep(): u32 {
  return <u32>MR;
}

/** Column shares begin at multiples of this number. */
export function colStep(): u32 {
  return <u32>NR;
}

/** The number of scratch bytes that one thread needs, a multiple of 64. */
export function gemmWorkspace(m: u32, n: u32, k: u32, transA: u32, transB: u32): u32 {
  return <u32>(<usize>k > LONG ? TOTALS + MC * MC * 8 : <usize>k > KC ? TOTALS : transA ? PARTIAL : BLOCK);
}

/**
 * Computes the share [rowBegin, rowEnd) × [colBegin, colEnd) of C[m, n]; op(A): [m, k], op(B): [k, n], bias: [n] or 0. Shares
 * begin and end at multiples of `rowStep` and `colStep`, or at C's edge. With k = 0 the product is 0.
 */
export function gemm(out: usize, a: usize, b: usize, bias: usize, y: usize, m: usize, n: usize, k: usize, transA: u32,
  transB: u32, alpha: f32, activation: u32, accumulate: u32, workspace: usize, rowBegin: usize, rowEnd: usize,
  colBegin: usize, colEnd: usize): void
{
  if (rowBegin >= rowEnd || colBegin >= colEnd) return;
  const rows = rowEnd - rowBegin;
  const cols = colEnd - colBegin;
  const ldc = n << 2;
  const c = out + rowBegin * ldc + (colBegin << 2);
  // The first elements of op(A) and op(B) that this share reads.
  const a0 = a + (transA ? rowBegin : rowBegin * k) * 4;
  const b0 = b + (transB ? colBegin * k : colBegin) * 4;
  const bias0 = bias ? bias + (colBegin << 2) : 0;
  // The distance from an element of C to the corresponding element of y.
  const toY = y - out;

  // The distances in bytes between rows of A and of B, and between elements of op(A) and op(B) along k.
  const lda: usize = (transA ? m : k) << 2, ldb: usize = (transB ? k : n) << 2;
  const stepA: usize = transA ? lda : 4, stepB: usize = transB ? 4 : ldb;
  const path = pathOf(m, n, k, transA, transB);
  const cut = k > LONG;
  if (!cut && (!accumulate || k <= KC)) {
    product(path, c, ldc, a0, lda, transA, b0, ldb, transB, bias0, rows, cols, k, alpha, activation, toY, accumulate,
      workspace);
    return;
  }
  // The old C is added last, so compute the sums in the workspace, for one square of C at a time.
  const partial = workspace + PARTIAL, totals = workspace + TOTALS;
  const downA: usize = transA ? 4 : lda, acrossB: usize = transB ? ldb : 4;
  for (let i: usize = 0; i < rows; i += MC) {
    const mc = min(MC, rows - i);
    for (let j: usize = 0; j < cols; j += MC) {
      const nc = min(MC, cols - j);
      for (let p: usize = 0; p < k; p += LONG) {
        const from = a0 + i * downA + p * stepA, other = b0 + j * acrossB + p * stepB;
        product(path, partial, MC * 4, from, lda, transA, other, ldb, transB, 0, mc, nc, min(LONG, k - p), 1, 0, 0, 0,
          workspace);
        if (cut) addTotals(totals, partial, MC, mc, nc, p > 0, p + LONG >= k);
      }
      finish(c + i * ldc + (j << 2), ldc, partial, MC * 4, mc, nc, 0, alpha, bias0 ? bias0 + (j << 2) : 0, activation,
        toY, accumulate);
    }
  }
}

/** The ways to compute a product. */
const enum Path {
  Thin,
  DeepThin,
  Dots,
  Blocks,
}

@inline
function pathOf(m: usize, n: usize, k: usize, transA: u32, transB: u32): Path {
  if (transB && k) return !transA && m <= (k < DEEP ? FEW : SEVERAL) ? Path.Dots : Path.Blocks;
  if (m > 2 && k > 1 && (n < WIDE || (m > FEW && k > SHORT))) return Path.Blocks;
  return k > SHORT ? Path.DeepThin : Path.Thin;
}

@inline
function product(path: Path, c: usize, ldc: usize, a: usize, lda: usize, transA: u32, b: usize, ldb: usize, transB: u32,
  bias: usize, m: usize, n: usize, k: usize, alpha: f32, activation: u32, toY: usize, accumulate: u32,
  workspace: usize): void
{
  const down: usize = transA ? 4 : lda, step: usize = transA ? lda : 4;
  if (path == Path.Thin)
    thin(c, ldc, a, down, step, b, ldb, bias, m, n, k, alpha, activation, toY, accumulate, workspace);
  else if (path == Path.DeepThin)
    deepThin(c, ldc, a, down, step, b, ldb, bias, m, n, k, alpha, activation, toY, accumulate, workspace);
  else if (path == Path.Dots)
    dots(c, ldc, a, lda, b, ldb, bias, m, n, k, alpha, activation, toY, accumulate, workspace);
  else blocks(c, ldc, a, lda, transA, b, ldb, transB, bias, m, n, k, alpha, activation, toY, accumulate, workspace);
}

/**
 * Computes C for k ≤ SHORT. B is not packed: a row of C is a weighted sum of B's k rows. All inner loops are inlined.
 */
export function thin(c: usize, ldc: usize, a: usize, lda: usize, stepA: usize, b: usize, ldb: usize, bias: usize,
  m: usize, n: usize, k: usize, alpha: f32, activation: u32, toY: usize, accumulate: u32, tile: usize): void
{
  thinOf(false, c, ldc, a, lda, stepA, b, ldb, bias, m, n, k, alpha, activation, toY, accumulate, tile);
}

/** Like `thin`, for any k: sums DEPTH products at a time. */
export function deepThin(c: usize, ldc: usize, a: usize, lda: usize, stepA: usize, b: usize, ldb: usize, bias: usize,
  m: usize, n: usize, k: usize, alpha: f32, activation: u32, toY: usize, accumulate: u32, workspace: usize): void
{
  if (n >= 8 * WIDE && n * k >= LARGE && !accumulate)
    sweep(c, ldc, a, lda, stepA, b, ldb, bias, m, n, k, alpha, activation, toY, workspace);
  else thinOf(true, c, ldc, a, lda, stepA, b, ldb, bias, m, n, k, alpha, activation, toY, accumulate, workspace);
}

/**
 * Computes C for m ≤ FEW and n ≥ WIDE, with the same bits as `thinOf`, but reads B almost in the order of memory: ROWS
 * rows at a time. Every row of C uses these ROWS rows of B before the next ones are read.
 */
function sweep(c: usize, ldc: usize, a: usize, lda: usize, stepA: usize, b: usize, ldb: usize, bias: usize, m: usize,
  n: usize, k: usize, alpha: f32, activation: u32, toY: usize, workspace: usize): void
{
  const ld = SPAN * 4, part = workspace + PANELS;
  for (let j: usize = 0; j < n; j += SPAN) {
    const end = min(j + SPAN, n);
    for (let p: usize = 0; p < k; p += DEPTH) {
      const last = min(p + DEPTH, k);
      for (let q = p; q < last; q += ROWS) {
        const rows = min(ROWS, last - q);
        for (let t = j; t < end; t += WIDE) {
          // If the last columns do not fill a step, compute a full step that ends with them.
          const bt = b + q * ldb + (min(t, n - WIDE) << 2);
          for (let i: usize = 0; i < m; i++)
            rowWide(part + i * ld + ((t - j) << 2), a + i * lda + q * stepA, stepA, bt, ldb, rows, q > p);
        }
      }
      const done = last == k;
      for (let t = j; t < end; t += WIDE) {
        const cols = min(WIDE, n - t);
        finish(c + (t << 2), ldc, part + ((t - j + WIDE - cols) << 2), ld, m, cols, p > 0, done ? alpha : 1,
          done && bias ? bias + (t << 2) : 0, done ? activation : <u32>Activation.None, toY, 0);
      }
    }
  }
}

@inline
function thinOf(deep: bool, c: usize, ldc: usize, a: usize, lda: usize, stepA: usize, b: usize, ldb: usize, bias: usize,
  m: usize, n: usize, k: usize, alpha: f32, activation: u32, toY: usize, accumulate: u32, tile: usize): void
{
  const isGrad = isGraded(alpha, bias, activation);
  const inPlace = (isGrad || isClamped(alpha, activation)) && !accumulate;
  const plain = !bias && activation == Activation.None;
  const wide = n >= WIDE;
  const step = wide ? WIDE : NARROW;
  for (let j: usize = 0; j < n; j += step) {
    const cols = min(step, n - j);
    // If the last columns do not fill a step, compute a full step that ends with them.
    const back: usize = wide ? (WIDE - cols) << 2 : 0;
    const bt = b + (j << 2) - back;
    const bj = bias ? bias + (j << 2) : 0;
    for (let i: usize = 0; i < m; i += STRIP) {
      const strip = c + i * ldc + (j << 2), rows = min(STRIP, m - i);
      let ct = strip, at = a + i * lda;
      for (const end = ct + rows * ldc; ct < end; ct += ldc, at += lda) {
        const target = inPlace && cols == step ? ct : tile;
        if (deep) deepRow(target, at, stepA, bt, ldb, wide, cols, k, tile + WIDE * 4);
        else if (wide) wideRow(target, at, stepA, bt, ldb, k, false);
        else narrowRow(target, at, stepA, bt, ldb, cols, k);
        if (target == tile) finish(ct, ldc, tile + back, 0, 1, cols, 0, alpha, bj, activation, toY, accumulate);
      }
      if (!inPlace || cols < step || plain) continue;
      if (isGrad) graded(strip, ldc, rows, step, activation, toY);
      else clamped(strip, ldc, rows, step, bj, activation);
    }
  }
}

/** c[WIDE or NARROW] = a[k]·B[k, …], DEPTH products at a time; `more` is scratch for as many elements as c has. */
export function deepRow(c: usize, a: usize, stepA: usize, b: usize, ldb: usize, wide: bool, cols: usize, k: usize,
  more: usize): void
{
  for (let p: usize = 0; p < k; p += DEPTH) {
    const target = p ? more : c, depth = min(DEPTH, k - p);
    if (wide) rowWide(target, a + p * stepA, stepA, b + p * ldb, ldb, depth, false);
    else rowNarrow(target, a + p * stepA, stepA, b + p * ldb, ldb, cols, depth);
    if (p) addTile(c, more, wide ? WIDE : NARROW);
  }
}

/** Adds `count` elements of `more` to c; `count` is a multiple of 4. */
@inline
function addTile(c: usize, more: usize, count: usize): void {
  for (const end = c + (count << 2); c < end; c += 16, more += 16)
    v128.store(c, f32x4.add(v128.load(c), v128.load(more)));
}

/**
 * Computes C from dot products of rows of A, `lda` bytes apart, and of B, `ldb` bytes apart, which are not packed. The order
 * of a sum depends only on k. With `accumulate`, k must be at most 4·DEPTH.
 */
export function dots(c: usize, ldc: usize, a: usize, lda: usize, b: usize, ldb: usize, bias: usize, m: usize, n: usize,
  k: usize, alpha: f32, activation: u32, toY: usize, accumulate: u32, workspace: usize): void
{
  const plain = alpha == 1 && !bias && activation == Activation.None && !accumulate && k <= 4 * DEPTH;
  // The first row of A reads B from memory, which takes a single row less time than a pair. For the other rows, B is in the cache.
  const fromMemory = n * k >= LARGE / 2, end = b + n * ldb;
  // WIDE rows of B stay in the L2 cache until all rows of A have used them.
  for (let j: usize = 0; j < n; j += WIDE, b += WIDE * ldb) {
    const cols = min(WIDE, n - j), bj = bias ? bias + (j << 2) : 0, direct = plain && cols == WIDE;
    for (let p: usize = 0; p < k; p += 4 * DEPTH) {
      const depth = min(4 * DEPTH, k - p), done = p + depth == k, bp = b + (p << 2);
      for (let i: usize = 0, rows: usize = 0; i < m; i += rows) {
        rows = i == 0 && fromMemory ? 1 : min<usize>(2, m - i);
        const at = c + i * ldc + (j << 2), to = direct ? at : workspace;
        const ap = a + i * lda + (p << 2);
        if (rows == 2) pairDots(to, direct ? ldc : WIDE * 4, ap, lda, bp, ldb, cols, depth);
        else if (i == 0 && fromMemory && k <= NEAR) aheadDots(to, ap, bp, ldb, cols, depth, end, workspace + PANELS);
        else rowDots(to, ap, bp, ldb, cols, depth);
        if (!direct)
          finish(at, ldc, workspace, WIDE * 4, rows, cols, p > 0, done ? alpha : 1, done ? bj : 0,
            done ? activation : <u32>Activation.None, toY, accumulate);
      }
    }
  }
}

/**
 * Computes C, whose rows are `ldc` bytes apart, from blocks of A and panels of B. With more than one block of k, C
 * itself holds the partial sums; with `accumulate`, k must be at most one block (512).
 */
export function blocks(c: usize, ldc: usize, a: usize, lda: usize, transA: u32, b: usize, ldb: usize, transB: u32,
  bias: usize, m: usize, n: usize, k: usize, alpha: f32, activation: u32, toY: usize, accumulate: u32,
  workspace: usize): void
{
  const panels = workspace + PANELS;
  const simple = isClamped(alpha, activation), plain = simple && !bias && activation == Activation.None;
  // Split k into equal blocks whose length is a multiple of 4.
  const step = part(k, KC, 4);
  // If k is short, more columns fit in the L1 cache, and more rows in the L2 cache or the workspace.
  const packed: usize = ((step << 2) + 63 & ~63) | 64, most = KC / step, colStep = most * NC;
  const rowStep = part(m, transA ? MC * LDA / packed / 12 * 12 : most * MC, 12);
  // The number of columns that use a tile of A before the next tile is read. If these are more than one panel, 512×784 products of
  // depth 128 are 5 % slower, but products of depth 64 are 4 % faster.
  const group = most < 8 ? NR : most * NR, panelStep = step * 4;

  for (let ic: usize = 0; ic < m; ic += rowStep) {
    const mc = min(rowStep, m - ic);
    for (let pc: usize = 0; pc < k; pc += step) {
      const kc = min(step, k - pc);
      const partial = pc > 0;
      const last = pc + kc == k;
      let blockA = a + ic * lda + (pc << 2);
      let ldBlock = lda;
      if (transA) {
        blockA = workspace + BLOCK;
        ldBlock = packed;
        transpose(blockA, packed, a + pc * lda + (ic << 2), lda, kc, mc);
      }
      for (let jc: usize = 0; jc < n; jc += colStep) {
        const nc = min(colStep, n - jc);
        for (let jr: usize = 0; jr < nc; jr += NR) {
          const panel = panels + jr * panelStep;
          const cols = min(NR, nc - jr);
          if (transB) transpose(panel, NR * 4, b + (jc + jr) * ldb + (pc << 2), ldb, cols, kc);
          else copyPanel(panel, b + pc * ldb + ((jc + jr) << 2), ldb, cols, kc);
        }
        for (let jg: usize = 0; jg < nc; jg += group) {
          const right = min(nc, jg + group);
          let ct = c + ic * ldc + ((jc + jg) << 2), at = blockA;
          for (let ir: usize = 0, rows: usize = 0; ir < mc; ir += rows, at += rows * ldBlock, ct += rows * ldc) {
            const own = tileRows(mc - ir);
            let to = ct;
            for (let jr = jg, cols: usize = 0; jr < right; jr += cols, to += cols << 2) {
              const panel = panels + jr * panelStep;
              const bj = bias ? bias + ((jc + jr) << 2) : 0;
              rows = own;
              cols = min(NR, right - jr);
              if ((own == MR || own == 4) && cols == NR && (plain || !accumulate)) {
                const fused = last && simple;
                let tiles: usize = 1;
                if (group > NR) cols = (tiles = (right - jr) / NR) * NR;
                else if (own == MR) rows = (tiles = fullTiles(mc - ir)) * MR;
                micro(to, ldc, at, ldBlock, own, panel, kc, 1, 0, partial || accumulate, fused ? bj : 0,
                  fused ? activation : <u32>Activation.None, tiles, group > NR ? NR * 4 : MR * ldc,
                  group > NR ? NR * panelStep : 0);
                if (last && !simple) complete(to, ldc, rows, cols, alpha, bj, activation, toY);
                continue;
              }
              micro(workspace, NR * 4, at, ldBlock, rows, panel, kc, 1, 0, false, 0, Activation.None, 1, 0, 0);
              if (last) finish(to, ldc, workspace, NR * 4, rows, cols, partial, alpha, bj, activation, toY, accumulate);
              else finish(to, ldc, workspace, NR * 4, rows, cols, partial, 1, 0, Activation.None, 0, 0);
            }
          }
        }
      }
    }
  }
}

/**
 * The number of rows of the next tile if `rest` rows are left: 8 rows become two tiles of 4 instead of a tile of 6 and a
 * partial tile of 2.
 */
@inline
export function tileRows(rest: usize): usize {
  return rest < MR ? rest : rest == 8 ? 4 : MR;
}

/** The number of tiles of MR rows before a smaller tile, at most 16. */
@inline
export function fullTiles(rest: usize): usize { return min(16, (MR == 6 && rest % MR == 2 ? rest - 8 : rest) / MR); }

/**
 * Computes one tile of at most MR × NR elements: c = act(A·panel + bias) (+ C if load), where A's rows are segments of
 * an image (pack.ts: micro6). `scratch` holds NR·MR floats.
 */
export function tile(c: usize, ldc: usize, a: usize, lda: usize, rows: usize, cols: usize, panel: usize, kc: usize,
  segments: usize, jump: usize, bias: usize, activation: u32, load: bool, scratch: usize): void
{
  const simple = isClamped(1, activation);
  if ((rows == MR || rows == 4) && cols == NR) {
    micro(c, ldc, a, lda, rows, panel, kc, segments, jump, load, simple ? bias : 0,
      simple ? activation : <u32>Activation.None, 1, 0, 0);
    if (!simple) complete(c, ldc, rows, NR, 1, bias, activation, 0);
  } else {
    micro(scratch, NR * 4, a, lda, rows, panel, kc, segments, jump, false, 0, Activation.None, 1, 0, 0);
    finish(c, ldc, scratch, NR * 4, rows, cols, load, 1, bias, activation, 0, 0);
  }
}
