/** Conversions between TensorFlow.js's tensors and nabla's: they copy nothing, and the tensors have independent lifetimes. */
import * as tf from "@tensorflow/tfjs-core";
import { compile, memory, nn, optim, type Tensor, tensor, tidy } from "nabla";
import { fromTfjs, toTfjs } from "nabla/tfjs";
import { beforeEach, describe, expect, test } from "vitest";

beforeEach(async () => {
  await tf.setBackend("nabla");
});

describe("fromTfjs", () => {
  test("shares the memory, and each side can be disposed without the other", () => {
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const before = memory().bytes;
    const y = fromTfjs(x);
    expect(memory().bytes).toBe(before);
    x.dispose();
    expect(y.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]); // prettier-ignore
    y.dispose();
    expect(memory().bytes).toBeLessThan(before);
  });
  test("keeps int32 and bool; the error for other types says what to do", () => {
    expect(fromTfjs(tf.tensor1d([1, 2], "int32"))).toMatchObject({ dtype: "int32", shape: [2] });
    expect(fromTfjs(tf.tensor1d([true, false], "bool")).toArray()).toEqual([true, false]);
    expect(() => fromTfjs(tf.complex([1], [2]))).toThrow(/no complex64 tensors.*tf\.real/);
    expect(() => fromTfjs(tf.tensor1d(["a"]))).toThrow(/no string tensors/);
    expect(() => fromTfjs([1] as never)).toThrow("fromTfjs: x is not a TensorFlow.js tensor");
  });
  test("the error for a disposed tensor names the tensor", () => {
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2], "int32");
    x.dispose();
    expect(() => fromTfjs(x)).toThrow("fromTfjs: the int32 tensor [2, 2] was disposed");
  });
  test("moves a tensor from another backend", async () => {
    await tf.setBackend("cpu");
    const x = tf.tensor1d([1, 2]);
    expect(fromTfjs(x).toArray()).toEqual([1, 2]);
    expect([...x.dataSync()]).toEqual([1, 2]);
  });
  test("a compiled step accepts tensors from TensorFlow.js", () => {
    const step = compile((x: Tensor) => x.square().sum());
    const values = [tf.tensor1d([1, 2]), tf.tensor1d([3, 4])].map((x) => tidy(() => step(fromTfjs(x)).item()));
    expect(values).toEqual([5, 25]);
  });
});

describe("toTfjs", () => {
  test("copies tensors that may be overwritten later: results of compiled functions, and parameters", () => {
    const twice = compile((x: Tensor) => x.mul(2));
    const first = toTfjs(twice(tensor([1, 2])));
    twice(tensor([5, 6]));
    expect([...first.dataSync()]).toEqual([2, 4]);
    const layer = new nn.Linear(2, 1);
    const optimizer = new optim.SGD(layer.parameters(), { lr: 1 });
    const weight = toTfjs(layer.weight);
    const before = [...weight.dataSync()];
    optimizer.minimize(() => layer.forward(tensor([[1, 2]])).sum());
    expect([...weight.dataSync()]).toEqual(before);
    expect([...(layer.weight.data as Float32Array)]).not.toEqual(before);
  });
  test("shares the memory, and each side can be disposed without the other", () => {
    const before = memory().bytes;
    const x = tensor([[1, 2, 3]]);
    const y = toTfjs(x);
    x.dispose();
    expect([...tf.mul(y, 2).dataSync()]).toEqual([2, 4, 6]);
    tf.disposeVariables();
    y.dispose();
    expect(memory().bytes - before).toBeLessThan(256);
    const numTensors = tf.memory().numTensors;
    toTfjs(tensor([1])).dispose();
    expect(tf.memory().numTensors).toBe(numTensors);
  });
  test("uint8 becomes int32, and other types do not change", () => {
    expect(toTfjs(tensor([1, 255], { dtype: "uint8" }))).toMatchObject({ dtype: "int32" });
    expect([...toTfjs(tensor([1, 255], { dtype: "uint8" })).dataSync()]).toEqual([1, 255]);
    expect(toTfjs(tensor([true, false])).dtype).toBe("bool");
  });
  test("errors for invalid arguments name the fix", () => {
    const x = tensor([1]);
    x.dispose();
    expect(() => toTfjs(x)).toThrow(/toTfjs.*disposed/);
    expect(() => toTfjs(3 as never)).toThrow(/toTfjs: x must be a tensor/);
    const step = compile((a: Tensor) => toTfjs(a.square()).shape.length);
    expect(() => step(tensor([1]))).toThrow(/toTfjs: compile records nabla's ops only/);
  });
});
