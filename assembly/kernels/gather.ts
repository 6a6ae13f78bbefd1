/**
 * Gather, scatter-add and interpolation. x is viewed as [outer, n, inner] with the indexed dimension in the middle.
 * Callers check the indices. As a safeguard, no kernel accesses memory outside its buffers if an index is outside 0 …
 * n−1: gathers write 0, scatter-adds skip the element, and interpolation uses n−1.
 */
import { fma, narrow, promoteHigh, storeLanes, storeTail } from "../simd";
import { Interpolate } from "../layouts";
import { word } from "../operands";
import { copyRows, fill } from "./shape";

/** out[o, j, ·] = x[o, index[j], ·], in rows of `inner` elements. The share is a range of the outer·count rows of out. */
export function indexSelect(out: usize, x: usize, index: usize, n: u32, count: u32, inner: u32, elementBytes: u32,
  begin: u32, end: u32): void
{
  if (begin >= end) return;
  const rowBytes: usize = inner * elementBytes, blockBytes = n * rowBytes, o = begin / count;
  let block = x + o * blockBytes, to = out + begin * rowBytes, j = begin - o * count;
  for (let r = begin; r < end; r++, to += rowBytes) {
    const i = load<u32>(index + (<usize>j << 2));
    if (i < n) copyRows(to, block + i * rowBytes, 1, <u32>rowBytes, 0, 0);
    else fill(to, <u32>rowBytes, 0);
    if (++j == count) {
      j = 0;
      block += blockBytes;
    }
  }
}

/**
 * out[o, j, ·] = x[o, k₀, ·] + Σ weight[j, t − 1]·(x[o, kₜ, ·] − x[o, k₀, ·]) over 0 < t < taps, where kₜ = index[j, t] and taps ≥ 2. The
 * share is a range of the outer·count rows of out.
 */
export function interpolate(at: usize, begin: u32, end: u32): void {
  const n = word(at, Interpolate.n), count = word(at, Interpolate.count), inner = word(at, Interpolate.inner),
    taps = word(at, Interpolate.taps);
  const rowBytes: usize = inner << 2, out: usize = word(at, Interpolate.out), limit = out + end * rowBytes;
  for (let r = begin; r < end;) {
    const o = r / count, j = r - o * count, stop = min<u32>(end, r - j + count);
    interpolateRows(out + r * rowBytes, limit, stop - r, word(at, Interpolate.x) + <usize>o * n * rowBytes, n - 1,
      inner, word(at, Interpolate.index) + ((j * taps) << 2), word(at, Interpolate.weight) + ((j * (taps - 1)) << 2),
      taps);
    r = stop;
  }
}

/**
 * Writes `count` rows of `inner` elements, each interpolated between the rows of `block` that its own indices select.
 * May also overwrite the memory between these rows and `limit`.
 */
function interpolateRows(to: usize, limit: usize, count: u32, block: usize, last: u32, inner: u32, index: usize,
  weight: usize, taps: u32): void
{
  const rowBytes: usize = inner << 2;
  // Write whole vectors even for narrow rows, such as the pixels of an RGB image: the next row overwrites the extra
  // lanes.
  if (inner <= 4 && taps == 2) {
    for (; count > 0 && to + 16 <= limit; count--, to += rowBytes, index += 8, weight += 4) {
      const a = block + min<u32>(load<u32>(index), last) * rowBytes,
        b = block + min<u32>(load<u32>(index, 4), last) * rowBytes;
      v128.store(to, lerp(v128.load(a), v128.load(b), v128.load32_splat(weight)));
    }
  }
  for (; count > 0; count--, to += rowBytes) {
    const first = block + min<u32>(load<u32>(index), last) * rowBytes;
    lerpRow(to, first, block + min<u32>(load<u32>(index, 4), last) * rowBytes, v128.load32_splat(weight), inner);
    index += 8;
    weight += 4;
    for (let t: u32 = 2; t < taps; t++, index += 4, weight += 4)
      addDifference(to, first, block + min<u32>(load<u32>(index), last) * rowBytes, v128.load32_splat(weight), inner);
  }
}

/**
 * Interpolates along two dims (layouts.ts: Interpolate): between the columns of two rows of x, then between these rows.
 * The share is a range of the outer·count rows of out.
 */
