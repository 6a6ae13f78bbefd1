/**
 * Convolutions with 3 × 3 kernels and stride 1 by Winograd's method F(2×2, 3×3): 16 multiplications for a tile of 2 × 2
 * results instead of 36. With the matrices of Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2016), and
 * a tile's 4 × 4 inputs x,
 *
 *     y = Aᵀ[(G·w·Gᵀ) ⊙ (Bᵀ·x·B)]A        dw = Gᵀ[Σ (A·dy·Aᵀ) ⊙ (Bᵀ·x·B)]G
 *
 * Because y is a sum over channels, and dw a sum over tiles, each of the 16 elementwise products ⊙ becomes a matrix product. Each
 * transform is applied along one dimension of the tile and then along the other, to lines of adjacent channels.
 */
import { ceilingOf, clamp, finish, floorOf } from "./epilogue";
import { blocks, KC, tile } from "./gemm";
import { packPanel } from "./convDirect";
import { lines, offsetOf, Phase } from "./convPhase";
import { MR, NR } from "./pack";
import { Conv } from "../layerLayouts";
import { Activation, Op } from "../opcodes";
import { shareBegin, storeLanes } from "../simd";
import { finishPixels } from "./standardize";
import { word } from "../operands";

/** The number of rows and columns of a tile of results, and of a tile of inputs or products. */
const SIDE: u32 = 2;
const REACH: u32 = 4;
const PRODUCTS: u32 = REACH * REACH;

/**
 * A block consists of whole rows of tiles, and has at least one. It has as many as fit in LEAST tiles or, if that is more, as many as fit
 * in the L2 cache, with CACHED floats of inputs and products.
 */
const LEAST: u32 = 96;
const CACHED: u32 = 131072;
/** If a block's inputs have at most this many floats, they are read again for every panel of weights. */
const CACHED_INPUTS: u32 = 262144;

/** The number of floats of transformed weights, or of their gradients, that a share keeps at once. */
const KEPT: u32 = 1 << 21;
/** The largest number of products that are summed in sequence, to keep rounding errors small. */
const DEPTH: usize = 256;
/** The smallest number of channels, in x and in y, for which the products take longer than the transforms. */
const FEWEST: u32 = 8;
/** The largest number of elements in a block of inputs and products, each of which has PRODUCTS values in the workspace. */
const LARGEST: u64 = 1 << 20;

@inline
function tilesOf(size: u32): u32 { return (size + SIDE - 1) / SIDE; }

/** The size in bytes of a matrix, with room for whole vectors after it. */
@inline
function matrix(rows: u32, cols: u32): usize { return lines(<usize>(rows * cols + 4) << 2); }

/** The size in bytes of a line of pixels that `tilesW` tiles read. */
@inline
function lineBytes(tilesW: u32, channels: u32): usize { return matrix((tilesW + 1) * SIDE, channels); }

/** A band has REACH lines and, at this address, a line of zeros. */
@inline
function zerosOf(band: usize, tilesW: u32, channels: u32): usize { return band + REACH * lineBytes(tilesW, channels); }

@inline
function cachedTiles(channels: u32, outChannels: u32): u32 { return CACHED / (PRODUCTS * (channels + outChannels)); }

/** The number of rows of tiles per block. */
function blockRows(tilesW: u32, channels: u32, outChannels: u32): u32 {
  return max<u32>(1, max(LEAST, cachedTiles(channels, outChannels)) / tilesW);
}

/** The number of channels whose transformed weights are kept at once, a multiple of NR. A channel has `weights` weights per tap. */
function keptChannels(weights: u32, channels: u32): u32 {
  return min<u32>(channels, max<u32>(1, KEPT / (PRODUCTS * <u32>NR * weights)) * <u32>NR);
}

/** The size in bytes of a matrix of transformed weights, [weights, channels] or [channels, weights]. */
@inline
function keptMatrix(weights: u32, channels: u32): usize {
  return matrix(weights, keptChannels(weights, channels) + <u32>NR);
}

