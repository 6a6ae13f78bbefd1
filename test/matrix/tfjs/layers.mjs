/** Trains a layers model for a few steps: a convolution and an LSTM, which TensorFlow.js's WASM backend cannot train. */
export async function fitted(tf) {
  const model = tf.sequential({
    layers: [
      tf.layers.conv2d({ filters: 4, kernelSize: 3, activation: "relu", inputShape: [6, 6, 1] }),
      tf.layers.reshape({ targetShape: [4, 16] }),
      tf.layers.lstm({ units: 8 }),
      tf.layers.dense({ units: 2, activation: "softmax" }),
    ],
  });
  model.compile({ optimizer: tf.train.adam(0.02), loss: "categoricalCrossentropy" });
  const x = tf.randomNormal([32, 6, 6, 1], 0, 1, "float32", 1);
  const y = tf.oneHot(tf.cast(tf.greater(tf.mean(x, [1, 2, 3]), 0), "int32"), 2);
  const { history } = await model.fit(x, y, { epochs: 10, batchSize: 16, verbose: 0 });
  return { learned: history.loss.at(-1) < history.loss[0], backends: Object.keys(tf.engine().registryFactory).sort() };
}
