/** Schedules at the ends of their ranges, and centered RMSProp with a vanishing variance. optimizers.test.ts compares rates with PyTorch's. */
import { compile, optim, type Tensor, tensor } from "nabla";
import { describe, expect, test } from "vitest";
import { expectClose } from "../support/oracle.ts";

const sgd = (lr = 0.1): optim.SGD => new optim.SGD([tensor([0], { requiresGrad: true })], { lr });

/** The learning rates before each step. */
function rates(schedule: { step(): void }, optimizer: optim.SGD, steps: number): number[] {
  return Array.from({ length: steps }, () => {
    const { lr } = optimizer;
    schedule.step();
    return lr;
  });
}

describe("OneCycleLR", () => {
  const cycle = (options: Partial<optim.OneCycleOptions> & { totalSteps: number }) => {
    const optimizer = sgd();
    return { optimizer, schedule: new optim.OneCycleLR(optimizer, 1, options) };
  };
  test.each<Partial<optim.OneCycleOptions>>([
    {},
    { annealStrategy: "linear" },
    { annealStrategy: "linear", pctStart: 0 },
    { annealStrategy: "linear", pctStart: 0.95 },
    { pctStart: 0 },
    { divFactor: 3, finalDivFactor: 7, annealStrategy: "linear" },
  ])("%o: reaches the final rate for totalSteps from 1 to 40, and then throws", (options) => {
    for (let totalSteps = 1; totalSteps <= 40; totalSteps++) {
      const { optimizer, schedule } = cycle({ ...options, totalSteps });
      const all = rates(schedule, optimizer, totalSteps);
      const final = 1 / (options.divFactor ?? 25) / (options.finalDivFactor ?? 1e4);
      expect(all.every((rate) => rate >= 0 && rate <= 1)).toBe(true);
      expect(all.at(-1)).toBeCloseTo(final, 12);
      expect(optimizer.lr).toBe(all.at(-1));
      const before = schedule.stateDict();
      expect(() => schedule.step()).toThrow(`OneCycleLR: step ${totalSteps + 1} is beyond totalSteps ${totalSteps}.`);
      expect(schedule.stateDict()).toEqual(before);
      expect(optimizer.lr).toBe(all.at(-1));
    }
  });
  test("with pctStart 1, the rate rises until the last step", () => {
    for (const annealStrategy of ["cos", "linear"] as const) {
      const { optimizer, schedule } = cycle({ totalSteps: 5, pctStart: 1, annealStrategy, divFactor: 5 });
      const all = rates(schedule, optimizer, 5);
      expectClose([all[0]!, all[4]!, optimizer.lr], [0.2, 1, 1], 1e-12);
    }
    expect(cycle({ totalSteps: 1, pctStart: 1 }).optimizer.lr).toBe(1);
  });
  test("a state that was saved after the last step loads", () => {
    const { optimizer, schedule } = cycle({ totalSteps: 6, annealStrategy: "linear" });
    rates(schedule, optimizer, 6);
    const other = cycle({ totalSteps: 6, annealStrategy: "linear" });
    other.schedule.loadStateDict(JSON.parse(JSON.stringify(schedule.stateDict())));
    expect(other.optimizer.lr).toBe(optimizer.lr);
  });
  test.each<[object, RegExp]>([
    [{ totalSteps: 0 }, /OneCycleLR: totalSteps must be a whole number above 0, got 0/],
    [{ totalSteps: 5, divFactor: 0 }, /OneCycleLR: divFactor must be above 0, got 0/],
    [{ totalSteps: 5, finalDivFactor: -1 }, /OneCycleLR: finalDivFactor must be above 0, got -1/],
    [{ totalSteps: 5, annealStrategy: "poly" }, /annealStrategy must be one of cos, linear, got "poly"/],
  ])("%o is rejected", (options, message) => {
    expect(() => cycle(options as { totalSteps: number })).toThrow(message);
  });
});

