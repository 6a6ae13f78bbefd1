/** Turns tfjs-layers models into modules. */
import { tensor as tfTensor } from "@tensorflow/tfjs-core";
import { withGrad } from "../../core/context.ts";
import { tensor, zeros } from "../../core/creation.ts";
import { tidy } from "../../core/scope.ts";
import type { Tensor } from "../../core/tensor.ts";
import { Module, parameter } from "../../nn/module.ts";
import { type Shape, sameShape, show } from "../../ops/definition/value.ts";
import { check } from "../../runtime/arguments.ts";
import { quote, ShapeError, TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { planOf } from "./graph.ts";
import type { LayersModel, LayerVariable, Model, Outputs, Penalty, Plan, SymbolicTensor, Weight } from "./plan.ts";

export type { LayersModel } from "./plan.ts";

/** A variable's values in nabla's layout. */
const valuesOf = ({ variable, axes, shape }: Weight): Tensor =>
  tidy(() => {
    const x = tensor(variable.read().dataSync() as Float32Array, variable.shape as number[]);
    const moved = axes ? x.permute(axes) : x;
    return shape ? moved.reshape(shape) : moved;
  });

const shapeOf = ({ variable, axes, shape }: Weight): Shape =>
  shape ?? (axes ? axes.map((axis) => variable.shape[axis]!) : (variable.shape as number[]));

/** Writes values in nabla's layout into the variable. */
function assign({ variable, axes }: Weight, value: Tensor): void {
  const values = tidy(() => {
    if (!axes) return value.data;
    const inverse = axes.map((_, i) => axes.indexOf(i));
    return value.reshape(axes.map((axis) => variable.shape[axis]!)).permute(inverse).data;
  });
  const x = tfTensor(values, variable.shape as number[]);
  variable.write(x);
  x.dispose();
}

/** A plan's weights, each listed once, in an order that depends only on the architecture. */
function weightsIn(plan: Plan, seen = new Set<Plan>()): Weight[] {
  if (seen.has(plan)) return [];
  seen.add(plan);
  return [...Object.values(plan.weights), ...[...plan.layers.values()].flatMap((inner) => weightsIn(inner, seen))];
}

/** The data that the constructors of a model's modules share. */
interface Making {
  /** The modules, keyed by plan. A layer that is used several times has one module. */
  readonly modules: Map<Plan, LayerModule>;
  /** The weights that TensorFlow.js trains. */
  readonly trainable: ReadonlySet<LayerVariable>;
  /** The tensors that were created, in the order of weightsIn. */
  readonly tensors: Tensor[];
}

/** A layer of a TensorFlow.js layers model, or a model that is nested in one. */
export class LayerModule extends Module {
  static override readonly kind: string = "LayerModule";
  /** The layer's class in TensorFlow.js, such as "Dense". */
  readonly className: string;
  /** The inner layers of a model or a wrapper, keyed by name. */
  declare readonly layers: Readonly<Record<string, LayerModule>>;
  /**
   * The layer's own weights in nabla's layout, keyed by nabla's names, such as "weight" and "bias". Each is also a
   * property of the module.
   */
  declare readonly weights: Readonly<Record<string, Tensor>>;
  private declare readonly run: Plan["run"];
  private declare readonly penalties: () => Tensor[];

  /** @internal */
  constructor(plan: Plan, making: Making) {
    super();
    making.modules.set(plan, this);
    // Do not keep the plan itself, because it refers to TensorFlow.js's weights.
    const { className, run, penalties, calls } = plan;
    this.className = className;
    const define = (name: string, value: unknown, enumerable: boolean): void =>
      void Object.defineProperty(this, name, { value, enumerable });
    const weights = Object.entries(plan.weights).map(([name, weight]) => {
      const value = valuesOf(weight);
      if (weight.isBuffer) value.keep();
      else parameter(value, this).requiresGrad = making.trainable.has(weight.variable);
      making.tensors.push(value);
      define(name, value, true);
      return [name, value] as const;
    });
    const layers = Array.from(
      plan.layers,
      ([name, inner]) => [name, making.modules.get(inner) ?? new LayerModule(inner, making)] as const,
    );
    define("weights", Object.fromEntries(weights), false);
    define("layers", Object.fromEntries(layers), true);
    define("run", run, false);
    const own = ({ weight, l1, l2 }: Penalty): Tensor => {
      const w = this.weights[weight]!;
      return w.abs().sum().mul(l1).add(w.square().sum().mul(l2));
    };
    const inner = (name: string): Tensor => this.layers[name]!.regularization();
    define("penalties", () => [...penalties.map(own), ...calls.map(inner)], false);
  }

  /** Computes the layer's outputs. Takes and returns as many tensors as the layer does in TensorFlow.js. */
  forward(...inputs: Tensor[]): Outputs {
    return this.run(this, ...inputs);
  }

  /**
   * The sum of the regularizers' penalties, λ₁·Σ|w| + λ₂·Σw², which TensorFlow.js's `fit` adds to the loss. A layer is
   * counted each time it runs. → float32 [].
   *
   * @example
   * ```ts
   * optimizer.minimize(() => losses.mse(module.forward(x), y).add(module.regularization()));
   * ```
   */
  regularization(): Tensor {
    return this.penalties().reduce((a, b) => a.add(b), zeros([]));
  }
  protected override describe(): string {
    return [this.className, ...Object.entries(this.weights).map(([name, w]) => `${name}=${show(w.shape)}`)].join(", ");
  }
}

/** A TensorFlow.js layers model as a module. `fromLayersModel` creates it. */
export class LayersModule<Y extends Outputs = Tensor> extends LayerModule {
  static override readonly kind: string = "LayersModule";
  /** The names and shapes of the inputs. */
  private declare readonly expected: readonly { readonly name: string; readonly shape: SymbolicTensor["shape"] }[];
  /** The tensors of all weights, in the order of weightsIn. */
  private declare readonly tensors: readonly Tensor[];

  /** @internal */
  constructor(plan: Plan, making: Making, inputs: readonly SymbolicTensor[]) {
    super(plan, making);
    const expected = inputs.map(({ sourceLayer: { name }, shape }) => ({ name, shape }));
    Object.defineProperty(this, "expected", { value: expected });
    Object.defineProperty(this, "tensors", { value: making.tensors });
  }

  /**
   * Computes the model's outputs. inputs: one tensor per input of the model, in the model's order, each [batch, …] → one tensor, or a list
   * if the model has several outputs.
   * @throws TypeError if the number of inputs is wrong; ShapeError if a shape is wrong
   */
  override forward(...inputs: Tensor[]): Y {
    check("LayersModule", inputs, "...input:tensor");
    const { expected } = this;
    if (inputs.length !== expected.length)
      throw new TypeError(
        `LayersModule: the model has ${expected.length} input${expected.length === 1 ? "" : "s"} (${expected.map(({ name }) => name).join(", ")}), got ${inputs.length}. Pass each input as an argument.`,
      );
    for (const [i, { name, shape }] of expected.entries()) {
      const own = inputs[i]!.shape;
      if (own.length !== shape.length || shape.some((n, dim) => n !== null && n !== own[dim]))
        throw new ShapeError(
          `LayersModule: input ${quote(name)} must be [${shape.map((n) => n ?? "any").join(", ")}], got ${show(own)}.`,
        );
    }
    return super.forward(...inputs) as Y;
  }

  /**
   * Copies a model's parameters and running statistics into this module, for example after TensorFlow.js has trained
   * the model or loaded its weights.
   * @param model The model that this module was made from, or one with the same layers.
   * @returns this module
   * @throws ShapeError if the weights do not fit; in that case, nothing changes
   * @example
   * ```ts
   * await model.fit(x, y);
   * module.copyFrom(model);
   * ```
   */
  copyFrom(model: LayersModel): this {
    const weights = this.match("copyFrom", model);
    tidy(() => withGrad(false, () => weights.forEach(([weight, own]) => void own.copyFrom(valuesOf(weight)))));
    return this;
  }

  /**
   * Writes the parameters and running statistics into a model, so that TensorFlow.js can predict with it or save it.
   * @param model The model that this module was made from, or one with the same layers.
   * @throws ShapeError if the weights do not fit; in that case, nothing changes
   * @example
   * ```ts
   * module.copyTo(model);
   * await model.save("indexeddb://mine");
   * ```
   */
  copyTo(model: LayersModel): void {
    for (const [weight, own] of this.match("copyTo", model)) assign(weight, own);
  }

  /** Pairs the model's weights with this module's tensors. @throws TypeError, ShapeError */
  private match(name: string, model: LayersModel): (readonly [Weight, Tensor])[] {
    requireModel(name, model);
    const weights = weightsIn(planOf(model));
    const { tensors } = this;
    if (weights.length !== tensors.length)
      throw new ShapeError(
        `${name}: the model has ${weights.length} weights, and the module has ${tensors.length}. Pass a model with the same layers.`,
      );
    return weights.map((weight, i) => {
      const shape = shapeOf(weight);
      const own = tensors[i]!;
      if (!sameShape(shape, own.shape))
        throw new ShapeError(
          `${name}: the model's ${quote(weight.variable.originalName)} must be ${show(own.shape)} in nabla's layout, got ${show(shape)}. Pass a model with the same layers.`,
        );
      return [weight, own];
    });
  }
}

function requireModel(name: string, model: unknown): asserts model is Model {
  if (typeof model !== "object" || model === null || !("outputs" in model && "trainableWeights" in model))
    throw new TypeError(
      `${name}: model must be a tf.LayersModel, got ${describe(model)}. Pass the result of tf.sequential, tf.model or tf.loadLayersModel.`,
    );
}

/**
 * Converts a TensorFlow.js layers model to a module that computes the same outputs with its own copy of the weights. `compile` then runs a
 * whole training step in one call, and `copyTo` writes the trained weights back into the model.
 *
 * The module starts in training mode. Weights that TensorFlow.js does not train have requiresGrad false. A loss, an optimizer and metrics
 * are not part of the module; add `module.regularization()` to the loss if layers have regularizers.
 *
 * @param model A `tf.Sequential`, or a `tf.LayersModel` with any number of inputs and outputs.
 * @throws TypeError if model is not a model
 * @throws Error that names the layer if nabla does not support its class or one of its options
 * @example
 * ```ts
 * const module = fromLayersModel(model);
 * const optimizer = new optim.Adam(module.parameters());
 * const step = compile((x: Tensor, y: Tensor) => optimizer.minimize(() => losses.mse(module.forward(x), y)));
 * ```
 */
export function fromLayersModel<Y extends Outputs = Tensor>(model: LayersModel): LayersModule<Y> {
  check("fromLayersModel", arguments, "model:any");
  requireModel("fromLayersModel", model);
  const trainable = new Set(model.trainableWeights);
  return new LayersModule<Y>(planOf(model), { modules: new Map(), trainable, tensors: [] }, model.inputs);
}
