/**
 * The served networks, and the inputs for one request. A formula computes the weights, so that they are the same on every
 * server.
 */
function values(count, scale, seed) {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return scale * (state / 2 ** 31 - 1);
  });
}
const digit = Array.from(values(784, 1, 7), (v) => Math.round(1000 * Math.max(0, v)) / 1000);

export const networks = {
  mlp: {
    title: "MLP 784-128-10",
    weights: { w1: values(128 * 784, 0.05, 1), b1: values(128, 0.1, 2), w2: values(1280, 0.1, 3), b2: values(10, 0.1, 4) },
    shape: [784],
    sample: digit,
  },
  lstm: {
    title: "LSTM 28→128, 28 steps",
    weights: {
      wx: values(512 * 28, 0.08, 1), wh: values(512 * 128, 0.08, 2), b: values(512, 0.08, 3),
      w2: values(1280, 0.1, 4), b2: values(10, 0.1, 5),
    },
    shape: [28, 28],
    sample: Array.from({ length: 28 }, (_, i) => digit.slice(28 * i, 28 * i + 28)),
  },
}; // biome-ignore format: tables
