/** Runs TensorFlow.js programs on the CPU backend and on nabla with the same random numbers, and compares what they return. */
import * as tf from "@tensorflow/tfjs-core";
import { manualSeed } from "nabla";
import "nabla/tfjs";
import { expect, vi } from "vitest";

// tfjs-layers calls methods of tensors that "@tensorflow/tfjs" registers, but the Node builds of its parts do not.
const methods = tf.Tensor.prototype as unknown as Record<string, unknown>;
for (const name of ["div", "mean", "reshape", "sign", "square", "stridedSlice", "sub", "sum", "transpose"] as const) {
  const f = tf[name] as (x: tf.Tensor, ...rest: unknown[]) => tf.Tensor;
  methods[name] = function (this: tf.Tensor, ...rest: unknown[]) {
    return f(this, ...rest);
  };
}
methods.flatten = function (this: tf.Tensor) {
  return tf.reshape(this, [-1]);
};

// Start nabla's engine before any program runs, because it draws a seed from Math.random.
manualSeed(1);

/** What a program returns: tensors, numbers and arrays of numbers are compared with a tolerance, other values exactly. */
export type Results = Readonly<Record<string, unknown>>;

/** Numbers in [0, 1) from a linear congruential generator (Numerical Recipes). */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A tensor with elements in [low, high). */
export function uniform(shape: readonly number[], seed = 1, low = -1, high = 1): tf.Tensor {
  const next = generator(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(
    Array.from({ length: size }, () => low + (high - low) * next()),
    [...shape],
  );
}

/** The results, with each tensor replaced by its shape, type and values. */
function read(value: unknown): unknown {
  if (value instanceof tf.Tensor) return { shape: value.shape, dtype: value.dtype, values: [...value.dataSync()] };
  if (Array.isArray(value)) return value.map(read);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, read(one)]));
  return value;
}

interface Run {
  readonly results: Results | { readonly error: string };
  /** The number of tensors that the program did not dispose. */
  readonly left: number;
}

/** Runs a program on a backend. TensorFlow.js seeds its generators with Math.random. */
async function runOn(backend: string, program: () => Results | Promise<Results>): Promise<Run> {
  await tf.setBackend(backend);
  const random = vi.spyOn(Math, "random").mockImplementation(generator(7));
  const before = tf.memory().numTensors;
  try {
    return { results: read(await program()) as Results, left: tf.memory().numTensors - before };
  } catch (error) {
    return { results: { error: (error as Error).message }, left: tf.memory().numTensors - before };
  } finally {
    random.mockRestore();
  }
}

/** Differences between two values, as lines of text. Numbers may differ by `within`, relative to the largest number in their array. */
function differences(own: unknown, cpu: unknown, within: number, path: string): string[] {
  if (typeof own === "number" && typeof cpu === "number") return differences([own], [cpu], within, path);
  if (Array.isArray(own) && Array.isArray(cpu) && own.every((one) => typeof one === "number")) {
    if (own.length !== cpu.length) return [`${path}: ${own.length} numbers, not ${cpu.length}`];
    const largest = Math.max(0, ...(cpu as number[]).filter(Number.isFinite).map(Math.abs));
    return (own as number[]).flatMap((value, i) => {
      const isClose = Object.is(value, cpu[i]) || Math.abs(value - cpu[i]) <= within * largest;
      return isClose
        ? []
        : [`${path}[${i}]: ${value}, not ${cpu[i]} (${Math.abs(value - cpu[i]) / largest} of the largest)`];
    });
  }
  if (typeof own === "object" && typeof cpu === "object" && own && cpu) {
    const names = [...new Set([...Object.keys(own), ...Object.keys(cpu)])];
    const of = (x: object, name: string) => (x as Readonly<Record<string, unknown>>)[name];
    return names.flatMap((name) => differences(of(own, name), of(cpu, name), within, `${path}.${name}`));
  }
  return Object.is(own, cpu) ? [] : [`${path}: ${JSON.stringify(own)}, not ${JSON.stringify(cpu)}`];
}

/**
 * Expects the same results and the same number of undisposed tensors on both backends.
 *
 * `within` is the largest difference, relative to the largest number of an array.
 */
export async function expectSameOnBoth(program: () => Results | Promise<Results>, within: number): Promise<Results> {
  const [own, cpu] = [await runOn("nabla", program), await runOn("cpu", program)];
  if ("error" in cpu.results) expect.fail(`The program fails on the CPU backend: ${cpu.results.error}`);
  expect(differences(own.results, cpu.results, within, "results")).toEqual([]);
  expect(own.left).toBe(cpu.left);
  return own.results as Results;
}
