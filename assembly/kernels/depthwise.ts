/**
 * Depthwise convolutions: each channel has its own kernel. The kernels vectorize over channels instead of computing a
 * matrix product.
 */
import { offsetOf, Phase, positionOf } from "./convPhase";
import { ceilingOf, clamp, finish, floorOf, shiftAt, zeroOf } from "./epilogue";
import { finishPixels } from "./standardize";
import { fma, narrow, promoteHigh, storeLanes } from "../simd";
import { Conv } from "../layerLayouts";
import { Activation } from "../opcodes";
import { word } from "../operands";

/** A step computes WIDE channels of a single result, or NARROW channels of a tile of SIDE neighbouring results. */
const WIDE: u32 = 16;
const NARROW: u32 = 8;
const SIDE: u32 = 4;
/** The number of terms that are summed in float32 before their sum is added to a float64 total. */
const BLOCK: u32 = 128;

/**
 * Computes results [begin, end) of a phase's grid. Each result sums its taps in the same order, alone or in a tile, so its bits do
 * not depend on where shares begin.
 */
export function depthwise(at: usize, phase: usize, begin: u32, end: u32): void {
  const out = word(at, Conv.out) + word(phase, Phase.outFirst), x = word(at, Conv.a), w = word(at, Conv.b);
  const bias = word(at, Conv.bias);
  const activation = word(at, Conv.activation), taps = word(at, Conv.kernelHeight) * word(at, Conv.kernelWidth);
  const height = word(phase, Phase.height), width = word(phase, Phase.width), channels = word(phase, Phase.channels);
  const gridH = word(phase, Phase.gridHeight), gridW = word(phase, Phase.gridWidth);
  const outPixel = word(phase, Phase.outPixel);
  const stepH = word(phase, Phase.stepH), stepW = word(phase, Phase.stepW);
  const tapsH = word(phase, Phase.tapsH), tapsW = word(phase, Phase.tapsW);
  const countH = word(phase, Phase.countH), countW = word(phase, Phase.countW);
  const gapH = word(phase, Phase.gapH), gapW = word(phase, Phase.gapW);
  const weights = word(phase, Phase.weights);
  // [channels, taps] → [taps, channels].
  for (let c: u32 = 0; c < channels; c++) {
    for (let t: u32 = 0; t < taps; t++)
      store<f32>(weights + ((t * channels + c) << 2), load<f32>(w + ((c * taps + t) << 2)));
  }
  const pixelBytes: usize = channels << 2, rowBytes = width * pixelBytes, stepX = stepW * pixelBytes;
  // The distances in bytes between the pixels, and between the weights, of neighbouring taps.
  const downX = gapH * rowBytes, acrossX = gapW * pixelBytes;
  const downW = pitchOf(tapsH, countH) * pixelBytes, acrossW = pitchOf(tapsW, countW) * pixelBytes;
  const long = countH * countW > BLOCK, kind: u32 = activation <= <u32>Activation.Relu6 ? activation : 0;
  const left = offsetOf(tapsW, 0), firstW = positionOf(tapsH, 0) + positionOf(tapsW, 0);
  // For the results [low, high) of a row, all columns of taps are inside the image. If neighbouring results share their pixels
  // (sharedTile), the first result of a tile may lack the first column, and the last result may lack the last column.
  const reach = left + <i32>((countW - 1) * gapW), shared = countW == 3 && stepW == gapW;
  const low = left < 0 ? min(gridW, (<u32>-left + stepW - 1) / stepW) : 0;
  const high = reach < <i32>width ? min(gridW, (<i32>width - 1 - reach) / stepW + 1) : 0;
  const from = low - u32(shared && low > 0), until = high + u32(shared && high < gridW);
  for (let r = begin; r < end;) {
    let j = r % gridW;
    const line = r / gridW, i = line % gridH, n = line / gridH, stop = min(gridW, j + end - r);
    r += stop - j;
    const row = out + n * word(phase, Phase.outImage) + i * word(phase, Phase.outRow),
      image = x + <usize>(n * height) * rowBytes;
    const top = <i32>(i * stepH) + offsetOf(tapsH, 0), a = firstTap(top, gapH);
    const rows = tapsInside(top, a, gapH, countH, height), first = j;
    const pixels = image + (top + a * gapH) * rowBytes + left * pixelBytes,
      by = weights + firstW * pixelBytes + a * downW;
    const last = low < high && channels >= NARROW && !long ? min(stop, until) : 0;
    while (j < stop) {
      const to = row + j * outPixel;
      if (j >= from && j < last && last - max(first, from) >= SIDE) {
        const t = min(j, last - SIDE), source = pixels + t * stepX, target = row + t * outPixel;
        if (shared) {
          sharedTile(target, outPixel, source, downX, stepX, by, downW, acrossW, rows, channels, t >= low,
            t + SIDE <= high, bias, kind);
        } else {
          plainTile(target, outPixel, source, downX, acrossX, stepX, by, downW, acrossW, rows, countW, channels, bias,
            kind);
        }
        j = t + SIDE;
        continue;
      }
      if (long) {
        for (let k: usize = 0; k < pixelBytes; k += 16)
          put(to + k, longPixel(phase, image + k, weights + k, i * stepH, j * stepW), bias, k, kind,
            channels - <u32>(k >> 2));
      } else {
        const start = left + <i32>(j * stepW), b = firstTap(start, gapW);
        single(to, pixels + j * stepX + b * acrossX, downX, acrossX, by + b * acrossW, downW, acrossW, rows,
          tapsInside(start, b, gapW, countW, width), channels, bias, kind);
      }
      j++;
    }
    const done = row + first * outPixel, count = stop - first;
    if (activation != kind) finish(done, outPixel, done, outPixel, count, channels, 0, 1, 0, activation, 0, 0);
    finishPixels(at, done, outPixel, count, 0, channels);
  }
}

