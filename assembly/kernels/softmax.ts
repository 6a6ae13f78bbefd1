/**
 * Softmax and cross-entropy of rows, and their derivatives. x: [rows, n], row-major; the share [begin, end) is a range
 * of rows. All kernels subtract the row's maximum first, so nothing overflows. The sum of every SUM_BLOCK elements is
 * added to a float64 total. A kernel works in place only if its comment says so.
 */
import { exp, expm1, expNonPositive, log1p } from "../math";
import { SUM_BLOCK, addPairs, fma, laneMask, pairSum, promoteHigh, selectLanes, storeLanes } from "../simd";
import { maxRow, rowTotal, sumRow } from "./reduce";

/** The end of the block that begins at i. */
@inline
function blockEnd(i: u32, n: u32): u32 { return n - i > SUM_BLOCK ? i + SUM_BLOCK : n; }

/**
 * log Σ exp(x[i] − top), where top is the row's largest element. One term is exp(0) = 1: take log1p of the sum of the
 * others, so that small terms are not lost when 1 is added.
 */
function logSumExp(x: usize, n: u32, top: f32): f32 {
  const shift = f32x4.splat(top), zero = f32x4.splat(0);
  let tops = zero, total = f64x2.splat(0), i: u32 = 0;
  while (i < n) {
    const end = blockEnd(i, n), whole = end & ~3;
    let part = zero;
    // The condition is at the end so that V8 keeps the constants of exp in registers.
    if (i < whole) {
      do {
        const d = f32x4.sub(v128.load(x + (<usize>i << 2)), shift), isTop = f32x4.eq(d, zero);
        part = f32x4.add(part, v128.andnot(expNonPositive(d), isTop));
        tops = i32x4.sub(tops, isTop);
      } while ((i += 4) < whole);
    }
    if (i < end) {
      const mask = laneMask(end - i), d = f32x4.sub(v128.load(x + (<usize>i << 2)), shift);
      const isTop = v128.and(f32x4.eq(d, zero), mask);
      part = f32x4.add(part, v128.and(v128.andnot(expNonPositive(d), isTop), mask));
      tops = i32x4.sub(tops, isTop);
      i = end;
    }
    total = addPairs(total, part);
  }
  const others = i32x4.extract_lane(tops, 0) + i32x4.extract_lane(tops, 1) + i32x4.extract_lane(tops, 2)
    + i32x4.extract_lane(tops, 3) - 1;
  const rest = pairSum(total) + <f64>others;
  return f32x4.extract_lane(log1p(f32x4.splat(<f32>rest)), 0);
}

/** Whether all elements of a row are 0. */
function isZeroRow(x: usize, n: u32): bool {
  const zero = f32x4.splat(0);
  for (let i: u32 = 0; i < n; i += 4) {
    if (v128.any_true(v128.and(f32x4.ne(v128.load(x + (<usize>i << 2)), zero), laneMask(n - i)))) return false;
  }
  return true;
}

/** Σ exp(x[i] − shift), where shift is at least the largest x[i]; also writes the terms to `out`. */
function sumExp(out: usize, x: usize, n: u32, shift: f32): f64 {
  const s = f32x4.splat(shift), whole = n & ~3;
  let total = f64x2.splat(0), i: u32 = 0;
  while (i < whole) {
    const end = blockEnd(i, whole);
    let sum = f32x4.splat(0);
    // The condition is at the end so that V8 keeps the constants of exp in registers.
    do {
      const at: usize = i << 2, e = expNonPositive(f32x4.sub(v128.load(x + at), s));
      v128.store(out + at, e);
      sum = f32x4.add(sum, e);
      i += 4;
    } while (i < end);
    total = addPairs(total, sum);
  }
  if (whole < n) {
    const at: usize = whole << 2, e = expNonPositive(f32x4.sub(v128.load(x + at), s));
    storeLanes(out + at, e, n - whole);
    total = addPairs(total, v128.and(e, laneMask(n - whole)));
  }
  return pairSum(total);
}

