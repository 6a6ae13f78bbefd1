/** The weights of modules from fromLayersModel, copied in both directions, and errors. */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js";
import * as tfl from "@tensorflow/tfjs-layers";
import { losses, memory, ones, optim, type Tensor, tensor } from "nabla";
import { fromLayersModel } from "nabla/tfjs";
import { beforeEach, describe, expect, test } from "vitest";
import { random, randomize, toNabla, valuesOf } from "./fromLayersCases.ts";

beforeEach(async () => {
  await tf.setBackend("cpu");
});
const { layers } = tfl;

const dense = (options: object = {}): tfl.layers.Layer => layers.dense({ units: 3, inputShape: [4], ...options });
const chain = (...make: tfl.layers.Layer[]): tfl.Sequential => tfl.sequential({ layers: make });
const x = (): Tensor => tensor([[1, -2, 3, 0.5]]);

describe("weights", () => {
  test("belong to the module: changing them does not change the model", () => {
    const model = chain(dense());
    const module = fromLayersModel(model);
    const before = valuesOf(model);
    for (const p of module.parameters()) p.copyFrom(new Array(p.size).fill(9));
    expect(valuesOf(model)).toEqual(before);
  });
  test.each(["cpu", "nabla"])(
    "copyTo and copyFrom are inverses of each other, for every layout, with the %s backend",
    async (backend) => {
      await tf.setBackend(backend);
      const build = (): tfl.LayersModel => {
        const image = tfl.input({ shape: [6, 6, 2] });
        let y = layers.conv2d({ filters: 4, kernelSize: [3, 2] }).apply(image) as tfl.SymbolicTensor;
        y = layers.depthwiseConv2d({ kernelSize: 2, depthMultiplier: 3 }).apply(y) as tfl.SymbolicTensor;
        y = layers.separableConv2d({ filters: 2, kernelSize: 2, depthMultiplier: 2 }).apply(y) as tfl.SymbolicTensor;
        y = layers.conv2dTranspose({ filters: 4, kernelSize: [2, 1] }).apply(y) as tfl.SymbolicTensor;
        y = layers.batchNormalization().apply(y) as tfl.SymbolicTensor;
        y = layers.reshape({ targetShape: [-1, 4] }).apply(y) as tfl.SymbolicTensor;
        y = layers.conv1d({ filters: 4, kernelSize: 2 }).apply(y) as tfl.SymbolicTensor;
        const cells = layers.bidirectional({ layer: layers.gru({ units: 3 }) as tfl.RNN, mergeMode: "concat" });
        return tfl.model({ inputs: image, outputs: cells.apply(y) as tfl.SymbolicTensor });
      };
      const [model, copy] = [build(), build()];
      randomize(model, 1);
      randomize(copy, 2);
      const module = fromLayersModel(model);
      module.copyTo(copy);
      expect(valuesOf(copy)).toEqual(valuesOf(model));
      randomize(copy, 3);
      const image = random([2, 6, 6, 2], 1);
      const y = module.copyFrom(copy).eval().forward(toNabla(image)).data;
      for (const [i, value] of (copy.predict(image) as tf.Tensor).dataSync().entries())
        expect(Math.abs(y[i]! - value)).toBeLessThan(1e-5);
      const state = fromLayersModel(copy).stateDict();
      for (const [name, value] of Object.entries(module.stateDict()))
        if (!/layer.*\d/.test(name)) expect(value.data).toEqual(state[name]!.data);
    },
  );
  test("a trained model gives the same predictions after it is saved and loaded", async () => {
    const model = chain(dense({ activation: "relu" }), dense({ units: 2 }));
    let saved: tf.io.ModelArtifacts | undefined;
    const module = fromLayersModel(model);
    const optimizer = new optim.SGD(module.parameters(), { lr: 0.1 });
    optimizer.minimize(() => losses.mse(module.forward(x()), ones([1, 2]))).dispose();
    module.copyTo(model);
    await model.save(
      tf.io.withSaveHandler(async (artifacts) => {
        saved = artifacts;
        return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
      }),
    );
    const loaded = await tfl.loadLayersModel(tf.io.fromMemory(saved!));
    expect(fromLayersModel(loaded).forward(x()).toArray()).toEqual(module.forward(x()).toArray());
  });
  test("that TensorFlow.js does not train are frozen, including those in nested models and wrappers", () => {
    const inner = chain(dense({ units: 4 }), layers.batchNormalization());
    inner.trainable = false;
    const cells = layers.bidirectional({ layer: layers.lstm({ units: 2 }) as tfl.RNN });
    const model = chain(
      dense({ units: 4, trainable: false }),
      inner as tfl.layers.Layer,
      layers.reshape({ targetShape: [2, 2] }),
      cells,
      layers.dense({ units: 3 }),
    );
    cells.trainable = false;
    const module = fromLayersModel(model);
    expect(module.parameters().length).toBe(2 + 4 + 6 + 2);
    expect(module.buffers().length).toBe(2);
    const trained = module.parameters().filter((p) => p.requiresGrad);
    expect(trained.map(({ shape }) => shape)).toEqual([[3, 4], [3]]);
    const frozen = module.parameters().filter((p) => !p.requiresGrad);
    const before = frozen.map((p) => [...p.data]);
    const optimizer = new optim.Adam(module.parameters());
    optimizer
      .minimize(() =>
        module
          .forward(
            x()
              .broadcastTo([2, 4])
              .mul(tensor([[1], [2]])),
          )
          .square()
          .mean(),
      )
      .dispose();
    expect(frozen.map((p) => [...p.data])).toEqual(before);
    // In training, TensorFlow.js normalizes with the batch's statistics and updates the moving averages, even if the layer is frozen.
    expect(module.buffers()[0]!.data).not.toEqual(new Float32Array(4));
  });
  test("of a shared layer are one parameter", () => {
    const shared = layers.dense({ units: 4 });
    const [a, b] = [tfl.input({ shape: [4] }), tfl.input({ shape: [4] })];
    const outputs = layers.add().apply([shared.apply(a), shared.apply(b)] as tfl.SymbolicTensor[]);
    const module = fromLayersModel(tfl.model({ inputs: [a, b], outputs: outputs as tfl.SymbolicTensor }));
    expect(module.parameters().length).toBe(2);
    expect(module.forward(x(), x()).shape).toEqual([1, 4]);
  });
  test("are freed by dispose, and copies leave nothing behind", async () => {
    await tf.setBackend("cpu");
    const model = chain(dense(), layers.batchNormalization());
    const before = memory().tensors;
    const theirs = tf.memory().numTensors;
    const module = fromLayersModel(model);
    expect(memory().tensors).toBe(before + 6);
    module.copyTo(model);
    module.copyFrom(model);
    expect(memory().tensors).toBe(before + 6);
    module.dispose();
    expect(memory().tensors).toBe(before);
    expect(tf.memory().numTensors).toBe(theirs);
  });
  test("can be found by the names of their layers", () => {
    const module = fromLayersModel(chain(dense({ name: "hidden" }), dense({ name: "output", useBias: false })));
    expect(Object.keys(module.stateDict())).toEqual([
      "layers.hidden.weight",
      "layers.hidden.bias",
      "layers.output.weight",
    ]);
    expect(module.layers.hidden!.weights.bias).toBe(module.stateDict()["layers.hidden.bias"]);
    expect(String(module)).toBe(
      "LayersModule(\n  (layers.hidden): LayerModule(Dense, weight=[3, 4], bias=[3])\n  (layers.output): LayerModule(Dense, weight=[3, 3])\n)",
    );
  });
});

