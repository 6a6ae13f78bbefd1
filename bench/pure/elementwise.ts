/** Pointwise functions, softmax and sum in pure JavaScript, as loops over Float32Arrays. */

type Array32 = Float32Array;

export function exp(out: Array32, x: Array32): void {
  for (let i = 0; i < x.length; i++) out[i] = Math.exp(x[i]!);
}
export function tanh(out: Array32, x: Array32): void {
  for (let i = 0; i < x.length; i++) out[i] = Math.tanh(x[i]!);
}
export function sigmoid(out: Array32, x: Array32): void {
  for (let i = 0; i < x.length; i++) out[i] = 1 / (1 + Math.exp(-x[i]!));
}

/**
 * x·Φ(x). Computes erf by formula 7.1.26 of Abramowitz and Stegun, whose absolute error is below 1.5e-7, about the precision of float32.
 */
export function gelu(out: Array32, x: Array32): void {
  for (let i = 0; i < x.length; i++) {
    const v = x[i]!;
    const z = Math.abs(v) * Math.SQRT1_2;
    const t = 1 / (1 + 0.3275911 * z);
    const poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    const half = 0.5 * poly * Math.exp(-z * z);
    out[i] = v * (v < 0 ? half : 1 - half);
  }
}
export function relu(out: Array32, x: Array32): void {
  for (let i = 0; i < x.length; i++) {
    const v = x[i]!;
    out[i] = v > 0 ? v : 0;
  }
}
export function add(out: Array32, a: Array32, b: Array32): void {
  for (let i = 0; i < a.length; i++) out[i] = a[i]! + b[i]!;
}
export function scale(out: Array32, x: Array32, factor: number): void {
  for (let i = 0; i < x.length; i++) out[i] = x[i]! * factor;
}

/** Softmax over rows of n elements. Subtracts the largest element of each row first. */
export function softmax(out: Array32, x: Array32, n: number): void {
  for (let row = 0; row < x.length; row += n) {
    let largest = x[row]!;
    for (let i = row + 1; i < row + n; i++) if (x[i]! > largest) largest = x[i]!;
    let total = 0;
    for (let i = row; i < row + n; i++) {
      const e = Math.exp(x[i]! - largest);
      out[i] = e;
      total += e;
    }
    const factor = 1 / total;
    for (let i = row; i < row + n; i++) out[i] = out[i]! * factor;
  }
}

/** Uses four running sums, so that additions do not wait for each other. x.length must be a multiple of 4. */
export function sum(out: Array32, x: Array32): void {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  for (let i = 0; i < x.length; i += 4) {
    s0 += x[i]!;
    s1 += x[i + 1]!;
    s2 += x[i + 2]!;
    s3 += x[i + 3]!;
  }
  out[0] = s0 + s1 + (s2 + s3);
}
