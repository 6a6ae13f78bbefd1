/** tfjs-layers models for the fromLayersModel tests: every supported layer and option. */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js";
import * as tfl from "@tensorflow/tfjs-layers";
import { type Tensor, tensor } from "nabla";

const { layers } = tfl;
type Layer = tfl.layers.Layer;

export interface LayerCase {
  readonly name: string;
  readonly model: () => tfl.LayersModel;
  /** The shape of each input, with the batch. */
  readonly inputs: readonly (readonly number[])[];
  /** For embeddings: the inputs are random integers below this number instead of random real numbers. */
  readonly classes?: number;
  /** Whether TensorFlow.js cannot compute the gradient, or computes a wrong one. */
  readonly noGradient?: boolean;
  /** The backend on which TensorFlow.js predicts. Default: TensorFlow.js's CPU backend. */
  readonly backend?: string;
}
const withoutGradient = (one: LayerCase): LayerCase => ({ ...one, noGradient: true });

/** A sequential model made of the layers. `shape` is the input's shape without the batch. */
const chain = (name: string, shape: readonly number[], ...make: (() => Layer)[]): LayerCase => ({
  name,
  inputs: [[3, ...shape]],
  model: () => {
    const model = tfl.sequential();
    for (const [i, one] of [() => layers.inputLayer({ inputShape: [...shape] }), ...make].entries())
      model.add(one() as Layer & { i?: typeof i });
    return model;
  },
});

/** A functional model. `shapes` are the inputs' shapes without the batch. */
const graph = (
  name: string,
  shapes: readonly (readonly number[])[],
  build: (...inputs: tfl.SymbolicTensor[]) => tfl.SymbolicTensor | tfl.SymbolicTensor[],
): LayerCase => ({
  name,
  inputs: shapes.map((shape) => [3, ...shape]),
  model: () => {
    const inputs = shapes.map((shape) => tfl.input({ shape: [...shape] }));
    return tfl.model({ inputs, outputs: build(...inputs) });
  },
});
const apply = (layer: Layer, ...inputs: tfl.SymbolicTensor[]): tfl.SymbolicTensor =>
  layer.apply(inputs.length > 1 ? inputs : inputs[0]!) as tfl.SymbolicTensor;

const IMAGE = [7, 6, 3];
const FIRST = [3, 7, 6];
const SEQUENCE = [5, 4];
const FORMATS = [
  ["", "channelsLast", IMAGE],
  [", channelsFirst", "channelsFirst", FIRST],
] as const;
const PADDINGS = ["valid", "same"] as const;
const ACTIVATIONS =
  "elu gelu gelu_new hardSigmoid linear logSoftmax mish relu relu6 selu sigmoid softmax softplus softsign swish tanh".split(
    " ",
  ) as "elu"[];

const activations = ACTIVATIONS.flatMap((activation) => [
  chain(`dense ${activation}`, [5], () => layers.dense({ units: 4, activation })),
  chain(`activation ${activation}`, [4, 3], () => layers.activation({ activation })),
]);

