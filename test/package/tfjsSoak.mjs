// Trains a TensorFlow.js model on nabla with model.fit. Prints the memory in use after a tenth of the steps and at the end, and the losses of
// the first and the last epoch, as JSON. Run with --expose-gc: node --expose-gc test/package/tfjsSoak.mjs MODEL STEPS
import * as tf from "@tensorflow/tfjs-core";
import { layers, sequential } from "@tensorflow/tfjs-layers";
import { memory } from "nabla";
import "nabla/tfjs";

const [kind, steps] = [process.argv[2], Number(process.argv[3])];
const BATCH = 16;
/** The number of batches in an epoch. A tenth of the steps must be a multiple of this number. */
const BATCHES = 20;

const models = {
  dense: () => [
    layers.dense({ units: 32, activation: "relu", inputShape: [12] }),
    layers.dropout({ rate: 0.2 }),
    layers.dense({ units: 3, activation: "softmax" }),
  ],
  cnn: () => [
    layers.reshape({ targetShape: [6, 6, 2], inputShape: [72] }),
    layers.conv2d({ filters: 4, kernelSize: 3, padding: "same", activation: "relu" }),
    layers.batchNormalization(),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.conv2d({ filters: 6, kernelSize: 3, activation: "relu" }),
    layers.flatten(),
    layers.dropout({ rate: 0.2 }),
    layers.dense({ units: 3, activation: "softmax" }),
  ],
  // Do not use the default recurrent initializer, which calls a tensor method that the Node build of tfjs-core lacks.
  lstm: () => [
    layers.reshape({ targetShape: [6, 2], inputShape: [12] }),
    layers.lstm({ units: 8, recurrentInitializer: "glorotUniform" }),
    layers.dense({ units: 3, activation: "softmax" }),
  ],
};
const model = sequential({ layers: models[kind]() });
model.compile({ optimizer: tf.train.adam(1e-3), loss: "categoricalCrossentropy", metrics: ["accuracy"] });

const features = model.inputs[0].shape[1];
const x = tf.randomNormal([BATCH * BATCHES, features], 0, 1, "float32", 1);
const y = tf.tidy(() => tf.oneHot(tf.argMax(tf.slice(x, [0, 0], [-1, 3]), 1), 3));

function memoryInUse() {
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, external } = process.memoryUsage();
  const { numTensors, numDataBuffers, numBytes } = tf.memory();
  const { tensors, bytes, capacity } = memory();
  return { exact: { numTensors, numDataBuffers, numBytes, tensors, bytes, capacity }, heapUsed, external };
}

/** Each call trains, evaluates and predicts, like an application that trains from time to time. */
async function train(epochs) {
  const { history } = await model.fit(x, y, { epochs, batchSize: BATCH, verbose: 0 });
  tf.dispose(model.evaluate(x, y));
  tf.dispose(model.predict(x));
  return history.loss.at(-1);
}

const epochs = steps / BATCHES;
const first = await train(epochs / 10);
const early = memoryInUse();
let last;
for (let i = 1; i < 10; i++) last = await train(epochs / 10);
console.log(JSON.stringify({ backend: tf.getBackend(), early, late: memoryInUse(), first, last }));
