/**
 * Convolutions of images [batch, height, width, channels] with weights [outChannels, kernelHeight, kernelWidth,
 * channels per group], as gemm products: C = patches·Wᵀ, dX = patches of dY·W, dW = dYᵀ·patches. Patches are gathered
 * for one block of pixels at a time, or read directly from the image (convDirect.ts), so the full matrix of patches is
 * never stored. Results with the same taps are computed together (convPhase.ts). Some 3 × 3 convolutions need fewer
 * multiplications (winograd.ts).
 */
import { blocks, KC } from "./gemm";
import { bandFloats, direct, directWeight, panelsOf } from "./convDirect";
import { lines, offsetOf, paddedSize, patchesFrom, Phase, positionOf, writePhase } from "./convPhase";
import { depthwise } from "./depthwise";
import { depthwiseWeight } from "./depthwiseWeight";
import { finishPixels } from "./standardize";
import { fill } from "./shape";
import { usesWinograd, winograd, winogradWeight, winogradWorkspace } from "./winograd";
import { Conv } from "../layerLayouts";
import { Op } from "../opcodes";
import { shareBegin } from "../simd";
import { word } from "../operands";

/** The number of floats to gather at once: together with a panel of B, this many fit in the L2 cache. */
const GATHERED: u32 = 98304;
/**
 * The largest and the smallest number of pixels per block: MOST pixels fill a block of gemm, and LEAST pixels fill a
 * few tiles. Both are multiples of every tile's number of rows.
 */
const MOST: u32 = 192;
const LEAST: u32 = 24;
/** Padding after a row of patches, because `copy` writes up to three floats past the end. */
const SPARE: u32 = 4;

/** The number of pixels per block if each patch has `k` floats. */
function blockRows(k: u32): u32 {
  const rows = GATHERED / (k + 1) / LEAST * LEAST;
  return rows > MOST ? MOST : rows < LEAST ? LEAST : rows;
}

/**
 * The number of scratch bytes that one share needs for this instruction's convolution, or for either of its gradients.
 */
export function convWorkspace(at: usize): u32 {
  const channels = word(at, Conv.channels), outChannels = word(at, Conv.outChannels), groups = word(at, Conv.groups);
  const most = (channels > outChannels ? channels : outChannels) / groups;
  const k = word(at, Conv.kernelHeight) * word(at, Conv.kernelWidth) * most;
  // A block of patches has at most GATHERED floats, or LEAST rows if these take more. No phase has a larger k, so this
  // size is enough for every phase.
  const floats = GATHERED + MOST * 2 * SPARE, fewest = LEAST * (k + 2 * SPARE);
  const gathered = lines((floats > fewest ? floats : fewest) << 2) + lines((MOST * (most + SPARE)) << 2);
  // Room for bands of the image and, in the backward pass, of dY.
  const width: i32 = word(at, Conv.width), outWidth: i32 = word(at, Conv.outWidth);
  const stride: i32 = word(at, Conv.strideW), pad: i32 = word(at, Conv.padLeft);
  const reachH = (word(at, Conv.kernelHeight) - 1) * word(at, Conv.dilationH);
  const reach: i32 = (word(at, Conv.kernelWidth) - 1) * word(at, Conv.dilationW);
  const wide = paddedSize(width, -pad, reach - pad, stride, outWidth);
  const wideBack = paddedSize(outWidth, (pad - reach) / stride - 1, (stride + pad) / stride, 1,
    (width + stride - 1) / stride);
  const band = bandFloats(reachH + 1, wide, channels), bandBack = bandFloats(reachH + 1, wideBack, outChannels);
  const bands = groups == 1 ? lines((band > bandBack ? band : bandBack) << 2) : 0;
  return <u32>(patchesFrom(at) + max(max(gathered, bands), lines(winogradWorkspace(at))));
}

/** Copies n floats; may write up to three more. */
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
 * Gathers the patches for results [begin, end) of a phase's grid. A patch is a row of countH·countW·channels floats;
 * rows are `ld` bytes apart. Reads `channels` of the source's channels, the first at address `from`. Patches are 0
 * outside the image.
 */
