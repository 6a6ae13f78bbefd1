/**
 * Convolutions of one group whose taps are adjacent, without gathering patches: a row of the kernel is contiguous in the
 * image, so the micro-kernel reads A from the image, row by row (pack.ts: segments), and dW's panels are copied from it.
 * Near the edges, a copy of a band of rows adds the zeros around the image. Taps are lists of [position in the kernel,
 * offset] (conv.ts).
 */
import { BLOCK, KC, LDA, MC, PANELS, tile } from "./gemm";
import { copyPanel, MR, NR, transpose } from "./pack";
import { Activation } from "../opcodes";

/** Floats of a band, small enough for the L2 cache. */
const BAND: u32 = 65536;

/** The number of pixels read along one dimension: the image and the padding before and after it. */
export function paddedSize(size: i32, first: i32, last: i32, step: i32, grid: i32): i32 {
  return size + max<i32>(0, -first) + max<i32>(0, (grid - 1) * step + last - (size - 1));
}

/** Floats of scratch for bands of at least `rows` rows. */
export function bandFloats(rows: u32, width: u32, channels: u32): u32 {
  const least = rows * width * channels;
  return (least > BAND ? least : BAND) + 16;
}

/** Copies rows of `width` pixels from row `top`, with `left` and `right` zero pixels beside them; zeros outside the image. */
function copyBand(to: usize, image: usize, top: i32, rows: u32, height: u32, rowBytes: usize, left: usize,
  right: usize): void
{
  for (let r: u32 = 0; r < rows; r++, to += left + rowBytes + right) {
    const h = top + <i32>r;
    if (<u32>h >= height) memory.fill(to, 0, left + rowBytes + right);
    else {
      memory.fill(to, 0, left);
      memory.copy(to + left, image + <usize>h * rowBytes, rowBytes);
      memory.fill(to + left + rowBytes, 0, right);
    }
  }
}

/** The longest k that is summed in one pass. */
const DEEP: u32 = 1024;

/**
 * Computes rows [begin, end) of a grid [batch, gridH, gridW] of results with m channels; (n, i, j) is written at [n, phaseH +
 * i·spreadH, phaseW + j·spreadW]. W is [m, k] or, backward, [c, taps, m] with rows of k0 floats.
 */
export function direct(out: usize, m: u32, outH: u32, outW: u32, spreadH: u32, spreadW: u32, phaseH: u32, phaseW: u32,
  x: usize, height: u32, width: u32, c: u32, gridH: u32, gridW: u32, stepH: u32, stepW: u32, tapsH: usize, countH: u32,
  tapsW: usize, countW: u32, w: usize, k0: u32, kernelWidth: u32, forward: bool, bias: usize, activation: u32,
  scratch: usize, packed: usize, band: usize, begin: u32, end: u32): void
{
  const k = countH * countW * c;
  for (let jr: u32 = 0; jr < m; jr += NR) {
    let panel = packed + ((<usize>jr * k) << 2);
    const cols = min<u32>(NR, m - jr);
    if (forward) {
      transpose(panel, NR * 4, w + ((<usize>jr * k) << 2), k << 2, cols, k);
      continue;
    }
    for (let a: u32 = 0; a < countH; a++) {
      for (let b: u32 = 0; b < countW; b++, panel += <usize>c * NR * 4) {
        const tap = load<u32>(tapsH + (a << 3)) * kernelWidth + load<u32>(tapsW + (b << 3));
        copyPanel(panel, w + ((tap * m + jr) << 2), k0 << 2, cols, c);
      }
    }
  }

  const top = load<i32>(tapsH, 4), first = load<i32>(tapsW, 4);
  const rise: u32 = countH > 1 ? load<i32>(tapsH, 12) - top : 1;
  const left = <u32>max<i32>(0, -first), padded = <u32>paddedSize(width, first, first + countW - 1, stepW, gridW);
  const unpadded = padded == width && paddedSize(height, top, top + (countH - 1) * rise, stepH, gridH) == <i32>height;
  const rowBytes = <usize>(unpadded ? width : padded) * (c << 2);
  const span = (countH - 1) * rise + 1;
  const room = <i32>(BAND / (padded * c)) - <i32>span;
  const most: u32 = room < 0 ? 1 : <u32>room / stepH + 1;
  const lda = <usize>stepW * (c << 2), ldc = <usize>spreadW * (m << 2);
  for (let r = begin; r < end;) {
    const n = r / gridH, i = r % gridH;
    const count = min<u32>(unpadded ? gridH : most, min<u32>(end - r, gridH - i));
    const image = x + <usize>(n * height * width) * (c << 2);
    const row = <i32>(i * stepH) + top;
    let source = image + <isize>row * rowBytes + ((first * c) << 2);
    if (!unpadded) {
      copyBand(band, image, row, (count - 1) * stepH + span, height, (width * c) << 2, (left * c) << 2,
        ((padded - width - left) * c) << 2);
      source = band + (((left + first) * c) << 2);
    }
    for (let jr: u32 = 0; jr < m; jr += NR) {
      const panel = packed + ((<usize>jr * k) << 2), bj = bias ? bias + (jr << 2) : 0;
      const cols = min<u32>(NR, m - jr);
      for (let q: u32 = 0; q < count; q++) {
        let a = source + <usize>(q * stepH) * rowBytes;
        let ct = out + (<usize>((n * outH + phaseH + (i + q) * spreadH) * outW + phaseW) * m + jr << 2);
        for (let j: u32 = 0; j < gridW; j += MR, a += MR * lda, ct += MR * ldc) {
          const rows = min<u32>(MR, gridW - j), jump = <usize>rise * rowBytes;
          if (k > DEEP) deepTile(ct, ldc, a, lda, rows, cols, panel, countW * c, countH, jump, bj, activation, scratch);
          else tile(ct, ldc, a, lda, rows, cols, panel, countW * c, countH, jump, bj, activation, false, scratch);
        }
      }
    }
    r += count;
  }
}

