/**
 * Exercise: write an initialization that keeps the size of the gradient through ReLU layers, Var w = 2/fanOut (He et
 * al. 2015, equation 14).
 */
import { grad, randn, type Tensor } from "nabla";
import type { Exercise, Mistake } from "./exercise.ts";
import { fail, format, read } from "./values.ts";

type Initialize = (fanIn: number, fanOut: number) => unknown;
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const [FAN_IN, FAN_OUT] = [150, 400];
const [DEPTH, WIDTH, REPEATS] = [20, 128, 4];

/** The norm of the gradient at the first layer, divided by the norm at the last, in a network of ReLU layers. */
function gradientRatio(initialize: Initialize): number {
  const weights = Array.from({ length: DEPTH }, () => initialize(WIDTH, WIDTH) as Tensor);
  const upstream = randn([WIDTH]);
  const loss = (h: Tensor): Tensor => weights.reduce((at, w) => w.matmul(at).relu(), h).dot(upstream);
  return Math.hypot(...grad(loss)(randn([WIDTH])).data) / Math.hypot(...upstream.data);
}

/** The weights of a layer whose fan-in and fan-out differ. */
const sample = (initialize: Initialize): number[] =>
  read(initialize(FAN_IN, FAN_OUT), [FAN_OUT, FAN_IN], `\`initialize(${FAN_IN}, ${FAN_OUT})\``);

/** The variance of the weights with each common mistake, and a hint. */
const SLIPS: readonly (readonly [variance: number, hint: string])[] = [
  [1 / FAN_OUT, "A ReLU passes only half of the gradient's components. Compensate with a factor of 2."],
  [
    2 / FAN_IN,
    "2/fanIn preserves the forward signal, a sum over fanIn inputs. Backward, each component is a sum over fanOut outputs.",
  ],
  [1 / FAN_IN, "Backward, each component is a sum over fanOut outputs, of which the ReLU passes half."],
  [(2 / FAN_OUT) ** 2, "You multiplied by the variance. Multiply by the standard deviation, its square root."],
  [
    2 / (FAN_IN + FAN_OUT),
    "That is Xavier's compromise for tanh. For the gradient through ReLUs, only fanOut matters.",
  ],
  [4 / FAN_OUT, "The variance is too large by a factor of 2: use 2/fanOut."],
  [1, "Scale the weights: the more outputs a layer has, the smaller they must be."],
];

