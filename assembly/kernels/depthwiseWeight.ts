/** The gradients of depthwise convolutions with respect to their weights. */
import { offsetOf, Phase } from "./convPhase";
import { fma, promoteHigh } from "../simd";
import { Conv } from "../layerLayouts";
import { word } from "../operands";

/** The number of channels per step: a cache line. */
const WIDE: u32 = 16;
/** The number of pixels whose products are summed in float32 before their sum is added to a float64 total. */
const BLOCK: u32 = 128;
/** The sizes in bytes of WIDE float32 sums, and of as many float64 totals. */
const SUMS: usize = 64;
const TOTALS: usize = 128;

// The workspace: [WIDE sums per tap | WIDE totals per tap | bounds: per column of taps, the range of the pixels in a row of dy for
// which this column is inside the image].

/**
 * dW[c, tap] = Σ x·dy over pixels, for channels [begin, end). Reads dy once for every WIDE channels, row by row, and adds the products of
 * a row to the sums of all taps.
 */
export function depthwiseWeight(at: usize, phase: usize, begin: u32, end: u32): void {
  const out = word(at, Conv.out), x = word(at, Conv.a), dy = word(at, Conv.b), batch = word(at, Conv.batch);
  const height = word(phase, Phase.height), width = word(phase, Phase.width), channels = word(phase, Phase.channels);
  const outH = word(phase, Phase.gridHeight), outW = word(phase, Phase.gridWidth);
  const stepH = word(phase, Phase.stepH), stepW = word(phase, Phase.stepW);
  const tapsH = word(phase, Phase.tapsH), tapsW = word(phase, Phase.tapsW);
  const countH = word(phase, Phase.countH), countW = word(phase, Phase.countW), taps = countH * countW;
  const sums = word(phase, Phase.weights), totals = sums + taps * SUMS, bounds = totals + taps * TOTALS;
  for (let b: u32 = 0; b < countW; b++) {
    const offset = offsetOf(tapsW, b), rest = <i32>width - offset;
    store<u32>(bounds + (b << 3), offset < 0 ? min(outW, (<u32>-offset + stepW - 1) / stepW) : 0);
    store<u32>(bounds + (b << 3), rest > 0 ? min(outW, (<u32>rest + stepW - 1) / stepW) : 0, 4);
  }
  const pixelBytes: usize = channels << 2;
  for (let c = begin; c < end; c += WIDE) {
    const offset: usize = c << 2;
    memory.fill(sums, 0, taps * (SUMS + TOTALS));
    let terms: u32 = 0, gradients = dy + offset;
    for (let r: u32 = 0; r < batch * outH; r++, gradients += outW * pixelBytes) {
      const n = r / outH, top = (r - n * outH) * stepH;
      for (let j: u32 = 0; j < outW;) {
        const stop = min(outW, j + BLOCK);
        for (let a: u32 = 0; a < countH; a++) {
          const h = <i32>top + offsetOf(tapsH, a);
          if (<u32>h < height)
            addRow(phase, bounds, sums + a * countW * SUMS, x + <usize>((n * height + h) * width) * pixelBytes + offset,
              gradients, j, stop);
        }
        terms += stop - j;
        j = stop;
        if (terms < BLOCK) continue;
        addSums(sums, totals, taps);
        terms = 0;
      }
    }
    addSums(sums, totals, taps);
    for (let t: u32 = 0; t < taps; t++) {
      for (let k: u32 = 0; k < WIDE && c + k < end; k++)
        store<f32>(out + (((c + k) * taps + t) << 2), <f32>load<f64>(totals + t * TOTALS + (k << 3)));
    }
  }
}

/** Adds the sums to the totals, and clears them. */
function addSums(sums: usize, totals: usize, taps: u32): void {
  for (const end = sums + taps * SUMS; sums < end; sums += 16, totals += 32) {
    const v = v128.load(sums);
    v128.store(totals, f64x2.add(v128.load(totals), f64x2.promote_low_f32x4(v)));
    v128.store(totals, f64x2.add(v128.load(totals, 16), promoteHigh(v)), 16);
    v128.store(sums, f32x4.splat(0));
  }
}

@inline
function lowOf(bounds: usize, b: u32): u32 { return load<u32>(bounds + (b << 3)); }
@inline
function highOf(bounds: usize, b: u32): u32 { return load<u32>(bounds + (b << 3), 4); }

