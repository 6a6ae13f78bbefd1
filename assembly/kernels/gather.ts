/**
 * Reading and adding at indices. x is seen as [outer, n, inner] with the indexed dimension in the middle.
 * An index outside 0…n−1 is passed over (reads give 0), so that nothing leaves its buffer; the callers check indices.
 */
import { storeLanes } from "../simd";
import { fill } from "./shape";

/** out[o, j, ·] = x[o, index[j], ·], rows of `inner` elements; the share counts the outer·count rows of out. */
export function indexSelect(out: usize, x: usize, index: usize, n: u32, count: u32, inner: u32, elementBytes: u32, begin: u32, end: u32): void {
  const rowBytes: usize = inner * elementBytes;
  for (let r = begin; r < end; r++) {
    const o = r / count;
    const i = load<u32>(index + (<usize>(r - o * count) << 2));
    const to = out + r * rowBytes;
    if (i < n) memory.copy(to, x + (<usize>o * n + i) * rowBytes, rowBytes);
    else fill(to, <u32>rowBytes, 0);
  }
}

/**
 * out = 0; out[o, index[j], ·] += x[o, j, ·] in the order of j: the same bits always. The share counts the outer·n rows of out:
 * it looks at all indices, and adds where they point to its own.
 */
export function indexAdd(out: usize, x: usize, index: usize, n: u32, count: u32, inner: u32, begin: u32, end: u32): void {
  if (begin >= end) return;
  const rowBytes: usize = <usize>inner << 2;
  fill(out + begin * rowBytes, (end - begin) * <u32>rowBytes, 0);
  for (let o = begin / n; o * n < end; o++) {
    const low = o * n < begin ? begin - o * n : 0, own = min<u32>(n, end - o * n) - low;
    for (let j: u32 = 0; j < count; j++) {
      const i = load<u32>(index + (<usize>j << 2));
      if (i - low >= own) continue;
      const to = out + (<usize>o * n + i) * rowBytes, from = x + (<usize>o * count + j) * rowBytes;
      for (let c: u32 = 0; c < inner; c += 4) {
        const at: usize = c << 2;
        storeLanes(to + at, f32x4.add(v128.load(to + at), v128.load(from + at)), inner - c);
      }
    }
  }
}

/** out[o, j, i] = x[o, index[o, j, i], i]; the share counts the outer·count rows of out. */
export function gather(out: usize, x: usize, index: usize, n: u32, count: u32, inner: u32, elementBytes: u32, begin: u32, end: u32): void {
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

/** out = 0; out[o, index[o, j, i], i] += x[o, j, i] in the order of j: the same bits always. The share counts as indexAdd's does. */
export function scatterAdd(out: usize, x: usize, index: usize, n: u32, count: u32, inner: u32, begin: u32, end: u32): void {
  if (begin >= end) return;
  fill(out + ((<usize>begin * inner) << 2), ((end - begin) * inner) << 2, 0);
  for (let o = begin / n; o * n < end; o++) {
    const low = o * n < begin ? begin - o * n : 0, own = min<u32>(n, end - o * n) - low;
    const block = out + ((<usize>o * n * inner) << 2);
    for (let j: u32 = 0; j < count; j++) {
      const row: usize = (<usize>(o * count + j) * inner) << 2;
      for (let i: usize = 0; i < inner; i++) {
        const at = load<u32>(index + row + (i << 2));
        if (at - low >= own) continue;
        const to = block + ((<usize>at * inner + i) << 2);
        store<f32>(to, load<f32>(to) + load<f32>(x + row + (i << 2)));
      }
    }
  }
}

/** out[r, c] = 1 where c = index[r], else 0. */
export function oneHot(out: usize, index: usize, classes: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const row = out + ((<usize>r * classes) << 2);
    fill(row, classes << 2, 0);
    const label = load<u32>(index + (<usize>r << 2));
    if (label < classes) store<f32>(row + (<usize>label << 2), 1);
  }
}
