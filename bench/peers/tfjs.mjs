/** tfjs-backend-wasm, one thread, through its public API. Data is uploaded before the clock starts. */
import * as tf from "@tensorflow/tfjs-core";
// Imported for its side effect: it registers the gradients, whose own module Node cannot resolve.
import "@tensorflow/tfjs-layers";
import { setThreadsCount } from "@tensorflow/tfjs-backend-wasm";

export async function open() {
  setThreadsCount(1);
  await tf.setBackend("wasm");
  return `tfjs-wasm ${tf.version_core}`;
}

export function matmul({ m, k, n, a, b }) {
  const [left, right] = [tf.tensor2d(a, [m, k]), tf.tensor2d(b, [k, n])];
  return {
    run: () => tf.matMul(left, right).dispose(),
    result: () => tf.tidy(() => tf.matMul(left, right).dataSync()),
    close: () => tf.dispose([left, right]),
  };
}

/**
 * Linear layers multiply by weights [out, in] with transposeB. The cross-entropy is
 * −Σ onehot·logSoftmax(z)/batch: its gradient needs only kernels that the wasm backend has, and the one-hot labels
 * are made before the clock starts.
 */
export function step({ kind, batch, inputs, hidden, outputs, lr, start }) {
  const classes = kind === "classes";
  const x = tf.tensor2d(start.x, [batch, inputs]);
  const target = classes
    ? tf.tidy(() => tf.cast(tf.oneHot(tf.tensor1d(start.labels, "int32"), outputs), "float32"))
    : tf.tensor2d(start.targets, [batch, outputs]);
  const initial = [
    tf.tensor2d(start.w1, [hidden, inputs]),
    tf.tensor1d(start.b1),
    tf.tensor2d(start.w2, [outputs, hidden]),
    tf.tensor1d(start.b2),
  ];
  const parameters = initial.map((value) => tf.variable(value));
  const linear = (input, w, b) => tf.add(tf.matMul(input, w, false, true), b);
  const loss = () => {
    const [w1, b1, w2, b2] = parameters;
    const z = linear(classes ? tf.relu(linear(x, w1, b1)) : tf.tanh(linear(x, w1, b1)), w2, b2);
    return classes
      ? tf.div(tf.neg(tf.sum(tf.mul(target, tf.logSoftmax(z)))), batch)
      : tf.mean(tf.square(tf.sub(tf.sigmoid(z), target)));
  };
  let optimizer;
  return {
    reset() {
      parameters.forEach((p, i) => p.assign(initial[i]));
      optimizer?.dispose();
      optimizer = tf.train.adam(lr, 0.9, 0.999, 1e-8);
    },
    run() {
      const value = optimizer.minimize(loss, true);
      const [number] = value.dataSync();
      value.dispose();
      return number;
    },
    close() {
      optimizer?.dispose();
      tf.dispose([x, target, initial, parameters]);
    },
  };
}
