/** Shapes as people change them: permute, slice, pad, broadcast, join, split, reshape, convert. */

import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { apply, reshaped } from "../definition/op.ts";
import {
  type DType,
  normalizeDim,
  requireShape,
  type Shape,
  sameShape,
  show,
  sizeOf,
  type Value,
} from "../definition/value.ts";
import { cut, unslice } from "./box.ts";
import { moves } from "./move.ts";

/** A value of `shape` that holds one number everywhere. */
export function full(shape: Shape, value: number, dtype: DType = "float32"): Value {
  requireShape("full", shape);
  return apply(moves.fill, [], { shape, dtype, value });
}

/** Numbers given one by one or as one list: reshape(2, 3) and reshape([2, 3]). */
function listOf(op: string, numbers: readonly unknown[]): readonly number[] {
  const list: readonly unknown[] = Array.isArray(numbers[0]) ? numbers[0] : numbers;
  if (list !== numbers && numbers.length > 1)
    throw new ShapeError(
      `${op}: got an array and ${numbers.length - 1} more arguments. Pass one array, or numbers alone.`,
    );
  if (list.every((n) => typeof n === "number")) return list as readonly number[];
  throw new ShapeError(`${op}: ${JSON.stringify(list)} is not a list of numbers.`);
}

/** Dimensions in the order `dims`. */
export function permute(x: Value, ...order: [dims: readonly number[]] | number[]): Value {
  const dims = listOf("permute", order);
  const places = dims.map((dim) => normalizeDim("permute", dim, x.shape.length));
  if (new Set(places).size !== x.shape.length) {
    throw new ShapeError(
      `permute: dims ${show(dims)} must name each of the ${x.shape.length} dimensions of ${show(x.shape)} once.`,
    );
  }
  return places.every((dim, i) => dim === i) ? x : apply(moves.permute, [x], { dims: places });
}

/** Two dimensions exchanged. */
export function transpose(x: Value, dim0: number, dim1: number): Value {
  const [a, b] = [normalizeDim("transpose", dim0, x.shape.length), normalizeDim("transpose", dim1, x.shape.length)];
  return permute(
    x,
    x.shape.map((_, i) => (i === a ? b : i === b ? a : i)),
  );
}

/** The transpose of a matrix; a vector stays as it is. */
export function t(x: Value): Value {
  if (x.shape.length > 2)
    throw new ShapeError(`t: ${show(x.shape)} has more than 2 dimensions. Use transpose(-2, -1).`);
  return x.shape.length < 2 ? x : permute(x, [1, 0]);
}

/** Part of a dimension: all (null), one place (which drops the dimension), or [start, end, step] with JavaScript's and NumPy's defaults. */
export type SliceRange = null | number | readonly [start?: number | null, end?: number | null, step?: number];

/**
 * Part of each dimension, as NumPy's x[2, 1:5, ::-1] is x.slice(2, [1, 5], [null, null, -1]). Dimensions not named stay whole.
 * @throws ShapeError where a place does not exist
 */
