/** Public functions that move or convert elements: permute, slice, pad, broadcast, join, split, convert. */

import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { apply } from "../definition/op.ts";
import {
  type DType,
  listOf,
  normalizeDim,
  requireShape,
  type Shape,
  sameShape,
  show,
  type Value,
} from "../definition/value.ts";
import { cut, unslice } from "./box.ts";
import { moves } from "./move.ts";
import { reshape, unsqueeze } from "./reshape.ts";

/** A tensor of the given shape, filled with a single number. */
export function full(shape: Shape, value: number, dtype: DType = "float32"): Value {
  requireShape("full", shape);
  return apply(moves.fill, [], { shape, dtype, value });
}

/**
 * Reorders the dims. The gradient is permuted back.
 *
 * x: any shape → the same sizes in the order of `dims`, with x's type.
 *
 * @param dims The new order of all of x's dims, as separate numbers or as one array.
 * @throws ShapeError if `dims` does not list every dim exactly once
 * @example
 * ```ts
 * const x = ones([2, 3, 4]);
 * x.permute(2, 0, 1).shape; // [4, 2, 3]
 * ```
 * @op
 */
export function permute(x: Value, ...dims: [dims: readonly number[]] | number[]): Value {
  const order = listOf("permute", dims);
  const places = order.map((dim) => normalizeDim("permute", dim, x.shape.length));
  if (new Set(places).size !== x.shape.length) {
    throw new ShapeError(
      `permute: dims ${show(order)} must name each of the ${x.shape.length} dimensions of ${show(x.shape)} once.`,
    );
  }
  return places.every((dim, i) => dim === i) ? x : apply(moves.permute, [x], { dims: places });
}

/**
 * Swaps two dims.
 *
 * x: any shape → x's shape with the two sizes swapped, with x's type.
 *
 * @param dim0 The first dim.
 * @param dim1 The second dim.
 * @throws ShapeError if a dim does not exist
 * @example
 * ```ts
 * const x = tensor([[1, 2, 3]]);
 * x.transpose(0, 1).toArray(); // [[1], [2], [3]]
 * ```
 * @op
 */
export function transpose(x: Value, dim0: number, dim1: number): Value {
  const [a, b] = [normalizeDim("transpose", dim0, x.shape.length), normalizeDim("transpose", dim1, x.shape.length)];
  return permute(
    x,
    x.shape.map((_, i) => (i === a ? b : i === b ? a : i)),
  );
}

/**
 * The transpose of a matrix; a vector or a single number stays as it is.
 *
 * x: [m, n] → [n, m], with x's type.
 *
 * @throws ShapeError if x has more than 2 dims
 * @example
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.t().toArray(); // [[1, 3], [2, 4]]
 * ```
 * @op
 */
export function t(x: Value): Value {
  if (x.shape.length > 2)
    throw new ShapeError(`t: ${show(x.shape)} has more than 2 dimensions. Use transpose(-2, -1).`);
  return x.shape.length < 2 ? x : permute(x, [1, 0]);
}

/**
 * What to select along a dim: everything (null), one index (which drops the dim), or [start, end, step] with NumPy's
 * defaults.
 */
export type SliceRange = null | number | readonly [start?: number | null, end?: number | null, step?: number];

/**
 * Selects a part of each dim: NumPy's x[2, 1:5, ::-1] is x.slice(2, [1, 5], [null, null, -1]). The gradient is 0 for
 * the elements that are not selected.
 *
 * x: any shape → the sizes of the ranges, without the dims that have an index, x's type.
 *
 * @param ranges One entry per dim: null for all of it, an index, or [start, end, step]. Dims without an entry are kept
 * whole.
 * @throws ShapeError if an index does not exist or there are more ranges than dims
 * @example
 * ```ts
 * const x = tensor([[1, 2, 3], [4, 5, 6]]);
 * x.slice(1).toArray(); // [4, 5, 6]
 * x.slice(null, [0, 2]).toArray(); // [[1, 2], [4, 5]]
 * ```
 * @op
 */
