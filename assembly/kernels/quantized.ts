/**
 * Products of quantized matrices. Activations become whole numbers from 0 to 127, or from 0 to 16383 in two planes of 7 bits each.
 * Weights are bytes from 1 to 255 that stand for −127 to 127. Products are summed in int32, so results do not depend on the build or
 * on how threads share the work.
 */
import { QuantizedMatmul, QuantizeRows } from "../layerLayouts";
import { QuantizedRow } from "../opcodes";
import { word } from "../operands";
import { laneMask, shareBegin, storeLanes } from "../simd";

/** The largest number of columns in a block, and the size in bytes that its packed weights should not exceed: half of the L1 cache. */
const COLS: usize = 64;
const PANEL: usize = 24576;

// The workspace: [products of two rows | sums of the packed weights | packed weights].
const WEIGHT_SUMS: usize = 2 * COLS * 4;
const WEIGHTS: usize = WEIGHT_SUMS + COLS * 4;

/** The number of bytes in a quantized row of k numbers. */
@inline
function padded(k: usize): usize { return (k + QuantizedRow.grain - 1) & ~(QuantizedRow.grain - 1); }

/** The number of columns whose weights are packed at once. */
@inline
function panelCols(row: usize): usize { return max<usize>(4, min(COLS, PANEL / max(row, 1) & ~3)); }

/** The number of scratch bytes that one thread needs, a multiple of 64. */
export function quantizedWorkspace(k: u32): u32 {
  const row = padded(k);
  return <u32>(WEIGHTS + panelCols(row) * row);
}

/**
 * Quantizes rows [begin, end) of x: [m, k]: q = round(x / scale) + zero, from 0 to 127, or to 16383 with two planes. The first plane
 * of q: [m, planes, padded k] holds the high 7 bits, and the second plane the low 7 bits. Each row of a plane is padded with zeros.
 * stats: [m, 2] holds the scale and zero of each row. The range of q covers all numbers of the row, and 0. If a row contains NaN or ±∞,
 * its scale is NaN.
 */
export function quantizeRows(q: usize, stats: usize, x: usize, k: usize, planes: usize, begin: usize,
  end: usize): void
{
  const row = padded(k), bytes = row * planes;
  const levels: f32 = planes == 2 ? 16383 : 127;
  for (let i = begin; i < end; i++) {
    const from = x + i * (k << 2), to = q + i * bytes;
    let low = f32x4.splat(0), high = low, flaw = low;
    for (let j: usize = 0; j < k; j += 4) {
      let v = v128.load(from + (j << 2));
      if (k - j < 4) v = v128.and(v, laneMask(<u32>(k - j)));
      low = f32x4.pmin(low, v);
      high = f32x4.pmax(high, v);
      flaw = v128.or(flaw, f32x4.sub(v, v));
    }
    flaw = v128.or(flaw, i64x2.shuffle(flaw, flaw, 1, 0));
    const bottom = min(min(f32x4.extract_lane(low, 0), f32x4.extract_lane(low, 1)),
      min(f32x4.extract_lane(low, 2), f32x4.extract_lane(low, 3)));
    const top = max(max(f32x4.extract_lane(high, 0), f32x4.extract_lane(high, 1)),
      max(f32x4.extract_lane(high, 2), f32x4.extract_lane(high, 3)));
    // If the range is so small that 1 / scale overflows, treat the range as 0.
    let scale = top / levels - bottom / levels, inverse: f32 = 1 / scale;
    if (!(inverse < Infinity)) scale = inverse = 0;
    const zero = min(nearest(-bottom * inverse), levels);
    store<f32>(stats + (i << 3), scale + f32x4.extract_lane(flaw, 0) + f32x4.extract_lane(flaw, 1));
    store<f32>(stats + (i << 3), zero, 4);
    // Adding 2²³ to a number below 2²² rounds it to a whole number, which the low bits of the sum hold.
    const factor = f32x4.splat(inverse), least = f32x4.splat(-zero), most = f32x4.splat(levels - zero);
    const shift = f32x4.splat(8388608 + zero), base = f32x4.splat(8388608);
    for (let j: usize = 0; j < k; j += 4) {
      const v = f32x4.pmin(most, f32x4.pmax(least, f32x4.mul(v128.load(from + (j << 2)), factor)));
      let whole = v128.xor(f32x4.add(v, shift), base);
      if (k - j < 4) whole = v128.and(whole, laneMask(<u32>(k - j)));
      if (planes == 2) {
        storeBytes4(to + row + j, v128.and(whole, i32x4.splat(127)));
        whole = i32x4.shr_u(whole, 7);
      }
      storeBytes4(to + j, whole);
    }
    const rest = (k + 3) & ~3;
    memory.fill(to + rest, 0, row - rest);
    if (planes == 2) memory.fill(to + row + rest, 0, row - rest);
  }
}

