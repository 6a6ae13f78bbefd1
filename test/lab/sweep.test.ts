/** A sweep over the parameters of every experiment: no finding contradicts its own theory at random values, at the ends of ranges, or at 0. */
import { describe, expect, test } from "vitest";
import { type AnyExperiment, holds, type Parameter, showExpectation } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { context } from "../support/digits.ts";
import { runs } from "../support/runs.ts";

/** A generator of numbers in [0, 1): a linear congruential generator (Numerical Recipes). */
function uniform(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/** A value of a parameter: in a fifth of the cases an end of its range, and in a tenth 0 if the range contains it. */
function draw(parameter: Parameter, random: () => number): string | number {
  if (parameter.kind === "choice") return parameter.options[Math.floor(random() * parameter.options.length)]!;
  const { min, max, integer, scale } = parameter;
  if (random() < 0.1 && min <= 0 && max >= 0) return 0;
  const share = random() < 0.2 ? Math.round(random()) : random();
  // A power of the range's ends can be outside of it by a rounding error.
  const value = Math.min(max, Math.max(min, scale === "log" ? min * (max / min) ** share : min + share * (max - min)));
  return integer ? Math.round(value) : value;
}

const settings = ({ parameters }: AnyExperiment, count: number): Record<string, string | number>[] => {
  const random = uniform(17);
  return Array.from({ length: count }, () =>
    Object.fromEntries(Object.entries(parameters).map(([name, parameter]) => [name, draw(parameter, random)])),
  );
};

describe.each(experiments.map((experiment) => [experiment.name, experiment] as const))("%s", (_, experiment) => {
  const count = runs(experiment.long ? 1 : 12);
  test(`no finding contradicts theory at ${count} settings`, { timeout: 30_000 * count }, async () => {
    const wrong: string[] = [];
    for (const values of settings(experiment, count)) {
      const { findings } = await experiment.run(values, context);
      for (const finding of findings)
        if (!holds(finding))
          wrong.push(
            `${JSON.stringify(values)}: ${finding.text} is ${finding.measured}, not ${showExpectation(finding.expected)}`,
          );
    }
    expect(wrong).toEqual([]);
  });
});
