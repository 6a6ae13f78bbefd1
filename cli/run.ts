/** Runs an experiment in Node. Reads digits from the file next to the command, and shows a progress bar if stderr is a terminal. */
import { readFile } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import type { AnyExperiment, Context, Result } from "../lab/experiment.ts";
import { readDigits } from "./mnist/packed.ts";

/** Runs the experiment. Removes the progress bar even if the experiment throws. */
export async function run(
  experiment: AnyExperiment,
  values: Readonly<Record<string, string | number>>,
): Promise<Result> {
  const bar = (experiment.long || experiment.isStream) && process.stderr.isTTY ? await newBar() : undefined;
  let digits: ReturnType<Context["digits"]> | undefined;
  const context: Context = {
    async progress(fraction, what = "") {
      bar?.update(fraction, { what });
      await setImmediate();
    },
    digits: () =>
      (digits ??= readFile(new URL("./digits.gz", import.meta.url)).then((file) => readDigits(new Uint8Array(file)))),
  };
  bar?.start(1, 0, { what: "" });
  try {
    return await experiment.run(values, context);
  } finally {
    bar?.stop();
  }
}

async function newBar() {
  const { default: progress } = await import("cli-progress");
  return new progress.SingleBar(
    { format: "{bar} {percentage} %  {what}", clearOnComplete: true, hideCursor: false, stream: process.stderr },
    progress.Presets.shades_classic,
  );
}