export function slice(x: Value, ...ranges: SliceRange[]): Value {
  if (ranges.length > x.shape.length) {
    throw new ShapeError(
      `slice: ${ranges.length} ranges for ${show(x.shape)}, which has ${x.shape.length} dimensions.`,
    );
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
        `slice: a range must be null, a number or [start, end, step], got ${describe(range)}. For chosen places use indexSelect.`,
      );
    const [first, last, step = 1] = range;
    for (const bound of [first, last]) {
      if (bound != null && !Number.isInteger(bound) && Math.abs(bound) !== Infinity) {
        throw new ShapeError(
          `slice: ${bound} is not a place in dim ${dim} of ${show(x.shape)}: use a whole number or null.`,
        );
      }
    }
    if (!Number.isInteger(step) || step === 0)
      throw new ShapeError(`slice: step ${step} in dim ${dim} must be a whole number other than 0.`);
    // NumPy's rule: bounds are clipped to the dimension, negatives count from its end.
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

/** The elements in reverse along `dims`. */
export function flip(x: Value, dims: number | readonly number[]): Value {
  const flipped = new Set(
    (typeof dims === "number" ? [dims] : dims).map((dim) => normalizeDim("flip", dim, x.shape.length)),
  );
  return slice(x, ...x.shape.map((_, i): SliceRange => (flipped.has(i) ? [null, null, -1] : null)));
}

/**
 * Adds a border. `padding` lists pairs [before, after] flat, from the last dimension on, as PyTorch does; negative cuts off.
 * @throws ShapeError where more would be cut off than there is, RangeError if x is not float32 and `value` is not whole
 */
export function pad(x: Value, padding: readonly number[], value = 0): Value {
  const rank = x.shape.length;
  if (padding.length % 2 || padding.length > 2 * rank || padding.some((p) => !Number.isInteger(p))) {
    throw new ShapeError(
      `pad: ${show(padding)} must list pairs of whole numbers, [before, after] from the last dim on, at most ${rank} of them.`,
    );
  }
  if (x.dtype !== "float32" && !Number.isInteger(value))
    throw new RangeError(
      `pad: ${x.dtype} does not hold the value ${value}. Use x.to("float32").pad(…), or another value.`,
    );
  const before = x.shape.map((_, i) => padding[2 * (rank - 1 - i)] ?? 0);
  const after = x.shape.map((_, i) => padding[2 * (rank - 1 - i) + 1] ?? 0);
  const shape = x.shape.map((n, i) => n + before[i]! + after[i]!);
  if (shape.some((n) => n < 0)) throw new ShapeError(`pad: ${show(padding)} cuts more off than ${show(x.shape)} has.`);
  // What is cut off goes first, so that the rest fits inside.
  const kept = slice(x, ...x.shape.map((n, i): SliceRange => [Math.max(0, -before[i]!), n + Math.min(0, after[i]!)]));
  if (sameShape(kept.shape, shape)) return kept;
  const starts = before.map((b) => Math.max(0, b));
  return unslice(kept, shape, { starts, sizes: kept.shape, steps: shape.map(() => 1) }, value);
}

/** Repeats x along new leading dimensions and along dimensions of size 1. @throws ShapeError */
export function broadcastTo(x: Value, shape: Shape): Value {
  requireShape("broadcastTo", shape);
  const offset = shape.length - x.shape.length;
  if (offset < 0 || x.shape.some((n, i) => n !== 1 && n !== shape[i + offset])) {
    throw new ShapeError(
      `broadcastTo: ${show(x.shape)} does not broadcast to ${show(shape)}: each size must be 1 or agree, counted from the end.`,
    );
  }
  return sameShape(x.shape, shape) ? x : apply(moves.broadcastTo, [x], { shape });
}

/** Tensors side by side along `dim`; the other sizes must agree. @throws ShapeError */
export function concat(xs: readonly Value[], dim = 0): Value {
  if (!xs.length) throw new ShapeError("concat: no tensors given.");
  return apply(moves.concat, xs, {
    dim: normalizeDim("concat", dim, xs[0]!.shape.length),
  });
}

/** Tensors of one shape along a new dimension. @throws ShapeError */
export function stack(xs: readonly Value[], dim = 0): Value {
  if (!xs.length) throw new ShapeError("stack: no tensors given.");
  const first = xs[0]!;
  for (const x of xs) {
    if (!sameShape(x.shape, first.shape))
      throw new ShapeError(`stack: ${show(first.shape)} and ${show(x.shape)} differ; all must have one shape.`);
  }
  const at = normalizeDim("stack", dim, first.shape.length + 1);
  return concat(
    xs.map((x) => unsqueeze(x, at)),
    at,
  );
}

/** `length` places of `dim` from `start`. */
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
    throw new ShapeError(`narrow: ${start} … ${start + length - 1} is outside dim ${dim} of ${show(x.shape)}.`);
  }
  return slice(x, ...x.shape.map((_, i): SliceRange => (i === at ? [start, start + length] : null)));
}

