/**
 * Max and average pooling of images, channels last. The kernels vectorize over channels. Averages are float64 sums
 * multiplied by 1/n; only 2 × 2 windows are summed in float32.
 */
import { AvgPool, MaxPool } from "../layerLayouts";
import { word } from "../operands";
import { narrow, promoteHigh, selectLanes, storeLanes } from "../simd";

/** The number of channels per step: four vectors, because the registers hold this many maxima in addition to the values. */
const WIDE: u32 = 16;

/**
 * Computes pixels [begin, end) of [batch, outHeight, outWidth, channels]: the largest value of each window, and the
 * index row·width + column of its first occurrence in the image. NaN counts as the largest. A window reads at least one
 * pixel. Without `places`, computes only the values (see `largest`).
 */
export function maxPool(instruction: usize, begin: u32, end: u32): void {
  if (!word(instruction, MaxPool.places)) {
    largest(instruction, begin, end);
    return;
  }
  const out = word(instruction, MaxPool.out), places = word(instruction, MaxPool.places),
    x = word(instruction, MaxPool.x);
  const height = word(instruction, MaxPool.height), width = word(instruction, MaxPool.width),
    channels = word(instruction, MaxPool.channels);
  const outHeight = word(instruction, MaxPool.outHeight), outWidth = word(instruction, MaxPool.outWidth);
  const kernelH = word(instruction, MaxPool.kernelH), kernelW = word(instruction, MaxPool.kernelW);
  const strideH = word(instruction, MaxPool.strideH), strideW = word(instruction, MaxPool.strideW);
  const padTop = <i32>word(instruction, MaxPool.padTop), padLeft = <i32>word(instruction, MaxPool.padLeft);
  const dilationH = word(instruction, MaxPool.dilationH), dilationW = word(instruction, MaxPool.dilationW);
  const pixelBytes = <usize>channels << 2;
  for (let r = begin; r < end; r++) {
    const j = r % outWidth, i = r / outWidth % outHeight, n = r / outWidth / outHeight;
    const image = x + <usize>(n * height * width) * pixelBytes;
    const h0 = <i32>(i * strideH) - padTop, w0 = <i32>(j * strideW) - padLeft;
    for (let c: u32 = 0; c < channels; c += 4) {
      const at: usize = c << 2;
      let most = f32x4.splat(-Infinity), place = i32x4.splat(-1);
      for (let a: u32 = 0; a < kernelH; a++) {
        const h = h0 + <i32>(a * dilationH);
        if (<u32>h >= height) continue;
        for (let b: u32 = 0; b < kernelW; b++) {
          const w = w0 + <i32>(b * dilationW);
          if (<u32>w >= width) continue;
          const where = h * width + w;
          const v = v128.load(image + <usize>where * pixelBytes + at);
          // Take v if it is larger, NaN, or the window's first value.
          const better = v128.or(v128.or(f32x4.gt(v, most), f32x4.ne(v, v)), i32x4.lt_s(place, i32x4.splat(0)));
          most = selectLanes(v, most, better);
          place = selectLanes(i32x4.splat(where), place, better);
        }
      }
      storeLanes(out + <usize>r * pixelBytes + at, most, channels - c);
      storeLanes(places + <usize>r * pixelBytes + at, place, channels - c);
    }
  }
}

/**
 * Like maxPool, but without positions: computes pixels [begin, end) of the largest values. NaNs are ignored unless
 * `propagates` is set. Windows must have no dilation, and each must read at least one pixel.
 */