const convolutions = FORMATS.flatMap(([note, dataFormat, shape]) =>
  PADDINGS.flatMap((padding) => [
    chain(`conv2d ${padding}${note}`, shape, () =>
      layers.conv2d({ filters: 4, kernelSize: [3, 2], padding, dataFormat, activation: "relu" }),
    ),
    chain(`conv2d ${padding} with strides${note}`, shape, () =>
      layers.conv2d({ filters: 4, kernelSize: 3, strides: [2, 3], padding, dataFormat, useBias: false }),
    ),
    withoutGradient(
      chain(`conv2d ${padding} with dilation${note}`, shape, () =>
        layers.conv2d({ filters: 2, kernelSize: 2, dilationRate: 2, padding, dataFormat, activation: "softmax" }),
      ),
    ),
    chain(`conv2d 1×1 ${padding}${note}`, shape, () =>
      layers.conv2d({ filters: 2, kernelSize: 1, padding, dataFormat, activation: "tanh" }),
    ),
    chain(`conv2dTranspose ${padding}${note}`, shape, () =>
      layers.conv2dTranspose({ filters: 4, kernelSize: 3, strides: 2, padding, dataFormat, activation: "elu" }),
    ),
    chain(`conv2dTranspose ${padding} with strides above the kernel${note}`, shape, () =>
      layers.conv2dTranspose({ filters: 2, kernelSize: [2, 1], strides: [3, 2], padding, dataFormat, useBias: false }),
    ),
    chain(`depthwiseConv2d ${padding}${note}`, shape, () =>
      layers.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, padding, dataFormat, activation: "relu" }),
    ),
    chain(`depthwiseConv2d ${padding} with strides${note}`, shape, () =>
      layers.depthwiseConv2d({ kernelSize: [2, 3], strides: [2, 2], padding, dataFormat, useBias: false }),
    ),
  ]),
);
const otherConvolutions = PADDINGS.flatMap((padding) => [
  chain(`separableConv2d ${padding}`, IMAGE, () =>
    layers.separableConv2d({ filters: 4, kernelSize: 3, depthMultiplier: 2, padding, activation: "relu" }),
  ),
  chain(`separableConv2d ${padding} with strides`, IMAGE, () =>
    layers.separableConv2d({ filters: 4, kernelSize: 2, strides: 2, padding, useBias: false }),
  ),
  withoutGradient(
    chain(`separableConv2d ${padding} with dilation`, IMAGE, () =>
      layers.separableConv2d({ filters: 2, kernelSize: 2, dilationRate: [2, 2], padding }),
    ),
  ),
  chain(`conv1d ${padding}`, SEQUENCE, () => layers.conv1d({ filters: 3, kernelSize: 3, padding, activation: "relu" })),
  chain(`conv1d ${padding} with strides`, SEQUENCE, () =>
    layers.conv1d({ filters: 3, kernelSize: 2, strides: 2, padding, useBias: false }),
  ),
  withoutGradient(
    chain(`conv1d ${padding} with dilation`, SEQUENCE, () =>
      layers.conv1d({ filters: 3, kernelSize: 2, dilationRate: 2, padding }),
    ),
  ),
]);

/** TensorFlow.js divides the gradient of average pooling by the window's size even where the window overlaps the padding. */
const averaging = (padding: string, one: LayerCase): LayerCase => (padding === "same" ? withoutGradient(one) : one);
const pools = [
  ...FORMATS.flatMap(([note, dataFormat, shape]) => [
    ...PADDINGS.flatMap((padding) => [
      chain(`maxPooling2d ${padding}${note}`, shape, () => layers.maxPooling2d({ poolSize: 2, padding, dataFormat })),
      chain(`maxPooling2d ${padding} with strides${note}`, shape, () =>
        layers.maxPooling2d({ poolSize: [3, 2], strides: [2, 1], padding, dataFormat }),
      ),
      averaging(
        padding,
        chain(`averagePooling2d ${padding}${note}`, shape, () =>
          layers.averagePooling2d({ poolSize: [2, 3], strides: [1, 2], padding, dataFormat }),
        ),
      ),
    ]),
    chain(`pools of one pixel${note}`, shape, () => layers.maxPooling2d({ poolSize: 1, strides: 1, dataFormat })),
    chain(`globalAveragePooling2d${note}`, shape, () => layers.globalAveragePooling2d({ dataFormat })),
    chain(`globalMaxPooling2d${note}`, shape, () => layers.globalMaxPooling2d({ dataFormat })),
  ]),
  ...PADDINGS.flatMap((padding) => [
    chain(`maxPooling1d ${padding}`, SEQUENCE, () => layers.maxPooling1d({ poolSize: 2, padding })),
    averaging(
      padding,
      chain(`averagePooling1d ${padding}`, SEQUENCE, () =>
        layers.averagePooling1d({ poolSize: 3, strides: 2, padding }),
      ),
    ),
  ]),
  chain("globalAveragePooling1d", SEQUENCE, () => layers.globalAveragePooling1d({})),
  chain("globalMaxPooling1d", SEQUENCE, () => layers.globalMaxPooling1d({})),
];

