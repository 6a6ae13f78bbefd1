/**
 * Kernels that move elements (permute, slice, pad, broadcast and concatenate are one strided copy), fill memory, and convert
 * between types. Elements are 1 or 4 bytes.
 */
import { storeBytes, storeLanes } from "../simd";
import { BoxDim, Dim, Unslice } from "../layouts";
import { word } from "../operands";
import { Type } from "../opcodes";
import { offsetAt, stepsOf } from "../walk";

/** The number of rows in a transposition that are copied together, so that reads use whole cache lines. */
const BAND: u32 = 16;

/**
 * The smallest length in bytes for which memory.copy and memory.fill, which call out of WebAssembly, are faster than a
 * loop.
 */
const LONG: u32 = 2048;

/** Fills `bytes` bytes, starting at `out`, with the 32-bit pattern `value`. */
export function fill(out: usize, bytes: u32, value: u32): void {
  if (!value && bytes >= LONG) {
    memory.fill(out, 0, bytes);
    return;
  }
  const v = i32x4.splat(value);
  let p = out;
  const end = out + bytes;
  for (; p + 16 <= end; p += 16) v128.store(p, v);
  for (; p + 4 <= end; p += 4) store<u32>(p, value);
  for (; p < end; p++, value >>= 8) store<u8>(p, <u8>value);
}

/** Copies `rows` rows of `bytes` bytes between buffers that do not overlap. The steps from row to row are in bytes. */
export function copyRows(out: usize, x: usize, rows: u32, bytes: u32, outStep: isize, step: isize): void {
  if (bytes >= LONG) {
    for (; rows > 0; rows--, out += outStep, x += step) memory.copy(out, x, bytes);
  } else if (bytes >= 16) {
    // The last vector may overlap the one before it.
    const last: usize = bytes - 16;
    for (; rows > 0; rows--, out += outStep, x += step) {
      let i: usize = 0;
      for (; i + 48 < last; i += 64) {
        v128.store(out + i, v128.load(x + i));
        v128.store(out + i, v128.load(x + i, 16), 16);
        v128.store(out + i, v128.load(x + i, 32), 32);
        v128.store(out + i, v128.load(x + i, 48), 48);
      }
      for (; i < last; i += 16) v128.store(out + i, v128.load(x + i));
      v128.store(out + last, v128.load(x + last));
    }
  } else {
    for (; rows > 0; rows--, out += outStep, x += step) {
      let i: usize = 0;
      for (; i + 4 <= bytes; i += 4) store<u32>(out + i, load<u32>(x + i));
      for (; i < bytes; i++) store<u8>(out + i, load<u8>(x + i));
    }
  }
}

/** Copies one row of n elements. Strides are in bytes. */
export function copyRow(out: usize, x: usize, n: u32, elementBytes: u32, outStride: i32, stride: i32): void {
  if (elementBytes == 4) {
    if (!stride && outStride == 4) fill(out, n << 2, load<u32>(x));
    else for (let i: u32 = 0; i < n; i++, out += outStride, x += stride) store<u32>(out, load<u32>(x));
  } else {
    for (let i: u32 = 0; i < n; i++, out += outStride, x += stride) store<u8>(out, load<u8>(x));
  }
}

/**
 * out[j, i] = x[i, j] for 32-bit elements, in 4 × 4 blocks. out has `rows` rows of n elements; strides are in bytes.
 */
export function transpose(out: usize, x: usize, rows: u32, n: u32, outStride: usize, stride: usize): void {
  let r: u32 = 0;
  for (; r + 4 <= rows; r += 4) {
    const to = out + r * outStride, from = x + (<usize>r << 2);
    let i: u32 = 0;
    for (; i + 4 <= n; i += 4) {
      const p = from + i * stride, q = to + (<usize>i << 2);
      const a = v128.load(p), b = v128.load(p + stride), c = v128.load(p + (stride << 1)),
        d = v128.load(p + stride * 3);
      const ab = i32x4.shuffle(a, b, 0, 4, 1, 5), AB = i32x4.shuffle(a, b, 2, 6, 3, 7);
      const cd = i32x4.shuffle(c, d, 0, 4, 1, 5), CD = i32x4.shuffle(c, d, 2, 6, 3, 7);
      v128.store(q, i64x2.shuffle(ab, cd, 0, 2));
      v128.store(q + outStride, i64x2.shuffle(ab, cd, 1, 3));
      v128.store(q + (outStride << 1), i64x2.shuffle(AB, CD, 0, 2));
      v128.store(q + outStride * 3, i64x2.shuffle(AB, CD, 1, 3));
    }
    for (; i < n; i++) {
      const p = from + i * stride, q = to + (<usize>i << 2);
      for (let j: usize = 0; j < 4; j++) store<u32>(q + j * outStride, load<u32>(p + (j << 2)));
    }
  }
  for (; r < rows; r++) copyRow(out + r * outStride, x + (<usize>r << 2), n, 4, 4, <i32>stride);
}

