/**
 * The article's concepts. Each row gives a concept's place in the text, and the experiment, functions, findings and
 * exercise that cover it.
 */

export interface Concept {
  readonly name: string;
  /** The title of the article's section that introduces the concept. */
  readonly section: string;
  /** The id of the concept's paragraph on the page. */
  readonly paragraph: string;
  /** The name of the experiment that shows the concept. */
  readonly experiment: string;
  /**
   * The functions of nabla and nabla/gradients that compute the concept. The experiment uses these functions, and the
   * findings below reveal mistakes in them.
   */
  readonly functions: readonly string[];
  /** The first words of each finding that compares the concept with theory. */
  readonly findings: readonly string[];
  /** The name of the exercise about the concept. */
  readonly exercise: string;
}

const SENSITIVITIES = "The Gradient: A Vector of Sensitivities";
const BACKPROPAGATION = "Calculating Gradients: The Chain Rule and Backpropagation";
const VANISHING = "Vanishing and Exploding Gradients";
const LANDSCAPES = "The Geometry of Non-Convex Landscapes";
const STOCHASTICITY = "Stochasticity and Gradient Confusion";
const DYNAMICS = "Gradients as a Dynamical System";
const NATURAL = "The Natural Gradient: Descending in Information Space";

/** The 26 concepts, in the article's order. */
export const concepts: readonly Concept[] = [
  {
    name: "The partial derivative is a limit",
    section: SENSITIVITIES,
    paragraph: "partial-derivative",
    experiment: "definition-of-the-derivative",
    functions: ["finiteDifference", "errorCurve", "complexStep"],
    findings: [
      "slope of the secant",
      "order of forward differences",
      "order of central differences",
      "error of the complex step",
    ],
    exercise: "derive-a-partial",
  },
  {
    name: "The gradient is a vector of sensitivities",
    section: SENSITIVITIES,
    paragraph: "gradient-vector",
    experiment: "linear-regression",
    functions: ["objective", "sensitivities"],
    findings: ["largest sensitivity", "sensitivity to θ"],
    exercise: "derive-a-partial",
  },
  {
    name: "Linear regression: the partial derivatives are −12 and −4",
    section: SENSITIVITIES,
    paragraph: "linear-regression",
    experiment: "linear-regression",
    functions: ["objective", "finiteDifference"],
    findings: ["∂L/∂θ₁", "∂L/∂θ₂"],
    exercise: "derive-a-partial",
  },
  {
    name: "The directional derivative is the gradient times a unit vector",
    section: SENSITIVITIES,
    paragraph: "directional-derivative",
    experiment: "directional-derivative",
    functions: ["directionalDerivative", "steepestDescent", "objective"],
    findings: [
      "slope along u",
      "slope along the contour",
      "slope along the direction of steepest descent",
      "slope of the steepest descent",
    ],
    exercise: "write-gradcheck",
  },
  {
    name: "Backpropagation applies the chain rule",
    section: BACKPROPAGATION,
    paragraph: "backpropagation",
    experiment: "backpropagation",
    functions: ["objective", "Tensor.mul", "Tensor.sigmoid", "customGradient", "finiteDifference"],
    findings: ["∂L/∂w"],
    exercise: "backpropagate-by-hand",
  },
  {
    name: "In logistic regression, each sample pulls in proportion to its error",
    section: BACKPROPAGATION,
    paragraph: "logistic-regression",
    experiment: "logistic-pull",
    functions: ["logisticPulls", "objective"],
    findings: ["largest difference between the closed form and backward"],
    exercise: "logistic-gradient",
  },
  {
    name: "The gradients of a linear layer are Σ g and Σ g·xᵀ",
    section: BACKPROPAGATION,
    paragraph: "linear-layer",
    experiment: "linear-layer",
    functions: ["linearGradients", "gradcheck", "objective"],
    findings: ["bias: largest difference", "weight: largest difference", "largest error against finite differences"],
    exercise: "backpropagate-by-hand",
  },
  {
    name: "The derivative of the sigmoid is at most ¼, and the sigmoid saturates",
    section: VANISHING,
    paragraph: "sigmoid",
    experiment: "sigmoid",
    functions: ["Tensor.sigmoid", "objective"],
    findings: ["σ′(z) from autograd", "largest derivative", "relative change of σ′"],
    exercise: "preserve-the-gradient",
  },
  {
    name: "Products of small derivatives vanish",
    section: VANISHING,
    paragraph: "vanishing-gradients",
    experiment: "vanishing",
    functions: ["grad", "gradientByDepth", "diagnose"],
    findings: [
      "largest value of the sigmoid's derivative",
      "factor per layer of a chain of sigmoids",
      "gradient at the last layer",
      "largest growth of the gradient",
      "‖∂L/∂z‖ of the first layer",
      "verdict of diagnose",
    ],
    exercise: "preserve-the-gradient",
  },
  {
    name: "Large initial biases saturate neurons",
    section: VANISHING,
    paragraph: "saturation",
    experiment: "vanishing",
    functions: ["gradientByDepth", "diagnose"],
    findings: [
      "log of the ratio of layer 1's gradient to the last layer's: sigmoid, xavier, biases with std 10",
      "saturated outputs of the first layer, for biases with std 10",
    ],
    exercise: "preserve-the-gradient",
  },
  {
    name: "In recurrent networks, gradients explode",
    section: VANISHING,
    paragraph: "exploding-gradients",
    experiment: "exploding-rnn",
    functions: ["gradientThroughTime", "growthPerStep", "spectralNorm"],
    findings: [
      "‖W‖₂ by Lanczos",
      "growth of log",
      "‖∂L/∂h₀‖, divided by the norm of the product of the Jacobians",
      "largest ‖∂L/∂hₜ‖ divided by its bound",
    ],
    exercise: "clip-an-rnn",
  },
  {
    name: "Vanishing gradients hide long-range dependencies",
    section: VANISHING,
    paragraph: "long-range-dependencies",
    experiment: "long-range",
    functions: ["gradientThroughTime", "nn.LSTM"],
    findings: [
      "plain RNN: log of the gradient",
      "LSTM, b = 4: log of the gradient",
      "plain RNN: loss at the end of training",
      "LSTM, b = 4: loss at the end of training",
    ],
    exercise: "clip-an-rnn",
  },
  {
    name: "A landscape has minima, plateaus and saddles",
    section: LANDSCAPES,
    paragraph: "critical-points",
    experiment: "critical-points",
    functions: ["classifyCriticalPoint", "denseHessian", "objective"],
    findings: ["minima minus saddles", "number of minima", "curvatures below 0"],
    exercise: "escape-direction",
  },
  {
    name: "Near a saddle, gradient descent is slow",
    section: LANDSCAPES,
    paragraph: "slow-saddles",
    experiment: "near-saddle",
    functions: ["gradientDescent"],
    findings: ["steps that gradient descent needs", "θ₂ after one step"],
    exercise: "escape-direction",
  },
  {
    name: "Noise helps gradient descent escape saddles",
    section: LANDSCAPES,
    paragraph: "noise",
    experiment: "saddle-escape",
    functions: ["escape", "predictedEscape"],
    findings: ["distance from (1, 0)", "median number of steps"],
    exercise: "escape-direction",
  },
  {
    name: "In a ravine, the gradient points across the floor",
    section: LANDSCAPES,
    paragraph: "anisotropy",
    experiment: "ravine",
    functions: ["ravine", "conditionNumber", "objective", "gradientDescent"],
    findings: [
      "condition number",
      "share of the gradient",
      "distance across after one step",
      "distance after 40 steps",
    ],
    exercise: "condition-a-ravine",
  },
  {
    name: "The scale of the features shapes the landscape",
    section: LANDSCAPES,
    paragraph: "feature-scaling",
    experiment: "feature-scaling",
    functions: ["partialsUnderScaling", "conditioning", "standardize", "whiten"],
    findings: ["∂L/∂θ₂ after scaling", "|∂L/∂θ₂| divided by |∂L/∂θ₁|", "condition number"],
    exercise: "condition-a-ravine",
  },
  {
    name: "The gradient of a mini-batch is a noisy estimate",
    section: STOCHASTICITY,
    paragraph: "mini-batch-noise",
    experiment: "gradient-confusion",
    functions: ["batchGradients", "gradientNoiseScale", "perSampleGradients", "logSlope"],
    findings: ["tr Σ from mini-batches", "growth of the gradient's variance", "mean cosine with batches of 64"],
    exercise: "measure-confusion",
  },
  {
    name: "The gradients of mini-batches disagree",
    section: STOCHASTICITY,
    paragraph: "gradient-confusion",
    experiment: "gradient-confusion",
    functions: ["gradientConfusion", "batchGradients"],
    findings: ["sign flips with batches of 16", "mean cosine with batches of 64"],
    exercise: "measure-confusion",
  },
  {
    name: "A curriculum orders mini-batches",
    section: STOCHASTICITY,
    paragraph: "curriculum-learning",
    experiment: "curriculum",
    functions: ["curriculum", "signFlips"],
    findings: ["fraction of signs that flip"],
    exercise: "reorder-a-curriculum",
  },
  {
    name: "The scale of the inputs decides whether weights or biases learn faster",
    section: STOCHASTICITY,
    paragraph: "weights-against-biases",
    experiment: "weights-vs-biases",
    functions: ["weightsAgainstBiases", "standardize", "logSlope"],
    findings: [
      "one sample",
      "growth of ‖∂W‖",
      "mean squared length of standardized inputs",
      "‖∂W‖/‖∂b‖ after standardizing",
    ],
    exercise: "condition-a-ravine",
  },
  {
    name: "Gradient descent follows a flow",
    section: DYNAMICS,
    paragraph: "gradient-flow",
    experiment: "gradient-flow",
    functions: ["gradientFlow", "gradientDescent", "discretizationError", "objective"],
    findings: [
      "order of Euler's method",
      "order of the classical Runge–Kutta method",
      "distance of gradient descent from the flow",
      "this distance divided by the distance at a sixteenth of the rate",
      "largest error of nabla's gradient",
    ],
    exercise: "integrate-the-flow",
  },
  {
    name: "Momentum acts like a ball with mass and friction",
    section: DYNAMICS,
    paragraph: "momentum",
    experiment: "momentum-escape",
    functions: ["heavyBall", "heavyBallOf", "stability"],
    findings: [
      "escape rate of the heavy ball",
      "escape rate of the ball divided by the flow's",
      "escape rate of gradient descent with momentum",
    ],
    exercise: "critical-damping",
  },
  {
    name: "Momentum leaves saddles in fewer steps",
    section: DYNAMICS,
    paragraph: "momentum-at-saddles",
    experiment: "momentum-escape",
    functions: ["gradientFlow", "gradientDescent", "stability", "escapeRate"],
    findings: [
      "escape rate of gradient flow",
      "escape rate of gradient descent",
      "rate of the stable direction",
      "escape rate with momentum divided by that without",
    ],
    exercise: "critical-damping",
  },
  {
    name: "The natural gradient divides by the Fisher information",
    section: NATURAL,
    paragraph: "natural-gradient",
    experiment: "natural-gradient",
    functions: ["fisherMatrix", "naturalGradient"],
    findings: ["F₁₁", "natural gradient, first component"],
    exercise: "fisher-information",
  },
  {
    name: "A plain gradient step overshoots where the model is sensitive",
    section: NATURAL,
    paragraph: "overshoot",
    experiment: "natural-gradient",
    functions: ["naturalGradient", "objective"],
    findings: ["θ₁ after one step of the plain gradient", "KL divergence between the models"],
    exercise: "natural-step",
  },
];
