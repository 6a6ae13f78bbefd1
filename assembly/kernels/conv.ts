/**
 * Convolutions of images [batch, height, width, channels] with weights [outChannels, kernelHeight, kernelWidth, channels of a
 * group], as products of gemm: C = patches·Wᵀ, dX = patches of dY·W, dW = dYᵀ·patches. Patches are gathered while A (or B) is
 * packed, a block of pixels at a time, or read directly from the image (convDirect.ts), so the full matrix of patches never
 * exists. In all three, a tap of the kernel reads pixel `row·step + offset`. In dX, which undoes the stride, pixels of the
 * same phase have the same taps and are computed together.
 */
import { blocks, gemmWorkspace, KC } from "./gemm";
import { bandFloats, direct, directWeight, paddedSize, panelsOf } from "./convDirect";
import { depthwise, depthwiseWeight } from "./depthwise";
import { fill } from "./shape";
import { Conv } from "../layerLayouts";
import { Op } from "../opcodes";
import { shareBegin } from "../simd";
import { word } from "../operands";

/** Floats of patches gathered at once. Together with a panel of B they fit in the L2 cache. */
const GATHERED: u32 = 98304;
/** The most and the fewest pixels per block: one block of gemm, and a few tiles. Both are multiples of every tile's rows. */
const MOST: u32 = 192;
const LEAST: u32 = 24;
/** Padding after a row of patches, because `copy` writes up to three floats past the end. */
const SPARE: u32 = 4;

/** The number of pixels in a block whose patches have `k` floats. */
function blockRows(k: u32): u32 {
  const rows = GATHERED / (k + 1) / LEAST * LEAST;
  return rows > MOST ? MOST : rows < LEAST ? LEAST : rows;
}

// The workspace: [gemm's | offsets of taps | rearranged weights | a block of patches | a block of results].
@inline
function gemmBytes(): usize { return gemmWorkspace(1, 1, 1 << 20, 1, 1); }

@inline
function lines(bytes: usize): usize { return (bytes + 63) & ~63; }

/** Bytes of the rearranged weights, with room for whole vectors and panels. */
@inline
function weightBytes(kernelHeight: u32, kernelWidth: u32, channels: u32, outChannels: u32, groups: u32): usize {
  return lines((kernelHeight * kernelWidth * ((channels + 8) / groups + 1) * (outChannels + 8) + 64) << 2);
}

/** Bytes of scratch that one thread needs, for the convolution of this geometry and for its gradients. */
export function convWorkspace(height: i32, width: i32, channels: u32, outHeight: i32, outWidth: i32, outChannels: u32,
  kernelHeight: i32, kernelWidth: i32, strideH: i32, strideW: i32, padTop: i32, padLeft: i32, dilationH: i32,
  dilationW: i32, groups: u32): u32
{
  const taps: u32 = kernelHeight * kernelWidth;
  const most = (channels > outChannels ? channels : outChannels) / groups;
  const k = taps * most;
  // A block of patches has at most GATHERED floats or LEAST rows, for any part of k.
  const floats = GATHERED + MOST * 2 * SPARE, fewest = LEAST * (k + 2 * SPARE);
  const gathered = lines((floats > fewest ? floats : fewest) << 2) + lines((MOST * (most + SPARE)) << 2);
  // Bands of the image and, in the backward pass, of dY.
  const reachH = (kernelHeight - 1) * dilationH, reachW = (kernelWidth - 1) * dilationW;
  const wide = paddedSize(width, -padLeft, reachW - padLeft, strideW, outWidth);
  const wideBack = paddedSize(outWidth, (padLeft - reachW) / strideW - 1, (strideW + padLeft) / strideW, 1,
    (width + strideW - 1) / strideW);
  const band = bandFloats(reachH + 1, wide, channels), bandBack = bandFloats(reachH + 1, wideBack, outChannels);
  const bands = groups == 1 ? lines((band > bandBack ? band : bandBack) << 2) : 0;
  return <u32>(gemmBytes() + lines((kernelHeight + kernelWidth) << 3)
    + weightBytes(kernelHeight, kernelWidth, channels, outChannels, groups) + (gathered > bands ? gathered : bands));
}

