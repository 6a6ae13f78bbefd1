import { memory, optim, type Tensor, tensor } from "nabla";
import { Complex, logSlope, objective } from "nabla/gradients";
import { describe, expect, test } from "vitest";
import {
  discretizationError,
  gradientDescent,
  gradientFlow,
  heavyBall,
  heavyBallOf,
  momentumOf,
  type Potential,
} from "../../src/gradients/dynamics/flow.ts";
import { escapeRate, stability } from "../../src/gradients/dynamics/stability.ts";
import { type IntegrateOptions, integrate, type VectorField } from "../../src/gradients/math/ode.ts";

const oscillator: VectorField = (_, [x, v]) => [v!, -x!];
/** The largest distance from (cos t, −sin t). */
function oscillatorError(options: Omit<IntegrateOptions, "duration">, duration = 10): number {
  const { times, states } = integrate(oscillator, [1, 0], { duration, ...options });
  return Math.max(...times.map((t, i) => Math.hypot(states[i]![0]! - Math.cos(t), states[i]![1]! + Math.sin(t))));
}
/** L = ½·Σ hᵢθᵢ². */
const quadratic = (h: readonly number[]): Potential => ({ gradient: (theta) => theta.map((x, i) => h[i]! * x) });
/** Something bent: L = Σ ½hᵢθᵢ² + ¼θᵢ⁴ + θ₁θ₂/2. */
const bent: Potential = {
  gradient: ([x, y]) => [x! + x! ** 3 + y! / 2, 3 * y! + y! ** 3 + x! / 2],
};

