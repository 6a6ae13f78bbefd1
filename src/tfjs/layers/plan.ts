/**
 * A plan says how a TensorFlow.js layer maps to nabla: its weights and its function. Plans are made and checked for the
 * whole model before any memory is allocated. The interfaces describe the parts of tfjs-layers that nabla reads, so
 * that it does not depend on that package.
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
  /** Options that getConfig lacks in AlphaDropout and in Conv1D. */
  readonly noiseShape?: readonly number[];
  readonly dataFormat?: string;
}
/**
 * A TensorFlow.js model: a `tf.Sequential` or a `tf.LayersModel`. This type does not depend on the package that defines
 * them.
 */
export interface LayersModel {
  /** The model's inputs, as placeholders. */
  readonly inputs: readonly object[];
  /** The model's outputs, as placeholders. */
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
  /** The order that the variable's dims have in nabla. Default: the same as in TensorFlow.js. */
  readonly axes?: readonly number[];
  /** The shape after reordering, if it differs. */
  readonly shape?: readonly number[];
  /** Whether this is a buffer, such as a running mean, which is never trained. */
  readonly isBuffer?: boolean;
}

/** The parts of a layer that its function may use. */
export interface Own {
  /** The tensors of the weights by nabla's names. */
  readonly weights: Readonly<Record<string, Tensor>>;
  /** The inner layers by name. */
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
  /** The weights by nabla's names. */
  readonly weights: Readonly<Record<string, Weight>>;
  /** The inner layers by name, in an order that does not depend on their names. */
  readonly layers: ReadonlyMap<string, Plan>;
  /** The names of the inner layers that run. A layer that runs several times is listed that many times. */
  readonly calls: readonly string[];
  /** What TensorFlow.js adds to the loss each time the layer runs. */
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

/** The only tensor of a layer's result. */
export const single = (outputs: Outputs): Tensor => (Array.isArray(outputs) ? outputs[0] : outputs) as Tensor;

/** Selects the weights that exist. For example, a layer without a bias has no variable for it. */
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