/** Lists the taps along one dimension that read a pixel, as pairs [position in the kernel, offset], by ascending offset. */
@inline
function tapsForward(list: usize, kernel: u32, dilation: u32, pad: i32): u32 {
  for (let q: u32 = 0; q < kernel; q++) {
    store<u32>(list + (q << 3), q);
    store<i32>(list + (q << 3), <i32>(q * dilation) - pad, 4);
  }
  return kernel;
}

/** The same for dX: input pixel h is read by output pixel (h + pad − q·dilation)/stride, if that is an integer. */
@inline
function tapsBackward(list: usize, kernel: u32, dilation: u32, pad: i32, stride: u32, phase: u32): u32 {
  let count: u32 = 0;
  for (let q: i32 = <i32>kernel - 1; q >= 0; q--) {
    const from = <i32>phase + pad - q * <i32>dilation;
    if (from % <i32>stride) continue;
    store<u32>(list + (count << 3), q);
    store<i32>(list + (count << 3), from / <i32>stride, 4);
    count++;
  }
  return count;
}

/** Whether neighbouring taps read neighbouring pixels. */
@inline
function sideBySide(taps: usize, count: u32): bool {
  return count < 2 || load<i32>(taps, 12) == load<i32>(taps, 4) + 1;
}

/** Copies n floats; writes up to three more. */
@inline
function copy(to: usize, from: usize, n: u32): usize {
  let i: u32 = 0;
  for (; i < n; i += 4) v128.store(to + (<usize>i << 2), v128.load(from + (<usize>i << 2)));
  return to + (<usize>n << 2);
}

@inline
function clear(to: usize, n: u32): usize {
  for (let i: u32 = 0; i < n; i += 4) v128.store(to + (<usize>i << 2), f32x4.splat(0));
  return to + (<usize>n << 2);
}

/**
 * Gathers the patches of pixels [begin, end) of a grid [batch, gridHeight, gridWidth]: a row of countH·countW·channels floats
 * each, `ld` bytes apart, from an image [height, width] whose pixels are `pixel` bytes apart. Patches are 0 outside the image.
 */
export function gather(to: usize, ld: usize, from: usize, height: u32, width: u32, channels: u32, pixel: usize,
  gridHeight: u32, gridWidth: u32, stepH: u32, stepW: u32, tapsH: usize, countH: u32, tapsW: usize, countW: u32,
  begin: u32, end: u32): void
{
  const first = load<i32>(tapsW, 4);
  const joined = pixel == <usize>channels << 2 && sideBySide(tapsW, countW);
  const rowBytes = <usize>width * pixel;
  let j = begin % gridWidth;
  let i = begin / gridWidth % gridHeight;
  let image = from + <usize>(begin / gridWidth / gridHeight) * height * rowBytes;
  for (let r = begin; r < end; r++, to += ld) {
    let at = to;
    for (let a: u32 = 0; a < countH; a++) {
      const h = <i32>(i * stepH) + load<i32>(tapsH + (a << 3), 4);
      if (<u32>h >= height) at = clear(at, countW * channels);
      else {
        const row = image + <usize>h * rowBytes;
        const w0 = <i32>(j * stepW);
        if (joined) {
          const w = w0 + first;
          const low = w < 0 ? min<i32>(-w, countW) : 0;
          const high = max<i32>(low, min<i32>(countW, <i32>width - w));
          if (low) at = clear(at, low * channels);
          at = copy(at, row + (<isize>(w + low)) * pixel, (high - low) * channels);
          if (high < <i32>countW) at = clear(at, (countW - high) * channels);
        } else {
          for (let b: u32 = 0; b < countW; b++) {
            const w = w0 + load<i32>(tapsW + (b << 3), 4);
            at = <u32>w < width ? copy(at, row + <usize>w * pixel, channels) : clear(at, channels);
          }
        }
      }
    }
    if (++j == gridWidth) {
      j = 0;
      if (++i == gridHeight) {
        i = 0;
        image += height * rowBytes;
      }
    }
  }
}

