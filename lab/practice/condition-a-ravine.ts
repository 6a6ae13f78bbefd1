/**
 * Exercise: standardize features, which turns a ravine into a bowl. The condition number falls to (1 + |ρ|)/(1 − |ρ|).
 */
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { draw, fail, format, read } from "./values.ts";

type Rows = readonly (readonly number[])[];
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const column = (rows: Rows, j: number): number[] => rows.map((row) => row[j]!);
const variance = (values: readonly number[]): number => mean(values.map((value) => (value - mean(values)) ** 2));

/** n samples of two features with different scales and means. */
function random(n: number): number[][] {
  const [u, v] = [draw(n), draw(n)];
  return u.map((value, i) => [3 + value, 500 * (value + v[i]! - 4)]);
}

/** Calls the reader's `standardize`, checks that it leaves the data unchanged, and returns the new rows. */
function standardized(code: Code, rows: Rows): number[][] {
  const given = rows.map((row) => [...row]);
  const width = rows[0]!.length;
  const flat = read(code.standardize!(given), [rows.length, width], "The result of `standardize`");
  if (given.some((row, i) => row.some((value, j) => value !== rows[i]![j])))
    fail("`standardize` changed the data that it was given. Return new rows.");
  return rows.map((_, i) => flat.slice(i * width, (i + 1) * width));
}

/** The condition number of XᵀX/n for two features. */
function condition(rows: Rows): number {
  const [a, c] = [0, 1].map((j) => mean(column(rows, j).map((value) => value ** 2))) as [number, number];
  const b = mean(rows.map(([x, y]) => x! * y!));
  const [middle, radius] = [(a + c) / 2, Math.hypot((a - c) / 2, b)];
  return (middle + radius) / (middle - radius);
}

/**
 * The hint for a standardized column with variance `found`, which should be 1. The column had variance `before` in the
 * data.
 */
function varianceHint(found: number, before: number, n: number): string {
  const near = (value: number): boolean => Math.abs(found / value - 1) < 1e-6;
  if (near(1 / before)) return "You divided by the variance. Divide by the standard deviation, its square root.";
  if (near((n - 1) / n))
    return "You divided the sum of squares by n − 1. Here, the variance is the mean of the squared deviations, so divide by n.";
  if (near(before)) return "You centred the columns, but did not divide by the standard deviation.";
  return "Divide every column by its own standard deviation.";
}