/** The number of scratch bytes that one share needs for this instruction's convolution, or for either of its gradients. */
export function winogradWorkspace(at: usize): usize {
  if (!usesWinograd(at, Op.Conv) && !usesWinograd(at, Op.ConvInput) && !usesWinograd(at, Op.ConvWeight)) return 0;
  const c = word(at, Conv.channels), m = word(at, Conv.outChannels), most = max(c, m);
  const tilesW = max(tilesOf(word(at, Conv.width)), tilesOf(word(at, Conv.outWidth)));
  const tiles = max(tilesW, max(LEAST, cachedTiles(c, m))), weights = max(keptMatrix(c, m), keptMatrix(m, c));
  // The workspace also holds a band of the image, and either a band of dy or a panel of 9 weights and its 12 half-transformed ones.
  const band = (REACH + 1) * lineBytes(tilesW, most), panel = 21 * matrix(most, <u32>NR);
  return PRODUCTS * (matrix(tiles, c) + matrix(tiles, m) + weights) + band + max(band, panel);
}

/**
 * Whether this method is faster than the direct one for op, whose image has `channels` channels and whose result has
 * `outChannels`. Compares the numbers of multiplications, plus terms for the transforms of inputs, results and weights. The factors
 * were fitted to the times of 80 geometries in both builds on x64.
 */
function pays(at: usize, op: Op, channels: u32, outChannels: u32, height: u32, width: u32): bool {
  const c = <f64>channels, m = <f64>(outChannels + 7 & ~7), batch = <f64>word(at, Conv.batch);
  const tiles = batch * <f64>tilesOf(height) * <f64>tilesOf(width), lines = <f64>(channels + 3 & ~3) + m;
  // The direct kernel computes 6 pixels of a row at a time, unless rows are very short (conv.ts).
  const direct = 9 * batch * <f64>height * <f64>(width > 2 ? (width + 5) / 6 * 6 : width) * c * m;
  const isWeight = op == Op.ConvWeight;
  return PRODUCTS * (tiles * (c * m + (isWeight ? 4 : 10) * lines) + (isWeight ? 20 : 8) * c * m) < 1.15 * direct;
}

/** Whether this method computes instruction `at`, whose geometry is that of the forward convolution. */
export function usesWinograd(at: usize, op: Op): bool {
  if (
    !word(at, Conv.winograd) || word(at, Conv.groups) != 1 || word(at, Conv.kernelHeight) != 3
    || word(at, Conv.kernelWidth) != 3 || word(at, Conv.strideH) != 1 || word(at, Conv.strideW) != 1
    || word(at, Conv.dilationH) != 1 || word(at, Conv.dilationW) != 1
  ) return false;
  const c = word(at, Conv.channels), m = word(at, Conv.outChannels);
  const tilesW = tilesOf(max(word(at, Conv.width), word(at, Conv.outWidth)));
  if (min(c, m) < FEWEST || <u64>max(tilesW, LEAST) * (<u64>c + m) > LARGEST) return false;
  return op == Op.ConvInput
    ? pays(at, op, m, c, word(at, Conv.height), word(at, Conv.width))
    : pays(at, op, c, m, word(at, Conv.outHeight), word(at, Conv.outWidth));
}

// Each of the following functions applies one matrix to `count` columns. p, p0 … p3 are the addresses of the input's rows; the output's
// rows are `step` bytes apart. They may write up to three extra columns, for which there is room, or which the next line overwrites.

/** Bᵀ: 4 rows to 4. */
function inputLine(p0: usize, p1: usize, p2: usize, p3: usize, to: usize, step: usize, count: u32): void {
  const end = to + (<usize>count << 2);
  const to1 = step, to2 = 2 * step, to3 = 3 * step;
  for (; to < end; to += 16, p0 += 16, p1 += 16, p2 += 16, p3 += 16) {
    const x0 = v128.load(p0), x1 = v128.load(p1), x2 = v128.load(p2), x3 = v128.load(p3);
    v128.store(to, f32x4.sub(x0, x2));
    v128.store(to + to1, f32x4.add(x1, x2));
    v128.store(to + to2, f32x4.sub(x2, x1));
    v128.store(to + to3, f32x4.sub(x1, x3));
  }
}

/** A: 2 rows to 4. */
function gradLine(p0: usize, p1: usize, to: usize, step: usize, count: u32): void {
  const end = to + (<usize>count << 2);
  const to1 = step, to2 = 2 * step, to3 = 3 * step;
  for (; to < end; to += 16, p0 += 16, p1 += 16) {
    const x0 = v128.load(p0), x1 = v128.load(p1);
    v128.store(to, x0);
    v128.store(to + to1, f32x4.add(x0, x1));
    v128.store(to + to2, f32x4.sub(x0, x1));
    v128.store(to + to3, f32x4.neg(x1));
  }
}

