/**
 * The kernels for layer, RMS, batch, instance and group norm, and for their gradients.
 *
 * They normalize along the middle dimension of [outer, n, inner]: x̂ = (x − μ)·r, r = 1/√(σ² + ε); without centring, μ
 * = 0 and σ² is the mean square. With inner = 1 a group is a row; otherwise the kernels vectorize over groups. Usually
 * μ is m, the rounded mean, which is exact if all elements are equal. For groups far from 0, μ is m + δ, where δ is the
 * mean of x − m, so that x − μ keeps its precision: Σ (x − μ)² = Σ (x − m)² − nδ², Σ y(x − μ) = Σ y(x − m) − δ·Σ y. The
 * sum of each block is added to a float64 total. The order of summation depends only on n, because a group is never
 * split between threads, so results are bit-identical for any number of threads. A group whose squares float32 cannot
 * represent is normalized in float64 (`wideNormalize`).
 *
 * The last loop of each kernel tests its condition at the end, so that V8 hoists loop invariants.
 */
import { addPairs, duo, fma, laneMask, narrow, pairSum, promoteHigh, storeLanes, storeTail, SUM_BLOCK, TREE,
  tree } from "../simd";
import { longTotal, rowTotal } from "./reduce";

/** The number of rows that are summed in float32 before their sum is added to a float64 total. */
const COLUMN_BLOCK: u32 = 32;

/**
 * A group is far from 0 if m² is more than FAR times the mean of (x − m)²; in that case, the rounding error of m
 * matters.
 */
const FAR: f32 = 1024;

/**
 * If σ² + ε is in this range, float32 can represent the squares of a group and their products with gradients. If ε is
 * at least 10⁻¹², squares that are too small for float32 are negligible.
 */
const LEAST: f32 = 1.4e-14;
const MOST: f32 = 1.2e24;

/** The number of units of work: one per row if inner = 1, otherwise one per vector of four neighbouring groups. */
export function normUnits(outer: u32, inner: u32): u32 {
  return inner == 1 ? outer : outer * ((inner + 3) >> 2);
}

/** Adds one vector's terms to sum: x − m (kind 0), (x − m)² (1) or y·(x − m) (2). */
@inline
function term(kind: i32, p: usize, toY: usize, m: v128, sum: v128): v128 {
  const v = f32x4.sub(v128.load(p), m);
  return kind ? fma(v, kind == 1 ? v : v128.load(p + toY), sum) : f32x4.add(sum, v);
}

/** The sum of one kind of term (see `term`) along a row. */
@inline
function rowFold(kind: i32, x: usize, y: usize, m: v128, n: u32): f64 {
  const whole = n & ~3, zero = f32x4.splat(0), toY = y - x;
  let total = f64x2.splat(0), p = x;
  for (let i: u32 = 0; i < whole;) {
    const end = whole - i > SUM_BLOCK ? i + SUM_BLOCK : whole;
    let a = zero, b = zero, c = zero, d = zero;
    for (; i + 16 <= end; i += 16, p += 64) {
      a = term(kind, p, toY, m, a);
      b = term(kind, p + 16, toY, m, b);
      c = term(kind, p + 32, toY, m, c);
      d = term(kind, p + 48, toY, m, d);
    }
    for (; i < end; i += 4, p += 16) a = term(kind, p, toY, m, a);
    total = addPairs(total, f32x4.add(f32x4.add(a, b), f32x4.add(c, d)));
  }
  if (n & 3) total = addPairs(total, v128.and(term(kind, p, toY, m, zero), laneMask(n & 3)));
  return pairSum(total);
}
export function rowSquares(x: usize, m: v128, n: u32): f64 { return rowFold(1, x, x, m, n); }
export function rowProducts(x: usize, y: usize, m: v128, n: u32): f64 { return rowFold(2, x, y, m, n); }
export function rowOffset(x: usize, m: v128, n: u32): f64 { return rowFold(0, x, x, m, n); }

/** (low, high)/n in float32. */
@inline
function quotient(low: v128, high: v128, n: u32): v128 {
  const by = f64x2.splat(<f64>n);
  return narrow(f64x2.div(low, by), f64x2.div(high, by));
}

