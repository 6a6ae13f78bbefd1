/** The exports of the module: the engine, and every kernel under its own name for tests and benchmarks. */
export { run, step } from "./engine";
export { lead, serve } from "./threads";
export * from "./kernels/pointwise";
export * from "./kernels/pointwiseInt";
export * from "./kernels/binary";
export * from "./kernels/reduce";
export { norm, squares } from "./kernels/euclid";
export * from "./kernels/softmax";
export * from "./kernels/shape";
export * from "./kernels/gather";
export { unique } from "./kernels/sparse";
export * from "./kernels/random";
export * from "./kernels/optimizer";
export { colStep, deepRow, deepThin, gemm, gemmWorkspace, rowStep, thin } from "./kernels/gemm";
export { rowNarrow, rowWide } from "./kernels/rows";
export * from "./kernels/matmul";
export { convWorkspace } from "./kernels/conv";
export { deepTile } from "./kernels/convDirect";
export { columnOffsets, columnProducts, columnSquares, rowOffset, rowProducts, rowSquares } from "./kernels/norm";
export { attentionWorkspace } from "./kernels/attention";
export { cacheWorkspace } from "./kernels/cache";
export { eighWorkspace } from "./kernels/linalg";
export { recurrentWorkspace } from "./kernels/recurrent";
export { recurrentWeightsWorkspace } from "./kernels/recurrentWeights";
export {
  finishPlane,
  finishPlanes,
  packedDots,
  packWeights,
  plainDots,
  quantizedProduct,
  quantizedWorkspace,
  quantizeRows,
} from "./kernels/quantized";
export { widenedWorkspace, widenRow, widenWorkspace } from "./kernels/widen";
export * from "./kernels/check";
export * from "./kernels/probe";