describe("the last step reaches the end exactly, and one more step stays in range", () => {
  test.each<[string, (o: optim.SGD, n: number) => { step(): void }, number]>([
    ["LinearLR", (o, n) => new optim.LinearLR(o, 1 / 3, 0.7, n), 0.7],
    ["LinearLR to 0", (o, n) => new optim.LinearLR(o, 1, 0, n), 0],
    ["CosineAnnealingLR", (o, n) => new optim.CosineAnnealingLR(o, n, 0.03), 0.03],
    ["StepLR", (o, n) => new optim.StepLR(o, n, 0.5), 0.5],
    ["CosineAnnealingWarmRestarts", (o, n) => new optim.CosineAnnealingWarmRestarts(o, n), 1],
  ])("%s", (_, make, end) => {
    for (let n = 1; n <= 60; n++) {
      const optimizer = sgd(1);
      const schedule = make(optimizer, n);
      rates(schedule, optimizer, n);
      expect(optimizer.lr).toBe(end);
      schedule.step();
      expect(optimizer.lr).toBeGreaterThanOrEqual(0);
      expect(optimizer.lr).toBeLessThanOrEqual(1);
    }
  });
  test("a sequence does not change if one of its schedules throws at the end", () => {
    const optimizer = sgd();
    const part = new optim.OneCycleLR(optimizer, 1, { totalSteps: 2 });
    const sequence = new optim.SequentialLR([part, new optim.ExponentialLR(optimizer, 0.5)], [5]);
    for (let i = 0; i < 2; i++) sequence.step();
    const before = JSON.stringify(sequence.stateDict());
    expect(() => sequence.step()).toThrow("OneCycleLR: step 3 is beyond totalSteps 2");
    expect(JSON.stringify(sequence.stateDict())).toBe(before);
  });
});

describe("centered RMSProp", () => {
  /** One parameter's steps for given gradients. */
  function moves(
    options: Partial<optim.RMSPropOptions>,
    gradient: (t: number) => number,
    steps: number,
    compiled = false,
  ): number[] {
    const p = tensor([0], { requiresGrad: true });
    const optimizer = new optim.RMSProp([p], { centered: true, ...options });
    const step = (g: Tensor) => void optimizer.minimize(() => p.mul(g).sum());
    const run = compiled ? compile(step) : step;
    return Array.from({ length: steps }, (_, i) => {
      // Each step starts from 0, so that it is not lost to rounding.
      p.copyFrom([0]);
      run(tensor([gradient(i + 1)]));
      return p.item();
    });
  }
  test.each([0.9, 0.99, 0.999])(
    "α = %d: steps for a constant gradient match float64 until float32 cannot resolve the variance, and stay bounded",
    (alpha) => {
      const [g, lr] = [Math.fround(0.1), 0.01];
      const noise = 2 ** -24 / (1 - alpha);
      for (const compiled of [false, true]) {
        const all = moves({ alpha, lr }, () => g, 4000, compiled);
        all.forEach((move, i) => {
          const left = alpha ** (i + 1);
          // v − a² = (1 − αᵗ)·αᵗ·g², v = (1 − αᵗ)·g²
          const want = (-lr * g) / (Math.sqrt((1 - left) * left) * g + 1e-8);
          const relative = (4 * noise) / left;
          if (relative < 0.1) expect(Math.abs(move / want - 1), `step ${i + 1}`).toBeLessThan(relative + 1e-5);
          expect(Math.abs(move), `step ${i + 1}`).toBeLessThanOrEqual(lr / Math.sqrt(noise * (1 - left)) + 1e-6);
        });
        expect(all.every(Number.isFinite)).toBe(true);
      }
    },
  );
  test.each<[string, (t: number) => number]>([
    ["almost constant", (t) => 0.1 + 1e-8 * (t % 2)],
    ["constant and huge", () => 1e18],
    ["constant and tiny", () => 1e-15],
    ["too large to square", () => 1e20],
    ["0", () => 0],
  ])("gradients that are %s never produce NaN, with and without momentum", (_, gradient) => {
    for (const momentum of [0, 0.9])
      expect(moves({ momentum }, gradient, 2000).every((move) => Number.isFinite(move))).toBe(true);
  });
  test("NaN gradients give NaN", () => {
    expect(moves({}, () => Number.NaN, 1)[0]).toBeNaN();
  });
  test("steps for noisy gradients match float64 within 1e-4", () => {
    const gradient = (t: number) => Math.fround(0.1 + 0.05 * Math.sin(3 * t));
    let [v, a] = [0, 0];
    const want = Array.from({ length: 500 }, (_, i) => {
      const g = gradient(i + 1);
      v = 0.99 * v + 0.01 * g * g;
      a = 0.99 * a + 0.01 * g;
      return (-0.01 * g) / (Math.sqrt(v - a * a) + 1e-8);
    });
    expectClose(moves({}, gradient, 500), want, 1e-4);
  });
});
