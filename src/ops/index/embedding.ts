/** Embedding: reads rows of a table. The gradient of the table is dense or, on request, sparse. */
import { RangeError } from "../../runtime/errors.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { normalizeDim, type Value } from "../definition/value.ts";
import { ne, where } from "../pointwise/comparison.ts";
import { reshape } from "../shape/reshape.ts";
import { gatherDefinitions, type IndexAttributes } from "./gather.ts";

interface EmbeddingAttributes extends IndexAttributes {
  /** The row that gets no gradient. */
  readonly padding?: number;
  readonly sparse?: boolean;
}

/** The indices, with −1 in place of the row that gets no gradient. */
const trained = (index: Value, { padding }: EmbeddingAttributes): Value =>
  padding === undefined ? index : where(ne(index, padding), index, -1);

/** The rows of a table at the given indices. The gradient is dy, added to zeros at the same rows. */
export const embeddingDefinition: OpDefinition<EmbeddingAttributes> = {
  ...gatherDefinitions.indexSelect,
  name: "embedding",
  vjp: (dy, { inputs: [, index], attributes }) => [
    apply(gatherDefinitions.indexAdd, [dy, trained(index!, attributes)], {
      dim: 0,
      n: attributes.n,
      ...(attributes.padding !== undefined && { skips: true }),
    }),
    null,
  ],
  sparse: (dy, { inputs: [, index], attributes }) =>
    attributes.sparse ? { index: trained(index!, attributes), rows: dy } : undefined,
};

/**
 * The row that gets no gradient, counted from the start of a table with n rows; undefined if there is none.
 * @throws RangeError if it is not one of the n rows
 */
export function paddingRow(name: string, paddingIdx: number | undefined, n: number): number | undefined {
  if (paddingIdx === undefined) return undefined;
  const row = paddingIdx < 0 ? paddingIdx + n : paddingIdx;
  if (!(Number.isInteger(row) && row >= 0 && row < n))
    throw new RangeError(`${name}: paddingIdx must be a whole number in ${-n} … ${n - 1}, got ${paddingIdx}.`);
  return row;
}

/** Options for embedding. */
export interface EmbeddingOptions {
  /** The row that gets no gradient, counted from the end if negative. Default: none. */
  readonly paddingIdx?: number;
  /**
   * Whether the gradient of the weight is sparse: it then consists of the rows that were used. `optim.SparseAdam`, `optim.SGD` and
   * `optim.Adagrad` update only these rows. Default false.
   */
  readonly sparse?: boolean;
}

/**
 * The rows of `weight` at the given indices. The gradient is dy, added to zeros at the same rows.
 *
 * index: any shape, weight: [entries, size] → [...index.shape, size], the weight's type.
 *
 * @param index The indices of the rows, int32.
 * @param weight The table, one row per entry.
 * @throws RangeError if an index is outside the table, or paddingIdx is
 * @example
 * ```ts
 * const weight = tensor([[1, 2], [3, 4]]);
 * embedding(tensor([1, 0, 1], { dtype: "int32" }), weight).toArray(); // [[3, 4], [1, 2], [3, 4]]
 * ```
 * @op function
 */
export function embedding(index: Value, weight: Value, { paddingIdx, sparse = false }: EmbeddingOptions = {}): Value {
  const n = weight.shape[normalizeDim("embedding", 0, weight.shape.length)]!;
  const padding = paddingRow("embedding", paddingIdx, n);
  const rows = apply(embeddingDefinition, [weight, reshape(index, [index.size])], {
    dim: 0,
    n,
    caller: "embedding",
    ...(padding !== undefined && { padding }),
    ...(sparse && { sparse }),
  });
  return reshape(rows, [...index.shape, ...weight.shape.slice(1)]);
}
