/** The backend: registration, moving data between backends, memory, and arrays that callers modify. */
import * as tf from "@tensorflow/tfjs-core";
import "nabla/tfjs";
import { memory } from "nabla";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

beforeEach(async () => {
  await tf.setBackend("nabla");
  tf.engine().startScope();
});
afterEach(() => {
  tf.engine().endScope();
});

describe("registration", () => {
  test("importing the module makes nabla the backend, without waiting", () => {
    expect(tf.getBackend()).toBe("nabla");
    expect(tf.engine().backend.floatPrecision()).toBe(32);
  });
  test("a second copy of nabla is an error, because each has its own memory", async () => {
    vi.resetModules();
    await expect(import("nabla/tfjs")).rejects.toThrow("another copy of nabla is already a backend of TensorFlow.js");
    expect([...tf.relu(tf.tensor1d([1, -2])).dataSync()]).toEqual([1, 0]);
  });
  test("a CPU backend without kernels, which a bundler may have dropped, is an error", async () => {
    vi.resetModules();
    // A copy of TensorFlow.js without backends and kernels.
    const empty = { findBackendFactory: () => undefined, getKernelsForBackend: () => [] };
    vi.doMock("@tensorflow/tfjs-core", async (original) => ({ ...(await original<typeof tf>()), ...empty }));
    await expect(import("nabla/tfjs")).rejects.toThrow(
      "nabla/tfjs: @tensorflow/tfjs-backend-cpu 4.22.0 registered no kernels. If a bundler dropped them, mark the package",
    );
    vi.doUnmock("@tensorflow/tfjs-core");
  });
  test("every kernel of the CPU backend is registered", () => {
    const names = (backend: string) => tf.getKernelsForBackend(backend).map(({ kernelName }) => kernelName);
    expect(names("nabla")).toEqual(expect.arrayContaining(names("cpu")));
    expect(names("nabla").length).toBeGreaterThan(170);
  });
});

describe("data moves between backends", () => {
  test("from nabla to cpu and back", async () => {
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const y = tf.matMul(x, x);
    await tf.setBackend("cpu");
    expect([...tf.add(y, x).dataSync()]).toEqual([8, 12, 18, 26]);
    await tf.setBackend("nabla");
    expect([...tf.add(y, x).dataSync()]).toEqual([8, 12, 18, 26]);
    expect([...y.dataSync()]).toEqual([7, 10, 15, 22]);
  });
  test("from cpu to nabla, for every element type", async () => {
    await tf.setBackend("cpu");
    const all = [
      tf.tensor1d([1.5, -2]),
      tf.tensor1d([1, -2], "int32"),
      tf.tensor1d([true, false], "bool"),
      tf.tensor1d(["a", "é"]),
      tf.complex([1, 2], [3, 4]),
    ];
    await tf.setBackend("nabla");
    const before = tf.engine().backend.numDataIds();
    expect(all.map((x) => [...tf.concat([x, x]).dataSync()])).toEqual([
      [1.5, -2, 1.5, -2],
      [1, -2, 1, -2],
      [1, 0, 1, 0],
      ["a", "é", "a", "é"],
      [1, 3, 2, 4, 1, 3, 2, 4],
    ]);
    tf.engine().endScope();
    expect(tf.engine().backend.numDataIds()).toBe(before);
    tf.engine().startScope();
  });
});

