/** Stability and escape rates at critical points, against closed forms and simulated runs. */
import { Complex } from "nabla/gradients";
import { describe, expect, test } from "vitest";
import { gradientDescent, gradientFlow, heavyBall, heavyBallOf } from "../../src/gradients/dynamics/flow.ts";
import { escapeRate, stability } from "../../src/gradients/dynamics/stability.ts";
import { quadratic } from "./quadratic.ts";

describe("stability", () => {
  test("the heavy ball's rates are the roots of λ² + γλ + h, and momentum's factors are the roots of z² − (1 + μ − ηh)z + μ", () => {
    const [lr, momentum] = [0.04, 0.7];
    const { modes } = stability([3, 1e-9, 0, -1e-9, -2], { lr, momentum });
    const { friction } = heavyBallOf({ lr, momentum });
    for (const { curvature: h, heavyBall: pair, momentum: factors, flow, descent } of modes) {
      expect(flow).toBe(-h);
      expect(descent).toBe(1 - lr * h);
      // By Vieta's formulas, a + b = −γ and a·b = h. The product is accurate even if one root is tiny.
      const [a, b] = pair;
      expect(a.add(b).re).toBeCloseTo(-friction, 12);
      expect(Math.abs(a.mul(b).re - h)).toBeLessThanOrEqual(1e-14 * Math.abs(h));
      const [y, z] = factors!;
      expect(y.add(z).re).toBeCloseTo(1 + momentum - lr * h, 12);
      expect(y.mul(z).re).toBeCloseTo(momentum, 12);
      expect(a).toBeInstanceOf(Complex);
    }
  });

  test("a minimum is stable, a saddle is unstable, and a flat direction or an undamped ball is marginal", () => {
    expect(stability([1, 3], { friction: 1 }).flow).toEqual({ verdict: "stable", escapeRate: 0 });
    expect(stability([1, 3], { friction: 1 }).heavyBall.verdict).toBe("stable");
    expect(stability([1, 3], { friction: 0 }).heavyBall.verdict).toBe("marginal");
    expect(stability([0, 3], { friction: 1 }).flow.verdict).toBe("marginal");
    expect(stability([0, 3], { friction: 1 }).heavyBall.verdict).toBe("marginal");
    expect(stability([2, -2], { friction: 1 }).flow).toEqual({ verdict: "unstable", escapeRate: 2 });
    expect(stability([2, -2], { friction: 1 }).heavyBall).toEqual({ verdict: "unstable", escapeRate: 1 });
    expect(stability([2, -2], { friction: 1 }).descent).toBeUndefined();
  });

  test.each([0, 0.5, 0.9])(
    "the largest stable lr is 2(1 + μ)/h, and runs converge below it and diverge above it: μ = %d",
    (momentum) => {
      const h = [0.5, 4];
      const { descent, momentum: map } = stability(h, { lr: 0.1, momentum });
      const { largestStep } = momentum ? map! : descent!;
      expect(largestStep).toBeCloseTo((2 * (1 + momentum)) / 4, 12);
      const farthest = (lr: number): number => {
        const { states } = gradientDescent(quadratic(h), { start: [1, 1], lr, momentum, steps: 600 });
        return Math.abs(states.at(-1)![1]!);
      };
      expect(farthest(0.97 * largestStep)).toBeLessThan(1e-3);
      expect(farthest(1.03 * largestStep)).toBeGreaterThan(1e3);
      const verdicts = [0.97, 1.03].map((by) => stability(h, { lr: by * largestStep, momentum }));
      expect(verdicts.map((v) => (momentum ? v.momentum! : v.descent!).verdict)).toEqual(["stable", "unstable"]);
    },
  );

  test("friction defaults to the value that corresponds to momentum", () => {
    expect(stability([-1], { lr: 0.01, friction: 1 })).toEqual(
      stability([-1], { lr: 0.01, momentum: 0.9, friction: 1 }),
    );
    expect(() => stability([1], {})).toThrow(
      "stability: friction and lr are both missing. Pass { friction }, or { lr, momentum }.",
    );
    expect(() => stability([], { friction: 1 })).toThrow(/Pass the Hessian's eigenvalues/);
    expect(() => stability([1], { friction: -1 })).toThrow("friction must be 0 or more, got -1.");
    expect(() => stability([1], { lr: 0.01, momentum: 2 })).toThrow(/momentum in 0 … 1, got 0.01 and 2/);
  });
});

describe("leaving a saddle", () => {
  const start = [1, 1e-8];
  const saddle = quadratic([2, -2]); // θ₁² − θ₂²

  test.each([0, 0.3, 1, 4])(
    "the heavy ball's escape rate is the positive root of λ² + γλ − |h|: γ = %d",
    (friction) => {
      const root = (-friction + Math.sqrt(friction ** 2 + 8)) / 2;
      expect(stability([2, -2], { friction }).heavyBall.escapeRate).toBeCloseTo(root, 12);
      // Start only along θ₂, because θ₁ oscillates for a long time if friction is small.
      const path = heavyBall(quadratic([-2]), { start: [1e-8], friction, duration: 20 / root });
      expect(Math.abs(escapeRate(path, { from: [0] }) / root - 1)).toBeLessThan(1e-5);
    },
  );

  test("gradient flow's escape rate is |h| after θ₁ has decayed", () => {
    const path = gradientFlow(saddle, { start, duration: 12 });
    expect(Math.abs(escapeRate(path, { from: [0, 0], within: [8, 12] }) / 2 - 1)).toBeLessThan(1e-4);
  });

  test("momentum escapes faster per unit of time only if |h| + γ < 1, but always faster per step", () => {
    for (const h of [0.1, 0.5, 2])
      for (const friction of [0.1, 0.6, 2]) {
        const { flow, heavyBall: ball } = stability([-h], { friction });
        expect(ball.escapeRate > flow.escapeRate).toBe(h + friction < 1);
        for (const lr of [1e-3, 1e-1]) {
          const steps = stability([-h], { lr, momentum: 0.5 });
          expect(steps.momentum!.escapeRate).toBeGreaterThan(steps.descent!.escapeRate);
        }
      }
  });

  test("the escape rates per step of gradient descent and momentum are the logarithms of their factors", () => {
    const [lr, momentum] = [0.01, 0.9];
    const predicted = stability([2, -2], { lr, momentum });
    const perStep = (mu: number, steps: number): number => {
      const path = gradientDescent(quadratic([-2]), { start: [1e-8], lr, momentum: mu, steps });
      return escapeRate(path, { from: [0] }) * (mu ? Math.sqrt(lr) : lr);
    };
    expect(perStep(0, 800)).toBeCloseTo(predicted.descent!.escapeRate, 10);
    expect(perStep(momentum, 200)).toBeCloseTo(predicted.momentum!.escapeRate, 10);
  });

  test("errors say how to fix the call", () => {
    const path = gradientFlow(saddle, { start: [0, 0], duration: 1 });
    expect(() => escapeRate(path, { from: [0, 0] })).toThrow(
      /escapeRate: at least two states within .* must differ from the point, got 0 of \d+\. .*start near the point/,
    );
  });
});
