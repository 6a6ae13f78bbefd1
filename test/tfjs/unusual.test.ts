/** Unusual calls return the CPU backend's results or throw its errors, and never read memory outside of their tensors. */
import * as tf from "@tensorflow/tfjs-core";
// Registers TensorFlow.js's gradients.
import "@tensorflow/tfjs-layers";
import { describe, expect, test } from "vitest";
import { expectSameOnBoth, uniform } from "./onBoth.ts";

const CLOSE = 2 ** -20;
const images = (...shape: number[]) => uniform(shape, 1) as tf.Tensor4D;
const filters = (...shape: number[]) => uniform(shape, 2) as tf.Tensor4D;

describe("nabla caches filters in its own layout, and agrees with the CPU backend for", () => {
  test("one filter in a convolution and in a depthwise convolution", () =>
    expectSameOnBoth(() => {
      const [x, filter] = [images(1, 5, 5, 2), filters(3, 3, 2, 2)];
      const both = [tf.conv2d(x, filter, 1, "same"), tf.depthwiseConv2d(x, filter, 1, "same")];
      return { both, again: tf.conv2d(x, filter, 1, "same") };
    }, CLOSE));
  test("reshaped filters, which share their data", () =>
    expectSameOnBoth(() => {
      const filter = filters(3, 3, 2, 4);
      const results = (
        [
          [3, 3, 2, 4],
          [3, 3, 4, 2],
          [3, 3, 8, 1],
          [9, 1, 2, 4],
        ] as [number, number, number, number][]
      ).map((shape) => tf.conv2d(images(1, 5, 5, shape[2]), tf.reshape(filter, shape), 1, "same"));
      return { results };
    }, CLOSE));
});

describe("windows larger than the image", () => {
  test("give an empty result", () =>
    expectSameOnBoth(() => {
      const [x, volume] = [images(1, 3, 3, 1), uniform([1, 3, 3, 3, 1]) as tf.Tensor5D];
      return {
        convolutions: [
          tf.conv2d(x, filters(4, 4, 1, 2), 1, "valid"),
          tf.depthwiseConv2d(x, filters(4, 4, 1, 2), 1, "valid"),
          tf.conv3d(volume, uniform([4, 4, 4, 1, 2]) as tf.Tensor5D, 1, "valid"),
        ],
        pools: [tf.maxPool(x, 4, 1, "valid"), tf.avgPool(x, 4, 1, "valid")],
        volumes: [tf.maxPool3d(volume, 4, 1, "valid"), tf.avgPool3d(volume, 4, 1, "valid")],
        dilated: [tf.pool(x, [2, 2], "max", "valid", [1, 3], 1), tf.pool(x, [2, 2], "avg", "valid", [1, 3], 1)],
        positions: tf.maxPoolWithArgmax(x, 4, 1, "valid"),
        dilation: tf.dilation2d(x, uniform([4, 4, 1]) as tf.Tensor3D, 1, "valid"),
      };
    }, CLOSE));
  // TensorFlow.js computes a negative size here, for which its CPU kernels return zeros.
  test("by more than a pixel read nothing outside the image", () =>
    expectSameOnBoth(() => {
      const x = images(1, 2, 2, 2);
      return {
        convolution: tf.conv2d(x, filters(4, 4, 2, 3), 1, "valid"),
        depthwise: tf.depthwiseConv2d(x, filters(4, 4, 2, 2), 1, "valid"),
        fused: tf.fused.conv2d({ x, filter: filters(4, 4, 2, 3), strides: 1, pad: "valid", bias: tf.ones([3]) }),
        dilation: tf.dilation2d(x, uniform([4, 4, 2]) as tf.Tensor3D, 1, "valid"),
      };
    }, CLOSE));
});

test.each(["AvgPoolGrad", "MaxPoolGrad"])(
  "%s: a gradient with a different shape is read within its bounds",
  async (kernel) => {
    await expectSameOnBoth(() => {
      const inputs = { dy: images(1, 9, 9, 2), input: images(1, 4, 4, 2), output: images(1, 2, 2, 2) };
      return { dx: tf.engine().runKernel(kernel, inputs, { filterSize: [2, 2], strides: [2, 2], pad: "valid" }) };
    }, CLOSE);
  },
);

describe("fused kernels", () => {
  test("an activation that cannot be fused throws an error", async () => {
    await tf.setBackend("nabla");
    const activation = "tanh" as "relu";
    const message = 'the activation "tanh" cannot be fused. Use linear, relu,';
    expect(() => tf.fused.matMul({ a: tf.ones([2, 3]), b: tf.ones([3, 2]), activation })).toThrow(message);
    const bias = tf.ones([2]);
    expect(() => tf.fused.matMul({ a: tf.ones([2, 3]), b: tf.ones([3, 2]), bias, activation })).toThrow(message);
    const [x, filter] = [images(1, 4, 4, 1), filters(3, 3, 1, 2)];
    expect(() => tf.fused.conv2d({ x, filter, strides: 1, pad: "same", activation })).toThrow(message);
  });
  test("leakyrelu has tf.leakyRelu's slope if none is given", async () => {
    await tf.setBackend("nabla");
    const [x, filter] = [images(1, 4, 4, 1), filters(3, 3, 1, 2)];
    const fused = tf.fused.conv2d({ x, filter, strides: 1, pad: "same", activation: "leakyrelu" });
    expect(fused.dataSync()).toEqual(tf.leakyRelu(tf.conv2d(x, filter, 1, "same")).dataSync());
  });
});