/** Means of four columns of n rows, `step` bytes apart. */
function columnMeans(x: usize, n: u32, step: usize): v128 {
  let low = f64x2.splat(0), high = low, rows = n;
  const block = TREE * step;
  for (; rows >= 4 * TREE; rows -= 4 * TREE) {
    let v = f32x4.add(tree(x, step), tree(x + block, step));
    x += 2 * block;
    v = f32x4.add(v, f32x4.add(tree(x, step), tree(x + block, step)));
    x += 2 * block;
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, promoteHigh(v));
  }
  for (; rows >= 2; rows -= 2, x += 2 * step) {
    const v = duo(x, step);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, promoteHigh(v));
  }
  if (rows) {
    const v = v128.load(x);
    low = f64x2.add(low, f64x2.promote_low_f32x4(v));
    high = f64x2.add(high, promoteHigh(v));
  }
  return quotient(low, high, n);
}

/** The mean of one kind of term (see `term`) in each of four columns. */
@inline
function columnFold(kind: i32, x: usize, y: usize, m: v128, n: u32, step: usize): v128 {
  const toY = y - x, zero = f32x4.splat(0);
  let low = f64x2.splat(0), high = low;
  for (let rows = n; rows > 0;) {
    let i = rows > COLUMN_BLOCK ? COLUMN_BLOCK : rows, a = zero, b = zero;
    rows -= i;
    for (; i >= 2; i -= 2, x += 2 * step) {
      a = term(kind, x, toY, m, a);
      b = term(kind, x + step, toY, m, b);
    }
    if (i) {
      a = term(kind, x, toY, m, a);
      x += step;
    }
    a = f32x4.add(a, b);
    low = f64x2.add(low, f64x2.promote_low_f32x4(a));
    high = f64x2.add(high, promoteHigh(a));
  }
  return quotient(low, high, n);
}
export function columnSquares(x: usize, m: v128, n: u32, step: usize): v128 { return columnFold(1, x, x, m, n, step); }
export function columnProducts(x: usize, y: usize, m: v128, n: u32, step: usize): v128 {
  return columnFold(2, x, y, m, n, step);
}
export function columnOffsets(x: usize, m: v128, n: u32, step: usize): v128 { return columnFold(0, x, x, m, n, step); }

/**
 * A mask of the lanes so far from 0 that δ matters. Decides for each lane separately, so no column's result depends on
 * its neighbours.
 */
@inline
function isFar(m: v128, squares: v128): v128 {
  return f32x4.gt(f32x4.mul(m, m), f32x4.mul(squares, f32x4.splat(FAR)));
}

/** δ for each of four columns: the mean of x − m if the column is far from 0, otherwise 0. */
@inline
function columnDeltas(x: usize, m: v128, squares: v128, n: u32, step: usize): v128 {
  const far = isFar(m, squares);
  return v128.any_true(far) ? v128.and(columnOffsets(x, m, n, step), far) : f32x4.splat(0);
}

/** σ² from the mean of (x − m)². */
@inline
function varianceOf(squares: v128, delta: v128): v128 {
  return f32x4.max(f32x4.sub(squares, f32x4.mul(delta, delta)), f32x4.splat(0));
}

@inline
function inverseRoot(variance: v128, eps: f32): v128 {
  return f32x4.div(f32x4.splat(1), f32x4.sqrt(f32x4.add(variance, f32x4.splat(eps))));
}

/** A mask of the lanes whose groups need float64. */
@inline
function isWide(variance: v128, eps: f32): v128 {
  const v = f32x4.add(variance, f32x4.splat(eps));
  return v128.not(v128.and(f32x4.ge(v, f32x4.splat(LEAST)), f32x4.le(v, f32x4.splat(MOST))));
}

/**
 * A mask of the lanes in which scale, the product of the rate and the weight, is nonzero and near the limits of
 * float32's range.
 */
@inline
function isExtreme(scale: v128): v128 {
  const size = f32x4.abs(scale), zero = f32x4.eq(size, f32x4.splat(0));
  const inRange = v128.and(f32x4.ge(size, f32x4.splat(1e-30)), f32x4.le(size, f32x4.splat(1e30)));
  return v128.not(v128.or(inRange, zero));
}

/** The mean of n numbers `step` bytes apart, in float64. */
function wideMean(x: usize, n: u32, step: usize): f64 { return longTotal(x, n, step) / n; }

/** 1/√(σ² + ε) of n numbers `step` bytes apart, in float64. */
function wideRate(x: usize, n: u32, step: usize, mean: f64, eps: f32): f64 {
  return 1 / Math.sqrt(wideVariance(x, n, step, mean) + eps);
}

function wideVariance(x: usize, n: u32, step: usize, mean: f64): f64 {
  let squares: f64 = 0;
  for (let i: u32 = 0; i < n; i++, x += step) {
    const d = <f64>load<f32>(x) - mean;
    squares += d * d;
  }
  return squares / n;
}