/** Stores act(v + bias) for eight channels of SIDE results, which are `outPixel` bytes apart. */
@inline
function putTile(to: usize, outPixel: usize, s0: v128, t0: v128, s1: v128, t1: v128, s2: v128, t2: v128, s3: v128,
  t3: v128, bias: usize, activation: u32): void
{
  const zero = zeroOf(activation), floor = floorOf(activation), ceiling = ceilingOf(activation);
  const b0 = shiftAt(bias, zero), b1 = shiftAt(bias ? bias + 16 : 0, zero);
  put8(to, s0, t0, b0, b1, floor, ceiling);
  put8(to + outPixel, s1, t1, b0, b1, floor, ceiling);
  put8(to + 2 * outPixel, s2, t2, b0, b1, floor, ceiling);
  put8(to + 3 * outPixel, s3, t3, b0, b1, floor, ceiling);
}

@inline
function put8(to: usize, v0: v128, v1: v128, b0: v128, b1: v128, floor: v128, ceiling: v128): void {
  v128.store(to, clamp(f32x4.add(v0, b0), floor, ceiling));
  v128.store(to, clamp(f32x4.add(v1, b1), floor, ceiling), 16);
}

/**
 * Computes SIDE neighbouring results. The taps have three columns, which are as far apart as the results, so up to three results
 * use each pixel that is loaded. There are at least NARROW channels. `hasLeft`: whether the first result's first column of taps is
 * inside the image; `hasRight`: whether the last result's last column is.
 */