describe("integrate", () => {
  test.each([
    ["euler", 1, [1e-2, 5e-3, 2.5e-3, 1.25e-3]],
    ["rk4", 4, [0.2, 0.1, 0.05, 0.025]],
  ] as const)("%s: the error falls with the step to the power %i", (method, order, steps) => {
    const points = steps.map((step): [number, number] => [step, oscillatorError({ method, step })]);
    expect(Math.abs(logSlope(points) - order)).toBeLessThan(0.05);
  });

  test("dopri5: the error is in proportion to the tolerance, over eight decades, and below ten times it per unit of time", () => {
    const points = [1e-4, 1e-6, 1e-8, 1e-10, 1e-12].map((tolerance): [number, number] => [
      tolerance,
      oscillatorError({ tolerance }),
    ]);
    expect(Math.abs(logSlope(points) - 1)).toBeLessThan(0.05);
    for (const [tolerance, error] of points) expect(error).toBeLessThan(10 * 10 * tolerance);
  });

  test("dopri5's six stages are of order 5: five times as many digits as the step has", () => {
    // A tolerance that accepts everything leaves the step as given, and the first step alone is looked at: local order 6.
    const points = [0.4, 0.2, 0.1].map((step): [number, number] => [
      step,
      oscillatorError({ step, tolerance: 1e6, times: [step] }, step),
    ]);
    expect(Math.abs(logSlope(points) - 6)).toBeLessThan(0.15);
  });

  test("steps grow and shrink with the solution: van der Pol's equation at μ = 20 refuses some and keeps the tolerance", () => {
    const vanDerPol: VectorField = (_, [x, v]) => [v!, 20 * (1 - x! ** 2) * v! - x!];
    const options = { duration: 60, times: [60] };
    const fine = integrate(vanDerPol, [2, 0], { ...options, tolerance: 1e-12 });
    const coarse = integrate(vanDerPol, [2, 0], { ...options, tolerance: 1e-6 });
    expect(Math.abs(coarse.states[0]![0]! - fine.states[0]![0]!)).toBeLessThan(1e-4);
    expect(coarse.rejected).toBeGreaterThan(0);
    const { times } = integrate(vanDerPol, [2, 0], { duration: 60, tolerance: 1e-6 });
    const sizes = times.slice(1).map((t, i) => t - times[i]!);
    expect(Math.max(...sizes) / Math.min(...sizes)).toBeGreaterThan(10);
  });

  test.each([
    ["euler", 1, 10, 10],
    ["rk4", 1, 10, 40],
    ["rk4", 1.05, 11, 44],
  ] as const)(
    "%s over %d takes %i steps and %i evaluations, and ends on time",
    (method, duration, steps, evaluations) => {
      const path = integrate(oscillator, [1, 0], { method, duration, step: 0.1 });
      expect([path.steps, path.evaluations, path.rejected]).toEqual([steps, evaluations, 0]);
      expect(path.times).toHaveLength(steps + 1);
      expect(path.times.at(-1)).toBe(duration);
    },
  );

  test("dopri5 takes six evaluations a step, and two to begin: its last is the next step's first", () => {
    const { steps, rejected, evaluations } = integrate(oscillator, [1, 0], { duration: 10 });
    expect(evaluations).toBe(2 + 6 * (steps + rejected));
  });

  test("requested times are interpolated, as precisely as the steps are", () => {
    const times = Array.from({ length: 101 }, (_, i) => i / 10);
    expect(integrate(oscillator, [1, 0], { duration: 10, times }).times).toEqual(times);
    expect(oscillatorError({ times })).toBeLessThan(3 * oscillatorError({}));
    const points = [0.2, 0.1, 0.05].map((step): [number, number] => [
      step,
      oscillatorError({ method: "rk4", step, times: [3.33, 7.77] }),
    ]);
    expect(Math.abs(logSlope(points) - 4)).toBeLessThan(0.3);
    const sparse = integrate(oscillator, [1, 0], { duration: 10, times: [0, 0, 10] });
    expect(sparse.states.map(([x]) => x)).toEqual([1, 1, expect.closeTo(Math.cos(10), 6)]);
  });

  test("fields may depend on time, and may give back one buffer each time", () => {
    const buffer = [0];
    const field: VectorField = (t) => {
      buffer[0] = Math.cos(t);
      return buffer;
    };
    expect(integrate(field, [0], { duration: 2 }).states.at(-1)![0]).toBeCloseTo(Math.sin(2), 7);
  });

  test("errors name the remedy", () => {
    const run = (options: Partial<IntegrateOptions>, field: VectorField = oscillator) =>
      integrate(field, [1, 0], { duration: 1, ...options });
    expect(() => run({ duration: 0 })).toThrow("integrate: duration must be finite and above 0, got 0.");
    expect(() => run({ method: "rk4" })).toThrow(
      "integrate: step must be above 0 for rk4, got undefined. Pass a step, or use dopri5, which chooses its steps.",
    );
    expect(() => run({ step: -1 })).toThrow("step must be above 0 for dopri5, got -1");
    expect(() => run({ method: "rk5" as "rk4" })).toThrow('method must be one of euler, rk4, dopri5, got "rk5".');
    expect(() => run({ tolerance: { absolute: 0 } })).toThrow(
      "tolerance must be above 0 (absolute) and at least 0 (relative), got 0 and 1e-8.",
    );
    expect(() => run({ times: [0.5, 0.2] })).toThrow("times must ascend within 0 … 1, got 0.2 at index 1.");
    expect(() => run({ times: [2] })).toThrow("got 2 at index 0.");
    expect(() => run({ maxSteps: 0 })).toThrow("maxSteps must be at least 1, got 0.");
    expect(() => run({}, () => [1])).toThrow("must return as many numbers as θ has (2), got 1 at t = 0.");
    expect(() => run({}, () => [Number.NaN, 0])).toThrow(/not finite. Start where the field is defined/);
    expect(() => run({ method: "euler", step: 0.01, maxSteps: 10 })).toThrow(
      /euler took 10 steps and reached only t = 0.1.* of 1. Raise maxSteps, or take a larger step/,
    );
    expect(() => run({ maxSteps: 50 }, (_, x) => x.map((v) => -1e7 * v))).toThrow(
      /dopri5 took 50 steps.*loosen the tolerance: stiff or rough fields need small steps/,
    );
  });

  test("a path that goes to infinity is told where: θ̇ = θ² from 1 has its pole at t = 1", () => {
    const square: VectorField = (_, [x]) => [x! ** 2];
    const where = (options: IntegrateOptions): RegExpMatchArray => {
      try {
        integrate(square, [1], options);
      } catch (error) {
        return /near t = ([\d.]+) .* Take smaller steps\. .* the path itself goes to infinity/.exec(String(error))!;
      }
      throw new Error("It came to an end.");
    };
    expect(Math.abs(Number(where({ duration: 2 })[1]) - 1)).toBeLessThan(1e-6);
    expect(Number(where({ duration: 9, method: "euler", step: 0.1 })[1])).toBeLessThan(3);
  });
});

