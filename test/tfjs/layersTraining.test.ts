/** Training with tfjs-layers on nabla: fit and its options, callbacks, evaluation, saved models and several inputs, as on the CPU backend. */
import * as tf from "@tensorflow/tfjs-core";
import {
  callbacks,
  input,
  type LayersModel,
  layers,
  loadLayersModel,
  model as makeModel,
  metrics,
  type Sequential,
  type SymbolicTensor,
  sequential,
} from "@tensorflow/tfjs-layers";
import { describe, expect, test } from "vitest";
import { expectSameOnBoth, uniform } from "./onBoth.ts";

/** The largest difference, relative to the largest element: twice that of layersBehaviour.test.ts, because there are twice as many steps. */
const CLOSE = 2 ** -19;

/** A small image classifier with normalization and dropout. */
function classifier(): Sequential {
  const model = sequential({
    layers: [
      layers.conv2d({ filters: 4, kernelSize: 3, padding: "same", inputShape: [6, 6, 2], activation: "relu" }),
      layers.batchNormalization(),
      layers.maxPooling2d({ poolSize: 2 }),
      layers.flatten(),
      layers.dropout({ rate: 0.2 }),
      layers.dense({ units: 3, activation: "softmax" }),
    ],
  });
  model.compile({ optimizer: tf.train.momentum(0.05, 0.8), loss: "categoricalCrossentropy", metrics: ["accuracy"] });
  return model;
}
const images = (): tf.Tensor => uniform([18, 6, 6, 2], 1);
/** An image's class is the index of the third of its values that has the largest mean, so a model can learn the classes. */
const classes = (): tf.Tensor =>
  tf.tidy(() => {
    const parts = tf.mean(tf.reshape(images(), [18, 3, 24]), 2);
    return tf.cast(tf.oneHot(tf.argMax(parts, 1), 3), "float32");
  });

describe("fit gives the CPU backend's results", () => {
  test("with validation data, custom callbacks and shuffled batches", async () => {
    const calls: unknown[] = [];
    await expectSameOnBoth(async () => {
      const model = classifier();
      const seen: unknown[] = [];
      const { history, epoch } = await model.fit(images(), classes(), {
        epochs: 4,
        batchSize: 5,
        validationData: [uniform([7, 6, 6, 2], 2), tf.slice(classes(), 0, 7)],
        verbose: 0,
        callbacks: {
          onTrainBegin: () => void seen.push("begin"),
          onEpochEnd: (index, logs) => void seen.push({ index, ...logs }),
          onBatchEnd: (index, logs) => void seen.push({ index, ...logs }),
          onTrainEnd: () => void seen.push("end"),
        },
      });
      calls.push(seen);
      expect((history.loss as number[])[3]).toBeLessThan((history.loss as number[])[0] as number);
      return { history, epoch, seen, weights: model.getWeights(), output: model.predict(images()) };
    }, CLOSE);
    expect((calls[0] as unknown[]).length).toBe(2 + 4 + 4 * 4);
  });

  test("with a validation split, an initial epoch and without shuffling", async () => {
    await expectSameOnBoth(async () => {
      const model = classifier();
      const options = { epochs: 5, initialEpoch: 2, batchSize: 4, validationSplit: 0.3, shuffle: false, verbose: 0 };
      const { history, epoch } = await model.fit(images(), classes(), options);
      expect(epoch).toEqual([2, 3, 4]);
      return { history, weights: model.getWeights() };
    }, CLOSE);
  });

  test("if it stops early", async () => {
    await expectSameOnBoth(async () => {
      const model = classifier();
      const stop = callbacks.earlyStopping({ monitor: "val_loss", patience: 1, minDelta: 0.5 });
      const options = { epochs: 9, validationSplit: 0.3, verbose: 0, callbacks: stop };
      const { history, epoch } = await model.fit(images(), classes(), options);
      expect(epoch.length).toBeLessThan(9);
      return { history, epoch };
    }, CLOSE);
  });

  test("with class weights and sample weights", async () => {
    await expectSameOnBoth(async () => {
      const model = classifier();
      const { history } = await model.fit(images(), classes(), {
        epochs: 2,
        verbose: 0,
        classWeight: { 0: 1, 1: 2, 2: 0.5 },
      });
      return { history, weights: model.getWeights() };
    }, CLOSE);
  });

  test("from a dataset, evaluated on another one", async () => {
    /** A dataset with the interface of tf.data.Dataset. */
    const dataset = (seed: number) => ({
      size: 3,
      iterator: async () => {
        let i = 0;
        return {
          next: async () =>
            i < 3
              ? { done: false, value: { xs: uniform([6, 6, 6, 2], seed + i++), ys: tf.slice(classes(), 0, 6) } }
              : { done: true, value: null },
        };
      },
    });
    await expectSameOnBoth(async () => {
      const model = classifier();
      const { history } = await model.fitDataset(dataset(3) as never, { epochs: 2, verbose: 0 });
      const evaluated = await model.evaluateDataset(dataset(9) as never, { batches: 2 } as never);
      return { history, evaluated, weights: model.getWeights() };
    }, CLOSE);
  });
});

