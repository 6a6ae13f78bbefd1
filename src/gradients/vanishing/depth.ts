/** Gradient norms across the depth of a network: how much of the gradient reaches each layer's output. */

import { onesLike } from "../../autograd/backward.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { type Module, nameOf } from "../../nn/module.ts";
import { check } from "../../runtime/arguments.ts";
import { outputGradients, recordPasses } from "../backpropagation/layers.ts";
import { norm } from "../math/vector.ts";

/** The gradient at the output y of one layer. */
export interface DepthRow {
  /** The layer's path in the model. */
  readonly name: string;
  /** The layer's kind, such as "Linear". */
  readonly type: string;
  /** ‖∂L/∂y‖. */
  readonly gradient: number;
  /** The number of elements of y. */
  readonly size: number;
}

export interface DepthOptions {
  /** Selects the modules to measure. Default: the modules without children. */
  which?: (module: Module) => boolean;
}

/**
 * ‖∂L/∂y‖ at the output y of each selected module, in the order of the forward pass.
 *
 * ```ts
 * gradientByDepth(model, () => losses.mse(model.forward(x), y));   // [{ name: "0", type: "Linear", gradient: 0.01, … }, …]
 * ```
 * @param loss runs a forward pass of the model and returns a single number
 */
export function gradientByDepth(model: Module, loss: () => Tensor, options: DepthOptions = {}): DepthRow[] {
  check("gradientByDepth", arguments, "model:module loss:function {which:function}");
  const { which = isLeaf } = options;
  return tidy(() => {
    const { result, passes } = recordPasses(model, which, loss);
    const gradients = outputGradients(result, onesLike(result), passes);
    return passes.map(({ name, module, probe }, i) => ({
      name,
      type: nameOf(module),
      gradient: norm(Float64Array.from(gradients[i]!.live())),
      size: probe.size,
    }));
  });
}

/** Whether a module has no children. */
export const isLeaf = (module: Module): boolean => module.namedChildren().next().done === true;
