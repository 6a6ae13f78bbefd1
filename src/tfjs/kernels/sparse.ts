/** Kernels that count, or that read and write sparse arrays. */
import { apply } from "../../ops/definition/op.ts";
import { sizeOf, type Value } from "../../ops/definition/value.ts";
import { gatherDefinitions } from "../../ops/index/gather.ts";
import { div } from "../../ops/pointwise/arithmetic.ts";
import { ne } from "../../ops/pointwise/comparison.ts";
import { min } from "../../ops/reduce/reduce.ts";
import { cast, full } from "../../ops/shape/shape.ts";
import { type NumericArray, newView, type View, vector } from "../view.ts";
import { outside, scatter } from "./indices.ts";
import { ALL, isFilled, type NativeKernel, NUMBERS } from "./kernel.ts";

/** For each row, the sum of the weights (or the number of occurrences) of each value; null if a value is negative. */
function count(x: View, weights: View, shape: number[], isBinary: boolean): Value | null {
  if ((min(x) as View).live()[0]! < 0) return null;
  const isWeighted = weights.size > 0 && !isBinary;
  const terms = isWeighted ? weights : full(x.shape, 1, weights.dtype);
  const dim = shape.length - 1;
  const sums = apply(gatherDefinitions.scatterAdd, [terms, x], { dim, n: shape[dim]!, skips: true });
  return isBinary ? cast(ne(sums, 0), weights.dtype) : sums;
}
const counting = (ranks: readonly number[]): NativeKernel => ({
  types: NUMBERS,
  accepts: ({ x, weights }, { size }) =>
    x!.dtype === "int32" &&
    ranks.includes(x!.shape.length) &&
    !x!.shape.includes(0) &&
    Number.isInteger(size) &&
    size > 0 &&
    (weights!.shape.includes(0) || `${weights!.shape}` === `${x!.shape}`),
  run: ({ x, weights }, { size, binaryOutput }) =>
    // The CPU kernel ignores binaryOutput for vectors.
    x!.shape.length === 2
      ? count(x!, weights!, [x!.shape[0]!, size], binaryOutput)
      : count(x!, weights!, [size], false),
});

/** Whether segment ids are in order, which TensorFlow.js requires. */
function areOrdered(ids: View): boolean {
  const values = ids.live();
  const n = values.length;
  if (values[0]! < 0) return false;
  for (let i = 1; i < n; i++) if (values[i]! < values[i - 1]!) return false;
  return true;
}
/** The sum or mean of the rows in each segment. */
const segmentKernel = (isMean: boolean): NativeKernel => ({
  types: NUMBERS,
  accepts: (inputs) =>
    inputs.data!.dtype === "float32" &&
    inputs.data!.shape.length > 0 &&
    [inputs.indices!, inputs.segmentIds!].every(({ dtype, shape }) => dtype === "int32" && shape.length === 1) &&
    inputs.indices!.shape[0] === inputs.segmentIds!.shape[0] &&
    isFilled(inputs),
  run({ data, indices, segmentIds }) {
    const n = segmentIds!.live().at(-1)! + 1;
    if (!areOrdered(segmentIds!) || outside(indices!, data!.shape[0]!) !== undefined) return null;
    const sums = apply(gatherDefinitions.segmentSum, [data!, indices!, segmentIds!], { n, skips: true });
    if (!isMean) return sums;
    const counts = newView([n, ...data!.shape.slice(1).map(() => 1)], "float32");
    const [ids, lengths] = [segmentIds!.live(), counts.live()];
    lengths.fill(0);
    const terms = ids.length;
    for (let i = 0; i < terms; i++) lengths[ids[i]!]!++;
    // Divide by at least 1, so that the mean of an empty segment is 0.
    for (let i = 0; i < n; i++) if (lengths[i] === 0) lengths[i] = 1;
    return div(sums, counts);
  },
});

// Each loop is in its own function, because V8 then compiles it to faster code. Each reads the length of a typed array
// only once, because V8 checks the buffer on every read of the length.

/** The number of rows with elements. Returns −1, which selects the CPU kernel, if the indices are not in order or a row is out of range. */
function filledRows(indices: NumericArray, rank: number, rows: number): number {
  const n = indices.length;
  if (indices[0]! < 0) return -1;
  let count = 0;
  let before = -1;
  for (let i = 0; i < n; i += rank) {
    const row = indices[i]!;
    if (row < before || row >= rows) return -1;
    if (row !== before) count++;
    before = row;
  }
  return count;
}
/**
 * Copies elements and their indices, and writes `missing` into column 0 of each empty row. Writes the new position of
 * each element to `places`.
 */
function fillRows(
  from: NumericArray,
  given: NumericArray,
  rank: number,
  rows: number,
  missing: number,
  to: NumericArray,
  values: NumericArray,
  empty: NumericArray,
  places: NumericArray,
): void {
  const n = places.length;
  let row = 0;
  let [place, at, next] = [0, 0, 0];
  for (let i = 0; i <= n; i++) {
    const own = i < n ? from[at++]! : rows;
    for (; row < own; row++) {
      to[next++] = row;
      for (let j = 1; j < rank; j++) to[next++] = 0;
      values[place++] = missing;
    }
    if (i === n) break;
    row = own + 1;
    empty[own] = 0;
    to[next++] = own;
    for (let j = 1; j < rank; j++) to[next++] = from[at++]!;
    values[place] = given[i]!;
    places[i] = place++;
  }
}

