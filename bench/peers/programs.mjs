/** Programs in TensorFlow.js's API. They are the same on each backend, because seeds determine the data and the initial weights. */
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import { uniform } from "../../dist/bench/values.js";

const { dense, conv2d, depthwiseConv2d, batchNormalization, reLU, add, globalAveragePooling2d } = layers.layers;

/** Returns a function that creates an initializer with a new seed on each call. The seeds are 1, 2, 3 and so on. */
function seeded() {
  let seed = 1;
  return () => layers.initializers.glorotUniform({ seed: seed++ });
}
const init = () => {
  const next = seeded();
  return () => ({ kernelInitializer: next() });
};

const oneHot = (count, classes) =>
  tf.tidy(() => {
    const labels = Int32Array.from(uniform(count, 0, classes, 2), Math.floor);
    return tf.cast(tf.oneHot(tf.tensor1d(labels, "int32"), classes), "float32");
  });

/** Trains with model.fit: each run is one call with `steps` batches. */
function fit(model, x, y, { batch, epochs = 1, loss = "categoricalCrossentropy", lr = 1e-3 }) {
  const initial = model.getWeights().map((weight) => weight.clone());
  model.compile({ optimizer: tf.train.adam(lr), loss });
  return {
    steps: (x.shape[0] / batch) * epochs,
    reset() {
      model.setWeights(initial);
      model.compile({ optimizer: tf.train.adam(lr), loss });
    },
    async run() {
      const { history } = await model.fit(x, y, { batchSize: batch, epochs, shuffle: false, verbose: 0 });
      return history.loss.at(-1);
    },
    close: () => tf.dispose([x, y, initial, model.getWeights()]),
  };
}

function denseFit({ batch, hidden, steps = 10 }) {
  const options = init();
  const model = layers.sequential();
  model.add(dense({ units: hidden, activation: "relu", inputShape: [784], ...options() }));
  model.add(dense({ units: 10, activation: "softmax", ...options() }));
  const x = tf.tensor2d(uniform(steps * batch * 784, 0, 1, 1), [steps * batch, 784]);
  return fit(model, x, oneHot(steps * batch, 10), { batch });
}

function lstmFit() {
  const next = seeded();
  const model = layers.sequential();
  const lstm = { units: 128, inputShape: [28, 28], kernelInitializer: next(), recurrentInitializer: next() };
  model.add(layers.layers.lstm({ ...lstm, recurrentActivation: "sigmoid" }));
  model.add(dense({ units: 10, activation: "softmax", kernelInitializer: next() }));
  const x = tf.tensor3d(uniform(2 * 32 * 28 * 28, 0, 1, 1), [64, 28, 28]);
  return fit(model, x, oneHot(64, 10), { batch: 32 });
}

function cnnFit() {
  const options = init();
  const model = layers.sequential();
  const conv = { kernelSize: 3, padding: "same", activation: "relu" };
  model.add(conv2d({ filters: 8, inputShape: [28, 28, 1], ...conv, ...options() }));
  model.add(conv2d({ filters: 16, ...conv, ...options() }));
  model.add(layers.layers.maxPooling2d({ poolSize: 2 }));
  model.add(layers.layers.flatten());
  model.add(dense({ units: 10, activation: "softmax", ...options() }));
  const x = tf.tensor4d(uniform(32 * 28 * 28, 0, 1, 1), [32, 28, 28, 1]);
  return fit(model, x, oneHot(32, 10), { batch: 32 });
}

const xorData = () => [tf.tensor2d([0, 0, 0, 1, 1, 0, 1, 1], [4, 2]), tf.tensor2d([0, 1, 1, 0], [4, 1])];

function xorFit() {
  const options = init();
  const model = layers.sequential();
  model.add(dense({ units: 8, activation: "tanh", inputShape: [2], ...options() }));
  model.add(dense({ units: 1, activation: "sigmoid", ...options() }));
  return fit(model, ...xorData(), { batch: 4, epochs: 20, loss: "meanSquaredError" });
}

