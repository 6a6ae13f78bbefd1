/** Every layer in tfjs-layers, with the shape of its inputs (without the batch) and options that change what it computes. */
import * as tf from "@tensorflow/tfjs-core";
import { layers } from "@tensorflow/tfjs-layers";
import { uniform } from "./onBoth.ts";

type Layer = layers.Layer;
export interface LayerCase {
  readonly name: string;
  readonly make: () => Layer;
  /** The shape of each input. */
  readonly shapes: readonly (readonly number[])[];
  /** Creates the first input, if arbitrary real numbers do not suit the layer. */
  readonly input?: (shape: readonly number[]) => tf.Tensor;
  /** A layer that precedes this one in the model. */
  readonly before?: () => Layer;
  /** Set if TensorFlow.js has no gradient for the layer. */
  readonly inferenceOnly?: true;
  /**
   * Set if tfjs-layers cannot build a model with the layer, because its computeOutputShape is wrong. Tests apply the
   * layer to a tensor instead.
   */
  readonly direct?: true;
}

const ids = (n: number) => (shape: readonly number[]) => tf.floor(uniform(shape, 3, 0, n));
const one = (
  name: string,
  make: () => unknown,
  shape: readonly number[],
  more: Partial<LayerCase> = {},
): LayerCase => ({
  name,
  make: make as () => Layer,
  shapes: [shape],
  ...more,
});
const many = (name: string, make: () => unknown, ...shapes: readonly (readonly number[])[]): LayerCase => ({
  name,
  make: make as () => Layer,
  shapes,
});

const VECTOR = [6];
const SEQUENCE = [5, 4];
const IMAGE = [6, 6, 2];
const VOLUME = [4, 4, 4, 2];
const VIDEO = [3, 5, 5, 2];

const basic: readonly LayerCase[] = [
  one("dense", () => layers.dense({ units: 4 }), VECTOR),
  one("dense without bias, on sequences", () => layers.dense({ units: 3, useBias: false }), SEQUENCE),
  one("activation", () => layers.activation({ activation: "tanh" }), VECTOR),
  one("elu", () => layers.elu(), VECTOR),
  one("reLU with a largest value", () => layers.reLU({ maxValue: 0.5 }), VECTOR),
  one("leakyReLU", () => layers.leakyReLU({ alpha: 0.2 }), VECTOR),
  one("prelu", () => layers.prelu({ alphaInitializer: "randomUniform", sharedAxes: [1] }), SEQUENCE),
  one("softmax", () => layers.softmax(), VECTOR),
  one("thresholdedReLU", () => layers.thresholdedReLU({ theta: 0.3 }), VECTOR, { inferenceOnly: true }),
  one("dropout", () => layers.dropout({ rate: 0.4 }), VECTOR),
  one("spatialDropout1d", () => layers.spatialDropout1d({ rate: 0.4 }), SEQUENCE),
  one("gaussianNoise", () => layers.gaussianNoise({ stddev: 0.3 }), VECTOR),
  one("gaussianDropout", () => layers.gaussianDropout({ rate: 0.3 }), VECTOR),
  one("alphaDropout", () => layers.alphaDropout({ rate: 0.3 }), VECTOR),
  one("flatten", () => layers.flatten(), IMAGE),
  one("flatten, channels first", () => layers.flatten({ dataFormat: "channelsFirst" }), IMAGE),
  one("repeatVector", () => layers.repeatVector({ n: 3 }), VECTOR),
  one("reshape", () => layers.reshape({ targetShape: [2, -1] }), VECTOR),
  one("permute", () => layers.permute({ dims: [2, 1] }), SEQUENCE),
  one("embedding", () => layers.embedding({ inputDim: 9, outputDim: 4 }), [5], { input: ids(9) }),
  one("batchNormalization", () => layers.batchNormalization(), IMAGE),
  one("batchNormalization of vectors", () => layers.batchNormalization({ momentum: 0.6 }), VECTOR),
  one("layerNormalization", () => layers.layerNormalization(), SEQUENCE),
];

const convolutions: readonly LayerCase[] = [
  one("conv1d", () => layers.conv1d({ filters: 3, kernelSize: 3, padding: "same" }), SEQUENCE),
  one("conv1d, dilated", () => layers.conv1d({ filters: 3, kernelSize: 2, dilationRate: 2 }), SEQUENCE, {
    inferenceOnly: true,
  }),
  one("conv2d", () => layers.conv2d({ filters: 3, kernelSize: 3 }), IMAGE),
  one("conv2d, strides", () => layers.conv2d({ filters: 3, kernelSize: 3, strides: 2, padding: "same" }), IMAGE),
  one(
    "conv2d, channels first",
    () => layers.conv2d({ filters: 3, kernelSize: 3, dataFormat: "channelsFirst" }),
    IMAGE.toReversed(),
  ),
  one("conv2d, dilated", () => layers.conv2d({ filters: 3, kernelSize: 2, dilationRate: 2 }), IMAGE, {
    inferenceOnly: true,
  }),
  one("conv2dTranspose", () => layers.conv2dTranspose({ filters: 3, kernelSize: 3, strides: 2 }), IMAGE),
  one("conv2dTranspose, same", () => layers.conv2dTranspose({ filters: 3, kernelSize: 3, padding: "same" }), IMAGE),
  one("conv3d", () => layers.conv3d({ filters: 3, kernelSize: 2 }), VOLUME),
  one("conv3dTranspose", () => layers.conv3dTranspose({ filters: 2, kernelSize: 2 }), VOLUME, { inferenceOnly: true }),
  one("separableConv2d", () => layers.separableConv2d({ filters: 3, kernelSize: 3, depthMultiplier: 2 }), IMAGE),
  one("depthwiseConv2d", () => layers.depthwiseConv2d({ kernelSize: 3, depthMultiplier: 2, padding: "same" }), IMAGE),
  one(
    "cropping2D",
    () =>
      layers.cropping2D({
        cropping: [
          [1, 2],
          [0, 1],
        ],
      }),
    IMAGE,
  ), // prettier-ignore
  one(
    "zeroPadding2d",
    () =>
      layers.zeroPadding2d({
        padding: [
          [1, 2],
          [0, 1],
        ],
      }),
    IMAGE,
  ), // prettier-ignore
  one("upSampling2d, nearest", () => layers.upSampling2d({ size: [2, 3] }), IMAGE),
  one("upSampling2d, bilinear", () => layers.upSampling2d({ size: [2, 2], interpolation: "bilinear" }), IMAGE),
];