function sharedTile(to: usize, outPixel: usize, from: usize, downX: usize, stepX: usize, by: usize, downW: usize,
  acrossW: usize, rows: u32, channels: u32, hasLeft: bool, hasRight: bool, bias: usize, activation: u32): void
{
  for (let c: u32 = 0; c < channels; c += NARROW) {
    // If the last channels do not fill a step, compute a full step that ends with them.
    const offset = <usize>min(c, channels - NARROW) << 2;
    const zero = f32x4.splat(0);
    let s0 = zero, s1 = zero, s2 = zero, s3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero;
    let p = from + offset, q = by + offset;
    for (let h = rows; h > 0; h--, p += downX, q += downW) {
      const q1 = q + acrossW, q2 = q1 + acrossW;
      const p1 = p + stepX, p2 = p1 + stepX, p3 = p2 + stepX, p4 = p3 + stepX, p5 = p4 + stepX;
      let w0 = v128.load(q), w1 = v128.load(q1), w2 = v128.load(q2), v: v128;
      if (hasLeft) s0 = fma(v128.load(p), w0, s0);
      v = v128.load(p1);
      s0 = fma(v, w1, s0);
      s1 = fma(v, w0, s1);
      v = v128.load(p2);
      s0 = fma(v, w2, s0);
      s1 = fma(v, w1, s1);
      s2 = fma(v, w0, s2);
      v = v128.load(p3);
      s1 = fma(v, w2, s1);
      s2 = fma(v, w1, s2);
      s3 = fma(v, w0, s3);
      v = v128.load(p4);
      s2 = fma(v, w2, s2);
      s3 = fma(v, w1, s3);
      if (hasRight) s3 = fma(v128.load(p5), w2, s3);
      w0 = v128.load(q, 16);
      w1 = v128.load(q1, 16);
      w2 = v128.load(q2, 16);
      if (hasLeft) t0 = fma(v128.load(p, 16), w0, t0);
      v = v128.load(p1, 16);
      t0 = fma(v, w1, t0);
      t1 = fma(v, w0, t1);
      v = v128.load(p2, 16);
      t0 = fma(v, w2, t0);
      t1 = fma(v, w1, t1);
      t2 = fma(v, w0, t2);
      v = v128.load(p3, 16);
      t1 = fma(v, w2, t1);
      t2 = fma(v, w1, t2);
      t3 = fma(v, w0, t3);
      v = v128.load(p4, 16);
      t2 = fma(v, w2, t2);
      t3 = fma(v, w1, t3);
      if (hasRight) t3 = fma(v128.load(p5, 16), w2, t3);
    }
    putTile(to + offset, outPixel, s0, t0, s1, t1, s2, t2, s3, t3, bias ? bias + offset : 0, activation);
  }
}

/** Computes SIDE neighbouring results whose columns of taps are all inside the image. There are at least NARROW channels. */
function plainTile(to: usize, outPixel: usize, from: usize, downX: usize, acrossX: usize, stepX: usize, by: usize,
  downW: usize, acrossW: usize, rows: u32, columns: u32, channels: u32, bias: usize, activation: u32): void
{
  for (let c: u32 = 0; c < channels; c += NARROW) {
    const offset = <usize>min(c, channels - NARROW) << 2;
    const zero = f32x4.splat(0);
    let s0 = zero, s1 = zero, s2 = zero, s3 = zero, t0 = zero, t1 = zero, t2 = zero, t3 = zero;
    let p = from + offset, q = by + offset;
    for (let h = rows; h > 0; h--, p += downX, q += downW) {
      let p0 = p, at = q;
      for (let v = columns; v > 0; v--, p0 += acrossX, at += acrossW) {
        const w0 = v128.load(at), w1 = v128.load(at, 16), p1 = p0 + stepX, p2 = p1 + stepX, p3 = p2 + stepX;
        s0 = fma(v128.load(p0), w0, s0);
        t0 = fma(v128.load(p0, 16), w1, t0);
        s1 = fma(v128.load(p1), w0, s1);
        t1 = fma(v128.load(p1, 16), w1, t1);
        s2 = fma(v128.load(p2), w0, s2);
        t2 = fma(v128.load(p2, 16), w1, t2);
        s3 = fma(v128.load(p3), w0, s3);
        t3 = fma(v128.load(p3, 16), w1, t3);
      }
    }
    putTile(to + offset, outPixel, s0, t0, s1, t1, s2, t2, s3, t3, bias ? bias + offset : 0, activation);
  }
}

