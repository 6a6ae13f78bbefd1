/**
 * Batch normalization with known statistics, out = act((x − mean)·scale + shift + addend). It is a separate op, and it
 * is also the last step of a convolution, which applies it to results that are still in the cache. Each operation rounds
 * its result to float32, so the results have the same bits as those of a separate pass for each operation.
 */
import { ceilingOf, clamp, floorOf, zeroOf } from "./epilogue";
import { Conv } from "../layerLayouts";
import { word } from "../operands";
import { storeLanes } from "../simd";

/** The size in bytes of a block of rows, which stays in the L1 cache while the block's columns are computed, eight at a time. */
const CACHED: usize = 16384;

/**
 * Computes `rows` pixels, `ld` bytes apart, of `cols` channels. mean, scale and shift are addresses, and toAddend is the distance in
 * bytes from out to addend. Each of these is 0 if the operand is absent. activation is at most Relu6.
 */
export function standardize(out: usize, x: usize, ld: usize, rows: usize, cols: usize, mean: usize, scale: usize,
  shift: usize, toAddend: usize, activation: u32): void
{
  if (!cols) return;
  const step = max<usize>(CACHED / ld, 1);
  for (let r: usize = 0; r < rows; r += step, out += step * ld, x += step * ld) {
    const count = min(step, rows - r);
    for (let j: usize = 0; j < cols; j += 8) {
      const at = j << 2, m = mean ? mean + at : 0, s = scale ? scale + at : 0, h = shift ? shift + at : 0;
      if (cols - j >= 8) wide(out + at, x + at, ld, count, m, s, h, toAddend, activation);
      else {
        narrow(out + at, x + at, ld, count, cols - j, m, s, h, toAddend, activation);
        if (cols - j > 4)
          narrow(out + at + 16, x + at + 16, ld, count, cols - j - 4, m ? m + 16 : 0, s ? s + 16 : 0, h ? h + 16 : 0,
            toAddend, activation);
      }
    }
  }
}

// An absent operand changes no bits, because v − 0, v·1 and v + (−0) equal v. epilogue.ts explains zeroOf.
@inline
function meanAt(mean: usize): v128 { return mean ? v128.load(mean) : f32x4.splat(0); }
@inline
function scaleAt(scale: usize): v128 { return scale ? v128.load(scale) : f32x4.splat(1); }
@inline
function shiftAt(shift: usize): v128 { return shift ? v128.load(shift) : f32x4.splat(-0.0); }
@inline
function affine(v: v128, mean: v128, scale: v128, shift: v128): v128 {
  return f32x4.add(f32x4.mul(f32x4.sub(v, mean), scale), shift);
}

/** Computes eight columns, and keeps their mean, scale and shift in registers. */
function wide(out: usize, x: usize, ld: usize, rows: usize, mean: usize, scale: usize, shift: usize, toAddend: usize,
  activation: u32): void
{
  const zero = zeroOf(activation), floor = floorOf(activation), ceiling = ceilingOf(activation);
  const m0 = meanAt(mean), m1 = meanAt(mean ? mean + 16 : 0), s0 = scaleAt(scale), s1 = scaleAt(scale ? scale + 16 : 0);
  let h0 = shiftAt(shift), h1 = shiftAt(shift ? shift + 16 : 0);
  const end = out + rows * ld;
  if (toAddend) {
    for (; out < end; out += ld, x += ld) {
      const other = out + toAddend;
      const v0 = f32x4.add(affine(v128.load(x), m0, s0, h0), v128.load(other));
      const v1 = f32x4.add(affine(v128.load(x, 16), m1, s1, h1), v128.load(other, 16));
      v128.store(out, clamp(f32x4.add(v0, zero), floor, ceiling));
      v128.store(out, clamp(f32x4.add(v1, zero), floor, ceiling), 16);
    }
    return;
  }
  h0 = f32x4.add(h0, zero);
  h1 = f32x4.add(h1, zero);
  for (; out < end; out += ld, x += ld) {
    const v0 = affine(v128.load(x), m0, s0, h0), v1 = affine(v128.load(x, 16), m1, s1, h1);
    v128.store(out, clamp(v0, floor, ceiling));
    v128.store(out, clamp(v1, floor, ceiling), 16);
  }
}

/** Computes min(cols, 4) columns. */
function narrow(out: usize, x: usize, ld: usize, rows: usize, cols: usize, mean: usize, scale: usize, shift: usize,
  toAddend: usize, activation: u32): void
{
  const zero = zeroOf(activation), floor = floorOf(activation), ceiling = ceilingOf(activation);
  const m = meanAt(mean), s = scaleAt(scale), h = shiftAt(shift);
  for (const end = out + rows * ld; out < end; out += ld, x += ld) {
    let v = affine(v128.load(x), m, s, h);
    if (toAddend) v = f32x4.add(v, v128.load(out + toAddend));
    storeLanes(out, clamp(f32x4.add(v, zero), floor, ceiling), <u32>cols);
  }
}

/** Applies a convolution's last step, if it has one, to the channels [first, first + m) of `count` pixels that are `ld` bytes apart. */
export function finishPixels(at: usize, to: usize, ld: usize, count: usize, first: usize, m: usize): void {
  const finish = word(at, Conv.finish);
  if (!finish) return;
  const offset = first << 2, mean = word(at, Conv.mean), scale = word(at, Conv.scale), shift = word(at, Conv.shift);
  const addend = word(at, Conv.addend);
  standardize(to, to, ld, count, m, mean ? mean + offset : 0, scale ? scale + offset : 0, shift ? shift + offset : 0,
    addend ? addend - word(at, Conv.out) : 0, finish - 1);
}