/** G: 3 rows, `jump` bytes apart, to 4. */
function weightLine(p: usize, jump: usize, to: usize, step: usize, count: u32): void {
  const end = to + (<usize>count << 2), half = f32x4.splat(0.5);
  const p1 = jump, p2 = 2 * jump, to1 = step, to2 = 2 * step, to3 = 3 * step;
  for (; to < end; to += 16, p += 16) {
    const w0 = v128.load(p), w1 = v128.load(p + p1), w2 = v128.load(p + p2);
    const even = f32x4.mul(half, f32x4.add(w0, w2)), odd = f32x4.mul(half, w1);
    v128.store(to, w0);
    v128.store(to + to1, f32x4.add(even, odd));
    v128.store(to + to2, f32x4.sub(even, odd));
    v128.store(to + to3, w2);
  }
}

/**
 * Transforms rows [2·i, 2·i + 4) of an image, where row 0 is the first row that a tap reads, possibly in the padding: 16 matrices at `to`,
 * `step` bytes apart, whose rows are the tiles' channels. `image` has the phase's size, and pixels outside it are 0.
 */
function inputTiles(phase: usize, image: usize, i: u32, tilesW: u32, to: usize, step: usize, band: usize): void {
  const c = word(phase, Phase.channels), width = word(phase, Phase.width), height = word(phase, Phase.height);
  const pixel = <usize>c << 2, row = width * pixel, line = lineBytes(tilesW, c), zeros = zerosOf(band, tilesW, c);
  const top = <i32>(i * SIDE) + offsetOf(word(phase, Phase.tapsH), 0), left = offsetOf(word(phase, Phase.tapsW), 0);
  // The band's pixels [low, high) are those inside the image.
  const pixels = <i32>((tilesW + 1) * SIDE), low = max<i32>(0, min<i32>(pixels, -left));
  const high = max<i32>(low, min<i32>(pixels, <i32>width - left));
  const from = image + <isize>(left + low) * pixel, at = band + low * pixel;
  inputLine(rowAt(from, zeros, row, height, top), rowAt(from, zeros, row, height, top + 1),
    rowAt(from, zeros, row, height, top + 2), rowAt(from, zeros, row, height, top + 3), at, line,
    <u32>(high - low) * c);
  for (let u: u32 = 0; u < REACH; u++, band += line, to += REACH * step) {
    memory.fill(band, 0, low * pixel);
    memory.fill(band + high * pixel, 0, (pixels - high) * pixel);
    let p = band, target = to;
    for (let t: u32 = 0; t < tilesW; t++, p += 2 * pixel, target += pixel) {
      inputLine(p, p + pixel, p + 2 * pixel, p + 3 * pixel, target, step, c);
    }
  }
}

/** The address of row h, or of the zeros if the image has no such row. */
@inline
function rowAt(from: usize, zeros: usize, row: usize, height: u32, h: i32): usize {
  return <u32>h < height ? from + <usize>h * row : zeros;
}

/** Transforms rows [2·i, 2·i + 2) of an image of dy, for the first `c` channels of its pixels, as `inputTiles` does. */
function gradTiles(phase: usize, image: usize, i: u32, c: u32, to: usize, step: usize, band: usize): void {
  const width = word(phase, Phase.gridWidth), height = word(phase, Phase.gridHeight), tilesW = tilesOf(width);
  const source = <usize>word(phase, Phase.outChannels) << 2, pixel = <usize>c << 2;
  const line = lineBytes(tilesW, c), zeros = zerosOf(band, tilesW, c);
  let p0 = image + i * SIDE * width * source, p1 = i * SIDE + 1 < height ? p0 + width * source : zeros, at = band;
  const skip: usize = p1 == zeros ? 0 : source;
  for (let j: u32 = 0; j < width; j++, p0 += source, p1 += skip, at += pixel) gradLine(p0, p1, at, line, c);
  for (let u: u32 = 0; u < REACH; u++, band += line, to += REACH * step) {
    memory.fill(band + width * pixel, 0, (tilesW * SIDE - width) * pixel);
    let p = band, target = to;
    for (let t: u32 = 0; t < tilesW; t++, p += 2 * pixel, target += pixel) {
      gradLine(p, p + pixel, target, step, c);
    }
  }
}

