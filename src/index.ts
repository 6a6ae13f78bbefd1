/** nabla's public face. */

export { detectAnomaly } from "./anomaly.ts";
export { customGradient, noGrad } from "./autograd.ts";
export { type Argument, type Compiled, type CompileOptions, compile } from "./compile/compile.ts";
export type { ExplainedStep, Explanation } from "./compile/explain.ts";
export type { Profile, ProfiledStep, ProfileOptions } from "./compile/profile.ts";
export {
  arange,
  eye,
  full,
  linspace,
  normal,
  ones,
  onesLike,
  rand,
  randint,
  randn,
  type Scalar,
  scalar,
  type TensorOptions,
  type TensorValues,
  tensor,
  uniform,
  zeros,
  zerosLike,
} from "./creation.ts";
export * from "./functions.ts";
export * as losses from "./losses.ts";
export { type MemoryInfo, memory } from "./memory.ts";
export type { StateDict } from "./nn/index.ts";
export * as nn from "./nn/index.ts";
export { type Summary, type SummaryRow, summary } from "./nn/summary.ts";
export type { DType, Shape } from "./ops/value.ts";
export * as optim from "./optim/index.ts";
export type { NestedArray } from "./printing.ts";
export { dispose, type InitOptions, info, init, manualSeed } from "./runtime/engine.ts";
export {
  DisposedError,
  DTypeError,
  NonFiniteError,
  OutOfMemoryError,
  ShapeError,
  ThreadError,
  TraceError,
} from "./runtime/errors.ts";
export { tidy } from "./scope.ts";
export { type BackwardOptions, Tensor, type TypedArray } from "./tensor.ts";
export { type ArgNums, grad, hessian, hvp, jacobian, jvp, valueAndGrad, vjp } from "./transforms.ts";
export { warmUp } from "./warmUp.ts";
