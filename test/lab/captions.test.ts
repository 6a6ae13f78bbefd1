/**
 * The numbers in the figures' captions are correct. The findings below the figures check other numbers.
 */
import { describe, expect, test } from "vitest";
import { type Result, valuesOf } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { average } from "../../lab/statistics.ts";
import { context } from "../support/digits.ts";

type Point = readonly [x: number, y: number];
/** Runs an experiment, with defaults for the parameters that are not given. */
async function show(name: string, given: Record<string, string | number> = {}) {
  const experiment = experiments.find((one) => one.name === name)!;
  const result: Result = await experiment.run(valuesOf(experiment.parameters, given), context);
  return {
    result,
    /** The points of a series in plot number `plot`, counted from 0. */
    points(plot: number, series: string): readonly Point[] {
      const found = result.plots[plot]!.series.find((one) => one.name === series);
      if (!found) throw new Error(`no series "${series}"`);
      return found.points;
    },
    /** The number in a column of the first row whose first cell starts with `row`. */
    cell(table: number, row: string, column: number): number {
      const found = result.tables![table]!.rows.find(([first]) => String(first).startsWith(row));
      return Number.parseFloat(String(found![column]));
    },
  };
}
const first = (points: readonly Point[]): number => points[0]![1];
const last = (points: readonly Point[]): number => points.at(-1)![1];
const heights = (points: readonly Point[]): number[] => points.map(([, y]) => y);
/** The first x at which curve a is above curve b. Both curves must have the same x values. */
const crossing = (a: readonly Point[], b: readonly Point[]): number => a.find(([, y], i) => y > b[i]![1])![0];