describe("gradient flow", () => {
  test("of a quadratic is e^{−Ht}·θ₀, in float64 to 10⁻⁸ and of an objective to float32's precision", () => {
    const h = [0.5, 2, -0.3];
    const start = [1, -2, 0.1];
    const off = (potential: Potential): number => {
      const { times, states } = gradientFlow(potential, { start, duration: 4 });
      return Math.max(
        ...states.flatMap((state, k) => h.map((c, i) => Math.abs(state[i]! - start[i]! * Math.exp(-c * times[k]!)))),
      );
    };
    expect(off(quadratic(h))).toBeLessThan(1e-7);
    expect(off(objective((theta) => theta.square().mul(tensor(h)).sum().mul(0.5), start))).toBeLessThan(1e-6);
  });

  test("the loss falls by ‖∇L‖² per unit of time, and the objective's parameters stay where they are", () => {
    const at = objective((theta) => theta.square().square().sum().add(theta.prod()), [1, 0.5]);
    const { times, states } = gradientFlow(at, { duration: 0.5, times: [0.2, 0.2 + 1e-2] });
    expect([...at.theta]).toEqual([1, 0.5]);
    const middle = states[0]!.map((v, i) => (v + states[1]![i]!) / 2);
    const rate = (at.value(states[1]) - at.value(states[0])) / (times[1]! - times[0]!);
    const squared = at.gradient(middle).reduce((total, g) => total + g * g, 0);
    expect(Math.abs(-rate / squared - 1)).toBeLessThan(1e-3);
  });

  test("gradient descent is Euler's method, to the last bit but time's, and goes to the flow with small rates: order 1", () => {
    const start = [1, -0.7];
    const descent = gradientDescent(bent, { start, lr: 0.125, steps: 16 });
    const euler = gradientFlow(bent, { start, duration: 2, method: "euler", step: 0.125 });
    expect(descent.states).toEqual(euler.states);
    expect(descent.times).toEqual(euler.times);
    const steps = [50, 100, 200, 400];
    expect(discretizationError(bent, { start, duration: 2, steps, method: "euler" }).order).toBeCloseTo(1, 1);
    expect(discretizationError(bent, { start, duration: 2, steps, method: "rk4" }).order).toBeCloseTo(4, 1);
    const friction = 0.7;
    expect(discretizationError(bent, { start, duration: 2, steps, method: "rk4", friction }).order).toBeCloseTo(4, 1);
  });

  test("of an objective, errors that float32 rules do not count for the order", () => {
    const at = objective(
      (theta) =>
        theta
          .square()
          .mul(tensor([0.5, 2]))
          .sum(),
      [1, 1],
    );
    const { points, order, floor } = discretizationError(at, {
      duration: 1,
      steps: [6, 8, 10, 12, 64, 128],
      method: "rk4",
    });
    expect(points.filter(([, error]) => error <= floor).length).toBeGreaterThanOrEqual(2);
    expect(Math.abs(order - 4)).toBeLessThan(0.4); // steps this coarse: 4 only in the limit
    const euler = discretizationError(at, { duration: 1, steps: [50, 100, 200], method: "euler" });
    expect(euler.order).toBeCloseTo(1, 1);
  });
});

