/** Compiled training steps of models that tfjs-layers defines and fromLayersModel converts. */
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import { compile, init, losses, optim, tensor } from "nabla";
import { fromLayersModel } from "nabla/tfjs";
import { LR } from "../../dist/bench/training.js";

const { conv2d, dense, flatten, maxPooling2d } = layers.layers;

/** The kinds of networks that it can train, in addition to MLPs. */
export const networks = ["cnn"];

/** @param build "simd" or "relaxed" */
export async function open(build) {
  await init({ build });
  return `fromLayersModel ${build}, compiled`;
}

/** Weights in TensorFlow.js's layout: [in, out] for dense layers, [height, width, in, out] for convolutions. */
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

export function step(task) {
  const { kind, batch, inputs, outputs, size, start } = task;
  const model = kind === "cnn" ? cnn(task) : mlp(task);
  const module = fromLayersModel(model);
  const x = tensor(start.x, kind === "cnn" ? [batch, size, size, 1] : [batch, inputs]);
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
      optimizer = new optim.Adam(module.parameters(), { lr: LR });
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
