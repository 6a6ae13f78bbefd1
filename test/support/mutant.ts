/**
 * The entry of a worker that runs experiments with a changed library. For each row of the concept table, it posts the first of the row's
 * findings that fails with default or random parameters. If none of them fails, it posts what else went wrong.
 */
import { parentPort, workerData } from "node:worker_threads";
import { type Finding, holds, valuesOf } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { context } from "./digits.ts";
import { settings } from "./settings.ts";

/** A concept's experiment, and its findings, at least one of which must fail if the library has a mistake. */
export interface Row {
  /** The concept. */
  readonly name: string;
  readonly experiment: string;
  /** The text that each finding starts with. */
  readonly findings: readonly string[];
}
export interface Task {
  readonly rows: readonly Row[];
  /** The number of random settings to run after the defaults, in experiments that are not long. */
  readonly count: number;
  /** Whether to stop as soon as one row has a finding that fails. */
  readonly untilRed?: boolean;
}
export interface Outcome {
  /** The row's name. */
  readonly name: string;
  /** One of the row's findings, if it fails with finite numbers. */
  readonly red?: Finding & { readonly values: object };
  /** If `red` is missing: the error that the experiment threw, or a finding that failed but is not finite or not in the row. */
  readonly other?: string;
}

const isFiniteFinding = ({ measured, expected }: Finding): boolean =>
  [measured, ...Object.values(expected as Record<string, number>)].every(Number.isFinite);

/** Runs an experiment until each of its rows has a finding that fails or, if `untilRed` is true, until one row does. */
async function outcomesOf(name: string, rows: readonly Row[]): Promise<Outcome[]> {
  const experiment = experiments.find((one) => one.name === name)!;
  const outcomes = new Map<string, Outcome>(rows.map((row) => [row.name, { name: row.name }]));
  for (const values of [{}, ...settings(experiment, experiment.long ? 0 : count)]) {
    const waiting = rows.filter((row) => !outcomes.get(row.name)!.red);
    if (untilRed ? waiting.length < rows.length : !waiting.length) break;
    const { wrong, error } = await contradicted(experiment, values);
    for (const row of waiting) {
      const red = wrong.find(
        (finding) => isFiniteFinding(finding) && row.findings.some((start) => finding.text.startsWith(start)),
      );
      const other =
        outcomes.get(row.name)!.other ?? error ?? (wrong[0] && `only notices: ${wrong[0].text}: ${wrong[0].measured}`);
      outcomes.set(row.name, {
        name: row.name,
        ...(red ? { red: { ...red, values } } : other === undefined ? {} : { other }),
      });
    }
  }
  return [...outcomes.values()];
}

/** The findings that do not hold, or the error that the experiment threw. */
async function contradicted(
  experiment: (typeof experiments)[number],
  values: Record<string, string | number>,
): Promise<{ readonly wrong: readonly Finding[]; readonly error?: string }> {
  try {
    const { findings } = await experiment.run(valuesOf(experiment.parameters, values), context);
    return { wrong: findings.filter((finding) => !holds(finding)) };
  } catch (error) {
    return { wrong: [], error: String(error) };
  }
}

const { rows, count, untilRed = false } = workerData as Task;
for (const name of new Set(rows.map(({ experiment }) => experiment))) {
  const outcomes = await outcomesOf(
    name,
    rows.filter((row) => row.experiment === name),
  );
  for (const outcome of outcomes) parentPort!.postMessage(outcome);
  if (untilRed && outcomes.some(({ red }) => red)) break;
}
