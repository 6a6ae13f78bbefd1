/**
 * Runs an exercise's checks on a reader's code. Call `check` in a worker; `supervise` ends the worker if the code runs
 * too long.
 */
import { manualSeed, tidy } from "nabla";
import type { Code, Exercise } from "./exercise.ts";
import { describeError, LoadError, load } from "./load.ts";
import { Hint } from "./values.ts";

export interface Outcome {
  readonly title: string;
  readonly passed: boolean;
  /** The reason for a failure. */
  readonly message?: string;
}

/** Runs all checks. Reports each outcome immediately, so that it is known even if a later check never finishes. */
export async function check(
  exercise: Exercise,
  source: string,
  report: (outcome: Outcome) => void,
  seed = 1,
): Promise<void> {
  const names = exercise.exports.map((name) => `\`${name}\``).join(" and ");
  const title = `The code loads and exports ${names}.`;
  let code: Code;
  try {
    code = (await load(source, exercise)) as Code;
    report({ title, passed: true });
  } catch (error) {
    if (!(error instanceof LoadError)) throw error;
    return report({ title, passed: false, message: error.message });
  }
  for (const one of exercise.checks) {
    manualSeed(seed);
    try {
      tidy(() => void one.run(code));
      report({ title: one.title, passed: true });
    } catch (error) {
      const message = error instanceof Hint ? error.message : describeError(error);
      report({ title: one.title, passed: false, message });
    }
  }
}