/**
 * Copies over `rank` dimensions described by the words at `dims` (layouts.ts: StridedCopy). The share [begin, end) is a
 * range of rows or, if the two innermost dimensions are a transposition, of bands of 16 rows.
 */
export function stridedCopy(out: usize, x: usize, elementBytes: u32, rank: u32, dims: usize, begin: u32,
  end: u32): void
{
  const inner = dims + (((rank - 1) * Dim.words) << 2);
  const n = load<u32>(inner, Dim.size << 2);
  const outStride = load<i32>(inner, Dim.first << 2), stride = load<i32>(inner, Dim.second << 2);
  if (isTransposition(elementBytes, rank, dims)) {
    const outer = inner - (Dim.words << 2), rows = load<u32>(outer, Dim.size << 2), bands = bandsOf(rows);
    const rowStride: usize = load<i32>(outer, Dim.first << 2);
    for (let b = begin; b < end; b++) {
      const plane = b / bands, row = (b - plane * bands) * BAND, rest = rows - row;
      const to = out + offsetAt(plane, dims, outer, Dim.first) + row * rowStride;
      const from = x + offsetAt(plane, dims, outer, Dim.second) + (<usize>row << 2);
      transpose(to, from, rest < BAND ? rest : BAND, n, rowStride, stride);
    }
    return;
  }
  const contiguous = outStride == elementBytes && stride == elementBytes;
  // Along the last outer dimension, rows are a constant distance apart, so compute the offsets once per run of rows.
  const outer = inner - (Dim.words << 2), size = rank > 1 ? load<u32>(outer, Dim.size << 2) : 1;
  const outStep = load<i32>(outer, Dim.first << 2), step = load<i32>(outer, Dim.second << 2);
  for (let r = begin; r < end;) {
    let to = out + offsetAt(r, dims, inner, Dim.first), from = x + offsetAt(r, dims, inner, Dim.second);
    const last = min<u32>(end, r - r % size + size);
    if (contiguous) {
      copyRows(to, from, last - r, n * elementBytes, outStep, step);
      r = last;
    } else for (; r < last; r++, to += outStep, from += step) copyRow(to, from, n, elementBytes, outStride, stride);
  }
}

/**
 * Short rows are filled in groups of at most this many bytes, so that a group is still in the L1 cache when x's
 * elements are copied into it.
 */
const FILLED: u32 = 8192;

/** Computes rows [begin, end) of an array that is constant except for a box, which holds x (layouts.ts: Unslice). */
export function unslice(at: usize, begin: u32, end: u32): void {
  const out = word(at, Unslice.out), x = word(at, Unslice.x), elementBytes = word(at, Unslice.elementBytes);
  const dims = at + (Unslice.words << 2), inner = dims + (((word(at, Unslice.rank) - 1) * BoxDim.words) << 2);
  const rowBytes = word(inner, BoxDim.size) * elementBytes, count = word(inner, BoxDim.count);
  const start = word(inner, BoxDim.start) * elementBytes, step = <i32>(word(inner, BoxDim.step) * elementBytes);
  const rows = max<u32>(1, FILLED / max<u32>(1, rowBytes)), bytes = count * elementBytes,
    value = word(at, Unslice.value);
  const outer = inner - (BoxDim.words << 2);
  const consecutive = outer >= dims && word(outer, BoxDim.step) == 1 ? word(outer, BoxDim.count) : 1;
  for (let r = begin; r < end;) {
    const last = min<u32>(end, r + rows), block = out + r * rowBytes;
    let filled = (last - r) * rowBytes;
    // If one row is longer than FILLED, fill only the two ends around x's elements.
    if (filled > FILLED && step == elementBytes && rowInBox(r, dims, inner) >= 0) {
      fill(block + start + bytes, rowBytes - start - bytes, value);
      filled = start;
    }
    fill(block, filled, value);
    while (r < last) {
      const row = rowInBox(r, dims, inner);
      if (row < 0) {
        r++;
        continue;
      }
      // If the last outer dimension has step 1, consecutive rows of x are adjacent in out: copy them together.
      const run = step == elementBytes ? min<u32>(last - r, consecutive - row % consecutive) : 1;
      const to = out + r * rowBytes + start, from = x + row * bytes;
      if (step == elementBytes) copyRows(to, from, run, bytes, rowBytes, bytes);
      else copyRow(to, from, count, elementBytes, step, elementBytes);
      r += run;
    }
  }
}

