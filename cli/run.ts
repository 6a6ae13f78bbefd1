/** Runs an experiment in Node: digits from the file beside the command, progress as a bar on stderr where that is a terminal. */
import { readFile } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import type { AnyExperiment, Context, Result } from "../lab/experiment.ts";
import { readDigits } from "./mnist/packed.ts";

/** @throws whatever the experiment throws; the bar is gone by then */
export async function run(
  experiment: AnyExperiment,
  values: Readonly<Record<string, string | number>>,
): Promise<Result> {
  const bar = experiment.long && process.stderr.isTTY ? await newBar() : undefined;
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
