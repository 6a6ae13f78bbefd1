/** Gradients that nabla computes in its own way: first and second derivatives match the CPU backend's and need fewer kernels. */
import * as tf from "@tensorflow/tfjs-core";
// Registers TensorFlow.js's gradients, which nabla/tfjs replaces.
import "@tensorflow/tfjs-layers";
import "nabla/tfjs";
import { expect, test, vi } from "vitest";

const x = [-3, -0.7, 0, 0.4, 2, 5.9, 6, 7.5];
const weights = [0.3, -1, 2, 0.5, -0.2, 1.5, 0.7, -0.9];
const matrix = (values: readonly number[]): tf.Tensor2D => tf.tensor2d([...values], [2, 4]);

/** The gradient of Σ weights·f(x)² (order 1), or that gradient's derivative along a direction (order 2). */
async function derivatives(backend: string, f: (x: tf.Tensor) => tf.Tensor, order: 1 | 2): Promise<number[]> {
  await tf.setBackend(backend);
  return tf.tidy(() => {
    const first = tf.grad((v) => tf.sum(tf.mul(tf.square(f(v)), matrix(weights))));
    const second = tf.grad((v) => tf.sum(tf.mul(first(v), matrix(weights.map((w, i) => w * w - i / 5)))));
    return [...(order === 1 ? first : second)(matrix(x)).dataSync()];
  });
}

const functions: Record<string, (x: tf.Tensor) => tf.Tensor> = {
  relu: tf.relu,
  relu6: tf.relu6,
  leakyRelu: (v) => tf.leakyRelu(v, 0.3),
  clipByValue: (v) => tf.clipByValue(v, -0.7, 5.9),
  "a product that broadcasts": (v) => tf.mul(v, tf.sum(v, 1, true)),
  "a quotient that broadcasts": (v) => tf.div(v, tf.add(tf.sum(tf.square(v), 0, true), 1)),
  sigmoid: tf.sigmoid,
  tanh: tf.tanh,
  softmax: (v) => tf.softmax(v),
  "a sum of squares": (v) => tf.mul(v, tf.sum(tf.square(v), 1, true)),
  "a mean of squares": (v) => tf.mul(v, tf.mean(tf.square(v), [0, 1])),
  "relu of a square": (v) => tf.relu(tf.sub(tf.square(v), 1)),
  "batch normalization": (v) => {
    const { mean, variance } = tf.moments(v, 0);
    const [offset, scale] = [tf.tensor1d([1, -1, 0, 2]), tf.tensor1d([1, 2, 3, 4])];
    return tf.batchNorm(v, mean as tf.Tensor1D, variance as tf.Tensor1D, offset, scale, 1e-3);
  },
};
/** Functions whose second derivatives TensorFlow.js cannot compute. */
const ONCE = ["relu6", "leakyRelu", "clipByValue"];

const cases = Object.keys(functions).flatMap((name) =>
  ([1, 2] as const).filter((order) => order === 1 || !ONCE.includes(name)).map((order) => [name, order] as const),
);
test.each(cases)("%s: derivatives of order %i equal the CPU backend's", async (name, order) => {
  const [own, cpu] = [
    await derivatives("nabla", functions[name]!, order),
    await derivatives("cpu", functions[name]!, order),
  ];
  const size = Math.max(1, ...cpu.map(Math.abs));
  for (const [i, value] of cpu.entries()) expect(Math.abs(own[i]! - value)).toBeLessThan(2 ** -19 * size);
});

test("batch normalization has the CPU backend's gradients for all of its inputs", async () => {
  const results = [];
  for (const backend of ["nabla", "cpu"]) {
    await tf.setBackend(backend);
    const of = tf.grads((v, mean, variance, offset, scale) =>
      tf.sum(
        tf.mul(
          tf.batchNorm(
            v,
            mean as tf.Tensor1D,
            variance as tf.Tensor1D,
            offset as tf.Tensor1D,
            scale as tf.Tensor1D,
            0.1,
          ),
          matrix(weights),
        ),
      ),
    );
    const vectors = [
      [0.1, 0.2, 0.3, 0.4],
      [1, 2, 3, 4],
      [0, 1, 0, 1],
      [2, -1, 0.5, 1],
    ].map((v) => tf.tensor1d(v));
    results.push(of([matrix(x), ...vectors]).map((g) => [...g.dataSync()]));
  }
  for (const [i, values] of results[1]!.entries())
    for (const [k, value] of values.entries()) expect(results[0]![i]![k]).toBeCloseTo(value, 5);
});

/** f(v) = v³ with a custom gradient function, which uses the saved v. */
const cube = tf.customGrad((v, save) => {
  const input = v as tf.Tensor;
  (save as (tensors: tf.Tensor[]) => void)([input]);
  return {
    value: tf.mul(tf.square(input), input),
    gradFunc: (dy: tf.Tensor, [saved]: tf.Tensor[]) => tf.mul(tf.mul(dy, 3), tf.square(saved!)),
  };
});

test("derivatives of order 1 to 3 of a function that saves its input equal the CPU backend's", async () => {
  for (const order of [1, 2, 3]) {
    let f: (v: tf.Tensor) => tf.Tensor = (v) => tf.mul(cube(v), tf.sigmoid(v));
    for (let i = 0; i < order; i++) f = tf.grad(f);
    const results = [];
    for (const backend of ["nabla", "cpu"]) {
      await tf.setBackend(backend);
      results.push(tf.tidy(() => [...f(matrix(x)).dataSync()]));
    }
    const size = Math.max(...results[1]!.map(Math.abs));
    for (const [i, value] of results[1]!.entries())
      expect(Math.abs(results[0]![i]! - value)).toBeLessThan(2 ** -18 * size);
  }
});

test("saving a tensor for a gradient calls no kernel, except for higher derivatives and profiles", async () => {
  await tf.setBackend("nabla");
  const engine = tf.engine();
  const run = vi.spyOn(engine, "runKernel");
  const identities = (f: () => unknown): number => {
    run.mockClear();
    tf.tidy(() => void f());
    return run.mock.calls.filter(([name]) => name === "Identity").length;
  };
  try {
    const f = (v: tf.Tensor): tf.Tensor => tf.sum(tf.mul(cube(v), tf.sigmoid(v)));
    const first = tf.grad(f);
    expect(identities(() => first(matrix(x)))).toBe(0);
    expect(identities(() => tf.grad((v) => tf.sum(first(v)))(matrix(x)))).toBeGreaterThan(0);
    const { kernelNames } = await tf.profile(() => tf.tidy(() => void first(matrix(x))));
    expect(kernelNames).toContain("Identity");
  } finally {
    run.mockRestore();
  }
});

test("a derivative is one kernel", async () => {
  await tf.setBackend("nabla");
  const kernels = async (f: (x: tf.Tensor) => tf.Tensor): Promise<string[]> => {
    const { kernelNames } = await tf.profile(() => tf.grad(f)(matrix(x)));
    return kernelNames;
  };
  expect(await kernels(tf.sigmoid)).toContain("SigmoidGrad");
  expect(await kernels(tf.relu)).not.toContain("Step");
  expect(await kernels((v) => tf.softmax(v))).toContain("SoftmaxGrad");
});

test("gradients leave no tensors behind", async () => {
  await tf.setBackend("nabla");
  const before = tf.memory();
  for (const f of Object.values(functions)) tf.dispose(tf.tidy(() => tf.grad(f)(matrix(x))));
  const { numTensors, numDataBuffers } = tf.memory();
  expect([numTensors, numDataBuffers]).toEqual([before.numTensors, before.numDataBuffers]);
});