export function gather(phase: usize, to: usize, ld: usize, from: usize, channels: u32, begin: u32, end: u32): void {
  const height = word(phase, Phase.height), width = word(phase, Phase.width);
  const gridHeight = word(phase, Phase.gridHeight), gridWidth = word(phase, Phase.gridWidth);
  const stepH = word(phase, Phase.stepH), stepW = word(phase, Phase.stepW);
  const tapsH = word(phase, Phase.tapsH), countH = word(phase, Phase.countH);
  const tapsW = word(phase, Phase.tapsW), countW = word(phase, Phase.countW);
  const first = offsetOf(tapsW, 0);
  const joined = channels == word(phase, Phase.channels) && word(phase, Phase.gapW) == 1;
  const pixel = <usize>word(phase, Phase.channels) << 2, rowBytes = <usize>width * pixel;
  let j = begin % gridWidth;
  let i = begin / gridWidth % gridHeight;
  let image = from + <usize>(begin / gridWidth / gridHeight) * height * rowBytes;
  for (let r = begin; r < end; r++, to += ld) {
    let at = to;
    for (let a: u32 = 0; a < countH; a++) {
      const h = <i32>(i * stepH) + offsetOf(tapsH, a);
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
            const w = w0 + offsetOf(tapsW, b);
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

/** Runs a convolution instruction (layerLayouts.ts: Conv). */
export function conv(op: Op, at: usize, thread: u32, threads: u32): void {
  // The first thread's workspace is at offset 0, so skip computing the size of a workspace.
  const workspace = word(at, Conv.workspace) + (thread ? thread * convWorkspace(at) : 0);
  switch (op) {
    case Op.Conv: computePhase(at, writePhase(at, workspace, true, 0, 0), thread, threads); break;
    case Op.ConvInput: convInput(at, workspace, thread, threads); break;
    case Op.ConvWeight: convWeight(at, writePhase(at, workspace, true, 0, 0), thread, threads); break;
    default:
      unreachable();
  }
}

function convInput(at: usize, workspace: usize, thread: u32, threads: u32): void {
  // A dimension has at most as many phases as pixels.
  const phasesH = min<u32>(word(at, Conv.strideH), word(at, Conv.height)),
    phasesW = min<u32>(word(at, Conv.strideW), word(at, Conv.width));
  for (let h: u32 = 0; h < phasesH; h++) {
    for (let w: u32 = 0; w < phasesW; w++)
      computePhase(at, writePhase(at, workspace, false, h, w), thread, threads);
  }
}

/** Computes this thread's share of a phase's results. */
function computePhase(at: usize, phase: usize, thread: u32, threads: u32): void {
  const rows = word(at, Conv.batch) * word(phase, Phase.gridHeight), gridWidth = word(phase, Phase.gridWidth);
  const pixels = rows * gridWidth;
  if (!pixels) return;
  const forward = word(phase, Phase.forward), groups = word(at, Conv.groups);
  const inC = word(phase, Phase.channels), outC = word(phase, Phase.outChannels);
  const m = outC / groups, c = inC / groups;
  const begin = shareBegin(pixels, LEAST, thread, threads), end = shareBegin(pixels, LEAST, thread + 1, threads);
  if (m == 1 && c == 1) {
    depthwise(at, phase, begin, end);
    return;
  }
  if (usesWinograd(at, forward ? Op.Conv : Op.ConvInput)) {
    winograd(at, phase, thread, threads);
    return;
  }
  const taps = word(phase, Phase.countH) * word(phase, Phase.countW);
  const whole = word(phase, Phase.whole);
  // With rows of one or two pixels, `direct` would leave most of each tile empty.
  if (groups == 1 && taps && c && !whole && gridWidth > 2 && word(phase, Phase.gapW) == 1) {
    direct(at, phase, shareBegin(rows, 1, thread, threads), shareBegin(rows, 1, thread + 1, threads));
    return;
  }
  const out = word(at, Conv.out) + word(phase, Phase.outFirst), x = word(at, Conv.a), w = word(at, Conv.b);
  const bias = word(at, Conv.bias), activation = word(at, Conv.activation), workspace = word(phase, Phase.workspace);
  const weights = word(phase, Phase.weights), patches = word(phase, Phase.patches);
  // The number of floats in the weights of one output channel. A phase without taps multiplies one column of zeros.
  const k0 = word(at, Conv.kernelHeight) * word(at, Conv.kernelWidth) * (word(at, Conv.channels) / groups);
  const k = taps ? taps * c : 1;
  const ld = <usize>(k + SPARE) << 2;
  const most = blockRows(k);
  const results = patches + lines(<usize>most * ld);
  const dense = word(phase, Phase.outRow) == gridWidth * outC << 2;
  for (let g: u32 = 0; g < groups; g++) {
    // In the forward pass, W is Bᵀ. In the backward pass, B is [taps, c, m]: a row has W's values for one tap and one
    // output channel.
    const own = w + <usize>g * (forward ? m : c) * (k0 << 2);
    if (!forward) arrange(phase, weights, own, k0, c, m);
    const b = forward ? own : weights;
    const ldb = (forward ? k0 : m) << 2;
    const bias0 = bias ? bias + ((g * m) << 2) : 0;
    const source = x + ((g * c) << 2), target = out + ((g * m) << 2);
    for (let r = begin; r < end; r += most) {
      const count = min<u32>(most, end - r);
      let a = patches, lda = ld;
      if (whole) {
        a = source + ((<usize>r * inC) << 2);
        lda = inC << 2;
      } else if (taps) gather(phase, patches, ld, source, c, r, r + count);
      else for (let i: u32 = 0; i < count; i++) store<f32>(patches + i * ld, 0);
      const block = dense ? target + ((<usize>r * outC) << 2) : results, ldc = (dense ? outC : m + SPARE) << 2;
      blocks(block, ldc, a, lda, 0, b, ldb, forward, bias0, count, m, k, 1, activation, 0, 0, workspace);
      if (!dense) scatter(phase, target, results, ldc, m, r, count);
      finishPixels(at, block, ldc, count, g * m, m);
    }
  }
}

/** B[(tap, o), i] = W[o, tap, i], for the phase's taps, o < c and i < m. Without taps, B is one row of zeros. */
function arrange(phase: usize, b: usize, w: usize, k0: u32, c: u32, m: u32): void {
  const tapsH = word(phase, Phase.tapsH), countH = word(phase, Phase.countH);
  const tapsW = word(phase, Phase.tapsW), countW = word(phase, Phase.countW);
  if (!countH || !countW) {
    clear(b, m);
    return;
  }
  for (let h: u32 = 0; h < countH; h++) {
    for (let v: u32 = 0; v < countW; v++) {
      let from = w + (((positionOf(tapsH, h) + positionOf(tapsW, v)) * m) << 2);
      for (let o: u32 = 0; o < c; o++, from += k0 << 2) b = copy(b, from, m);
    }
  }
}

/** Writes rows of m floats to results [begin, begin + count) of a phase's grid; result 0 is at `out`. */
function scatter(phase: usize, out: usize, results: usize, ld: usize, m: u32, begin: u32, count: u32): void {
  const gridHeight = word(phase, Phase.gridHeight), gridWidth = word(phase, Phase.gridWidth);
  const image = word(phase, Phase.outImage), row = word(phase, Phase.outRow), pixel = word(phase, Phase.outPixel);
  for (let i: u32 = 0; i < count; i++, results += ld) {
    const r = begin + i, j = r % gridWidth, h = r / gridWidth % gridHeight, n = r / gridWidth / gridHeight;
    memory.copy(out + n * image + h * row + j * pixel, results, <usize>m << 2);
  }
}

/** dW = Σ dYᵀ·patches over blocks of pixels. A thread's share is a range of output channels or of column panels. */
function convWeight(at: usize, phase: usize, thread: u32, threads: u32): void {
  const groups = word(at, Conv.groups), out = word(at, Conv.out), x = word(at, Conv.a), dy = word(at, Conv.b);
  const inC = word(phase, Phase.channels), outC = word(phase, Phase.outChannels);
  const outW = word(phase, Phase.gridWidth), image = word(phase, Phase.gridHeight) * outW;
  const pixels = word(at, Conv.batch) * image;
  const kernelHeight = word(phase, Phase.countH), kernelWidth = word(phase, Phase.countW);
  const m = outC / groups, c = inC / groups, k = kernelHeight * kernelWidth * c;
  if (m == 1 && c == 1) {
    depthwiseWeight(at, phase, shareBegin(inC, 16, thread, threads), shareBegin(inC, 16, thread + 1, threads));
    return;
  }
  if (usesWinograd(at, Op.ConvWeight)) {
    winogradWeight(at, phase, shareBegin(m, 4, thread, threads), shareBegin(m, 4, thread + 1, threads));
    return;
  }
  const whole = word(phase, Phase.whole);
  // Reading directly from the image pays off only if a row of the kernel is long enough to fill panels.
  const run = kernelWidth * c;
  if (
    groups == 1 && pixels && c && !whole && image >= 32 && word(phase, Phase.gapW) == 1 && outW <= <u32>KC
    && (run >= 32 || run % 8 == 0)
  ) {
    const panels = panelsOf(kernelHeight, run);
    directWeight(at, phase, shareBegin(panels, 1, thread, threads), shareBegin(panels, 1, thread + 1, threads));
    return;
  }
  const first = shareBegin(m, 4, thread, threads), last = shareBegin(m, 4, thread + 1, threads);
  if (first >= last) return;
  const workspace = word(phase, Phase.workspace), patches = word(phase, Phase.patches);
  const ld = <usize>(k + SPARE) << 2;
  const rows = blockRows(k);
  for (let g: u32 = 0; g < groups; g++) {
    const target = out + ((<usize>(g * m + first) * k) << 2);
    if (!pixels) fill(target, ((last - first) * k) << 2, 0);
    for (let r: u32 = 0; r < pixels; r += rows) {
      const count = min<u32>(rows, pixels - r);
      let b = patches, ldb = ld;
      if (whole) {
        b = x + ((<usize>r * inC + g * c) << 2);
        ldb = inC << 2;
      } else gather(phase, patches, ld, x + ((g * c) << 2), c, r, r + count);
      const a = dy + ((<usize>r * outC + g * m + first) << 2);
      blocks(target, k << 2, a, outC << 2, 1, b, ldb, 0, 0, last - first, k, count, 1, 0, 0, r > 0 ? 1 : 0, workspace);
    }
  }
}
