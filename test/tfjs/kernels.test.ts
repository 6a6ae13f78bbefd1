/** Every kernel returns the CPU backend's result: on all element types, with NaN and ±∞, on empty inputs, and on inputs with six dims. */
import * as tf from "@tensorflow/tfjs-core";
import "nabla/tfjs";
import { describe, expect, test, vi } from "vitest";
import { kernels } from "../../src/tfjs/kernels/index.ts";
import { casesOf } from "./cases.ts";
import { type Case, make } from "./inputs.ts";
import { volumeCases } from "./volumeCases.ts";

interface Output {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly values: readonly number[];
}

/** A kernel's results on a backend, or "an error". */
async function resultsOf(
  backend: string,
  kernel: string,
  { inputs, attrs = {} }: Case,
): Promise<Output[] | "an error"> {
  await tf.setBackend(backend);
  tf.engine().startScope();
  try {
    const tensors = Object.fromEntries(
      Object.entries(inputs).map(([name, { values, shape, dtype }]) => [
        name,
        tf.tensor([...values], [...shape], dtype),
      ]),
    );
    const given =
      /^\d*$/.test(Object.keys(inputs).join("")) && Object.keys(inputs).length ? Object.values(tensors) : tensors;
    const result = tf.engine().runKernel(kernel, given as tf.NamedTensorMap, attrs as tf.NamedAttrMap);
    return (Array.isArray(result) ? result : [result]).map((x) => ({
      shape: x.shape,
      dtype: x.dtype,
      values: [...(x.dataSync() as Float32Array)],
    }));
  } catch {
    return "an error";
  } finally {
    tf.engine().endScope();
  }
}

/**
 * The error that kernels may have, because they round differently: 2⁻²⁰, or 16 units in the last place, relative to the largest element.
 * Errors of exp, log and pow grow with the exponent.
 */
const CLOSE = 2 ** -20;
const LOOSE: Readonly<Record<string, number>> = { Pow: 2 ** -17 };
/** The error of the CPU kernel's formula (Abramowitz and Stegun 7.1.26), which nabla's formula does not have. */
const ABSOLUTE: Readonly<Record<string, number>> = { Erf: 1.5e-7 };
/** Kernels that add terms of both signs. Their rounding errors are relative to the terms, not to the sum. */
const SUMS = /^(Sum|Mean|Cumsum|AddN)$/;

function expectSame(own: Output[] | "an error", cpu: Output[] | "an error", kernel: string, one: Case): void {
  const what = () => `${kernel} ${JSON.stringify(one).slice(0, 600)}`;
  if (own === "an error" || cpu === "an error") {
    expect(own, what()).toEqual(cpu);
    return;
  }
  expect(
    own.map(({ shape, dtype }) => ({ shape, dtype })),
    what(),
  ).toEqual(cpu.map(({ shape, dtype }) => ({ shape, dtype }))); // prettier-ignore
  own.forEach(({ values }, k) => {
    const wanted = cpu[k]!.values;
    const terms = SUMS.test(kernel) ? Object.values(one.inputs).flatMap((input) => input.values) : [];
    const largest = Math.max(0, ...[...wanted, ...terms].filter(Number.isFinite).map(Math.abs));
    const within = (LOOSE[kernel] ?? CLOSE) * largest + (ABSOLUTE[kernel] ?? 0);
    values.forEach((value, i) => {
      const near = Math.abs(value - wanted[i]!) <= within;
      if (!near && !Object.is(value, wanted[i]) && value !== wanted[i])
        expect.fail(`${what()}: element ${i} of output ${k} is ${value}, not ${wanted[i]}`);
    });
  });
}

const isImageGradient = (name: string): boolean =>
  /^(AvgPool|MaxPool)Grad$|^(Conv2D|DepthwiseConv2dNative)Backprop/.test(name);
const names = Object.keys(kernels);

test("every kernel replaces one of the CPU backend's", () => {
  const cpu = tf.getKernelsForBackend("cpu").map(({ kernelName }) => kernelName);
  expect(names.filter((name) => !cpu.includes(name))).toEqual([]);
});