/** The largest element of a row. Ignores NaNs, which exp propagates into the sum. */
function topOf(x: usize, n: u32): f32 {
  const least = f32x4.splat(-Infinity);
  let a = least, b = least, i: u32 = 0;
  for (; i + 8 <= n; i += 8) {
    a = f32x4.pmax(a, v128.load(x + (<usize>i << 2)));
    b = f32x4.pmax(b, v128.load(x + (<usize>i << 2), 16));
  }
  for (; i < n; i += 4) {
    const v = v128.load(x + (<usize>i << 2));
    a = f32x4.pmax(a, n - i < 4 ? selectLanes(v, least, laneMask(n - i)) : v);
  }
  a = f32x4.pmax(a, b);
  a = f32x4.pmax(a, i64x2.shuffle(a, a, 1, 0));
  return max(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1));
}

/** x ← x·scale on a row. */
function scaleRow(x: usize, n: u32, scale: f32): void {
  const a = f32x4.splat(scale);
  for (; n >= 8; n -= 8, x += 32) {
    v128.store(x, f32x4.mul(v128.load(x), a));
    v128.store(x, f32x4.mul(v128.load(x, 16), a), 16);
  }
  for (; <i32>n > 0; n -= 4, x += 16) storeLanes(x, f32x4.mul(v128.load(x), a), n);
}

/** y = exp(x − max) / Σ exp(x − max). Works in place if out = x. */
export function softmax(out: usize, x: usize, n: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * n) << 2;
    const total = sumExp(out + at, x + at, n, topOf(x + at, n));
    scaleRow(out + at, n, 1 / <f32>total);
  }
}

/** y = x − log Σ exp(x). Works in place if out = x. */
export function logSoftmax(out: usize, x: usize, n: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * n) << 2;
    // Subtract the maximum and log Σ one after the other, so that rows far from zero keep their precision.
    const m = maxRow(x + at, n);
    const logTotal = f32x4.splat(logSumExp(x + at, n, m));
    const shift = f32x4.splat(m);
    for (let i: u32 = 0; i < n; i += 4) {
      const p: usize = at + (i << 2);
      storeLanes(out + p, f32x4.sub(f32x4.sub(v128.load(x + p), shift), logTotal), n - i);
    }
  }
}

/** Σ a[i]·b[i] of a row. */
function dotRow(a: usize, b: usize, n: u32): f32 {
  let total = f64x2.splat(0);
  for (let i: u32 = 0; i < n;) {
    const end = blockEnd(i, n);
    let sum = f32x4.splat(0);
    for (; i < end; i += 4) {
      const at: usize = i << 2;
      const product = f32x4.mul(v128.load(a + at), v128.load(b + at));
      sum = f32x4.add(sum, i + 4 <= n ? product : v128.and(product, laneMask(n - i)));
    }
    total = addPairs(total, sum);
  }
  return <f32>pairSum(total);
}

/**
 * dx = y·(dy − Σ dy·y), y = softmax(x); 0 if the whole row of dy is 0, whatever y is. Works in place if out is dy or y.
 */
export function softmaxGrad(out: usize, dy: usize, y: usize, n: u32, begin: u32, end: u32): void {
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * n) << 2, dot = dotRow(dy + at, y + at, n), total = f32x4.splat(dot);
    if (dot != dot && isZeroRow(dy + at, n)) {
      memory.fill(out + at, 0, <usize>n << 2);
      continue;
    }
    for (let i: u32 = 0; i < n; i += 4) {
      const p: usize = at + (i << 2);
      storeLanes(out + p, f32x4.mul(v128.load(y + p), f32x4.sub(v128.load(dy + p), total)), n - i);
    }
  }
}

