/**
 * Depthwise convolutions: each channel has its own kernel. The kernels vectorize over channels instead of computing a
 * matrix product.
 */
import { offsetOf, Phase, positionOf } from "./convPhase";
import { relu, relu6, sigmoid, tanh } from "../math";
import { fma, narrow, promoteHigh, storeLanes } from "../simd";
import { Conv } from "../layerLayouts";
import { Activation } from "../opcodes";
import { word } from "../operands";

/** The number of channels per step. */
const WIDE: u32 = 16;
/** The number of terms that are summed in float32 before their sum is added to a float64 total. */
const BLOCK: u32 = 128;

/** Computes results [begin, end) of a phase's grid. */
export function depthwise(at: usize, phase: usize, begin: u32, end: u32): void {
  const out = word(at, Conv.out) + word(phase, Phase.outFirst), x = word(at, Conv.a), w = word(at, Conv.b);
  const bias = word(at, Conv.bias);
  const activation = word(at, Conv.activation), taps = word(at, Conv.kernelHeight) * word(at, Conv.kernelWidth);
  const height = word(phase, Phase.height), width = word(phase, Phase.width), channels = word(phase, Phase.channels);
  const gridH = word(phase, Phase.gridHeight), gridW = word(phase, Phase.gridWidth);
  const outImage = word(phase, Phase.outImage), outRow = word(phase, Phase.outRow),
    outPixel = word(phase, Phase.outPixel);
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
  if (begin >= end) return;
  const pixelBytes: usize = channels << 2, rowBytes = width * pixelBytes, stepBytes = stepW * pixelBytes;
  // The distances in bytes between the pixels, and between the weights, of neighbouring taps.
  const downX = gapH * rowBytes, acrossX = gapW * pixelBytes;
  const downW = pitchOf(tapsH, countH) * pixelBytes, acrossW = pitchOf(tapsW, countW) * pixelBytes;
  const long = countH * countW > BLOCK;
  // Counting up from the first result is faster than computing each result's position by division.
  let j = begin % gridW, i = begin / gridW % gridH, n = begin / gridW / gridH;
  for (let r = begin; r < end; r++) {
    let target = out + n * outImage + i * outRow + j * outPixel;
    const image = x + <usize>(n * height) * rowBytes;
    const top = <i32>(i * stepH) + offsetOf(tapsH, 0), left = <i32>(j * stepW) + offsetOf(tapsW, 0);
    const a = firstTap(top, gapH), b = firstTap(left, gapW);
    const rows = tapsInside(top, a, gapH, countH, height), columns = tapsInside(left, b, gapW, countW, width);
    // Two neighbouring results in a row that use the same taps share each load of the weights.
    const next = left + stepW;
    const pair = !long && j + 1 < gridW && r + 1 < end && left >= 0
      && tapsInside(next, 0, gapW, countW, width) == columns;
    const pixels = image + (top + a * gapH) * rowBytes + (left + b * gapW) * pixelBytes;
    const first = weights + (positionOf(tapsH, 0) + positionOf(tapsW, 0)) * pixelBytes + a * downW + b * acrossW;
    for (let c: u32 = 0; c < channels; c += WIDE) {
      const offset: usize = c << 2, to = target + offset, rest = channels - c;
      if (long) {
        for (let k = offset; k < offset + 64 && k < pixelBytes; k += 16)
          put(target + k, longPixel(phase, image + k, weights + k, i * stepH, j * stepW), bias, k, activation,
            channels - <u32>(k >> 2));
        continue;
      }
      let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
      let p = pixels + offset, q = first + offset;
      if (pair) {
        let t0 = s0, t1 = s0, t2 = s0, t3 = s0;
        for (let h = rows; h > 0; h--, p += downX, q += downW) {
          for (let v = columns, from = p, by = q; v > 0; v--, from += acrossX, by += acrossW) {
            const w0 = v128.load(by), w1 = v128.load(by, 16), w2 = v128.load(by, 32), w3 = v128.load(by, 48);
            s0 = fma(v128.load(from), w0, s0);
            s1 = fma(v128.load(from, 16), w1, s1);
            s2 = fma(v128.load(from, 32), w2, s2);
            s3 = fma(v128.load(from, 48), w3, s3);
            const beside = from + stepBytes;
            t0 = fma(v128.load(beside), w0, t0);
            t1 = fma(v128.load(beside, 16), w1, t1);
            t2 = fma(v128.load(beside, 32), w2, t2);
            t3 = fma(v128.load(beside, 48), w3, t3);
          }
        }
        putWide(to + outPixel, t0, t1, t2, t3, bias, offset, activation, rest);
      } else {
        for (let h = rows; h > 0; h--, p += downX, q += downW) {
          for (let v = columns, from = p, by = q; v > 0; v--, from += acrossX, by += acrossW) {
            s0 = fma(v128.load(from), v128.load(by), s0);
            s1 = fma(v128.load(from, 16), v128.load(by, 16), s1);
            s2 = fma(v128.load(from, 32), v128.load(by, 32), s2);
            s3 = fma(v128.load(from, 48), v128.load(by, 48), s3);
          }
        }
      }
      putWide(to, s0, s1, s2, s3, bias, offset, activation, rest);
    }
    if (pair) r++;
    j += pair ? 2 : 1;
    if (j >= gridW) {
      j = 0;
      if (++i == gridH) {
        i = 0;
        n++;
      }
    }
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

/** Adds the bias to up to 16 channels of one result, applies the activation, and stores them. */
function putWide(to: usize, s0: v128, s1: v128, s2: v128, s3: v128, bias: usize, at: usize, activation: u32,
  count: u32): void
{
  if (bias) {
    const by = bias + at;
    s0 = f32x4.add(s0, v128.load(by));
    s1 = f32x4.add(s1, v128.load(by, 16));
    s2 = f32x4.add(s2, v128.load(by, 32));
    s3 = f32x4.add(s3, v128.load(by, 48));
  }
  if (activation == Activation.Relu) {
    s0 = relu(s0);
    s1 = relu(s1);
    s2 = relu(s2);
    s3 = relu(s3);
  } else if (activation == Activation.Relu6) {
    s0 = relu6(s0);
    s1 = relu6(s1);
    s2 = relu6(s2);
    s3 = relu6(s3);
  } else if (activation) {
    s0 = activate(s0, activation);
    s1 = activate(s1, activation);
    s2 = activate(s2, activation);
    s3 = activate(s3, activation);
  }
  storeLanes(to, s0, count);
  if (count > 4) storeLanes(to + 16, s1, count - 4);
  if (count > 8) storeLanes(to + 32, s2, count - 8);
  if (count > 12) storeLanes(to + 48, s3, count - 12);
}

/** Not inlined, because otherwise tanh and sigmoid would be emitted four times. */
function activate(v: v128, activation: u32): v128 {
  if (activation == Activation.Relu) return relu(v);
  if (activation == Activation.Relu6) return relu6(v);
  if (activation == Activation.Tanh) return tanh(v);
  return sigmoid(v);
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

/** Like putWide, for up to four channels of one result. */
function put(to: usize, v: v128, bias: usize, at: usize, activation: u32, count: u32): void {
  if (bias) v = f32x4.add(v, v128.load(bias + at));
  if (activation) v = activate(v, activation);
  storeLanes(to, v, count);
}

/**
 * dW[c, tap] = Σ x·dy over pixels, for channels [begin, end). Sums products in float32 until there are at least BLOCK of
 * them, then adds the sum to a float64 total.
 */
export function depthwiseWeight(at: usize, phase: usize, begin: u32, end: u32): void {
  const out = word(at, Conv.out), x = word(at, Conv.a), dy = word(at, Conv.b), batch = word(at, Conv.batch);
  const height = word(phase, Phase.height), width = word(phase, Phase.width), channels = word(phase, Phase.channels);
  const outH = word(phase, Phase.gridHeight), outW = word(phase, Phase.gridWidth);
  const stepH = word(phase, Phase.stepH), stepW = word(phase, Phase.stepW);
  const tapsH = word(phase, Phase.tapsH), tapsW = word(phase, Phase.tapsW);
  const countH = word(phase, Phase.countH), countW = word(phase, Phase.countW);
  const pixelBytes = channels << 2;
  const taps = countH * countW;
  for (let c = begin; c < end; c += 4) {
    const offset: usize = c << 2;
    for (let a: u32 = 0; a < countH; a++) {
      for (let b: u32 = 0; b < countW; b++) {
        const offsetW = offsetOf(tapsW, b);
        let low = f64x2.splat(0), high = low, sum = f32x4.splat(0), terms: u32 = 0;
        for (let n: u32 = 0; n < batch; n++) {
          for (let i: u32 = 0; i < outH; i++) {
            const h = <i32>(i * stepH) + offsetOf(tapsH, a);
            if (<u32>h >= height) continue;
            const row = x + <usize>((n * height + h) * width) * pixelBytes + offset;
            const gradients = dy + <usize>((n * outH + i) * outW) * pixelBytes + offset;
            for (let j: u32 = 0; j < outW;) {
              const stop = outW - j > BLOCK ? j + BLOCK : outW;
              terms += stop - j;
              for (; j < stop; j++) {
                const v = <i32>(j * stepW) + offsetW;
                if (<u32>v < width)
                  sum = fma(v128.load(row + <usize>v * pixelBytes), v128.load(gradients + <usize>j * pixelBytes), sum);
              }
              if (terms < BLOCK) continue;
              low = f64x2.add(low, f64x2.promote_low_f32x4(sum));
              high = f64x2.add(high, promoteHigh(sum));
              sum = f32x4.splat(0);
              terms = 0;
            }
          }
        }
        low = f64x2.add(low, f64x2.promote_low_f32x4(sum));
        high = f64x2.add(high, promoteHigh(sum));
        const sums = narrow(low, high);
        const tap = a * countW + b;
        store<f32>(out + ((c * taps + tap) << 2), f32x4.extract_lane(sums, 0));
        if (c + 1 < end) store<f32>(out + (((c + 1) * taps + tap) << 2), f32x4.extract_lane(sums, 1));
        if (c + 2 < end) store<f32>(out + (((c + 2) * taps + tap) << 2), f32x4.extract_lane(sums, 2));
        if (c + 3 < end) store<f32>(out + (((c + 3) * taps + tap) << 2), f32x4.extract_lane(sums, 3));
      }
    }
  }
}
