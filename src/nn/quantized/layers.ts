/** Layers with int8 weights, for inference. */
import { isGradEnabled } from "../../core/context.ts";
import * as ops from "../../core/functions.ts";
import { asInternal } from "../../core/owners.ts";
import { fromElements, type Tensor } from "../../core/tensor.ts";
import { quantizedLinear } from "../../ops/matrix/quantized.ts";
import { Error } from "../../runtime/errors.ts";
import { kindOf } from "../../runtime/kinds.ts";
import { MultiheadAttention } from "../attention.ts";
import { inputOf, Module } from "../module.ts";
import { type Int8Weight, widen, widenRows } from "./matrix.ts";

/** Replaces properties of a module with getters that convert int8 weights to float32. The state dict has the weights as `int8.<name>`. */
export function widenOnUse(module: Module, weights: Readonly<Record<string, Int8Weight>>): void {
  const int8: Record<string, Pick<Int8Weight, "weight" | "scale">> = {};
  for (const [name, { weight, scale }] of Object.entries(weights)) {
    const own = { weight, scale };
    int8[name] = own;
    const get = (): Tensor => {
      requireInference(module);
      return widenRows(own);
    };
    Object.defineProperty(module, name, { get, configurable: true });
  }
  Object.defineProperty(module, "int8", { value: int8, enumerable: true });
}

/** @throws Error if a quantized layer would have to compute gradients */
function requireInference(module: Module, x?: Tensor): void {
  if (module.training)
    throw new Error(
      `${kindOf(module)}: a quantized model cannot be trained. Call eval() on it, and train the original model instead.`,
    );
  if (isGradEnabled() && x?.requiresGrad)
    throw new Error(
      `${kindOf(module)}: int8 layers have no gradients, but the input requires one. Call forward in noGrad(() => …), or pass x.detach().`,
    );
}

const product = asInternal(quantizedLinear);

/** A Linear layer with int8 weights. x: [..., inFeatures] → [..., outFeatures]. */
export class QuantizedLinear extends Module {
  static override readonly kind: string = "QuantizedLinear";
  /** The weights plus 128, uint8 [outFeatures, inFeatures]. */
  readonly int8: Tensor;
  /** The scale of each row, float32 [outFeatures]. */
  readonly scale: Tensor;
  /** The sum of each row of weights, int32 [outFeatures]. */
  readonly sums: Tensor;
  /** The bias, float32 [outFeatures], or null. */
  readonly bias: Tensor | null;

  constructor(
    { weight, scale, sums }: Int8Weight,
    bias: Tensor | null,
    private readonly weightsOnly: boolean,
  ) {
    super();
    this.int8 = weight;
    this.scale = scale;
    this.sums = fromElements(sums, [sums.length], "int32", "quantize").keep();
    this.bias = bias;
    this.training = false;
  }
  /** The weights in float32, [outFeatures, inFeatures]. Each access converts them again. */
  get weight(): Tensor {
    return widenRows({ weight: this.int8, scale: this.scale });
  }
  get outFeatures(): number {
    return this.int8.shape[0]!;
  }
  get inFeatures(): number {
    return this.int8.shape[1]!;
  }
  forward(x: Tensor): Tensor {
    return this.part(inputOf(this, x, arguments), 0, this.outFeatures);
  }
  /** Computes `count` output features, starting with feature `first`. */
  part(x: Tensor, first: number, count: number): Tensor {
    requireInference(this, x);
    const { int8: weight, scale, sums, bias, weightsOnly } = this;
    const options = { weightsOnly, rows: [first, count] } as const;
    return product(kindOf(this), x, { weight, scale, sums }, bias, options) as Tensor;
  }
  protected override describe(): string {
    return `inFeatures=${this.inFeatures}, outFeatures=${this.outFeatures}, bias=${this.bias !== null}`;
  }
}

/** An Embedding with int8 rows. index: int32 [...] → [..., embeddingDim]. */
export class QuantizedEmbedding extends Module {
  static override readonly kind: string = "QuantizedEmbedding";
  /** The rows plus 128, uint8 [numEmbeddings, embeddingDim]. */
  readonly int8: Tensor;
  /** The scale of each row, float32 [numEmbeddings]. */
  readonly scale: Tensor;

  constructor({ weight, scale }: Int8Weight) {
    super();
    this.int8 = weight;
    this.scale = scale;
    this.training = false;
  }
  /** The rows in float32, [numEmbeddings, embeddingDim]. Each access converts them again. */
  get weight(): Tensor {
    return widenRows({ weight: this.int8, scale: this.scale });
  }
  forward(index: Tensor): Tensor {
    requireInference(this);
    const { int8, scale } = this;
    return lookUp(inputOf(this, index, arguments, "index"), int8, scale);
  }
  protected override describe(): string {
    return this.int8.shape.join(", ");
  }
}

const lookUp = asInternal((index: Tensor, int8: Tensor, scale: Tensor) =>
  widen(ops.embedding(index, int8), ops.embedding(index, scale.reshape([scale.size, 1]))),
);

/** Multi-head attention whose projections have int8 weights. */
export class QuantizedMultiheadAttention extends MultiheadAttention {
  static override readonly kind: string = "QuantizedMultiheadAttention";
  /** The projection of queries, keys and values. */
  declare readonly inProj: QuantizedLinear;

  protected override inProject(x: Tensor, first: number, count: number): Tensor {
    return this.inProj.part(x, first, count);
  }
}
