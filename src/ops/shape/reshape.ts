/** Public functions that change the shape of a tensor without moving its elements. */

import { ShapeError } from "../../runtime/errors.ts";
import { reshaped } from "../definition/op.ts";
import { listOf, normalizeDim, type Shape, sameShape, show, sizeOf, type Value } from "../definition/value.ts";

/**
 * The same elements with a different shape, without a copy. The gradient is reshaped back to x's shape.
 *
 * x: any shape → `shape`, with x's type.
 *
 * @param shape The new sizes, as separate numbers or as one array. One of them may be -1 and is then computed from the
 * others.
 * @throws ShapeError if the sizes do not match the number of elements
 * @example
 * ```ts
 * const x = arange(6);
 * x.reshape(2, 3).toArray(); // [[0, 1, 2], [3, 4, 5]]
 * x.reshape([3, -1]).shape; // [3, 2]
 * ```
 * @op
 */
export function reshape(x: Value, ...shape: [shape: Shape] | number[]): Value {
  return reshapeAs("reshape", x, shape);
}
/**
 * PyTorch's name for reshape: the same elements with a different shape, without a copy.
 *
 * x: any shape → `shape`, with x's type.
 *
 * @param shape The new sizes, as separate numbers or as one array. One of them may be -1 and is then computed from the
 * others.
 * @throws ShapeError if the sizes do not match the number of elements
 * @example
 * ```ts
 * const x = arange(6);
 * x.view(2, 3).toArray(); // [[0, 1, 2], [3, 4, 5]]
 * ```
 * @op method
 */
export function view(x: Value, ...shape: [shape: Shape] | number[]): Value {
  return reshapeAs("view", x, shape);
}
function reshapeAs(op: string, x: Value, sizes: [shape: Shape] | number[]): Value {
  const shape = listOf(op, sizes);
  if (shape.indexOf(-1) !== shape.lastIndexOf(-1))
    throw new ShapeError(`${op}: only one size may be -1, got ${show(shape)}.`);
  const known = shape.reduce((product, n) => (n === -1 ? product : product * n), 1);
  const target = shape.map((n) => (n === -1 ? x.size / known : n));
  if (sizeOf(target) !== x.size || target.some((n) => !Number.isInteger(n) || n < 0))
    throw new ShapeError(`${op}: ${show(x.shape)} has ${x.size} elements, which do not fit ${show(shape)}.`);
  return sameShape(x.shape, target) ? x : reshaped(x, target);
}

/**
 * Merges the dims from startDim to endDim into one.
 *
 * x: any shape → x's shape, with the merged dims replaced by a single dim with the product of their sizes; x's type.
 *
 * @param startDim The first dim to merge. Default 0.
 * @param endDim The last dim to merge. Default -1.
 * @throws ShapeError if a dim does not exist or startDim comes after endDim
 * @example
 * ```ts
 * const x = ones([2, 3, 4]);
 * x.flatten().shape; // [24]
 * x.flatten(1).shape; // [2, 12]
 * ```
 * @op
 */
export function flatten(x: Value, startDim = 0, endDim = -1): Value {
  if (!x.shape.length) return reshape(x, [1]);
  const [from, to] = [
    normalizeDim("flatten", startDim, x.shape.length),
    normalizeDim("flatten", endDim, x.shape.length),
  ];
  if (from > to) throw new ShapeError(`flatten: startDim ${startDim} comes after endDim ${endDim}.`);
  return reshape(x, [...x.shape.slice(0, from), sizeOf(x.shape.slice(from, to + 1)), ...x.shape.slice(to + 1)]);
}

/**
 * Drops the dims of size 1, or only `dim` if its size is 1.
 *
 * x: any shape → x's shape without these dims, with x's type.
 *
 * @param dim The dim to drop. Default: every dim of size 1.
 * @throws ShapeError if the dim does not exist
 * @example
 * ```ts
 * const x = ones([1, 3, 1]);
 * x.squeeze().shape; // [3]
 * x.squeeze(0).shape; // [3, 1]
 * ```
 * @op
 */
export function squeeze(x: Value, dim?: number): Value {
  const at = dim === undefined ? undefined : normalizeDim("squeeze", dim, x.shape.length);
  return reshape(
    x,
    x.shape.filter((n, i) => n !== 1 || (at !== undefined && i !== at)),
  );
}

/**
 * Inserts a dim of size 1.
 *
 * x: any shape → x's shape with a 1 at `dim`, with x's type.
 *
 * @param dim The position of the new dim; -1 appends it.
 * @throws ShapeError if the position does not exist
 * @example
 * ```ts
 * const x = ones([3]);
 * x.unsqueeze(0).shape; // [1, 3]
 * x.unsqueeze(-1).shape; // [3, 1]
 * ```
 * @op
 */
export function unsqueeze(x: Value, dim: number): Value {
  const at = normalizeDim("unsqueeze", dim, x.shape.length + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}
