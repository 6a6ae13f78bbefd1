import { memory } from "nabla";
import { describe, expect, test } from "vitest";
import {
  type AnyExperiment,
  type Context,
  holds,
  type Result,
  showExpectation,
  valuesOf,
} from "../../lab/experiment.ts";
import evolution from "../../lab/experiments/evolution.ts";
import evolutionStrategies from "../../lab/experiments/evolution-strategies.ts";
import gradientFlow from "../../lab/experiments/gradient-flow.ts";
import momentumEscape from "../../lab/experiments/momentum-escape.ts";

const context: Context = {
  progress: async () => {},
  digits: () => {
    throw new Error("these experiments do not use digits");
  },
};
const run = async (experiment: AnyExperiment, given: Record<string, unknown> = {}): Promise<Result> =>
  await experiment.run(valuesOf(experiment.parameters, given), context);

/** The findings that do not match theory, as text. */
const wrong = ({ findings }: Result): string[] =>
  findings.filter((f) => !holds(f)).map((f) => `${f.text}: ${f.measured}, not ${showExpectation(f.expected)}`);

const cases: readonly (readonly [AnyExperiment, readonly Record<string, unknown>[]])[] = [
  [
    gradientFlow,
    [
      { curvature: 1, rate: 0.05 },
      { curvature: 20, rate: 0.95, x: 2, y: 2, duration: 5 },
      { curvature: 3, x: 0.2, y: 2, duration: 0.5 },
      { curvature: 12, x: 2, y: 0.2, rate: 0.4 },
    ],
  ],
  [
    momentumEscape,
    [
      { curvature: 0.2, momentum: 0.98, lr: 0.1 },
      { curvature: 4, momentum: 0.98, lr: 0.003 },
      { curvature: 4, momentum: 0.3, lr: 0.1 },
      { curvature: 0.5, momentum: 0.3, lr: 0.01 },
    ],
  ],
  [
    evolution,
    [
      { selection: "directional" },
      { selection: "directional", strength: 0.4, heritability: 0.9, correlation: -0.9, seed: 2 },
      { strength: 0.05, heritability: 0.1, correlation: 0, generations: 40, seed: 3 },
      { strength: 0.4, correlation: 0.9, generations: 10, size: 5000, seed: 4 },
      { size: 500, seed: 5 },
    ],
  ],
  [
    evolutionStrategies,
    [
      { parameters: 2, seed: 2 },
      { parameters: 64, pairs: 50, seed: 3 },
      { sigma: 0.02, pairs: 30, seed: 4 },
      { sigma: 0.3, pairs: 10, seed: 5 },
    ],
  ],
];

describe.each(cases.map(([experiment, others]) => [experiment.name, experiment, others] as const))(
  "%s",
  (name, experiment, others) => {
    test.each([{}, ...others])("with %j all findings match theory", async (given) => {
      expect(wrong(await run(experiment, given))).toEqual([]);
    });

    test("is reproducible, leaves no tensors behind, and plots finite points", async () => {
      const first = await run(experiment);
      const { tensors } = memory();
      const second = await run(experiment);
      expect(memory().tensors).toBe(tensors);
      expect(second).toEqual(first);
      for (const { series } of first.plots)
        for (const { points } of series) {
          expect(points.length).toBeGreaterThan(1);
          expect(points.flat().every(Number.isFinite)).toBe(true);
        }
      expect(name).toMatch(/^[a-z-]+$/);
    });
  },
);

test("momentum-escape: with the defaults the heavy ball is slower per unit of time and faster per step", async () => {
  const ratios = async (given: Record<string, unknown>) => {
    const { findings } = await run(momentumEscape, given);
    const find = (text: RegExp): number => findings.find((f) => text.test(f.text))!.measured;
    return { time: find(/the ball divided by the flow's/), steps: find(/same learning rate/) };
  };
  const usual = await ratios({});
  expect(usual.time).toBeLessThan(1);
  expect(usual.steps).toBeGreaterThan(3);
  expect((await ratios({ curvature: 0.2, momentum: 0.98, lr: 0.1 })).time).toBeGreaterThan(1);
});
