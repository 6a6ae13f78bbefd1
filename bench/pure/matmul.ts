/**
 * Matrix products in pure JavaScript, as a careful programmer would write them: the innermost loop runs over contiguous memory, and four
 * steps of the loop around it are fused, so that each row of C is read and written a quarter as often.
 */

/** C = op(A)·B for C [m, n], op(A) [m, k], B [k, n], with the loops in i-k-j order. A is [k, m] if transA. Overwrites C. */
export function product(
  c: Float32Array,
  a: Float32Array,
  b: Float32Array,
  m: number,
  k: number,
  n: number,
  transA = false,
): void {
  const [stepI, stepP] = transA ? [1, m] : [k, 1];
  c.fill(0, 0, m * n);
  for (let i = 0; i < m; i++) {
    const row = i * n;
    let p = 0;
    for (; p + 4 <= k; p += 4) {
      const at = i * stepI + p * stepP;
      const a0 = a[at]!;
      const a1 = a[at + stepP]!;
      const a2 = a[at + 2 * stepP]!;
      const a3 = a[at + 3 * stepP]!;
      const b0 = p * n;
      const b1 = b0 + n;
      const b2 = b1 + n;
      const b3 = b2 + n;
      for (let j = 0; j < n; j++) {
        c[row + j] = c[row + j]! + a0 * b[b0 + j]! + a1 * b[b1 + j]! + a2 * b[b2 + j]! + a3 * b[b3 + j]!;
      }
    }
    for (; p < k; p++) {
      const a0 = a[i * stepI + p * stepP]!;
      for (let j = 0; j < n; j++) c[row + j] = c[row + j]! + a0 * b[p * n + j]!;
    }
  }
}

/** C = A·Bᵀ (+ bias) for A [m, k], B [n, k]: multiplies each row of A by four rows of B at a time. Overwrites C. */
export function productTransB(
  c: Float32Array,
  a: Float32Array,
  b: Float32Array,
  m: number,
  k: number,
  n: number,
  bias?: Float32Array,
): void {
  for (let i = 0; i < m; i++) {
    const row = i * k;
    let j = 0;
    for (; j + 4 <= n; j += 4) {
      const b0 = j * k;
      const b1 = b0 + k;
      const b2 = b1 + k;
      const b3 = b2 + k;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let p = 0; p < k; p++) {
        const x = a[row + p]!;
        s0 += x * b[b0 + p]!;
        s1 += x * b[b1 + p]!;
        s2 += x * b[b2 + p]!;
        s3 += x * b[b3 + p]!;
      }
      const at = i * n + j;
      c[at] = s0 + (bias ? bias[j]! : 0);
      c[at + 1] = s1 + (bias ? bias[j + 1]! : 0);
      c[at + 2] = s2 + (bias ? bias[j + 2]! : 0);
      c[at + 3] = s3 + (bias ? bias[j + 3]! : 0);
    }
    for (; j < n; j++) {
      let s = bias ? bias[j]! : 0;
      for (let p = 0; p < k; p++) s += a[row + p]! * b[j * k + p]!;
      c[i * n + j] = s;
    }
  }
}
