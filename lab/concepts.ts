/** The article's concepts: where each stands in the text, and what shows, computes, tests and exercises it. */

export interface Concept {
  readonly name: string;
  /** The section of the article. */
  readonly section: string;
  /** The id of its paragraph on the page. */
  readonly paragraph: string;
  /** The experiment that shows it. */
  readonly experiment: string;
  /** The functions of nabla and nabla/gradients that compute it. The experiment uses them, and its findings test them. */
  readonly functions: readonly string[];
  /** The beginning of the findings that compare it with theory. */
  readonly findings: readonly string[];
  /** The exercise that practises it. */
  readonly exercise: string;
}

const SENSITIVITIES = "The Gradient: A Vector of Sensitivities";
const BACKPROPAGATION = "Calculating Gradients: The Chain Rule and Backpropagation";
const VANISHING = "Vanishing and Exploding Gradients";
const LANDSCAPES = "The Geometry of Non-Convex Landscapes";
const STOCHASTICITY = "Stochasticity and Gradient Confusion";
const DYNAMICS = "Gradients as a Dynamical System";
const NATURAL = "The Natural Gradient: Descending in Information Space";

/** The concepts, in the article's order. */
export const concepts: readonly Concept[] = [
  {
    name: "The partial derivative is a limit",
    section: SENSITIVITIES,
    paragraph: "partial-derivative",
    experiment: "definition-of-the-derivative",
    functions: ["finiteDifference", "errorCurve", "complexStep"],
    findings: ["order of forward differences", "order of central differences", "relative error of the complex step"],
    exercise: "derive-a-partial",
  },
  {
    name: "The gradient is a vector of sensitivities",
    section: SENSITIVITIES,
    paragraph: "gradient-vector",
    experiment: "linear-regression",
    functions: ["objective"],
    findings: ["∂L/∂θ₁", "∂L/∂θ₂"],
    exercise: "derive-a-partial",
  },
  {
    name: "The directional derivative",
    section: SENSITIVITIES,
    paragraph: "directional-derivative",
    experiment: "directional-derivative",
    functions: ["objective"],
    findings: ["largest slope"],
    exercise: "write-gradcheck",
  },
  {
    name: "The gradient of logistic regression",
    section: BACKPROPAGATION,
    paragraph: "logistic-gradient",
    experiment: "logistic-pull",
    functions: ["logisticPulls", "objective"],
    findings: ["largest difference between the closed form and backward"],
    exercise: "logistic-gradient",
  },
  {
    name: "The gradients of a linear layer",
    section: BACKPROPAGATION,
    paragraph: "linear-layer",
    experiment: "linear-layer",
    functions: ["linearGradients", "gradcheck", "objective"],
    findings: ["bias: largest difference", "weight: largest difference"],
    exercise: "backpropagate-by-hand",
  },
  {
    name: "Vanishing gradients",
    section: VANISHING,
    paragraph: "vanishing",
    experiment: "vanishing",
    functions: ["gradientByDepth"],
    findings: ["largest growth of the gradient"],
    exercise: "preserve-the-gradient",
  },
  {
    name: "Exploding gradients in recurrent networks",
    section: VANISHING,
    paragraph: "exploding",
    experiment: "exploding-rnn",
    functions: ["gradientThroughTime", "growthPerStep", "spectralNorm", "optim.clipGradNorm"],
    findings: ["growth of log"],
    exercise: "clip-an-rnn",
  },
  {
    name: "Minima, plateaus and saddles",
    section: LANDSCAPES,
    paragraph: "non-convex",
    experiment: "landscape",
    functions: ["denseEigen", "hessianExtremes", "hessianTrace", "spectralDensity"],
    findings: ["largest curvature"],
    exercise: "escape-direction",
  },
  {
    name: "Noise escapes a saddle",
    section: LANDSCAPES,
    paragraph: "noise-escapes",
    experiment: "saddle-escape",
    functions: ["escape", "predictedEscape"],
    findings: ["median number of steps"],
    exercise: "escape-direction",
  },
  {
    name: "Anisotropy: the ravine",
    section: LANDSCAPES,
    paragraph: "anisotropy",
    experiment: "ravine",
    functions: ["ravine", "conditionNumber", "objective", "logSlope"],
    findings: ["condition number"],
    exercise: "condition-a-ravine",
  },
  {
    name: "Feature scaling",
    section: LANDSCAPES,
    paragraph: "feature-scaling",
    experiment: "feature-scaling",
    functions: ["partialsUnderScaling", "conditioning", "standardize", "whiten"],
    findings: ["condition number of whitened features"],
    exercise: "condition-a-ravine",
  },
  {
    name: "Gradient confusion",
    section: STOCHASTICITY,
    paragraph: "gradient-confusion",
    experiment: "gradient-confusion",
    functions: ["batchGradients", "gradientNoiseScale", "perSampleGradients", "gradientConfusion", "logSlope"],
    findings: ["sign flips with batches of 16"],
    exercise: "measure-confusion",
  },
  {
    name: "Curriculum learning",
    section: STOCHASTICITY,
    paragraph: "curriculum",
    experiment: "curriculum",
    functions: ["curriculum", "signFlips"],
    findings: ["fraction of signs that flip"],
    exercise: "reorder-a-curriculum",
  },
  {
    name: "Weights against biases",
    section: STOCHASTICITY,
    paragraph: "weights-against-biases",
    experiment: "weights-vs-biases",
    functions: ["weightsAgainstBiases", "standardize", "logSlope"],
    findings: ["one sample"],
    exercise: "condition-a-ravine",
  },
  {
    name: "Gradient flow",
    section: DYNAMICS,
    paragraph: "gradient-flow",
    experiment: "gradient-flow",
    functions: ["gradientFlow", "gradientDescent", "discretizationError", "objective"],
    findings: ["order of Euler's method"],
    exercise: "integrate-the-flow",
  },
  {
    name: "Momentum is a second-order differential equation",
    section: DYNAMICS,
    paragraph: "momentum",
    experiment: "momentum-escape",
    functions: ["gradientFlow", "heavyBall", "heavyBallOf", "stability", "escapeRate", "gradientDescent"],
    findings: ["escape rate of the heavy ball"],
    exercise: "critical-damping",
  },
  {
    name: "The Fisher matrix and the natural gradient",
    section: NATURAL,
    paragraph: "fisher",
    experiment: "natural-gradient",
    functions: ["fisherMatrix", "naturalGradient"],
    findings: ["F₁₁"],
    exercise: "natural-step",
  },
];
