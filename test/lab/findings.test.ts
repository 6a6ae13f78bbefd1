/** For most of the experiments, every finding matches theory, with the default parameters and with others. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type AnyExperiment, holds, type Result, showExpectation, valuesOf } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { context } from "../support/digits.ts";
import { importsOf } from "../support/imports.ts";

const contradicted = ({ findings }: Result): string[] =>
  findings
    .filter((finding) => !holds(finding))
    .map(({ text, measured, expected }) => `${text}: ${measured}, but ${showExpectation(expected)}`);

const cases: Record<string, readonly Record<string, string | number>[]> = {
  "definition-of-the-derivative": [
    { f: "x³ tanh x", x: 0.6, h: 1e-15 },
    { f: "sigmoid(x)", x: 1.3, h: 1 },
    { f: "exp(sin x)", x: 0.666, h: 1e-3 },
  ],
  "linear-regression": [
    { theta1: 5, theta2: -3, x1: -4, x2: 0.5, y: -10 },
    { theta1: 2, theta2: 2 },
  ],
  "directional-derivative": [
    { x: -2, y: 2, direction: 180 },
    { x: 0, y: 0, direction: 90 },
  ],
  backpropagation: [
    { weights: "shared: w₂ = w₁" },
    { replace: "da/dz", by: -2, x: -3, w1: 3, b: 6 },
    { weights: "shared: w₂ = w₁", replace: "dp/dw", by: 0 },
  ],
  "logistic-pull": [
    { steps: 0, samples: 10 },
    { steps: 200, samples: 200, flipped: 20, seed: 3 },
    { w1: 0, w2: 0 },
    { w1: -4, w2: 3, steps: 50, flipped: 0 },
  ],
  "linear-layer": [
    { batch: 1, width: 1, seed: 2, sample: 64 },
    { batch: 64, width: 32, seed: 3 },
  ],
  sigmoid: [
    { z: -8, bias: -8, seed: 2 },
    { z: 0, bias: 0 },
  ],
  vanishing: [
    { depth: 20, init: "large" },
    { depth: 40, init: "small" },
    { depth: 40, activation: "gelu", init: "large", seed: 19 },
    { activation: "tanh", init: "large", seed: 2 },
    { activation: "relu", init: "kaiming", depth: 30 },
    { activation: "gelu", remedy: "layer norm" },
    { remedy: "residual", depth: 2 },
    { bias: 10, depth: 40 },
  ],
  "exploding-rnn": [
    { matrix: "orthogonal", activation: "linear" },
    { activation: "linear", norm: 1.4 },
    { matrix: "orthogonal", activation: "linear", norm: 0.5, steps: 60 },
    { matrix: "orthogonal", activation: "linear", norm: 1.5, steps: 80 },
    { matrix: "orthogonal", norm: 1.5, input: 1 },
    { norm: 1, seed: 5 },
    { norm: 0.5, input: 1, steps: 80, forget: 0 },
    { norm: 0.7, input: 1, steps: 80, seed: 3 },
  ],
  clipping: [{ lr: 0.1 }, { norm: 1.5, length: 40, lr: 0.5, seed: 3 }],
  "long-range": [
    { length: 20, forget: 2, noise: 1 },
    { forget: 0, length: 60 },
  ],
  "near-saddle": [
    { y: 0, lr: 0.05 },
    { x: 1.2, y: -0.05, lr: 0.01, batch: 32, seed: 2 },
    { x: 0.8, y: 0.002, batch: 8 },
  ],
  "saddle-escape": [{ lr: 0.005, noise: 1 }, { lr: 0.3, noise: 1e-5, seed: 2 }, { seed: 7 }],
  "critical-points": [{ gap: 1.1 }, { gap: 1.2 }, { gap: 4, x: 2.5, y: 2.5 }, { x: 0, y: 0 }],
  landscape: [
    { steps: 0, width: 2 },
    { steps: 400, width: 12, seed: 4, a: -1.5, b: 1.5 },
  ],
  ravine: [
    { kappa: 300, rate: 1 },
    { kappa: 1.5, angle: 90 },
    { momentum: "heavy ball" },
    { rate: 0.5, angle: 0 },
    { x: 0, y: 0 },
  ],
  "feature-scaling": [
    { scale: 0.01, correlation: 0 },
    { scale: 100, correlation: 0.95, seed: 2 },
  ],
  "gradient-confusion": [
    { noise: 5, seed: 2 },
    { steps: 300, noise: 0.1 },
  ],
  curriculum: [
    { noise: 0, epochs: 10, seed: 2 },
    { lr: 0.01, epochs: 1, noise: 2 },
  ],
  "weights-vs-biases": [
    { features: 1, batch: 2, mean: 0 },
    { features: 64, batch: 64, mean: 5, seed: 3 },
  ],
  coasting: [{ width: 8, slope: 1e-4 }, { start: -4, momentum: 0.98, lr: 0.2 }, { momentum: 0 }],
  race: [
    { landscape: "saddle", x: 1, y: 0 },
    { landscape: "Rosenbrock", lr: 0.1, momentum: 0.99, steps: 200 },
    { landscape: "plateau", x: 2, y: -2, adam: 0.5 },
  ],
  "natural-gradient": [
    { f1: 1, lr: 0.1 },
    { f1: 1000, stretch: 0.2, theta1: -1, theta2: 2 },
  ],
  "residual-vs-plain": [
    { depth: 60, steps: 60, seed: 2 },
    { depth: 10, steps: 0 },
  ],
};

const find = (name: string): AnyExperiment => experiments.find((experiment) => experiment.name === name)!;

describe.each(Object.entries(cases))("%s", (name, elsewhere) => {
  test.each([{}, ...elsewhere].map((given) => [JSON.stringify(given), given] as const))(
    "with %s all findings match theory",
    async (_, given) => {
      const experiment = find(name);
      const result = await experiment.run(valuesOf(experiment.parameters, given), context);
      expect(contradicted(result)).toEqual([]);
      expect(result.findings.length).toBeGreaterThan(0);
      for (const { series } of result.plots)
        expect(series.some(({ points }) => points.some(([, y]) => Number.isFinite(y)))).toBe(true);
    },
  );
});

test("linear-layer: the pictures show a column times a row, and the sum over the batch equals backward", async () => {
  const experiment = find("linear-layer");
  const { pictures } = await experiment.run(valuesOf(experiment.parameters, { sample: 3 }), context);
  const [g, x, product, sum, backward] = pictures!;
  expect([g!.width, g!.height, x!.width, x!.height]).toEqual([1, 5, 8, 1]);
  for (const [i, slope] of g!.values.entries())
    for (const [j, value] of x!.values.entries()) expect(product!.values[8 * i + j]).toBeCloseTo(slope * value, 6);
  expect(sum!.values.some((v, i) => Math.abs(v - product!.values[i]!) > 0.01)).toBe(true);
  for (const [i, v] of backward!.values.entries()) expect(sum!.values[i]).toBeCloseTo(v, 6);
});

test("logistic-pull: each arrow is −½·error·x, which points towards a sample of class 1 and away from one of class 0", async () => {
  const experiment = find("logistic-pull");
  const { plots } = await experiment.run(valuesOf(experiment.parameters, { w1: 1, w2: -2 }), context);
  for (const label of [0, 1]) {
    const { points } = plots[0]!.series.find(({ name }) => name === `pull of y = ${label}`)!;
    expect(points.length).toBeGreaterThan(10);
    for (let k = 0; k < points.length; k += 2) {
      const [[x, y], [a, b]] = [points[k]!, points[k + 1]!];
      const error = 1 / (1 + Math.exp(2 * y - x)) - label;
      expect([a - x, b - y]).toEqual([expect.closeTo(-0.5 * error * x, 5), expect.closeTo(-0.5 * error * y, 5)]);
    }
  }
});

test("curriculum: as its claim says, the order by signs halves the flips, and random order ends with the lowest loss", async () => {
  const experiment = find("curriculum");
  const { tables } = await experiment.run(valuesOf(experiment.parameters), context);
  const [random, difficulty, signs] = tables![0]!.rows.map((row) =>
    row.slice(1).map((cell) => Number.parseFloat(String(cell))),
  );
  expect(signs![0]! / random![0]!).toBeCloseTo(0.5, 1);
  // The mean difference in the final loss, in standard errors.
  const standardError = (row: number): number => Number(String(tables![0]!.rows[row]![3]).split("±")[1]);
  expect(difficulty![2]! / standardError(1)).toBeGreaterThan(2);
  expect(signs![2]! / standardError(2)).toBeGreaterThan(2);
});

test("the article's gradient is (−12, −4)", async () => {
  const experiment = find("linear-regression");
  const { findings } = await experiment.run(valuesOf(experiment.parameters), context);
  expect(findings.slice(0, 2).map(({ measured }) => measured)).toEqual([-12, -4]);
});

describe("fisher-training", () => {
  const run = (given: Record<string, string | number>) => {
    const experiment = find("fisher-training");
    return Promise.resolve(experiment.run(valuesOf(experiment.parameters, given), context));
  };
  test("K-FAC reaches the training loss in fewer steps than gradient descent and Adam at every rate", async () => {
    const result = await run({});
    expect(contradicted(result)).toEqual([]);
    const kfac = result.tables![0]!.rows.find(([name]) => String(name).startsWith("K-FAC"))![1] as number;
    const rates = result.tables![1]!.rows.map(([, steps]) => steps);
    expect(rates).toHaveLength(8);
    for (const steps of rates) if (typeof steps === "number") expect(steps).toBeGreaterThan(kfac);
    expect(rates.filter((steps) => typeof steps === "number").length).toBeGreaterThan(2);
  });
  test("a run that diverges says so, and is ranked last", async () => {
    const { tables } = await run({ damping: "adapted to each batch" });
    const rows = tables![0]!.rows;
    expect(rows.map(([name]) => String(name).split(",")[0])).toEqual([
      "K-FAC",
      "Adam",
      "gradient descent",
      "natural gradient",
    ]);
    expect(rows.at(-1)![1]).toMatch(/^diverged at \d+$/);
  });
});

test("clipping: by default every plain run diverges, and no clipped run does", async () => {
  const experiment = find("clipping");
  const { tables } = await experiment.run(valuesOf(experiment.parameters), context);
  const [plain, clipped] = tables![0]!.rows;
  expect(plain![1]).toMatch(/^4 of 4, after (\d+, ){3}\d+ steps$/);
  expect(clipped![1]).toBe("none of 4");
});

test("long-range: by default the RNN and the LSTM without a bias guess, and the LSTM with a bias learns", async () => {
  const experiment = find("long-range");
  const { findings } = await experiment.run(valuesOf(experiment.parameters), context);
  const losses = findings.filter(({ text }) => / loss at the end /.test(text));
  expect(losses.map(({ text }) => text.slice(0, text.indexOf(": ")))).toEqual([
    "plain RNN",
    "LSTM, b = 0",
    "LSTM, b = 4",
  ]);
  const [plain, zero, biased] = losses.map(({ measured }) => measured);
  expect(plain).toBeGreaterThan(0.65);
  expect(zero).toBeGreaterThan(0.65);
  expect(biased).toBeLessThan(0.2);
});

describe("all experiments", () => {
  test("are named after their file, and have a title, a claim and a formula", async () => {
    const face = Object.keys(await import("nabla/gradients"));
    for (const { name, title, claim, formula, functions, parameters } of experiments) {
      expect(name).toMatch(/^[a-z-]+$/);
      expect([title, claim, formula].every((text) => text.length > 5)).toBe(true);
      const source = readFileSync(`lab/experiments/${name}.ts`, "utf8");
      expect([...functions].sort(), name).toEqual(importsOf(source, "nabla/gradients").sort());
      for (const f of functions) {
        expect(face, `${name} shows ${f}`).toContain(f);
        expect(source.split(new RegExp(`\\b${f}\\b`)).length - 1, `${name} shows ${f}`).toBeGreaterThan(2);
      }
      for (const [key, parameter] of Object.entries(parameters)) {
        expect(() => valuesOf(parameters, { [key]: parameter.default }), `${name}, ${key}`).not.toThrow();
        if (parameter.kind === "number") expect(parameter.scale === "log" && parameter.min <= 0).toBe(false);
      }
    }
    expect(new Set(experiments.map(({ name }) => name)).size).toBe(experiments.length);
  });
  test("declare axes with only integers as integer axes", async () => {
    const unmarked: string[] = [];
    for (const { name, parameters, run } of experiments.filter(({ long }) => !long))
      for (const { title, field, x, series } of (await run(valuesOf(parameters), context)).plots) {
        const places = series.flatMap(({ points }) => points.map(([at]) => at));
        if (!field && !x.integer && places.length && places.every(Number.isInteger))
          unmarked.push(`${name}, ${title}: ${x.label}`);
      }
    // These directions are not counts; their degrees just happen to be integers.
    expect(unmarked).toEqual(["directional-derivative, The slope by direction: direction, degrees"]);
  });
  test("reject values out of range, and name the allowed range", () => {
    const { parameters } = find("vanishing");
    expect(() => valuesOf(parameters, { depth: 1 })).toThrow("depth must be a whole number from 2 to 40, got 1.");
    expect(() => valuesOf(parameters, { depth: "" })).toThrow(/whole number/);
    expect(() => valuesOf(parameters, { init: "huge" })).toThrow(
      'init must be one of small, xavier, kaiming, large, got "huge".',
    );
    expect(() => valuesOf(parameters, { width: 3 })).toThrow(/unknown parameter "width". Valid parameters: depth/);
  });
});
