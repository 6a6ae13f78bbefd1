/** Optimizers, schedules, averages of weights, gradient clipping: `optim.Adam`, `optim.StepLR`, `optim.clipGradNorm`. */
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