describe("the heavy ball", () => {
  test.each([
    ["underdamped", 0.4],
    ["critically damped", 2],
    ["overdamped", 5],
  ])("of L = ½θ² is the damped oscillator in closed form: %s", (_, friction) => {
    const { times, states, velocities } = heavyBall(quadratic([1]), { start: [1], friction, duration: 10 });
    const w = Math.sqrt(Math.abs(1 - friction ** 2 / 4));
    const exact = (t: number): [number, number] => {
      const decay = Math.exp((-friction * t) / 2);
      if (friction === 2) return [decay * (1 + t), -decay * t];
      const [c, s] = friction < 2 ? [Math.cos(w * t), Math.sin(w * t)] : [Math.cosh(w * t), Math.sinh(w * t)];
      return [decay * (c + (friction / (2 * w)) * s), (-decay * s) / w];
    };
    times.forEach((t, i) => {
      const [x, v] = exact(t);
      expect(Math.abs(states[i]![0]! - x)).toBeLessThan(1e-7);
      expect(Math.abs(velocities[i]![0]! - v)).toBeLessThan(1e-7);
    });
  });

  test("mass and a first velocity: without friction, energy stays; of twice the mass, √2 times as slow", () => {
    const options = { start: [1], velocity: [0.5], friction: 0, duration: 20 };
    const { states, velocities } = heavyBall(quadratic([1]), { ...options, mass: 2 });
    states.forEach(([x], i) => {
      expect(velocities[i]![0]! ** 2 + x! ** 2 / 2).toBeCloseTo(0.75, 6);
    });
    const heavy = heavyBall(quadratic([1]), { start: [1], friction: 0, mass: 2, duration: Math.SQRT2 * 3 });
    expect(heavy.states.at(-1)![0]).toBeCloseTo(Math.cos(3), 7);
    const velocity = [0.5, 0.5];
    expect(() => heavyBall(quadratic([1]), { ...options, velocity })).toThrow(
      /velocity must have as many numbers as θ \(1\), got 2/,
    );
  });

  test("nabla's SGD with momentum follows it with h = √lr, γ = (1 − μ)/√lr: its error falls in proportion to h", () => {
    const loss = (theta: Tensor) =>
      theta
        .square()
        .mul(tensor([0.5, 1.5]))
        .add(theta.square().square().mul(0.25))
        .sum();
    const [start, friction, duration] = [[1, -0.7], 0.8, 4];
    const points = [20, 40, 80, 160].map((count): [number, number] => {
      const h = duration / count;
      const theta = tensor(start, { requiresGrad: true });
      const optimizer = new optim.SGD([theta], momentumOf({ step: h, friction }));
      const path = [[...theta.data]];
      for (let k = 0; k < count; k++) {
        optimizer.minimize(() => loss(theta)).dispose();
        path.push([...theta.data]);
      }
      optimizer.dispose();
      theta.dispose();
      const ball = heavyBall(
        { gradient: (t) => t.map((x, i) => [1, 3][i]! * x + x ** 3) },
        { start, friction, duration, times: path.map((_, k) => Math.min(duration, k * h)) },
      );
      return [h, Math.max(...path.map(([x, y], k) => Math.hypot(x! - ball.states[k]![0]!, y! - ball.states[k]![1]!)))];
    });
    expect(Math.abs(logSlope(points) - 1)).toBeLessThan(0.05);
    for (const [h, error] of points) expect(error).toBeLessThan(h);
  });

  test("gradientDescent is what optim.SGD does, with and without momentum", () => {
    for (const momentum of [0, 0.9]) {
      const theta = tensor([1, -0.7], { requiresGrad: true });
      const optimizer = new optim.SGD([theta], { lr: 0.1, momentum });
      const loss = () =>
        theta
          .square()
          .mul(tensor([0.5, 2]))
          .sum();
      for (let k = 0; k < 30; k++) optimizer.minimize(loss).dispose();
      const { states, times } = gradientDescent(quadratic([1, 4]), { start: [1, -0.7], lr: 0.1, momentum, steps: 30 });
      [...theta.data].forEach((v, i) => expect(Math.abs(v - states[30]![i]!)).toBeLessThan(1e-6));
      expect(times[30]).toBeCloseTo(30 * (momentum ? Math.sqrt(0.1) : 0.1), 12);
      optimizer.dispose();
      theta.dispose();
    }
  });

  test("heavyBallOf and momentumOf are inverse, and discretizationError finds order 1 for momentum", () => {
    expect(heavyBallOf({ lr: 0.01, momentum: 0.9 }).step).toBeCloseTo(0.1, 12);
    expect(heavyBallOf({ lr: 0.01, momentum: 0.9 }).friction).toBeCloseTo(1, 12);
    const back = momentumOf(heavyBallOf({ lr: 0.03, momentum: 0.7 }));
    expect(back.lr).toBeCloseTo(0.03, 12);
    expect(back.momentum).toBeCloseTo(0.7, 12);
    const options = { start: [1, -0.7], duration: 2, steps: [50, 100, 200, 400] };
    const { order } = discretizationError(bent, { ...options, method: "momentum", friction: 0.7 });
    expect(order).toBeCloseTo(1, 1);
    expect(() => discretizationError(bent, { ...options, method: "momentum" })).toThrow(/Pass \{ friction: … \}/);
    expect(() => momentumOf({ step: 0.5, friction: 4 })).toThrow(
      /must be in 0 … 1, got 0.5 · 4. Take a step of at most 0.25/,
    );
    expect(() => heavyBallOf({ lr: 0, momentum: 0 })).toThrow(/lr must be above 0 and momentum in 0 … 1, got 0 and 0/);
  });
});

