/** Gradient flow, the heavy ball and their discretizations, against closed forms and nabla's optimizers. */
import { memory, optim, type Tensor, tensor } from "nabla";
import { logSlope, objective } from "nabla/gradients";
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
import { quadratic } from "./quadratic.ts";

/** L = Σ ½hᵢθᵢ² + ¼θᵢ⁴ + θ₁θ₂/2, with h = (1, 3). */
const quartic: Potential = {
  gradient: ([x, y]) => [x! + x! ** 3 + y! / 2, 3 * y! + y! ** 3 + x! / 2],
};

describe("gradient flow", () => {
  test("equals e^{−Ht}·θ₀ on a quadratic, to 1e-7 in float64 and to 1e-6 for an objective", () => {
    const h = [0.5, 2, -0.3];
    const start = [1, -2, 0.1];
    const errorOn = (potential: Potential): number => {
      const { times, states } = gradientFlow(potential, { start, duration: 4 });
      return Math.max(
        ...states.flatMap((state, k) => h.map((c, i) => Math.abs(state[i]! - start[i]! * Math.exp(-c * times[k]!)))),
      );
    };
    expect(errorOn(quadratic(h))).toBeLessThan(1e-7);
    expect(errorOn(objective((theta) => theta.square().mul(tensor(h)).sum().mul(0.5), start))).toBeLessThan(1e-6);
  });

  test("lowers the loss by ‖∇L‖² per unit of time, and does not change the objective's parameters", () => {
    const at = objective((theta) => theta.square().square().sum().add(theta.prod()), [1, 0.5]);
    const { times, states } = gradientFlow(at, { duration: 0.5, times: [0.2, 0.2 + 1e-2] });
    expect([...at.theta]).toEqual([1, 0.5]);
    const middle = states[0]!.map((v, i) => (v + states[1]![i]!) / 2);
    const rate = (at.value(states[1]) - at.value(states[0])) / (times[1]! - times[0]!);
    const squared = at.gradient(middle).reduce((total, g) => total + g * g, 0);
    expect(Math.abs(-rate / squared - 1)).toBeLessThan(1e-3);
  });

  test("gradient descent equals Euler's method, and converges to the flow with order 1", () => {
    const start = [1, -0.7];
    const descent = gradientDescent(quartic, { start, lr: 0.125, steps: 16 });
    const euler = gradientFlow(quartic, { start, duration: 2, method: "euler", step: 0.125 });
    expect(descent.states).toEqual(euler.states);
    expect(descent.times).toEqual(euler.times);
    const steps = [50, 100, 200, 400];
    expect(discretizationError(quartic, { start, duration: 2, steps, method: "euler" }).order).toBeCloseTo(1, 1);
    expect(discretizationError(quartic, { start, duration: 2, steps, method: "rk4" }).order).toBeCloseTo(4, 1);
    const friction = 0.7;
    expect(discretizationError(quartic, { start, duration: 2, steps, method: "rk4", friction }).order).toBeCloseTo(
      4,
      1,
    );
  });

  test("discretizationError ignores errors at the float32 rounding level when it computes the order", () => {
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
    expect(Math.abs(order - 4)).toBeLessThan(0.4); // the order is 4 in the limit of small steps
    const euler = discretizationError(at, { duration: 1, steps: [50, 100, 200], method: "euler" });
    expect(euler.order).toBeCloseTo(1, 1);
  });
});

describe("the heavy ball", () => {
  test.each([
    ["underdamped", 0.4],
    ["critically damped", 2],
    ["overdamped", 5],
  ])("equals the damped oscillator's closed form on L = ½θ²: %s", (_, friction) => {
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

  test("conserves energy without friction, and is slower by a factor of √2 with twice the mass", () => {
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

  test("SGD with momentum follows the heavy ball with h = √lr and γ = (1 − μ)/√lr, and the error is proportional to h", () => {
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

  test("gradientDescent equals optim.SGD, with and without momentum", () => {
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

  test("heavyBallOf and momentumOf are inverses, and discretizationError finds order 1 for momentum", () => {
    expect(heavyBallOf({ lr: 0.01, momentum: 0.9 }).step).toBeCloseTo(0.1, 12);
    expect(heavyBallOf({ lr: 0.01, momentum: 0.9 }).friction).toBeCloseTo(1, 12);
    const back = momentumOf(heavyBallOf({ lr: 0.03, momentum: 0.7 }));
    expect(back.lr).toBeCloseTo(0.03, 12);
    expect(back.momentum).toBeCloseTo(0.7, 12);
    const options = { start: [1, -0.7], duration: 2, steps: [50, 100, 200, 400] };
    const { order } = discretizationError(quartic, { ...options, method: "momentum", friction: 0.7 });
    expect(order).toBeCloseTo(1, 1);
    expect(() => discretizationError(quartic, { ...options, method: "momentum" })).toThrow(/Pass \{ friction: … \}/);
    expect(() => momentumOf({ step: 0.5, friction: 4 })).toThrow(
      /must be in 0 … 1, got 0.5 · 4. Take a step of at most 0.25/,
    );
    expect(() => heavyBallOf({ lr: 0, momentum: 0 })).toThrow(/lr must be above 0 and momentum in 0 … 1, got 0 and 0/);
  });
});

test("errors say how to fix the call", () => {
  const saddle = quadratic([2, -2]);
  const start = [1, 1e-8];
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