export function slice(x: Value, ...ranges: SliceRange[]): Value {
  if (ranges.length > x.shape.length) {
    throw new ShapeError(`slice: expected at most one range per dim of ${show(x.shape)}, got ${ranges.length}.`);
  }
  const starts: number[] = [];
  const sizes: number[] = [];
  const steps: number[] = [];
  const kept: number[] = [];
  x.shape.forEach((n, dim) => {
    const range = ranges[dim] ?? [];
    if (typeof range === "number") {
      const at = range < 0 ? range + n : range;
      if (!Number.isInteger(range) || at < 0 || at >= n)
        throw new ShapeError(`slice: ${range} is outside dim ${dim} of ${show(x.shape)}.`);
      starts.push(at);
      sizes.push(1);
      steps.push(1);
      return;
    }
    if (!Array.isArray(range) || range.length > 3)
      throw new ShapeError(
        `slice: a range must be null, a number or [start, end, step], got ${describe(range)}. For a list of indices, use indexSelect.`,
      );
    const [first, last, step = 1] = range;
    for (const bound of [first, last]) {
      if (bound != null && !Number.isInteger(bound) && Math.abs(bound) !== Infinity) {
        throw new ShapeError(
          `slice: ${bound} is not an index of dim ${dim} of ${show(x.shape)}. Use a whole number or null.`,
        );
      }
    }
    if (!Number.isInteger(step) || step === 0)
      throw new ShapeError(`slice: step ${step} in dim ${dim} must be a whole number other than 0.`);
    // NumPy's rule: bounds are clipped to the dim, and negative ones count from its end.
    const clip = (at: number, low: number, high: number) => Math.min(high, Math.max(low, at < 0 ? at + n : at));
    const from = first == null ? (step > 0 ? 0 : n - 1) : clip(first, step > 0 ? 0 : -1, step > 0 ? n : n - 1);
    const to = last == null ? (step > 0 ? n : -1) : clip(last, step > 0 ? 0 : -1, step > 0 ? n : n - 1);
    const size = Math.max(0, Math.ceil((to - from) / step));
    starts.push(size ? from : 0);
    sizes.push(size);
    steps.push(step);
    kept.push(size);
  });
  const same = steps.every((step) => step === 1) && sameShape(sizes, x.shape);
  return reshape(same ? x : cut(x, { starts, sizes, steps }), kept);
}

/**
 * Reverses the elements along `dims`.
 *
 * x: any shape → the same shape, with x's type.
 *
 * @param dims The dim or dims to reverse.
 * @throws ShapeError if a dim does not exist
 * @example
 * ```ts
 * const x = tensor([[1, 2], [3, 4]]);
 * x.flip(1).toArray(); // [[2, 1], [4, 3]]
 * ```
 * @op
 */
export function flip(x: Value, dims: number | readonly number[]): Value {
  const flipped = new Set(
    (typeof dims === "number" ? [dims] : dims).map((dim) => normalizeDim("flip", dim, x.shape.length)),
  );
  return slice(x, ...x.shape.map((_, i): SliceRange => (flipped.has(i) ? [null, null, -1] : null)));
}

/**
 * Adds a border around x, filled with a single value. The gradient is the part of dy inside the border.
 *
 * x: any shape → each size plus its border, with x's type.
 *
 * @param padding [before, after] pairs in one flat list, starting with the last dim, as in PyTorch. Negative numbers
 * remove elements.
 * @param value The value of the border. Default 0.
 * @throws ShapeError if the list does not fit x or removes more elements than x has
 * @throws RangeError if x is not float32 and `value` is not whole
 * @example
 * ```ts
 * const x = tensor([[1, 2]]);
 * x.pad([1, 0]).toArray(); // [[0, 1, 2]]
 * x.pad([0, 0, 1, 0], 9).toArray(); // [[9, 9], [1, 2]]
 * ```
 * @op
 */
