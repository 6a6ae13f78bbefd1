/** nabla's public API. */

export { customGradient, noGrad } from "./autograd/backward.ts";
export { type ArgNums, grad, hessian, hvp, jacobian, jvp, valueAndGrad, vjp } from "./autograd/transforms.ts";
export { type Argument, type Compiled, type CompileOptions, compile } from "./compile/compile.ts";
export type { ExplainedStep, Explanation } from "./compile/explain.ts";
export type { Profile, ProfiledStep, ProfileOptions } from "./compile/profile.ts";
export { detectAnomaly } from "./core/anomaly.ts";
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
} from "./core/creation.ts";
export type { TypedArray } from "./core/elements.ts";
export * from "./core/functions.ts";
export { type MemoryInfo, memory } from "./core/memory.ts";
export type { NestedArray } from "./core/printing.ts";
export { tidy } from "./core/scope.ts";
export { type BackwardOptions, Tensor } from "./core/tensor.ts";
export { warmUp } from "./core/warmUp.ts";
export * as losses from "./losses/index.ts";
export type { StateDict } from "./nn/index.ts";
export * as nn from "./nn/index.ts";
export { type Summary, type SummaryRow, summary } from "./nn/summary.ts";
export type { DType, Shape } from "./ops/definition/value.ts";
export * as optim from "./optim/index.ts";
export { dispose, type InitOptions, info, init, manualSeed, randomState, setRandomState } from "./runtime/engine.ts";
export {
  DisposedError,
  DTypeError,
  NonFiniteError,
  OutOfMemoryError,
  ShapeError,
  ThreadError,
  TraceError,
} from "./runtime/errors.ts";
