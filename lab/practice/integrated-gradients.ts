/**
 * Exercise: compute integrated gradients, attributions that add up to the change in the output (Sundararajan et al.
 * 2017, proposition 1).
 */
import { grad, randn, type Tensor, tensor } from "nabla";
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { agree, draw, drawAwayFromZero, fail, format, read } from "./values.ts";

type Model = (x: Tensor) => Tensor;

/** (x − baseline) times the mean of the gradients at the given fractions of the path, element by element. */
function attributions(
  f: Model,
  x: readonly number[],
  baseline: readonly number[],
  fractions: readonly number[],
): number[] {
  const gradients = fractions.map((t) => [
    ...grad(f)(tensor(x.map((value, i) => baseline[i]! + t * (value - baseline[i]!)))).data,
  ]);
  return x.map(
    (value, i) => ((value - baseline[i]!) * gradients.reduce((sum, g) => sum + g[i]!, 0)) / gradients.length,
  );
}
const fractions = (steps: number, shift: number): number[] =>
  Array.from({ length: steps }, (_, k) => (k + shift) / steps);

function integrated(code: Code, f: Model, x: readonly number[], baseline: readonly number[], steps: number): number[] {
  const what = `\`integratedGradients\` with ${steps} steps`;
  return read(code.integratedGradients!(f, tensor([...x]), tensor([...baseline]), steps), [x.length], what);
}

/** A hint for each common mistake, and the attributions that code with this mistake returns. */
function slips(f: Model, x: readonly number[], baseline: readonly number[], steps: number): [string, number[]][] {
  const want = attributions(f, x, baseline, fractions(steps, 0.5));
  const means = want.map((value, i) => value / (x[i]! - baseline[i]!));
  return [
    [
      "That is gradient times input. Average the gradient along the path from the baseline to x, and multiply by x − baseline.",
      [...grad(f)(tensor([...x])).data].map((g, i) => g * x[i]!),
    ],
    [
      "You evaluated the gradient at x only. Average it along the path from the baseline to x.",
      attributions(f, x, baseline, [1]),
    ],
    ["You evaluated the gradient at the baseline only. Average it along the path.", attributions(f, x, baseline, [0])],
    [
      "You multiplied by x. Multiply by x − baseline, the length of the path in each feature.",
      means.map((mean, i) => mean * x[i]!),
    ],
    ["You averaged the gradients, but did not multiply by x − baseline.", means],
    ["You added the gradients. Divide the sum by the number of steps.", want.map((value) => value * steps)],
    [
      "The signs are wrong: the path leads from the baseline to x, so multiply by x − baseline.",
      want.map((value) => -value),
    ],
    [
      "You sampled the left end of each step. Use the midpoint (k + ½)/steps, which is far more exact.",
      attributions(f, x, baseline, fractions(steps, 0)),
    ],
    [
      "You sampled the right end of each step. Use the midpoint (k + ½)/steps, which is far more exact.",
      attributions(f, x, baseline, fractions(steps, 1)),
    ],
  ];
}

/** A random network with one output, an input and a baseline. */
function random(n: number) {
  const [w, v] = [randn([8, n]), randn([8])];
  const f: Model = (x) => w.matmul(x).tanh().dot(v);
  return { f, x: drawAwayFromZero(n), baseline: draw(n, -0.4, 0.4) };
}