/** One convolution's instruction (layerLayouts.ts: Conv). */
export function conv(op: Op, at: usize, thread: u32, threads: u32): void {
  const groups = word(at, Conv.groups), channels = word(at, Conv.channels), outChannels = word(at, Conv.outChannels);
  const own = convWorkspace(word(at, Conv.height), word(at, Conv.width), channels, word(at, Conv.outHeight),
    word(at, Conv.outWidth), outChannels, word(at, Conv.kernelHeight), word(at, Conv.kernelWidth),
    word(at, Conv.strideH), word(at, Conv.strideW), word(at, Conv.padTop), word(at, Conv.padLeft),
    word(at, Conv.dilationH), word(at, Conv.dilationW), groups);
  const workspace = word(at, Conv.workspace) + <usize>thread * own;
  switch (op) {
    case Op.Conv: convForward(at, workspace, thread, threads); break;
    case Op.ConvInput: convInput(at, workspace, thread, threads); break;
    case Op.ConvWeight: convWeight(at, workspace, thread, threads); break;
    default:
      unreachable();
  }
}

function convForward(at: usize, workspace: usize, thread: u32, threads: u32): void {
  const tapsH = workspace + gemmBytes(), tapsW = tapsH + (word(at, Conv.kernelHeight) << 3);
  const countH = tapsForward(tapsH, word(at, Conv.kernelHeight), word(at, Conv.dilationH), word(at, Conv.padTop));
  const countW = tapsForward(tapsW, word(at, Conv.kernelWidth), word(at, Conv.dilationW), word(at, Conv.padLeft));
  phaseOf(true, at, workspace, tapsH, countH, tapsW, countW, 0, 0, thread, threads);
}

function convInput(at: usize, workspace: usize, thread: u32, threads: u32): void {
  const tapsH = workspace + gemmBytes(), tapsW = tapsH + (word(at, Conv.kernelHeight) << 3);
  const strideH = word(at, Conv.strideH), strideW = word(at, Conv.strideW);
  // There are at most as many phases as pixels.
  const phasesH = min<u32>(strideH, word(at, Conv.height)), phasesW = min<u32>(strideW, word(at, Conv.width));
  for (let h: u32 = 0; h < phasesH; h++) {
    const countH = tapsBackward(tapsH, word(at, Conv.kernelHeight), word(at, Conv.dilationH), word(at, Conv.padTop),
      strideH, h);
    for (let w: u32 = 0; w < phasesW; w++) {
      const countW = tapsBackward(tapsW, word(at, Conv.kernelWidth), word(at, Conv.dilationW), word(at, Conv.padLeft),
        strideW, w);
      phaseOf(false, at, workspace, tapsH, countH, tapsW, countW, h, w, thread, threads);
    }
  }
}

/**
 * Computes the pixels of one phase: every strideH-th row from `phaseH`, every strideW-th column from `phaseW` (of Op.ConvInput).
 */