export function pad(x: Value, padding: readonly number[], value = 0): Value {
  const rank = x.shape.length;
  if (padding.length % 2 || padding.length > 2 * rank || padding.some((p) => !Number.isInteger(p))) {
    throw new ShapeError(
      `pad: ${show(padding)} must list [before, after] pairs of whole numbers, last dim first, at most ${rank} pairs.`,
    );
  }
  if (x.dtype !== "float32" && !Number.isInteger(value))
    throw new RangeError(
      `pad: ${x.dtype} cannot represent the value ${value}. Use x.to("float32").pad(…) or a different value.`,
    );
  const before = x.shape.map((_, i) => padding[2 * (rank - 1 - i)] ?? 0);
  const after = x.shape.map((_, i) => padding[2 * (rank - 1 - i) + 1] ?? 0);
  const shape = x.shape.map((n, i) => n + before[i]! + after[i]!);
  if (shape.some((n) => n < 0))
    throw new ShapeError(`pad: ${show(padding)} removes more elements than ${show(x.shape)} has.`);
  // Remove elements first, so that the remaining ones fit into the result.
  const kept = slice(x, ...x.shape.map((n, i): SliceRange => [Math.max(0, -before[i]!), n + Math.min(0, after[i]!)]));
  if (sameShape(kept.shape, shape)) return kept;
  const starts = before.map((b) => Math.max(0, b));
  return unslice(kept, shape, { starts, sizes: kept.shape, steps: shape.map(() => 1) }, value);
}

/**
 * Repeats x along new leading dims and along dims of size 1. The gradient is summed over these dims.
 *
 * x: any shape → `shape`, with x's type.
 *
 * @param shape The sizes of the result.
 * @throws ShapeError if x does not broadcast to the shape
 * @example
 * ```ts
 * const x = tensor([1, 2]);
 * x.broadcastTo([2, 2]).toArray(); // [[1, 2], [1, 2]]
 * ```
 * @op
 */
export function broadcastTo(x: Value, shape: Shape): Value {
  requireShape("broadcastTo", shape);
  const offset = shape.length - x.shape.length;
  if (offset < 0 || x.shape.some((n, i) => n !== 1 && n !== shape[i + offset])) {
    throw new ShapeError(
      `broadcastTo: ${show(x.shape)} does not broadcast to ${show(shape)}: with the last dims aligned, each size must be 1 or equal.`,
    );
  }
  return sameShape(x.shape, shape) ? x : apply(moves.broadcastTo, [x], { shape });
}

/**
 * Joins tensors along `dim`. Each tensor gets its part of the gradient.
 *
 * tensors: the same shape except at `dim` → that shape with the sum of the sizes at `dim`, the tensors' type.
 *
 * @param tensors The tensors to join, at least one.
 * @param dim The dim to join along. Default 0.
 * @throws ShapeError if the list is empty or the sizes of another dim differ
 * @example
 * ```ts
 * const x = tensor([[1, 2]]);
 * concat([x, x]).toArray(); // [[1, 2], [1, 2]]
 * concat([x, x], 1).toArray(); // [[1, 2, 1, 2]]
 * ```
 * @op function
 */
export function concat(tensors: readonly Value[], dim = 0): Value {
  if (!tensors.length) throw new ShapeError("concat: the list of tensors is empty. Pass at least one tensor.");
  return apply(moves.concat, tensors, {
    dim: normalizeDim("concat", dim, tensors[0]!.shape.length),
  });
}

/**
 * Joins tensors of the same shape along a new dim.
 *
 * tensors: the same shape → that shape with the number of tensors inserted at `dim`, the tensors' type.
 *
 * @param tensors The tensors to join, at least one.
 * @param dim The position of the new dim. Default 0.
 * @throws ShapeError if the list is empty or the shapes differ
 * @example
 * ```ts
 * const x = tensor([1, 2]);
 * stack([x, x]).toArray(); // [[1, 2], [1, 2]]
 * stack([x, x], 1).shape; // [2, 2]
 * ```
 * @op function
 */
export function stack(tensors: readonly Value[], dim = 0): Value {
  if (!tensors.length) throw new ShapeError("stack: the list of tensors is empty. Pass at least one tensor.");
  const first = tensors[0]!;
  for (const x of tensors) {
    if (!sameShape(x.shape, first.shape))
      throw new ShapeError(
        `stack: all tensors must have the same shape, got ${show(first.shape)} and ${show(x.shape)}.`,
      );
  }
  const at = normalizeDim("stack", dim, first.shape.length + 1);
  return concat(
    tensors.map((x) => unsqueeze(x, at)),
    at,
  );
}

