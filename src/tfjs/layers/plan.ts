/**
 * A plan says how to run a TensorFlow.js layer on nabla: with which weights and which function. Plans are created and
 * checked for the whole model before any memory is allocated. The interfaces describe the parts of tfjs-layers that
 * nabla reads, so that nabla does not depend on that package.
 */
import type { Tensor as TfTensor } from "@tensorflow/tfjs-core";
import type { Tensor } from "../../core/tensor.ts";
import { Error, quote } from "../../runtime/errors.ts";

/** A layer's weight. */
export interface LayerVariable {
  readonly originalName: string;
  readonly shape: readonly (number | null)[];
  readonly constraint: object | null;
  read(): TfTensor;
  write(value: TfTensor): unknown;
}
/** A tensor in a model's graph. */
export interface SymbolicTensor {
  readonly shape: readonly (number | null)[];
  readonly sourceLayer: Layer;
  readonly inputs: readonly SymbolicTensor[];
}
export interface Layer {
  readonly name: string;
  readonly weights: readonly LayerVariable[];
  readonly losses: readonly unknown[];
  readonly inboundNodes: readonly { readonly outputTensors: readonly SymbolicTensor[] }[];
  getClassName(): string;
  getConfig(): object;
  /** The inner layers of wrappers. */
  readonly layer?: Layer;
  readonly forwardLayer?: Layer;
  readonly backwardLayer?: Layer;
  /** Options that getConfig() leaves out: noiseShape of AlphaDropout, and dataFormat of Conv1D. */
  readonly noiseShape?: readonly number[];
  readonly dataFormat?: string;
}
/**
 * A TensorFlow.js model: a `tf.Sequential` or a `tf.LayersModel`. This type does not depend on the package that defines
 * these classes.
 */
export interface LayersModel {
  /** The model's inputs, as symbolic tensors. */
  readonly inputs: readonly object[];
  /** The model's outputs, as symbolic tensors. */
  readonly outputs: readonly object[];
  /** The weights that TensorFlow.js trains. */
  readonly trainableWeights: readonly object[];
}
/** The parts of a model that nabla reads. */
export interface Model extends Layer {
  readonly inputs: readonly SymbolicTensor[];
  readonly outputs: readonly SymbolicTensor[];
  readonly trainableWeights: readonly LayerVariable[];
}

/** A weight and its layout in nabla. */
export interface Weight {
  readonly variable: LayerVariable;
  /** For each dim in nabla, the variable's dim in TensorFlow.js. Default: the same order. */
  readonly axes?: readonly number[];
  /** The shape in nabla, if it differs from the reordered shape. */
  readonly shape?: readonly number[];
  /** Whether this is a buffer, such as a running mean, which is never trained. */
  readonly isBuffer?: boolean;
}

/** The parts of a layer that its function may use. */
export interface Own {
  /** The tensors of the weights, keyed by nabla's names. */
  readonly weights: Readonly<Record<string, Tensor>>;
  /** The inner layers, keyed by name. */
  readonly layers: Readonly<Record<string, { forward(...inputs: Tensor[]): Outputs }>>;
  /** Whether the layer runs in training mode. */
  readonly training: boolean;
}
export type Outputs = Tensor | readonly Tensor[];

/** λ₁·Σ|w| + λ₂·Σw² of a weight. */
export interface Penalty {
  readonly weight: string;
  readonly l1: number;
  readonly l2: number;
}

export interface Plan {
  /** The layer's class in TensorFlow.js. */
  readonly className: string;
  /** The weights, keyed by nabla's names. */
  readonly weights: Readonly<Record<string, Weight>>;
  /** The inner layers, keyed by name. Their order depends on the architecture, not on the names. */
  readonly layers: ReadonlyMap<string, Plan>;
  /** The names of the inner layers, each listed as many times as the layer runs. */
  readonly calls: readonly string[];
  /** The penalties that TensorFlow.js adds to the loss each time the layer runs. */
  readonly penalties: readonly Penalty[];
  /** Computes the layer's result. */
  readonly run: (own: Own, ...inputs: Tensor[]) => Outputs;
}

// biome-ignore lint/suspicious/noExplicitAny: each layer knows its own options, and TensorFlow.js types them as unknown
export type Config = any;

/** The input of a rule: the layer, its options, its variables by name, and a function that plans inner layers. */
export interface Context {
  readonly layer: Layer;
  readonly config: Config;
  readonly variables: Readonly<Record<string, LayerVariable>>;
  readonly plan: (inner: Layer) => Plan;
}
/** Plans a layer of one class. */
export type Rule = (context: Context) => Partial<Plan> & Pick<Plan, "run">;

/** @throws Error that names the layer, what nabla does not support, and the fix */
export function reject(layer: Layer, problem: string, fix: string): never {
  throw new Error(`fromLayersModel: layer ${quote(layer.name)} (${layer.getClassName()}) ${problem}. ${fix}.`);
}

/** The result of a layer that returns one tensor. */
export const single = (outputs: Outputs): Tensor => (Array.isArray(outputs) ? outputs[0] : outputs) as Tensor;

/**
 * Adds the layer's variables to the layouts, and leaves out weights that the layer does not have, such as a missing
 * bias.
 */
export function weightsOf(
  variables: Context["variables"],
  layouts: Readonly<Record<string, Omit<Weight, "variable"> & { readonly of: string }>>,
): Record<string, Weight> {
  return Object.fromEntries(
    Object.entries(layouts).flatMap(([name, { of, ...layout }]) => {
      const variable = variables[of];
      return variable ? [[name, { variable, ...layout }]] : [];
    }),
  );
}