function phaseOf(forward: bool, at: usize, workspace: usize, tapsH: usize, countH: u32, tapsW: usize, countW: u32,
  phaseH: u32, phaseW: u32, thread: u32, threads: u32): void
{
  const kernelHeight = word(at, Conv.kernelHeight), kernelWidth = word(at, Conv.kernelWidth),
    groups = word(at, Conv.groups);
  const batch = word(at, Conv.batch), bias = word(at, Conv.bias), activation = word(at, Conv.activation);
  const out = word(at, Conv.out), x = word(at, Conv.a), w = word(at, Conv.b);
  // The sizes of the input and the output, and the distance between the grid's pixels in each.
  const height = word(at, forward ? Conv.height : Conv.outHeight),
    width = word(at, forward ? Conv.width : Conv.outWidth);
  const inC = word(at, forward ? Conv.channels : Conv.outChannels),
    outC = word(at, forward ? Conv.outChannels : Conv.channels);
  const outH = word(at, forward ? Conv.outHeight : Conv.height), outW = word(at, forward ? Conv.outWidth : Conv.width);
  const stepH = forward ? word(at, Conv.strideH) : 1, stepW = forward ? word(at, Conv.strideW) : 1;
  const spreadH = forward ? 1 : word(at, Conv.strideH), spreadW = forward ? 1 : word(at, Conv.strideW);
  if (phaseH >= outH || phaseW >= outW) return;
  const gridH = (outH - phaseH + spreadH - 1) / spreadH, gridW = (outW - phaseW + spreadW - 1) / spreadW;
  const pixels = batch * gridH * gridW;
  const m = outC / groups, c = inC / groups;
  const weights = tapsH + lines((kernelHeight + kernelWidth) << 3);
  const begin = shareBegin(pixels, LEAST, thread, threads), end = shareBegin(pixels, LEAST, thread + 1, threads);

  if (m == 1 && c == 1) {
    depthwise(out, x, w, bias, outC, kernelHeight * kernelWidth, kernelWidth, height, width, gridH, gridW, stepH, stepW,
      tapsH, countH, tapsW, countW, outH, outW, spreadH, spreadW, phaseH, phaseW, activation, weights, begin, end);
    return;
  }
  const taps = countH * countW;
  // A phase without taps multiplies one column of zeros.
  const k = taps ? taps * c : 1;
  const k0 = kernelHeight * kernelWidth * (word(at, Conv.channels) / groups);
  const patches = weights
    + weightBytes(kernelHeight, kernelWidth, word(at, Conv.channels), word(at, Conv.outChannels), groups);
  const whole = forward && taps == 1 && !load<i32>(tapsH, 4) && !load<i32>(tapsW, 4) && stepH == 1 && stepW == 1
    && gridH == height && gridW == width;
  // For rows of one or two pixels, tiles would be mostly empty.
  if (groups == 1 && taps && c && !whole && gridW > 2 && sideBySide(tapsW, countW)) {
    direct(out, m, outH, outW, spreadH, spreadW, phaseH, phaseW, x, height, width, c, gridH, gridW, stepH, stepW, tapsH,
      countH, tapsW, countW, w, k0, kernelWidth, forward, bias, activation, workspace, weights, patches,
      shareBegin(batch * gridH, 1, thread, threads), shareBegin(batch * gridH, 1, thread + 1, threads));
    return;
  }
  const ld = <usize>(k + SPARE) << 2;
  const rows = blockRows(k);
  const results = patches + lines(<usize>rows * ld);
  const dense = spreadH == 1 && spreadW == 1;
  for (let g: u32 = 0; g < groups; g++) {
    // Forward, W is Bᵀ. Backward, B is [taps, c, m]: a row has W's values for one tap and one output channel.
    const own = w + <usize>g * (forward ? m : c) * (k0 << 2);
    if (!forward) arrange(weights, own, k0, c, m, kernelWidth, tapsH, countH, tapsW, countW);
    const b = forward ? own : weights;
    const ldb = (forward ? k0 : m) << 2;
    const bias0 = bias ? bias + ((g * m) << 2) : 0;
    const source = x + ((g * c) << 2);
    for (let r = begin; r < end; r += rows) {
      const count = min<u32>(rows, end - r);
      let a = patches, lda = ld;
      if (whole) {
        a = source + ((<usize>r * inC) << 2);
        lda = inC << 2;
      } else if (taps) {
        gather(patches, ld, source, height, width, c, inC << 2, gridH, gridW, stepH, stepW, tapsH, countH, tapsW,
          countW, r, r + count);
      } else for (let i: u32 = 0; i < count; i++) store<f32>(patches + i * ld, 0);
      const target = dense ? out + ((<usize>r * outC + g * m) << 2) : results;
      const ldc = dense ? outC << 2 : (m + SPARE) << 2;
      blocks(target, ldc, a, lda, 0, b, ldb, forward ? 1 : 0, bias0, count, m, k, 1, activation, 0, 0, workspace);
      if (!dense)
        scatter(out + ((g * m) << 2), outC, outH, outW, results, ldc, m, gridH, gridW, spreadH, spreadW, phaseH, phaseW,
          r, count);
    }
  }
}

/** B[(tap, o), i] = W[o, tap, i], for the listed taps: o in 0…c, i in 0…m. Without taps, B is one row of zeros. */
function arrange(b: usize, w: usize, k0: u32, c: u32, m: u32, kernelWidth: u32, tapsH: usize, countH: u32, tapsW: usize,
  countW: u32): void
{
  if (!countH || !countW) {
    clear(b, m);
    return;
  }
  for (let h: u32 = 0; h < countH; h++) {
    for (let v: u32 = 0; v < countW; v++) {
      const tap = load<u32>(tapsH + (h << 3)) * kernelWidth + load<u32>(tapsW + (v << 3));
      let from = w + ((tap * m) << 2);
      for (let o: u32 = 0; o < c; o++, from += k0 << 2) b = copy(b, from, m);
    }
  }
}

