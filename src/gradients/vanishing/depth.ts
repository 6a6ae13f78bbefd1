/** The gradient's path through a network's depth: what of it arrives at each layer's output. What residuals, gates and norms are for. */

import { onesLike } from "../../autograd/backward.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { type Module, nameOf } from "../../nn/module.ts";
import { check } from "../../runtime/arguments.ts";
import { arrivals, observed } from "../backpropagation/layers.ts";
import { norm } from "../math/vector.ts";

/** The gradient that arrives at one layer. */
export interface DepthRow {
  /** The layer's name in the model. */
  readonly name: string;
  /** The class of the layer. */
  readonly type: string;
  /** ‖∂L/∂y‖ of the layer's output y. */
  readonly gradient: number;
  /** How many numbers y has. */
  readonly size: number;
}

/**
 * ‖∂L/∂y‖ at the output of every module that `which` picks, in the order of the forward pass. By default those inside of the model that
 * have no modules inside themselves.
 *
 * ```ts
 * gradientByDepth(model, () => losses.mse(model.forward(x), y));   // [{ name: "0", type: "Linear", gradient: 0.01, … }, …]
 * ```
 * @param loss one number, from a forward pass of the model
 */
export function gradientByDepth(
  model: Module,
  loss: () => Tensor,
  options: {
    /** The modules to watch. Default: those without modules in them. */
    which?: (module: Module) => boolean;
  } = {},
): DepthRow[] {
  check("gradientByDepth", arguments, "model:module loss:function {which:function}");
  const { which = isLeaf } = options;
  return tidy(() => {
    const { result, passes } = observed(model, which, loss);
    const arrived = arrivals(result, onesLike(result), passes);
    return passes.map(({ name, module, probe }, i) => ({
      name,
      type: nameOf(module),
      gradient: norm(Float64Array.from(arrived[i]!.live())),
      size: probe.size,
    }));
  });
}

const isLeaf = (module: Module): boolean => module.namedChildren().next().done === true;