describe("nabla and the CPU backend agree on", () => {
  test("trainOnBatch, evaluate, predict and predictOnBatch", async () => {
    await expectSameOnBoth(async () => {
      const model = classifier();
      const trained: unknown[] = [];
      for (let i = 0; i < 3; i++) trained.push(await model.trainOnBatch(images(), classes()));
      const evaluated = model.evaluate(images(), classes(), { batchSize: 7 });
      return {
        trained,
        evaluated,
        output: model.predict(images(), { batchSize: 4 }),
        batch: model.predictOnBatch(images()),
      };
    }, CLOSE);
  });

  test("training with frozen layers and with weights that were set", async () => {
    await expectSameOnBoth(async () => {
      const model = classifier();
      model.layers[0]!.trainable = false;
      model.compile({ optimizer: "sgd", loss: "categoricalCrossentropy" });
      const [kernel] = model.layers[0]!.getWeights();
      model.layers[0]!.setWeights([tf.mul(kernel!, 2), tf.fill([4], 0.1)]);
      const before = model.layers[0]!.getWeights()[0]!.dataSync();
      await model.fit(images(), classes(), { epochs: 2, verbose: 0 });
      expect(model.layers[0]!.getWeights()[0]!.dataSync()).toEqual(before);
      return { weights: model.getWeights() };
    }, CLOSE);
  });

  test("a stateful LSTM, which keeps its state until it is reset", async () => {
    await expectSameOnBoth(() => {
      const model = sequential({
        layers: [layers.lstm({ units: 3, stateful: true, batchInputShape: [2, 4, 3] }), layers.dense({ units: 1 })],
      });
      const x = uniform([2, 4, 3], 1);
      const outputs = [model.predict(x), model.predict(x)] as tf.Tensor[];
      model.resetStates();
      outputs.push(model.predict(x) as tf.Tensor);
      const [first, second, third] = outputs.map((output) => [...output.dataSync()]);
      expect(third).toEqual(first);
      expect(second).not.toEqual(first);
      return { outputs };
    }, CLOSE);
  });

  test("a model with two inputs, a shared layer, and two outputs with a loss each", async () => {
    await expectSameOnBoth(async () => {
      const [left, right] = [input({ shape: [5], name: "left" }), input({ shape: [5], name: "right" })];
      const shared = layers.dense({ units: 4, activation: "tanh" });
      const parts = [shared.apply(left), shared.apply(right)] as SymbolicTensor[];
      const joined = layers
        .concatenate()
        .apply([parts[0]!, parts[1]!, layers.multiply().apply(parts) as SymbolicTensor]);
      const value = layers.dense({ units: 1, name: "value" }).apply(joined) as SymbolicTensor;
      const chance = layers.dense({ units: 2, activation: "softmax", name: "chance" }).apply(joined) as SymbolicTensor;
      const model = makeModel({ inputs: [left, right], outputs: [value, chance] });
      model.compile({
        optimizer: tf.train.sgd(0.1),
        loss: { value: "meanSquaredError", chance: "categoricalCrossentropy" },
        metrics: { chance: "accuracy" },
      });
      const targets = [uniform([8, 1], 3), tf.softmax(uniform([8, 2], 4))];
      const { history } = await model.fit([uniform([8, 5], 1), uniform([8, 5], 2)], targets, { epochs: 3, verbose: 0 });
      return { history, weights: model.getWeights(), outputs: model.predict([uniform([8, 5], 1), uniform([8, 5], 2)]) };
    }, CLOSE);
  });

  test("the metrics of two tensors", async () => {
    await expectSameOnBoth(() => {
      const [truth, prediction] = [tf.cast(tf.greater(uniform([9], 1), 0), "float32"), uniform([9], 2, 0, 1)];
      const names = [
        "binaryAccuracy",
        "binaryCrossentropy",
        "cosineProximity",
        "meanAbsoluteError",
        "meanAbsolutePercentageError",
        "meanSquaredError",
        "precision",
        "r2Score",
        "recall",
      ] as const; // prettier-ignore
      return Object.fromEntries(names.map((name) => [name, metrics[name](truth, prediction)]));
    }, CLOSE);
  });
});

describe("saved models", () => {
  /** A model after one epoch of training, and its saved artifacts. */
  async function saved(): Promise<{ model: LayersModel; artifacts: tf.io.ModelArtifacts }> {
    const model = classifier();
    await model.fit(images(), classes(), { epochs: 1, verbose: 0 });
    let artifacts: tf.io.ModelArtifacts | undefined;
    const handler = tf.io.withSaveHandler(async (given) => {
      artifacts = given;
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
    });
    await model.save(handler, { includeOptimizer: true });
    return { model, artifacts: artifacts! };
  }

  test("give the same outputs when loaded, and continue training on both backends in the same way", async () => {
    await expectSameOnBoth(async () => {
      const { model, artifacts } = await saved();
      const loaded = await loadLayersModel(tf.io.fromMemory(artifacts));
      const [own, other] = [model.predict(images()), loaded.predict(images())] as [tf.Tensor, tf.Tensor];
      expect([...other.dataSync()]).toEqual([...own.dataSync()]);
      const { history } = await loaded.fit(images(), classes(), { epochs: 1, verbose: 0 });
      return { history, weights: loaded.getWeights(), bytes: (artifacts.weightData as ArrayBuffer).byteLength };
    }, CLOSE);
  });

  test.each([
    ["nabla", "cpu"],
    ["cpu", "nabla"],
  ])("%s saves what %s loads", async (from, to) => {
    await tf.setBackend(from);
    const { model, artifacts } = await saved();
    const wanted = [...(model.predict(images()) as tf.Tensor).dataSync()];
    await tf.setBackend(to);
    const loaded = await loadLayersModel(tf.io.fromMemory(artifacts));
    const output = [...(loaded.predict(images()) as tf.Tensor).dataSync()];
    expect(Math.max(...output.map((value, i) => Math.abs(value - wanted[i]!)))).toBeLessThan(CLOSE);
    // A model that was created on one backend can train on the other.
    await expect(model.fit(images(), classes(), { epochs: 1, verbose: 0 })).resolves.toHaveProperty("history");
  });
});
