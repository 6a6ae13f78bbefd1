/**
 * Normalization along the middle of [outer, n, inner], and its gradient: x̂ = (x − μ)·r, r = 1/√(σ² + ε); without centring,
 * μ = 0 and σ² is the mean square. With inner = 1 a group is a row; else vectors run over groups. Sums are taken over blocks
 * of BLOCK elements (or rows) first, so their bits depend on n alone. Groups are shared, never cut.
 */
import { fma, horizontalSum, laneMask, storeLanes } from "../simd";

const BLOCK: u32 = 128;

/** Groups per unit of work: vectors of four where groups lie side by side. */
export function normUnits(outer: u32, inner: u32): u32 {
  return inner == 1 ? outer : outer * ((inner + 3) >> 2);
}

// @ts-ignore: decorator
@inline
/** Σ along a row, lanes past its end left out: kind 0: x, 1: (x − m)², 2: y·(x − m). */
function rowFold(kind: i32, x: usize, y: usize, m: v128, n: u32): f32 {
  let total = f32x4.splat(0);
  for (let begin: u32 = 0; begin < n; begin += BLOCK) {
    const end = begin + BLOCK < n ? begin + BLOCK : n;
    let sum = f32x4.splat(0);
    for (let i = begin; i < end; i += 4) {
      const at: usize = i << 2;
      let v = v128.load(x + at);
      if (kind) {
        v = f32x4.sub(v, m);
        v = f32x4.mul(v, kind == 1 ? v : v128.load(y + at));
      }
      if (end - i < 4) v = v128.and(v, laneMask(end - i));
      sum = f32x4.add(sum, v);
    }
    total = f32x4.add(total, sum);
  }
  return horizontalSum(total);
}
function rowSum(x: usize, n: u32): f32 { return rowFold(0, x, x, f32x4.splat(0), n); }
function rowSquares(x: usize, m: v128, n: u32): f32 { return rowFold(1, x, x, m, n); }
function rowProducts(x: usize, y: usize, m: v128, n: u32): f32 { return rowFold(2, x, y, m, n); }

// @ts-ignore: decorator
@inline
/** The same down four columns, `step` bytes from row to row. */
function columnFold(kind: i32, x: usize, y: usize, m: v128, n: u32, step: usize): v128 {
  let total = f32x4.splat(0);
  for (let begin: u32 = 0; begin < n; begin += BLOCK) {
    const end = begin + BLOCK < n ? begin + BLOCK : n;
    let sum = f32x4.splat(0);
    for (let i = begin; i < end; i++, x += step, y += step) {
      if (!kind) sum = f32x4.add(sum, v128.load(x));
      else {
        const v = f32x4.sub(v128.load(x), m);
        sum = fma(v, kind == 1 ? v : v128.load(y), sum);
      }
    }
    total = f32x4.add(total, sum);
  }
  return total;
}
function columnSum(x: usize, n: u32, step: usize): v128 { return columnFold(0, x, x, f32x4.splat(0), n, step); }
function columnSquares(x: usize, m: v128, n: u32, step: usize): v128 { return columnFold(1, x, x, m, n, step); }
function columnProducts(x: usize, y: usize, m: v128, n: u32, step: usize): v128 { return columnFold(2, x, y, m, n, step); }

// @ts-ignore: decorator
@inline
function inverseRoot(variance: v128, eps: f32): v128 {
  return f32x4.div(f32x4.splat(1), f32x4.sqrt(f32x4.add(variance, f32x4.splat(eps))));
}

/**
 * out = x̂·weight + bias (either may be 0: absent; [n] with rows, [inner] with columns); stats: [outer, 2, inner] takes μ and σ².
 * Units [begin, end) (normUnits).
 */