const images = FORMATS.flatMap(([note, dataFormat, shape]) => [
  // TensorFlow.js's gradients of resizing are wrong for batches of more than one image, and for images that are not square.
  withoutGradient(chain(`upSampling2d${note}`, shape, () => layers.upSampling2d({ size: [2, 3], dataFormat }))),
  withoutGradient(
    chain(`upSampling2d bilinear${note}`, shape, () =>
      layers.upSampling2d({ size: [3, 2], dataFormat, interpolation: "bilinear" }),
    ),
  ),
  chain(`upSampling2d bilinear of squares${note}`, [4, 4, 4], () =>
    layers.upSampling2d({ size: [3, 3], dataFormat, interpolation: "bilinear" }),
  ),
  chain(`zeroPadding2d${note}`, shape, () =>
    layers.zeroPadding2d({
      padding: [
        [1, 2],
        [0, 3],
      ],
      dataFormat,
    }),
  ),
  chain(`cropping2D${note}`, shape, () =>
    layers.cropping2D({
      cropping: [
        [1, 2],
        [0, 3],
      ],
      dataFormat,
    }),
  ),
  chain(`flatten${note}`, shape, () => layers.flatten({ dataFormat })),
]);

const norms = [
  chain("batchNormalization", [4], () => layers.batchNormalization({})),
  chain("batchNormalization of images", IMAGE, () => layers.batchNormalization({ momentum: 0.9, epsilon: 0.01 })),
  // TensorFlow.js's CPU backend does not broadcast the statistics.
  {
    ...withoutGradient(chain("batchNormalization of axis 1", FIRST, () => layers.batchNormalization({ axis: 1 }))),
    backend: "nabla",
  },
  chain("batchNormalization of one channel", [5, 1], () => layers.batchNormalization({})),
  chain("layerNormalization", SEQUENCE, () => layers.layerNormalization({})),
  withoutGradient(
    chain("layerNormalization without weights", SEQUENCE, () =>
      layers.layerNormalization({ center: false, scale: false, epsilon: 0.1 }),
    ),
  ),
  chain("layerNormalization of two axes", IMAGE, () => layers.layerNormalization({ axis: [2, 3] })),
  chain("layerNormalization of axis 1", SEQUENCE, () => layers.layerNormalization({ axis: 1 })),
  withoutGradient(
    chain("layerNormalization of axis 1, only scaled", SEQUENCE, () =>
      layers.layerNormalization({ axis: 1, center: false }),
    ),
  ),
];

type RecurrentName = "lstm" | "gru" | "simpleRNN";
const RECURRENT: RecurrentName[] = ["lstm", "gru", "simpleRNN"];
const recurrentLayer = (name: RecurrentName, options: object): Layer =>
  (layers[name] as (options: object) => Layer)({ units: 3, ...options });
