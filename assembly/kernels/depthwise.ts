/**
 * Depthwise convolutions: each channel has its own kernel. They are not matrix products: vectors run over channels.
 * Taps are lists of [position in the kernel, offset] along each dimension (conv.ts).
 */
import { relu, sigmoid, tanh } from "../math";
import { fma, narrow, promoteHigh, storeLanes } from "../simd";
import { Activation } from "../opcodes";

/** Channels per step. */
const WIDE: u32 = 16;
/** The number of terms a sum adds in float32 before it continues in float64. */
const BLOCK: u32 = 128;

/**
 * Computes pixels [begin, end) of a grid; pixel (n, i, j) is written at [n, phaseH + i·spreadH, phaseW + j·spreadW]. `scratch`
 * receives the weights with channels last.
 */
export function depthwise(out: usize, x: usize, w: usize, bias: usize, channels: u32, taps: u32, kernelWidth: u32,
  height: u32, width: u32, gridH: u32, gridW: u32, stepH: u32, stepW: u32, tapsH: usize, countH: u32, tapsW: usize,
  countW: u32, outH: u32, outW: u32, spreadH: u32, spreadW: u32, phaseH: u32, phaseW: u32, activation: u32,
  scratch: usize, begin: u32, end: u32): void
{
  // [channels, taps] → [taps, channels].
  for (let c: u32 = 0; c < channels; c++) {
    for (let t: u32 = 0; t < taps; t++)
      store<f32>(scratch + ((t * channels + c) << 2), load<f32>(w + ((c * taps + t) << 2)));
  }
  const pixelBytes = channels << 2, long = countH * countW > BLOCK;
  for (let r = begin; r < end; r++) {
    const j = r % gridW, i = r / gridW % gridH, n = r / gridW / gridH;
    const target = out + <usize>((n * outH + phaseH + i * spreadH) * outW + phaseW + j * spreadW) * pixelBytes;
    const image = x + <usize>(n * height * width) * pixelBytes;
    for (let c: u32 = 0; c < channels; c += WIDE) {
      const at: usize = c << 2, rest = channels - c;
      if (long) {
        for (let k: usize = 0; k < 64 && k >> 2 < rest; k += 16) {
          const v = longPixel(image + at + k, scratch + at + k, pixelBytes, kernelWidth, height, width, i * stepH,
            j * stepW, tapsH, countH, tapsW, countW);
          put(target + at + k, v, bias, at + k, activation, rest - <u32>(k >> 2));
        }
        continue;
      }
      let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
      for (let a: u32 = 0; a < countH; a++) {
        const h = <i32>(i * stepH) + load<i32>(tapsH + (a << 3), 4);
        if (<u32>h >= height) continue;
        for (let b: u32 = 0; b < countW; b++) {
          const v = <i32>(j * stepW) + load<i32>(tapsW + (b << 3), 4);
          if (<u32>v >= width) continue;
          const p = image + <usize>(h * width + v) * pixelBytes + at;
          const q = scratch
            + <usize>(load<u32>(tapsH + (a << 3)) * kernelWidth + load<u32>(tapsW + (b << 3))) * pixelBytes + at;
          s0 = fma(v128.load(p), v128.load(q), s0);
          s1 = fma(v128.load(p, 16), v128.load(q, 16), s1);
          s2 = fma(v128.load(p, 32), v128.load(q, 32), s2);
          s3 = fma(v128.load(p, 48), v128.load(q, 48), s3);
        }
      }
      put(target + at, s0, bias, at, activation, rest);
      if (rest > 4) put(target + at + 16, s1, bias, at + 16, activation, rest - 4);
      if (rest > 8) put(target + at + 32, s2, bias, at + 32, activation, rest - 8);
      if (rest > 12) put(target + at + 48, s3, bias, at + 48, activation, rest - 12);
    }
  }
}

/** Four channels of a pixel with many taps: sums at most BLOCK taps of a row in float32, and these sums in float64. */
function longPixel(image: usize, weights: usize, pixelBytes: u32, kernelWidth: u32, height: u32, width: u32, top: u32,
  left: u32, tapsH: usize, countH: u32, tapsW: usize, countW: u32): v128
{
  let low = f64x2.splat(0), high = low;
  for (let a: u32 = 0; a < countH; a++) {
    const h = <i32>top + load<i32>(tapsH + (a << 3), 4);
    if (<u32>h >= height) continue;
    const row = image + <usize>(h * <i32>width) * pixelBytes, place = load<u32>(tapsH + (a << 3)) * kernelWidth;
    for (let b: u32 = 0; b < countW;) {
      const stop = countW - b > BLOCK ? b + BLOCK : countW;
      let sum = f32x4.splat(0);
      for (; b < stop; b++) {
        const v = <i32>left + load<i32>(tapsW + (b << 3), 4);
        if (<u32>v >= width) continue;
        sum = fma(v128.load(row + <usize>v * pixelBytes),
          v128.load(weights + <usize>(place + load<u32>(tapsW + (b << 3))) * pixelBytes), sum);
      }
      low = f64x2.add(low, f64x2.promote_low_f32x4(sum));
      high = f64x2.add(high, promoteHigh(sum));
    }
  }
  return narrow(low, high);
}

/** Not inlined, because the activations would be emitted four times. */
function put(to: usize, v: v128, bias: usize, at: usize, activation: u32, count: u32): void {
  if (bias) v = f32x4.add(v, v128.load(bias + at));
  if (activation == Activation.Relu) v = relu(v);
  else if (activation == Activation.Tanh) v = tanh(v);
  else if (activation == Activation.Sigmoid) v = sigmoid(v);
  storeLanes(to, v, count);
}

/** dW[c, tap] = Σ over pixels of x·dy, for channels [begin, end): blocks of a row of pixels in float32, their sums in float64. */
export function depthwiseWeight(out: usize, x: usize, dy: usize, channels: u32, height: u32, width: u32, outH: u32,
  outW: u32, batch: u32, stepH: u32, stepW: u32, tapsH: usize, countH: u32, tapsW: usize, countW: u32, begin: u32,
  end: u32): void
{
  const pixelBytes = channels << 2;
  const taps = countH * countW;
  for (let c = begin; c < end; c += 4) {
    const at: usize = c << 2;
    for (let a: u32 = 0; a < countH; a++) {
      for (let b: u32 = 0; b < countW; b++) {
        const offsetW = load<i32>(tapsW + (b << 3), 4);
        let low = f64x2.splat(0), high = low, sum = f32x4.splat(0), terms: u32 = 0;
        for (let n: u32 = 0; n < batch; n++) {
          for (let i: u32 = 0; i < outH; i++) {
            const h = <i32>(i * stepH) + load<i32>(tapsH + (a << 3), 4);
            if (<u32>h >= height) continue;
            const row = x + <usize>((n * height + h) * width) * pixelBytes + at;
            const gradients = dy + <usize>((n * outH + i) * outW) * pixelBytes + at;
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