/**
 * dx = dy − exp(y)·Σ dy, y = logSoftmax(x): (1 − eʸ)·dy − eʸ·Σ (the other dy) where eʸ > ½, to avoid cancellation. 0 if the whole
 * row of dy is 0, whatever y is. Works in place if out is dy or y.
 */
export function logSoftmaxGrad(out: usize, dy: usize, y: usize, n: u32, begin: u32, end: u32): void {
  const half = f32x4.splat(0.5);
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * n) << 2, sum = sumRow(dy + at, n), total = f32x4.splat(sum);
    if (sum == 0 && isZeroRow(dy + at, n)) {
      memory.fill(out + at, 0, <usize>n << 2);
      continue;
    }
    for (let i: u32 = 0; i < n; i += 4) {
      const p: usize = at + (i << 2), logP = v128.load(y + p), d = v128.load(dy + p), probability = exp(logP),
        likely = f32x4.gt(probability, half);
      let dx = fma(probability, f32x4.neg(total), d);
      if (i32x4.bitmask(likely)) {
        const rest = f32x4.add(f32x4.mul(d, expm1(logP)), f32x4.mul(probability, f32x4.sub(total, d)));
        dx = selectLanes(f32x4.neg(rest), dx, likely);
      }
      storeLanes(out + p, dx, n - i);
    }
  }
}

/**
 * lse[r] = [m, l], the largest logit and log Σ exp(logits[r] − m), stored separately so that rows far from zero keep
 * their precision; loss[r] = l + (m − logits[r, label[r]]). Both are 0 where label = ignoreIndex, whatever the logits
 * are. A label outside 0…classes−1 gives NaN; nothing is read out of bounds.
 */
export function crossEntropy(loss: usize, lse: usize, logits: usize, labels: usize, classes: u32, ignoreIndex: i32,
  begin: u32, end: u32): void
{
  for (let r = begin; r < end; r++) {
    const row = logits + ((<usize>r * classes) << 2), at: usize = <usize>r << 2;
    const label = load<i32>(labels + at);
    if (label == ignoreIndex) {
      store<u64>(lse + (at << 1), 0);
      store<f32>(loss + at, 0);
      continue;
    }
    const m = maxRow(row, classes), l = logSumExp(row, classes, m);
    store<f32>(lse + (at << 1), m);
    store<f32>(lse + (at << 1), l, 4);
    store<f32>(loss + at, <u32>label < classes ? l + (m - load<f32>(row + (<usize>label << 2))) : NaN);
  }
}

/**
 * dx[r] = dy[r]·(softmax(logits[r]) − onehot(label[r])). The entry at the label, p − 1, is computed as expm1(log p) to
 * avoid cancellation. Exactly 0 where label = ignoreIndex or dy[r] = 0, whatever the logits are. `out` may be `logits`.
 */
export function crossEntropyGrad(out: usize, dy: usize, logits: usize, labels: usize, lse: usize, classes: u32,
  ignoreIndex: i32, begin: u32, end: u32): void
{
  for (let r = begin; r < end; r++) {
    const row: usize = (<usize>r * classes) << 2, at: usize = <usize>r << 2;
    const label = load<i32>(labels + at), scale = load<f32>(dy + at);
    if (label == ignoreIndex || scale == 0) {
      memory.fill(out + row, 0, <usize>classes << 2);
      continue;
    }
    const s = f32x4.splat(scale), m = v128.load32_splat(lse + (at << 1)), l = v128.load32_splat(lse + (at << 1), 4);
    const p = row + (<usize>label << 2), known = <u32>label < classes;
    // Read the label's logit first, because `out` may be `logits`.
    const logP = known ? f32x4.sub(f32x4.sub(v128.load32_splat(logits + p), m), l) : m;
    for (let i: u32 = 0; i < classes; i += 4) {
      const p: usize = row + (i << 2);
      storeLanes(out + p, f32x4.mul(s, exp(f32x4.sub(f32x4.sub(v128.load(logits + p), m), l))), classes - i);
    }
    if (known) v128.store32_lane(out + p, f32x4.mul(s, expm1(logP)), 0);
  }
}