/** Multiplies the pixels [begin, end) of a row of dy by pixels of a row of x, and adds the products to the sums of a row of taps. */
function addRow(phase: usize, bounds: usize, sums: usize, x: usize, dy: usize, begin: u32, end: u32): void {
  const tapsW = word(phase, Phase.tapsW), countW = word(phase, Phase.countW);
  const pixel = <usize>word(phase, Phase.channels) << 2, step = word(phase, Phase.stepW) * pixel;
  const gap = word(phase, Phase.gapW) * pixel;
  for (let b: u32 = 0; b < countW;) {
    // For the pixels [first, last), all of the next three columns of taps are inside the image. If fewer columns are left, take one.
    const isThree = countW - b >= 3, count: u32 = isThree ? 3 : 1;
    const first = isThree ? min(end, max(begin, lowOf(bounds, b))) : end;
    const last = isThree ? max(first, min(end, highOf(bounds, b + 2))) : end;
    const by = x + offsetOf(tapsW, b) * pixel, own = bounds + (b << 3);
    addTaps(own, sums, by, dy, step, gap, pixel, count, begin, first);
    if (first < last) threeTaps(sums, by + first * step, dy + first * pixel, step, gap, pixel, last - first);
    addTaps(own, sums, by, dy, step, gap, pixel, count, last, end);
    b += count;
    sums += count * SUMS;
  }
}

/** Adds the products of those pixels in [begin, end) for which a tap is inside the image to the sums of `taps` neighbouring taps. */
function addTaps(bounds: usize, sums: usize, x: usize, dy: usize, step: usize, gap: usize, pixel: usize, taps: u32,
  begin: u32, end: u32): void
{
  for (let t: u32 = 0; t < taps; t++, sums += SUMS, x += gap) {
    const from = max(begin, lowOf(bounds, t)), to = min(end, highOf(bounds, t));
    if (from < to) oneTap(sums, x + from * step, dy + from * pixel, step, pixel, to - from);
  }
}

/** Adds the products of `count` pixels of dy and x to the sums of one tap. */
function oneTap(sums: usize, x: usize, dy: usize, step: usize, pixel: usize, count: u32): void {
  let s0 = v128.load(sums), s1 = v128.load(sums, 16), s2 = v128.load(sums, 32), s3 = v128.load(sums, 48);
  for (; count > 0; count--, x += step, dy += pixel) {
    s0 = fma(v128.load(x), v128.load(dy), s0);
    s1 = fma(v128.load(x, 16), v128.load(dy, 16), s1);
    s2 = fma(v128.load(x, 32), v128.load(dy, 32), s2);
    s3 = fma(v128.load(x, 48), v128.load(dy, 48), s3);
  }
  v128.store(sums, s0);
  v128.store(sums, s1, 16);
  v128.store(sums, s2, 32);
  v128.store(sums, s3, 48);
}

/** Like oneTap, for three neighbouring taps, whose pixels of x are `gap` bytes apart. */
function threeTaps(sums: usize, x: usize, dy: usize, step: usize, gap: usize, pixel: usize, count: u32): void {
  let r0 = v128.load(sums), r1 = v128.load(sums, 16), r2 = v128.load(sums, 32), r3 = v128.load(sums, 48);
  let s0 = v128.load(sums, 64), s1 = v128.load(sums, 80), s2 = v128.load(sums, 96), s3 = v128.load(sums, 112);
  let t0 = v128.load(sums, 128), t1 = v128.load(sums, 144), t2 = v128.load(sums, 160), t3 = v128.load(sums, 176);
  for (; count > 0; count--, x += step, dy += pixel) {
    const y = x + gap, z = y + gap;
    let d = v128.load(dy);
    r0 = fma(v128.load(x), d, r0);
    s0 = fma(v128.load(y), d, s0);
    t0 = fma(v128.load(z), d, t0);
    d = v128.load(dy, 16);
    r1 = fma(v128.load(x, 16), d, r1);
    s1 = fma(v128.load(y, 16), d, s1);
    t1 = fma(v128.load(z, 16), d, t1);
    d = v128.load(dy, 32);
    r2 = fma(v128.load(x, 32), d, r2);
    s2 = fma(v128.load(y, 32), d, s2);
    t2 = fma(v128.load(z, 32), d, t2);
    d = v128.load(dy, 48);
    r3 = fma(v128.load(x, 48), d, r3);
    s3 = fma(v128.load(y, 48), d, s3);
    t3 = fma(v128.load(z, 48), d, t3);
  }
  v128.store(sums, r0);
  v128.store(sums, r1, 16);
  v128.store(sums, r2, 32);
  v128.store(sums, r3, 48);
  v128.store(sums, s0, 64);
  v128.store(sums, s1, 80);
  v128.store(sums, s2, 96);
  v128.store(sums, s3, 112);
  v128.store(sums, t0, 128);
  v128.store(sums, t1, 144);
  v128.store(sums, t2, 160);
  v128.store(sums, t3, 176);
}
