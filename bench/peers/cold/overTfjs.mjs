/** Starts tfjs on its WASM backend or on nabla's backend, and runs the network with tfjs's API. */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { network, report } from "./timed.mjs";

/** @param load imports all of tfjs, or only its core */
export function overTfjs(load) {
  // Suppress the greeting that tfjs prints.
  console.warn = console.info = () => {};
  return report(async () => {
    const tf = await load();
    const wasm = await import("@tensorflow/tfjs-backend-wasm");
    const path = dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm"));
    wasm.setWasmPaths(`${path}/`);
    wasm.setThreadsCount(1);
    await tf.setBackend("wasm");
    await tf.ready();
    return inference(tf);
  });
}

/** @param load imports tfjs or its core, before nabla/tfjs adds its backend */
export function overNabla(load) {
  console.warn = console.info = () => {};
  const extra = {};
  return report(async () => {
    const tf = await load();
    const before = performance.now();
    await import("nabla/tfjs");
    extra.added = performance.now() - before;
    return inference(tf);
  }, extra);
}

/** Creates the network with tfjs's API. @returns a function that runs it */
function inference(tf) {
  const { x, w1, b1, w2, b2 } = network;
  const [v1, c1, v2, c2] = [tf.tensor2d(w1, [128, 784]), tf.tensor1d(b1), tf.tensor2d(w2, [10, 128]), tf.tensor1d(b2)];
  return () =>
    tf.tidy(() => {
      const hidden = tf.relu(tf.add(tf.matMul(tf.tensor2d(x, [1, 784]), v1, false, true), c1));
      return tf.add(tf.matMul(hidden, v2, false, true), c2).dataSync();
    });
}