test("regularization is the penalty that fit adds to the loss, with its gradient", () => {
  const { l1, l2, l1l2 } = tfl.regularizers;
  const shared = dense({ units: 4, kernelRegularizer: l1({ l1: 0.1 }), biasRegularizer: l2({ l2: 0.2 }) });
  const inner = chain(dense({ units: 4, kernelRegularizer: l1l2({ l1: 0.3, l2: 0.4 }) }));
  const input = tfl.input({ shape: [4] });
  let y = shared.apply(inner.apply(shared.apply(input))) as tfl.SymbolicTensor;
  y = layers
    .batchNormalization({ gammaRegularizer: l2() as never, betaRegularizer: l1() as never })
    .apply(y) as typeof y;
  y = layers.reshape({ targetShape: [2, 2, 1] }).apply(y) as typeof y;
  const separable = { filters: 2, kernelSize: 2, depthwiseRegularizer: l2(), pointwiseRegularizer: l1() };
  y = layers.separableConv2d(separable).apply(y) as typeof y;
  y = layers.reshape({ targetShape: [1, 2] }).apply(y) as typeof y;
  const each = layers.dense({ units: 3, useBias: false, kernelRegularizer: l2(), biasRegularizer: l2() });
  y = layers.timeDistributed({ layer: each }).apply(y) as typeof y;
  // TensorFlow.js ignores the regularizers of recurrent layers.
  y = layers.lstm({ units: 2, kernelRegularizer: l2() }).apply(y) as typeof y;
  const model = tfl.model({ inputs: input, outputs: y });
  randomize(model);
  const module = fromLayersModel(model);
  const { value, grads } = tf.variableGrads(
    () => tf.addN(model.calculateLosses()) as tf.Scalar,
    model.trainableWeights.map((weight) => weight.read() as tf.Variable),
  );
  const parameters = module.parameters();
  const loss = module.regularization();
  expect(loss.shape).toEqual([]);
  expect(loss.item()).toBeCloseTo(value.dataSync()[0]!, 5);
  loss.backward();
  for (const p of parameters) p.detach().copyFrom(p.grad?.data ?? new Array(p.size).fill(0));
  module.copyTo(model);
  for (const weight of model.trainableWeights) {
    const expected = grads[weight.name]?.dataSync() ?? new Float32Array(weight.read().size);
    for (const [i, own] of weight.read().dataSync().entries()) expect(own, weight.name).toBeCloseTo(expected[i]!, 6);
  }
  expect(fromLayersModel(chain(dense())).regularization().item()).toBe(0);
});