/** Stores four numbers from 0 to 127 as bytes. */
@inline
function storeBytes4(to: usize, v: v128): void {
  const halves = i16x8.narrow_i32x4_s(v, v);
  v128.store_lane<u32>(to, i8x16.narrow_i16x8_s(halves, halves), 0);
}

/**
 * Copies `cols` rows of k weights, and removes one bit: stores w / 2, from −64 to 64, with halves rounded to even. The sum of four
 * products with such weights fits into 16 bits. Also stores the sum of each copied row. The destination has room for a multiple of 4
 * rows; the rows after the last copied one keep arbitrary values.
 */
export function packWeights(to: usize, sums: usize, w: usize, k: usize, cols: usize): void {
  const row = padded(k), middle = i8x16.splat(-128), two = i8x16.splat(2);
  for (const end = w + cols * k; w < end; w += k, to += row, sums += 4) {
    let total = i32x4.splat(0);
    for (let p: usize = 0; p < row; p += 16) {
      let v = i32x4.splat(0);
      if (p < k) {
        v = v128.load(w + p);
        // v = w + 128. avgr_u computes (v + 128) / 2, which rounds halves down, or (v + 129) / 2, which rounds them up.
        const up = i8x16.eq(v128.and(v, two), two);
        v = v128.xor(i8x16.avgr_u(v, i8x16.sub(i8x16.splat(127), up)), middle);
        if (k - p < 16)
          v = v128.and(v,
            i8x16.lt_s(i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), i8x16.splat(<i8>(k - p))));
      }
      v128.store(to + p, v);
      total = i32x4.add(total, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(v)));
    }
    total = i32x4.add(total, i64x2.shuffle(total, total, 1, 0));
    store<i32>(sums, i32x4.extract_lane(total, 0) + i32x4.extract_lane(total, 1));
  }
}

/** A vector of four sums: the sum of the lanes of each argument. */
@inline
function laneSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return i32x4.add(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
}

/** sum + Σ x·w, for 32 weights of 7 bits, spread over four lanes. */
@inline
function addDots(sum: v128, w: v128, wNext: v128, x: v128, xNext: v128): v128 {
  return i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(
    i16x8.add(i16x8.relaxed_dot_i8x16_i7x16_s(w, x), i16x8.relaxed_dot_i8x16_i7x16_s(wNext, xNext)),
  ));
}

/** sum + Σ x·w, for 16 weights of 8 bits, spread over four lanes. */
@inline
function addDot(sum: v128, w: v128, x: v128, ones: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(w, x), ones));
}

/** Stores the dot products of two rows of x with four rows of packed weights. The length of a row, k, is a multiple of 32. */
export function packedDots(to: usize, other: usize, x: usize, xNext: usize, w: usize, k: usize): void {
  let w1 = w + k, w2 = w1 + k, w3 = w2 + k;
  let c0 = i32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, d0 = c0, d1 = c0, d2 = c0, d3 = c0;
  if (ASC_FEATURE_RELAXED_SIMD) {
    for (const end = x + k; x < end; x += 32, xNext += 32, w += 32, w1 += 32, w2 += 32, w3 += 32) {
      const a = v128.load(x), a1 = v128.load(x, 16), b = v128.load(xNext), b1 = v128.load(xNext, 16);
      let v = v128.load(w), u = v128.load(w, 16);
      c0 = addDots(c0, v, u, a, a1);
      d0 = addDots(d0, v, u, b, b1);
      v = v128.load(w1);
      u = v128.load(w1, 16);
      c1 = addDots(c1, v, u, a, a1);
      d1 = addDots(d1, v, u, b, b1);
      v = v128.load(w2);
      u = v128.load(w2, 16);
      c2 = addDots(c2, v, u, a, a1);
      d2 = addDots(d2, v, u, b, b1);
      v = v128.load(w3);
      u = v128.load(w3, 16);
      c3 = addDots(c3, v, u, a, a1);
      d3 = addDots(d3, v, u, b, b1);
    }
  } else {
    for (const end = x + k; x < end; x += 8, xNext += 8, w += 8, w1 += 8, w2 += 8, w3 += 8) {
      const a = v128.load_ext<i8>(x), b = v128.load_ext<i8>(xNext);
      let v = v128.load_ext<i8>(w);
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(v, a));
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v, b));
      v = v128.load_ext<i8>(w1);
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(v, a));
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v, b));
      v = v128.load_ext<i8>(w2);
      c2 = i32x4.add(c2, i32x4.dot_i16x8_s(v, a));
      d2 = i32x4.add(d2, i32x4.dot_i16x8_s(v, b));
      v = v128.load_ext<i8>(w3);
      c3 = i32x4.add(c3, i32x4.dot_i16x8_s(v, a));
      d3 = i32x4.add(d3, i32x4.dot_i16x8_s(v, b));
    }
  }
  v128.store(to, laneSums(c0, c1, c2, c3));
  v128.store(other, laneSums(d0, d1, d2, d3));
}

