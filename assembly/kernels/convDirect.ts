/**
 * Convolutions with one group and adjacent taps, without gathered patches: a row of the kernel is contiguous in the image, so
 * the micro-kernel reads A directly from the image, row by row (pack.ts: segments), and dW's panels are copied from the
 * image. If taps reach outside the image, the kernels read a copy of a band of rows with zeros around it.
 */
import { BLOCK, KC, LDA, MC, PANELS, tile } from "./gemm";
import { offsetOf, Phase, positionOf } from "./convPhase";
import { copyPanel, MR, NR, transpose } from "./pack";
import { finishPixels } from "./standardize";
import { Conv } from "../layerLayouts";
import { Activation } from "../opcodes";
import { word } from "../operands";

/** The number of floats in a band, small enough for the L2 cache. */
const BAND: u32 = 65536;

/** The number of scratch floats for bands of at least `rows` rows. */
export function bandFloats(rows: u32, width: u32, channels: u32): u32 {
  const least = rows * width * channels;
  return (least > BAND ? least : BAND) + 16;
}

/**
 * The number of pixels in a row of the source, including the zeros on both sides, or 0 if no tap reads outside the
 * image.
 */
@inline
function paddedWidth(phase: usize): u32 {
  const padded = word(phase, Phase.paddedWidth);
  const isInside = padded == word(phase, Phase.width) && word(phase, Phase.paddedHeight) == word(phase, Phase.height);
  return isInside ? 0 : padded;
}

/** The number of source rows that are needed to compute `count` result rows. */
@inline
function rowsRead(phase: usize, count: u32): u32 {
  return (count - 1) * word(phase, Phase.stepH) + (word(phase, Phase.countH) - 1) * word(phase, Phase.gapH) + 1;
}

/**
 * How many result rows can be computed from at most BAND floats of source rows that are `width` pixels wide; at least 1.
 */
function rowsOfBand(phase: usize, width: u32): u32 {
  const room = <i32>(BAND / (width * word(phase, Phase.channels))) - <i32>rowsRead(phase, 1);
  return room < 0 ? 1 : <u32>room / word(phase, Phase.stepH) + 1;
}

/**
 * The address of the first pixel that result row i of image n needs. If rows are padded, first copies the source rows
 * that `count` result rows need, with zeros outside the image, and returns an address in this copy.
 */
function sourceOf(at: usize, phase: usize, padded: u32, n: u32, i: u32, count: u32): usize {
  const height = word(phase, Phase.height), pixel = <usize>word(phase, Phase.channels) << 2;
  const imageRow = word(phase, Phase.width) * pixel;
  const image = word(at, Conv.a) + <usize>(n * height) * imageRow;
  const top = <i32>(i * word(phase, Phase.stepH)) + offsetOf(word(phase, Phase.tapsH), 0);
  const first = offsetOf(word(phase, Phase.tapsW), 0);
  if (!padded) return image + <isize>top * imageRow + first * pixel;
  const left = <usize>max<i32>(0, -first) * pixel, row = padded * pixel, right = row - imageRow - left;
  const band = word(phase, Phase.patches), end = band + rowsRead(phase, count) * row;
  let h = <u32>top;
  for (let to = band; to < end; to += row, h++) {
    if (h >= height) memory.fill(to, 0, row);
    else {
      memory.fill(to, 0, left);
      memory.copy(to + left, image + <usize>h * imageRow, imageRow);
      memory.fill(to + left + imageRow, 0, right);
    }
  }
  return band + left + first * pixel;
}

/** The largest k that is summed in one pass. */
const DEEP: u32 = 1024;

/**
 * Packs the weights of a phase's taps for the result's channels [jr, jr + NR) into a panel. W is [m, k] or, in the backward
 * pass, [c, taps, m].
 */
export function packPanel(at: usize, phase: usize, panel: usize, jr: u32): void {
  const w = word(at, Conv.b), m = word(phase, Phase.outChannels), c = word(phase, Phase.channels);
  const tapsH = word(phase, Phase.tapsH), tapsW = word(phase, Phase.tapsW);
  const countH = word(phase, Phase.countH), countW = word(phase, Phase.countW), k = countH * countW * c;
  const ldw = word(at, Conv.kernelHeight) * word(at, Conv.kernelWidth) * m << 2, cols = min<u32>(NR, m - jr);
  if (word(phase, Phase.forward)) {
    transpose(panel, NR * 4, w + ((<usize>jr * k) << 2), k << 2, cols, k);
    return;
  }
  for (let a: u32 = 0; a < countH; a++) {
    for (let b: u32 = 0; b < countW; b++, panel += <usize>c * NR * 4) {
      const tap = positionOf(tapsH, a) + positionOf(tapsW, b);
      copyPanel(panel, w + ((tap * m + jr) << 2), ldw, cols, c);
    }
  }
}