/** Computes one result from the taps that are inside the image. */
function single(to: usize, pixels: usize, downX: usize, acrossX: usize, first: usize, downW: usize, acrossW: usize,
  rows: u32, columns: u32, channels: u32, bias: usize, activation: u32): void
{
  for (let c: u32 = 0; c < channels; c += WIDE) {
    const offset: usize = c << 2, rest = channels - c, target = to + offset;
    let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
    let p = pixels + offset, q = first + offset;
    for (let h = rows; h > 0; h--, p += downX, q += downW) {
      for (let v = columns, from = p, by = q; v > 0; v--, from += acrossX, by += acrossW) {
        s0 = fma(v128.load(from), v128.load(by), s0);
        s1 = fma(v128.load(from, 16), v128.load(by, 16), s1);
        s2 = fma(v128.load(from, 32), v128.load(by, 32), s2);
        s3 = fma(v128.load(from, 48), v128.load(by, 48), s3);
      }
    }
    put(target, s0, bias, offset, activation, rest);
    if (rest > 4) put(target + 16, s1, bias, offset + 16, activation, rest - 4);
    if (rest > 8) put(target + 32, s2, bias, offset + 32, activation, rest - 8);
    if (rest > 12) put(target + 48, s3, bias, offset + 48, activation, rest - 12);
  }
}

/** The distance between the positions of neighbouring taps, which are evenly spaced. */
@inline
function pitchOf(taps: usize, count: u32): i32 {
  return count > 1 ? <i32>(positionOf(taps, 1) - positionOf(taps, 0)) : 0;
}

/** The first tap inside the image, for a window that begins at `start`, which may be before the image. */
@inline
function firstTap(start: i32, gap: u32): u32 { return start >= 0 ? 0 : (<u32>-start + gap - 1) / gap; }

/** The number of taps inside `size` pixels, beginning with tap `first`. */
@inline
function tapsInside(start: i32, first: u32, gap: u32, count: u32, size: u32): u32 {
  // Most windows end inside the image, and need no division.
  const last = start + <i32>((count - 1) * gap);
  const end = last < <i32>size ? count : start >= <i32>size ? 0 : (size - 1 - start) / gap + 1;
  return end > first ? end - first : 0;
}

/**
 * Computes four channels of a result with many taps. Tap offsets are relative to pixel (top, left). Sums up to BLOCK
 * taps of a row in float32, then adds each of these sums to a float64 total.
 */
function longPixel(phase: usize, image: usize, weights: usize, top: u32, left: u32): v128 {
  const height = word(phase, Phase.height), width = word(phase, Phase.width);
  const pixelBytes = word(phase, Phase.channels) << 2;
  const tapsH = word(phase, Phase.tapsH), tapsW = word(phase, Phase.tapsW);
  const countH = word(phase, Phase.countH), countW = word(phase, Phase.countW);
  let low = f64x2.splat(0), high = low;
  for (let a: u32 = 0; a < countH; a++) {
    const h = <i32>top + offsetOf(tapsH, a);
    if (<u32>h >= height) continue;
    const row = image + <usize>(h * width) * pixelBytes, place = positionOf(tapsH, a);
    for (let b: u32 = 0; b < countW;) {
      const stop = countW - b > BLOCK ? b + BLOCK : countW;
      let sum = f32x4.splat(0);
      for (; b < stop; b++) {
        const v = <i32>left + offsetOf(tapsW, b);
        if (<u32>v >= width) continue;
        sum = fma(v128.load(row + <usize>v * pixelBytes),
          v128.load(weights + <usize>(place + positionOf(tapsW, b)) * pixelBytes), sum);
      }
      low = f64x2.add(low, f64x2.promote_low_f32x4(sum));
      high = f64x2.add(high, promoteHigh(sum));
    }
  }
  return narrow(low, high);
}

/** Stores act(v + bias) for up to four channels of one result. */
@inline
function put(to: usize, v: v128, bias: usize, at: usize, activation: u32, count: u32): void {
  const shift = shiftAt(bias ? bias + at : 0, zeroOf(activation));
  storeLanes(to, clamp(f32x4.add(v, shift), floorOf(activation), ceilingOf(activation)), count);
}
