/**
 * `npm run cnn`: a convolutional network reads handwritten digits, 99 of 100 that it has never seen, after about a minute.
 * Two convolutions with pooling, then a linear layer; a training step is one compiled program. One file, to be read.
 */
import cliProgress from "cli-progress";
import { Command } from "commander";
import { compile, losses, manualSeed, nn, optim, randperm, type Tensor, tidy } from "nabla";
import { CLASSES, type Digits, firstDigits, loadMnist, PIXELS, SIDE } from "./mnist/data.ts";

const program = new Command("cnn")
  .description("Trains a convolutional network on MNIST's 60,000 handwritten digits, and tests it on 10,000 others.")
  .option("-e, --epochs <n>", "how often every digit is seen", Number, 6)
  .option("-b, --batch <n>", "digits in a step", Number, 64)
  .option("--lr <rate>", "Adam's learning rate at first; it falls to a hundredth along a cosine", Number, 2e-3)
  .option("--seed <n>", "of the first weights, dropout and the order of the digits", Number, 1)
  .option("--limit <n>", "train on the first n digits only", Number)
  .parse();
const { epochs, batch, lr, seed, limit } = program.opts<
  Record<"epochs" | "batch" | "lr" | "seed", number> & { limit?: number }
>();
for (const [name, value] of Object.entries({ epochs, batch, lr, seed, limit: limit ?? 1 }))
  if (!(value > 0) || (name !== "lr" && !Number.isInteger(value)))
    program.error(`error: --${name} must be a number above 0.`);

const { train: all, test } = await loadMnist();
const train = limit ? firstDigits(all, limit) : all;

manualSeed(seed);
// Channels are last: [batch, 28, 28, 1] → [batch, 14, 14, 16] → [batch, 7, 7, 32] → [batch, 1568] → [batch, 10].
const model = new nn.Sequential(
  new nn.Conv2d(1, 16, 3, { padding: "same" }),
  new nn.ReLU(),
  new nn.MaxPool2d(2),
  new nn.Conv2d(16, 32, 3, { padding: "same" }),
  new nn.ReLU(),
  new nn.MaxPool2d(2),
  new nn.Flatten(),
  new nn.Dropout(0.3),
  new nn.Linear(7 * 7 * 32, CLASSES),
);
const optimizer = new optim.Adam(model.parameters(), { lr });
const images = (pixels: Tensor): Tensor =>
  pixels
    .to("float32")
    .div(255)
    .reshape([pixels.size / PIXELS, SIDE, SIDE, 1]);

const step = compile((pixels: Tensor, labels: Tensor) =>
  optimizer.minimize(() => losses.crossEntropy(model.forward(images(pixels)), labels)),
);
const read = compile((pixels: Tensor) => model.forward(images(pixels)).argMax(-1));

/** The digits picked, as bytes one behind the other, with their labels. */
function gather({ pixels, labels }: Digits, picks: Int32Array): [Uint8Array, Int32Array] {
  const bytes = new Uint8Array(picks.length * PIXELS);
  picks.forEach((pick, i) => bytes.set(pixels.subarray(pick * PIXELS, (pick + 1) * PIXELS), i * PIXELS));
  return [bytes, picks.map((pick) => labels[pick]!)];
}

/** How many digits are read right, 0 … 1. */
function accuracy(digits: Digits): number {
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
    optimizer.lr = lr * (0.01 + 0.99 * 0.5 * (1 + Math.cos((Math.PI * done) / steps)));
    const loss = step(...gather(train, order.subarray(at, at + batch))).item();
    mean = done ? 0.98 * mean + 0.02 * loss : loss;
    if (done % 16) continue;
    const seconds = (performance.now() - started) / 1000;
    bar.update(done, { loss: mean.toFixed(4), images: Math.round((done * batch) / seconds).toLocaleString("en") });
    await new Promise(setImmediate); // a breath, in which the bar is drawn and Ctrl-C is heard
  }
}
bar.stop();
const seconds = (performance.now() - started) / 1000;
const right = accuracy(test);
console.log(
  `Test accuracy ${(100 * right).toFixed(2)}%  (${Math.round(right * test.count).toLocaleString("en")} of 10,000), ` +
    `after ${epochs} epochs of ${train.count.toLocaleString("en")} digits in ${seconds.toFixed(1)} s`,
);