/** Normalizes one group in float64: n numbers `step` bytes apart, with weights and biases `affine` bytes apart. */
function wideNormalize(out: usize, x: usize, weight: usize, bias: usize, affine: usize, n: u32, step: usize,
  center: u32, eps: f32): void
{
  const mean = center ? wideMean(x, n, step) : 0, rate = wideRate(x, n, step, mean, eps);
  for (let i: u32 = 0; i < n; i++, x += step, out += step) {
    let v = (<f64>load<f32>(x) - mean) * rate;
    if (weight) v *= load<f32>(weight + i * affine);
    if (bias) v += load<f32>(bias + i * affine);
    store<f32>(out, <f32>v);
  }
}

/** Computes the gradient of one group in float64. */
function wideGrad(out: usize, dy: usize, x: usize, n: u32, step: usize, center: u32, eps: f32): void {
  const mean = center ? wideMean(x, n, step) : 0, rate = wideRate(x, n, step, mean, eps),
    level = center ? wideMean(dy, n, step) : 0;
  let along: f64 = 0;
  for (let i: u32 = 0; i < n; i++)
    along += <f64>load<f32>(dy + i * step) * ((<f64>load<f32>(x + i * step) - mean) * rate);
  along /= n;
  for (let i: u32 = 0; i < n; i++, x += step, dy += step, out += step) {
    store<f32>(out, <f32>(rate * (<f64>load<f32>(dy) - level - (<f64>load<f32>(x) - mean) * rate * along)));
  }
}

/**
 * out = x̂·weight + bias for units [begin, end) (normUnits). weight and bias, [n] for rows and [inner] for columns, may be 0
 * (absent). stats: [outer, 2, inner] receives μ and σ².
 */
export function normalize(out: usize, stats: usize, x: usize, weight: usize, bias: usize, n: u32, inner: u32,
  center: u32, eps: f32, begin: u32, end: u32): void
{
  if (inner == 1) {
    for (let r = begin; r < end; r++) {
      const row = x + <usize>r * (n << 2), to = out + <usize>r * (n << 2);
      const m = f32x4.splat(center ? <f32>(rowTotal(row, n) / n) : 0),
        squares = f32x4.splat(<f32>(rowSquares(row, m, n) / n));
      const delta = f32x4.splat(v128.any_true(isFar(m, squares)) ? <f32>(rowOffset(row, m, n) / n) : 0),
        variance = varianceOf(squares, delta);
      v128.store32_lane(stats + (<usize>r << 3), m, 0);
      v128.store32_lane(stats + (<usize>r << 3), variance, 0, 4);
      if (v128.any_true(isWide(variance, eps))) {
        store<f32>(stats + (<usize>r << 3), <f32>wideVariance(row, n, 4, center ? wideMean(row, n, 4) : 0), 4);
        wideNormalize(to, row, weight, bias, 4, n, 4, center, eps);
        continue;
      }
      const rate = inverseRoot(variance, eps), shift = f32x4.neg(f32x4.mul(delta, rate));
      if (!n) continue;
      let i: u32 = 0;
      do {
        const at: usize = i << 2;
        let v = fma(f32x4.sub(v128.load(row + at), m), rate, shift);
        if (weight) v = f32x4.mul(v, v128.load(weight + at));
        if (bias) v = f32x4.add(v, v128.load(bias + at));
        storeLanes(to + at, v, n - i);
      } while ((i += 4) < n);
    }
    return;
  }
  const vectors = (inner + 3) >> 2, step = <usize>inner << 2;
  for (let u = begin; u < end; u++) {
    const o = u / vectors, j = (u - o * vectors) << 2, rest = inner - j;
    const first = (<usize>o * n * inner + j) << 2, at: usize = j << 2;
    const means = stats + (<usize>o * 2 * inner << 2) + at;
    const m = center ? columnMeans(x + first, n, step) : f32x4.splat(0), squares = columnSquares(x + first, m, n, step);
    const delta = columnDeltas(x + first, m, squares, n, step), variance = varianceOf(squares, delta);
    storeLanes(means, m, rest);
    storeLanes(means + step, variance, rest);
    // (x − m)·(rate·weight) + (bias − δ·rate·weight)
    const rate = inverseRoot(variance, eps), scale = weight ? f32x4.mul(rate, v128.load(weight + at)) : rate;
    const turn = f32x4.mul(delta, scale), shift = bias ? f32x4.sub(v128.load(bias + at), turn) : f32x4.neg(turn);
    if (!n) continue;
    let from = x + first, to = out + first, i = n;
    if (rest >= 4) {
      do {
        v128.store(to, fma(f32x4.sub(v128.load(from), m), scale, shift));
        from += step;
        to += step;
      } while (--i);
    } else {
      do {
        storeTail(to, fma(f32x4.sub(v128.load(from), m), scale, shift), rest);
        from += step;
        to += step;
      } while (--i);
    }
    const wide = i32x4.bitmask(v128.or(isWide(variance, eps), isExtreme(scale)));
    if (!wide) continue;
    for (let lane: u32 = 0; lane < 4 && lane < rest; lane++) {
      if (!(wide >> lane & 1)) continue;
      const own: usize = lane << 2, column = x + first + own;
      store<f32>(means + step + own, <f32>wideVariance(column, n, step, center ? wideMean(column, n, step) : 0));
      wideNormalize(out + first + own, column, weight ? weight + at + own : 0, bias ? bias + at + own : 0, 0, n, step,
        center, eps);
    }
  }
}