/** Like packedDots, but for weights that are not packed. If w has fewer than four rows, uses the last row in place of the missing ones. */
export function plainDots(to: usize, other: usize, x: usize, xNext: usize, w: usize, k: usize, rows: usize): void {
  const last = w + (rows - 1) * k;
  let w1 = min(w + k, last), w2 = min(w1 + k, last), w3 = min(w2 + k, last);
  let c0 = i32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, d0 = c0, d1 = c0, d2 = c0, d3 = c0;
  if (ASC_FEATURE_RELAXED_SIMD) {
    const middle = i8x16.splat(-128), ones = i16x8.splat(1);
    for (const end = x + k; x < end; x += 16, xNext += 16, w += 16, w1 += 16, w2 += 16, w3 += 16) {
      const a = v128.load(x), b = v128.load(xNext);
      let v = v128.xor(v128.load(w), middle);
      c0 = addDot(c0, v, a, ones);
      d0 = addDot(d0, v, b, ones);
      v = v128.xor(v128.load(w1), middle);
      c1 = addDot(c1, v, a, ones);
      d1 = addDot(d1, v, b, ones);
      v = v128.xor(v128.load(w2), middle);
      c2 = addDot(c2, v, a, ones);
      d2 = addDot(d2, v, b, ones);
      v = v128.xor(v128.load(w3), middle);
      c3 = addDot(c3, v, a, ones);
      d3 = addDot(d3, v, b, ones);
    }
  } else {
    const middle = i16x8.splat(128);
    for (const end = x + k; x < end; x += 8, xNext += 8, w += 8, w1 += 8, w2 += 8, w3 += 8) {
      const a = v128.load_ext<i8>(x), b = v128.load_ext<i8>(xNext);
      let v = i16x8.sub(v128.load_ext<u8>(w), middle);
      c0 = i32x4.add(c0, i32x4.dot_i16x8_s(v, a));
      d0 = i32x4.add(d0, i32x4.dot_i16x8_s(v, b));
      v = i16x8.sub(v128.load_ext<u8>(w1), middle);
      c1 = i32x4.add(c1, i32x4.dot_i16x8_s(v, a));
      d1 = i32x4.add(d1, i32x4.dot_i16x8_s(v, b));
      v = i16x8.sub(v128.load_ext<u8>(w2), middle);
      c2 = i32x4.add(c2, i32x4.dot_i16x8_s(v, a));
      d2 = i32x4.add(d2, i32x4.dot_i16x8_s(v, b));
      v = i16x8.sub(v128.load_ext<u8>(w3), middle);
      c3 = i32x4.add(c3, i32x4.dot_i16x8_s(v, a));
      d3 = i32x4.add(d3, i32x4.dot_i16x8_s(v, b));
    }
  }
  v128.store(to, laneSums(c0, c1, c2, c3));
  v128.store(other, laneSums(d0, d1, d2, d3));
}

/**
 * Computes a range of rows and columns of out: [m, n], where out[i, j] = scaleᵢ·scaleⱼ·Σ (q − zeroᵢ)·w + biasⱼ. scaleᵢ and zeroᵢ are
 * in `stats`. `scale` holds scaleⱼ, and `sums` the sum of the weights of column j. With one plane, the weights are packed and rounded to 7
 * bits; with two planes, they are not packed and keep 8 bits.
 */
export function quantizedProduct(out: usize, q: usize, stats: usize, w: usize, scale: usize, sums: usize, bias: usize,
  n: usize, k: usize, planes: usize, workspace: usize, rowBegin: usize, rowEnd: usize, colBegin: usize,
  colEnd: usize): void
{
  const row = padded(k), second = workspace + COLS * 4, packed = workspace + WEIGHT_SUMS, panel = workspace + WEIGHTS;
  const step = planes == 2 ? COLS : panelCols(row);
  for (let j = colBegin; j < colEnd; j += step) {
    const cols = min(step, colEnd - j), wj = w + j * k;
    if (planes == 1) packWeights(panel, packed, wj, k, cols);
    const scaleJ = scale + (j << 2), biasJ = bias ? bias + (j << 2) : 0;
    for (let i = rowBegin; i < rowEnd; i += 2) {
      const c = out + (i * n + j << 2), stat = stats + (i << 3);
      const more = i + 1 < rowEnd;
      if (planes == 1) {
        const x = q + i * row;
        for (let t: usize = 0; t < cols; t += 4)
          packedDots(workspace + (t << 2), second + (t << 2), x, more ? x + row : x, panel + t * row, row);
        finishPlane(c, workspace, packed, stat, scaleJ, biasJ, cols);
        if (more) finishPlane(c + (n << 2), second, packed, stat + 8, scaleJ, biasJ, cols);
      } else {
        const sumsJ = sums + (j << 2);
        finishPlanes(c, workspace, q + 2 * i * row, wj, sumsJ, stat, scaleJ, biasJ, cols, k, row);
        if (more)
          finishPlanes(c + (n << 2), workspace, q + 2 * (i + 1) * row, wj, sumsJ, stat + 8, scaleJ, biasJ, cols, k,
            row);
      }
    }
  }
}

