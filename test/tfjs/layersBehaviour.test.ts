/** tfjs-layers programs produce the same histories, weights and outputs on nabla as on the CPU backend. */
import * as tf from "@tensorflow/tfjs-core";
import {
  constraints,
  initializers,
  input,
  type LayersModel,
  layers,
  model as makeModel,
  regularizers,
  type Sequential,
  type SymbolicTensor,
  sequential,
} from "@tensorflow/tfjs-layers";
import { describe, expect, test } from "vitest";
import { layerCases } from "./layerCases.ts";
import { expectSameOnBoth, uniform } from "./onBoth.ts";

const BATCH = 4;
/**
 * The largest difference, relative to the largest element. The CPU backend rounds sums in float64, and nabla in float32. After a few layers
 * and three steps, results therefore differ by at most eight units in the last place (2⁻²³).
 */
const CLOSE = 2 ** -20;

describe("each layer agrees with the CPU backend, before and after three steps", () => {
  test.each(layerCases)("$name", async ({ make, shapes, input: values, before, inferenceOnly, direct }) => {
    await expectSameOnBoth(async () => {
      const x = shapes.map((shape, i) =>
        !i && values ? values([BATCH, ...shape]) : uniform([BATCH, ...shape], i + 1),
      );
      if (direct) return { output: make().apply(x[0]!) };
      const inputs = shapes.map((shape) => input({ shape: [...shape] }));
      // Put a layer with weights before the tested one, so that the gradient of the tested layer's input affects the result.
      const first = before?.() ?? (values ? undefined : layers.dense({ units: shapes[0]!.at(-1)!, useBias: false }));
      const given = [first ? (first.apply(inputs[0]!) as SymbolicTensor) : inputs[0]!, ...inputs.slice(1)];
      const outputs = make().apply(given.length > 1 ? given : given[0]!) as SymbolicTensor;
      const model = makeModel({ inputs, outputs });
      const untrained = model.predict(x) as tf.Tensor;
      if (inferenceOnly || !model.trainableWeights.length) return { untrained };
      const y = uniform(untrained.shape, 9);
      model.compile({ optimizer: tf.train.sgd(0.1), loss: "meanSquaredError" });
      const losses: number[] = [];
      for (let i = 0; i < 3; i++) losses.push((await model.trainOnBatch(x, y)) as number);
      return { untrained, losses, trained: model.predict(x), weights: model.getWeights() };
    }, CLOSE);
  });
});

/** Two dense layers with 8 inputs. The options apply to the first layer. */
function twoLayers(
  options: Partial<Parameters<typeof layers.dense>[0]> = {},
  units = 3,
  activation?: string,
): Sequential {
  const last = { units, ...(activation && { activation: activation as "softmax" }) };
  return sequential({
    layers: [layers.dense({ units: 6, inputShape: [8], activation: "tanh", ...options }), layers.dense(last)],
  });
}
const data = (): [tf.Tensor, tf.Tensor] => [uniform([12, 8], 1), uniform([12, 3], 2)];

/** The outcome of training a model: its history, weights and outputs. */
async function fitted(model: LayersModel, x: tf.Tensor, y: tf.Tensor, options = {}) {
  const { history, epoch } = await model.fit(x, y, { epochs: 3, batchSize: 5, verbose: 0, ...options });
  return { history, epoch, weights: model.getWeights(), output: model.predict(x) };
}
/** The outcome of training a model with SGD on the mean squared error. */
function train(model: LayersModel, options = {}) {
  model.compile({ optimizer: tf.train.sgd(0.1), loss: "meanSquaredError" });
  return fitted(model, ...data(), options);
}

const ACTIVATIONS = [
  "elu",
  "selu",
  "relu",
  "relu6",
  "linear",
  "sigmoid",
  "hardSigmoid",
  "softplus",
  "softsign",
  "tanh",
  "softmax",
  "logSoftmax",
  "gelu",
  "gelu_new",
  "mish",
  "swish",
]; // prettier-ignore
test.each(ACTIVATIONS)("activation %s", async (activation) => {
  await expectSameOnBoth(() => train(twoLayers({ activation: activation as "relu" })), CLOSE);
});

