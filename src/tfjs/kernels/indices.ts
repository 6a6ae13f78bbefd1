/** Kernels that read or write at indices. */
import { backend_util, util } from "@tensorflow/tfjs-core";
import { apply } from "../../ops/definition/op.ts";
import { gatherDefinitions, indexSelect, oneHotOrZeros } from "../../ops/index/gather.ts";
import { topK } from "../../ops/matrix/linalg.ts";
import { max } from "../../ops/reduce/reduce.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { cast } from "../../ops/shape/shape.ts";
import { type View, vector } from "../view.ts";
import { ALL, isFilled, type NativeKernel, NUMBERS } from "./kernel.ts";

/** The first index outside 0 … n − 1; undefined if there is none. */
function outside(indices: View, n: number): number | undefined {
  for (const index of indices.live()) if (index < 0 || index >= n) return index;
  return undefined;
}

/**
 * The positions of slices in an array whose first `rank` dims are one: Σ index·stride for each row of indices. Null if one is out of range,
 * for the CPU kernel's message.
 */
function flatten(indices: View, rank: number, strides: readonly number[], count: number): number[] | null {
  const values = indices.live();
  const flat: number[] = [];
  for (let at = 0; at < values.length; at += rank) {
    let sum = 0;
    for (let j = 0; j < rank; j++) sum += values[at + j]! * strides[j]!;
    if (!(sum >= 0 && sum < count)) return null;
    flat.push(sum);
  }
  return flat;
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
      return flat && reshape(indexSelect(reshape(params!, [count, sliceSize]), 0, vector(flat, "int32")), shape);
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
      return reshape(apply(gatherDefinitions.indexAdd, [rows, vector(flat, "int32")], { dim: 0, n }), shape);
    },
  },
  TopK: {
    accepts: ({ x }, { sorted }) => sorted && x!.shape.length > 0 && isFilled({ x: x! }),
    // nabla orders NaNs, which TensorFlow.js compares with everything as equal.
    run: ({ x }, { k }) => (k === 0 || Number.isNaN((max(x!) as View).live()[0]!) ? null : topK(x!, k, -1)),
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
    run: ({ indices }, { depth, dtype }) => cast(oneHotOrZeros(indices!, depth), dtype),
  },
};
