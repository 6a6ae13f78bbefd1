/**
 * Grayscale dilation of images, channels last: for each window, the largest sum of a pixel and its filter element. The
 * kernel vectorizes over channels.
 */
import { MaxPool } from "../layerLayouts";
import { word } from "../operands";
import { narrow, promoteHigh, selectLanes, storeLanes } from "../simd";

/** Number.MIN_SAFE_INTEGER, at which TensorFlow.js starts its search for a window's largest sum. */
const LEAST: f64 = -9007199254740991;

/**
 * Computes pixels [begin, end) of [batch, outHeight, outWidth, channels]: the largest sum, the index row·width + column
 * of its pixel in the image (places), and the index of its tap in the filter (taps). Of equal sums, the first is
 * chosen. Sums are computed in float64, so that rounding makes fewer of them equal; NaNs are ignored. If no sum in a
 * window is larger than LEAST, the result is LEAST, the tap is the window's first, and the pixel is the image's pixel
 * that is nearest to that tap.
 */
export function dilation(instruction: usize, begin: u32, end: u32): void {
  const out = word(instruction, MaxPool.out), places = word(instruction, MaxPool.places),
    taps = word(instruction, MaxPool.taps), x = word(instruction, MaxPool.x),
    filter = word(instruction, MaxPool.filter);
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
    const top = <i32>(i * strideH) - padTop, left = <i32>(j * strideW) - padLeft;
    const first = inside(top, height) * width + inside(left, width);
    for (let c: u32 = 0; c < channels; c += 4) {
      const at: usize = c << 2, to = <usize>r * pixelBytes + at;
      let low = f64x2.splat(LEAST), high = low, place = i32x4.splat(first), tap = i32x4.splat(0);
      for (let a: u32 = 0; a < kernelH; a++) {
        const h = top + <i32>(a * dilationH);
        if (<u32>h >= height) continue;
        for (let b: u32 = 0; b < kernelW; b++) {
          const w = left + <i32>(b * dilationW);
          if (<u32>w >= width) continue;
          const where = h * width + w, t = a * kernelW + b;
          const v = v128.load(image + <usize>where * pixelBytes + at), f = v128.load(filter + t * pixelBytes + at);
          const l = f64x2.add(f64x2.promote_low_f32x4(v), f64x2.promote_low_f32x4(f));
          const k = f64x2.add(promoteHigh(v), promoteHigh(f));
          const better = i32x4.shuffle(f64x2.gt(l, low), f64x2.gt(k, high), 0, 2, 4, 6);
          low = f64x2.pmax(low, l);
          high = f64x2.pmax(high, k);
          place = selectLanes(i32x4.splat(where), place, better);
          tap = selectLanes(i32x4.splat(t), tap, better);
        }
      }
      storeLanes(out + to, narrow(low, high), channels - c);
      if (places) {
        storeLanes(places + to, place, channels - c);
        storeLanes(taps + to, tap, channels - c);
      }
    }
  }
}

/** The index in 0 … n − 1 that is nearest to v. */
@inline
function inside(v: i32, n: u32): u32 { return min<i32>(max<i32>(v, 0), n - 1); }