function xorMinimize() {
  const [x, y] = xorData();
  const shapes = [[2, 8], [8], [8, 1], [1]];
  const initial = shapes.map((shape, i) => tf.tensor(uniform(shape[0] * (shape[1] ?? 1), -0.7, 0.7, i), shape));
  const variables = initial.map((value) => tf.variable(value));
  const [w1, b1, w2, b2] = variables;
  const model = () => tf.sigmoid(tf.add(tf.matMul(tf.tanh(tf.add(tf.matMul(x, w1), b1)), w2), b2));
  let optimizer;
  return {
    reset() {
      variables.forEach((variable, i) => variable.assign(initial[i]));
      optimizer?.dispose();
      optimizer = tf.train.adam(1e-3);
    },
    run() {
      const loss = optimizer.minimize(() => tf.mean(tf.square(tf.sub(model(), y))), true);
      const [value] = loss.dataSync();
      loss.dispose();
      return value;
    },
    close: () => tf.dispose([x, y, initial, variables]),
  };
}

/** Predicts the class of one image of 224 × 224 × 3. */
function predict(model) {
  const x = tf.tensor4d(uniform(224 * 224 * 3, -1, 1, 1), [1, 224, 224, 3]);
  const answer = () => {
    const y = model.predict(x);
    const values = y.dataSync();
    y.dispose();
    return values;
  };
  return { run: answer, result: answer, close: () => tf.dispose([x, model.getWeights()]) };
}

/** Sandler et al. 2018, table 2: expansion, channels, repetitions and stride of each group of inverted residuals. */
const MOBILE = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
];

function mobileNet() {
  const options = init();
  const next = seeded();
  const norm = (x, isActive) => {
    const y = batchNormalization({}).apply(x);
    return isActive ? reLU({ maxValue: 6 }).apply(y) : y;
  };
  const conv = (x, filters, kernelSize, strides, isActive = true) =>
    norm(conv2d({ filters, kernelSize, strides, padding: "same", useBias: false, ...options() }).apply(x), isActive);
  const input = layers.input({ shape: [224, 224, 3] });
  let x = conv(input, 32, 3, 2);
  for (const [expansion, channels, count, stride] of MOBILE)
    for (let i = 0; i < count; i++) {
      const [strides, before] = [i ? 1 : stride, x.shape.at(-1)];
      const wide = expansion > 1 ? conv(x, expansion * before, 1, 1) : x;
      const depthwise = { kernelSize: 3, strides, padding: "same", useBias: false, depthwiseInitializer: next() };
      const y = conv(norm(depthwiseConv2d(depthwise).apply(wide), true), channels, 1, 1, false);
      x = strides === 1 && before === channels ? add().apply([x, y]) : y;
    }
  const pooled = globalAveragePooling2d({}).apply(conv(x, 1280, 1, 1));
  const outputs = dense({ units: 1000, activation: "softmax", ...options() }).apply(pooled);
  return predict(layers.model({ inputs: input, outputs }));
}

/** ResNet-18 (He et al. 2016): two basic blocks for each of four widths. */
function resNet() {
  const options = init();
  const conv = (x, filters, kernelSize, strides) => {
    const config = { filters, kernelSize, strides, padding: "same", useBias: false, ...options() };
    return batchNormalization({}).apply(conv2d(config).apply(x));
  };
  const relu = (x) => reLU().apply(x);
  const input = layers.input({ shape: [224, 224, 3] });
  const pool = layers.layers.maxPooling2d({ poolSize: 3, strides: 2, padding: "same" });
  let x = pool.apply(relu(conv(input, 64, 7, 2)));
  for (const [group, filters] of [64, 128, 256, 512].entries())
    for (let i = 0; i < 2; i++) {
      const stride = group && !i ? 2 : 1;
      const y = conv(relu(conv(x, filters, 3, stride)), filters, 3, 1);
      x = relu(add().apply([y, stride > 1 ? conv(x, filters, 1, stride) : x]));
    }
  const outputs = dense({ units: 1000, activation: "softmax", ...options() }).apply(
    globalAveragePooling2d({}).apply(x),
  );
  return predict(layers.model({ inputs: input, outputs }));
}

/** The programs, keyed by name. */
export const programs = {
  "fit: dense 784-512-10 B=128": () => denseFit({ batch: 128, hidden: 512 }),
  "fit: dense 784-128-10 B=32": () => denseFit({ batch: 32, hidden: 128 }),
  "fit: LSTM 28→128 T=28 B=32": lstmFit,
  "fit: CNN 8-16 28×28 B=32": cnnFit,
  "fit: XOR 2-8-1 B=4": xorFit,
  "minimize: XOR 2-8-1 B=4": xorMinimize,
  "predict: MobileNetV2 224×224 B=1": mobileNet,
  "predict: ResNet-18 224×224 B=1": resNet,
};
