/**
 * Models in TensorFlow's graph format, loaded from files by tfjs-converter, produce the CPU backend's results on nabla and leak no
 * tensors.
 */
import { readFileSync } from "node:fs";
import { type GraphModel, loadGraphModel } from "@tensorflow/tfjs-converter";
import * as tf from "@tensorflow/tfjs-core";
import { memory } from "nabla";
import "nabla/tfjs";
import { describe, expect, test } from "vitest";
import { kernels } from "../../src/tfjs/kernels/index.ts";
import { models } from "./models/make.mjs";

const folder = (name: string): string => `test/tfjs/models/${name}`;

/** Reads a model's files, as servers send them. */
const files = (name: string): tf.io.IOHandler => ({
  async load() {
    const { modelTopology, weightsManifest, signature } = JSON.parse(
      readFileSync(`${folder(name)}/model.json`, "utf8"),
    ) as tf.io.ModelJSON;
    const bytes = readFileSync(`${folder(name)}/weights.bin`);
    return {
      modelTopology,
      weightSpecs: weightsManifest.flatMap(({ weights }) => weights),
      weightData: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
      ...(signature && { signature }),
    };
  },
});

/** A tensor with elements in [mean − 1, mean + 1) from a linear congruential generator (Numerical Recipes). */
function uniform(sizes: number[], seed: number, mean = 0): tf.Tensor {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1 + mean;
  };
  return tf.tensor(Array.from({ length: sizes.reduce((a, b) => a * b) }, next), sizes);
}

/**
 * Seeds for inputs. Odd seeds give sequences with a positive sum, and even seeds give a negative sum, so both branches of the model's If
 * run.
 */
const SEEDS = [11, 12, 13];
const inputs: Readonly<Record<string, (seed: number) => tf.NamedTensorMap>> = {
  cnn: (seed) => ({ image: uniform([3, 28, 28, 1], seed) }),
  // Token ids from 1 to 39, with padding at the end of the second text.
  transformer: (seed) => ({
    tokens: tf.tidy(() => {
      const ids = tf.add(tf.floor(tf.mul(tf.add(uniform([2, 12], seed), 1), 19.5)), 1);
      const isToken = tf.tensor2d([new Array(12).fill(1), [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]]);
      return tf.cast(tf.mul(ids, isToken), "int32");
    }),
  }),
  control: (seed) => ({
    sequences: uniform([2, 5, 4], seed, seed % 2 ? 0.4 : -0.4),
    boxes: tf.tensor2d([
      [0, 0, 1, 1],
      [0, 0.1, 1, 1.1],
      [0, -0.1, 1, 0.9],
      [0, 10, 1, 11],
      [0, 10.1, 1, 11.1],
      [0, 100, 1, 101],
    ]), // prettier-ignore
    scores: tf.tensor1d([0.9, 0.75, 0.6, 0.95, 0.5, 0.3]),
  }),
};

/** Output names, in the order of the model's signature. */
const namesOf = (model: GraphModel): string[] => Object.keys((model.modelSignature as { outputs: object }).outputs);

/** Runs a model. A model with control flow can only run asynchronously. */
const run = async (name: string, model: GraphModel, given: tf.NamedTensorMap): Promise<tf.Tensor[]> =>
  (name === "control"
    ? await model.executeAsync(given, namesOf(model))
    : model.execute(given, namesOf(model))) as tf.Tensor[];

interface Output {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly values: readonly number[];
}

/** A model's outputs for three inputs, by name. Expects that each call and the model itself leave no tensors behind. */
async function outputsOf(name: string, backend: string): Promise<Record<string, Output>[]> {
  await tf.setBackend(backend);
  const before = tf.memory();
  const model = await loadGraphModel(files(name));
  const loaded = tf.memory();
  const results: Record<string, Output>[] = [];
  for (const seed of SEEDS) {
    const given = inputs[name]!(seed);
    const outputs = await run(name, model, given);
    results.push(
      Object.fromEntries(
        outputs.map((x, i) => [namesOf(model)[i]!, { shape: x.shape, dtype: x.dtype, values: [...x.dataSync()] }]),
      ),
    );
    tf.dispose([given, outputs]);
    expect(tf.memory(), `${backend}, after a call`).toEqual(loaded);
  }
  model.dispose();
  expect(tf.memory(), `${backend}, after model.dispose()`).toEqual(before);
  return results;
}

/**
 * The largest difference, relative to an output's largest element. Sums have at most 128 terms; nabla rounds them in float32, and the CPU
 * backend in float64. After a dozen layers, results therefore differ by a few units in the last place (2⁻²⁴).
 */
const CLOSE = 2 ** -20;

/** The kernels that are not in src/tfjs/kernels: those that share their input's data, and wrappers of fused kernels. */
const VIEWS = /^(Reshape|Identity|\w+__op)$/;

describe.each(Object.keys(models))("%s", (name) => {
  test("the files are those that make.mjs writes, and take less than 100 KB", () => {
    const written = models[name]!().files();
    for (const [file, bytes] of Object.entries(written)) {
      const isFresh = readFileSync(`${folder(name)}/${file}`).equals(Buffer.from(bytes));
      expect(isFresh, `${file} is out of date. Run: node test/tfjs/models/make.mjs`).toBe(true);
    }
    expect(Object.values(written).reduce((sum, { length }) => sum + length, 0)).toBeLessThan(100_000);
  });

  test("gives the CPU backend's outputs, and disposes its tensors", async () => {
    const own = await outputsOf(name, "nabla");
    const { bytes } = memory();
    expect(await outputsOf(name, "nabla")).toEqual(own);
    expect(memory().bytes, "linear memory after the second run").toBe(bytes);
    const cpu = await outputsOf(name, "cpu");
    own.forEach((outputs, k) => {
      for (const [output, { shape, dtype, values }] of Object.entries(outputs)) {
        const wanted = cpu[k]![output]!;
        expect({ shape, dtype }, output).toEqual({ shape: wanted.shape, dtype: wanted.dtype });
        const within = dtype === "float32" ? CLOSE * Math.max(...wanted.values.map(Math.abs)) : 0;
        const differences = values.map((value, i) => Math.abs(value - wanted.values[i]!));
        expect(
          differences.filter((difference) => !(difference <= within)),
          output,
        ).toEqual([]);
      }
    });
    // The outputs must depend on the inputs.
    const float = Object.keys(own[0]!)[0]!;
    expect(own[0]![float]!.values).not.toEqual(own[1]![float]!.values);
  });

  test("runs on nabla's kernels", async () => {
    await tf.setBackend("nabla");
    const model = await loadGraphModel(files(name));
    const given = inputs[name]!(1);
    const { kernelNames } = await tf.profile(async () => {
      tf.dispose(await run(name, model, given));
      return given;
    });
    expect(kernelNames.filter((kernel) => kernel in kernels).length).toBeGreaterThan(8);
    expect(kernelNames.filter((kernel) => !(kernel in kernels) && !VIEWS.test(kernel))).toEqual([]);
    tf.dispose([given]);
    model.dispose();
  });
});
