/** TensorFlow.js's activations, keyed by name. */
import type { Tensor } from "../../core/tensor.ts";
import { type Layer, reject } from "./plan.ts";

export type Activation = (x: Tensor) => Tensor;

const activations: Readonly<Record<string, Activation>> = {
  elu: (x) => x.elu(),
  gelu: (x) => x.gelu(),
  gelu_new: (x) => x.gelu({ approximate: "tanh" }),
  hardSigmoid: (x) => x.mul(0.2).add(0.5).clamp(0, 1),
  linear: (x) => x,
  logSoftmax: (x) => x.logSoftmax(-1),
  mish: (x) => x.mish(),
  relu: (x) => x.relu(),
  relu6: (x) => x.clamp(0, 6),
  selu: (x) => x.selu(),
  sigmoid: (x) => x.sigmoid(),
  softmax: (x) => x.softmax(-1),
  softplus: (x) => x.softplus(),
  softsign: (x) => x.div(x.abs().add(1)),
  swish: (x) => x.silu(),
  tanh: (x) => x.tanh(),
};

/** @throws Error if the activation is a class that the user defined */
export function activationOf(layer: Layer, name: string): Activation {
  return (
    activations[name] ??
    reject(
      layer,
      `has the activation "${name}", which is not built into TensorFlow.js`,
      "Apply the activation to the model's output instead",
    )
  );
}
