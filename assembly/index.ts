/** What the module exports: the engine, and every kernel under its own name for tests and benches. */
export { run, step } from "./engine";
export { lead, serve } from "./pool";
export * from "./kernels/unary";
export * from "./kernels/binary";
export * from "./kernels/reduce";
export * from "./kernels/softmax";
export * from "./kernels/shape";
export * from "./kernels/gather";
export * from "./kernels/random";
export * from "./kernels/optimizer";
export { colStep, gemm, gemmWorkspace, rowStep } from "./kernels/gemm";
export * from "./kernels/matmul";
export { convWorkspace } from "./kernels/conv";
export { attentionWorkspace } from "./kernels/attention";
export { eighWorkspace } from "./kernels/linalg";
export { recurrentWorkspace } from "./kernels/recurrent";
export * from "./kernels/probe";