/** Pieces of the given size (the last may be shorter), or of the given sizes, along `dim`. */
export function split(x: Value, sizes: number | readonly number[], dim = 0): Value[] {
  const at = normalizeDim("split", dim, x.shape.length);
  const n = x.shape[at]!;
  if (typeof sizes === "number" && !(sizes > 0 && Number.isInteger(sizes)))
    throw new ShapeError(`split: a size of ${sizes} is not a whole number above 0.`);
  const lengths =
    typeof sizes === "number"
      ? Array.from({ length: Math.ceil(n / sizes) }, (_, i) => Math.min(sizes, n - i * sizes))
      : sizes;
  if (lengths.reduce((a, b) => a + b, 0) !== n)
    throw new ShapeError(`split: sizes ${show(lengths)} do not add up to ${n}, dim ${dim} of ${show(x.shape)}.`);
  let start = 0;
  return lengths.map((length) => narrow(x, at, (start += length) - length, length));
}

/** The same elements under another shape, without a copy; one size may be −1. @throws ShapeError */
export function reshape(x: Value, ...sizes: [shape: Shape] | number[]): Value {
  return reshapeAs("reshape", x, sizes);
}
/** PyTorch's name for reshape. */
export function view(x: Value, ...sizes: [shape: Shape] | number[]): Value {
  return reshapeAs("view", x, sizes);
}
function reshapeAs(op: string, x: Value, sizes: [shape: Shape] | number[]): Value {
  const shape = listOf(op, sizes);
  const known = sizeOf(shape.filter((n) => n !== -1));
  const open = shape.filter((n) => n === -1).length;
  const target = shape.map((n) => (n === -1 ? x.size / known : n));
  if (open > 1 || target.some((n) => !Number.isInteger(n) || n < 0) || sizeOf(target) !== x.size) {
    throw new ShapeError(`${op}: ${show(x.shape)} has ${x.size} elements, which do not fit ${show(shape)}.`);
  }
  return sameShape(x.shape, target) ? x : reshaped(x, target);
}

/** Dimensions startDim … endDim as one. */
export function flatten(x: Value, startDim = 0, endDim = -1): Value {
  if (!x.shape.length) return reshape(x, [1]);
  const [from, to] = [
    normalizeDim("flatten", startDim, x.shape.length),
    normalizeDim("flatten", endDim, x.shape.length),
  ];
  if (from > to) throw new ShapeError(`flatten: startDim ${startDim} comes after endDim ${endDim}.`);
  return reshape(x, [...x.shape.slice(0, from), sizeOf(x.shape.slice(from, to + 1)), ...x.shape.slice(to + 1)]);
}

/** Without the dimensions of size 1, or without `dim` if its size is 1. */
export function squeeze(x: Value, dim?: number): Value {
  const at = dim === undefined ? undefined : normalizeDim("squeeze", dim, x.shape.length);
  return reshape(
    x,
    x.shape.filter((n, i) => n !== 1 || (at !== undefined && i !== at)),
  );
}

/** With a new dimension of size 1 at `dim`. */
export function unsqueeze(x: Value, dim: number): Value {
  const at = normalizeDim("unsqueeze", dim, x.shape.length + 1);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

/** The elements as another type; the same value if it is of that type already. */
export function cast(x: Value, dtype: DType): Value {
  return x.dtype === dtype ? x : apply(moves.cast, [x], { dtype });
}

/** Overwrites `target` with `source`, of the same shape and type. @throws ShapeError */
export function assign(target: Value, source: Value): void {
  if (!sameShape(target.shape, source.shape) || target.dtype !== source.dtype) {
    throw new ShapeError(
      `copyFrom: ${source.dtype} ${show(source.shape)} does not fit ${target.dtype} ${show(target.shape)}.`,
    );
  }
  apply(moves.assign, [target, source], null);
}
