/** Exercise: derive the Fisher information of a Bernoulli variable about its probability and about its logit. */

import { sigmoid } from "../algebra.ts";
import { showNumber } from "../experiment.ts";
import type { Exercise, Mistake } from "./exercise.ts";
import { agree, draw, fail, format, read } from "./values.ts";

const probabilities = (p: number): [number, number] => [1 - p, p];

/** Σₓ P(x) · (d log P(x)/dt)² by central differences, for a coin whose probability depends on t. */
function information(probability: (t: number) => number, t: number): number {
  const h = 1e-4;
  const [above, below] = [probabilities(probability(t + h)), probabilities(probability(t - h))];
  return probabilities(probability(t)).reduce(
    (sum, weight, x) => sum + weight * ((Math.log(above[x]!) - Math.log(below[x]!)) / (2 * h)) ** 2,
    0,
  );
}

/** The Kullback–Leibler divergence between two coins. */
const divergence = (p: number, q: number): number => p * Math.log(p / q) + (1 - p) * Math.log((1 - p) / (1 - q));

export default {
  name: "fisher-information",
  title: "The Fisher information of a Bernoulli variable",
  section: "The Natural Gradient: Descending in Information Space",
  concept: "how much a parameter changes the distribution",
  prediction: {
    kind: "number",
    question:
      "You change the probability $p$ of a coin by 0.01. For which $p$ is the change hardest to notice from the coin's flips?",
    answer: 0.5,
    within: 0.001,
    explanation:
      "The Fisher information about $p$ is smallest for a fair coin, whose flips vary the most. At $p=0.001$, a change of 0.01 multiplies the frequency of heads by 11.",
  },
  statement: [
    "A coin shows $x=1$ with probability $p$ and $x=0$ with probability $1-p$. The Fisher information about a parameter $t$ of the coin is the mean squared score:",
    "$$F(t)=\\sum_{x\\in\\{0,1\\}}P(x)\\,\\Bigl(\\frac{\\mathrm d}{\\mathrm dt}\\log P(x)\\Bigr)^{2}$$",
    "Write two functions: `fisher(p)`, the information about $t=p$ itself, and `fisherOfLogit(z)`, the information about the logit $t=z$, where $p=\\sigma(z)=\\frac1{1+e^{-z}}$.",
  ],
  exports: ["fisher", "fisherOfLogit"],
  starter: `export function fisher(p) {
  return p;
}

export function fisherOfLogit(z) {
  return z;
}
`,
  hints: [
    "The sum has two terms. The scores are $\\frac{\\mathrm d}{\\mathrm dp}\\log p$ and $\\frac{\\mathrm d}{\\mathrm dp}\\log(1-p)$.",
    "The scores are $\\frac1p$ and $-\\frac1{1-p}$, so $F=p\\cdot\\frac1{p^2}+(1-p)\\cdot\\frac1{(1-p)^2}$: simplify. For the logit, the chain rule multiplies the score by $\\mathrm dp/\\mathrm dz=p(1-p)$.",
    "$F(p)=\\frac1{p(1-p)}$. The score is squared, and so is the factor of the chain rule: $F(z)=F(p)\\,(p(1-p))^2=p(1-p)$.",
  ],
  solution: `export function fisher(p) {
  return 1 / (p * (1 - p));
}

export function fisherOfLogit(z) {
  const p = 1 / (1 + Math.exp(-z));
  return p * (1 - p);
}
`,
  checks: [
    {
      title: "`fisher(p)` is the mean squared score.",
      run(code) {
        for (const p of [0.3, ...draw(10, 0.05, 0.95)]) {
          const what = `\`fisher(${showNumber(p)})\``;
          const variance = p * (1 - p);
          agree(read(code.fisher!(p), [], what), {
            what,
            want: [information((t) => t, p)],
            // The central difference has a relative error of about h²/p² < 4·10⁻⁶.
            within: 1e-4,
            slips: [
              ["That is the variance p(1 − p) of the coin. The information about p is its inverse.", [variance]],
              ["That is the mean of the score, which is always 0. Square the score before you average.", [0]],
              ["The sign is wrong: a mean of squares is positive.", [-1 / variance]],
              ["You did not weight the squared scores by the probabilities P(x).", [1 / p ** 2 + 1 / (1 - p) ** 2]],
              ["That is only the term for x = 1. Add the term for x = 0.", [1 / p]],
              ["You averaged |score|. Square it instead.", [2]],
            ],
          });
        }
      },
    },
    {
      title: "`fisher(p)` measures how much the distribution changes: KL(p, p + δ) ≈ ½ F(p) δ².",
      run(code) {
        for (const p of draw(10, 0.2, 0.8)) {
          const what = `\`fisher(${showNumber(p)})\``;
          const [found] = read(code.fisher!(p), [], what);
          const delta = 1e-4;
          const want = (2 * divergence(p, p + delta)) / delta ** 2;
          // Relative to this term of the series, the next term is about δ/p, at most 5·10⁻⁴.
          if (!(Math.abs(found! / want - 1) < 2e-3))
            fail(`${what} is ${format(found!)}, but 2·KL/δ² is ${format(want)} for δ = ${delta}.`);
        }
      },
    },
    {
      title: "`fisherOfLogit(z)` is the mean squared score with respect to z.",
      run(code) {
        for (const z of [-1, ...draw(10, -3, 3)]) {
          const what = `\`fisherOfLogit(${showNumber(z)})\``;
          const p = sigmoid(z);
          const variance = p * (1 - p);
          agree(read(code.fisherOfLogit!(z), [], what), {
            what,
            want: [information(sigmoid, z)],
            within: 1e-4,
            slips: [
              [
                "That is the information about p. In terms of z, the score gets the factor dp/dz = p(1 − p).",
                [1 / variance],
              ],
              ["You multiplied by dp/dz once. The score is squared, so the factor is (dp/dz)².", [1]],
              ["You squared too much: F(p)·(dp/dz)² is p(1 − p).", [variance ** 2]],
              ["You used z as the probability. First compute p = σ(z).", [z * (1 - z)]],
              ["You used z as the probability. First compute p = σ(z).", [1 / (z * (1 - z))]],
            ],
          });
        }
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "1 / (p * (1 - p))", by: "p * (1 - p)", hint: "the variance p(1 − p) of the coin" },
  { replace: "return p * (1 - p);", by: "return 1 / (p * (1 - p));", hint: "the information about p" },
  { replace: "1 / (p * (1 - p))", by: "1 / p ** 2 + 1 / (1 - p) ** 2", hint: "did not weight the squared scores" },
  { replace: "return p * (1 - p);", by: "return fisher(p) * p * (1 - p);", hint: "multiplied by dp/dz once" },
];