describe("errors", () => {
  const model = (...make: tfl.layers.Layer[]) => chain(...make) as tfl.LayersModel;
  const embedding = (options: object): tfl.layers.Layer =>
    layers.embedding({ inputDim: 5, outputDim: 2, inputLength: 3, ...options });
  class Own extends tfl.layers.Layer {
    static className = "Own";
    override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
      return [inputs].flat()[0]!;
    }
  }
  test.each([
    [
      () => model(new Own({ name: "mine", inputShape: [4] })),
      'layer "mine" (Own) is of a class that is not supported. Replace the layer, or train with TensorFlow.js on nabla\'s backend.',
    ],
    [
      () => model(layers.masking({ name: "m", inputShape: [4, 2] })),
      'layer "m" (Masking) is of a class that is not supported.',
    ],
    [
      () => model(layers.conv3d({ name: "c", filters: 1, kernelSize: 1, inputShape: [4, 4, 4, 2] })),
      'layer "c" (Conv3D) is of a class that is not supported.',
    ],
    [
      () => model(embedding({ name: "e", maskZero: true })),
      'layer "e" (Embedding) has maskZero: true, and masks are not supported. Create it with maskZero: false.',
    ],
    [
      () => model(layers.lstm({ name: "l", units: 2, stateful: true, batchInputShape: [2, 3, 4] })),
      'layer "l" (LSTM) is stateful. Create it with stateful: false, returnState: true and an initialState.',
    ],
    [
      () =>
        model(
          layers.rnn({
            name: "r",
            inputShape: [3, 4],
            cell: [layers.lstmCell({ units: 2 }), layers.lstmCell({ units: 2 })] as never,
          }),
        ),
      'layer "r" (RNN) has the cell StackedRNNCells, which is not supported. Use one layer per cell: SimpleRNN, LSTM, GRU.',
    ],
    [
      () => model(dense({ name: "d", kernelConstraint: tfl.constraints.nonNeg() })),
      'layer "d" (Dense) has a constraint on d/kernel. Create the layer without one, and clamp the weight after each step.',
    ],
    [
      () => model(layers.dropout({ name: "d", rate: 0.5, seed: 7, inputShape: [4] })),
      'layer "d" (Dropout) has the seed 7. Create it without a seed, and call nabla\'s manualSeed.',
    ],
    [
      () => model(layers.conv1d({ name: "c", filters: 1, kernelSize: 2, padding: "causal", inputShape: [4, 2] })),
      'layer "c" (Conv1D) has the padding "causal", which TensorFlow.js does not implement. Use "same" or "valid".',
    ],
    [
      () =>
        model(layers.conv1d({ name: "c", filters: 1, kernelSize: 2, dataFormat: "channelsFirst", inputShape: [4, 2] })),
      'layer "c" (Conv1D) has dataFormat: "channelsFirst". Use "channelsLast".',
    ],
    [
      () =>
        model(
          layers.separableConv2d({
            name: "s",
            filters: 1,
            kernelSize: 2,
            dataFormat: "channelsFirst",
            inputShape: [2, 4, 4],
          }),
        ),
      'layer "s" (SeparableConv2D) has dataFormat: "channelsFirst". Use "channelsLast".',
    ],
    [
      () => {
        const inputs = [tfl.input({ shape: [2, 4] }), tfl.input({ shape: [2, 4] })];
        return tfl.model({
          inputs,
          outputs: layers.concatenate({ name: "c", axis: -2 }).apply(inputs) as tfl.SymbolicTensor,
        });
      },
      'layer "c" (Concatenate) has axis: -2, for which TensorFlow.js concatenates along the last dim. Use a positive axis or -1.',
    ],
    [() => tfl.sequential({ name: "empty" }), 'model "empty" is not built. Give its first layer an inputShape.'],
  ] as const)("%# names the layer, the option and the fix, and allocates nothing", (build, text) => {
    const made = build();
    const before = memory().tensors;
    expect(() => fromLayersModel(made)).toThrow(`fromLayersModel: ${text}`);
    expect(memory().tensors).toBe(before);
  });
  test("name custom activations and regularizers", () => {
    const own = { getClassName: () => "mine", getConfig: () => ({}), apply: (v: unknown) => v };
    const [a, b] = [dense({ name: "d", kernelRegularizer: tfl.regularizers.l2() }), dense({ name: "d" })];
    const [regularized, activated] = [model(a), model(b)];
    Object.assign(a, { kernelRegularizer: own });
    Object.assign(b, { activation: own });
    expect(() => fromLayersModel(regularized)).toThrow(
      'fromLayersModel: layer "d" (Dense) has the kernelRegularizer mine. Create the layer without one, and add the penalty to your loss.',
    );
    expect(() => fromLayersModel(activated)).toThrow(
      'fromLayersModel: layer "d" (Dense) has the activation "mine", which is not built into TensorFlow.js. Apply the activation to the model\'s output instead.',
    );
  });
  test("name values that are not models", () => {
    expect(() => fromLayersModel({} as never)).toThrow(
      "fromLayersModel: model must be a tf.LayersModel, got the object {}. Pass the result of tf.sequential, tf.model or tf.loadLayersModel.",
    );
    expect(() => (fromLayersModel as unknown as () => void)()).toThrow(/^fromLayersModel: /);
  });
  test("name invalid inputs", () => {
    const module = fromLayersModel(model(dense({ name: "d" })));
    expect(() => module.forward()).toThrow(
      "LayersModule: the model has 1 input (d_input), got 0. Pass each input as an argument.",
    );
    expect(() => module.forward(ones([2, 5]))).toThrow('LayersModule: input "d_input" must be [any, 4], got [2, 5].');
    expect(() => module.forward([1] as never)).toThrow(/^LayersModule: /);
  });
  test("names of layers may be numbers", () => {
    const [a, b] = [
      model(dense({ name: "2" }), dense({ name: "1", inputShape: [3] })),
      model(dense(), dense({ inputShape: [3] })),
    ];
    const module = fromLayersModel(a);
    module.copyTo(b);
    expect(valuesOf(b)).toEqual(valuesOf(a));
  });
  test("name the weights of a model with different layers, and copy nothing", () => {
    const module = fromLayersModel(model(dense()));
    const other = model(dense({ name: "o", units: 2 }));
    const before = module.parameters().map((p) => [...p.data]);
    for (const name of ["copyTo", "copyFrom"] as const) {
      expect(() => module[name](other)).toThrow(
        `${name}: the model's "o/kernel" must be [3, 4] in nabla's layout, got [2, 4]. Pass a model with the same layers.`,
      );
      expect(() => module[name](model(dense({ useBias: false })))).toThrow(
        `${name}: the model has 1 weights, and the module has 2. Pass a model with the same layers.`,
      );
      expect(() => module[name](module as never)).toThrow(`${name}: model must be a tf.LayersModel`);
    }
    expect(module.parameters().map((p) => [...p.data])).toEqual(before);
  });
});
