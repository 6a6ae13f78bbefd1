/** A sweep over the parameters of every experiment: no finding contradicts its own theory at random values, at the ends of ranges, or at 0. */
import { describe, expect, test } from "vitest";
import { holds, showExpectation } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { context } from "../support/digits.ts";
import { runs } from "../support/runs.ts";
import { settings } from "../support/settings.ts";

describe.each(experiments.map((experiment) => [experiment.name, experiment] as const))("%s", (_, experiment) => {
  // In `npm run test:deep`, the experiments try 20,000 settings in total. Experiments that train get fewer, because each setting takes
  // longer.
  const deep = experiment.isStream ? 400 : 800;
  const count = experiment.long ? runs(1) : runs(1) > 1 ? deep : 12;
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