export function normalize(out: usize, stats: usize, x: usize, weight: usize, bias: usize, n: u32, inner: u32, center: u32, eps: f32, begin: u32, end: u32): void {
  const part: f32 = 1 / <f32>n;
  if (inner == 1) {
    for (let r = begin; r < end; r++) {
      const row = x + <usize>r * (n << 2), to = out + <usize>r * (n << 2);
      const mean: f32 = center ? rowSum(row, n) * part : 0;
      const m = f32x4.splat(mean);
      const variance = rowSquares(row, m, n) * part;
      store<f32>(stats + (<usize>r << 3), mean);
      store<f32>(stats + (<usize>r << 3), variance, 4);
      const rate = inverseRoot(f32x4.splat(variance), eps);
      for (let i: u32 = 0; i < n; i += 4) {
        const at: usize = i << 2;
        let v = f32x4.mul(f32x4.sub(v128.load(row + at), m), rate);
        if (weight) v = f32x4.mul(v, v128.load(weight + at));
        if (bias) v = f32x4.add(v, v128.load(bias + at));
        storeLanes(to + at, v, n - i);
      }
    }
    return;
  }
  const vectors = (inner + 3) >> 2, step = <usize>inner << 2;
  for (let u = begin; u < end; u++) {
    const o = u / vectors, j = (u - o * vectors) << 2, rest = inner - j;
    const first = (<usize>o * n * inner + j) << 2, at: usize = j << 2;
    const m = center ? f32x4.mul(columnSum(x + first, n, step), f32x4.splat(part)) : f32x4.splat(0);
    const variance = f32x4.mul(columnSquares(x + first, m, n, step), f32x4.splat(part));
    storeLanes(stats + (<usize>o * 2 * inner << 2) + at, m, rest);
    storeLanes(stats + (<usize>(o * 2 + 1) * inner << 2) + at, variance, rest);
    const rate = inverseRoot(variance, eps);
    const scale = weight ? v128.load(weight + at) : f32x4.splat(1), shift = bias ? v128.load(bias + at) : f32x4.splat(0);
    let from = x + first, to = out + first;
    for (let i: u32 = 0; i < n; i++, from += step, to += step) {
      let v = f32x4.mul(f32x4.sub(v128.load(from), m), rate);
      if (weight) v = f32x4.mul(v, scale);
      if (bias) v = f32x4.add(v, shift);
      storeLanes(to, v, rest);
    }
  }
}

/** out = r·(dy − mean(dy) − x̂·mean(dy·x̂)), without centring r·(dy − x̂·mean(dy·x̂)). Units [begin, end). */
export function normalizeGrad(out: usize, dy: usize, x: usize, n: u32, inner: u32, center: u32, eps: f32, begin: u32, end: u32): void {
  const part: f32 = 1 / <f32>n;
  if (inner == 1) {
    for (let r = begin; r < end; r++) {
      const offset = <usize>r * (n << 2);
      const row = x + offset, gradients = dy + offset, to = out + offset;
      const m = f32x4.splat(center ? rowSum(row, n) * part : 0);
      const rate = inverseRoot(f32x4.splat(rowSquares(row, m, n) * part), eps);
      const mean = f32x4.splat(center ? rowSum(gradients, n) * part : 0);
      const along = f32x4.mul(f32x4.splat(rowProducts(row, gradients, m, n) * part), f32x4.mul(rate, rate));
      for (let i: u32 = 0; i < n; i += 4) {
        const at: usize = i << 2;
        const centred = f32x4.sub(v128.load(row + at), m);
        const d = f32x4.sub(f32x4.sub(v128.load(gradients + at), mean), f32x4.mul(centred, along));
        storeLanes(to + at, f32x4.mul(rate, d), n - i);
      }
    }
    return;
  }
  const vectors = (inner + 3) >> 2, step = <usize>inner << 2, parts = f32x4.splat(part);
  for (let u = begin; u < end; u++) {
    const o = u / vectors, j = (u - o * vectors) << 2, rest = inner - j;
    const first = (<usize>o * n * inner + j) << 2;
    const m = center ? f32x4.mul(columnSum(x + first, n, step), parts) : f32x4.splat(0);
    const rate = inverseRoot(f32x4.mul(columnSquares(x + first, m, n, step), parts), eps);
    const mean = center ? f32x4.mul(columnSum(dy + first, n, step), parts) : f32x4.splat(0);
    const along = f32x4.mul(f32x4.mul(columnProducts(x + first, dy + first, m, n, step), parts), f32x4.mul(rate, rate));
    let from = x + first, gradients = dy + first, to = out + first;
    for (let i: u32 = 0; i < n; i++, from += step, gradients += step, to += step) {
      const centred = f32x4.sub(v128.load(from), m);
      const d = f32x4.sub(f32x4.sub(v128.load(gradients), mean), f32x4.mul(centred, along));
      storeLanes(to, f32x4.mul(rate, d), rest);
    }
  }
}
