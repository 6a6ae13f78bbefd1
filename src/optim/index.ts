/** Optimizers and gradient clipping: `optim.Adam`, `optim.clipGradNorm`. */
export { clipGradNorm, clipGradValue } from "./clip.ts";
export {
  type CommonOptions,
  type GroupOptions,
  Optimizer,
  type OptimizerState,
  ParamGroup,
} from "./optimizer.ts";
export * from "./optimizers.ts";