/** out = r·(dy − mean(dy) − x̂·mean(dy·x̂)), or r·(dy − x̂·mean(dy·x̂)) without centring, for units [begin, end). */
export function normalizeGrad(out: usize, dy: usize, x: usize, n: u32, inner: u32, center: u32, eps: f32, begin: u32,
  end: u32): void
{
  if (!n) return;
  if (inner == 1) {
    for (let r = begin; r < end; r++) {
      const offset = <usize>r * (n << 2);
      const row = x + offset, gradients = dy + offset, to = out + offset;
      const m = f32x4.splat(center ? <f32>(rowTotal(row, n) / n) : 0),
        squares = f32x4.splat(<f32>(rowSquares(row, m, n) / n));
      const delta: f64 = v128.any_true(isFar(m, squares)) ? rowOffset(row, m, n) / n : 0;
      const variance = varianceOf(squares, f32x4.splat(<f32>delta)), rate = inverseRoot(variance, eps);
      const mean: f64 = center ? rowTotal(gradients, n) / n : 0, products = rowProducts(row, gradients, m, n);
      if (!isFinite(products) || v128.any_true(isWide(variance, eps))) {
        wideGrad(to, gradients, row, n, 4, center, eps);
        continue;
      }
      const along = f32x4.mul(f32x4.splat(<f32>(products / n - delta * mean)), f32x4.mul(rate, rate));
      // dy − mean − (x − m − δ)·along
      const level = f32x4.sub(f32x4.splat(<f32>mean), f32x4.mul(f32x4.splat(<f32>delta), along));
      let i: u32 = 0;
      do {
        const at: usize = i << 2;
        const centred = f32x4.sub(v128.load(row + at), m);
        const d = f32x4.sub(f32x4.sub(v128.load(gradients + at), level), f32x4.mul(centred, along));
        storeLanes(to + at, f32x4.mul(rate, d), n - i);
      } while ((i += 4) < n);
    }
    return;
  }
  const vectors = (inner + 3) >> 2, step = <usize>inner << 2;
  for (let u = begin; u < end; u++) {
    const o = u / vectors, j = (u - o * vectors) << 2, rest = inner - j;
    const first = (<usize>o * n * inner + j) << 2;
    const m = center ? columnMeans(x + first, n, step) : f32x4.splat(0),
      mean = center ? columnMeans(dy + first, n, step) : m;
    const squares = columnSquares(x + first, m, n, step), delta = columnDeltas(x + first, m, squares, n, step);
    const variance = varianceOf(squares, delta), rate = inverseRoot(variance, eps);
    const products = f32x4.sub(columnProducts(x + first, dy + first, m, n, step), f32x4.mul(delta, mean));
    const along = f32x4.mul(products, f32x4.mul(rate, rate)), level = f32x4.sub(mean, f32x4.mul(delta, along));
    let from = x + first, gradients = dy + first, to = out + first, i = n;
    do {
      const centred = f32x4.sub(v128.load(from), m);
      const d = f32x4.sub(f32x4.sub(v128.load(gradients), level), f32x4.mul(centred, along));
      storeLanes(to, f32x4.mul(rate, d), rest);
      from += step;
      gradients += step;
      to += step;
    } while (--i);
    const finite = f32x4.eq(f32x4.sub(products, products), f32x4.splat(0));
    const wide = i32x4.bitmask(v128.or(isWide(variance, eps), v128.not(finite)));
    if (!wide) continue;
    for (let lane: u32 = 0; lane < 4 && lane < rest; lane++) {
      const own = first + (<usize>lane << 2);
      if (wide >> lane & 1) wideGrad(out + own, dy + own, x + own, n, step, center, eps);
    }
  }
}