describe("stability", () => {
  test("the heavy ball's rates are roots of λ² + γλ + h, momentum's factors of z² − (1 + μ − ηh)z + μ", () => {
    const [lr, momentum] = [0.04, 0.7];
    const { modes } = stability([3, 1e-9, 0, -1e-9, -2], { lr, momentum });
    const { friction } = heavyBallOf({ lr, momentum });
    for (const { curvature: h, heavyBall: pair, momentum: factors, flow, descent } of modes) {
      expect(flow).toBe(-h);
      expect(descent).toBe(1 - lr * h);
      // Both by Vieta: the sum of the roots and their product, which is precise even where one is tiny.
      const [a, b] = pair;
      expect(a.add(b).re).toBeCloseTo(-friction, 12);
      expect(Math.abs(a.mul(b).re - h)).toBeLessThanOrEqual(1e-14 * Math.abs(h));
      const [y, z] = factors!;
      expect(y.add(z).re).toBeCloseTo(1 + momentum - lr * h, 12);
      expect(y.mul(z).re).toBeCloseTo(momentum, 12);
      expect(a).toBeInstanceOf(Complex);
    }
  });

  test("verdicts: a minimum is stable, a saddle is not, a flat direction or an undamped ball is neither", () => {
    expect(stability([1, 3], { friction: 1 }).flow).toEqual({ verdict: "stable", escapeRate: 0 });
    expect(stability([1, 3], { friction: 1 }).heavyBall.verdict).toBe("stable");
    expect(stability([1, 3], { friction: 0 }).heavyBall.verdict).toBe("marginal");
    expect(stability([0, 3], { friction: 1 }).flow.verdict).toBe("marginal");
    expect(stability([0, 3], { friction: 1 }).heavyBall.verdict).toBe("marginal");
    expect(stability([2, -2], { friction: 1 }).flow).toEqual({ verdict: "unstable", escapeRate: 2 });
    expect(stability([2, -2], { friction: 1 }).heavyBall).toEqual({ verdict: "unstable", escapeRate: 1 });
    expect(stability([2, -2], { friction: 1 }).descent).toBeUndefined();
  });

  test.each([0, 0.5, 0.9])("the largest stable lr is 2(1 + μ)/h, by running it: μ = %d", (momentum) => {
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
  });

  test("friction or momentum follow from one another", () => {
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

  test.each([0, 0.3, 1, 4])("the heavy ball's rate is the positive root of λ² + γλ − |h|: γ = %d", (friction) => {
    const root = (-friction + Math.sqrt(friction ** 2 + 8)) / 2;
    expect(stability([2, -2], { friction }).heavyBall.escapeRate).toBeCloseTo(root, 12);
    // Along θ₂ alone: with little friction θ₁ swings for long.
    const path = heavyBall(quadratic([-2]), { start: [1e-8], friction, duration: 20 / root });
    expect(Math.abs(escapeRate(path, { from: [0] }) / root - 1)).toBeLessThan(1e-5);
  });

  test("gradient flow's rate is |h|, once θ₁ has died out", () => {
    const path = gradientFlow(saddle, { start, duration: 12 });
    expect(Math.abs(escapeRate(path, { from: [0, 0], within: [8, 12] }) / 2 - 1)).toBeLessThan(1e-4);
  });

  test("per unit of time momentum is faster only where |h| + γ < 1; per step, at one lr, always", () => {
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

  test("the discrete optimizers' rates per step are the logarithms of their factors", () => {
    const [lr, momentum] = [0.01, 0.9];
    const predicted = stability([2, -2], { lr, momentum });
    const perStep = (mu: number, steps: number): number => {
      const path = gradientDescent(quadratic([-2]), { start: [1e-8], lr, momentum: mu, steps });
      return escapeRate(path, { from: [0] }) * (mu ? Math.sqrt(lr) : lr);
    };
    expect(perStep(0, 800)).toBeCloseTo(predicted.descent!.escapeRate, 10);
    expect(perStep(momentum, 200)).toBeCloseTo(predicted.momentum!.escapeRate, 10);
  });

  test("errors name the remedy", () => {
    const path = gradientFlow(saddle, { start: [0, 0], duration: 1 });
    expect(() => escapeRate(path, { from: [0, 0] })).toThrow(
      /escapeRate: at least two states within .* must differ from the point, got 0 of \d+\. .*start next to the point/,
    );
    expect(() => gradientFlow(saddle, { duration: 1 })).toThrow(
      "gradientFlow: the start is missing. Pass { start: [...] }, or an objective.",
    );
    expect(() => heavyBall(saddle, { start, duration: 1, friction: -1 })).toThrow(
      /friction must be 0 or more and mass above 0, got -1 and 1/,
    );
    expect(() => gradientDescent(saddle, { start, lr: 0.1, steps: 1.5 })).toThrow(
      /steps must be a whole number, 0 or more, got 1.5/,
    );
    expect(() => gradientDescent({ gradient: ([x]) => [x! ** 3] }, { start: [10], lr: 1, steps: 20 })).toThrow(
      /gradientDescent: θ is not finite .* Take smaller steps/,
    );
  });
});

test("flows of objectives leave no tensors behind", () => {
  const at = objective((theta) => theta.square().sum(), [1, 2]);
  const run = (): void => {
    gradientFlow(at, { duration: 1 });
    heavyBall(at, { duration: 1, friction: 1 });
    gradientDescent(at, { lr: 0.1, momentum: 0.5, steps: 3 });
    discretizationError(at, { duration: 1, steps: [2, 4], method: "momentum", friction: 1 });
  };
  run();
  const before = memory().tensors;
  run();
  expect(memory().tensors).toBe(before);
});