describe("integers", () => {
  test("floorDiv rounds the quotient of the float32 numbers, not its float32 value", () =>
    expectSameOnBoth(
      () => ({
        near: tf.floorDiv([1, 1, 2, 3, 0.3, -1, 7, -7], [0.1, -0.1, 0.2, 0.3, 0.1, 0.1, 2, 2]),
        special: tf.floorDiv([1, -1, 0, NaN, Infinity, 1e10], [0, 0, 0, 1, 1, 3]),
        broadcast: tf.floorDiv(uniform([3, 1]), uniform([4], 2)),
        empty: tf.floorDiv(tf.zeros([0, 2]), 2),
      }),
      0,
    ));
  test("fill wraps modulo 2³² and truncates", () =>
    expectSameOnBoth(() => ({ filled: [3e9, -3e9, 1.5, -1.5, NaN].map((x) => tf.fill([2], x, "int32")) }), 0));
  test("dataSync returns an Int32Array even for results that CPU kernels compute as floats", async () => {
    await tf.setBackend("nabla");
    const x = tf.tensor1d([-1, 2, -(2 ** 31)], "int32");
    const all = [tf.abs(x), tf.oneHot(tf.tensor1d([0, 1], "int32"), 2, 3, -1), tf.cast(tf.ones([2]), "int32")];
    expect(all.map((y) => y.dataSync().constructor)).toEqual(all.map(() => Int32Array));
    expect(await tf.abs(x).data()).toEqual(new Int32Array([1, 2, -(2 ** 31)]));
  });
});

describe("parts and paddings", () => {
  // The CPU kernel returns wrong elements, or throws.
  test.each([
    ["x[1, ::-1]", [1, 4], [2, -6], [1, -1], 1, [14, 13, 12, 11, 10]],
    ["x[::-1, 2]", [1, 2], [-3, 3], [-1, 1], 2, [12, 2]],
    ["x[1, ::2]", [1, 0], [2, 5], [1, 2], 1, [10, 12, 14]],
  ] as const)("%s: a strided slice without one of the dims", async (_, begin, end, strides, mask, wanted) => {
    await tf.setBackend("nabla");
    const x = tf.tensor2d([0, 1, 2, 3, 4, 10, 11, 12, 13, 14], [2, 5]);
    const y = tf.stridedSlice(x, [...begin], [...end], [...strides], 0, 0, 0, 0, mask);
    expect(y.shape).toEqual([wanted.length]);
    expect([...y.dataSync()]).toEqual(wanted);
  });
  test("negative paddings give the CPU backend's results", () =>
    expectSameOnBoth(
      () => ({
        before: tf.pad(tf.tensor1d([1, 2, 3, 4]), [[-1, 0]]),
        both: tf.pad(tf.tensor1d([1, 2, 3, 4]), [[-1, -2]]),
        mixed: tf.pad(
          uniform([3, 4]),
          [
            [1, -1],
            [-1, 1],
          ],
          9,
        ),
        more: tf.pad(tf.tensor1d([1, 2, 3, 4]), [[-5, 6]], 9),
        nothing: tf.pad(
          uniform([2, 3]),
          [
            [-2, 3],
            [1, 0],
          ],
          9,
        ),
        blocks: tf.spaceToBatchND(
          uniform([1, 5, 4, 2]),
          [2, 2],
          [
            [-1, 0],
            [1, -1],
          ],
        ),
      }),
      0,
    ));
  test("a slice that begins before the tensor gives the CPU backend's result", () =>
    expectSameOnBoth(() => ({ slice: tf.slice(tf.tensor1d([1, 2, 3, 4]), -2, 1) }), 0));
  test.each<[string, () => unknown]>([
    ["paddings that crop more than the tensor has", () => tf.pad(tf.ones([4]), [[-5, 0]])],
    [
      "negative crops",
      () =>
        tf.batchToSpaceND(
          tf.ones([4, 2, 2, 1]),
          [2, 2],
          [
            [-1, 0],
            [0, 0],
          ],
        ),
    ],
    ["negative sizes in a split", () => tf.split(tf.ones([5]), [8, -3])],
    ["the softmax of a scalar", () => tf.softmax(tf.scalar(1))],
  ])("%s: an error on both backends", async (_, f) => {
    for (const backend of ["cpu", "nabla"]) {
      await tf.setBackend(backend);
      expect(() => tf.tidy(() => void f())).toThrow();
    }
  });
});

describe("gradients", () => {
  test.each<[string, (x: tf.Tensor) => tf.Tensor]>([
    ["sum", (x) => tf.sum(x)],
    ["sum along the first dim", (x) => tf.sum(tf.square(tf.sum(x, 0)))],
    ["mean along the first dim", (x) => tf.sum(tf.mean(x, 0))],
  ])("%s of an empty tensor", async (_, f) => {
    await expectSameOnBoth(() => ({ dx: [tf.grad(f)(tf.zeros([0])), tf.grad(f)(tf.zeros([0, 3]))] }), 0);
  });
  test.each([
    ["sgd", () => tf.train.sgd(0.1)],
    ["momentum", () => tf.train.momentum(0.1, 0.9)],
    ["adam", () => tf.train.adam(0.1)],
  ] as const)("%s broadcasts a gradient, as on the CPU backend", async (name, make) => {
    await expectSameOnBoth(() => {
      const [x, y] = [tf.variable(uniform([2, 3])), tf.variable(uniform([3]))];
      const optimizer = make();
      for (let i = 0; i < 3; i++) optimizer.applyGradients({ [x.name]: tf.scalar(2), [y.name]: tf.ones([3]) } as never);
      const values = [x.clone(), y.clone()];
      tf.dispose([x, y]);
      optimizer.dispose();
      return { name, values };
    }, CLOSE);
  });
});
