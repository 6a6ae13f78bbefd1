/** Layers with weights of low precision, for inference. */
import { isGradEnabled } from "../../core/context.ts";
import * as ops from "../../core/functions.ts";
import { asInternal } from "../../core/owners.ts";
import { fromElements, Tensor } from "../../core/tensor.ts";
import { quantizedLinear } from "../../ops/matrix/quantized.ts";
import { widen, widenedLinear } from "../../ops/matrix/widen.ts";
import { Error } from "../../runtime/errors.ts";
import { kindOf } from "../../runtime/kinds.ts";
import { MultiheadAttention } from "../attention.ts";
import { inputOf, Module } from "../module.ts";
import { matrixOf, type NarrowWeight, type QuantizedType, widenRows } from "./matrix.ts";

/** @throws Error if a quantized layer would have to compute gradients */
function requireInference(module: Module, inputs: readonly unknown[]): void {
  if (module.training)
    throw new Error(
      `${kindOf(module)}: a quantized model cannot be trained. Call eval() on it, and train the original model instead.`,
    );
  if (isGradEnabled() && inputs.flat().some((x) => x instanceof Tensor && x.requiresGrad))
    throw new Error(
      `${kindOf(module)}: a quantized layer has no gradients, but the input requires one. Call forward in noGrad(() => …), or pass x.detach().`,
    );
}

/**
 * Replaces properties of a module with getters that convert low-precision numbers to float32. The state dict has the weights as
 * `<dtype>.<name>.weight` and, if the format has scales, `<dtype>.<name>.scale`.
 */
export function widenOnUse(module: Module, weights: Readonly<Record<string, NarrowWeight>>): void {
  const { forward } = module;
  const define = (name: string, property: PropertyDescriptor): void =>
    void Object.defineProperty(module, name, { configurable: true, ...property });
  define("forward", {
    writable: true,
    value(...inputs: unknown[]) {
      requireInference(module, inputs);
      return forward.apply(module, inputs) as unknown;
    },
  });
  const stored: Partial<Record<QuantizedType, Record<string, object>>> = {};
  for (const [name, small] of Object.entries(weights)) {
    const { dtype, weight, scale } = small;
    (stored[dtype] ??= {})[name] = { weight, ...(scale && { scale }) };
    define(name, { get: () => widenRows(small) });
  }
  for (const [dtype, value] of Object.entries(stored)) define(dtype, { value, enumerable: true });
}

/** A layer with one weight. The state dict has the weight under the name of its format, and its scales as `scale`. */
abstract class NarrowLayer extends Module {
  /** The scales, if the format has any. */
  declare readonly scale?: Tensor;
  /** @internal */
  protected declare readonly small: NarrowWeight;

  constructor(small: NarrowWeight) {
    super();
    const { dtype, weight, scale } = small;
    Object.defineProperty(this, "small", { value: small });
    Object.assign(this, { [dtype]: weight, ...(scale && { scale }) });
    this.training = false;
  }
  /** The weight in float32, [rows, columns]. Each access converts it again. */
  get weight(): Tensor {
    return widenRows(this.small);
  }
}

const int8Product = asInternal(quantizedLinear);
const product = asInternal(widenedLinear);

/** A Linear layer with weights of low precision. x: [..., inFeatures] → [..., outFeatures]. */
export class QuantizedLinear extends NarrowLayer {
  static override readonly kind: string = "QuantizedLinear";
  /** The sum of each row of weights, int32 [outFeatures], if the product is computed in int8. */
  declare readonly sums?: Tensor;
  /** The bias, float32 [outFeatures], or null. */
  readonly bias: Tensor | null;

  constructor(
    small: NarrowWeight,
    bias: Tensor | null,
    private readonly weightsOnly: boolean,
  ) {
    super(small);
    const { sums } = small;
    if (sums) Object.assign(this, { sums: fromElements(sums, [sums.length], "int32", "quantize").keep() });
    this.bias = bias;
  }
  get outFeatures(): number {
    return this.small.shape[0]!;
  }
  get inFeatures(): number {
    return this.small.shape[1]!;
  }
  forward(x: Tensor): Tensor {
    return this.part(inputOf(this, x, arguments), 0, this.outFeatures);
  }
  /** Computes `count` output features, starting with feature `first`. */
  part(x: Tensor, first: number, count: number): Tensor {
    requireInference(this, [x]);
    const { small, sums, bias, weightsOnly, inFeatures } = this;
    const [name, rows] = [kindOf(this), [first, count] as const];
    if (!sums) return product(name, x, matrixOf(small), inFeatures, bias, rows) as Tensor;
    const { weight, scale } = small;
    return int8Product(name, x, { weight, scale: scale!, sums }, bias, { weightsOnly, rows }) as Tensor;
  }
  protected override describe(): string {
    return `inFeatures=${this.inFeatures}, outFeatures=${this.outFeatures}, bias=${this.bias !== null}`;
  }
}

/** An Embedding with rows of low-precision numbers. index: int32 [...] → [..., embeddingDim]. */
export class QuantizedEmbedding extends NarrowLayer {
  static override readonly kind: string = "QuantizedEmbedding";

  forward(index: Tensor): Tensor {
    requireInference(this, []);
    return lookUp(inputOf(this, index, arguments, "index"), this.small);
  }
  protected override describe(): string {
    return this.small.shape.join(", ");
  }
}

const lookUp = asInternal((index: Tensor, small: NarrowWeight) => {
  const { weight, scale, kind } = matrixOf(small) as { weight: Tensor; scale: Tensor | null; kind: number };
  const rows = (table: Tensor): Tensor => ops.embedding(index, table.reshape([small.shape[0]!, -1]));
  const part = { weight: rows(weight), scale: scale && rows(scale), kind };
  return widen(part, [...index.shape, small.shape[1]!]) as Tensor;
});

/** Multi-head attention whose projections have weights of low precision. */
export class QuantizedMultiheadAttention extends MultiheadAttention {
  static override readonly kind: string = "QuantizedMultiheadAttention";
  /** The projection of queries, keys and values. */
  declare readonly inProj: QuantizedLinear;

  protected override inProject(x: Tensor, first: number, count: number): Tensor {
    return this.inProj.part(x, first, count);
  }
}
