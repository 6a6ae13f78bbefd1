/** Code shared by the digit classifiers in examples/: options, batches, epochs with a progress bar, and the test. */
import cliProgress from "cli-progress";
import { Command } from "commander";
import { type Compiled, type nn, type optim, randperm, type Tensor, tidy } from "nabla";
import { type Digits, firstDigits, loadMnist, PIXELS } from "./data.ts";

export interface Options {
  readonly epochs: number;
  readonly batch: number;
  readonly lr: number;
  readonly seed: number;
  readonly limit?: number;
}

/** The validated command-line options. */
export function options(name: string, what: string, { epochs, lr }: { epochs: number; lr: number }): Options {
  const program = new Command(name)
    .description(`Train ${what} on MNIST's 60,000 training digits, and test it on 10,000 others.`)
    .option("-e, --epochs <n>", "passes over the training digits", Number, epochs)
    .option("-b, --batch <n>", "digits per training step", Number, 64)
    .option(
      "--lr <rate>",
      "Adam's initial learning rate, which falls along a cosine to a hundredth of its value",
      Number,
      lr,
    )
    .option("--seed <n>", "seed for the initial weights, dropout and the order of digits", Number, 1)
    .option("--limit <n>", "train on the first n digits only", Number)
    .parse();
  const given = program.opts<Options>();
  for (const key of ["epochs", "batch", "lr", "seed", "limit"] as const) {
    const value = given[key] ?? 1;
    if (!(value > 0) || (key !== "lr" && !Number.isInteger(value)))
      program.error(`error: --${key} must be ${key === "lr" ? "a number" : "an integer"} above 0, got ${value}.`);
  }
  return given;
}

/** The pixels and labels of the selected digits. */
function gather({ pixels, labels }: Digits, picks: Int32Array): [Uint8Array, Int32Array] {
  const bytes = new Uint8Array(picks.length * PIXELS);
  picks.forEach((pick, i) => bytes.set(pixels.subarray(pick * PIXELS, (pick + 1) * PIXELS), i * PIXELS));
  return [bytes, picks.map((pick) => labels[pick]!)];
}

/**
 * A model, and its compiled functions, which take uint8 pixels: a training step, and a prediction of the digit in each
 * image.
 */
export interface Classifier {
  readonly model: nn.Module;
  readonly optimizer: optim.Optimizer;
  readonly step: Compiled<[pixels: Tensor, labels: Tensor], Tensor>;
  readonly read: Compiled<[pixels: Tensor], Tensor>;
}

/** The fraction of digits that are read correctly, 0 … 1. */
function accuracy({ model, read }: Classifier, digits: Digits): number {
  model.eval();
  let hits = 0;
  for (let at = 0; at < digits.count; at += 500) {
    const picks = Int32Array.from({ length: Math.min(500, digits.count - at) }, (_, i) => at + i);
    const [bytes, labels] = gather(digits, picks);
    read(bytes).data.forEach((digit, i) => {
      if (digit === labels[i]) hits++;
    });
  }
  model.train();
  return hits / digits.count;
}

/** Trains and tests a classifier, and prints its accuracy. */
export async function trainAndTest(classifier: Classifier, { epochs, batch, lr, limit }: Options): Promise<void> {
  const { train: all, test } = await loadMnist();
  const train = limit ? firstDigits(all, limit) : all;
  const steps = epochs * Math.ceil(train.count / batch);
  const bar = new cliProgress.SingleBar({
    format: "{bar} {percentage}%  loss {loss}  {images} images/s  {eta_formatted} left",
    clearOnComplete: true,
    noTTYOutput: false,
  });
  const started = performance.now();
  bar.start(steps, 0, { loss: "", images: "" });
  let done = 0;
  let mean = 0;
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const order = tidy(() => randperm(train.count).data) as Int32Array;
    for (let at = 0; at < train.count; at += batch, done++) {
      classifier.optimizer.lr = lr * (0.01 + 0.99 * 0.5 * (1 + Math.cos((Math.PI * done) / steps)));
      const loss = classifier.step(...gather(train, order.subarray(at, at + batch))).item();
      mean = done ? 0.98 * mean + 0.02 * loss : loss;
      if (done % 16) continue;
      const seconds = (performance.now() - started) / 1000;
      bar.update(done, { loss: mean.toFixed(4), images: Math.round((done * batch) / seconds).toLocaleString("en") });
      await new Promise(setImmediate); // lets the event loop draw the bar and handle Ctrl-C
    }
  }
  bar.stop();
  const seconds = (performance.now() - started) / 1000;
  const right = accuracy(classifier, test);
  console.log(
    `Test accuracy ${(100 * right).toFixed(2)}%  (${Math.round(right * test.count).toLocaleString("en")} of 10,000), ` +
      `after ${epochs} epochs of ${train.count.toLocaleString("en")} digits in ${seconds.toFixed(1)} s`,
  );
}
