/** nabla's public face. */
export { init, info, type InitOptions, manualSeed } from "./runtime/engine.ts";
export { DisposedError, DTypeError, OutOfMemoryError, ShapeError } from "./runtime/errors.ts";
export type { DType, Shape } from "./ops/value.ts";
export { type BackwardOptions, memory, type MemoryInfo, type NestedArray, Tensor, tidy, type TypedArray } from "./tensor.ts";
export * from "./creation.ts";
export * from "./functions.ts";
export { customGradient, grad, hessian, hvp, jacobian, jvp, noGrad, valueAndGrad, vjp } from "./autograd.ts";
export * as losses from "./losses.ts";
export * as nn from "./nn/index.ts";
export * as optim from "./optim/index.ts";
