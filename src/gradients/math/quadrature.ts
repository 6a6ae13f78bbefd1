/** Integrals over [0, 1] as weighted sums, in float64. */

/** The points at which a function is evaluated, and the weight of each value. The weights add up to 1. */
export interface Nodes {
  readonly points: readonly number[];
  readonly weights: readonly number[];
}

/** "midpoint": the midpoints of n equal intervals, error O(1/n²). "gaussLegendre": exact for polynomials of degree < 2n. */
export type Rule = "midpoint" | "gaussLegendre";

export const rules: Readonly<Record<Rule, (n: number) => Nodes>> = {
  midpoint: (n) => ({
    points: Array.from({ length: n }, (_, k) => (k + 0.5) / n),
    weights: Array.from({ length: n }, () => 1 / n),
  }),
  gaussLegendre,
};

/**
 * The points are the roots of the Legendre polynomial Pₙ, found by Newton's method and mapped to [0, 1]; the weights
 * are 1/((1 − t²)·Pₙ′(t)²).
 */
function gaussLegendre(n: number): Nodes {
  const nodes = Array.from({ length: n }, (_, k) => {
    // Start at an approximation of the k-th smallest root, from which Newton's method converges (Abramowitz and Stegun
    // 22.16.6).
    let t = -Math.cos((Math.PI * (k + 0.75)) / (n + 0.5));
    let slope = 0;
    for (let step = 0, change = 1; step < 100 && Math.abs(change) > 1e-15; step++) {
      // (j + 1)·Pⱼ₊₁ = (2j + 1)·t·Pⱼ − j·Pⱼ₋₁; (t² − 1)·Pₙ′ = n·(t·Pₙ − Pₙ₋₁).
      let [before, p] = [0, 1];
      for (let j = 0; j < n; j++) [before, p] = [p, ((2 * j + 1) * t * p - j * before) / (j + 1)];
      slope = (n * (t * p - before)) / (t * t - 1);
      change = p / slope;
      t -= change;
    }
    return { point: (1 + t) / 2, weight: 1 / ((1 - t * t) * slope * slope) };
  });
  return { points: nodes.map(({ point }) => point), weights: nodes.map(({ weight }) => weight) };
}