/** Writes the transformed weights for the output channels [first, last): 16 matrices of packed panels, `step` bytes apart. */
function weightPanels(at: usize, phase: usize, first: u32, last: u32, to: usize, step: usize, scratch: usize): void {
  const c = word(phase, Phase.channels), panel = <usize>c * NR * 4, rows = scratch + 9 * panel;
  for (let jr = first; jr < last; jr += <u32>NR, to += panel) {
    packPanel(at, phase, scratch, jr);
    for (let v: u32 = 0; v < 3; v++)
      weightLine(scratch + v * panel, 3 * panel, rows + v * panel, 3 * panel, c * <u32>NR);
    for (let u: u32 = 0; u < REACH; u++)
      weightLine(rows + u * 3 * panel, panel, to + u * REACH * step, step, c * <u32>NR);
  }
}

/**
 * Transforms the products of a row of tiles, 16 matrices at `from`, `step` bytes apart, to channels [first, first + m) of rows [2·i,
 * 2·i + 2) of an image of results. Overwrites the products.
 */
function resultTiles(at: usize, phase: usize, from: usize, step: usize, image: usize, i: u32, first: u32,
  m: u32): void
{
  const width = word(phase, Phase.gridWidth), tilesW = tilesOf(width);
  const bias = word(at, Conv.bias), activation = word(at, Conv.activation);
  const row = word(phase, Phase.outRow), pixel = word(phase, Phase.outPixel);
  const isSimple = activation <= <u32>Activation.Relu6, kind = isSimple ? activation : <u32>Activation.None;
  const floor = floorOf(kind), ceiling = ceilingOf(kind);
  const bottom = i * SIDE + 1 < word(phase, Phase.gridHeight);
  const out = image + i * SIDE * row + (<usize>first << 2), bias0 = bias + (<usize>first << 2);
  for (let u: u32 = 0; u < REACH; u++) {
    let p = from + u * REACH * step;
    const p1 = step, p2 = 2 * step, p3 = 3 * step;
    for (const end = p + ((<usize>tilesW * m) << 2); p < end; p += 16) {
      const x1 = v128.load(p + p1), x2 = v128.load(p + p2);
      v128.store(p, f32x4.add(v128.load(p), f32x4.add(x1, x2)));
      v128.store(p + p1, f32x4.sub(f32x4.sub(x1, x2), v128.load(p + p3)));
    }
  }
  const p1 = REACH * step, p2 = 2 * p1, p3 = 3 * p1;
  for (let v: u32 = 0; v < SIDE; v++, from += step) {
    let tile = from, to = out + v * pixel;
    for (let j = v; j < width; j += SIDE, tile += <usize>m << 2, to += SIDE * pixel) {
      for (let k: u32 = 0; k < m; k += 4) {
        const offset = <usize>k << 2, p = tile + offset, x1 = v128.load(p + p1), x2 = v128.load(p + p2);
        const b = bias ? v128.load(bias0 + offset) : f32x4.splat(0);
        let y = f32x4.add(f32x4.add(v128.load(p), f32x4.add(x1, x2)), b);
        storeLanes(to + offset, clamp(y, floor, ceiling), m - k);
        if (!bottom) continue;
        y = f32x4.add(f32x4.sub(f32x4.sub(x1, x2), v128.load(p + p3)), b);
        storeLanes(to + row + offset, clamp(y, floor, ceiling), m - k);
      }
    }
  }
  finishPixels(at, out, pixel, bottom ? 2 * width : width, first, m);
  if (isSimple) return;
  for (let u: u32 = 0; u <= <u32>bottom; u++)
    finish(out + u * row, pixel, out + u * row, pixel, width, m, 0, 1, 0, activation, 0, 0);
}

/** Computes this thread's share of a phase's results. */
export function winograd(at: usize, phase: usize, thread: u32, threads: u32): void {
  const tilesH = tilesOf(word(phase, Phase.gridHeight)), total = word(at, Conv.batch) * tilesH;
  const tilesW = tilesOf(word(phase, Phase.gridWidth)), all = word(phase, Phase.outChannels);
  const panels = (all + <u32>NR - 1) / <u32>NR;
  // If the threads share the rows of tiles, each of them transforms all weights; if they share the channels, each of them transforms all
  // tiles. Repeat the transform that costs less, unless there are too few rows or panels for all threads.
  const byRows = total * tilesW >= all
    ? total >= 2 * threads || total >= panels
    : panels < 2 * threads && panels < total;
  if (byRows) {
    tileRows(at, phase, shareBegin(total, 1, thread, threads), shareBegin(total, 1, thread + 1, threads), 0, all);
  } else {
    tileRows(at, phase, 0, total, shareBegin(all, <u32>NR, thread, threads),
      shareBegin(all, <u32>NR, thread + 1, threads));
  }
}

