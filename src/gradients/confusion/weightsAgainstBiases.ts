/**
 * Compares the gradients of weights and biases. The ratio of their norms depends on the scale of the layer's inputs.
 */

import { onesLike } from "../../autograd/backward.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { Linear } from "../../nn/layers.ts";
import type { Module } from "../../nn/module.ts";
import { check } from "../../runtime/arguments.ts";
import { asPositions, outputGradients, recordPasses } from "../backpropagation/layers.ts";
import { norm } from "../math/vector.ts";

/** The norms of the gradients with respect to a Linear layer's weight W and bias b. */
export interface WeightBias {
  /** The layer's path in the model. */
  readonly name: string;
  /** ‖∂L/∂W‖. */
  readonly weight: number;
  /** ‖∂L/∂b‖. */
  readonly bias: number;
  /** weight/bias. For a single sample, this is the length of the input, because ∂L/∂W = g·xᵀ and ∂L/∂b = g. */
  readonly ratio: number;
  /** The root mean square of the input vectors' lengths. */
  readonly inputLength: number;
}

/**
 * Compares the gradients of weight and bias for each Linear layer with a bias. In a step of gradient descent, the one
 * with the larger gradient changes more.
 * @param loss runs a forward pass of the model and returns a single number
 */
export function weightsAgainstBiases(model: Module, loss: () => Tensor): WeightBias[] {
  check("weightsAgainstBiases", arguments, "model:module loss:function");
  return tidy(() => {
    const { result, passes } = recordPasses(model, (module) => module instanceof Linear && module.bias !== null, loss);
    const dys = outputGradients(result, onesLike(result), passes);
    return passes.map(({ name, input }, i) => {
      const [x, g] = [asPositions(input), asPositions(dys[i]!)];
      const [rows, gradients] = [x.reshape([-1, x.shape[2]!]), g.reshape([-1, g.shape[2]!])];
      const lengthOf = (t: Tensor): number => norm(Float64Array.from(t.live()));
      const [weight, bias] = [lengthOf(gradients.t().matmul(rows)), lengthOf(gradients.sum(0))];
      return { name, weight, bias, ratio: weight / bias, inputLength: lengthOf(rows) / Math.sqrt(rows.shape[0]!) };
    });
  });
}