const INITIALIZERS: Readonly<Record<string, () => ReturnType<typeof initializers.zeros>>> = {
  Zeros: () => initializers.zeros(),
  Ones: () => initializers.ones(),
  Constant: () => initializers.constant({ value: 0.3 }),
  RandomUniform: () => initializers.randomUniform({ minval: -1, maxval: 2, seed: 3 }),
  RandomNormal: () => initializers.randomNormal({ mean: 0.1, stddev: 0.5 }),
  TruncatedNormal: () => initializers.truncatedNormal({ stddev: 0.5 }),
  Identity: () => initializers.identity({ gain: 2 }),
  VarianceScaling: () => initializers.varianceScaling({ scale: 2, mode: "fanAvg", distribution: "uniform" }),
  GlorotUniform: () => initializers.glorotUniform({}),
  GlorotNormal: () => initializers.glorotNormal({ seed: 4 }),
  HeNormal: () => initializers.heNormal({}),
  HeUniform: () => initializers.heUniform({}),
  LeCunNormal: () => initializers.leCunNormal({}),
  LeCunUniform: () => initializers.leCunUniform({}),
  Orthogonal: () => initializers.orthogonal({ gain: 1.5 }),
};
test.each(Object.keys(INITIALIZERS))("initializer %s", async (name) => {
  await expectSameOnBoth(() => {
    const initializer = INITIALIZERS[name]!();
    return { square: initializer.apply([6, 6]), wide: name === "Identity" ? 0 : initializer.apply([3, 8]) };
  }, CLOSE);
});

const CONSTRAINTS = {
  MaxNorm: () => constraints.maxNorm({ maxValue: 0.9, axis: 0 }),
  UnitNorm: () => constraints.unitNorm({ axis: 0 }),
  NonNeg: () => constraints.nonNeg(),
  MinMaxNorm: () => constraints.minMaxNorm({ minValue: 0.5, maxValue: 0.8, rate: 0.7, axis: 0 }),
} as const;
test.each(Object.entries(CONSTRAINTS))("constraint %s", async (_, make) => {
  await expectSameOnBoth(() => train(twoLayers({ kernelConstraint: make() })), CLOSE);
});

const REGULARIZERS = {
  l1: () => regularizers.l1({ l1: 0.02 }),
  l2: () => regularizers.l2({ l2: 0.03 }),
  l1l2: () => regularizers.l1l2({ l1: 0.01, l2: 0.02 }),
} as const;
test.each(Object.entries(REGULARIZERS))("regularizer %s", async (_, make) => {
  await expectSameOnBoth(() => train(twoLayers({ kernelRegularizer: make(), biasRegularizer: make() })), CLOSE);
});

const OPTIMIZERS: Readonly<Record<string, () => tf.Optimizer>> = {
  SGD: () => tf.train.sgd(0.1),
  Momentum: () => tf.train.momentum(0.05, 0.9, true),
  Adagrad: () => tf.train.adagrad(0.1),
  Adadelta: () => tf.train.adadelta(0.5),
  Adam: () => tf.train.adam(0.02),
  Adamax: () => tf.train.adamax(0.02),
  RMSProp: () => tf.train.rmsprop(0.01, 0.9, 0.5, 1e-7, true),
};
/**
 * The tolerance for optimizers that divide by a running average of the gradient's size: the relative error of a tiny gradient becomes the
 * relative error of a full step.
 */
