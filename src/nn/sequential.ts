/** Sequential, which runs modules in order. */

import { Tensor } from "../core/tensor.ts";
import { withUndo } from "../core/undo.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, ShapeError, TypeError } from "../runtime/errors.ts";
import { describe, kindOf } from "../runtime/kinds.ts";
import { inputOf, Module } from "./module.ts";

/**
 * Runs modules in order, each on the result of the previous one. Parameter names begin with the module's position: `0.weight`.
 *
 * ```ts
 * const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 2));
 * ```
 * @throws TypeError if a layer is not a module
 */
export class Sequential extends Module {
  static override readonly kind: string = "Sequential";
  /** The modules, in the order in which they run. Replace one with `set`. */
  readonly layers: readonly Module[];
  /** The module at a position, as in `layers`. */
  readonly [index: number]: Module;

  constructor(...layers: Module[]) {
    super();
    check("Sequential", layers, "...layer:module");
    this.layers = Object.freeze(layers);
    layers.forEach((layer, i) => void this.place(i, layer));
    Object.defineProperty(this, "layers", { enumerable: false });
  }

  /** Gives a layer PyTorch's name (0, 1, …), so that PyTorch's state dicts can be loaded. */
  private place(i: number, value: Module): void {
    Object.defineProperty(this, i, { value, enumerable: true, configurable: true });
  }

  /**
   * Replaces the module at a position. Negative positions count from the end. The replaced module is not disposed, and optimizers keep its
   * parameters, so make the optimizer afterwards.
   *
   * ```ts
   * model.set(-1, new nn.Linear(8, 5));
   * ```
   * @returns this module
   * @throws RangeError if there is no such position, TypeError if the layer is not a module
   */
  set(index: number, layer: Module): this {
    check("set", arguments, "index:number layer:module");
    const { layers } = this;
    const at = index < 0 ? index + layers.length : index;
    if (!(at in layers))
      throw new RangeError(`set: there is no layer ${index}. Use ${-layers.length} … ${layers.length - 1}.`);
    // Make a new array, because compile notices a new array even if its length is the same.
    (this as { layers: readonly Module[] }).layers = Object.freeze(layers.map((old, i) => (i === at ? layer : old)));
    this.place(at, layer);
    return this;
  }

  /**
   * Passes x through all layers.
   * @throws TypeError if the last layer returns nothing, or an earlier layer does not return one tensor
   */
  forward(x: Tensor): Tensor {
    inputOf(this, x, arguments);
    const last = this.layers.length - 1;
    const pass = (value: Tensor, layer: Module, i: number): Tensor => {
      let result: unknown;
      try {
        result = layer.forward(value);
      } catch (error) {
        if (!(error instanceof ShapeError)) throw error;
        // For nested Sequentials, the message contains a single path, such as 2.0.
        const inner = /^Sequential: layer (.*)$/s.exec(error.message)?.[1];
        const path = inner ? `${i}.${inner}` : `${i} (${kindOf(layer)}) failed. ${error.message}`;
        throw new ShapeError(`Sequential: layer ${path}`, { cause: error });
      }
      if (i < last && !(result instanceof Tensor))
        throw new TypeError(
          `Sequential: layer ${i} (${kindOf(layer)}) returned ${describe(result)}, but the next layer needs one tensor. ` +
            "Wrap it in a module whose forward returns the tensor you need.",
        );
      if (result === undefined)
        throw new TypeError(
          `Sequential: layer ${i} (${kindOf(layer)}) returned nothing. Return the result from its forward.`,
        );
      return result as Tensor;
    };
    return withUndo(() => this.layers.reduce(pass, x));
  }
}