/**
 * Selects `length` elements along `dim`, beginning at `start`. The gradient is 0 for the elements that are not
 * selected.
 *
 * x: any shape → x's shape with size `length` at `dim`, with x's type.
 *
 * @param dim The dim to cut.
 * @param start The first index.
 * @param length The number of elements to keep.
 * @throws ShapeError if the range is outside the dim
 * @example
 * ```ts
 * const x = tensor([1, 2, 3, 4]);
 * x.narrow(0, 1, 2).toArray(); // [2, 3]
 * ```
 * @op
 */
export function narrow(x: Value, dim: number, start: number, length: number): Value {
  const at = normalizeDim("narrow", dim, x.shape.length);
  if (
    !(
      Number.isInteger(start) &&
      Number.isInteger(length) &&
      start >= 0 &&
      length >= 0 &&
      start + length <= x.shape[at]!
    )
  ) {
    throw new ShapeError(
      `narrow: ${start} … ${start + length - 1} is outside dim ${dim} of ${show(x.shape)}. Pass a range within 0 … ${x.shape[at]! - 1}.`,
    );
  }
  return slice(x, ...x.shape.map((_, i): SliceRange => (i === at ? [start, start + length] : null)));
}

/**
 * Cuts x into pieces along `dim`.
 *
 * x: any shape → an array of tensors with x's shape except at `dim`, x's type.
 *
 * @param sizes The size of each piece (the last may be smaller), or a list of sizes.
 * @param dim The dim to cut. Default 0.
 * @throws ShapeError if the sizes do not add up to the dim's size
 * @example
 * ```ts
 * const x = tensor([1, 2, 3]);
 * x.split(2).map((part) => part.toArray()); // [[1, 2], [3]]
 * ```
 * @op
 */
export function split(x: Value, sizes: number | readonly number[], dim = 0): Value[] {
  const at = normalizeDim("split", dim, x.shape.length);
  const n = x.shape[at]!;
  if (typeof sizes === "number" && !(sizes > 0 && Number.isInteger(sizes)))
    throw new ShapeError(`split: the size must be a whole number above 0, got ${sizes}.`);
  const lengths =
    typeof sizes === "number"
      ? Array.from({ length: Math.ceil(n / sizes) }, (_, i) => Math.min(sizes, n - i * sizes))
      : sizes;
  if (lengths.reduce((a, b) => a + b, 0) !== n)
    throw new ShapeError(`split: sizes ${show(lengths)} do not add up to ${n}, dim ${dim} of ${show(x.shape)}.`);
  let start = 0;
  return lengths.map((length) => narrow(x, at, (start += length) - length, length));
}

/**
 * Converts the elements to another type. For int32, numbers are truncated and saturated (NaN becomes 0). For uint8, the
 * low 8 bits of the int32 result are kept. For bool, only 0 becomes false, so NaN becomes true. Only a conversion from
 * float32 to float32, which changes nothing, passes a gradient.
 *
 * x: any shape → the same shape, `dtype`.
 *
 * @param dtype "float32", "int32", "bool" or "uint8".
 * @throws DTypeError if `dtype` is unknown
 * @example
 * ```ts
 * const x = tensor([1.7, -2.5, 0]);
 * x.to("int32").toArray(); // [1, -2, 0]
 * x.to("bool").toArray(); // [true, true, false]
 * ```
 * @op method to
 */
export function cast(x: Value, dtype: DType): Value {
  return x.dtype === dtype ? x : apply(moves.cast, [x], { dtype });
}

/** Overwrites `target` with `source`, which must have the same shape and type. @throws ShapeError */
export function assign(target: Value, source: Value): void {
  if (!sameShape(target.shape, source.shape) || target.dtype !== source.dtype) {
    throw new ShapeError(
      `copyFrom: ${source.dtype} ${show(source.shape)} does not fit ${target.dtype} ${show(target.shape)}.`,
    );
  }
  apply(moves.assign, [target, source], null);
}