describe("memory", () => {
  test("disposing tensors frees linear memory", () => {
    const before = memory().bytes;
    const x = tf.zeros([1000]);
    const size = memory().bytes - before;
    expect(size).toBeGreaterThanOrEqual(4000);
    const y = tf.relu(x);
    expect(memory().bytes).toBe(before + 2 * size);
    const shared = tf.reshape(y, [10, 100]);
    expect(memory().bytes).toBe(before + 2 * size);
    y.dispose();
    expect([...shared.dataSync()].length).toBe(1000);
    tf.dispose([x, shared]);
    expect(memory().bytes).toBe(before);
  });
  test("tf.memory counts tensors and bytes, and is reliable", () => {
    const before = tf.memory();
    const x = tf.zeros([10]);
    expect(tf.memory()).toMatchObject({ numTensors: before.numTensors + 1, numBytes: before.numBytes + 40 });
    expect(tf.memory().unreliable).toBeFalsy();
    x.dispose();
  });
  test("a tensor that does not fit in memory leaves nothing behind", () => {
    const before = tf.engine().backend.numDataIds();
    const large = { length: 2 ** 31 } as Float32Array;
    expect(() => tf.engine().backend.write(large, [2 ** 31], "float32")).toThrow("out of memory");
    expect(tf.engine().backend.numDataIds()).toBe(before);
  });
  test("a filter's copy in nabla's layout is freed with the filter", () => {
    const run = () =>
      tf.tidy(() => {
        const [x, filter] = [tf.ones([1, 5, 5, 2]) as tf.Tensor4D, tf.ones([3, 3, 2, 4]) as tf.Tensor4D];
        return [...tf.conv2d(x, filter, 1, "valid").dataSync()];
      });
    // The first call allocates the convolution workspace, which stays allocated.
    run();
    const before = memory().bytes;
    expect(run()).toEqual(new Array(36).fill(18));
    expect(memory().bytes).toBe(before);
  });
});

test("resetting the backend frees all data, including data from another backend", async () => {
  const before = memory().bytes;
  await tf.setBackend("cpu");
  const [x, z] = [tf.ones([1000]), tf.complex(tf.ones([1000]), tf.ones([1000]))];
  await tf.setBackend("nabla");
  const kept = [tf.relu(x), tf.real(z), tf.ones([1000])];
  expect(kept.length).toBe(3);
  expect(memory().bytes).toBeGreaterThan(before);
  tf.engine().backend.dispose();
  expect(memory().bytes).toBe(before);
  expect(tf.engine().backend.numDataIds()).toBe(0);
});

describe("arrays", () => {
  test("a tensor does not change with the array it was made from", () => {
    const values = new Float32Array([1, 2, 3]);
    const x = tf.tensor1d(values);
    values.fill(9);
    expect([...x.dataSync()]).toEqual([1, 2, 3]);
  });
  test("a tensor does not change with the array that dataSync returned", () => {
    const x = tf.relu(tf.tensor1d([1, 2, 3]));
    x.dataSync().fill(9);
    expect([...x.dataSync()]).toEqual([1, 2, 3]);
    // unique runs on the CPU backend's kernel.
    tf.unique(x).values.dataSync().fill(9);
    expect([...x.dataSync()]).toEqual([1, 2, 3]);
  });
});

describe("conversions", () => {
  test("float32 to int32 truncates, and wraps outside int32's range", () => {
    const values = [
      1.9,
      -1.9,
      0,
      2 ** 31,
      -(2 ** 31),
      2 ** 32 + 512,
      -(2 ** 31) - 256,
      Number.NaN,
      Infinity,
      -Infinity,
    ];
    expect([...tf.cast(tf.tensor1d(values), "int32").dataSync()]).toEqual([...Int32Array.from(values)]);
    expect([...tf.cast(tf.tensor1d([1.9, -1.9]), "int32").dataSync()]).toEqual([1, -1]);
    expect([...tf.cast(tf.tensor1d([1.9, Number.NaN]), "int32").dataSync()]).toEqual([1, 0]);
  });
  test("int32 to float32 and back keeps integers up to 2²⁴", () => {
    const x = tf.tensor1d([1, -2, 2 ** 24], "int32");
    const y = tf.cast(x, "float32");
    expect([...tf.mul(y, 0.5).dataSync()]).toEqual([0.5, -1, 2 ** 23]);
    expect([...tf.cast(y, "int32").dataSync()]).toEqual([1, -2, 2 ** 24]);
  });
});
