/**
 * In-place optimizers compute the same numbers as TensorFlow.js's own optimizers, even if the backend changes between steps, and do not
 * change other tensors that share data.
 */
import * as tf from "@tensorflow/tfjs-core";
import { memory } from "nabla";
import "nabla/tfjs";
import { beforeEach, expect, test } from "vitest";

beforeEach(async () => {
  await tf.setBackend("nabla");
});

const gradients = (step: number): Record<string, tf.Tensor> => ({
  w: tf.tensor2d(
    [1, -2, 0.5, 0].map((v) => v * Math.cos(step)),
    [2, 2],
  ), // prettier-ignore
  b: tf.tensor1d([0.1 * step, -1e-6]),
});

/** The values of the variables after one step on each of the given backends, in this order. */
async function train(make: () => tf.Optimizer, backends: readonly string[]): Promise<number[][]> {
  tf.disposeVariables();
  await tf.setBackend(backends[0]!);
  const variables = [
    tf.variable(tf.tensor2d([1, 2, 3, 4], [2, 2]), true, "w"),
    tf.variable(tf.tensor1d([-1, 1]), true, "b"),
  ];
  const optimizer = make();
  for (const [step, backend] of backends.entries()) {
    await tf.setBackend(backend);
    optimizer.applyGradients(gradients(step + 1) as never);
  }
  expect((optimizer as unknown as { iterations: number }).iterations).toBe(backends.length);
  return variables.map((v) => [...v.dataSync()]);
}

const optimizers: Record<string, () => tf.Optimizer> = {
  sgd: () => tf.train.sgd(0.1),
  momentum: () => tf.train.momentum(0.1, 0.8),
  "Nesterov's momentum": () => tf.train.momentum(0.1, 0.8, true),
  RMSProp: () => tf.train.rmsprop(0.1),
  "RMSProp with a small ε": () => tf.train.rmsprop(0.01, 0.99, 0, 1e-12),
  "RMSProp with momentum": () => tf.train.rmsprop(0.1, 0.8, 0.5, 1e-5),
  "centered RMSProp": () => tf.train.rmsprop(0.1, 0.8, 0.5, 1e-3, true),
  Adagrad: () => tf.train.adagrad(0.1),
  "Adagrad without an initial value": () => tf.train.adagrad(0.1, 0),
  Adam: () => tf.train.adam(0.1, 0.8, 0.99, 1e-5),
};
test.each(Object.entries(optimizers))(
  "%s: the same numbers as TensorFlow.js, even if the backend changes",
  async (_, make) => {
    const own = await train(make, new Array(6).fill("nabla"));
    const mixed = await train(make, ["nabla", "nabla", "cpu", "cpu", "nabla", "cpu"]);
    const cpu = await train(make, new Array(6).fill("cpu"));
    expect(cpu.flat().filter(Number.isFinite).length).toBeGreaterThan(2);
    for (const [i, values] of cpu.entries())
      for (const [k, value] of values.entries())
        for (const { [i]: computed } of [own, mixed]) {
          // If all gradients are 0, TensorFlow.js's centered RMSProp can take the root of a negative number.
          if (Number.isNaN(value)) expect(computed![k]).toBeNaN();
          else expect(Math.abs(computed![k]! - value)).toBeLessThan(2e-6);
        }
  },
);

test("tensors that share a variable's data keep their values", () => {
  tf.disposeVariables();
  const initial = tf.tensor1d([1, 2]);
  const v = tf.variable(initial, true, "v");
  const optimizer = tf.train.adam(0.5);
  const step = () => optimizer.applyGradients({ v: tf.tensor1d([1, 1]) } as never);
  step();
  expect([...initial.dataSync()]).toEqual([1, 2]);
  const before = tf.reshape(v, [2, 1]);
  const values = [...v.dataSync()];
  step();
  expect([...before.dataSync()]).toEqual(values);
  expect([...v.dataSync()]).not.toEqual(values);
  // A read after an in-place update returns the new values.
  step();
  const third = [...v.dataSync()];
  step();
  expect([...v.dataSync()]).not.toEqual(third);
});

test("a convolution sees a filter that was updated in place", () => {
  tf.disposeVariables();
  const v = tf.variable(tf.ones([2, 2, 1, 1]), true, "v");
  const x = tf.ones([1, 2, 2, 1]) as tf.Tensor4D;
  const y = () => tf.tidy(() => tf.conv2d(x, v as unknown as tf.Tensor4D, 1, "valid").dataSync()[0]!);
  const optimizer = tf.train.adam(0.25);
  expect(y()).toBe(4);
  for (let k = 1; k < 4; k++) {
    optimizer.applyGradients({ v: tf.ones([2, 2, 1, 1]) } as never);
    expect(y()).toBeCloseTo(4 - k, 4);
  }
});

test("steps use no more memory, and create no tensors", () => {
  tf.disposeVariables();
  tf.variable(tf.zeros([1000]), true, "v");
  const optimizer = tf.train.adam(0.5);
  const step = () => tf.tidy(() => optimizer.applyGradients({ v: tf.ones([1000]) } as never));
  step();
  step();
  const [bytes, tensors] = [memory().bytes, tf.memory().numTensors];
  for (let i = 0; i < 100; i++) step();
  expect(memory().bytes).toBe(bytes);
  expect(tf.memory().numTensors).toBe(tensors);
});