const recurrent = [
  ...RECURRENT.flatMap((name) => [
    chain(name, SEQUENCE, () => recurrentLayer(name, {})),
    chain(`${name} of sigmoid`, SEQUENCE, () => recurrentLayer(name, { recurrentActivation: "sigmoid" })),
    chain(`${name} of relu`, SEQUENCE, () => recurrentLayer(name, { activation: "relu", useBias: false })),
    chain(`${name} of softsign`, SEQUENCE, () => recurrentLayer(name, { activation: "softsign" })),
    chain(`${name} of one unit`, SEQUENCE, () => recurrentLayer(name, { units: 1 })),
    chain(`${name} with returnSequences`, SEQUENCE, () => recurrentLayer(name, { returnSequences: true })),
    chain(`${name} of sigmoid with goBackwards`, SEQUENCE, () =>
      recurrentLayer(name, { recurrentActivation: "sigmoid", returnSequences: true, goBackwards: true }),
    ),
    chain(`${name} with goBackwards`, SEQUENCE, () => recurrentLayer(name, { goBackwards: true })),
    ...["hardSigmoid", "sigmoid"].flatMap((recurrentActivation) => {
      const states = name === "lstm" ? [[3], [3]] : [[3]];
      const run = (x: tfl.SymbolicTensor[]): tfl.SymbolicTensor[] =>
        recurrentLayer(name, { recurrentActivation, returnState: true }).apply(x) as tfl.SymbolicTensor[];
      return [
        // TensorFlow.js cannot train a model with several outputs and an initial state.
        withoutGradient(
          graph(`${name} of ${recurrentActivation} with states`, [SEQUENCE, ...states], (...x) => run(x)),
        ),
        graph(`${name} of ${recurrentActivation} with an initial state`, [SEQUENCE, ...states], (...x) => run(x)[0]!),
        chain(`bidirectional ${name} of ${recurrentActivation}`, SEQUENCE, () =>
          layers.bidirectional({ layer: recurrentLayer(name, { recurrentActivation }) as tfl.RNN }),
        ),
      ];
    }),
    ...(["concat", "sum", "ave", "mul"] as const).map((mergeMode) =>
      chain(`bidirectional ${name} ${mergeMode}`, SEQUENCE, () =>
        layers.bidirectional({
          layer: recurrentLayer(name, { returnSequences: mergeMode !== "ave" }) as tfl.RNN,
          mergeMode,
        }),
      ),
    ),
  ]),
  chain("rnn of a cell", SEQUENCE, () => layers.rnn({ cell: layers.lstmCell({ units: 3 }), returnSequences: true })),
  graph("bidirectional without a merge", [SEQUENCE], (x) => {
    const layer = recurrentLayer("gru", { returnSequences: true, returnState: true }) as tfl.RNN;
    return layers.bidirectional({ layer, mergeMode: null as never }).apply(x!) as tfl.SymbolicTensor[];
  }),
  chain("timeDistributed dense", SEQUENCE, () => layers.timeDistributed({ layer: layers.dense({ units: 2 }) })),
  chain("timeDistributed conv1d", [4, ...SEQUENCE], () =>
    layers.timeDistributed({ layer: layers.conv1d({ filters: 2, kernelSize: 2 }) }),
  ),
  chain("timeDistributed batchNormalization", SEQUENCE, () =>
    layers.timeDistributed({ layer: layers.batchNormalization({}) }),
  ),
];