export default {
  name: "integrated-gradients",
  title: "Integrated gradients that satisfy completeness",
  section: "Applications and Interdisciplinary Connections",
  concept: "attributions that add up to the change in the output",
  prediction: {
    kind: "number",
    question:
      "A model computes $f(x)=1-\\mathrm{ReLU}(1-x)$: it grows up to $x=1$ and is then constant. At $x=2$ its gradient is 0, although $f(2)=1$ and $f(0)=0$. What do integrated gradients from the baseline 0 attribute to $x$?",
    answer: 1,
    within: 0.001,
    explanation:
      "The gradient is 1 on the first half of the path and 0 on the second. Its mean is $\\frac12$, and $\\frac12\\cdot(2-0)=1=f(2)-f(0)$. The gradient at $x$ alone is blind to a feature that is saturated.",
  },
  statement: [
    "Integrated gradients explain an output by averaging the gradient along the straight path from a baseline $b$ to the input $x$:",
    "$$A_i=\\frac{x_i-b_i}{m}\\sum_{k=0}^{m-1}\\frac{\\partial f}{\\partial x_i}(p_k)$$",
    "$$p_k=b+\\frac{k+\\frac12}{m}(x-b)$$",
    "For large $m$ they satisfy completeness: $\\sum_iA_i=f(x)-f(b)$.",
    "Write `integratedGradients(f, x, baseline, steps)`, which returns the attributions as a tensor with the shape of `x`. `f` maps a tensor to a scalar tensor, and `steps` is $m$. Here you may use autograd: `grad(f)(point)` is the gradient of `f` at `point`. Also useful: `a.sub(b)`, `a.add(b)`, `a.mul(b)`, `a.div(2)`.",
  ],
  exports: ["integratedGradients"],
  starter: `import { grad } from "nabla";

export function integratedGradients(f, x, baseline, steps) {
  return grad(f)(x).mul(x);
}
`,
  hints: [
    "Add up the gradients at `steps` points between the baseline and `x`. Divide and multiply once, at the end.",
    "Let `path = x.sub(baseline)`. The points are `baseline.add(path.mul((k + 0.5) / steps))` for k from 0 to `steps - 1`.",
    "Start with `let sum = zerosLike(x)`, imported from nabla. In the loop, `sum = sum.add(grad(f)(point))`. Return `sum.div(steps).mul(path)`.",
  ],
  solution: `import { grad, zerosLike } from "nabla";

export function integratedGradients(f, x, baseline, steps) {
  const path = x.sub(baseline);
  let sum = zerosLike(x);
  for (let k = 0; k < steps; k++) {
    const point = baseline.add(path.mul((k + 0.5) / steps));
    sum = sum.add(grad(f)(point));
  }
  return sum.div(steps).mul(path);
}
`,
  checks: [
    {
      title: "For a linear model w·x, the attributions are wᵢ(xᵢ − bᵢ).",
      run(code) {
        const [w, x, baseline] = [drawAwayFromZero(3), drawAwayFromZero(3, 1, 2), draw(3, 0.2, 0.4)];
        const f: Model = (at) => at.dot(tensor([...w]));
        agree(integrated(code, f, x, baseline, 8), {
          what: "`integratedGradients` of a linear model",
          want: w.map((value, i) => value * (x[i]! - baseline[i]!)),
          within: 1e-4,
          slips: slips(f, x, baseline, 8).slice(3),
        });
      },
    },
    {
      title: "A saturated feature gets its share, which is 1 for 1 − ReLU(1 − x) at x = 2.",
      run(code) {
        const f: Model = (x) => x.neg().add(1).relu().neg().add(1).sum();
        const what = "The attribution of the saturated feature";
        agree(integrated(code, f, [2], [0], 10), {
          what,
          want: [1],
          within: 1e-3,
          slips: [
            [
              "You evaluated the gradient at x only, where it is 0. Average it along the path from the baseline to x.",
              [0],
            ],
            ["You averaged the gradients, but did not multiply by x − baseline.", [0.5]],
            ["You added the gradients. Divide the sum by the number of steps.", [10]],
          ],
        });
      },
    },
    {
      title: "For random networks, the attributions follow the midpoint rule.",
      run(code) {
        for (let i = 0; i < 3; i++) {
          const { f, x, baseline } = random(4);
          const want = attributions(f, x, baseline, fractions(6, 0.5));
          const what = "`integratedGradients` of a random network with 6 steps";
          agree(integrated(code, f, x, baseline, 6), { what, want, within: 1e-3, slips: slips(f, x, baseline, 6) });
        }
      },
    },
    {
      title: "Completeness: the attributions add up to f(x) − f(baseline).",
      run(code) {
        for (let i = 0; i < 3; i++) {
          const { f, x, baseline } = random(5);
          const total = integrated(code, f, x, baseline, 128).reduce((a, b) => a + b, 0);
          const [end, start] = [f(tensor([...x])).item(), f(tensor([...baseline])).item()];
          // The midpoint rule's error is at most max|φ‴|/(24·128²) for φ(t) = f(b + t(x − b)). For 8 terms v·tanh(z) with |z′| up to
          // about 8, max|φ‴| is at most 2·8·3·8³ < 3·10⁴, so the error is below 0.08 in the worst case; a typical one is below 10⁻³.
          if (!(Math.abs(total - (end - start)) < 0.02))
            fail(
              `The attributions add up to ${format(total)}, but f(x) − f(baseline) is ${format(end - start)}. Average the gradient along the whole path, and multiply by x − baseline.`,
            );
        }
      },
    },
    {
      title: "A feature that the model ignores gets 0.",
      run(code) {
        const f: Model = (x) =>
          x
            .mul(tensor([1, 1, 0]))
            .square()
            .sum();
        const got = integrated(code, f, [1, 2, 3], [0.5, 0, -1], 8);
        if (Math.abs(got[2]!) > 1e-6)
          fail(`The model ignores the third feature, but its attribution is ${format(got[2]!)}.`);
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "(k + 0.5) / steps", by: "1", hint: "evaluated the gradient at x only" },
  { replace: ".mul(path);\n}", by: ".mul(x);\n}", hint: "Multiply by x − baseline" },
  { replace: "sum.div(steps)", by: "sum", hint: "Divide the sum by the number of steps" },
  { replace: "(k + 0.5) / steps", by: "k / steps", hint: "left end of each step" },
];