function largest(instruction: usize, begin: u32, end: u32): void {
  const out = word(instruction, MaxPool.out), x = word(instruction, MaxPool.x);
  const height = word(instruction, MaxPool.height), width = word(instruction, MaxPool.width),
    channels = word(instruction, MaxPool.channels);
  const outHeight = word(instruction, MaxPool.outHeight), outWidth = word(instruction, MaxPool.outWidth);
  const kernelH = word(instruction, MaxPool.kernelH), kernelW = word(instruction, MaxPool.kernelW);
  const strideH = word(instruction, MaxPool.strideH), strideW = word(instruction, MaxPool.strideW);
  const padTop = <i32>word(instruction, MaxPool.padTop), padLeft = <i32>word(instruction, MaxPool.padLeft);
  const propagates = word(instruction, MaxPool.propagates);
  const pixelBytes = <usize>channels << 2, rowBytes = <usize>width * pixelBytes;
  if (begin >= end) return;
  // Counting up from the first pixel is faster than computing each pixel's position by division, which takes as long as
  // a window.
  let j = begin % outWidth, i = begin / outWidth % outHeight, n = begin / outWidth / outHeight;
  for (let r = begin; r < end; r++) {
    const top = <i32>(i * strideH) - padTop, left = <i32>(j * strideW) - padLeft;
    const h0 = bounded(top, 0, height), h1 = bounded(top + kernelH, 0, height);
    const w0 = bounded(left, 0, width), w1 = bounded(left + kernelW, 0, width);
    const across = <u32>(w1 - w0), down = <u32>(h1 - h0);
    const first = x + (<usize>n * height + h0) * rowBytes + <usize>w0 * pixelBytes;
    if (++j == outWidth) {
      j = 0;
      if (++i == outHeight) {
        i = 0;
        n++;
      }
    }
    const target = out + <usize>r * pixelBytes;
    for (let c: u32 = 0; c < channels; c += WIDE) {
      const least = f32x4.splat(-Infinity);
      let row = first + (<usize>c << 2), m0 = least, m1 = least, m2 = least, m3 = least;
      for (let a = down; a > 0; a--, row += rowBytes) {
        for (let b = across, p = row; b > 0; b--, p += pixelBytes) {
          m0 = f32x4.pmax(m0, v128.load(p));
          m1 = f32x4.pmax(m1, v128.load(p, 16));
          m2 = f32x4.pmax(m2, v128.load(p, 32));
          m3 = f32x4.pmax(m3, v128.load(p, 48));
        }
      }
      if (propagates) {
        row = first + (<usize>c << 2);
        let n0 = f32x4.splat(0), n1 = n0, n2 = n0, n3 = n0;
        for (let a = down; a > 0; a--, row += rowBytes) {
          for (let b = across, p = row; b > 0; b--, p += pixelBytes) {
            n0 = withNaN(n0, v128.load(p));
            n1 = withNaN(n1, v128.load(p, 16));
            n2 = withNaN(n2, v128.load(p, 32));
            n3 = withNaN(n3, v128.load(p, 48));
          }
        }
        m0 = v128.or(m0, n0);
        m1 = v128.or(m1, n1);
        m2 = v128.or(m2, n2);
        m3 = v128.or(m3, n3);
      }
      const to = target + (<usize>c << 2), rest = channels - c;
      storeLanes(to, m0, rest);
      if (rest > 4) storeLanes(to + 16, m1, rest - 4);
      if (rest > 8) storeLanes(to + 32, m2, rest - 8);
      if (rest > 12) storeLanes(to + 48, m3, rest - 12);
    }
  }
}

/** Sets all bits of the lanes in which v is NaN. */
@inline
function withNaN(mask: v128, v: v128): v128 { return v128.or(mask, f32x4.ne(v, v)); }

@inline
function bounded(v: i32, low: i32, high: i32): i32 { return v < low ? low : v > high ? high : v; }

/**
 * Computes pixels [begin, end) of [batch, outHeight, outWidth, channels]: the mean of each window, which reads at least
 * one pixel.
 */