const others = [
  chain("dense of a sequence, without a bias", SEQUENCE, () => layers.dense({ units: 2, useBias: false })),
  chain("relu", SEQUENCE, () => layers.reLU({})),
  chain("relu with a maximum", SEQUENCE, () => layers.reLU({ maxValue: 0.5 })),
  chain("leakyReLU", SEQUENCE, () => layers.leakyReLU({})),
  chain("leakyReLU with alpha", SEQUENCE, () => layers.leakyReLU({ alpha: 0.1 })),
  chain("elu", SEQUENCE, () => layers.elu()),
  chain("prelu", SEQUENCE, () => layers.prelu({})),
  chain("prelu with shared axes", IMAGE, () => layers.prelu({ sharedAxes: [1, 2] })),
  withoutGradient(chain("thresholdedReLU", SEQUENCE, () => layers.thresholdedReLU({ theta: 0.3 }))),
  chain("softmax", [4], () => layers.softmax({})),
  chain("softmax of the last axis", SEQUENCE, () => layers.softmax({ axis: -1 })),
  chain("softmax of two axes", SEQUENCE, () => layers.softmax({ axis: [1, 2] as never })),
  chain("reshape", [4, 6], () => layers.reshape({ targetShape: [2, null as never, 3] })),
  chain("permute", IMAGE, () => layers.permute({ dims: [3, 1, 2] })),
  chain("repeatVector", [4], () => layers.repeatVector({ n: 3 })),
  chain("rescaling", [4], () => layers.rescaling({ scale: 2, offset: -1 })),
  {
    name: "embedding",
    inputs: [[3, 5]],
    classes: 7,
    model: () => tfl.sequential({ layers: [layers.embedding({ inputDim: 7, outputDim: 4, inputLength: 5 })] }),
  },
  ...(["add", "multiply", "average", "maximum", "minimum"] as const).flatMap((name) => {
    const broadcast = graph(`${name} of different ranks`, [SEQUENCE, [4]], (...x) => apply(layers[name](), ...x));
    return [
      graph(`${name} of three`, [SEQUENCE, SEQUENCE, SEQUENCE], (...x) => apply(layers[name](), ...x)),
      name.startsWith("m") && name !== "multiply" ? withoutGradient(broadcast) : broadcast,
    ];
  }),
  graph("concatenate", [SEQUENCE, [5, 2]], (...x) => apply(layers.concatenate(), ...x)),
  graph("concatenate along axis 1", [SEQUENCE, [2, 4]], (...x) => apply(layers.concatenate({ axis: 1 }), ...x)),
  graph("dot of vectors", [[4], [4]], (...x) => apply(layers.dot({ axes: 1 }), ...x)),
  graph("dot of vectors, normalized", [[4], [4]], (...x) => apply(layers.dot({ axes: -1, normalize: true }), ...x)),
  graph("dot of matrices", [SEQUENCE, [6, 4]], (...x) => apply(layers.dot({ axes: 2 }), ...x)),
  graph("dot of matrices along other axes", [SEQUENCE, [4, 5]], (...x) => apply(layers.dot({ axes: [1, 2] }), ...x)),
  graph("dot of matrices, as a product", [SEQUENCE, [4, 2]], (...x) => apply(layers.dot({ axes: [2, 1] }), ...x)),
  graph("dot of a matrix and a vector", [SEQUENCE, [4]], (...x) => apply(layers.dot({ axes: [2, 1] }), ...x)),
  graph("dot of a matrix and a vector along axis 1", [SEQUENCE, [5]], (...x) => apply(layers.dot({ axes: 1 }), ...x)),
  graph("dot of a vector and a matrix", [[4], SEQUENCE], (...x) => apply(layers.dot({ axes: [1, 2] }), ...x)),
  chain(
    "a convolutional network",
    IMAGE,
    () => layers.conv2d({ filters: 4, kernelSize: 3, padding: "same" }),
    () => layers.batchNormalization({}),
    () => layers.reLU({}),
    () => layers.maxPooling2d({ poolSize: 2 }),
    () => layers.flatten(),
    () => layers.dense({ units: 3, activation: "softmax" }),
  ),
  graph("a graph with shared and nested layers", [[4], [4]], (a, b) => {
    const shared = layers.dense({ units: 4, activation: "tanh" });
    const inner = tfl.sequential({ layers: [layers.dense({ units: 3, inputShape: [4] }), layers.reLU({})] });
    const two = tfl.input({ shape: [4] });
    const y = apply(shared, two);
    const nested = tfl.model({ inputs: two, outputs: [y, apply(layers.dense({ units: 2 }), y)] });
    const [c, d] = nested.apply(apply(shared, b!)) as tfl.SymbolicTensor[];
    return [apply(layers.add(), apply(shared, apply(shared, a!)), c!), apply(inner, c!), d!, apply(inner, a!)];
  }),
  chain(
    "a sequential model that begins with a model",
    [4],
    () => tfl.sequential({ layers: [layers.dense({ units: 3, inputShape: [4] }), layers.reLU({})] }) as Layer,
    () => layers.dense({ units: 2 }),
  ),
];

export const layerCases: readonly LayerCase[] = [
  ...activations,
  ...convolutions,
  ...otherConvolutions,
  ...pools,
  ...images,
  ...norms,
  ...recurrent,
  ...others,
];

export const random = (shape: number[], seed: number): tf.Tensor => tf.randomUniform(shape, -1, 1, "float32", seed);
export const toNabla = (x: tf.Tensor): Tensor => tensor([...x.dataSync()]).reshape(...x.shape);
export const valuesOf = (model: tfl.LayersModel): number[] => model.getWeights().flatMap((w) => [...w.dataSync()]);

/** Sets every weight of a model to new values, which are the same on every run. Variances are positive. */
export function randomize(model: tfl.LayersModel, seed = 1): void {
  for (const [i, weight] of model.weights.entries()) {
    const low = weight.name.includes("variance") ? 0.5 : -0.8;
    const value = tf.randomUniform(weight.shape as number[], low, low + 1.6, "float32", seed * 100 + i);
    weight.write(value);
    value.dispose();
  }
}