/** Computes rows [begin, end) of a phase's grid. */
export function direct(at: usize, phase: usize, begin: u32, end: u32): void {
  const out = word(at, Conv.out) + word(phase, Phase.outFirst), bias = word(at, Conv.bias);
  const activation = word(at, Conv.activation), m = word(phase, Phase.outChannels);
  const gridH = word(phase, Phase.gridHeight), gridW = word(phase, Phase.gridWidth);
  const outImage = word(phase, Phase.outImage), outRow = word(phase, Phase.outRow);
  const countH = word(phase, Phase.countH), run = word(phase, Phase.countW) * word(phase, Phase.channels),
    k = countH * run;
  const scratch = word(phase, Phase.workspace), packed = word(phase, Phase.weights);
  const padded = paddedWidth(phase), pixel = <usize>word(phase, Phase.channels) << 2;
  const rowBytes = (padded ? padded : word(phase, Phase.width)) * pixel;
  const most = padded ? rowsOfBand(phase, padded) : gridH;
  const step = word(phase, Phase.stepH) * rowBytes, jump = word(phase, Phase.gapH) * rowBytes;
  const lda = word(phase, Phase.stepW) * pixel, ldc = word(phase, Phase.outPixel);
  for (let jr: u32 = 0; jr < m; jr += NR) packPanel(at, phase, packed + ((<usize>jr * k) << 2), jr);
  for (let r = begin; r < end;) {
    const n = r / gridH, i = r % gridH;
    const count = min<u32>(most, min<u32>(end - r, gridH - i));
    const source = sourceOf(at, phase, padded, n, i, count);
    for (let jr: u32 = 0; jr < m; jr += NR) {
      const panel = packed + ((<usize>jr * k) << 2), bj = bias ? bias + (jr << 2) : 0;
      const cols = min<u32>(NR, m - jr);
      for (let q: u32 = 0; q < count; q++) {
        let a = source + q * step;
        let ct = out + n * outImage + (i + q) * outRow + (jr << 2);
        for (let j: u32 = 0; j < gridW; j += MR, a += MR * lda, ct += MR * ldc) {
          const rows = min<u32>(MR, gridW - j);
          if (k > DEEP) deepTile(at, phase, ct, a, rows, cols, panel, jump, bj);
          else tile(ct, ldc, a, lda, rows, cols, panel, run, countH, jump, bj, activation, false, scratch);
        }
      }
    }
    finishPixels(at, out + n * outImage + i * outRow, ldc, count * gridW, 0, m);
    r += count;
  }
}

/** Computes one tile for `direct` if k > DEEP: one row of the kernel at a time, in steps of at most KC floats. */
export function deepTile(at: usize, phase: usize, c: usize, a: usize, rows: usize, cols: usize, panel: usize,
  jump: usize, bias: usize): void
{
  const pixel = <usize>word(phase, Phase.channels) << 2, activation = word(at, Conv.activation);
  const lda = word(phase, Phase.stepW) * pixel, ldc = word(phase, Phase.outPixel);
  const k = <usize>word(phase, Phase.countW) * word(phase, Phase.channels), segments = word(phase, Phase.countH);
  const scratch = word(phase, Phase.workspace);
  for (let s: usize = 0; s < segments; s++) {
    for (let p: usize = 0; p < k; p += KC) {
      const kc = min(KC, k - p), last = s + 1 == segments && p + kc == k;
      tile(c, ldc, a + s * jump + (p << 2), lda, rows, cols, panel, kc, 1, 0, last ? bias : 0,
        last ? activation : <u32>Activation.None, s + p > 0, scratch);
      panel += kc * NR * 4;
    }
  }
}

/** The number of column panels in dW: the panels for one row of the kernel, times the number of rows of the kernel. */
export function panelsOf(countH: u32, run: u32): u32 {
  return countH * ((run + <u32>NR - 1) / <u32>NR);
}

/**
 * Computes dW: [outC, countH·countW·c] as a sum over blocks of pixel rows. A row of pixels must have at most KC pixels.
 * The share [begin, end) is a range of the `panelsOf` column panels. Each panel is copied once, by the thread that uses
 * it.
 */
export function directWeight(at: usize, phase: usize, begin: u32, end: u32): void {
  if (begin >= end) return;
  const out = word(at, Conv.out), dy = word(at, Conv.b), batch = word(at, Conv.batch);
  const outH = word(phase, Phase.gridHeight), outW = word(phase, Phase.gridWidth),
    outC = word(phase, Phase.outChannels);
  const c = word(phase, Phase.channels), run = word(phase, Phase.countW) * c, k = word(phase, Phase.countH) * run;
  const workspace = word(phase, Phase.workspace), panel = workspace + PANELS, block = workspace + BLOCK;
  const padded = paddedWidth(phase), width = padded ? padded : word(phase, Phase.width);
  const rowBytes = <usize>width * (c << 2), lda = word(phase, Phase.stepW) * (c << 2);
  const step = word(phase, Phase.stepH) * rowBytes, jump = word(phase, Phase.gapH) * rowBytes;
  const panels = (run + <u32>NR - 1) / <u32>NR;
  const most = min<u32>(<u32>KC / outW, rowsOfBand(phase, width));
  let more = false;
  for (let n: u32 = 0; n < batch; n++) {
    for (let i: u32 = 0; i < outH; i += most) {
      const count = min<u32>(most, outH - i), kc = count * outW;
      const source = sourceOf(at, phase, padded, n, i, count);
      for (let ic: u32 = 0; ic < outC; ic += <u32>MC) {
        const mc = min<u32>(MC, outC - ic);
        transpose(block, LDA, dy + (<usize>((n * outH + i) * outW) * outC + ic << 2), outC << 2, kc, mc);
        for (let u = begin; u < end; u++) {
          const a = u / panels, jr = (u - a * panels) * NR, cols = min<u32>(NR, run - jr);
          for (let q: u32 = 0; q < count; q++) {
            copyPanel(panel + <usize>(q * outW) * (NR * 4), source + q * step + a * jump + (jr << 2), lda, cols, outW);
          }
          const ct = out + (<usize>ic * k + a * run + jr << 2);
          for (let ir: u32 = 0; ir < mc; ir += MR) {
            tile(ct + <usize>ir * (k << 2), k << 2, block + <usize>ir * LDA, LDA, min<u32>(MR, mc - ir), cols, panel,
              kc, 1, 0, 0, Activation.None, more, workspace);
          }
        }
      }
      more = true;
    }
  }
}
