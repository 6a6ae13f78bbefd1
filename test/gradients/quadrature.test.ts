/** Quadrature rules on 0 … 1 against exact integrals. */
import { describe, expect, test } from "vitest";
import { rules } from "../../src/gradients/math/quadrature.ts";

describe("quadrature", () => {
  test("Gauss–Legendre with n nodes is exact up to degree 2n − 1: error below 1e-13 for n ≤ 100", () => {
    for (const n of [1, 2, 3, 5, 16, 50, 100]) {
      const { points, weights } = rules.gaussLegendre(n);
      for (const degree of [0, 1, n, 2 * n - 1]) {
        const integral = points.reduce((total, t, k) => total + weights[k]! * t ** degree, 0);
        expect(Math.abs(integral - 1 / (degree + 1)), `n ${n}, degree ${degree}`).toBeLessThan(1e-13);
      }
      expect([...points].sort((a, b) => a - b)).toEqual(points);
    }
  });
  test("the midpoint rule has the error −1/(12n²) on t²", () => {
    const { points, weights } = rules.midpoint(10);
    expect(points.reduce((total, t, k) => total + weights[k]! * t * t, 0) - 1 / 3).toBeCloseTo(-1 / 1200, 12);
  });
});