describe("kernels", () => {
  test.each(names.filter((name) => !isImageGradient(name)))("%s", async (kernel) => {
    const run = vi.spyOn(kernels[kernel]!, "run");
    let failed = 0;
    const cases = volumeCases[kernel]?.() ?? casesOf(kernel);
    for (const one of cases) {
      const cpu = await resultsOf("cpu", kernel, one);
      expectSame(await resultsOf("nabla", kernel, one), cpu, kernel, one);
      if (cpu === "an error") failed++;
    }
    // A case compares nothing if nabla leaves it to the CPU kernel, or if both backends reject it.
    expect(run.mock.results.filter(({ type, value }) => type === "return" && value !== null).length).toBeGreaterThan(0);
    expect(failed).toBeLessThan(cases.length / 2);
  });
});

/** A gradient kernel's inputs and attributes, made from those of the kernel and a random dy. */
function gradientCase(kernel: string, { inputs, attrs }: Case, y: Output): Case {
  const dy = make(y.shape);
  const { x, filter } = inputs;
  if (kernel === "AvgPoolGrad") return { inputs: { dy, input: x! }, attrs: attrs! };
  if (kernel === "MaxPoolGrad") {
    const output = { values: y.values, shape: y.shape, dtype: "float32" as const };
    return { inputs: { dy, input: x!, output }, attrs: attrs! };
  }
  return kernel.endsWith("Filter")
    ? { inputs: { x: x!, dy }, attrs: { ...attrs, filterShape: filter!.shape } }
    : { inputs: { dy, filter: filter! }, attrs: { ...attrs, inputShape: x!.shape } };
}

describe("gradients of images", () => {
  test.each(names.filter(isImageGradient))("%s", async (kernel) => {
    const run = vi.spyOn(kernels[kernel]!, "run");
    const forward = kernel.replace(/Grad$|Backprop(Filter|Input)$/, "");
    let compared = 0;
    for (const one of casesOf(forward)) {
      // TensorFlow.js has no gradients for dilated convolutions.
      if (one.inputs.x!.dtype !== "float32" || (one.attrs?.dilations ?? 1) !== 1) continue;
      const y = await resultsOf("cpu", forward, one);
      if (y === "an error") continue;
      const gradient = gradientCase(kernel, one, y[0]!);
      const [own, cpu] = [await resultsOf("nabla", kernel, gradient), await resultsOf("cpu", kernel, gradient)];
      expectSame(own, cpu, kernel, gradient);
      compared++;
    }
    expect(compared).toBeGreaterThan(9);
    expect(run.mock.results.filter(({ value }) => value !== null).length).toBeGreaterThan(3);
  });
});

describe("direct calls of kernels with shapes that core's functions reject", () => {
  const call = (kernel: string, shapes: Record<string, number[]>, attrs: object) => () =>
    tf.tidy(() => {
      const inputs = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, tf.ones(shape)]));
      return tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap);
    });
  test("a filter for a different number of channels throws an error", async () => {
    await tf.setBackend("nabla");
    const conv = { strides: 1, pad: "same", dilations: 1, dataFormat: "NHWC" };
    const message = "the input has 3 channels, but the filter reads 2";
    expect(call("Conv2D", { x: [1, 4, 4, 3], filter: [3, 3, 2, 5] }, conv)).toThrow(message);
    expect(call("DepthwiseConv2dNative", { x: [1, 4, 4, 3], filter: [3, 3, 2, 1] }, conv)).toThrow(message);
    const volume = { strides: [1, 1, 1], pad: "same", dilations: 1, dataFormat: "NDHWC" };
    expect(call("Conv3D", { x: [1, 4, 4, 4, 3], filter: [3, 3, 3, 2, 5] }, volume)).toThrow(message);
  });
  test("pooling an image without a batch dim writes nothing outside the result", async () => {
    await tf.setBackend("nabla");
    const pool = { filterSize: [2, 2], strides: [2, 2], pad: "valid", includeBatchInIndex: false };
    const before = tf.tensor1d([1, 2, 3]);
    for (const kernel of ["MaxPoolWithArgmax", "MaxPool", "AvgPool"])
      try {
        call(kernel, { x: [4, 4, 3] }, pool)();
      } catch {
        // The CPU kernel may reject an image without a batch dim.
      }
    expect([...before.dataSync()]).toEqual([1, 2, 3]);
    for (let size = 1; size < 2000; size += 97) expect(tf.tidy(() => tf.sum(tf.ones([size])).dataSync()[0])).toBe(size);
  });
});
