/** integrate: orders, tolerances, evaluations, interpolation and errors. */
import { logSlope } from "nabla/gradients";
import { describe, expect, test } from "vitest";
import { type IntegrateOptions, integrate, type VectorField } from "../../src/gradients/math/ode.ts";

const oscillator: VectorField = (_, [x, v]) => [v!, -x!];
/** The largest distance between the integrated states and the exact solution (cos t, −sin t). */
function oscillatorError(options: Omit<IntegrateOptions, "duration">, duration = 10): number {
  const { times, states } = integrate(oscillator, [1, 0], { duration, ...options });
  return Math.max(...times.map((t, i) => Math.hypot(states[i]![0]! - Math.cos(t), states[i]![1]! + Math.sin(t))));
}

describe("integrate", () => {
  test.each([
    ["euler", 1, [1e-2, 5e-3, 2.5e-3, 1.25e-3]],
    ["rk4", 4, [0.2, 0.1, 0.05, 0.025]],
  ] as const)("%s: the error is proportional to the step size raised to the power %i", (method, order, steps) => {
    const points = steps.map((step): [number, number] => [step, oscillatorError({ method, step })]);
    expect(Math.abs(logSlope(points) - order)).toBeLessThan(0.05);
  });

  test("dopri5: the error is proportional to the tolerance from 1e-4 to 1e-12, and below 10× the tolerance per unit of time", () => {
    const points = [1e-4, 1e-6, 1e-8, 1e-10, 1e-12].map((tolerance): [number, number] => [
      tolerance,
      oscillatorError({ tolerance }),
    ]);
    expect(Math.abs(logSlope(points) - 1)).toBeLessThan(0.05);
    for (const [tolerance, error] of points) expect(error).toBeLessThan(10 * 10 * tolerance);
  });

  test("dopri5 has order 5", () => {
    // With so large a tolerance, the integrator takes a single step of the given size, whose error is O(step⁶).
    const points = [0.4, 0.2, 0.1].map((step): [number, number] => [
      step,
      oscillatorError({ step, tolerance: 1e6, times: [step] }, step),
    ]);
    expect(Math.abs(logSlope(points) - 6)).toBeLessThan(0.15);
  });

  test("dopri5 adapts its steps to van der Pol's equation with μ = 20, and meets the tolerance", () => {
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
  ] as const)("%s over a duration of %d takes %i steps and %i evaluations", (method, duration, steps, evaluations) => {
    const path = integrate(oscillator, [1, 0], { method, duration, step: 0.1 });
    expect([path.steps, path.evaluations, path.rejected]).toEqual([steps, evaluations, 0]);
    expect(path.times).toHaveLength(steps + 1);
    expect(path.times.at(-1)).toBe(duration);
  });

  test("dopri5 takes two initial evaluations and six per step", () => {
    const { steps, rejected, evaluations } = integrate(oscillator, [1, 0], { duration: 10 });
    expect(evaluations).toBe(2 + 6 * (steps + rejected));
  });

  test("states at requested times are as accurate as the steps", () => {
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

  test("fields may depend on time, and may reuse the array that they return", () => {
    const buffer = [0];
    const field: VectorField = (t) => {
      buffer[0] = Math.cos(t);
      return buffer;
    };
    expect(integrate(field, [0], { duration: 2 }).states.at(-1)![0]).toBeCloseTo(Math.sin(2), 7);
  });

  test("errors say how to fix the call", () => {
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

  test("the error for a path that diverges says where: θ̇ = θ² from 1 has a pole at t = 1", () => {
    const square: VectorField = (_, [x]) => [x! ** 2];
    const failure = (options: IntegrateOptions): RegExpMatchArray => {
      try {
        integrate(square, [1], options);
      } catch (error) {
        return /near t = ([\d.]+) .* Take smaller steps\. .* the path itself diverges/.exec(String(error))!;
      }
      throw new Error("integrate did not throw");
    };
    expect(Math.abs(Number(failure({ duration: 2 })[1]) - 1)).toBeLessThan(1e-6);
    expect(Number(failure({ duration: 9, method: "euler", step: 0.1 })[1])).toBeLessThan(3);
  });
});
