/** Embedding: a learnt vector for each of a number of things. */

import { randn } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, requireWhole } from "../runtime/errors.ts";
import { inputOf, Module, parameter } from "./module.ts";

/**
 * Rows of weight [numEmbeddings, embeddingDim] at an index, int32 of any shape: [...] → [..., embeddingDim]. The weight starts
 * normal, and `paddingIdx`'s row 0; that row has no gradient. To tie weights, multiply by
 * `weight.t()` where the vectors are to be read back.
 */
export class Embedding extends Module {
  static override readonly kind: string = "Embedding";
  /** The table of vectors, [numEmbeddings, embeddingDim]. */
  readonly weight: Tensor;
  /** The row that is not learnt; null where all are. */
  readonly paddingIdx: number | null;

  constructor(
    /** The number of vectors. */
    readonly numEmbeddings: number,
    /** The size of each vector. */
    readonly embeddingDim: number,
    options: {
      /** The row that is 0 and is not trained; a negative number counts from the end. Default: none. */
      readonly paddingIdx?: number;
    } = {},
  ) {
    super();
    check("Embedding", arguments, "numEmbeddings:number embeddingDim:number {paddingIdx:number}");
    const { paddingIdx } = options;
    requireWhole("Embedding", { numEmbeddings, embeddingDim });
    const padding = paddingIdx === undefined ? null : paddingIdx < 0 ? paddingIdx + numEmbeddings : paddingIdx;
    if (padding !== null && !(Number.isInteger(padding) && padding >= 0 && padding < numEmbeddings))
      throw new RangeError(`Embedding: paddingIdx is ${paddingIdx}, but must be one of ${numEmbeddings} rows.`);
    this.paddingIdx = padding;
    const weight = randn([numEmbeddings, embeddingDim]);
    if (padding !== null) weight.live().fill(0, padding * embeddingDim, (padding + 1) * embeddingDim);
    this.weight = parameter(weight, this);
  }
  /**
   * Looks up vectors. index: any shape, int32 → [...index.shape, embeddingDim].
   * @throws RangeError for an index outside the table
   */
  forward(index: Tensor): Tensor {
    const y = ops.embedding(inputOf(this, index, arguments, "index"), this.weight);
    if (this.paddingIdx === null) return y;
    // The same values everywhere, but no gradient from the padding's rows.
    return y.where(index.ne(this.paddingIdx).unsqueeze(-1), y.detach());
  }
  protected override describe(): string {
    const padding = this.paddingIdx === null ? "" : `, paddingIdx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}`;
  }
}