const pools: readonly LayerCase[] = [
  one("averagePooling1d", () => layers.averagePooling1d({ poolSize: 2 }), SEQUENCE),
  one("maxPooling1d", () => layers.maxPooling1d({ poolSize: 2 }), SEQUENCE),
  one("averagePooling2d", () => layers.averagePooling2d({ poolSize: 3, strides: 2, padding: "same" }), IMAGE),
  one("maxPooling2d", () => layers.maxPooling2d({ poolSize: 3, strides: 2, padding: "same" }), IMAGE),
  one("averagePooling3d", () => layers.averagePooling3d({ poolSize: 2 }), VOLUME),
  one("maxPooling3d", () => layers.maxPooling3d({ poolSize: 2 }), VOLUME),
  one("globalAveragePooling1d", () => layers.globalAveragePooling1d({}), SEQUENCE),
  one("globalMaxPooling1d", () => layers.globalMaxPooling1d({}), SEQUENCE),
  one("globalAveragePooling2d", () => layers.globalAveragePooling2d({}), IMAGE),
  one("globalMaxPooling2d", () => layers.globalMaxPooling2d({}), IMAGE),
];

const merges: readonly LayerCase[] = [
  ...(["add", "average", "maximum", "minimum", "multiply"] as const).map((name) =>
    many(name, () => layers[name](), VECTOR, VECTOR, VECTOR),
  ),
  many("concatenate", () => layers.concatenate({ axis: 1 }), SEQUENCE, [2, 4]),
  many("dot", () => layers.dot({ axes: -1, normalize: true }), VECTOR, VECTOR),
];

const recurrent: readonly LayerCase[] = [
  one("simpleRNN", () => layers.simpleRNN({ units: 3 }), SEQUENCE),
  one("gru", () => layers.gru({ units: 3, returnSequences: true }), SEQUENCE),
  one("lstm", () => layers.lstm({ units: 3 }), SEQUENCE),
  one(
    "lstm, backwards and with dropout",
    () => layers.lstm({ units: 3, goBackwards: true, dropout: 0.2, recurrentDropout: 0.2, returnSequences: true }),
    SEQUENCE,
  ),
  one(
    "lstm, other activations",
    () => layers.lstm({ units: 3, activation: "relu", recurrentActivation: "sigmoid", unitForgetBias: false }),
    SEQUENCE,
  ),
  one(
    "rnn of stacked cells",
    () =>
      layers.rnn({
        cell: [layers.simpleRNNCell({ units: 3 }), layers.gruCell({ units: 2 }), layers.lstmCell({ units: 3 })],
      }),
    SEQUENCE,
  ),
  one(
    "bidirectional",
    () =>
      layers.bidirectional({ layer: layers.gru({ units: 2, returnSequences: true }) as never, mergeMode: "concat" }),
    SEQUENCE,
  ),
  one(
    "bidirectional, sums",
    () => layers.bidirectional({ layer: layers.lstm({ units: 2 }) as never, mergeMode: "sum" }),
    SEQUENCE,
  ),
  one("timeDistributed", () => layers.timeDistributed({ layer: layers.dense({ units: 3 }) }), SEQUENCE),
  one("convLstm2d", () => layers.convLstm2d({ filters: 2, kernelSize: 2 }), VIDEO),
  // The layer skips steps that consist of zeros.
  one("masking", () => layers.lstm({ units: 3 }), SEQUENCE, {
    before: () => layers.masking({ maskValue: 0 }),
    input: (shape) => tf.mul(uniform(shape, 5), tf.greater(uniform([shape[0]!, shape[1]!, 1], 6), 0)),
  }),
  one("a mask from an embedding", () => layers.gru({ units: 3 }), [5], {
    before: () => layers.embedding({ inputDim: 4, outputDim: 3, maskZero: true }),
    input: ids(4),
  }),
];

const preprocessing: readonly LayerCase[] = [
  one("rescaling", () => layers.rescaling({ scale: 0.5, offset: 0.1 }), IMAGE),
  one("centerCrop", () => layers.centerCrop({ height: 4, width: 3 }), IMAGE, { direct: true }),
  one("resizing", () => layers.resizing({ height: 4, width: 9, interpolation: "bilinear" }), IMAGE, { direct: true }),
  one("categoryEncoding", () => layers.categoryEncoding({ numTokens: 7, outputMode: "multiHot" }), VECTOR, {
    input: ids(7),
    direct: true,
  }),
  one("randomWidth", () => layers.randomWidth({ factor: 0.5, interpolation: "bilinear" }), IMAGE, { direct: true }),
];

export const layerCases: readonly LayerCase[] = [
  ...basic,
  ...convolutions,
  ...pools,
  ...merges,
  ...recurrent,
  ...preprocessing,
];