describe("captions", () => {
  test("vanishing: the gradient falls from 0.05 at layer 16 to 1e-11 at layer 1, and stays nearly constant with residuals", async () => {
    const sigmoid = (await show("vanishing")).result.plots[0]!.series[0]!.points;
    expect(last(sigmoid)).toBeCloseTo(0.05, 2);
    expect(Math.log10(first(sigmoid))).toBeCloseTo(-11, 0);
    const remedied = (await show("vanishing", { remedy: "residual" })).result.plots[0]!.series[0]!.points;
    expect(first(remedied) / last(remedied)).toBeLessThan(2);
    expect(first(remedied) / last(remedied)).toBeGreaterThan(0.5);
  });

  test("exploding-rnn: the gradient vanishes with a norm above 1, and explodes if W is orthogonal and linear", async () => {
    const gaussian = (await show("exploding-rnn")).cell(1, "tanh, Gaussian", 1);
    expect(gaussian).toBeLessThan(0.01);
    const linear = await show("exploding-rnn", { matrix: "orthogonal", activation: "linear" });
    expect(linear.cell(1, "linear, orthogonal", 1)).toBeGreaterThan(100);
  });

  test("clipping: the plain loss exceeds 300 within ten steps, and almost every gradient is above the limit", async () => {
    const { points } = await show("clipping");
    const [plain, clipped, norms] = [points(0, "plain gradient"), points(0, "clipped"), points(1, "clipped")];
    expect(plain.length).toBeLessThanOrEqual(11);
    expect(last(plain)).toBeGreaterThan(300);
    // A network that always answers 0 has a loss of 1.
    expect(average(heights(clipped.slice(-20)))).toBeLessThan(0.6);
    expect(norms.filter(([, norm]) => norm > 1).length / norms.length).toBeGreaterThan(0.95);
  });

  test("landscape: 19 of 38 curvatures are negative before training, and 4 small ones afterwards", async () => {
    const before = await show("landscape", { steps: 0 });
    expect([before.cell(0, "curvatures below 0", 1), before.cell(0, "curvatures", 1)]).toEqual([19, 38]);
    const after = await show("landscape");
    expect(after.cell(0, "curvatures below 0", 1)).toBe(4);
    const smallest = after.cell(0, "smallest curvature", 1);
    expect(Math.abs(smallest) / after.cell(0, "largest curvature", 1)).toBeLessThan(0.01);
    expect(after.result.plots[0]!.series[0]!.points[0]![0]).toBeLessThan(smallest);
  });

  test("near-saddle: on the axis, gradient descent ends at the saddle, and stochastic gradient descent leaves it", async () => {
    const { points } = await show("near-saddle", { y: 0 });
    const [x, y] = points(0, "gradient descent").at(-1)!;
    expect(Math.hypot(x - 1, y)).toBeLessThan(0.01);
    expect(Math.abs(last(points(0, "batches of 4")))).toBeGreaterThan(0.5);
  });

  test("saddle-escape: with a hundredth of the noise, the escape takes 48 steps longer", async () => {
    const median = async (noise: number): Promise<number> => {
      const times = heights((await show("saddle-escape", { noise })).points(1, "measured"));
      return times[Math.floor(times.length / 2)]!;
    };
    expect(Math.abs((await median(1e-4)) - (await median(0.01)) - 48)).toBeLessThan(6);
  });

  test("ravine: the heavy ball swings wider at first, and its distance falls much faster", async () => {
    const plain = heights((await show("ravine")).points(1, "measured"));
    const ball = heights((await show("ravine", { momentum: "heavy ball" })).points(1, "measured"));
    expect(Math.max(...ball.map((distance, i) => distance / plain[i]!))).toBeGreaterThan(1);
    expect(ball.at(-1)!).toBeLessThan(plain.at(-1)! / 100);
  });

  test("race: on the plateau, gradient descent hardly moves, and the other two arrive", async () => {
    const { cell } = await show("race", { landscape: "plateau" });
    const start = (await show("race", { landscape: "plateau", steps: 10 })).cell(0, "gradient descent", 1);
    expect(cell(0, "gradient descent", 1) / start).toBeGreaterThan(0.8);
    for (const name of ["momentum", "Adam"]) expect(cell(0, name, 1), name).toBeLessThan(0.1 * start);
  });

  test("feature-scaling: the partial derivatives cross at a scale of about 0.3, and the scale affects only the original features", async () => {
    const [five, one] = [await show("feature-scaling"), await show("feature-scaling", { scale: 1 })];
    const cross = crossing(five.points(0, "predicted: proportional"), five.points(0, "predicted: constant"));
    expect(cross).toBeGreaterThan(0.25);
    expect(cross).toBeLessThan(0.4);
    for (const name of ["standardized", "whitened"])
      expect(last(one.points(2, name))).toBeCloseTo(last(five.points(2, name)), 5);
    expect(last(one.points(2, "original"))).toBeLessThan(last(five.points(2, "original")) / 2);
  });

  test("gradient-confusion: half of the signs flip with single samples, and with much noise, even batches of 64 hardly agree", async () => {
    expect(first((await show("gradient-confusion")).points(0, "signs that flip"))).toBeCloseTo(0.5, 1);
    const noisy = await show("gradient-confusion", { noise: 5 });
    expect(last(noisy.points(0, "mean cosine"))).toBeLessThan(0.25);
  });

  test("curriculum: with a rate of 0.02, the order hardly matters", async () => {
    const { cell } = await show("curriculum", { lr: 0.02 });
    for (const order of ["by difficulty", "by signs"])
      expect(Math.abs(cell(0, order, 3)) / cell(0, "random", 2), order).toBeLessThan(0.02);
  });

  test("weights-vs-biases: with a larger mean of the inputs, the crossing moves to the left", async () => {
    const at = async (mean: number): Promise<number> => {
      const { points } = await show("weights-vs-biases", { mean });
      return crossing(points(0, "weights"), points(0, "biases"));
    };
    expect(await at(5)).toBeLessThan(await at(1));
  });

  test("gradient-flow: halving the step halves Euler's error, and divides that of Runge–Kutta by about 16", async () => {
    const { points } = await show("gradient-flow");
    const order = (name: string): number => {
      const [[h, small], [k, large]] = points(1, name).slice(-2) as [Point, Point];
      return Math.log(large / small) / Math.log(k / h);
    };
    expect(order("Euler (gradient descent)")).toBeCloseTo(1, 0);
    expect(Math.abs(order("Runge–Kutta 4") - 4)).toBeLessThan(0.4);
  });

  test("coasting: momentum crosses a plateau of width 3, but stops after a distance of about 3 on one of width 8; gradient descent crosses neither", async () => {
    const [short, long] = [await show("coasting"), await show("coasting", { width: 8 })];
    expect(last(short.points(1, "momentum"))).toBeGreaterThan(3);
    expect(last(long.points(1, "momentum"))).toBeCloseTo(3, 0);
    for (const { points } of [short, long]) expect(last(points(1, "gradient descent"))).toBeLessThan(0.1);
  });

  test("momentum-escape: with little curvature and friction, the heavy ball is faster even per unit of time", async () => {
    const slow = await show("momentum-escape");
    expect(slow.cell(0, "with momentum", 1)).toBeGreaterThan(slow.cell(0, "without momentum", 1));
    const fast = await show("momentum-escape", { curvature: 0.2, lr: 0.1, momentum: 0.98 });
    expect(fast.cell(0, "with momentum", 1)).toBeLessThan(fast.cell(0, "without momentum", 1));
  });

  test("natural-gradient: above the largest stable rate, each plain step is longer than the last; stretching does not change the natural step", async () => {
    const path = (await show("natural-gradient", { lr: 1.05 })).points(0, "plain gradient").map(([x]) => Math.abs(x));
    expect(path.length).toBeGreaterThan(5);
    expect([...path].sort((p, q) => p - q)).toEqual(path);
    const [one, other] = [await show("natural-gradient"), await show("natural-gradient", { stretch: 5 })];
    expect(other.points(1, "natural gradient")).toEqual(one.points(1, "natural gradient"));
    const plain = (shown: typeof one): readonly Point[] =>
      shown.result.plots[1]!.series.find(({ name }) => name.startsWith("plain gradient, stretched"))!.points;
    expect(plain(other)[1]![1]).not.toBeCloseTo(plain(one)[1]![1], 2);
  });

  test("fisher-training: the natural gradients need the fewest steps", async () => {
    const { cell } = await show("fisher-training");
    for (const name of ["natural gradient", "K-FAC"]) {
      expect(cell(0, name, 1)).toBeGreaterThan(0);
      expect(cell(0, name, 1), name).toBeLessThan(cell(0, "Adam", 1));
    }
  });

  test("saliency: the maps fall into two groups, and Grad-CAM's map is about as good as a random map", async () => {
    const { cell } = await show("saliency");
    for (const name of ["gradient × input", "integrated gradients"]) {
      expect(cell(0, name, 2)).toBeLessThan(0);
      expect(cell(0, name, 3)).toBe(100);
    }
    expect(cell(0, "Grad-CAM", 2) / cell(0, "random", 2)).toBeCloseTo(1, 1);
    expect(cell(0, "random", 3)).toBeGreaterThan(100 / 3);
    expect(cell(0, "random", 3)).toBeLessThan(50);
  });

  test("gradient-penalty: with λ = 1, the network is flatter and gives more wrong answers without an attack", async () => {
    const [weak, strong] = [await show("gradient-penalty"), await show("gradient-penalty", { lambda: 1 })];
    expect(strong.cell(0, "with the penalty", 4)).toBeLessThan(weak.cell(0, "with the penalty", 4));
    expect(strong.cell(0, "with the penalty", 1)).toBeLessThan(strong.cell(0, "without", 1));
  });

  test("adversaries: at ε = 0.1, about 13 % of the answers are right, and more than 60 % after adversarial training", async () => {
    const { cell } = await show("adversaries");
    expect(cell(0, "plain", 2)).toBeCloseTo(0.13, 1);
    expect(cell(0, "adversarial", 2)).toBeGreaterThan(0.6);
    expect(cell(0, "adversarial", 3)).toBeGreaterThan(0.6);
    expect(Math.abs(cell(0, "adversarial", 1) - cell(0, "plain", 1))).toBeLessThan(0.02);
  });

  test("residual-vs-plain: the plain network's gradient shrinks by more than seven powers of ten, and only this network does not learn", async () => {
    const { cell } = await show("residual-vs-plain");
    expect(Math.log10(cell(0, "plain", 1))).toBeLessThan(-7);
    expect(cell(0, "residual", 1)).toBeLessThan(5);
    expect(cell(0, "plain", 2)).toBeGreaterThan(1);
    for (const name of ["residual", "residual and norm", "gates"]) expect(cell(0, name, 2), name).toBeLessThan(0.01);
  });

  test("evolution: without a genetic correlation, trait 2 moves less", async () => {
    const end = async (given: Record<string, number>): Promise<number> =>
      last((await show("evolution", given)).points(0, "trait 2, simulated"));
    expect(await end({ correlation: 0 })).toBeLessThan((await end({})) - 0.2);
  });

  test("evolution-strategies: quadrupling the samples halves the error, quadrupling the parameters doubles it, and a step needs 40 evaluations", async () => {
    const { points } = await show("evolution-strategies");
    for (const [plot, factor] of [
      [0, 1 / 2],
      [1, 2],
    ] as const) {
      const errors = heights(points(plot, "measured"));
      for (const [i, error] of errors.slice(1).entries())
        expect(Math.abs(error / errors[i]! / factor - 1)).toBeLessThan(0.2);
    }
    expect(points(2, "evolution strategy")[0]![0]).toBe(40);
    expect(points(2, "backpropagation")[0]![0]).toBe(1);
  });
});
