/** Triangles of matrices, and the masks they make. */
import { ShapeError } from "../runtime/errors.ts";
import { le, sub, where } from "./arithmetic.ts";
import { float } from "./pointwise.ts";
import { cumsum } from "./reduce.ts";
import { full, reshape } from "./shape.ts";
import { show, type Value } from "./value.ts";

/** 1 … n. */
export const counting = (n: number): Value => cumsum(full([n], 1), 0);

/** Where column − row ≤ diagonal, as bool [rows, columns]. */
function lower(rows: number, columns: number, diagonal: number): Value {
  return le(sub(reshape(counting(columns), [1, columns]), reshape(counting(rows), [rows, 1])), diagonal);
}

/** What causal attention adds to scores: 0 where key ≤ query + offset, −∞ elsewhere. */
export function causalMask(queries: number, keys: number, offset: number): Value {
  return where(lower(queries, keys, offset), full([], 0), Number.NEGATIVE_INFINITY);
}

function sides(op: string, x: Value): [number, number] {
  const [rows, columns] = x.shape.slice(-2);
  if (rows === undefined || columns === undefined)
    throw new ShapeError(`${op}: ${show(x.shape)} is not a matrix, nor a batch of them.`);
  return [rows, columns];
}

/** The lower triangle of matrices [..., rows, columns], up to the diagonal that many above the main one; 0 elsewhere. */
export function tril(x: Value, diagonal = 0): Value {
  const v = float(x, "tril");
  return where(lower(...sides("tril", v), diagonal), v, 0);
}

/** The upper triangle of matrices [..., rows, columns], from the diagonal that many above the main one; 0 elsewhere. */
export function triu(x: Value, diagonal = 0): Value {
  const v = float(x, "triu");
  return where(lower(...sides("triu", v), diagonal - 1), 0, v);
}