/** `wanted` with −1 replaced by the size that it stands for; null if no such shape has as many elements as `given`. */
function completed(given: readonly number[], wanted: readonly number[]): number[] | null {
  const size = sizeOf(given);
  const known = wanted.reduce((product, one) => (one === -1 ? product : product * one), 1);
  const shape = wanted.map((one) => (one === -1 ? size / known : one));
  const isValid = wanted.every((one) => one >= -1) && wanted.filter((one) => one === -1).length < 2;
  return isValid && size > 0 && sizeOf(shape) === size && shape.every(Number.isInteger) ? shape : null;
}
/** Converts each row of indices from one shape to another, given the strides of both shapes. */
function renumber(from: NumericArray, to: NumericArray, inStrides: Float64Array, outStrides: Float64Array): void {
  const rank = inStrides.length;
  const last = outStrides.length - 1;
  const end = to.length;
  for (let at = 0, next = 0; next < end; ) {
    let place = 0;
    for (let j = 0; j < rank; j++) place += from[at++]! * inStrides[j]!;
    for (let j = 0; j < last; j++) {
      const stride = outStrides[j]!;
      const index = Math.trunc(place / stride);
      to[next++] = index;
      place -= index * stride;
    }
    to[next++] = place;
  }
}
/** Does the same as `renumber` for matrices, three times as fast, because it has no loops over the dims. */
function renumberPairs(from: NumericArray, to: NumericArray, inStrides: Float64Array, outStrides: Float64Array): void {
  const [width, columns, end] = [inStrides[0]!, outStrides[0]!, to.length];
  for (let i = 0; i < end; i += 2) {
    const place = from[i]! * width + from[i + 1]!;
    const row = Math.trunc(place / columns);
    to[i] = row;
    to[i + 1] = place - row * columns;
  }
}
const stridesOf = (shape: readonly number[]): Float64Array =>
  Float64Array.from(shape, (_, i) => sizeOf(shape.slice(i + 1)));

export const sparseKernels: Readonly<Record<string, NativeKernel>> = {
  Bincount: counting([1]),
  DenseBincount: counting([1, 2]),
  SparseSegmentSum: segmentKernel(false),
  SparseSegmentMean: segmentKernel(true),
  SparseToDense: {
    types: ALL,
    accepts: (inputs, { outputShape }) =>
      inputs.sparseIndices!.dtype === "int32" &&
      inputs.sparseValues!.dtype === inputs.defaultValue!.dtype &&
      isFilled(inputs) &&
      !outputShape.includes(0),
    run({ sparseIndices, sparseValues, defaultValue }, { outputShape }) {
      const out = full(outputShape, defaultValue!.live()[0]!, sparseValues!.dtype) as View;
      return scatter(out, sparseIndices!, sparseValues!);
    },
  },
  TensorScatterUpdate: {
    types: ALL,
    accepts: (inputs) =>
      inputs.indices!.dtype === "int32" && inputs.tensor!.dtype === inputs.updates!.dtype && isFilled(inputs),
    run({ tensor, indices, updates }) {
      return scatter(newView(tensor!.shape, tensor!.dtype), indices!, updates!, tensor!);
    },
  },
  SparseFillEmptyRows: {
    types: ALL,
    accepts: (inputs) =>
      inputs.indices!.dtype === "int32" &&
      inputs.indices!.shape.length === 2 &&
      inputs.values!.shape.length === 1 &&
      inputs.values!.shape[0] === inputs.indices!.shape[0] &&
      inputs.denseShape!.dtype === "int32" &&
      inputs.denseShape!.shape.length === 1 &&
      inputs.defaultValue!.shape.length === 0 &&
      inputs.defaultValue!.dtype === inputs.values!.dtype &&
      isFilled(inputs),
    run({ indices, values, denseShape, defaultValue }) {
      const [n, rank] = indices!.shape as [number, number];
      const rows = denseShape!.live()[0]!;
      if (rows <= 0) return null;
      const count = filledRows(indices!.live(), rank, rows);
      if (count < 0) return null;
      const total = n + rows - count;
      const [filled, elements] = [newView([total, rank], "int32"), newView([total], values!.dtype)];
      const [empty, map] = [newView([rows], "bool"), newView([n], "int32")];
      const [to, all, isEmpty, places] = [filled.live(), elements.bits(), empty.live().fill(1), map.live()];
      const missing = defaultValue!.bits()[0]!;
      fillRows(indices!.live(), values!.bits(), rank, rows, missing, to, all, isEmpty, places);
      return [filled, elements, empty, map];
    },
  },
  SparseReshape: {
    types: ["int32"],
    accepts: (inputs) =>
      inputs.inputIndices!.shape.length === 2 &&
      inputs.inputShape!.shape.length === 1 &&
      inputs.newShape!.shape.length === 1 &&
      inputs.inputIndices!.shape[1] === inputs.inputShape!.shape[0] &&
      isFilled(inputs),
    run({ inputIndices, inputShape, newShape }) {
      const given = [...inputShape!.live()];
      const shape = completed(given, [...newShape!.live()]);
      if (!shape) return null;
      const [n, rank] = [inputIndices!.shape[0]!, given.length];
      const out = newView([n, shape.length], "int32");
      const [from, to] = [inputIndices!.live(), out.live()];
      const convert = rank === 2 && shape.length === 2 ? renumberPairs : renumber;
      convert(from, to, stridesOf(given), stridesOf(shape));
      return [out, vector(shape, "int32")];
    },
  },
};
