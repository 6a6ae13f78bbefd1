/** Embedding: a learnable vector per index. */

import { randn } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, requireWhole } from "../runtime/errors.ts";
import { inputOf, Module, parameter } from "./module.ts";

/** Options for Embedding. */
export interface EmbeddingOptions {
  /** The row that is initially 0 and never trained, counted from the end if negative. Default: none. */
  readonly paddingIdx?: number;
}

/**
 * Looks up rows of a learnable weight [numEmbeddings, embeddingDim], initially N(0, 1). To tie input and output embeddings, multiply
 * by `weight.t()` at the output.
 *
 * ```ts
 * new nn.Embedding(100, 8).forward(tensor([3, 7], { dtype: "int32" })).shape; // [2, 8]
 * ```
 * @throws RangeError if a size is not a whole number above 0, or paddingIdx is out of range
 */
export class Embedding extends Module {
  static override readonly kind: string = "Embedding";
  /** The table of vectors, [numEmbeddings, embeddingDim]. */
  readonly weight: Tensor;
  /** The row that is not trained, or null. */
  readonly paddingIdx: number | null;

  /** @param numEmbeddings the number of rows, one per index @param embeddingDim the number of elements per row */
  constructor(
    /** The number of vectors. */
    readonly numEmbeddings: number,
    /** The size of each vector. */
    readonly embeddingDim: number,
    options: EmbeddingOptions = {},
  ) {
    super();
    check("Embedding", arguments, "numEmbeddings:number embeddingDim:number {paddingIdx:number}");
    const { paddingIdx } = options;
    requireWhole("Embedding", { numEmbeddings, embeddingDim });
    const padding = paddingIdx === undefined ? null : paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
    if (padding !== null && !(Number.isInteger(padding) && padding >= 0 && padding < numEmbeddings))
      throw new RangeError(
        `Embedding: paddingIdx must be a whole number in ${-numEmbeddings} … ${numEmbeddings - 1}, got ${paddingIdx}.`,
      );
    this.paddingIdx = padding;
    const weight = randn([numEmbeddings, embeddingDim]);
    if (padding !== null) weight.live().fill(0, padding * embeddingDim, (padding + 1) * embeddingDim);
    this.weight = parameter(weight, this);
  }
  /**
   * index: int32 of any shape [...] → [..., embeddingDim].
   * @throws DTypeError if the index is not int32; RangeError if an index is out of range
   */
  forward(index: Tensor): Tensor {
    const y = ops.embedding(inputOf(this, index, arguments, "index"), this.weight);
    if (this.paddingIdx === null) return y;
    // Both operands of `where` have the same values, but the padding row gets no gradient through the detached one.
    return y.where(index.ne(this.paddingIdx).unsqueeze(-1), y.detach());
  }
  protected override describe(): string {
    const padding = this.paddingIdx === null ? "" : `, paddingIdx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}`;
  }
}
