/**
 * Optimizers, learning-rate schedules, weight averaging and gradient clipping, such as `optim.Adam`, `optim.StepLR` and
 * `optim.clipGradNorm`.
 *
 * Denormal numbers slow processors down, so the update kernels replace tiny numbers with 0: gradients and momenta whose product
 * with the learning rate is below 2⁻¹²⁶. If eps ≥ 2⁻³⁴, they also replace with 0 any mean of squared gradients that is at most
 * 2⁻¹²⁰, and the square of any gradient whose magnitude is at most 2⁻⁵⁶: their square roots are negligible next to eps. With a
 * smaller eps, the squares of gradients below 2⁻⁷⁵ underflow like any other float32; for such gradients, PyTorch also divides by
 * eps alone.
 */
export * from "./average.ts";
export { clipGradNorm, clipGradValue } from "./clip.ts";
export { LBFGS, type LBFGSOptions } from "./lbfgs.ts";
export * from "./muon.ts";
export { type MinimizeOptions, Optimizer } from "./optimizer.ts";
export type { OptimizerState } from "./optimizerState.ts";
export * from "./optimizers.ts";
export { type CommonOptions, type GroupOptions, ParamGroup } from "./paramGroup.ts";
export * from "./plateau.ts";
export { LRScheduler, type SchedulerState } from "./scheduler.ts";
export * from "./schedules.ts";
export * from "./sequentialLR.ts";
