/** Compiled training steps of tfjs-layers models that fromLayersModel has converted. */
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import { compile, init, losses, optim, tensor } from "nabla";
import { fromLayersModel } from "nabla/tfjs";
import { LR } from "../../dist/bench/training.js";

const { conv2d, dense, flatten, lstm, maxPooling2d } = layers.layers;

/** The kinds of networks that this contender can train, in addition to MLPs. */
export const networks = ["cnn", "lstm"];

/** @param build "simd" or "relaxed" */
export async function open(build) {
  await init({ build });
  return `fromLayersModel ${build}, compiled`;
}

/**
 * Moves a weight's first dim to the end, as TensorFlow.js expects: [in, out] for dense layers, [height, width, in, out] for convolutions.
 */
const moved = (values, shape) => {
  const x = tf.tensor(values, shape);
  return shape.length === 1 ? x : tf.transpose(x, [...shape.keys()].slice(1).concat(0));
};

function mlp({ kind, inputs, hidden, outputs, start }) {
  const isClasses = kind === "classes";
  const model = layers.sequential();
  model.add(dense({ units: hidden, activation: isClasses ? "relu" : "tanh", inputShape: [inputs] }));
  model.add(dense({ units: outputs, activation: isClasses ? "linear" : "sigmoid" }));
  const shapes = [[hidden, inputs], [hidden], [outputs, hidden], [outputs]];
  model.setWeights(["w1", "b1", "w2", "b2"].map((name, i) => moved(start[name], shapes[i])));
  return model;
}

function cnn({ size, channels: [first, second], outputs, params }) {
  const conv = { kernelSize: 3, padding: "same", activation: "relu" };
  const model = layers.sequential();
  model.add(conv2d({ filters: first, inputShape: [size, size, 1], ...conv }));
  model.add(conv2d({ filters: second, ...conv }));
  model.add(maxPooling2d({ poolSize: 2 }));
  model.add(flatten());
  model.add(dense({ units: outputs }));
  model.setWeights(params.map(({ values, shape }) => moved(values, shape)));
  return model;
}

/** Builds an LSTM and a dense layer. TensorFlow.js's LSTM has one bias, which is set to the sum of PyTorch's two. */
function recurrent({ steps, inputs, hidden, outputs, params }) {
  const model = layers.sequential();
  // The recurrent weight's default initializer needs tensor methods that only "@tensorflow/tfjs" registers.
  const options = { recurrentActivation: "sigmoid", recurrentInitializer: "zeros", inputShape: [steps, inputs] };
  model.add(lstm({ units: hidden, ...options }));
  model.add(dense({ units: outputs }));
  const [weightIh, weightHh, biasIh, biasHh, weight, bias] = params.map(({ values, shape }) => moved(values, shape));
  model.setWeights([weightIh, weightHh, tf.add(biasIh, biasHh), weight, bias]);
  return model;
}

/**
 * The parameter groups. The LSTM's bias is the sum of PyTorch's two biases, which both take the same step, so its learning rate is
 * doubled.
 */
const groups = (module, kind) => {
  if (kind !== "lstm") return module.parameters();
  const [weightIh, weightHh, bias, ...rest] = module.parameters();
  return [{ params: [weightIh, weightHh, ...rest] }, { params: [bias], lr: 2 * LR }];
};

/** The inputs: images, sequences with the batch first, or vectors. */
function inputOf({ kind, batch, steps, inputs, size, start }) {
  if (kind === "cnn") return tensor(start.x, [batch, size, size, 1]);
  if (kind === "lstm") return tensor(start.x, [steps, batch, inputs]).transpose(0, 1).clone();
  return tensor(start.x, [batch, inputs]);
}

export function step(task) {
  const { kind, batch, outputs, start } = task;
  const model = ({ cnn, lstm: recurrent }[kind] ?? mlp)(task);
  const module = fromLayersModel(model);
  const x = inputOf(task);
  const isValues = kind === "values";
  const target = isValues ? tensor(start.targets, [batch, outputs]) : tensor(start.labels);
  const loss = isValues ? losses.mse : losses.crossEntropy;
  let optimizer;
  let compiled;
  const close = () => {
    compiled?.dispose();
    optimizer?.dispose();
  };
  return {
    reset() {
      close();
      module.copyFrom(model);
      optimizer = new optim.Adam(groups(module, kind), { lr: LR });
      compiled = compile((a, b) => optimizer.minimize(() => loss(module.forward(a), b)));
    },
    run: () => compiled(x, target).item(),
    close() {
      close();
      for (const one of [x, target, module]) one.dispose();
      tf.dispose(model.getWeights());
    },
  };
}
