/** Applies the activations of fused kernels. */
import { Activation } from "../../../assembly/opcodes.ts";
import type { Value } from "../../ops/definition/value.ts";
import { elu, leakyRelu, prelu, relu, sigmoid } from "../../ops/pointwise/activation.ts";
import { add } from "../../ops/pointwise/arithmetic.ts";
import { clamp } from "../../ops/pointwise/extremes.ts";
import { Error } from "../../runtime/errors.ts";
import type { Inputs } from "./kernel.ts";

/** The activations that nabla's products and convolutions apply while they write their results. */
const FUSED: Readonly<Record<string, Activation>> = {
  linear: Activation.None,
  relu: Activation.Relu,
  relu6: Activation.Relu6,
  sigmoid: Activation.Sigmoid,
};

/** Looks up an activation by TensorFlow.js's name. Returns None if nabla does not fuse it. */
export const fusedActivation = (name = "linear"): Activation => FUSED[name] ?? Activation.None;

/** All activations that TensorFlow.js's fused kernels support. */
const ACTIVATIONS = ["linear", "relu", "relu6", "elu", "sigmoid", "leakyrelu", "prelu"];
/** The default slope of tf.leakyRelu. */
const SLOPE = 0.2;

function activate(y: Value, name: string, alpha: Value | undefined, slope: number | undefined): Value {
  switch (name) {
    case "relu":
      return relu(y);
    case "relu6":
      return clamp(y, 0, 6);
    case "sigmoid":
      return sigmoid(y);
    case "elu":
      return elu(y);
    case "leakyrelu":
      return leakyRelu(y, slope ?? SLOPE);
    case "prelu":
      return prelu(y, alpha!);
    case "linear":
      return y;
    default:
      throw new Error(
        `the activation "${name}" cannot be fused. Use ${ACTIVATIONS.join(", ")}, or apply it to the result.`,
      );
  }
}

interface FusedAttributes {
  readonly activation?: string;
  readonly leakyreluAlpha?: number;
}

/**
 * Runs `compute`, a product or convolution, with the activation fused if possible. If nabla cannot fuse the activation,
 * or if `addsBias` is true, runs `compute` without an activation, adds the bias (only if `addsBias` is true), and then
 * applies the activation.
 */
export function finish(
  { bias, preluActivationWeights }: Inputs,
  { activation: name = "linear", leakyreluAlpha }: FusedAttributes,
  addsBias: boolean,
  compute: (activation: Activation) => Value,
): Value {
  if (!addsBias && name in FUSED) return compute(fusedActivation(name));
  const y = compute(Activation.None);
  return activate(addsBias ? add(y, bias!) : y, name, preluActivationWeights, leakyreluAlpha);
}
