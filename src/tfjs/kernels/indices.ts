/** Kernels that read or write at indices. */
import { backend_util, util } from "@tensorflow/tfjs-core";
import { apply } from "../../ops/definition/op.ts";
import { gatherDefinitions, indexSelect, oneHotOrZeros } from "../../ops/index/gather.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { cast } from "../../ops/shape/shape.ts";
import type { View } from "../view.ts";
import { ALL, type NativeKernel } from "./kernel.ts";

/** The first index outside 0 … n − 1; undefined if there is none. */
function outside(indices: View, n: number): number | undefined {
  for (const index of indices.live()) if (index < 0 || index >= n) return index;
  return undefined;
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
  UnsortedSegmentSum: {
    types: ["float32", "int32"],
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