/**
 * loss[r] = Σ_j target[r, j]·(l + (m − logits[r, j])) for probabilities as targets; a target of 0 contributes nothing,
 * whatever its logit is. lse[r] = [m, l], as in `crossEntropy`. Both are 0 if the row's whole target is 0.
 */
export function softCrossEntropy(loss: usize, lse: usize, logits: usize, target: usize, classes: u32, begin: u32,
  end: u32): void
{
  const zero = f32x4.splat(0);
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * classes) << 2;
    if (isZeroRow(target + at, classes)) {
      store<u64>(lse + (<usize>r << 3), 0);
      store<f32>(loss + (<usize>r << 2), 0);
      continue;
    }
    const largest = maxRow(logits + at, classes), rest = logSumExp(logits + at, classes, largest);
    store<f32>(lse + (<usize>r << 3), largest);
    store<f32>(lse + (<usize>r << 3), rest, 4);
    const m = f32x4.splat(largest), l = f32x4.splat(rest);
    let total = f64x2.splat(0);
    for (let i: u32 = 0; i < classes;) {
      const end = blockEnd(i, classes);
      let sum = zero;
      for (; i < end; i += 4) {
        const p: usize = at + (i << 2), t = v128.load(target + p);
        const term = v128.andnot(f32x4.mul(t, f32x4.add(l, f32x4.sub(m, v128.load(logits + p)))), f32x4.eq(t, zero));
        sum = f32x4.add(sum, i + 4 <= classes ? term : v128.and(term, laneMask(classes - i)));
      }
      total = addPairs(total, sum);
    }
    store<f32>(loss + (<usize>r << 2), <f32>pairSum(total));
  }
}

/**
 * dx[r, j] = dy[r]·(softmax(logits[r])[j]·M − target[r, j]), M = Σ target[r]; where the target is more than M/2, the
 * probability p minus 1 is computed as expm1(log p). softmax·M = exp(x − m)·(M/Σ exp(x − m)) in float64, so that equal
 * logits and equal targets give 0. Exactly 0 if dy[r] or the row's whole target is 0, whatever the logits are.
 */
export function softCrossEntropyGrad(out: usize, dy: usize, logits: usize, target: usize, lse: usize, classes: u32,
  begin: u32, end: u32): void
{
  for (let r = begin; r < end; r++) {
    const at: usize = (<usize>r * classes) << 2, scale = load<f32>(dy + (<usize>r << 2)),
      total = rowTotal(target + at, classes);
    if (scale == 0 || (total == 0 && isZeroRow(target + at, classes))) {
      memory.fill(out + at, 0, <usize>classes << 2);
      continue;
    }
    const s = f32x4.splat(scale), mass = f32x4.splat(<f32>total), half = f32x4.splat(<f32>(0.5 * total));
    const m = v128.load32_splat(lse + (<usize>r << 3)), l = v128.load32_splat(lse + (<usize>r << 3), 4);
    const rate = f64x2.splat(total / sumExp(out + at, logits + at, classes, load<f32>(lse + (<usize>r << 3))));
    for (let i: u32 = 0; i < classes; i += 4) {
      const p: usize = at + (i << 2), t = v128.load(target + p), most = f32x4.gt(t, half);
      const e = v128.load(out + p), low = f64x2.mul(f64x2.promote_low_f32x4(e), rate),
        high = f64x2.mul(promoteHigh(e), rate);
      let d = f32x4.sub(i64x2.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2), t);
      const logP = f32x4.sub(f32x4.sub(v128.load(logits + p), m), l);
      if (i32x4.bitmask(most)) d = selectLanes(f32x4.add(f32x4.mul(expm1(logP), mass), f32x4.sub(mass, t)), d, most);
      storeLanes(out + p, f32x4.mul(s, d), classes - i);
    }
  }
}
