/** Pooling of images with channels last: vectors run over channels. Averages are sums in float64, divided once. */
import { promoteHigh, storeLanes } from "../simd";

/**
 * Pixels [begin, end) of [batch, outHeight, outWidth, channels]: the largest value of each window, and its place row·width +
 * column in the image, the first where there are several. NaN counts as the largest. A window reads at least one pixel.
 */
export function maxPool(out: usize, places: usize, x: usize, height: u32, width: u32, channels: u32, outHeight: u32,
  outWidth: u32, kernelH: u32, kernelW: u32, strideH: u32, strideW: u32, padTop: i32, padLeft: i32, dilationH: u32,
  dilationW: u32, begin: u32, end: u32): void
{
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
          // Larger, not a number, or the first at all.
          const better = v128.or(v128.or(f32x4.gt(v, most), f32x4.ne(v, v)), i32x4.lt_s(place, i32x4.splat(0)));
          most = v128.bitselect(v, most, better);
          place = v128.bitselect(i32x4.splat(where), place, better);
        }
      }
      storeLanes(out + <usize>r * pixelBytes + at, most, channels - c);
      storeLanes(places + <usize>r * pixelBytes + at, place, channels - c);
    }
  }
}

@inline
function bounded(v: i32, low: i32, high: i32): i32 { return v < low ? low : v > high ? high : v; }

/** Float64 pairs as four float32. */
@inline
function narrow(low: v128, high: v128): v128 {
  return i64x2.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

/** Pixels [begin, end) of [batch, outHeight, outWidth, channels]: the mean of each window, which reads at least one pixel. */
export function avgPool(out: usize, x: usize, height: u32, width: u32, channels: u32, outHeight: u32, outWidth: u32,
  kernelH: u32, kernelW: u32, strideH: u32, strideW: u32, padTop: i32, padLeft: i32, countPad: u32, begin: u32,
  end: u32): void
{
  const pixelBytes = <usize>channels << 2, rowBytes = <usize>width * pixelBytes;
  for (let r = begin; r < end; r++) {
    const j = r % outWidth, i = r / outWidth % outHeight, n = r / outWidth / outHeight;
    const top = <i32>(i * strideH) - padTop, left = <i32>(j * strideW) - padLeft;
    const h0 = bounded(top, 0, height), h1 = bounded(top + kernelH, 0, height);
    const w0 = bounded(left, 0, width), w1 = bounded(left + kernelW, 0, width);
    const across = <u32>(w1 - w0), down = <u32>(h1 - h0);
    // Of float32 sums in float64, the product with 1/n rounds to what the quotient by n rounds to.
    const rate = f64x2.splat(1 / (countPad ? <f64>kernelH * <f64>kernelW : <f64>down * <f64>across));
    const first = x + (<usize>n * height + h0) * rowBytes + <usize>w0 * pixelBytes;
    for (let c: u32 = 0; c < channels; c += 4) {
      let row = first + (<usize>c << 2), low = f64x2.splat(0), high = low;
      for (let a = down; a > 0; a--, row += rowBytes) {
        for (let b = across, p = row; b > 0; b--, p += pixelBytes) {
          const v = v128.load(p);
          low = f64x2.add(low, f64x2.promote_low_f32x4(v));
          high = f64x2.add(high, promoteHigh(v));
        }
      }
      storeLanes(out + <usize>r * pixelBytes + (<usize>c << 2), narrow(f64x2.mul(low, rate), f64x2.mul(high, rate)),
        channels - c);
    }
  }
}

/** Pixels [begin, end) of dx: [batch, height, width, channels]: Σ dy/n over the windows that read them, n as in `avgPool`. */
export function avgPoolGrad(out: usize, dy: usize, height: u32, width: u32, channels: u32, outHeight: u32,
  outWidth: u32, kernelH: u32, kernelW: u32, strideH: u32, strideW: u32, padTop: u32, padLeft: u32, countPad: u32,
  begin: u32, end: u32): void
{
  const pixelBytes = <usize>channels << 2, whole = 1 / (<f64>kernelH * <f64>kernelW);
  for (let r = begin; r < end; r++) {
    // Places in the padded image, and the windows [i0, i1) × [j0, j1) over them.
    const w = r % width + padLeft, h = r / width % height + padTop, n = r / width / height;
    const i0: u32 = h < kernelH ? 0 : (h - kernelH) / strideH + 1, i1 = min<u32>(h / strideH + 1, outHeight);
    const j0: u32 = w < kernelW ? 0 : (w - kernelW) / strideW + 1, j1 = min<u32>(w / strideW + 1, outWidth);
    for (let c: u32 = 0; c < channels; c += 4) {
      let low = f64x2.splat(0), high = low;
      for (let i = i0; i < i1; i++) {
        const top = <i32>(i * strideH) - <i32>padTop;
        const down = bounded(top + kernelH, 0, height) - bounded(top, 0, height);
        let p = dy + <usize>((n * outHeight + i) * outWidth + j0) * pixelBytes + (<usize>c << 2);
        for (let j = j0; j < j1; j++, p += pixelBytes) {
          let rate = whole;
          if (!countPad) {
            const left = <i32>(j * strideW) - <i32>padLeft;
            rate = 1 / (<f64>down * <f64>(bounded(left + kernelW, 0, width) - bounded(left, 0, width)));
          }
          const v = v128.load(p), by = f64x2.splat(rate);
          low = f64x2.add(low, f64x2.mul(f64x2.promote_low_f32x4(v), by));
          high = f64x2.add(high, f64x2.mul(promoteHigh(v), by));
        }
      }
      storeLanes(out + <usize>r * pixelBytes + (<usize>c << 2), narrow(low, high), channels - c);
    }
  }
}