export function interpolatePlane(at: usize, begin: u32, end: u32): void {
  const n = word(at, Interpolate.n), count = word(at, Interpolate.count), width = word(at, Interpolate.width),
    columnCount = word(at, Interpolate.columnCount);
  const bytes: usize = word(at, Interpolate.inner) << 2, rowBytes = columnCount * bytes;
  const limit: usize = word(at, Interpolate.out) + end * rowBytes;
  let to: usize = word(at, Interpolate.out) + begin * rowBytes;
  for (let r = begin; r < end; r++) {
    const o = r / count, j = r - o * count, index = word(at, Interpolate.index) + (j << 3);
    const block = word(at, Interpolate.x) + <usize>o * n * width * bytes;
    const a = block + <usize>min<u32>(load<u32>(index), n - 1) * width * bytes,
      b = block + <usize>min<u32>(load<u32>(index, 4), n - 1) * width * bytes;
    const w = v128.load32_splat(word(at, Interpolate.weight) + (j << 2));
    let column = word(at, Interpolate.columns), weight = word(at, Interpolate.columnWeight);
    for (const stop = to + rowBytes; to < stop; to += bytes, column += 8, weight += 4) {
      const left = min<u32>(load<u32>(column), width - 1) * bytes,
        right = min<u32>(load<u32>(column, 4), width - 1) * bytes;
      lerpColumn(to, limit, a + left, a + right, b + left, b + right, v128.load32_splat(weight), w, bytes);
    }
  }
}

/**
 * Interpolates between two columns of two rows. May write extra lanes after the column, because the next column
 * overwrites them, but never writes past `limit`.
 */
@inline
function lerpColumn(to: usize, limit: usize, a0: usize, a1: usize, b0: usize, b1: usize, column: v128, row: v128,
  bytes: i32): void
{
  for (; bytes >= 64; bytes -= 64, to += 64, a0 += 64, a1 += 64, b0 += 64, b1 += 64) {
    v128.store(to, lerpBoth(v128.load(a0), v128.load(a1), v128.load(b0), v128.load(b1), column, row));
    v128.store(to, lerpBoth(v128.load(a0, 16), v128.load(a1, 16), v128.load(b0, 16), v128.load(b1, 16), column, row),
      16);
    v128.store(to, lerpBoth(v128.load(a0, 32), v128.load(a1, 32), v128.load(b0, 32), v128.load(b1, 32), column, row),
      32);
    v128.store(to, lerpBoth(v128.load(a0, 48), v128.load(a1, 48), v128.load(b0, 48), v128.load(b1, 48), column, row),
      48);
  }
  for (; bytes > 0; bytes -= 16, to += 16, a0 += 16, a1 += 16, b0 += 16, b1 += 16) {
    const v = lerpBoth(v128.load(a0), v128.load(a1), v128.load(b0), v128.load(b1), column, row);
    if (to + 16 <= limit) v128.store(to, v);
    else storeTail(to, v, <u32>bytes >> 2);
  }
}

@inline
function lerpBoth(a0: v128, a1: v128, b0: v128, b1: v128, column: v128, row: v128): v128 {
  return lerp(lerp(a0, a1, column), lerp(b0, b1, column), row);
}

/** out = a + w·(b − a), for n columns. */
@inline
function lerpRow(out: usize, a: usize, b: usize, w: v128, n: i32): void {
  for (; n >= 16; n -= 16, a += 64, b += 64, out += 64) {
    v128.store(out, lerp(v128.load(a), v128.load(b), w));
    v128.store(out, lerp(v128.load(a, 16), v128.load(b, 16), w), 16);
    v128.store(out, lerp(v128.load(a, 32), v128.load(b, 32), w), 32);
    v128.store(out, lerp(v128.load(a, 48), v128.load(b, 48), w), 48);
  }
  for (; n > 0; n -= 4, a += 16, b += 16, out += 16) storeLanes(out, lerp(v128.load(a), v128.load(b), w), n);
}

/** a + w·(b − a). */
@inline
function lerp(a: v128, b: v128, w: v128): v128 { return fma(f32x4.sub(b, a), w, a); }

/** out += w·(b − a), for n columns. */
function addDifference(out: usize, a: usize, b: usize, w: v128, n: i32): void {
  for (; n > 0; n -= 4, out += 16, a += 16, b += 16)
    storeLanes(out, fma(f32x4.sub(v128.load(b), v128.load(a)), w, v128.load(out)), n);
}

/** The number of rows that are summed in float32 before their sum is added to a float64 total. */
const BLOCK: u32 = 16;

/** The row of x for entry j: rows[j], or j if `rows` is 0. */
@inline
function rowOf(rows: usize, j: u32): u32 { return rows ? load<u32>(rows + (<usize>j << 2)) : j; }

