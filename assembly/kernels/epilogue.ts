/**
 * The last steps of a matrix product, for tiles of C: scales by α, adds a bias, and applies an activation or multiplies by
 * an activation's derivative.
 */
import { reluGrad, sigmoid, sigmoidGrad, tanh, tanhGrad } from "../math";
import { Activation } from "../opcodes";
import { narrow, promoteHigh } from "../simd";
import { NARROW } from "./rows";

/** Whether the micro-kernels and `clamped` can compute this epilogue. */
@inline
export function isClamped(alpha: f32, activation: u32): bool {
  return alpha == 1 && activation <= <u32>Activation.Relu6;
}

/** Whether the epilogue only multiplies by an activation's derivative, as `graded` does. */
@inline
export function isGraded(alpha: f32, bias: usize, activation: u32): bool {
  return alpha == 1 && !bias && activation >= <u32>Activation.ReluGrad;
}

// For activations up to Relu6, act(v + bias) = min(max(v + b, floor), ceiling). relu turns −0 into +0: adding +0 to the bias
// does this, because −0 + b is then never −0. Adding −0 changes nothing.
@inline
export function zeroOf(activation: u32): v128 { return f32x4.splat(activation == Activation.Relu ? 0 : -0.0); }
@inline
export function shiftAt(bias: usize, zero: v128): v128 { return bias ? f32x4.add(v128.load(bias), zero) : zero; }
@inline
export function floorOf(activation: u32): v128 { return f32x4.splat(activation ? 0 : -Infinity); }
@inline
export function ceilingOf(activation: u32): v128 { return f32x4.splat(activation == Activation.Relu6 ? 6 : Infinity); }

@inline
export function clamp(v: v128, floor: v128, ceiling: v128): v128 { return f32x4.pmin(f32x4.pmax(v, floor), ceiling); }

/** Like `finish`, but faster: c ← act(c + bias) for rows × cols elements, if `isClamped`; cols is a multiple of NARROW. */
export function clamped(c: usize, ldc: usize, rows: usize, cols: usize, bias: usize, activation: u32): void {
  const zero = zeroOf(activation), floor = floorOf(activation), ceiling = ceilingOf(activation);
  for (const right = c + (cols << 2); c < right; c += NARROW << 2) {
    let b0 = zero, b1 = zero;
    if (bias) {
      b0 = f32x4.add(v128.load(bias), zero);
      b1 = f32x4.add(v128.load(bias, 16), zero);
      bias += NARROW << 2;
    }
    let at = c;
    for (const end = c + rows * ldc; at < end; at += ldc) {
      const v0 = v128.load(at), v1 = v128.load(at, 16);
      v128.store(at, clamp(f32x4.add(v0, b0), floor, ceiling));
      v128.store(at, clamp(f32x4.add(v1, b1), floor, ceiling), 16);
    }
  }
}

/** Multiplies rows × cols elements of c by an activation's derivative at y, if `isGraded`; cols is a multiple of 4. */
export function graded(c: usize, ldc: usize, rows: usize, cols: usize, activation: u32, toY: usize): void {
  for (let i: usize = 0; i < rows; i++, c += ldc) {
    for (let at = c, end = c + (cols << 2); at < end; at += 16)
      v128.store(at, derived(v128.load(at), v128.load(at + toY), activation));
  }
}

/** Applies α, bias and activation to a whole tile whose sums are complete. */
@inline
export function complete(c: usize, ldc: usize, rows: usize, cols: usize, alpha: f32, bias: usize, activation: u32,
  toY: usize): void
{
  if (isGraded(alpha, bias, activation)) graded(c, ldc, rows, cols, activation, toY);
  else finish(c, ldc, c, ldc, rows, cols, 0, alpha, bias, activation, toY, 0);
}

/**
 * c = act(α·(tile + c if partial) + bias) (+ c if accumulate), for rows × cols elements. Writes no other elements. y is
 * `toY` bytes after c.
 */
export function finish(c: usize, ldc: usize, tile: usize, ldt: usize, rows: usize, cols: usize, partial: u32,
  alpha: f32, bias: usize, activation: u32, toY: usize, accumulate: u32): void
{
  const scale = f32x4.splat(alpha);
  const isCurved = activation > <u32>Activation.Relu6, kind = isCurved ? 0 : activation;
  const zero = zeroOf(kind), floor = floorOf(kind), ceiling = ceilingOf(kind);
  for (let i: usize = 0; i < rows; i++, c += ldc, tile += ldt) {
    for (let j: usize = 0; j < cols; j += 4) {
      const at = c + (j << 2);
      let v = v128.load(tile + (j << 2));
      if (partial) v = f32x4.add(v128.load(at), v);
      v = f32x4.add(f32x4.mul(v, scale), shiftAt(bias ? bias + (j << 2) : 0, zero));
      v = clamp(v, floor, ceiling);
      if (isCurved) v = curved(v, at + toY, activation);
      if (accumulate) v = f32x4.add(v128.load(at), v);
      storeHead(at, v, cols - j);
    }
  }
}

/** tanh or sigmoid of v, or v times an activation's derivative at the address y. */
@inline
function curved(v: v128, y: usize, activation: u32): v128 {
  if (activation == Activation.Tanh) return tanh(v);
  if (activation == Activation.Sigmoid) return sigmoid(v);
  return derived(v, v128.load(y), activation);
}

/** v times an activation's derivative, where y is the activation's result. */
@inline
function derived(v: v128, y: v128, activation: u32): v128 {
  if (activation == Activation.ReluGrad) return reluGrad(v, y);
  return activation == Activation.TanhGrad ? tanhGrad(v, y) : sigmoidGrad(v, y);
}

/** Stores the first min(count, 4) lanes. */
@inline
function storeHead(at: usize, v: v128, count: usize): void {
  if (count >= 4) v128.store(at, v);
  else {
    if (count > 1) v128.store_lane<u64>(at, v, 0);
    if (count == 1) v128.store_lane<f32>(at, v, 0);
    if (count == 3) v128.store_lane<f32>(at, v, 2, 8);
  }
}

/**
 * Adds a part, [m, n] with rows `ld` floats apart, to the float64 totals if `more`; otherwise starts new totals. If the
 * part is the `last`, replaces it with the rounded totals.
 */
export function addTotals(totals: usize, part: usize, ld: usize, m: usize, n: usize, more: bool, last: bool): void {
  for (let i: usize = 0; i < m; i++, totals += ld << 3, part += ld << 2) {
    for (let j: usize = 0; j < n; j += 4) {
      const v = v128.load(part + (j << 2)), at = totals + (j << 3);
      let low = f64x2.promote_low_f32x4(v), high = promoteHigh(v);
      if (more) {
        low = f64x2.add(v128.load(at), low);
        high = f64x2.add(v128.load(at, 16), high);
      }
      v128.store(at, low);
      v128.store(at, high, 16);
      if (last) v128.store(part + (j << 2), narrow(low, high));
    }
  }
}
