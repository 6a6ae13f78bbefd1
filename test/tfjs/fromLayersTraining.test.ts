/**
 * Training modules from fromLayersModel: they reach the same weights as in TensorFlow.js, and their noise layers have the right statistics.
 */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js";
import * as tfl from "@tensorflow/tfjs-layers";
import { compile, losses, manualSeed, ones, optim, type Tensor, tensor, tidy } from "nabla";
import { fromLayersModel } from "nabla/tfjs";
import { beforeEach, describe, expect, test } from "vitest";
import { random, randomize, toNabla, valuesOf } from "./fromLayersCases.ts";

beforeEach(async () => {
  await tf.setBackend("cpu");
});
const { layers } = tfl;

function convnet(): tfl.LayersModel {
  const make = [
    // Omit the bias: before batch normalization, its gradient consists only of rounding errors, which Adam would scale
    // up to full steps.
    layers.conv2d({ filters: 4, kernelSize: 3, padding: "same", useBias: false, inputShape: [8, 8, 2] }),
    layers.batchNormalization({ momentum: 0.9 }),
    layers.activation({ activation: "tanh" }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.depthwiseConv2d({ kernelSize: 3, activation: "softplus" }),
    layers.flatten(),
    layers.dense({ units: 3 }),
  ];
  return tfl.sequential({ layers: make });
}
function sequences(): tfl.LayersModel {
  const x = tfl.input({ shape: [6, 4] });
  const lstm = layers.lstm({ units: 5, returnSequences: true }).apply(x) as tfl.SymbolicTensor;
  const native = layers.lstm({ units: 4, recurrentActivation: "sigmoid" }).apply(lstm) as tfl.SymbolicTensor;
  const gru = layers.gru({ units: 4 }).apply(lstm) as tfl.SymbolicTensor;
  const normed = layers.layerNormalization().apply(layers.add().apply([native, gru])) as tfl.SymbolicTensor;
  return tfl.model({ inputs: x, outputs: layers.dense({ units: 3 }).apply(normed) as tfl.SymbolicTensor });
}

describe("a compiled training step", () => {
  const rules = {
    sgd: [() => tf.train.sgd(0.1), (p: Tensor[]) => new optim.SGD(p, { lr: 0.1 })],
    adam: [() => tf.train.adam(0.01), (p: Tensor[]) => new optim.Adam(p, { lr: 0.01, eps: 1e-7 })],
  } as const;
  test.each([
    ["a convolutional network", "sgd", convnet, [8, 8, 2]],
    ["a convolutional network", "adam", convnet, [8, 8, 2]],
    ["a recurrent network", "sgd", sequences, [6, 4]],
    ["a recurrent network", "adam", sequences, [6, 4]],
  ] as const)(
    "gives %s the weights that trainOnBatch gives it with %s, and is recorded once",
    async (_, rule, build, shape) => {
      const model = build();
      randomize(model);
      const module = fromLayersModel(model);
      const [theirs, ours] = rules[rule];
      model.compile({ optimizer: theirs(), loss: "meanSquaredError" });
      const optimizer = ours(module.parameters());
      let recordings = 0;
      const step = compile((x: Tensor, y: Tensor) => {
        recordings++;
        return optimizer.minimize(() => losses.mse(module.forward(x), y));
      });
      for (let i = 0; i < 12; i++) {
        const [x, y] = [random([5, ...shape], 2 * i), random([5, 3], 2 * i + 1)];
        const loss = (await model.trainOnBatch(x, y)) as number;
        expect(Math.abs(step(toNabla(x), toNabla(y)).item() / loss - 1)).toBeLessThan(2e-5);
      }
      expect(recordings).toBe(1);

      const expected = valuesOf(model);
      module.copyTo(model);
      const actual = valuesOf(model);
      // Rounding errors of about 1e-7 grow by a small factor in each step, and Adam divides them by the gradients' magnitude.
      for (const [i, value] of expected.entries()) expect(Math.abs(actual[i]! - value), `${i}`).toBeLessThan(2e-5);
      const x = random([5, ...shape], 99);
      const y = module.eval().forward(toNabla(x)).data;
      for (const [i, value] of (model.predict(x) as tf.Tensor).dataSync().entries())
        expect(Math.abs(y[i]! - value)).toBeLessThan(1e-5);
    },
  );
});

describe("noise", () => {
  const run = (layer: tfl.layers.Layer, input: Tensor): { y: Float32Array; isSilentInEval: boolean } => {
    manualSeed(1);
    const inputLayer = layers.inputLayer({ inputShape: input.shape.slice(1) as number[] });
    const module = fromLayersModel(tfl.sequential({ layers: [inputLayer, layer] }));
    const y = module.forward(input).data as Float32Array;
    return { y, isSilentInEval: tidy(() => module.eval().forward(input).eq(input).all().item() === 1) };
  };
  const mean = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0) / values.length;
  const N = 10_000;
  test("dropout zeroes elements at its rate and scales the others", () => {
    const { y, isSilentInEval } = run(layers.dropout({ rate: 0.2 }), ones([1, N]));
    expect(isSilentInEval).toBe(true);
    expect(new Set(y)).toEqual(new Set([0, 1.25]));
    expect(Math.abs(mean(y) - 1)).toBeLessThan(0.02); // four standard deviations
    for (const rate of [0, 1])
      expect(run(layers.dropout({ rate }), ones([1, 4])).y).toEqual(new Float32Array([1, 1, 1, 1]));
  });
  test("noiseShape and spatialDropout1d share a mask along a dim", () => {
    for (const layer of [
      layers.dropout({ rate: 0.5, noiseShape: [null as never, 1, null as never] }),
      layers.spatialDropout1d({ rate: 0.5 }),
    ]) {
      const { y } = run(layer, ones([1, 2, N]));
      expect(y.subarray(0, N)).toEqual(y.subarray(N));
      expect(new Set(y)).toEqual(new Set([0, 2]));
    }
  });
  test("Gaussian layers and alphaDropout have their mean and variance", () => {
    const variance = (values: ArrayLike<number>): number => mean(Array.from(values, (v) => v * v)) - mean(values) ** 2;
    const added = run(layers.gaussianNoise({ stddev: 0.5 }), ones([1, N]));
    const scaled = run(layers.gaussianDropout({ rate: 0.2 }), ones([1, N]));
    for (const { y, isSilentInEval } of [added, scaled]) {
      expect(isSilentInEval).toBe(true);
      expect(Math.abs(mean(y) - 1)).toBeLessThan(0.02);
      expect(Math.abs(variance(y) - 0.25)).toBeLessThan(0.02);
    }
    const { y, isSilentInEval } = run(layers.alphaDropout({ rate: 0.3 }), ones([1, N]));
    expect(isSilentInEval).toBe(true);
    expect(new Set(y).size).toBe(2);
    // If inputs have mean 0 and variance 1, alphaDropout preserves both.
    const input = tensor(Array.from({ length: N }, (_, i) => (i % 2 ? 1 : -1))).reshape(1, N);
    const kept = run(layers.alphaDropout({ rate: 0.3 }), input).y;
    expect(Math.abs(mean(kept))).toBeLessThan(0.05);
    expect(Math.abs(variance(kept) - 1)).toBeLessThan(0.05);
  });
  test.each(["lstm", "gru", "simpleRNN"] as const)("%s drops the same elements in every step", (name) => {
    const build = (options: object): tfl.layers.Layer =>
      (layers[name] as (o: object) => tfl.layers.Layer)({ units: 1, returnSequences: true, ...options });
    const input = ones([200, 3, 1]);
    const { y } = run(
      build({ dropout: 0.5, activation: "linear", kernelInitializer: "ones", recurrentInitializer: "zeros" }),
      input,
    );
    const first = Array.from({ length: 200 }, (_, i) => y[3 * i]!);
    // Without recurrent weights, simpleRNN returns the same output at every step of a sequence. In the other layers, the state of a
    // dropped element starts at 0 and stays 0.
    const dropped = first.filter((v) => v === 0).length;
    expect(dropped).toBeGreaterThan(70);
    expect(dropped).toBeLessThan(130);
    for (let i = 0; i < 200; i++) if (first[i] === 0) expect([...y.subarray(3 * i, 3 * i + 3)]).toEqual([0, 0, 0]);

    const recurrentOnly = run(
      build({
        recurrentDropout: 0.5,
        recurrentActivation: "sigmoid",
        kernelInitializer: "ones",
        recurrentInitializer: "ones",
      }),
      input,
    ).y;
    expect(new Set(Array.from({ length: 200 }, (_, i) => recurrentOnly[3 * i])).size).toBe(1);
    expect(new Set(Array.from({ length: 200 }, (_, i) => recurrentOnly[3 * i + 2])).size).toBe(2);
  });
});