export function avgPool(instruction: usize, begin: u32, end: u32): void {
  const out = word(instruction, AvgPool.out), x = word(instruction, AvgPool.x);
  const height = word(instruction, AvgPool.height), width = word(instruction, AvgPool.width),
    channels = word(instruction, AvgPool.channels);
  const outHeight = word(instruction, AvgPool.outHeight), outWidth = word(instruction, AvgPool.outWidth);
  const kernelH = word(instruction, AvgPool.kernelH), kernelW = word(instruction, AvgPool.kernelW);
  const strideH = word(instruction, AvgPool.strideH), strideW = word(instruction, AvgPool.strideW);
  const padTop = <i32>word(instruction, AvgPool.padTop), padLeft = <i32>word(instruction, AvgPool.padLeft),
    countPad = word(instruction, AvgPool.countPad);
  const pixelBytes = <usize>channels << 2, rowBytes = <usize>width * pixelBytes;
  if (begin >= end) return;
  let j = begin % outWidth, i = begin / outWidth % outHeight, n = begin / outWidth / outHeight;
  for (let r = begin; r < end; r++) {
    const top = <i32>(i * strideH) - padTop, left = <i32>(j * strideW) - padLeft;
    const h0 = bounded(top, 0, height), h1 = bounded(top + kernelH, 0, height);
    const w0 = bounded(left, 0, width), w1 = bounded(left + kernelW, 0, width);
    const across = <u32>(w1 - w0), down = <u32>(h1 - h0);
    // For float64 sums of float32, multiplying by 1/n rounds to the same float32 as dividing by n.
    const rate = f64x2.splat(1 / (countPad ? <f64>kernelH * <f64>kernelW : <f64>down * <f64>across));
    const first = x + (<usize>n * height + h0) * rowBytes + <usize>w0 * pixelBytes;
    if (++j == outWidth) {
      j = 0;
      if (++i == outHeight) {
        i = 0;
        n++;
      }
    }
    if (across == 2 && down == 2 && kernelH == 2 && kernelW == 2) {
      // Sum 2 × 2 windows in float32, in pairs: for equal values, the sum is then exact, as in float64. If a sum is not
      // finite, fall through to the float64 loop.
      const by = f32x4.splat(<f32>f64x2.extract_lane(rate, 0));
      let large = f32x4.splat(0);
      for (let c: u32 = 0; c < channels; c += 4) {
        const p = first + (<usize>c << 2), q = p + rowBytes;
        const upper = f32x4.add(v128.load(p), v128.load(p + pixelBytes));
        const lower = f32x4.add(v128.load(q), v128.load(q + pixelBytes));
        const sum = f32x4.add(upper, lower);
        large = v128.or(large, f32x4.ne(f32x4.sub(sum, sum), f32x4.splat(0)));
        storeLanes(out + <usize>r * pixelBytes + (<usize>c << 2), f32x4.mul(sum, by), channels - c);
      }
      if (!v128.any_true(large)) continue;
    }
    for (let c: u32 = 0; c < channels; c += 8) {
      const zero = f64x2.splat(0);
      let row = first + (<usize>c << 2), l0 = zero, h0 = zero, l1 = zero, h1 = zero;
      for (let a = down; a > 0; a--, row += rowBytes) {
        for (let b = across, p = row; b > 0; b--, p += pixelBytes) {
          const v = v128.load(p), w = v128.load(p, 16);
          l0 = f64x2.add(l0, f64x2.promote_low_f32x4(v));
          h0 = f64x2.add(h0, promoteHigh(v));
          l1 = f64x2.add(l1, f64x2.promote_low_f32x4(w));
          h1 = f64x2.add(h1, promoteHigh(w));
        }
      }
      const to = out + <usize>r * pixelBytes + (<usize>c << 2);
      storeLanes(to, narrow(f64x2.mul(l0, rate), f64x2.mul(h0, rate)), channels - c);
      if (channels - c > 4) storeLanes(to + 16, narrow(f64x2.mul(l1, rate), f64x2.mul(h1, rate)), channels - c - 4);
    }
  }
}

/**
 * Computes pixels [begin, end) of dx: [batch, height, width, channels]: Σ dy/n over the windows that contain the pixel, with
 * n as in `avgPool`.
 */
