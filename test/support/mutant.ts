/**
 * The entry of a worker that runs experiments with a changed library. For each experiment it posts the first finding that does not hold,
 * with the default parameters or with random ones, or what went wrong.
 */
import { parentPort, workerData } from "node:worker_threads";
import { type Finding, holds, valuesOf } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { context } from "./digits.ts";
import { settings } from "./settings.ts";

export interface Task {
  /** The names of the experiments to run. */
  readonly names: readonly string[];
  /** The number of random settings to run after the defaults, in experiments that are not long. */
  readonly count: number;
  /** Whether to stop after the first experiment that notices. */
  readonly untilRed?: boolean;
}
export interface Outcome {
  readonly name: string;
  /** A finding whose numbers are finite and that does not hold. */
  readonly red?: Finding & { readonly values: object };
  /** A finding that is not finite, or an error: neither counts as red. */
  readonly other?: string;
}

const isFiniteFinding = ({ measured, expected }: Finding): boolean =>
  [measured, ...Object.values(expected as Record<string, number>)].every(Number.isFinite);

async function outcomeOf(name: string, count: number): Promise<Outcome> {
  const experiment = experiments.find((one) => one.name === name)!;
  let other: string | undefined;
  for (const values of [{}, ...settings(experiment, experiment.long ? 0 : count)])
    try {
      const { findings } = await experiment.run(valuesOf(experiment.parameters, values), context);
      const wrong = findings.filter((finding) => !holds(finding));
      const red = wrong.find(isFiniteFinding);
      if (red) return { name, red: { ...red, values } };
      if (wrong.length) other ??= `${wrong[0]!.text}: ${wrong[0]!.measured}`;
    } catch (error) {
      other ??= String(error);
    }
  return { name, ...(other === undefined ? {} : { other }) };
}

const { names, count, untilRed = false } = workerData as Task;
for (const name of names) {
  const outcome = await outcomeOf(name, count);
  parentPort!.postMessage(outcome);
  if (untilRed && outcome.red) break;
}