/** Like gemm's `tile`, for longer k: one row of the kernel at a time, at most KC floats of it. */
export function deepTile(c: usize, ldc: usize, a: usize, lda: usize, rows: usize, cols: usize, panel: usize, k: usize,
  segments: usize, jump: usize, bias: usize, activation: u32, scratch: usize): void
{
  for (let s: usize = 0; s < segments; s++) {
    for (let p: usize = 0; p < k; p += KC) {
      const kc = min(KC, k - p), last = s + 1 == segments && p + kc == k;
      tile(c, ldc, a + s * jump + (p << 2), lda, rows, cols, panel, kc, 1, 0, last ? bias : 0,
        last ? activation : <u32>Activation.None, s + p > 0, scratch);
      panel += kc * NR * 4;
    }
  }
}

/** The number of panels of columns of dW: those of one row of the kernel, times the rows. */
export function panelsOf(countH: u32, run: u32): u32 {
  return countH * ((run + <u32>NR - 1) / <u32>NR);
}

/**
 * dW [outC, countH·countW·c]: Σ over blocks of rows of pixels. A row has at most 512 pixels. The share [begin, end) counts
 * the `panelsOf` panels of columns; each is copied once, by the thread that uses it.
 */
export function directWeight(out: usize, dy: usize, outC: u32, outH: u32, outW: u32, x: usize, batch: u32, height: u32,
  width: u32, c: u32, stepH: u32, stepW: u32, tapsH: usize, countH: u32, tapsW: usize, countW: u32, workspace: usize,
  band: usize, begin: u32, end: u32): void
{
  if (begin >= end) return;
  const k = countH * countW * c, run = countW * c, panels = (run + <u32>NR - 1) / <u32>NR;
  const panel = workspace + PANELS, block = workspace + BLOCK;
  const top = load<i32>(tapsH, 4), first = load<i32>(tapsW, 4);
  const rise: u32 = countH > 1 ? load<i32>(tapsH, 12) - top : 1;
  const left = <u32>max<i32>(0, -first), padded = <u32>paddedSize(width, first, first + countW - 1, stepW, outW);
  const unpadded = padded == width && paddedSize(height, top, top + (countH - 1) * rise, stepH, outH) == <i32>height;
  const rowBytes = <usize>(unpadded ? width : padded) * (c << 2);
  const span = (countH - 1) * rise + 1;
  const room = <i32>(BAND / (padded * c)) - <i32>span;
  const most = min<u32>(<u32>KC / outW, room < 0 ? 1 : <u32>room / stepH + 1);
  let more = false;
  for (let n: u32 = 0; n < batch; n++) {
    const image = x + <usize>(n * height * width) * (c << 2);
    for (let i: u32 = 0; i < outH; i += most) {
      const count = min<u32>(most, outH - i), kc = count * outW;
      const row = <i32>(i * stepH) + top;
      let source = image + <isize>row * rowBytes + ((first * c) << 2);
      if (!unpadded) {
        copyBand(band, image, row, (count - 1) * stepH + span, height, (width * c) << 2, (left * c) << 2,
          ((padded - width - left) * c) << 2);
        source = band + (((left + first) * c) << 2);
      }
      for (let ic: u32 = 0; ic < outC; ic += <u32>MC) {
        const mc = min<u32>(MC, outC - ic);
        transpose(block, LDA, dy + (<usize>((n * outH + i) * outW) * outC + ic << 2), outC << 2, kc, mc);
        for (let u = begin; u < end; u++) {
          const a = u / panels, jr = (u - a * panels) * NR, cols = min<u32>(NR, run - jr);
          for (let q: u32 = 0; q < count; q++) {
            copyPanel(panel + <usize>(q * outW) * (NR * 4),
              source + <usize>(q * stepH + a * rise) * rowBytes + (jr << 2), <usize>stepW * (c << 2), cols, outW);
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