/**
 * The row of x that is row `index` of out; −1 if that row is outside the box. The words of the outer dimensions are in
 * [dims, end).
 */
function rowInBox(index: u32, dims: usize, end: usize): i32 {
  let row: i32 = 0, stride: i32 = 1;
  for (let dim = end; dim > dims;) {
    dim -= BoxDim.words << 2;
    const size = word(dim, BoxDim.size), count = word(dim, BoxDim.count), step = <i32>word(dim, BoxDim.step);
    const quotient = index / size;
    const offset = <i32>(index - quotient * size - word(dim, BoxDim.start)), at = offset / step;
    if (at * step != offset || <u32>at >= count) return -1;
    row += at * stride;
    stride *= count;
    index = quotient;
  }
  return row;
}

@inline
function bandsOf(rows: u32): u32 { return (rows + BAND - 1) / BAND; }

/** Whether the copy transposes the two innermost dimensions. */
function isTransposition(elementBytes: u32, rank: u32, dims: usize): bool {
  if (rank < 2 || elementBytes != 4) return false;
  const inner = dims + (((rank - 1) * Dim.words) << 2), outer = inner - (Dim.words << 2);
  return load<i32>(inner, Dim.first << 2) == 4 && load<i32>(outer, Dim.second << 2) == 4
    && load<i32>(inner, Dim.second << 2) > 4 && load<i32>(outer, Dim.first << 2) > 4;
}

/** The number of units of work in a strided copy, which are split into shares. */
export function copyUnits(elementBytes: u32, rank: u32, dims: usize): u32 {
  const inner = dims + (((rank - 1) * Dim.words) << 2);
  if (!isTransposition(elementBytes, rank, dims)) return stepsOf(dims, inner);
  const outer = inner - (Dim.words << 2);
  return stepsOf(dims, outer) * bandsOf(load<u32>(outer, Dim.size << 2));
}

/**
 * out[i] = x[i], converted, for i in [begin, end). Conversion to int32 truncates and saturates, conversion to uint8 keeps the
 * low bits, and conversion to bool tests ≠ 0.
 */
export function cast(out: usize, x: usize, from: Type, to: Type, begin: u32, end: u32): void {
  const fromBytes: usize = from <= Type.Int32 ? 4 : 1, toBytes: usize = to <= Type.Int32 ? 4 : 1;
  for (let i = begin; i < end; i += 4) {
    const p = x + i * fromBytes, q = out + i * toBytes;
    let v: v128;
    // Convert to int32 lanes first; for bool, compare floats with 0 instead.
    if (from == Type.Float32)
      v = to == Type.Bool
        ? f32x4.ne(v128.load(p), f32x4.splat(0))
        : i32x4.trunc_sat_f32x4_s(v128.load(p));
    else if (from == Type.Int32) v = v128.load(p);
    else v = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(p)));
    // Then convert to the target type.
    if (to == Type.Float32) storeLanes(q, f32x4.convert_i32x4_s(v), end - i);
    else if (to == Type.Int32) storeLanes(q, v, end - i);
    else {
      const low = to == Type.Bool
        ? v128.and(i32x4.ne(v, i32x4.splat(0)), i32x4.splat(1))
        : v128.and(v, i32x4.splat(255));
      storeBytes(q, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_u(low, low), low), end - i);
    }
  }
}
