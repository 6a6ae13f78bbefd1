/**
 * Softmax and cross-entropy over rows, with their derivatives. x: [rows, n], row-major; the share [begin, end) counts
 * rows. All subtract the row's maximum first, so nothing overflows. Where `out` may be the input, the doc says so.
 */
import { exp, log } from "../math";
import { fma, horizontalSum, laneMask, storeLanes } from "../simd";
import { maxRow, sumRow } from "./reduce";

// @ts-ignore: decorator
@inline
function logOf(x: f32): f32 { return f32x4.extract_lane(log(f32x4.splat(x)), 0); }

/** Σ exp(x[i] − shift); also writes the terms to `out` unless it is 0. */
function sumExp(out: usize, x: usize, n: u32, shift: f32): f32 {
  const s = f32x4.splat(shift);
  let total = f32x4.splat(0);
  for (let i: u32 = 0; i < n; i += 4) {
    const at: usize = i << 2;
    const e = exp(f32x4.sub(v128.load(x + at), s));
    if (out) storeLanes(out + at, e, n - i);
    total = f32x4.add(total, i + 4 <= n ? e : v128.and(e, laneMask(n - i)));
  }
  return horizontalSum(total);
}

/** out = x·scale + shift on a row. */
function scaleRow(out: usize, x: usize, n: u32, scale: f32, shift: f32): void {
  const a = f32x4.splat(scale), b = f32x4.splat(shift);
  for (let i: u32 = 0; i < n; i += 4) {
    const at: usize = i << 2;
    storeLanes(out + at, f32x4.add(f32x4.mul(v128.load(x + at), a), b), n - i);
  }
}

/** y = exp(x − max) / Σ exp(x − max). In place if out = x. */
export function softmax(out: usize, x: usize, n: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * n) << 2;
    const total = sumExp(out + at, x + at, n, maxRow(x + at, n));
    scaleRow(out + at, out + at, n, 1 / total, 0);
  }
}

/** y = x − log Σ exp(x). In place if out = x. */
export function logSoftmax(out: usize, x: usize, n: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * n) << 2;
    // Subtracting the maximum before log Σ keeps the digits of rows that lie far from zero.
    const m = maxRow(x + at, n);
    const logTotal = f32x4.splat(logOf(sumExp(0, x + at, n, m)));
    const shift = f32x4.splat(m);
    for (let i: u32 = 0; i < n; i += 4) {
      const p: usize = at + (i << 2);
      storeLanes(out + p, f32x4.sub(f32x4.sub(v128.load(x + p), shift), logTotal), n - i);
    }
  }
}

/** Σ a[i]·b[i] of a row. */
function dotRow(a: usize, b: usize, n: u32): f32 {
  let total = f32x4.splat(0);
  for (let i: u32 = 0; i < n; i += 4) {
    const at: usize = i << 2;
    const product = f32x4.mul(v128.load(a + at), v128.load(b + at));
    total = f32x4.add(total, i + 4 <= n ? product : v128.and(product, laneMask(n - i)));
  }
  return horizontalSum(total);
}

/** dx = y·(dy − Σ dy·y), y = softmax(x). In place if out is dy or y. */
export function softmaxGrad(out: usize, dy: usize, y: usize, n: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * n) << 2;
    const total = f32x4.splat(dotRow(dy + at, y + at, n));
    for (let i: u32 = 0; i < n; i += 4) {
      const p: usize = at + (i << 2);
      storeLanes(out + p, f32x4.mul(v128.load(y + p), f32x4.sub(v128.load(dy + p), total)), n - i);
    }
  }
}

/** dx = dy − exp(y)·Σ dy, y = logSoftmax(x). In place if out is dy or y. */
export function logSoftmaxGrad(out: usize, dy: usize, y: usize, n: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * n) << 2;
    const minusTotal = f32x4.splat(-sumRow(dy + at, n));
    for (let i: u32 = 0; i < n; i += 4) {
      const p: usize = at + (i << 2);
      storeLanes(out + p, fma(exp(v128.load(y + p)), minusTotal, v128.load(dy + p)), n - i);
    }
  }
}