export default {
  name: "preserve-the-gradient",
  title: "An initialization that preserves the gradient",
  section: "Vanishing and Exploding Gradients",
  concept: "the variance of the weights decides how much gradient reaches the first layer",
  prediction: {
    kind: "choice",
    question:
      "A network has 20 ReLU layers of equal width $n$. The weights have mean 0 and variance $1/n$. What happens to the norm of the gradient on its way from the last layer to the first?",
    options: ["It stays about the same.", "It falls to about 1/1,000.", "It falls to about 1/1,000,000."],
    answer: "It falls to about 1/1,000.",
    explanation:
      "A ReLU passes about half of the components, so each layer halves the squared norm: $(1/2)^{20}\\approx10^{-6}$. The norm is its square root, $2^{-10}\\approx10^{-3}$.",
  },
  statement: [
    "The gradient $g$ passes backward through a layer $h=\\mathrm{ReLU}(Wx)$ and becomes $W^\\top(m\\odot g)$. The mask $m$ is 1 for the active neurons, about half of them, and 0 for the others.",
    "Write `initialize(fanIn, fanOut)`, which returns random weights with mean 0: a tensor $W$ of shape [fanOut, fanIn]. Choose their variance so that the components of the gradient keep their size:",
    "$$\\frac{1}{n_{in}}\\|W^\\top(m\\odot g)\\|^2\\approx\\frac{1}{n_{out}}\\|g\\|^2$$",
    "Useful: `randn(shape)`, which has variance 1, and `a.mul(2)`.",
  ],
  exports: ["initialize"],
  starter: `import { randn } from "nabla";

export function initialize(fanIn, fanOut) {
  return randn([fanOut, fanIn]);
}
`,
  hints: [
    "Write one component of $W^\\top(m\\odot g)$ as a sum. How many terms does it have, and how many of them are not masked?",
    "The component $\\sum_iw_{ij}m_ig_i$ has `fanOut` terms, half of them 0. The variance of a sum of independent terms is the sum of their variances: $\\frac12\\cdot n_{out}\\cdot\\mathrm{Var}(w)\\cdot\\frac{1}{n_{out}}\\|g\\|^2$.",
    "So $\\frac12n_{out}\\mathrm{Var}(w)=1$. Multiply `randn([fanOut, fanIn])`, whose variance is 1, by the standard deviation `Math.sqrt(2 / fanOut)`.",
  ],
  solution: `import { randn } from "nabla";

export function initialize(fanIn, fanOut) {
  return randn([fanOut, fanIn]).mul(Math.sqrt(2 / fanOut));
}
`,
  checks: [
    {
      title: "The weights are random, with mean 0.",
      run(code) {
        const values = sample(code.initialize as Initialize);
        const spread = Math.sqrt(mean(values.map((value) => value ** 2)));
        const again = sample(code.initialize as Initialize);
        if (values.every((value, i) => value === again[i]))
          fail("Two calls of `initialize` returned the same weights. Draw them at random, for example with `randn`.");
        // The standard error of the mean is at most spread/√n.
        if (Math.abs(mean(values)) > (5 * spread) / Math.sqrt(values.length))
          fail(
            `The mean of the weights is ${format(mean(values))}, but should be 0. \`rand\` draws from 0 to 1; \`randn\` has mean 0.`,
          );
      },
    },
    {
      title: "The weights' variance preserves the gradient in a layer whose fan-in and fan-out differ.",
      run(code) {
        const variance = mean(sample(code.initialize as Initialize).map((value) => value ** 2));
        const want = 2 / FAN_OUT;
        // The relative standard error of the variance of n normally distributed numbers is √(2/n) = 0.6%.
        const near = (value: number): boolean => Math.abs(variance / value - 1) < 0.03;
        if (near(want)) return;
        const factor = format(variance / want);
        const hint =
          SLIPS.find(([value]) => near(value))?.[1] ?? "Which variance makes ½ · fanOut · Var(w) equal to 1?";
        fail(
          `With fan-in ${FAN_IN} and fan-out ${FAN_OUT}, the layer multiplies the mean square of the gradient by ${factor}, not by 1. ${hint}`,
        );
      },
    },
    {
      title: `Through ${DEPTH} ReLU layers, the norm of the gradient neither vanishes nor explodes.`,
      run(code) {
        sample(code.initialize as Initialize);
        // Each layer multiplies the squared norm by a random factor with a relative variance of about 5/width. The
        // logarithm of the norm, averaged over the repeats, therefore has a bias of −¼ · depth · 5/width = −0.2 and a
        // standard deviation of ½√(depth · 5/width/repeats) = 0.22.
        const logs = Array.from({ length: REPEATS }, () => Math.log(gradientRatio(code.initialize as Initialize)));
        const ratio = Math.exp(mean(logs));
        if (!(Math.abs(Math.log(ratio) + 0.2) < 5 * 0.22))
          fail(
            `The gradient's norm at the first layer is ${format(ratio)} times the norm at the last: it ${
              ratio < 1 ? "vanishes. The weights are too small" : "explodes. The weights are too large"
            }.`,
          );
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "2 / fanOut", by: "1 / fanOut", hint: "passes only half" },
  { replace: "2 / fanOut", by: "2 / fanIn", hint: "preserves the forward signal" },
  { replace: "Math.sqrt(2 / fanOut)", by: "2 / fanOut", hint: "multiplied by the variance" },
  { replace: "randn([fanOut, fanIn])", by: "randn([fanIn, fanOut])", hint: "must be a tensor of shape [400, 150]" },
];
