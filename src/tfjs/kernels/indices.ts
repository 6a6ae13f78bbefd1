/** Kernels that read or write at indices. */
import { backend_util, util } from "@tensorflow/tfjs-core";
import { apply } from "../../ops/definition/op.ts";
import { gatherDefinitions, indexSelect, oneHotOrZeros } from "../../ops/index/gather.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { cast } from "../../ops/shape/shape.ts";
import { copyElements, type NumericArray, newView, type View } from "../view.ts";
import { ALL, isFilled, type NativeKernel, NUMBERS } from "./kernel.ts";

/** The smallest number of elements that a single copy call copies faster than a loop does. */
const LONG = 32;

/** The first index outside 0 … n − 1; undefined if there is none. */
export function outside(indices: View, n: number): number | undefined {
  const values = indices.live();
  const count = values.length;
  // Read as unsigned integers, negative indices are larger than n.
  for (let i = 0; i < count; i++) if (values[i]! >>> 0 >= n) return values[i];
  return undefined;
}

/**
 * The positions of slices in an array whose first `rank` dims are merged into one: Σ index·stride for each row of indices. Null if a
 * position is out of range, so that the CPU kernel throws its own error.
 */
function flatten(indices: View, rank: number, strides: readonly number[], count: number): View | null {
  if (rank === 1 && strides[0] === 1)
    return outside(indices, count) === undefined ? (reshape(indices, [indices.size]) as View) : null;
  const out = newView([indices.size / rank], "int32");
  const [values, flat] = [indices.live(), out.live()];
  const n = flat.length;
  for (let i = 0, at = 0; i < n; i++) {
    let sum = 0;
    for (let j = 0; j < rank; j++) sum += values[at++]! * strides[j]!;
    if (!(sum >= 0 && sum < count)) return null;
    flat[i] = sum;
  }
  return out;
}

/**
 * Fills each place of `out` with the last update for that place or, if there is none, with the slice of `base`. Copies
 * each slice only once.
 */
function replaceSlices(out: View, base: View, updates: View, places: NumericArray, size: number): void {
  const count = out.size / size;
  const last = new Int32Array(count).fill(-1);
  const updateCount = places.length;
  for (let i = 0; i < updateCount; i++) last[places[i]!] = i;
  for (let at = 0, end = 0; at < count; at = end) {
    const i = last[at]!;
    end = at + 1;
    if (i >= 0) copyElements(updates, i * size, out, at * size, size);
    else {
      while (end < count && last[end]! < 0) end++;
      copyElements(base, at * size, out, at * size, (end - at) * size);
    }
  }
}

/**
 * Writes updates into the slices of `out` that the indices select. A scalar update fills all of these slices. The other
 * slices come from `base`; without `base`, they do not change. Null if an index is out of range.
 */
export function scatter(out: View, indices: View, updates: View, base?: View): View | null {
  const { sliceRank, numUpdates, sliceSize, strides, outputSize } = backend_util.calculateShapes(
    updates as never,
    indices as never,
    out.shape as number[],
  );
  const isScalar = updates.shape.length === 0;
  const n = outputSize / sliceSize;
  if (!isScalar && updates.size !== numUpdates * sliceSize) return null;
  // The indices of single elements are checked during the writes.
  const isSingle = sliceRank === 1 && sliceSize === 1 && !isScalar;
  const flat = isSingle ? indices : flatten(indices, sliceRank, strides, n);
  if (!flat) return null;
  const places = flat.live();
  if (base && sliceSize >= LONG && !isScalar) {
    replaceSlices(out, base, updates, places, sliceSize);
    return out;
  }
  const to = out.bits();
  const from = updates.bits();
  if (base) to.set(base.bits());
  if (isSingle)
    for (let i = 0; i < numUpdates; i++) {
      const place = places[i]!;
      if (place < 0 || place >= n) return null;
      to[place] = from[i]!;
    }
  else
    for (let i = 0; i < numUpdates; i++) {
      const start = places[i]! * sliceSize;
      if (isScalar) to.fill(from[0]!, start, start + sliceSize);
      else if (sliceSize >= LONG) to.set(from.subarray(i * sliceSize, (i + 1) * sliceSize), start);
      else for (let j = 0; j < sliceSize; j++) to[start + j] = from[i * sliceSize + j]!;
    }
  return out;
}

export const indexKernels: Readonly<Record<string, NativeKernel>> = {
  GatherV2: {
    types: ALL,
    accepts: ({ indices, x }, { batchDims }) =>
      indices!.dtype === "int32" && !batchDims && !x!.shape.includes(0) && !indices!.shape.includes(0),
    run({ x, indices }, { axis, batchDims }) {
      const dim = util.parseAxisParam(axis, x!.shape as number[])[0]!;
      const n = x!.shape[dim]!;
      const wrong = outside(indices!, n);
      util.assert(wrong === undefined, () => `GatherV2: the index value ${wrong} is not in [0, ${n - 1}]`);
      const { outputShape } = backend_util.segment_util.collectGatherOpShapeInfo(
        x as never,
        indices as never,
        dim,
        batchDims ?? 0,
      );
      return reshape(indexSelect(x!, dim, reshape(indices!, [indices!.size])), outputShape);
    },
  },
  GatherNd: {
    types: ALL,
    accepts: ({ params, indices }) => indices!.dtype === "int32" && isFilled({ params: params!, indices: indices! }),
    run({ params, indices }) {
      const [shape, , sliceSize, strides] = backend_util.prepareAndValidate(params as never, indices as never);
      const count = params!.size / sliceSize;
      const flat = flatten(indices!, indices!.shape.at(-1)!, strides, count);
      return flat && reshape(indexSelect(reshape(params!, [count, sliceSize]), 0, flat), shape);
    },
  },
  ScatterNd: {
    types: NUMBERS,
    accepts: ({ indices, updates }, { shape }: { shape: number[] }) =>
      indices!.dtype === "int32" &&
      updates!.dtype === "float32" &&
      isFilled({ indices: indices!, updates: updates! }) &&
      !shape.includes(0),
    run({ indices, updates }, { shape }) {
      const { sliceRank, numUpdates, sliceSize, strides, outputSize } = backend_util.calculateShapes(
        updates as never,
        indices as never,
        shape,
      );
      const n = outputSize / sliceSize;
      const flat = flatten(indices!, sliceRank, strides, n);
      if (!flat || updates!.size !== numUpdates * sliceSize) return null;
      const rows = reshape(updates!, [numUpdates, sliceSize]);
      return reshape(apply(gatherDefinitions.indexAdd, [rows, flat], { dim: 0, n }), shape);
    },
  },
  UnsortedSegmentSum: {
    types: NUMBERS,
    accepts: ({ x, segmentIds }) =>
      x!.dtype === "float32" &&
      segmentIds!.dtype === "int32" &&
      segmentIds!.shape.length === 1 &&
      segmentIds!.shape[0] === x!.shape[0],
    run: ({ x, segmentIds }, { numSegments: n }) =>
      outside(segmentIds!, n) === undefined
        ? apply(gatherDefinitions.indexAdd, [x!, segmentIds!], { dim: 0, n })
        : null,
  },
  OneHot: {
    types: ["int32"],
    accepts: (_, { onValue, offValue }) => onValue === 1 && offValue === 0,
    run: ({ indices }, { depth, dtype }) =>
      dtype === "int32" ? oneHotOrZeros(indices!, depth, dtype) : cast(oneHotOrZeros(indices!, depth), dtype),
  },
};
