/** Triangles of matrices, and the causal mask, which is a triangle. */
import { DTypeError, ShapeError } from "../../runtime/errors.ts";
import { show, type Value } from "../definition/value.ts";
import { sub } from "../pointwise/arithmetic.ts";
import { le, where } from "../pointwise/comparison.ts";
import { logicalAnd, logicalNot } from "../pointwise/logical.ts";
import { cumsum } from "../reduce/reduce.ts";
import { reshape } from "./reshape.ts";
import { full } from "./shape.ts";

/** 1 … n. */
export const counting = (n: number): Value => cumsum(full([n], 1), 0);

/** True where column − row ≤ diagonal: bool, [rows, columns]. */
function lower(rows: number, columns: number, diagonal: number): Value {
  return le(sub(reshape(counting(columns), [1, columns]), reshape(counting(rows), [rows, 1])), diagonal);
}

/** The mask that causal attention adds to scores: 0 where key ≤ query + offset, −∞ elsewhere. */
export function causalMask(queries: number, keys: number, offset: number): Value {
  return where(lower(queries, keys, offset), full([], 0), Number.NEGATIVE_INFINITY);
}

function sides(op: string, x: Value): [number, number] {
  const [rows, columns] = x.shape.slice(-2);
  if (rows === undefined || columns === undefined)
    throw new ShapeError(`${op}: the matrix must be [..., rows, columns], got ${show(x.shape)}.`);
  return [rows, columns];
}

/** x where the mask is true, 0 elsewhere, with x's type. */
function kept(op: string, x: Value, mask: Value): Value {
  if (x.dtype === "bool") return logicalAnd(x, mask);
  if (x.dtype === "uint8")
    throw new DTypeError(
      `${op}: the input must be bool, int32 or float32, got uint8. Convert it with .to("int32") or .to("float32").`,
    );
  return where(mask, x, full([], 0, x.dtype));
}

/**
 * The lower triangle of each matrix, with 0 elsewhere.
 *
 * x: [..., rows, columns] → the same shape, with x's type.
 *
 * @param diagonal The last diagonal to keep: 0 is the main diagonal, and positive numbers are above it. Default 0.
 * @throws ShapeError if x has fewer than 2 dims
 * @throws DTypeError if x is uint8
 * @example
 * ```ts
 * const x = ones([3, 3]);
 * x.tril().toArray(); // [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
 * ```
 * @op
 */
export function tril(x: Value, diagonal = 0): Value {
  return kept("tril", x, lower(...sides("tril", x), diagonal));
}

/**
 * The upper triangle of each matrix, with 0 elsewhere.
 *
 * x: [..., rows, columns] → the same shape, with x's type.
 *
 * @param diagonal The first diagonal to keep: 0 is the main diagonal, and positive numbers are above it. Default 0.
 * @throws ShapeError if x has fewer than 2 dims
 * @throws DTypeError if x is uint8
 * @example
 * ```ts
 * const x = ones([3, 3]);
 * x.triu(1).toArray(); // [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
 * ```
 * @op
 */
export function triu(x: Value, diagonal = 0): Value {
  return kept("triu", x, logicalNot(lower(...sides("triu", x), diagonal - 1)));
}
