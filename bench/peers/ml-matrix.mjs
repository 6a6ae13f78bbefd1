/** ml-matrix: pure JavaScript in float64. It has no gradients, and therefore no training steps. */
import { Matrix } from "ml-matrix";

export async function open() {
  return "ml-matrix 6.15.1";
}

export function matmul({ m, k, n, a, b }) {
  const [left, right] = [Matrix.from1DArray(m, k, a), Matrix.from1DArray(k, n, b)];
  return { run: () => void left.mmul(right), result: () => left.mmul(right).to1DArray(), close() {} };
}
