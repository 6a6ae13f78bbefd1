/** The rules for TensorFlow.js's layers, keyed by class name. */
import * as ops from "../../core/functions.ts";
import { activationOf } from "./activations.ts";
import { image } from "./image.ts";
import { merge } from "./merge.ts";
import { noise } from "./noise.ts";
import { norm } from "./norm.ts";
import { type Rule, reject, weightsOf } from "./plan.ts";
import { bidirectional, recurrent, timeDistributed } from "./recurrent.ts";

const dense: Rule = ({ layer, config, variables }) => {
  const activation = activationOf(layer, config.activation);
  return {
    weights: weightsOf(variables, { weight: { of: "kernel", axes: [1, 0] }, bias: { of: "bias" } }),
    run: ({ weights: { weight, bias } }, x) => activation(ops.linear(x, weight!, bias ?? null)),
  };
};

const embedding: Rule = ({ layer, config, variables }) => {
  if (config.maskZero)
    reject(layer, "has maskZero: true, and masks are not supported", "Create it with maskZero: false");
  return {
    weights: weightsOf(variables, { weight: { of: "embeddings" } }),
    run: ({ weights: { weight } }, x) => ops.embedding(x.dtype === "int32" ? x : x.to("int32"), weight!),
  };
};

export const rules: Readonly<Record<string, Rule>> = {
  ...image,
  ...merge,
  ...noise,
  ...norm,
  Activation: ({ layer, config }) => {
    const activation = activationOf(layer, config.activation);
    return { run: (_, x) => activation(x) };
  },
  Bidirectional: bidirectional,
  Dense: dense,
  ELU: () => ({ run: (_, x) => x.elu() }),
  Embedding: embedding,
  Flatten: ({ config: { dataFormat } }) => ({
    run(_, x) {
      const last = x.shape.map((_size, i) => i).slice(2);
      return (dataFormat === "channelsFirst" ? x.permute(0, ...last, 1) : x).flatten(1);
    },
  }),
  GRU: recurrent,
  LSTM: recurrent,
  LeakyReLU: ({ config: { alpha } }) => ({ run: (_, x) => x.leakyRelu(alpha) }),
  PReLU: ({ variables }) => ({
    weights: weightsOf(variables, { weight: { of: "alpha" } }),
    run: ({ weights: { weight } }, x) => x.where(x.ge(0), x.mul(weight!)),
  }),
  Permute: ({ config: { dims } }) => ({ run: (_, x) => x.permute(0, ...dims) }),
  RNN: recurrent,
  ReLU: ({ config: { maxValue } }) => ({
    run: (_, x) => (maxValue == null ? x.relu() : x.clamp(0, maxValue)),
  }),
  RepeatVector: ({ config: { n } }) => ({
    run: (_, x) => x.unsqueeze(1).broadcastTo([x.shape[0]!, n, x.shape[1]!]),
  }),
  Rescaling: ({ config: { scale, offset } }) => ({ run: (_, x) => x.to("float32").mul(scale).add(offset) }),
  Reshape: ({ config: { targetShape } }) => ({
    run: (_, x) => x.reshape(x.shape[0]!, ...targetShape.map((n: number | null) => n ?? -1)),
  }),
  SimpleRNN: recurrent,
  Softmax: ({ config: { axis } }) => ({
    run(_, x) {
      const dims = [axis].flat() as number[];
      return dims.length === 1 ? x.softmax(dims[0]) : x.sub(x.logSumExp(dims, { keepdim: true })).exp();
    },
  }),
  ThresholdedReLU: ({ config: { theta } }) => ({ run: (_, x) => x.mul(x.gt(theta).to("float32")) }),
  TimeDistributed: timeDistributed,
};