export default {
  name: "condition-a-ravine",
  title: "Improve a ravine's conditioning by scaling",
  section: "The Geometry of Non-Convex Landscapes",
  concept: "the scale of the inputs shapes the loss",
  prediction: {
    kind: "number",
    question:
      "Linear regression has two uncorrelated features with mean 0. Their standard deviations are 1 and 100. What is the condition number of the Hessian of the squared error, the ratio of its eigenvalues?",
    answer: 10000,
    within: 0,
    explanation:
      "The Hessian is $X^\\top X/n$, with the variances 1 and 10,000 on its diagonal. The loss is a ravine that is 10,000 times more curved across its floor than along it, and gradient descent needs about as many steps.",
  },
  statement: [
    "The loss of linear regression, $\\frac1{2n}\\|Xw-y\\|^2$, has the Hessian $H=X^\\top X/n$. Its condition number decides how many steps gradient descent needs, and it depends on the scale of the features.",
    "Write `standardize(x)`. `x` is an array of $n$ samples, each an array of features. Return new rows in which every feature (every column) has mean 0 and variance 1:",
    "$$x_{kj}\\leftarrow\\frac{x_{kj}-\\mu_j}{\\sigma_j}$$",
    "$$\\mu_j=\\frac1n\\sum_kx_{kj},\\qquad\\sigma_j^2=\\frac1n\\sum_k(x_{kj}-\\mu_j)^2$$",
    "A feature that is constant becomes 0.",
  ],
  exports: ["standardize"],
  starter: `export function standardize(x) {
  return x.map((row) => [...row]);
}
`,
  hints: [
    "Compute the mean and the standard deviation of each column before you change anything.",
    "`x.map((row) => row[j])` is column `j`. Its variance is the mean of `(value - mean) ** 2`, and its standard deviation is the square root of that.",
    "With arrays `means` and `deviations`: `x.map((row) => row.map((value, j) => (value - means[j]) / (deviations[j] || 1)))`. The `|| 1` keeps a constant column from dividing by 0.",
  ],
  solution: `const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

export function standardize(x) {
  const columns = x[0].map((_, j) => x.map((row) => row[j]));
  const means = columns.map(mean);
  const deviations = columns.map((column, j) =>
    Math.sqrt(mean(column.map((value) => (value - means[j]) ** 2))),
  );
  return x.map((row) => row.map((value, j) => (value - means[j]) / (deviations[j] || 1)));
}
`,
  checks: [
    {
      title: "Every feature has mean 0 and variance 1.",
      run(code) {
        const data = random(12);
        const rows = standardized(code, data);
        if (rows.every((row) => Math.abs(mean(row)) < 1e-9))
          fail("Every row has mean 0: you standardized the samples. Standardize the features, which are the columns.");
        for (const j of [0, 1]) {
          const values = column(rows, j);
          const spread = Math.sqrt(mean(values.map((value) => value ** 2)));
          if (Math.abs(mean(values)) > 1e-6 * spread)
            fail(
              `The mean of column ${j} is ${format(mean(values))}, but should be 0. Subtract the column's mean before you divide.`,
            );
          if (Math.abs(variance(values) - 1) > 1e-6)
            fail(
              `The variance of column ${j} is ${format(variance(values))}, but should be 1. ${varianceHint(variance(values), variance(column(data, j)), 12)}`,
            );
        }
      },
    },
    {
      title: "Each column is shifted and scaled, so the correlation of the features stays the same.",
      run(code) {
        const data = random(12);
        const rows = standardized(code, data);
        for (const j of [0, 1]) {
          const [x, y] = [column(data, j), column(rows, j)];
          const covariance = mean(x.map((value, k) => (value - mean(x)) * (y[k]! - mean(y))));
          const correlation = covariance / Math.sqrt(variance(x) * variance(y));
          if (!(Math.abs(correlation - 1) < 1e-6))
            fail(
              `Column ${j} is not a shifted and scaled copy of the original column. Subtract one number from the whole column, and divide by one number.`,
            );
        }
      },
    },
    {
      title: "The condition number falls from above 10,000 to (1 + |ρ|)/(1 − |ρ|), where ρ is the correlation.",
      run(code) {
        const data = random(40);
        const [x, y] = [column(data, 0), column(data, 1)];
        const covariance = mean(x.map((value, k) => (value - mean(x)) * (y[k]! - mean(y))));
        const rho = Math.abs(covariance) / Math.sqrt(variance(x) * variance(y));
        const want = (1 + rho) / (1 - rho);
        const got = condition(standardized(code, data));
        if (!(Math.abs(got / want - 1) < 1e-4))
          fail(
            `The condition number of the Hessian is ${format(got)}, but should be ${format(want)}. It was ${format(condition(data))} before scaling. Do both columns have mean 0 and variance 1?`,
          );
      },
    },
    {
      title: "A constant feature becomes 0.",
      run(code) {
        const rows = standardized(code, [
          [7, 1],
          [7, 2],
          [7, 6],
        ]);
        if (column(rows, 0).some((value) => value !== 0)) fail("The constant feature must become 0 after centring.");
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  {
    replace: "Math.sqrt(mean(column.map((value) => (value - means[j]) ** 2)))",
    by: "mean(column.map((value) => (value - means[j]) ** 2))",
    hint: "divided by the variance",
  },
  {
    replace: "(value - means[j]) / (deviations[j] || 1)",
    by: "value / (deviations[j] || 1)",
    hint: "Subtract the column's mean",
  },
  { replace: "(deviations[j] || 1)", by: "deviations[j]", hint: "division by zero" },
];
