/** nabla/gradients: tools that analyse the gradients of any model and loss. Folders follow the sections of the article. */

export { type LogisticPulls, linearGradients, logisticPulls } from "./backpropagation/closedForms.ts";
export { type PerSample, type PerSampleOptions, perSampleGradients } from "./backpropagation/perSample.ts";
export {
  batchGradients,
  type Confusion,
  type Curriculum,
  curriculum,
  gradientConfusion,
  gradientNoiseScale,
  type NoiseScale,
  signFlips,
} from "./confusion/confusion.ts";
export { type WeightBias, weightsAgainstBiases } from "./confusion/weightsAgainstBiases.ts";
export {
  type DescentOptions,
  type DiscretizationError,
  type DiscretizationOptions,
  discretizationError,
  gradientDescent,
  gradientFlow,
  type HeavyBallOptions,
  type HeavyBallTrajectory,
  heavyBall,
  heavyBallOf,
  momentumOf,
  type Potential,
} from "./dynamics/flow.ts";
export {
  type Behaviour,
  type DiscreteBehaviour,
  type EscapeRateOptions,
  escapeRate,
  type Mode,
  type Stability,
  type StabilityOptions,
  type StabilityVerdict,
  stability,
} from "./dynamics/stability.ts";
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
} from "./evolution/evolution.ts";
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
} from "./evolution/strategies.ts";
export {
  type Completeness,
  gradientTimesInput,
  type IntegratedGradients,
  type IntegratedGradientsOptions,
  integratedGradients,
  type SmoothGradOptions,
  saliency,
  smoothGrad,
} from "./interpretation/interpret.ts";
export { type GradCamOptions, gradCam, type OcclusionOptions, occlusion } from "./interpretation/maps.ts";
export type { BatchOptions, Scorer, Target, TargetOptions } from "./interpretation/scores.ts";
export { type Escape, type EscapeOptions, escape, predictedEscape } from "./landscape/escape.ts";
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
} from "./landscape/landscape.ts";
export {
  type Conditioning,
  conditioning,
  partialsUnderScaling,
  type Scaling,
  standardize,
  whiten,
} from "./landscape/scaling.ts";
export {
  type Plane,
  plane,
  randomDirection,
  type SliceOptions,
  slice,
  topHessianDirections,
} from "./landscape/slices.ts";
export { Complex } from "./math/complex.ts";
export { type ConjugateOptions, conjugateGradient, type Solution } from "./math/conjugate.ts";
export { type Eigen, type LanczosOptions, lanczos, type Ritz, symmetricEigen } from "./math/eigen.ts";
export {
  type IntegrateOptions,
  type IntegrationMethod,
  integrate,
  type Tolerance,
  type Trajectory,
  type VectorField,
} from "./math/ode.ts";
export type { Rule as QuadratureRule } from "./math/quadrature.ts";
export type { Vector } from "./math/vector.ts";
export {
  type DiagonalOptions,
  empiricalFisher,
  type FisherOptions,
  fisherDiagonal,
  fisherMatrix,
  fisherProduct,
  type NaturalGradient as NaturalGradientResult,
  naturalGradient,
} from "./natural/fisher.ts";
export { type KroneckerFactors, kroneckerFactors } from "./natural/kfac.ts";
export { KFAC, type KFACOptions } from "./natural/kfacOptimizer.ts";
export type { Likelihood } from "./natural/likelihood.ts";
export { NaturalGradient, type NaturalGradientOptions } from "./natural/naturalOptimizer.ts";
export { Objective, objective, type Point } from "./objective.ts";
export {
  type AdversarialLossOptions,
  adversarialLoss,
  type BoxOptions,
  type FgsmOptions,
  fgsm,
  type InputLoss,
  type PgdOptions,
  pgd,
} from "./regularization/adversaries.ts";
export { lipschitzBound } from "./regularization/lipschitz.ts";
export {
  type GradientPenaltyOptions,
  gradientPenalty,
  inputGradientNorms,
  type JacobianPenaltyOptions,
  jacobianPenalty,
  type LipschitzPenaltyOptions,
  lipschitzPenalty,
} from "./regularization/regularize.ts";
export {
  bestStep,
  complexStep,
  type DifferenceOptions,
  type ErrorCurve,
  type ErrorCurveOptions,
  errorCurve,
  finiteDifference,
  logSlope,
} from "./sensitivities/differences.ts";
export {
  GradcheckError,
  type GradcheckOptions,
  type GradcheckResult,
  gradcheck,
  gradgradcheck,
  type WorstCase,
} from "./sensitivities/gradcheck.ts";
export {
  directionalDerivative,
  type Sensitivity,
  sensitivities,
  steepestDescent,
} from "./sensitivities/sensitivity.ts";
export { type DepthRow, gradientByDepth } from "./vanishing/depth.ts";
export { gradientThroughTime, growthPerStep, type RecurrentState } from "./vanishing/recurrence.ts";
export { spectralNorm } from "./vanishing/spectral.ts";
export {
  type ActivationRow,
  LIMITS,
  type ParameterRow,
  type Verdict,
  type VerdictKind,
  type WatchedStep,
} from "./vanishing/verdict.ts";
export { diagnose, Watcher, WatchReport, watch } from "./vanishing/watch.ts";