/**
 * out[o, i, ·] = Σ x[o, rows[j], ·] over the j < count with index[j] = i, in ascending order, so the result always has
 * the same bits. x has `height` rows; `rows` is 0 if rows[j] = j. The share is a range of the outer·n rows of out. Each
 * row of out has a linked list of the entries j that are added to it: scratch holds the first j of each row, then, for
 * each j, the next j of the same row. A row is summed 16 columns at a time.
 */
export function indexAdd(out: usize, x: usize, index: usize, rows: usize, height: u32, n: u32, count: u32, inner: u32,
  scratch: usize, begin: u32, end: u32): void
{
  if (begin >= end) return;
  const first = scratch, next = scratch + (<usize>n << 2), rowBytes: usize = <usize>inner << 2;
  memory.fill(first, 0xff, <usize>n << 2);
  for (let j = count; j-- > 0;) {
    const i = load<u32>(index + (<usize>j << 2));
    if (i >= n || rowOf(rows, j) >= height) continue;
    store<u32>(next + (<usize>j << 2), load<u32>(first + (<usize>i << 2)));
    store<u32>(first + (<usize>i << 2), j);
  }
  for (let r = begin; r < end; r++) {
    const o = r / n, to = out + r * rowBytes, block = x + <usize>o * height * rowBytes;
    const head = load<u32>(first + (<usize>(r - o * n) << 2));
    if (head == <u32>-1) {
      // Clear a run of rows to which nothing is added.
      const from = r, last = min<u32>(end, (o + 1) * n);
      while (++r < last && load<u32>(first + (<usize>(r - o * n) << 2)) == <u32>-1) {}
      memory.fill(to, 0, (r - from) * rowBytes);
      r--;
      continue;
    }
    for (let c: u32 = 0; c < inner; c += 16) {
      const at: usize = c << 2, from = block + at, zero = f32x4.splat(0);
      let s0 = zero, s1 = zero, s2 = zero, s3 = zero, j = head, terms = BLOCK;
      for (; j != <u32>-1 && terms > 0; j = load<u32>(next + (<usize>j << 2)), terms--) {
        const p = from + rowOf(rows, j) * rowBytes;
        s0 = f32x4.add(s0, v128.load(p));
        s1 = f32x4.add(s1, v128.load(p, 16));
        s2 = f32x4.add(s2, v128.load(p, 32));
        s3 = f32x4.add(s3, v128.load(p, 48));
      }
      if (j != <u32>-1) {
        longRow(to + at, s0, s1, s2, s3, from, j, rows, next, rowBytes, inner - c);
        continue;
      }
      storeLine(to + at, s0, s1, s2, s3, inner - c);
    }
  }
}

/** Stores the first `count` of 16 columns. */
@inline
function storeLine(to: usize, a: v128, b: v128, c: v128, d: v128, count: u32): void {
  storeLanes(to, a, count);
  if (count > 4) storeLanes(to + 16, b, count - 4);
  if (count > 8) storeLanes(to + 32, c, count - 8);
  if (count > 12) storeLanes(to + 48, d, count - 12);
}

/**
 * Adds the rest of a list, starting with j, to the sums of 16 columns, block by block in float64, and stores the sums.
 */
function longRow(to: usize, a: v128, b: v128, c: v128, d: v128, from: usize, j: u32, rows: usize, next: usize,
  rowBytes: usize, count: u32): void
{
  let l0 = f64x2.splat(0), h0 = l0, l1 = l0, h1 = l0, l2 = l0, h2 = l0, l3 = l0, h3 = l0;
  for (;;) {
    l0 = f64x2.add(l0, f64x2.promote_low_f32x4(a));
    h0 = f64x2.add(h0, promoteHigh(a));
    l1 = f64x2.add(l1, f64x2.promote_low_f32x4(b));
    h1 = f64x2.add(h1, promoteHigh(b));
    l2 = f64x2.add(l2, f64x2.promote_low_f32x4(c));
    h2 = f64x2.add(h2, promoteHigh(c));
    l3 = f64x2.add(l3, f64x2.promote_low_f32x4(d));
    h3 = f64x2.add(h3, promoteHigh(d));
    if (j == <u32>-1) break;
    a =
      b =
      c =
      d =
        f32x4.splat(0);
    for (let terms = BLOCK; j != <u32>-1 && terms > 0; j = load<u32>(next + (<usize>j << 2)), terms--) {
      const p = from + rowOf(rows, j) * rowBytes;
      a = f32x4.add(a, v128.load(p));
      b = f32x4.add(b, v128.load(p, 16));
      c = f32x4.add(c, v128.load(p, 32));
      d = f32x4.add(d, v128.load(p, 48));
    }
  }
  storeLine(to, narrow(l0, h0), narrow(l1, h1), narrow(l2, h2), narrow(l3, h3), count);
}