/**
 * lse[r] = [m, l], the largest logit and log Σ exp(logits[r] − m): apart, so that rows far from zero keep their digits;
 * loss[r] = l + (m − logits[r, label[r]]), 0 where label = ignoreIndex.
 * A label outside 0…classes−1 gives NaN; nothing is read out of bounds.
 */
export function crossEntropy(loss: usize, lse: usize, logits: usize, labels: usize, classes: u32, ignoreIndex: i32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const row = logits + ((<usize>r * classes) << 2), at: usize = <usize>r << 2;
    const label = load<i32>(labels + at);
    const m = maxRow(row, classes), l = logOf(sumExp(0, row, classes, m));
    store<f32>(lse + (at << 1), m);
    store<f32>(lse + (at << 1), l, 4);
    store<f32>(loss + at, label == ignoreIndex ? 0 : <u32>label < classes ? l + (m - load<f32>(row + (<usize>label << 2))) : NaN);
  }
}

/** dx[r] = dy[r]·(softmax(logits[r]) − onehot(label[r])), 0 where label = ignoreIndex. */
export function crossEntropyGrad(out: usize, dy: usize, logits: usize, labels: usize, lse: usize, classes: u32, ignoreIndex: i32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const row: usize = (<usize>r * classes) << 2, at: usize = <usize>r << 2;
    const label = load<i32>(labels + at);
    const scale: f32 = label == ignoreIndex ? 0 : load<f32>(dy + at);
    const s = f32x4.splat(scale), m = v128.load32_splat(lse + (at << 1)), l = v128.load32_splat(lse + (at << 1), 4);
    for (let i: u32 = 0; i < classes; i += 4) {
      const p: usize = row + (i << 2);
      storeLanes(out + p, f32x4.mul(s, exp(f32x4.sub(f32x4.sub(v128.load(logits + p), m), l))), classes - i);
    }
    if (<u32>label < classes && label != ignoreIndex) {
      const p = out + row + (<usize>label << 2);
      store<f32>(p, load<f32>(p) - scale);
    }
  }
}

/** loss[r] = Σ_j target[r, j]·(l + (m − logits[r, j])) for probabilities as targets; lse[r] = [m, l] as above. */
export function softCrossEntropy(loss: usize, lse: usize, logits: usize, target: usize, classes: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * classes) << 2;
    const largest = maxRow(logits + at, classes), rest = logOf(sumExp(0, logits + at, classes, largest));
    store<f32>(lse + (<usize>r << 3), largest);
    store<f32>(lse + (<usize>r << 3), rest, 4);
    const m = f32x4.splat(largest), l = f32x4.splat(rest);
    let sum = f32x4.splat(0);
    for (let i: u32 = 0; i < classes; i += 4) {
      const p: usize = at + (i << 2);
      const term = f32x4.mul(v128.load(target + p), f32x4.add(l, f32x4.sub(m, v128.load(logits + p))));
      sum = f32x4.add(sum, i + 4 <= classes ? term : v128.and(term, laneMask(classes - i)));
    }
    store<f32>(loss + (<usize>r << 2), horizontalSum(sum));
  }
}

/** dx[r, j] = dy[r]·(softmax(logits[r])[j]·Σ target[r] − target[r, j]). */
export function softCrossEntropyGrad(out: usize, dy: usize, logits: usize, target: usize, lse: usize, classes: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * classes) << 2;
    const scale = f32x4.splat(load<f32>(dy + (<usize>r << 2)));
    const m = v128.load32_splat(lse + (<usize>r << 3)), l = v128.load32_splat(lse + (<usize>r << 3), 4);
    const mass = f32x4.splat(sumRow(target + at, classes));
    for (let i: u32 = 0; i < classes; i += 4) {
      const p: usize = at + (i << 2);
      const softmax = exp(f32x4.sub(f32x4.sub(v128.load(logits + p), m), l));
      storeLanes(out + p, f32x4.mul(scale, f32x4.sub(f32x4.mul(softmax, mass), v128.load(target + p))), classes - i);
    }
  }
}