export function avgPoolGrad(instruction: usize, begin: u32, end: u32): void {
  const out = word(instruction, AvgPool.out), dy = word(instruction, AvgPool.x);
  const height = word(instruction, AvgPool.height), width = word(instruction, AvgPool.width),
    channels = word(instruction, AvgPool.channels);
  const outHeight = word(instruction, AvgPool.outHeight), outWidth = word(instruction, AvgPool.outWidth);
  const kernelH = word(instruction, AvgPool.kernelH), kernelW = word(instruction, AvgPool.kernelW);
  const strideH = word(instruction, AvgPool.strideH), strideW = word(instruction, AvgPool.strideW);
  const padTop = word(instruction, AvgPool.padTop), padLeft = word(instruction, AvgPool.padLeft),
    countPad = word(instruction, AvgPool.countPad);
  const pixelBytes = <usize>channels << 2, whole = f64x2.splat(1 / (<f64>kernelH * <f64>kernelW));
  for (let r = begin; r < end; r++) {
    // The pixel's position in the padded image, and the windows [i0, i1) × [j0, j1) that contain the pixel.
    const w = r % width + padLeft, h = r / width % height + padTop, n = r / width / height;
    const i0: u32 = h < kernelH ? 0 : (h - kernelH) / strideH + 1, i1 = min<u32>(h / strideH + 1, outHeight);
    const j0: u32 = w < kernelW ? 0 : (w - kernelW) / strideW + 1, j1 = min<u32>(w / strideW + 1, outWidth);
    const target = out + <usize>r * pixelBytes,
      source = dy + <usize>((n * outHeight + i0) * outWidth + j0) * pixelBytes;
    if (i1 - i0 == 1 && j1 - j0 == 1) {
      // Divide by n in float32, which rounds like multiplying by 1/n in float64.
      const by = f32x4.splat(
        <f32>(countPad
          ? kernelH * kernelW
          : inWindow(i0 * strideH, padTop, kernelH, height) * inWindow(j0 * strideW, padLeft, kernelW, width)),
      );
      for (let c: u32 = 0; c < channels; c += 4)
        storeLanes(target + (<usize>c << 2), f32x4.div(v128.load(source + (<usize>c << 2)), by), channels - c);
      continue;
    }
    for (let c: u32 = 0; c < channels; c += 8) {
      const zero = f64x2.splat(0);
      let row = source + (<usize>c << 2), l0 = zero, h0 = zero, l1 = zero, h1 = zero;
      for (let i = i0; i < i1; i++, row += outWidth * pixelBytes) {
        const down = countPad ? 1 : inWindow(i * strideH, padTop, kernelH, height);
        for (let j = j0, p = row; j < j1; j++, p += pixelBytes) {
          const v = v128.load(p), w = v128.load(p, 16);
          const by = countPad ? whole : f64x2.splat(1 / <f64>(down * inWindow(j * strideW, padLeft, kernelW, width)));
          l0 = f64x2.add(l0, f64x2.mul(f64x2.promote_low_f32x4(v), by));
          h0 = f64x2.add(h0, f64x2.mul(promoteHigh(v), by));
          l1 = f64x2.add(l1, f64x2.mul(f64x2.promote_low_f32x4(w), by));
          h1 = f64x2.add(h1, f64x2.mul(promoteHigh(w), by));
        }
      }
      const to = target + (<usize>c << 2);
      storeLanes(to, narrow(l0, h0), channels - c);
      if (channels - c > 4) storeLanes(to + 16, narrow(l1, h1), channels - c - 4);
    }
  }
}

/** The number of a window's positions along one dimension that are inside the image. */
@inline
function inWindow(start: u32, pad: u32, kernel: u32, size: u32): u32 {
  const first = <i32>start - <i32>pad;
  return <u32>(bounded(first + kernel, 0, size) - bounded(first, 0, size));
}
