/** Max pooling of images with channels last: vectors run over channels. */
import { storeLanes } from "../simd";

/**
 * Pixels [begin, end) of [batch, outHeight, outWidth, channels]: the largest value of each window, and its place row·width +
 * column in the image, the first where there are several. NaN counts as the largest. A window reads at least one pixel.
 */
export function maxPool(out: usize, places: usize, x: usize, height: u32, width: u32, channels: u32, outHeight: u32, outWidth: u32, kernelH: u32, kernelW: u32, strideH: u32, strideW: u32, padTop: i32, padLeft: i32, dilationH: u32, dilationW: u32, begin: u32, end: u32): void {
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