/** Computes the output channels [first, last) of the rows of tiles [begin, end). */
function tileRows(at: usize, phase: usize, begin: u32, end: u32, first: u32, last: u32): void {
  if (begin >= end || first >= last) return;
  const c = word(phase, Phase.channels), all = word(phase, Phase.outChannels), m = last - first;
  const tilesH = tilesOf(word(phase, Phase.gridHeight)), tilesW = tilesOf(word(phase, Phase.gridWidth));
  const rows = blockRows(tilesW, c, all);
  const stepX = matrix(rows * tilesW, c), stepY = matrix(rows * tilesW, m), stepW = keptMatrix(c, all);
  const x = word(phase, Phase.patches), y = x + PRODUCTS * stepX, w = y + PRODUCTS * stepY, band = w + PRODUCTS * stepW;
  const image = word(phase, Phase.height) * word(phase, Phase.width) * (<usize>c << 2);
  const packed = zerosOf(band, tilesW, c) + lineBytes(tilesW, c);
  memory.fill(zerosOf(band, tilesW, c), 0, lineBytes(tilesW, c));
  // If one block has all tiles and its inputs stay in the L2 cache, use a panel of weights right after its transform, so that the
  // transformed weights, which take more memory than the original ones, stay in the cache.
  const isOne = end - begin <= rows && PRODUCTS * (end - begin) * tilesW * c <= CACHED_INPUTS;
  const kept = keptChannels(c, all), group = isOne ? <u32>NR : kept;
  for (let r = begin; r < end; r += rows) {
    const count = min<u32>(rows, end - r);
    for (let q: u32 = 0; q < count; q++) {
      const n = (r + q) / tilesH, i = (r + q) % tilesH;
      inputTiles(phase, word(at, Conv.a) + n * image, i, tilesW, x + ((<usize>q * tilesW * c) << 2), stepX, band);
    }
    for (let j: u32 = 0; j < m; j += group) {
      const cols = min(group, m - j);
      if (r == begin || kept < m) weightPanels(at, phase, first + j, first + j + cols, w, stepW, packed);
      for (let u: usize = 0; u < PRODUCTS; u++) {
        multiply(y + u * stepY + (<usize>j << 2), m, x + u * stepX, w + u * stepW, count * tilesW, cols, c,
          word(phase, Phase.workspace));
      }
    }
    // Start with the last row, because the transform of a row overwrites up to three products of the next row.
    for (let q = count; q-- > 0;) {
      const n = (r + q) / tilesH, i = (r + q) % tilesH;
      resultTiles(at, phase, y + ((<usize>q * tilesW * m) << 2), stepY,
        word(at, Conv.out) + n * word(phase, Phase.outImage), i, first, m);
    }
  }
}

/** C[m, n] = A[m, k]·B[k, n], where B is packed in panels and a row of C has `all` elements. */
function multiply(c: usize, all: usize, a: usize, panel: usize, m: u32, n: u32, k: usize, scratch: usize): void {
  for (let jr: u32 = 0; jr < n; jr += <u32>NR, panel += <usize>k * NR * 4) {
    const cols = min<u32>(<u32>NR, n - jr);
    for (let p: usize = 0; p < k; p += DEPTH) {
      const from = a + (p << 2), weights = panel + p * NR * 4, depth = min<usize>(DEPTH, k - p);
      for (let i: u32 = 0; i < m; i += <u32>MR) {
        tile(c + ((<usize>i * all + jr) << 2), all << 2, from + ((<usize>i * k) << 2), k << 2, min<u32>(<u32>MR, m - i),
          cols, weights, depth, 1, 0, 0, Activation.None, p > 0, scratch);
      }
    }
  }
}

/** Computes dw for the output channels [first, last). */
export function winogradWeight(at: usize, phase: usize, first: u32, last: u32): void {
  const kept = keptChannels(word(phase, Phase.channels), word(phase, Phase.outChannels));
  for (let o = first; o < last; o += kept) tileSums(at, phase, o, min(o + kept, last));
}

