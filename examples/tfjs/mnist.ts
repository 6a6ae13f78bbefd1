/**
 * `npm run tfjs:mnist`: trains a convolutional network on handwritten digits, with TensorFlow.js's API. Compare the
 * steps per second of `--backend nabla` and `--backend cpu`. TensorFlow.js's WASM backend cannot train convolutions.
 */
import * as tf from "@tensorflow/tfjs-core";
import { layers, sequential } from "@tensorflow/tfjs-layers";
import { Command } from "commander";
import { CLASSES, type Digits, firstDigits, loadMnist, SIDE } from "../../cli/mnist/data.ts";
import { checkPositive, useBackend, withBackend } from "./backend.ts";

const program = withBackend(new Command("tfjs:mnist"))
  .description("Train a convolutional network on MNIST with TensorFlow.js, and test it on 10,000 other digits.")
  .option("-e, --epochs <n>", "passes over the training digits", Number, 2)
  .option("-b, --batch <n>", "digits per training step", Number, 64)
  .option("--lr <rate>", "Adam's learning rate", Number, 2e-3)
  .option("--limit <n>", "train on the first n digits only", Number, 20_000)
  .parse();
const settings = program.opts<{ backend: string; epochs: number; batch: number; lr: number; limit: number }>();
checkPositive(program, settings);
await useBackend(program, settings.backend);

const model = sequential({
  layers: [
    layers.conv2d({ filters: 8, kernelSize: 3, padding: "same", activation: "relu", inputShape: [SIDE, SIDE, 1] }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.conv2d({ filters: 16, kernelSize: 3, padding: "same", activation: "relu" }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.flatten(),
    layers.dropout({ rate: 0.2 }),
    layers.dense({ units: CLASSES, activation: "softmax" }),
  ],
});
model.compile({ optimizer: tf.train.adam(settings.lr), loss: "sparseCategoricalCrossentropy", metrics: ["accuracy"] });

/** The images as [count, 28, 28, 1], with pixels between 0 and 1, and the labels as [count, 1]. */
function tensorsOf({ pixels, labels, count }: Digits): [tf.Tensor4D, tf.Tensor2D] {
  const images = Float32Array.from(pixels, (pixel) => pixel / 255);
  return [tf.tensor4d(images, [count, SIDE, SIDE, 1]), tf.tensor2d(Float32Array.from(labels), [count, 1])];
}

const { train, test } = await loadMnist();
const digits = firstDigits(train, settings.limit);
const steps = Math.ceil(digits.count / settings.batch);
let started = performance.now();
await model.fit(...tensorsOf(digits), {
  epochs: settings.epochs,
  batchSize: settings.batch,
  verbose: 0,
  callbacks: {
    onEpochBegin() {
      started = performance.now();
    },
    onEpochEnd(epoch, logs) {
      const rate = (1000 * steps) / (performance.now() - started);
      const accuracy = (100 * logs!.acc!).toFixed(2);
      console.log(
        `epoch ${epoch + 1}/${settings.epochs}: loss ${logs!.loss!.toFixed(4)}, accuracy ${accuracy}%, ${rate.toFixed(1)} steps/s`,
      );
    },
  },
});
const [, accuracy] = model.evaluate(...tensorsOf(test), { batchSize: 500 }) as tf.Scalar[];
console.log(`Test accuracy ${(100 * accuracy!.dataSync()[0]!).toFixed(2)}% on ${tf.getBackend()}.`);
