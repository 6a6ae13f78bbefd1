/** Sparse gradients: rows of a table. Their cost depends on the number of indices, not on the size of the table. */
import { Op } from "../../../assembly/opcodes.ts";
import { encodeUnique } from "../../runtime/instructions.ts";
import { apply, applyAll, type OpDefinition, type SparseRows } from "../definition/op.ts";
import type { Value } from "../definition/value.ts";
import { concat } from "../shape/shape.ts";
import { gatherDefinitions } from "./gather.ts";

/**
 * The distinct indices in ascending order, followed by −1s, and the position of each index among them. Indices outside
 * 0 … n − 1 are ignored, and their position is −1. No gradient.
 *
 * index: int32 [count] → int32 [min(count, n)], int32 [count].
 */
export const uniqueDefinition: OpDefinition<{ readonly n: number }> = {
  code: Op.Unique,
  name: "unique",
  cost: 0,
  flops: () => 0,
  infer: ([index], { n }) => [{ shape: [Math.min(index!.size, n)], dtype: "int32" }, index!],
  encode(encoder, { inputs: [index], outputs: [out, inverse], attributes: { n }, address }) {
    const count = index!.size;
    const workspace = encoder.workspace(4 * (256 + 2 * count));
    const operands = { out: address(out!), inverse: address(inverse!), index: address(index!) };
    encodeUnique(encoder, { ...operands, n, count, workspace });
  },
};

/**
 * Joins the parts of a table's gradient, and adds up the rows that have the same row number, in order. The row numbers
 * of the result are distinct and ascending, followed by −1s, whose rows are 0.
 */
export function coalesce(parts: readonly SparseRows[], n: number): SparseRows {
  const join = (values: readonly Value[]): Value => (values.length === 1 ? values[0]! : concat(values, 0));
  const [index, inverse] = applyAll(uniqueDefinition, [join(parts.map((part) => part.index))], { n });
  const rows = join(parts.map((part) => part.rows));
  const sums = apply(gatherDefinitions.indexAdd, [rows, inverse!], { dim: 0, n: index!.size, skips: true });
  return { index: index!, rows: sums };
}

/** The gradient as a table [n, …]. */
export const densify = ({ index, rows }: SparseRows, n: number): Value =>
  apply(gatherDefinitions.indexAdd, [rows, index], { dim: 0, n, skips: true });
