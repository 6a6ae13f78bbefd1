/** Experiments on interpretation, penalties and adversaries: every finding matches theory, for several parameters. */
import { memory } from "nabla";
import { describe, expect, test } from "vitest";
import { holds, type Result, showExpectation, valuesOf } from "../../lab/experiment.ts";
import adversaries from "../../lab/experiments/adversaries.ts";
import gradientPenalty from "../../lab/experiments/gradient-penalty.ts";
import saliency from "../../lab/experiments/saliency.ts";
import { context } from "../support/digits.ts";

/** The findings that do not match theory, as text. */
const contradicted = ({ findings }: Result): string[] =>
  findings
    .filter((finding) => !holds(finding))
    .map(({ text, measured, expected }) => `${text}: ${measured}, but ${showExpectation(expected)}`);

const cases = [
  [
    saliency,
    [{}, { digit: 8, steps: 8, noise: 0.05, seed: 2 }, { digit: 999, steps: 200, noise: 0.5, seed: 3 }],
    { pictures: 7, plots: 1 },
  ],
  [
    gradientPenalty,
    [
      {},
      { lambda: 0.003, seed: 2 },
      { lambda: 1, noise: 0.05, seed: 3 },
      { penalty: "slopes above 1", noise: 0.35, seed: 4 },
    ],
    { pictures: undefined, plots: 4 },
  ],
  [
    adversaries,
    [{}, { epsilon: 0.02, steps: 2, seed: 2 }, { epsilon: 0.3, steps: 40, seed: 3 }],
    { pictures: 5, plots: 1 },
  ],
] as const;

describe.each(cases)("$name", (experiment, given, { pictures, plots }) => {
  test.each(given.map((values) => [JSON.stringify(values), values] as const))(
    "with %s all findings match theory and no tensors are left behind",
    async (_, values) => {
      const chosen = valuesOf(experiment.parameters, values);
      const before = memory().tensors;
      const result = await experiment.run(chosen, context);
      expect(contradicted(result)).toEqual([]);
      expect([result.pictures?.length, result.plots.length]).toEqual([pictures, plots]);
      for (const { width, height, values: pixels } of result.pictures ?? []) {
        expect(pixels.length).toBe(width * height);
        expect(pixels.every((v) => Math.abs(v) <= 1.00001)).toBe(true);
      }
      // The library caches a few scalar constants.
      expect(memory().tensors - before).toBeLessThan(40);
      const again = memory();
      await experiment.run(chosen, context);
      expect(memory()).toMatchObject({ tensors: again.tensors, bytes: again.bytes });
    },
  );

  test("the seed determines every number", async () => {
    const values = valuesOf(experiment.parameters, given[1]);
    const [first, second] = [await experiment.run(values, context), await experiment.run(values, context)];
    expect(second).toEqual(first);
  });
});

test("a network with adversarial training reads at least 30% more digits correctly under PGD with ε = 0.1", async () => {
  const { findings } = await adversaries.run(valuesOf(adversaries.parameters), context);
  expect(findings.at(-1)!.measured).toBeGreaterThan(0.3);
});