/** out[o, j, i] = x[o, index[o, j, i], i]. The share is a range of the outer·count rows of out. */
export function gather(out: usize, x: usize, index: usize, n: u32, count: u32, inner: u32, elementBytes: u32,
  begin: u32, end: u32): void
{
  for (let r = begin; r < end; r++) {
    const block: usize = <usize>(r / count) * n * inner, row: usize = <usize>r * inner;
    for (let i: usize = 0; i < inner; i++) {
      const at = load<u32>(index + ((row + i) << 2));
      const from = block + <usize>at * inner + i, to = row + i;
      if (elementBytes == 4) store<u32>(out + (to << 2), at < n ? load<u32>(x + (from << 2)) : 0);
      else store<u8>(out + to, at < n ? load<u8>(x + from) : 0);
    }
  }
}

/**
 * out = 0; out[o, index[o, j, i], i] += x[o, j, i] in the order of j, so the result always has the same bits. The share
 * is a range of the outer·n rows of out: a thread reads all indices and adds only to its own rows. int32 sums wrap
 * modulo 2³². `totals` is 0 or the address of a float64 buffer with as many elements as out, in which long float32 sums
 * are computed. Without this buffer, rounding errors grow with the number of terms.
 */
export function scatterAdd(out: usize, x: usize, index: usize, n: u32, count: u32, inner: u32, integer: bool,
  totals: usize, begin: u32, end: u32): void
{
  if (begin >= end) return;
  const start: usize = <usize>begin * inner, size: usize = <usize>(end - begin) * inner;
  if (!totals) {
    memory.fill(out + (start << 2), 0, size << 2);
    if (integer) scatter<i32, i32>(out, x, index, n, count, inner, begin, end);
    else scatter<f32, f32>(out, x, index, n, count, inner, begin, end);
    return;
  }
  memory.fill(totals + (start << 3), 0, size << 3);
  scatter<f64, f32>(totals, x, index, n, count, inner, begin, end);
  for (let i = start; i < start + size; i++) store<f32>(out + (i << 2), <f32>load<f64>(totals + (i << 3)));
}

/** Adds elements of type X to sums of type S. */
@inline
function scatter<S, X>(sums: usize, x: usize, index: usize, n: u32, count: u32, inner: u32, begin: u32,
  end: u32): void
{
  // If `inner` is the constant 1, the compiler removes the column index.
  if (inner == 1) scatterRows<S, X>(sums, x, index, n, count, 1, begin, end);
  else scatterRows<S, X>(sums, x, index, n, count, inner, begin, end);
}

@inline
function scatterRows<S, X>(sums: usize, x: usize, index: usize, n: u32, count: u32, inner: u32, begin: u32,
  end: u32): void
{
  const rowBytes = <usize>inner * sizeof<S>(), bytes = <usize>count * inner << 2;
  for (let o = begin / n; o * n < end; o++) {
    const low = o * n < begin ? begin - o * n : 0, own = min<u32>(n, end - o * n) - low;
    const block = sums + (<usize>o * n + low) * rowBytes, stop = <usize>(o + 1) * bytes;
    let column: usize = 0;
    for (let at = <usize>o * bytes; at < stop; at += 4) {
      const k = load<u32>(index + at) - low;
      if (k < own) {
        const to = block + k * rowBytes + column;
        store<S>(to, load<S>(to) + <S>load<X>(x + at));
      }
      if (inner != 1) {
        column += sizeof<S>();
        if (column == rowBytes) column = 0;
      }
    }
  }
}

/** The number of elements of a one-hot array to clear at once, few enough to stay in the L1 cache. */
const CLEARED: u32 = 4096;

/** out[r, c] = `one` where c = index[r], else 0. Elements have 32 bits. */
export function oneHot(out: usize, index: usize, classes: u32, one: u32, begin: u32, end: u32): void {
  const rowBytes = classes << 2, rows = max<u32>(1, CLEARED / max<u32>(1, classes));
  for (let r = begin; r < end;) {
    const last = min<u32>(end, r + rows);
    fill(out + r * rowBytes, (last - r) * rowBytes, 0);
    for (; r < last; r++) {
      const label = load<u32>(index + (<usize>r << 2));
      if (label < classes) store<u32>(out + r * rowBytes + (label << 2), one);
    }
  }
}
