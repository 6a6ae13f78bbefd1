/**
 * Depthwise convolutions: every channel has a kernel of its own. Nothing to multiply as matrices: vectors run over channels.
 * Taps are lists of [place in the kernel, offset] along each dimension (conv.ts).
 */
import { relu, sigmoid, tanh } from "../math";
import { fma, promoteHigh, storeLanes } from "../simd";
import { Activation } from "../opcodes";

/** Channels at a time. */
const WIDE: u32 = 16;
/** Terms that are added in float32 before a sum goes on in float64. */
const BLOCK: u32 = 128;

/**
 * Pixels [begin, end) of a grid; pixel (n, i, j) is written at [n, phaseH + i·spreadH, phaseW + j·spreadW]. `scratch` takes
 * the weights with channels last.
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
  const pixelBytes = channels << 2;
  for (let r = begin; r < end; r++) {
    const j = r % gridW, i = r / gridW % gridH, n = r / gridW / gridH;
    const target = out + <usize>((n * outH + phaseH + i * spreadH) * outW + phaseW + j * spreadW) * pixelBytes;
    const image = x + <usize>(n * height * width) * pixelBytes;
    for (let c: u32 = 0; c < channels; c += WIDE) {
      const at: usize = c << 2;
      let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
      // Longer sums go on in float64: a block is a run of at most BLOCK taps, or as many rows of taps as reach BLOCK.
      let l0 = f64x2.splat(0), l1 = l0, l2 = l0, l3 = l0, h0 = l0, h1 = l0, h2 = l0, h3 = l0;
      let terms: u32 = 0, deep = false;
      for (let a: u32 = 0; a < countH; a++) {
        const h = <i32>(i * stepH) + load<i32>(tapsH + (a << 3), 4);
        if (<u32>h >= height) continue;
        for (let b: u32 = 0; b < countW;) {
          const stop = countW - b > BLOCK ? b + BLOCK : countW;
          terms += stop - b;
          for (; b < stop; b++) {
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
          if (terms >= BLOCK) {
            l0 = f64x2.add(l0, f64x2.promote_low_f32x4(s0));
            h0 = f64x2.add(h0, promoteHigh(s0));
            l1 = f64x2.add(l1, f64x2.promote_low_f32x4(s1));
            h1 = f64x2.add(h1, promoteHigh(s1));
            l2 = f64x2.add(l2, f64x2.promote_low_f32x4(s2));
            h2 = f64x2.add(h2, promoteHigh(s2));
            l3 = f64x2.add(l3, f64x2.promote_low_f32x4(s3));
            h3 = f64x2.add(h3, promoteHigh(s3));
            s0 =
              s1 =
              s2 =
              s3 =
                f32x4.splat(0);
            terms = 0;
            deep = true;
          }
        }
      }
      if (deep) {
        s0 = total(l0, h0, s0);
        s1 = total(l1, h1, s1);
        s2 = total(l2, h2, s2);
        s3 = total(l3, h3, s3);
      }
      const rest = channels - c;
      put(target + at, s0, bias, at, activation, rest);
      if (rest > 4) put(target + at + 16, s1, bias, at + 16, activation, rest - 4);
      if (rest > 8) put(target + at + 32, s2, bias, at + 32, activation, rest - 8);
      if (rest > 12) put(target + at + 48, s3, bias, at + 48, activation, rest - 12);
    }
  }
}

/** (low, high) + s, added in float64. */
function total(low: v128, high: v128, s: v128): v128 {
  return narrow(f64x2.add(low, f64x2.promote_low_f32x4(s)), f64x2.add(high, promoteHigh(s)));
}

@inline
function narrow(low: v128, high: v128): v128 {
  return i64x2.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

/** Not inlined: its activations would stand there four times. */
function put(to: usize, v: v128, bias: usize, at: usize, activation: u32, count: u32): void {
  if (bias) v = f32x4.add(v, v128.load(bias + at));
  if (activation == Activation.Relu) v = relu(v);
  else if (activation == Activation.Tanh) v = tanh(v);
  else if (activation == Activation.Sigmoid) v = sigmoid(v);
  storeLanes(to, v, count);
}

/** dW[c, tap] = Σ over pixels of x·dy, for channels [begin, end); blocks along a row of pixels in float32, these in float64. */
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
        let low = f64x2.splat(0), high = low;
        for (let n: u32 = 0; n < batch; n++) {
          for (let i: u32 = 0; i < outH; i++) {
            const h = <i32>(i * stepH) + load<i32>(tapsH + (a << 3), 4);
            if (<u32>h >= height) continue;
            const row = x + <usize>((n * height + h) * width) * pixelBytes + at;
            const gradients = dy + <usize>((n * outH + i) * outW) * pixelBytes + at;
            for (let j: u32 = 0; j < outW;) {
              const stop = outW - j > BLOCK ? j + BLOCK : outW;
              let sum = f32x4.splat(0);
              for (; j < stop; j++) {
                const v = <i32>(j * stepW) + offsetW;
                if (<u32>v < width)
                  sum = fma(v128.load(row + <usize>v * pixelBytes), v128.load(gradients + <usize>j * pixelBytes), sum);
              }
              low = f64x2.add(low, f64x2.promote_low_f32x4(sum));
              high = f64x2.add(high, promoteHigh(sum));
            }
          }
        }
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