/** Writes rows of results to the pixels of one phase. */
function scatter(out: usize, outC: u32, outH: u32, outW: u32, results: usize, ld: usize, m: u32, gridH: u32, gridW: u32,
  spreadH: u32, spreadW: u32, phaseH: u32, phaseW: u32, begin: u32, count: u32): void
{
  for (let i: u32 = 0; i < count; i++, results += ld) {
    const r = begin + i, j = r % gridW, row = r / gridW % gridH, n = r / gridW / gridH;
    const pixel = (n * outH + phaseH + row * spreadH) * outW + phaseW + j * spreadW;
    memory.copy(out + ((<usize>pixel * outC) << 2), results, <usize>m << 2);
  }
}

/** dW = Σ over blocks of pixels of dYᵀ·patches. A thread's share is a band of output channels, or of panels of columns. */
function convWeight(at: usize, workspace: usize, thread: u32, threads: u32): void {
  const kernelHeight = word(at, Conv.kernelHeight), kernelWidth = word(at, Conv.kernelWidth),
    groups = word(at, Conv.groups);
  const out = word(at, Conv.out), x = word(at, Conv.a), dy = word(at, Conv.b);
  const height = word(at, Conv.height), width = word(at, Conv.width), inC = word(at, Conv.channels);
  const outH = word(at, Conv.outHeight), outW = word(at, Conv.outWidth), outC = word(at, Conv.outChannels);
  const stepH = word(at, Conv.strideH), stepW = word(at, Conv.strideW);
  const pixels = word(at, Conv.batch) * outH * outW;
  const m = outC / groups, c = inC / groups, k = kernelHeight * kernelWidth * c;
  const tapsH = workspace + gemmBytes(), tapsW = tapsH + (kernelHeight << 3);
  const weights = tapsH + lines((kernelHeight + kernelWidth) << 3);
  tapsForward(tapsH, kernelHeight, word(at, Conv.dilationH), word(at, Conv.padTop));
  tapsForward(tapsW, kernelWidth, word(at, Conv.dilationW), word(at, Conv.padLeft));
  if (m == 1 && c == 1) {
    const begin = shareBegin(inC, 16, thread, threads), end = shareBegin(inC, 16, thread + 1, threads);
    depthwiseWeight(out, x, dy, inC, height, width, outH, outW, word(at, Conv.batch), stepH, stepW, tapsH, kernelHeight,
      tapsW, kernelWidth, begin, end);
    return;
  }
  const patches = weights + weightBytes(kernelHeight, kernelWidth, inC, outC, groups);
  const ld = <usize>(k + SPARE) << 2;
  const rows = blockRows(k);
  const whole = kernelHeight * kernelWidth == 1 && !load<i32>(tapsH, 4) && !load<i32>(tapsW, 4) && stepH == 1
    && stepW == 1
    && outH == height && outW == width;
  // A row of the kernel must be long enough to fill panels.
  const run = kernelWidth * c;
  if (
    groups == 1 && pixels && c && !whole && outH * outW >= 32 && sideBySide(tapsW, kernelWidth) && outW <= <u32>KC
    && (run >= 32 || run % 8 == 0)
  ) {
    const panels = panelsOf(kernelHeight, run);
    directWeight(out, dy, outC, outH, outW, x, word(at, Conv.batch), height, width, c, stepH, stepW, tapsH,
      kernelHeight, tapsW, kernelWidth, workspace, patches, shareBegin(panels, 1, thread, threads),
      shareBegin(panels, 1, thread + 1, threads));
    return;
  }
  const first = shareBegin(m, 4, thread, threads), last = shareBegin(m, 4, thread + 1, threads);
  if (first >= last) return;
  for (let g: u32 = 0; g < groups; g++) {
    const target = out + ((<usize>(g * m + first) * k) << 2);
    if (!pixels) fill(target, ((last - first) * k) << 2, 0);
    for (let r: u32 = 0; r < pixels; r += rows) {
      const count = min<u32>(rows, pixels - r);
      let b = patches, ldb = ld;
      if (whole) {
        b = x + ((<usize>r * inC + g * c) << 2);
        ldb = inC << 2;
      } else {
        gather(patches, ld, x + ((g * c) << 2), height, width, c, inC << 2, outH, outW, stepH, stepW, tapsH,
          kernelHeight, tapsW, kernelWidth, r, r + count);
      }
      const a = dy + ((<usize>r * outC + g * m + first) << 2);
      blocks(target, k << 2, a, outC << 2, 1, b, ldb, 0, 0, last - first, k, count, 1, 0, 0, r > 0 ? 1 : 0, workspace);
    }
  }
}