/** c[cols] = (products − zero·sums)·2·scale + bias. The factor of 2 is needed because packed weights are halved. */
export function finishPlane(c: usize, products: usize, sums: usize, stat: usize, scale: usize, bias: usize,
  cols: usize): void
{
  const factor = f32x4.splat(2 * load<f32>(stat)), zero = i32x4.splat(<i32>load<f32>(stat, 4));
  for (let t: usize = 0; t < cols << 2; t += 16)
    put(c + t, f32x4.convert_i32x4_s(without(products + t, zero, sums + t)), factor, scale + t, bias ? bias + t : 0,
      cols - (t >> 2));
}

/** Computes the products of one row of x, which has two planes, and then c[cols] = (products − zero·sums)·scale + bias. */
export function finishPlanes(c: usize, products: usize, x: usize, w: usize, sums: usize, stat: usize, scale: usize,
  bias: usize, cols: usize, k: usize, row: usize): void
{
  const lower = products + COLS * 4;
  for (let t: usize = 0; t < cols; t += 4)
    plainDots(products + (t << 2), lower + (t << 2), x, x + row, w + t * k, k, cols - t);
  const factor = f32x4.splat(load<f32>(stat)), whole = <i32>load<f32>(stat, 4);
  const high = i32x4.splat(whole >> 7), low = i32x4.splat(whole & 127);
  for (let t: usize = 0; t < cols << 2; t += 16)
    put(c + t,
      f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(without(products + t, high, sums + t)), f32x4.splat(128)),
        f32x4.convert_i32x4_s(without(lower + t, low, sums + t))), factor, scale + t, bias ? bias + t : 0,
      cols - (t >> 2));
}

/** Four products without the contribution of the zero point: products − zero·sums. */
@inline
function without(products: usize, zero: v128, sums: usize): v128 {
  return i32x4.sub(v128.load(products), i32x4.mul(zero, v128.load(sums)));
}

@inline
function put(c: usize, v: v128, factor: v128, scale: usize, bias: usize, count: usize): void {
  v = f32x4.mul(v, f32x4.mul(factor, v128.load(scale)));
  if (bias) v = f32x4.add(v, v128.load(bias));
  storeLanes(c, v, <u32>count);
}

/** Runs a share of QuantizeRows. */
export function stepQuantizeRows(at: usize, thread: u32, threads: u32): void {
  const m = word(at, QuantizeRows.m);
  quantizeRows(word(at, QuantizeRows.out), word(at, QuantizeRows.stats), word(at, QuantizeRows.x),
    word(at, QuantizeRows.k), word(at, QuantizeRows.planes), shareBegin(m, 8, thread, threads),
    shareBegin(m, 8, thread + 1, threads));
}

/** Runs a share of QuantizedMatmul: some of the columns or, if there are too few columns for all threads, some of the rows. */
export function stepQuantizedMatmul(at: usize, thread: u32, threads: u32): void {
  const m = word(at, QuantizedMatmul.m), n = word(at, QuantizedMatmul.n), k = word(at, QuantizedMatmul.k);
  const byColumn = n >= 32 * threads, size = byColumn ? n : m;
  const begin = shareBegin(size, 16, thread, threads), end = shareBegin(size, 16, thread + 1, threads);
  quantizedProduct(word(at, QuantizedMatmul.out), word(at, QuantizedMatmul.q), word(at, QuantizedMatmul.stats),
    word(at, QuantizedMatmul.w), word(at, QuantizedMatmul.scale), word(at, QuantizedMatmul.sums),
    word(at, QuantizedMatmul.bias), n, k, word(at, QuantizedMatmul.planes),
    word(at, QuantizedMatmul.workspace) + thread * quantizedWorkspace(k), byColumn ? 0 : begin, byColumn ? m : end,
    byColumn ? begin : 0, byColumn ? end : n);
}
