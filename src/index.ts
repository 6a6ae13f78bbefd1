/** nabla's public face. */

export { customGradient, noGrad } from "./autograd.ts";
export { type Compiled, type CompileOptions, compile } from "./compile/compile.ts";
export * from "./creation.ts";
export * from "./functions.ts";
export * as losses from "./losses.ts";
export { type MemoryInfo, memory } from "./memory.ts";
export type { StateDict } from "./nn/index.ts";
export * as nn from "./nn/index.ts";
export type { DType, Shape } from "./ops/value.ts";
export * as optim from "./optim/index.ts";
export type { NestedArray } from "./printing.ts";
export { type InitOptions, info, init, manualSeed } from "./runtime/engine.ts";
export {
  DisposedError,
  DTypeError,
  OutOfMemoryError,
  ShapeError,
  TraceError,
} from "./runtime/errors.ts";
export {
  type BackwardOptions,
  Tensor,
  type TypedArray,
  tidy,
} from "./tensor.ts";
export { type ArgNums, grad, hessian, hvp, jacobian, jvp, valueAndGrad, vjp } from "./transforms.ts";
