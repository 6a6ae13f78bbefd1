/** fromLayersModel: the outputs and gradients of every layer equal TensorFlow.js's. */
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { type LayersModel, layers, sequential } from "@tensorflow/tfjs-layers";
import { compile, type Tensor, tensor, tidy } from "nabla";
import { fromLayersModel } from "nabla/tfjs";
import { beforeEach, describe, expect, test } from "vitest";
import { noise } from "../../src/tfjs/layers/noise.ts";
import { rules } from "../../src/tfjs/layers/rules.ts";
import { type LayerCase, layerCases, randomize } from "./fromLayersCases.ts";

beforeEach(async () => {
  await tf.setBackend("cpu");
});

type Layer = layers.Layer;
type Outputs = tf.Tensor | tf.Tensor[];

/**
 * Both libraries compute in float32 but in different orders, so the error is a few units in the last place of the
 * largest value.
 */
function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  expect(actual.length, what).toBe(expected.length);
  const largest = Math.max(...Array.from(expected, Math.abs), 1);
  for (let i = 0; i < expected.length; i++)
    expect(Math.abs(actual[i]! - expected[i]!), `${what}[${i}]: ${actual[i]} and ${expected[i]}`).toBeLessThan(
      3e-6 * largest,
    );
}

/** The inputs for both libraries. */
function inputsOf({ inputs, classes }: LayerCase): { theirs: tf.Variable[]; ours: Tensor[] } {
  const theirs = inputs.map((shape, i) => {
    const x = classes
      ? tf.cast(tf.floor(tf.randomUniform([...shape], 0, classes, "float32", i + 7)), "int32")
      : tf.randomUniform([...shape], -1, 1, "float32", i + 7);
    return tf.variable(x, !classes);
  });
  const ours = theirs.map((x) => tensor([...x.dataSync()], { dtype: x.dtype as "float32" }).reshape(...x.shape));
  return { theirs, ours };
}
const asList = <T>(value: T | readonly T[]): T[] => [value].flat() as T[];

/** Σ y·cos(i), which gives each element i of an output a different gradient. */
const theirLoss = (outputs: Outputs): tf.Scalar =>
  tf.addN(
    asList<tf.Tensor>(outputs).map((y) => tf.sum(tf.mul(tf.reshape(y, [-1]), tf.cos(tf.range(0, y.size))))),
  ) as tf.Scalar;
const ourLoss = (outputs: readonly Tensor[]): Tensor =>
  outputs
    .map((y) =>
      y
        .flatten(0)
        .mul(tensor(Array.from({ length: y.size }, (_, i) => Math.cos(i))))
        .sum(),
    )
    .reduce((a, b) => a.add(b));

const named = (model: LayersModel): Record<string, tf.Tensor> =>
  Object.fromEntries(model.weights.map((weight) => [weight.name, weight.read()]));

test("every supported class has a case here or a test of its noise, and is listed in the guide", () => {
  const classesIn = (layer: Layer): string[] => {
    const { layers = [], layer: inner } = layer as { layers?: Layer[]; layer?: Layer };
    return [layer.getClassName(), ...layers.flatMap(classesIn), ...(inner ? classesIn(inner) : [])];
  };
  const tested = new Set([...layerCases.flatMap((one) => classesIn(one.model())), ...Object.keys(noise)]);
  const guide = readFileSync("docs/guide/tensorflow.md", "utf8");
  const supported = /\*\*Supported\*\*:.* the layers ([^.]*)\./s.exec(guide)![1]!.split(/,\s+| and /);
  expect(supported.sort()).toEqual(Object.keys(rules).sort());
  for (const name of Object.keys(rules)) expect(tested).toContain(name);
});

test("an embedding takes indices of any type", () => {
  const model = sequential({ layers: [layers.embedding({ inputDim: 4, outputDim: 2, inputLength: 3 })] });
  const x = [[0, 3, 2.9]];
  const expected = (model.predict(tf.tensor2d(x)) as tf.Tensor).arraySync();
  expect(fromLayersModel(model).forward(tensor(x)).toArray()).toEqual(expected);
});

describe.each(layerCases.map((one) => [one.name, one] as const))("%s", (_, one) => {
  test("computes what predict computes", () => {
    const model = one.model();
    randomize(model);
    const { theirs, ours } = inputsOf(one);
    const module = fromLayersModel<Tensor | Tensor[]>(model).eval();
    void tf.setBackend(one.backend ?? "cpu");
    const expected = asList(model.predict(theirs.length > 1 ? theirs : theirs[0]!));
    const actual = asList<Tensor>(module.forward(...ours));
    expect(actual.map(({ shape }) => shape)).toEqual(expected.map(({ shape }) => shape));
    for (const [i, y] of expected.entries()) expectClose(actual[i]!.data, y.dataSync(), `output ${i}`);
    const compiled = asList(compile((...x: Tensor[]) => module.forward(...x) as Tensor[])(...ours));
    for (const [i, y] of compiled.entries()) expectClose(y.data, actual[i]!.data, `compiled output ${i}`);
  });

  if (one.noGradient) return;
  test("has TensorFlow.js's gradients in training, and updates the same statistics", () => {
    const model = one.model();
    randomize(model);
    const { theirs, ours } = inputsOf(one);
    const module = fromLayersModel<Tensor | Tensor[]>(model);
    const variables = [
      ...theirs.filter(({ dtype }) => dtype === "float32"),
      ...model.trainableWeights.map((weight) => weight.read() as tf.Variable),
    ];
    const { value, grads } = tf.variableGrads(
      () => theirLoss(model.apply(theirs.length > 1 ? theirs : theirs[0]!, { training: true }) as Outputs),
      variables,
    );
    const parameters = module.parameters();
    for (const x of ours) x.requiresGrad = x.dtype === "float32";
    const loss = ourLoss(asList<Tensor>(module.forward(...ours)));
    loss.backward();
    expectClose([loss.item()], value.dataSync(), "loss");
    for (const [i, x] of ours.entries())
      if (x.requiresGrad) expectClose(x.grad!.data, grads[theirs[i]!.name]!.dataSync(), `dx ${i}`);

    // Convert gradients and statistics to TensorFlow.js's layout with copyTo.
    const statistics = Object.fromEntries(
      model.nonTrainableWeights.map((weight) => [weight.name, weight.read().dataSync().slice()]),
    );
    for (const p of parameters) tidy(() => void p.detach().copyFrom(p.grad!.clone()));
    module.copyTo(model);
    const trainable = new Set(model.trainableWeights.map(({ name }) => name));
    for (const [name, read] of Object.entries(named(model)))
      expectClose(read.dataSync(), trainable.has(name) ? grads[name]!.dataSync() : statistics[name]!, name);
  });
});