const NORMALIZED = 2 ** -16;
test.each(Object.keys(OPTIMIZERS))("optimizer %s", async (name) => {
  await expectSameOnBoth(
    async () => {
      const model = twoLayers();
      model.compile({ optimizer: OPTIMIZERS[name]!(), loss: "meanSquaredError" });
      const results = await fitted(model, ...data(), { epochs: 4 });
      // TensorFlow.js cannot save Adamax's state: its getWeights throws an error.
      const state = name === "Adamax" ? [] : await model.optimizer.getWeights();
      return {
        ...results,
        state: state.map(({ tensor }) => tensor),
        names: state.map((one) => one.name.replace(/^.*\//, "")),
      };
    },
    /^(SGD|Momentum)$/.test(name) ? CLOSE : NORMALIZED,
  ); // prettier-ignore
});
test.each(["sgd", "adagrad", "adadelta", "adam", "adamax", "rmsprop"])(
  "a model compiled with the optimizer's name, %s, agrees with the CPU backend",
  async (optimizer) => {
    await expectSameOnBoth(() => {
      const model = twoLayers();
      model.compile({ optimizer, loss: "meanSquaredError" });
      return fitted(model, ...data());
    }, NORMALIZED);
  },
);

const oneHot = (): tf.Tensor => tf.cast(tf.oneHot(tf.cast(uniform([12], 2, 0, 3), "int32"), 3), "float32");
const labels = (): tf.Tensor => tf.floor(uniform([12, 1], 2, 0, 3));
const binary = (): tf.Tensor => tf.cast(tf.greater(uniform([12, 3], 2), 0), "float32");
const signs = (): tf.Tensor => tf.sub(tf.mul(binary(), 2), 1);
const positive = (): tf.Tensor => uniform([12, 3], 2, 0.1, 2);
/** Losses, with targets and the last layer's activation. */
const LOSSES: readonly (readonly [string, () => tf.Tensor, string])[] = [
  ["meanSquaredError", positive, "linear"],
  ["meanAbsoluteError", positive, "linear"],
  ["meanAbsolutePercentageError", positive, "linear"],
  ["meanSquaredLogarithmicError", positive, "softplus"],
  ["squaredHinge", signs, "tanh"],
  ["hinge", signs, "tanh"],
  ["categoricalHinge", oneHot, "softmax"],
  ["logcosh", positive, "linear"],
  ["categoricalCrossentropy", oneHot, "softmax"],
  ["sparseCategoricalCrossentropy", labels, "softmax"],
  ["binaryCrossentropy", binary, "sigmoid"],
  ["kullbackLeiblerDivergence", () => tf.softmax(positive()), "softmax"],
  ["poisson", positive, "softplus"],
  ["cosineProximity", positive, "linear"],
];
test.each(LOSSES)("loss %s", async (loss, targets, activation) => {
  await expectSameOnBoth(async () => {
    const model = twoLayers({}, 3, activation);
    model.compile({ optimizer: tf.train.sgd(0.01), loss });
    return {
      ...(await fitted(model, uniform([12, 8], 1), targets())),
      evaluated: model.evaluate(uniform([12, 8], 1), targets()),
    };
  }, CLOSE);
});

const METRICS: readonly (readonly [string, () => tf.Tensor, string])[] = [
  ["binaryAccuracy", binary, "sigmoid"],
  ["categoricalAccuracy", oneHot, "softmax"],
  ["precision", binary, "sigmoid"],
  ["categoricalCrossentropy", oneHot, "softmax"],
  ["sparseCategoricalCrossentropy", labels, "softmax"],
  ["mse", positive, "linear"],
  ["mae", positive, "linear"],
  ["mape", positive, "linear"],
  ["cosine", positive, "linear"],
];
test.each(METRICS)("metric %s", async (metric, targets, activation) => {
  await expectSameOnBoth(async () => {
    const model = twoLayers({}, 3, activation);
    const loss = metric.startsWith("sparse") ? "sparseCategoricalCrossentropy" : "meanSquaredError";
    model.compile({ optimizer: tf.train.sgd(0.05), loss, metrics: [metric] });
    const results = await fitted(model, uniform([12, 8], 1), targets(), { validationSplit: 0.25 });
    return { ...results, evaluated: model.evaluate(uniform([12, 8], 3), targets(), { batchSize: 5 }) };
  }, CLOSE);
});

test("the tests above cover every class that tfjs-layers registers", () => {
  const registered = Object.keys(tf.serialization.SerializationMap.getMap().classNameMap);
  const used = layerCases.flatMap(({ make, before }) => [make(), ...(before ? [before()] : [])]);
  const cells = ["SimpleRNNCell", "GRUCell", "LSTMCell", "StackedRNNCells", "ConvLSTM2DCell"];
  const covered = new Set([
    ...used.map((layer) => layer.getClassName()),
    ...cells,
    ...ACTIVATIONS,
    ...[INITIALIZERS, CONSTRAINTS, OPTIMIZERS].flatMap((table) => Object.keys(table)),
    ...["L1L2", "InputLayer", "Model", "Functional", "Sequential"],
  ]);
  expect(registered.length).toBeGreaterThan(100);
  expect(registered.filter((name) => !covered.has(name))).toEqual([]);
});
