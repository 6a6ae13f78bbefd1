/** What gradients tell, of any model and loss: the library's second face, `nabla/gradients`. */
export { Complex } from "./complex.ts";
export {
  batchGradients,
  type Confusion,
  type Curriculum,
  curriculum,
  gradientConfusion,
  gradientNoiseScale,
  type NoiseScale,
  signFlips,
} from "./confusion.ts";
export { type ConjugateOptions, conjugateGradient, type Solution } from "./conjugate.ts";
export { type DepthRow, gradientByDepth } from "./depth.ts";
export {
  bestStep,
  complexStep,
  type DifferenceOptions,
  type ErrorCurve,
  type ErrorCurveOptions,
  errorCurve,
  finiteDifference,
  logSlope,
} from "./differences.ts";
export { type Eigen, type LanczosOptions, lanczos, type Ritz, symmetricEigen } from "./eigen.ts";
export { type Escape, type EscapeOptions, escape, predictedEscape } from "./escape.ts";
export {
  type DiagonalOptions,
  empiricalFisher,
  type FisherOptions,
  fisherDiagonal,
  fisherMatrix,
  fisherProduct,
  type NaturalGradient as NaturalGradientResult,
  naturalGradient,
} from "./fisher.ts";
export {
  GradcheckError,
  type GradcheckOptions,
  type GradcheckResult,
  gradcheck,
  gradgradcheck,
  type WorstCase,
} from "./gradcheck.ts";
export { type KroneckerFactors, kroneckerFactors } from "./kfac.ts";
export { KFAC, type KFACOptions } from "./kfacOptimizer.ts";
export {
  type Along,
  type CriticalKind,
  type CriticalOptions,
  type CriticalPoint,
  type Curvature,
  classifyCriticalPoint,
  conditionNumber,
  type DensityOptions,
  denseEigen,
  denseHessian,
  type Estimate,
  hessianExtremes,
  hessianTrace,
  ravine,
  spectralDensity,
} from "./landscape.ts";
export type { Likelihood } from "./likelihood.ts";
export { NaturalGradient, type NaturalGradientOptions } from "./naturalOptimizer.ts";
export { Objective, objective, type Point } from "./objective.ts";
export { type PerSample, type PerSampleOptions, perSampleGradients } from "./perSample.ts";
export { gradientThroughTime, growthPerStep, type RecurrentState, spectralNorm } from "./recurrence.ts";
export {
  type Conditioning,
  conditioning,
  partialsUnderScaling,
  type Scaling,
  standardize,
  type WeightBias,
  weightsAgainstBiases,
  whiten,
} from "./scaling.ts";
export {
  directionalDerivative,
  type LogisticPulls,
  linearGradients,
  logisticPulls,
  type Sensitivity,
  sensitivities,
  steepestDescent,
} from "./sensitivity.ts";
export { type Plane, plane, randomDirection, type SliceOptions, slice, topHessianDirections } from "./slices.ts";
export type { Vector } from "./vector.ts";
export {
  type ActivationRow,
  LIMITS,
  type ParameterRow,
  type Verdict,
  type VerdictKind,
  type WatchedStep,
} from "./verdict.ts";
export { diagnose, Watcher, WatchReport, watch } from "./watch.ts";