/** Computes dw for the output channels [first, last), as a sum over blocks of tiles. */
function tileSums(at: usize, phase: usize, first: u32, last: u32): void {
  const c = word(phase, Phase.channels), all = word(phase, Phase.outChannels), m = last - first;
  const gridH = word(phase, Phase.gridHeight), gridW = word(phase, Phase.gridWidth);
  const tilesH = tilesOf(gridH), tilesW = tilesOf(gridW), total = word(at, Conv.batch) * tilesH;
  const rows = blockRows(tilesW, c, all);
  const stepX = matrix(rows * tilesW, c), stepY = matrix(rows * tilesW, m), stepW = keptMatrix(c, all);
  const x = word(phase, Phase.patches), y = x + PRODUCTS * stepX, w = y + PRODUCTS * stepY, band = w + PRODUCTS * stepW;
  const bandY = zerosOf(band, tilesW, c) + lineBytes(tilesW, c);
  const pixel = <usize>c << 2, pixelY = <usize>m << 2;
  const image = word(phase, Phase.height) * word(phase, Phase.width) * pixel,
    imageY = gridH * gridW * (<usize>all << 2);
  memory.fill(zerosOf(band, tilesW, c), 0, lineBytes(tilesW, c));
  memory.fill(zerosOf(bandY, tilesW, m), 0, lineBytes(tilesW, m));
  for (let r: u32 = 0; r < total; r += rows) {
    const count = min<u32>(rows, total - r);
    for (let q: u32 = 0; q < count; q++) {
      const n = (r + q) / tilesH, i = (r + q) % tilesH;
      const dy = word(at, Conv.b) + (<usize>first << 2) + n * imageY;
      inputTiles(phase, word(at, Conv.a) + n * image, i, tilesW, x + q * tilesW * pixel, stepX, band);
      gradTiles(phase, dy, i, m, y + q * tilesW * pixelY, stepY, bandY);
    }
    const k = count * tilesW;
    for (let u: usize = 0; u < PRODUCTS; u++) {
      for (let p: u32 = 0; p < k; p += <u32>KC) {
        blocks(w + u * stepW, pixel, y + u * stepY + p * pixelY, pixelY, 1, x + u * stepX + p * pixel, pixel, 0, 0, m,
          c, min(<u32>KC, k - p), 1, 0, 0, r + p > 0 ? 1 : 0, word(phase, Phase.workspace));
      }
    }
  }
  weightGrads(w, stepW, word(at, Conv.out) + <usize>first * 9 * pixel, m, c);
}

/** Computes rows of 9 taps, Gᵀ[…]G, from m·c sums in 16 matrices at `from`, `step` bytes apart. Overwrites the sums. */
function weightGrads(from: usize, step: usize, to: usize, m: u32, c: u32): void {
  const half = f32x4.splat(0.5), down = REACH * step;
  for (let v: u32 = 0; v < REACH; v++) {
    let p = from + v * step;
    for (const end = p + ((<usize>m * c) << 2); p < end; p += 16) {
      const x1 = v128.load(p + down), x2 = v128.load(p + 2 * down), sum = f32x4.mul(half, f32x4.add(x1, x2));
      v128.store(p, f32x4.add(v128.load(p), sum));
      v128.store(p + down, f32x4.mul(half, f32x4.sub(x1, x2)));
      v128.store(p + 2 * down, f32x4.add(sum, v128.load(p + 3 * down)));
    }
  }
  const tap = <usize>c << 2;
  for (let o: u32 = 0; o < m; o++) {
    for (let u: u32 = 0; u < 3; u++, to += 3 * tap) {
      let p = from + u * down + o * tap;
      for (let k: u32 = 0; k < c; k += 4, p += 16) {
        const x1 = v128.load(p + step), x2 = v128.load(p + 2 * step), sum = f32x4.mul(half, f32x4.add(x1, x2));
        const at = to + (<usize>k << 2);
        storeLanes(at, f32x4.add(v128.load(p), sum), c - k);
        storeLanes(at + tap, f32x4.mul(half, f32x4.sub(x1, x2)), c - k);
        storeLanes(at + 2 * tap, f32x4.add(sum, v128.load(p + 3 * step)), c - k);
      }
    }
  }
}
