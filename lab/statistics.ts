/** Statistics of a list of numbers, for findings and tables. */

export const average = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** The unbiased variance; NaN for fewer than two values. */
export function variance(values: readonly number[]): number {
  const mean = average(values);
  return values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (values.length - 1);
}

/** The value rounded to a number of significant digits, for tables. */
export const significant = (value: number, digits: number): number => Number(value.toPrecision(digits));

/** `0.310 ± 0.020`: the mean and its standard error; the value if there is only one, "–" if there is none. */
export function plusMinus(values: readonly number[]): string {
  if (!values.length) return "–";
  const mean = average(values).toFixed(3);
  return values.length > 1 ? `${mean}\u00a0± ${Math.sqrt(variance(values) / values.length).toFixed(3)}` : mean;
}

/** The slope of the least-squares line through the points. */
export function slope(points: readonly (readonly [x: number, y: number])[]): number {
  const [mx, my] = [average(points.map(([x]) => x)), average(points.map(([, y]) => y))];
  const covariance = points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  return covariance / points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
}

/** The mean of KL(p‖q) over rows of ten logits, in float64. */
export function klDivergence(p: Float64Array, q: Float64Array): number {
  const rows = p.length / 10;
  const logSoftmax = (logits: Float64Array): number[] => {
    const log = Math.log(logits.reduce((sum, v) => sum + Math.exp(v), 0));
    return Array.from(logits, (v) => v - log);
  };
  let total = 0;
  for (let row = 0; row < rows; row++) {
    const [a, b] = [p, q].map((logits) => logSoftmax(logits.subarray(10 * row, 10 * row + 10))) as [number[], number[]];
    total += a.reduce((sum, v, k) => sum + Math.exp(v) * (v - b[k]!), 0);
  }
  return total / rows;
}
