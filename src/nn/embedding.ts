/** Embedding: a learnable vector per index. */

import { randn } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { type EmbeddingOptions, paddingRow } from "../ops/index/embedding.ts";
import { check } from "../runtime/arguments.ts";
import { requireWhole } from "../runtime/errors.ts";
import { inputOf, Module, parameter } from "./module.ts";

export type { EmbeddingOptions };

/**
 * Looks up rows of a learnable weight [numEmbeddings, embeddingDim], initially N(0, 1). To tie input and output embeddings, multiply
 * by `weight.t()` at the output. The row `paddingIdx` is initially 0 and never trained.
 *
 * With `sparse: true`, the gradient of the weight consists of the rows that were used, so a step takes time for these
 * rows instead of the whole table. Train it with `optim.SparseAdam`, `optim.SGD` or `optim.Adagrad`. Reading
 * `weight.grad` allocates the whole table. The gradient is dense if the weight is also used in another way, such as in
 * a tied output layer, or if second derivatives are needed.
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
  /** Whether the gradient of the weight is sparse. */
  readonly sparse: boolean;

  /** @param numEmbeddings the number of rows, one per index @param embeddingDim the number of elements per row */
  constructor(
    /** The number of vectors. */
    readonly numEmbeddings: number,
    /** The size of each vector. */
    readonly embeddingDim: number,
    options: EmbeddingOptions = {},
  ) {
    super();
    check("Embedding", arguments, "numEmbeddings:number embeddingDim:number {paddingIdx:number sparse:boolean}");
    const { paddingIdx, sparse = false } = options;
    requireWhole("Embedding", { numEmbeddings, embeddingDim });
    const padding = paddingRow("Embedding", paddingIdx, numEmbeddings);
    this.paddingIdx = padding ?? null;
    this.sparse = sparse;
    const weight = randn([numEmbeddings, embeddingDim]);
    if (padding !== undefined) weight.live().fill(0, padding * embeddingDim, (padding + 1) * embeddingDim);
    this.weight = parameter(weight, this);
  }
  /**
   * index: int32 of any shape [...] → [..., embeddingDim].
   * @throws DTypeError if the index is not int32; RangeError if an index is out of range
   */
  forward(index: Tensor): Tensor {
    const { weight, paddingIdx, sparse } = this;
    const options = { sparse, ...(paddingIdx !== null && { paddingIdx }) };
    return ops.embedding(inputOf(this, index, arguments, "index"), weight, options);
  }
  protected override describe(): string {
    const padding = this.paddingIdx === null ? "" : `, paddingIdx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}${this.sparse ? ", sparse=true" : ""}`;
  }
}
