/** What gradients tell, of any model and loss: the library's second face, `nabla/gradients`. */

export {
  type AdversarialLossOptions,
  adversarialLoss,
  type BoxOptions,
  type FgsmOptions,
  fgsm,
  type InputLoss,
  type PgdOptions,
  pgd,
} from "./adversaries.ts";
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
  breed,
  type DrawOptions,
  type Generation,
  landeResponse,
  type Matrix,
  type Population,
  type SelectionAscent,
  selectionAscent,
  selectionDifferential,
  selectionGradient,
  selectionGradientError,
} from "./evolution.ts";
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
  type Behaviour,
  type DescentOptions,
  type DiscreteBehaviour,
  type DiscretizationError,
  type DiscretizationOptions,
  discretizationError,
  type EscapeRateOptions,
  escapeRate,
  gradientDescent,
  gradientFlow,
  type HeavyBallOptions,
  type HeavyBallTrajectory,
  heavyBall,
  heavyBallOf,
  type Mode,
  momentumOf,
  type Potential,
  type Stability,
  type StabilityOptions,
  type StabilityVerdict,
  stability,
} from "./flow.ts";
export {
  GradcheckError,
  type GradcheckOptions,
  type GradcheckResult,
  gradcheck,
  gradgradcheck,
  type WorstCase,
} from "./gradcheck.ts";
export {
  type Completeness,
  gradientTimesInput,
  type IntegratedGradients,
  type IntegratedGradientsOptions,
  integratedGradients,
  type SmoothGradOptions,
  saliency,
  smoothGrad,
} from "./interpret.ts";
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
export { lipschitzBound } from "./lipschitz.ts";
export { type GradCamOptions, gradCam, type OcclusionOptions, occlusion } from "./maps.ts";
export { NaturalGradient, type NaturalGradientOptions } from "./naturalOptimizer.ts";
export { Objective, objective, type Point } from "./objective.ts";
export {
  type IntegrateOptions,
  type IntegrationMethod,
  integrate,
  type Tolerance,
  type Trajectory,
  type VectorField,
} from "./ode.ts";
export { type PerSample, type PerSampleOptions, perSampleGradients } from "./perSample.ts";
export type { Rule as QuadratureRule } from "./quadrature.ts";
export { gradientThroughTime, growthPerStep, type RecurrentState } from "./recurrence.ts";
export {
  type GradientPenaltyOptions,
  gradientPenalty,
  inputGradientNorms,
  type JacobianPenaltyOptions,
  jacobianPenalty,
  type LipschitzPenaltyOptions,
  lipschitzPenalty,
} from "./regularize.ts";
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
export type { BatchOptions, Scorer, Target, TargetOptions } from "./scores.ts";
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
export { spectralNorm } from "./spectral.ts";
export {
  centredRanks,
  type EsError,
  type EsErrorOptions,
  type EsEstimate,
  type EsOptions,
  type Evaluable,
  EvolutionStrategy,
  esError,
  esGradient,
} from "./strategies.ts";
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
