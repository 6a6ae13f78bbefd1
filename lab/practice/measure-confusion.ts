/**
 * Exercise: compute gradient confusion, the fraction of components whose sign flips between successive mini-batches.
 */
import { randn } from "nabla";
import { gradientConfusion } from "nabla/gradients";
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { agree, drawAwayFromZero, fail, format, read } from "./values.ts";

type Gradients = readonly (readonly number[])[];
const confusion = (code: Code, gradients: Gradients, what: string): number =>
  read(code.confusion!(gradients.map((g) => [...g])), [], what)[0]!;

/**
 * Counts the flips between each gradient t and gradient `previous(t)`. A flip is a pair of components for which
 * `isFlip` returns true.
 */
const count = (
  gradients: Gradients,
  previous: (t: number) => number,
  isFlip = (a: number, b: number): boolean => a * b < 0,
): number =>
  gradients.slice(1).flatMap((g, t) => g.filter((value, i) => isFlip(value, gradients[previous(t + 1)]![i]!))).length;

function slips(gradients: Gradients): [string, number[]][] {
  const [batches, size] = [gradients.length, gradients[0]!.length];
  const pairs = (batches - 1) * size;
  const flips = count(gradients, (t) => t - 1);
  const all: [string, number[]][] = [
    ["That is the number of flips. Divide it by the number of comparisons.", [flips]],
    ["You divided by the number of batches. Between T batches there are only T − 1 steps.", [flips / (batches * size)]],
    ["You divided by the number of components only. Divide by the number of steps too.", [flips / size]],
    ["You divided by the number of steps only. Divide by the number of components too.", [flips / (batches - 1)]],
    [
      "You compared every gradient with the first. Compare it with the previous one.",
      [count(gradients, () => 0) / pairs],
    ],
    [
      "You counted the components that keep their sign.",
      [
        count(
          gradients,
          (t) => t - 1,
          (a, b) => a * b > 0,
        ) / pairs,
      ],
    ],
    [
      "You counted a component that becomes 0, or was 0, as a flip. A flip goes from positive to negative or back.",
      [
        count(
          gradients,
          (t) => t - 1,
          (a, b) => Math.sign(a) !== Math.sign(b),
        ) / pairs,
      ],
    ],
  ];
  // Skip mistakes whose result is 0: a function that returns 0 need not have made any of them.
  return all.filter(([, [value]]) => value !== 0);
}

export default {
  name: "measure-confusion",
  title: "Measure gradient confusion",
  section: "Stochasticity and Gradient Confusion",
  concept: "sign flips between mini-batches show contradictory signals",
  prediction: {
    kind: "number",
    question:
      "Near the minimum, mini-batch gradients are pure noise: every component is positive or negative with equal probability, independently of the previous batch. What fraction of the signs flips from batch to batch?",
    answer: 0.5,
    within: 0.001,
    explanation:
      "Two independent signs differ with probability $\\frac12$. A fraction well below that means that the batches agree on where to go.",
  },
  statement: [
    "Between two successive mini-batches, a component of the gradient flips if it changes from positive to negative, or from negative to positive. Confusion is the fraction of components that flip, averaged over all $T-1$ steps between $T$ batches:",
    "$$\\frac1{(T-1)\\,n}\\sum_{t=1}^{T-1}\\ \\sum_{i=1}^{n}\\ \\bigl[\\,g^{(t)}_i\\,g^{(t+1)}_i<0\\,\\bigr]$$",
    "Write `confusion(gradients)`. `gradients` is an array of $T$ gradients in the order of the batches, each an array of $n$ numbers. The result is a number from 0 to 1.",
  ],
  exports: ["confusion"],
  starter: `export function confusion(gradients) {
  return 0;
}
`,
  hints: [
    "When is the product of two numbers negative?",
    "Use two loops: over the batches, beginning with the second, and over the components. Count the products below 0.",
    "`if (gradients[t][i] * gradients[t - 1][i] < 0) flips++;` for t from 1. At the end, divide by `(gradients.length - 1) * gradients[0].length`.",
  ],
  solution: `export function confusion(gradients) {
  let flips = 0;
  for (let t = 1; t < gradients.length; t++)
    for (let i = 0; i < gradients[t].length; i++)
      if (gradients[t][i] * gradients[t - 1][i] < 0) flips++;
  return flips / ((gradients.length - 1) * gradients[0].length);
}
`,
  checks: [
    {
      title: "From (1, 2) to (−1, 3) to (−1, −1), two of four signs flip.",
      run(code) {
        const gradients = [
          [1, 2],
          [-1, 3],
          [-1, -1],
        ];
        const what = "`confusion` of (1, 2), (−1, 3), (−1, −1)";
        agree([confusion(code, gradients, what)], { what, want: [0.5], within: 1e-9, slips: slips(gradients) });
      },
    },
    {
      title: "For random gradients, the result agrees with nabla's gradientConfusion.",
      run(code) {
        for (let i = 0; i < 5; i++) {
          const gradients = Array.from({ length: 9 }, () => drawAwayFromZero(7));
          const what = "`confusion` of 9 random gradients with 7 components";
          const want = [gradientConfusion(gradients.map((g) => Float64Array.from(g))).signFlips];
          agree([confusion(code, gradients, what)], { what, want, within: 1e-9, slips: slips(gradients) });
        }
      },
    },
    {
      title: "A component that is 0 does not flip.",
      run(code) {
        const gradients = [
          [1, 0, -2],
          [0, 3, -1],
          [2, 0, 4],
        ];
        const what = "`confusion` of (1, 0, −2), (0, 3, −1), (2, 0, 4)";
        agree([confusion(code, gradients, what)], { what, want: [1 / 6], within: 1e-9, slips: slips(gradients) });
      },
    },
    {
      title: "Equal gradients have confusion 0, alternating ones 1, and independent noise ½.",
      run(code) {
        const g = drawAwayFromZero(50);
        const same = Array.from({ length: 8 }, () => g);
        const alternating = same.map((one, t) => one.map((value) => (t % 2 ? -value : value)));
        for (const [name, gradients, want] of [
          ["equal", same, 0],
          ["alternating", alternating, 1],
        ] as const) {
          const what = `\`confusion\` of ${name} gradients`;
          agree([confusion(code, gradients, what)], { what, want: [want], within: 1e-9, slips: slips(gradients) });
        }
        const noise = Array.from({ length: 41 }, () => [...randn([100]).data]);
        const found = confusion(code, noise, "`confusion` of noise");
        // For symmetric noise, the flips of successive pairs are independent, so their fraction over 4,000 pairs has a
        // standard error of ½/√4000.
        if (!(Math.abs(found - 0.5) < (5 * 0.5) / Math.sqrt(4000)))
          fail(`\`confusion\` of independent noise is ${format(found)}, but should be close to 0.5.`);
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "gradients[t - 1][i]", by: "gradients[0][i]", hint: "compared every gradient with the first" },
  { replace: "(gradients.length - 1)", by: "gradients.length", hint: "only T − 1 steps" },
  {
    replace: "gradients[t][i] * gradients[t - 1][i] < 0",
    by: "Math.sign(gradients[t][i]) !== Math.sign(gradients[t - 1][i])",
    hint: "becomes 0, or was 0",
  },
];
