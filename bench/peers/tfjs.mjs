/**
 * tfjs through its public API: on its wasm backend, in plain JavaScript, or on nabla's backend. Data is uploaded before the clock starts.
 */
import * as tf from "@tensorflow/tfjs-core";
// This package registers the gradients. Node cannot resolve the module that contains only the gradients.
import "@tensorflow/tfjs-layers";
import "@tensorflow/tfjs-backend-cpu";
import { getThreadsCount, setThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { programs } from "./programs.mjs";

/**
 * The kinds of networks that this contender can train, in addition to MLPs. The wasm backend cannot compute a convolution's gradient; the
 * cpu backend takes seconds to do so.
 */
export let networks = ["lstm", "gru"];

/** @param backend "wasm" (default), "cpu" for plain JavaScript, or "nabla" */
export async function open(backend = "wasm", threads = 1) {
  if (backend === "wasm") setThreadsCount(threads);
  else if (backend === "cpu") networks = ["cnn"];
  else {
    networks.push("cnn");
    await import("nabla/tfjs");
  }
  await tf.setBackend(backend);
  if (threads > 1 && getThreadsCount() !== threads) throw new Error(`tfjs runs on ${getThreadsCount()} threads`);
  return `tfjs-${backend} ${tf.version_core}`;
}

/** Runs one of the programs that every backend shares. */
export const tfjs = ({ name }) => programs[name]();

/** Runs the program with the same architecture. The program has its own weights, so its results differ from nabla's. */
export const models = ({ name }) => programs[name.replace("infer", "predict")]();

export function matmul({ m, k, n, a, b }) {
  const [left, right] = [tf.tensor2d(a, [m, k]), tf.tensor2d(b, [k, n])];
  return {
    run: () => tf.matMul(left, right).dispose(),
    result: () => tf.tidy(() => tf.matMul(left, right).dataSync()),
    close: () => tf.dispose([left, right]),
  };
}

/** Uses PyTorch's gate order and its two biases. One product projects the inputs of all steps. */
function recurrentLoss({ kind, steps, batch, inputs, hidden, outputs, start }) {
  const x = tf.tensor2d(start.x, [steps * batch, inputs]);
  const target = tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(start.labels, "int32"), outputs), "float32"));
  const gates = kind === "lstm" ? 4 : 3;
  const lstmCell = (xt, g, _h, c) => {
    const [i, f, u, o] = tf.split(tf.add(xt, g), 4, 1);
    const next = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(u)));
    return [tf.mul(tf.sigmoid(o), tf.tanh(next)), next];
  };
  const gruCell = (xt, g, h) => {
    const [[xr, xz, xn], [gr, gz, gn]] = [tf.split(xt, 3, 1), tf.split(g, 3, 1)];
    const n = tf.tanh(tf.add(xn, tf.mul(tf.sigmoid(tf.add(xr, gr)), gn)));
    return [tf.add(n, tf.mul(tf.sigmoid(tf.add(xz, gz)), tf.sub(h, n)))];
  };
  const loss = ([weightIh, weightHh, biasIh, biasHh, w, b]) => {
    const projected = tf.add(tf.matMul(x, weightIh, false, true), biasIh);
    let [h, c] = [tf.zeros([batch, hidden]), tf.zeros([batch, hidden])];
    for (let t = 0; t < steps; t++) {
      const xt = tf.slice(projected, [t * batch, 0], [batch, gates * hidden]);
      const g = tf.add(tf.matMul(h, weightHh, false, true), biasHh);
      [h, c] = kind === "lstm" ? lstmCell(xt, g, h, c) : gruCell(xt, g, h);
    }
    const z = tf.add(tf.matMul(h, w, false, true), b);
    return tf.div(tf.neg(tf.sum(tf.mul(target, tf.logSoftmax(z)))), batch);
  };
  return { loss, data: [x, target] };
}

/** Transposes convolution kernels to tfjs's layout, [height, width, in, out]. */
function convolutionLoss({ batch, size, channels, outputs, start, params }) {
  const x = tf.tensor4d(start.x, [batch, size, size, 1]);
  const target = tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(start.labels, "int32"), outputs), "float32"));
  const loss = ([w1, b1, w2, b2, w3, b3]) => {
    const first = tf.relu(tf.add(tf.conv2d(x, w1, 1, "same"), b1));
    const second = tf.maxPool(tf.relu(tf.add(tf.conv2d(first, w2, 1, "same"), b2)), 2, 2, "valid");
    const z = tf.add(tf.matMul(tf.reshape(second, [batch, (size / 2) ** 2 * channels[1]]), w3, false, true), b3);
    return tf.div(tf.neg(tf.sum(tf.mul(target, tf.logSoftmax(z)))), batch);
  };
  const transposed = params.map(({ shape, values }) => {
    if (shape.length !== 4) return { shape, values };
    const kernel = tf.tidy(() => tf.transpose(tf.tensor(values, shape), [1, 2, 3, 0]).dataSync());
    return { shape: [...shape.slice(1), shape[0]], values: kernel };
  });
  return { loss, data: [x, target], params: transposed };
}

function linearLoss({ kind, batch, inputs, hidden, outputs, start }) {
  const classes = kind === "classes";
  const x = tf.tensor2d(start.x, [batch, inputs]);
  const target = classes
    ? tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(start.labels, "int32"), outputs), "float32"))
    : tf.tensor2d(start.targets, [batch, outputs]);
  const linear = (input, w, b) => tf.add(tf.matMul(input, w, false, true), b);
  const loss = ([w1, b1, w2, b2]) => {
    const z = linear(classes ? tf.relu(linear(x, w1, b1)) : tf.tanh(linear(x, w1, b1)), w2, b2);
    return classes
      ? tf.div(tf.neg(tf.sum(tf.mul(target, tf.logSoftmax(z)))), batch)
      : tf.mean(tf.square(tf.sub(tf.sigmoid(z), target)));
  };
  const shapes = [[hidden, inputs], [hidden], [outputs, hidden], [outputs]];
  const params = ["w1", "b1", "w2", "b2"].map((name, i) => ({ shape: shapes[i], values: start[name] }));
  return { loss, data: [x, target], params };
}

/**
 * Linear layers multiply by weights [out, in] with transposeB. Computes the cross-entropy as −Σ onehot·logSoftmax(z)/batch: the gradient
 * of this formula needs only kernels that the wasm backend has, and the one-hot labels are created before the clock starts.
 */
export function step({ lr, ...task }) {
  const make = { cnn: convolutionLoss, lstm: recurrentLoss, gru: recurrentLoss }[task.kind] ?? linearLoss;
  const { loss, data, params = task.params } = make(task);
  const initial = params.map(({ shape, values }) => tf.tensor(values, shape));
  const parameters = initial.map((value) => tf.variable(value));
  let optimizer;
  return {
    reset() {
      parameters.forEach((p, i) => p.assign(initial[i]));
      optimizer?.dispose();
      optimizer = tf.train.adam(lr, 0.9, 0.999, 1e-8);
    },
    run() {
      const value = optimizer.minimize(() => loss(parameters), true);
      const [number] = value.dataSync();
      value.dispose();
      return number;
    },
    close() {
      optimizer?.dispose();
      tf.dispose([data, initial, parameters]);
    },
  };
}
