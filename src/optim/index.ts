/**
 * Optimizers, schedules, averages of weights, gradient clipping: `optim.Adam`, `optim.StepLR`, `optim.clipGradNorm`.
 *
 * Denormal numbers slow processors down, so the update kernels treat tiny numbers as 0: gradients and momenta whose product with a
 * rate is below 2⁻¹²⁶, and, if eps ≥ 2⁻³⁴, means of squared gradients up to 2⁻¹²⁰ and squares of gradients up to 2⁻⁵⁶, which
 * eps hides. With a smaller eps, squares underflow as in float32: below 2⁻⁷⁵, where PyTorch also divides by eps alone.
 */
export * from "./average.ts";
export { clipGradNorm, clipGradValue } from "./clip.ts";
export { LBFGS, type LBFGSOptions } from "./lbfgs.ts";
export * from "./muon.ts";
export {
  type CommonOptions,
  type GroupOptions,
  Optimizer,
  type OptimizerState,
  ParamGroup,
} from "./optimizer.ts";
export * from "./optimizers.ts";
export * from "./schedules.ts";
