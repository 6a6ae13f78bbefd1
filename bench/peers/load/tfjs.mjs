/**
 * `node tfjs.mjs mlp|lstm` serves one of the networks in networks.mjs with tfjs-wasm, on one thread and behind Hono, which also
 * provides the router of `nabla serve`, and prints the server's URL.
 */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { serve } from "@hono/node-server";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";
import { Hono } from "hono";
import { networks } from "./networks.mjs";

console.warn = console.info = () => {};
setWasmPaths(`${dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm"))}/`);
setThreadsCount(1);
await tf.setBackend("wasm");
const [name] = process.argv.slice(2);
const { weights, shape } = networks[name];
const tensors = {};
for (const [key, sizes] of Object.entries({ w1: [128, 784], w2: [10, 128], wx: [512, 28], wh: [512, 128] }))
  if (weights[key]) tensors[key] = tf.tensor2d(weights[key], sizes);
for (const key of ["b", "b1", "b2"]) if (weights[key]) tensors[key] = tf.tensor1d(weights[key]);

const dense = (x, w, b) => tf.add(tf.matMul(x, w, false, true), b);
const forwards = {
  mlp: (x) => dense(tf.relu(dense(x, tensors.w1, tensors.b1)), tensors.w2, tensors.b2),
  /** Multiplies the inputs of all steps by the input weights in one product, like nabla. */
  lstm(x) {
    const [batch, steps] = x.shape;
    const all = tf.reshape(dense(tf.reshape(x, [batch * steps, 28]), tensors.wx, tensors.b), [batch, steps, 512]);
    let h = tf.zeros([batch, 128]);
    let c = h;
    for (const part of tf.unstack(all, 1)) {
      const [i, f, g, o] = tf.split(tf.add(part, tf.matMul(h, tensors.wh, false, true)), 4, 1);
      c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
      h = tf.mul(tf.sigmoid(o), tf.tanh(c));
    }
    return dense(h, tensors.w2, tensors.b2);
  },
};

const app = new Hono();
app.post("/", async (context) => {
  const { inputs } = await context.req.json();
  const outputs = tf.tidy(() => forwards[name](tf.tensor(inputs, [inputs.length, ...shape])).arraySync());
  return context.json({ outputs, shape: [outputs.length, 10] });
});
serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) =>
  console.log(`Serving at http://127.0.0.1:${port}`),
);
