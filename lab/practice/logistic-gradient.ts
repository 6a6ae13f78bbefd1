/** Exercise: derive the gradient of logistic regression, which is the average of the inputs, weighted by the errors. */
import { grad, losses, type Tensor, tensor } from "nabla";
import { sigmoid } from "../algebra.ts";
import type { Exercise, Mistake } from "./exercise.ts";
import { agree, draw, drawAwayFromZero, read } from "./values.ts";

interface Data {
  readonly w: readonly number[];
  readonly x: readonly (readonly number[])[];
  readonly y: readonly number[];
}

/** (1/n) Σ weight(logit, label) · x. */
function weighted({ w, x, y }: Data, weight: (z: number, label: number) => number): number[] {
  const errors = x.map((row, k) =>
    weight(
      row.reduce((z, value, i) => z + value * w[i]!, 0),
      y[k]!,
    ),
  );
  return w.map((_, i) => x.reduce((total, row, k) => total + errors[k]! * row[i]!, 0) / x.length);
}

const slips = (data: Data): [string, number[]][] => [
  [
    "Your gradient has the wrong sign. The error is the prediction minus the label, ŷ − y.",
    weighted(data, (z, label) => label - sigmoid(z)),
  ],
  [
    "You forgot the factor 1/n: the loss is the average over the samples.",
    weighted(data, (z, label) => data.x.length * (sigmoid(z) - label)),
  ],
  ["You forgot the sigmoid: the prediction is ŷ = σ(w·x), a probability.", weighted(data, (z, label) => z - label)],
  [
    "That is the gradient of the squared error: it has an extra factor σ′ = ŷ(1 − ŷ), which cancels for cross-entropy.",
    weighted(data, (z, label) => (sigmoid(z) - label) * sigmoid(z) * (1 - sigmoid(z))),
  ],
  ["You forgot the labels: the error is ŷ − y.", weighted(data, (z) => sigmoid(z))],
];

/** Random data. Inputs and weights are not close to 0, because mistakes could then give almost the right result. */
function random(n: number): Data {
  const x = Array.from({ length: n }, () => drawAwayFromZero(3));
  return { w: drawAwayFromZero(3), x, y: draw(n).map((value) => Number(value > 0)) };
}

const call = (f: (w: Tensor, x: Tensor, y: Tensor) => unknown, { w, x, y }: Data): unknown =>
  f(tensor([...w]), tensor(x.map((row) => [...row])), tensor([...y]));

export default {
  name: "logistic-gradient",
  title: "The logistic gradient",
  section: "Calculating Gradients: The Chain Rule and Backpropagation",
  concept: "each sample pulls in proportion to its error",
  prediction: {
    kind: "number",
    question:
      "Two samples have the label 1 and inputs of equal length. The model says $\\hat y=0.9$ for the first and $\\hat y=0.1$ for the second. How many times harder does the second pull on the weights?",
    answer: 9,
    within: 0.05,
    explanation:
      "The pull is $(\\hat y-y)\\,x$. The errors are $-0.1$ and $-0.9$, and $0.9/0.1=9$. A badly misclassified sample dominates the gradient.",
  },
  statement: [
    "Logistic regression predicts $\\hat y=\\sigma(w^\\top x)$ with $\\sigma(z)=\\frac{1}{1+e^{-z}}$. Its loss is the binary cross-entropy, averaged over $n$ samples:",
    "$$L(w)=\\frac1n\\sum_{k=1}^{n}L_k$$",
    "$$L_k=-y_k\\log\\hat y_k-(1-y_k)\\log(1-\\hat y_k)$$",
    "Write `gradient(w, x, y)`, which returns $\\nabla L(w)$ as a tensor of shape [d]. `w` is a tensor of shape [d], `x` has shape [n, d] with a sample in each row, and `y` has shape [n].",
    "Useful: `a.matmul(b)`, `a.t()`, `a.sigmoid()`, `a.sub(b)`, `a.div(2)`, and `x.shape`.",
  ],
  exports: ["gradient"],
  byHand: true,
  starter: `import { zerosLike } from "nabla";

export function gradient(w, x, y) {
  return zerosLike(w);
}
`,
  hints: [
    "Start with one sample. Differentiate the cross-entropy with respect to $z=w^\\top x$; much cancels, because $\\sigma'=\\sigma(1-\\sigma)$.",
    "For one sample, $\\nabla L=(\\hat y-y)\\,x$. All logits at once are `x.matmul(w)`, and the errors have shape [n].",
    "Let `error = x.matmul(w).sigmoid().sub(y)`. The sum of the inputs, weighted by their errors, is `x.t().matmul(error)`. Divide it by n, `x.shape[0]`.",
  ],
  solution: `export function gradient(w, x, y) {
  const error = x.matmul(w).sigmoid().sub(y);
  return x.t().matmul(error).div(x.shape[0]);
}
`,
  checks: [
    {
      title: "For one sample, the gradient is (ŷ − y)x.",
      run(code) {
        const data = random(1);
        const what = "`gradient` for one sample";
        const want = weighted(data, (z, label) => sigmoid(z) - label);
        agree(read(call(code.gradient!, data), [3], what), { what, want, within: 1e-4, slips: slips(data) });
      },
    },
    {
      title: "For a batch, the gradient agrees with autograd.",
      run(code) {
        for (let i = 0; i < 5; i++) {
          const data = random(8);
          const [x, y] = [tensor(data.x.map((row) => [...row])), tensor([...data.y])];
          const loss = (w: Tensor): Tensor => losses.bceWithLogits(x.matmul(w), y);
          const want = [...grad(loss)(tensor([...data.w])).data];
          const what = "`gradient` for 8 samples";
          agree(read(call(code.gradient!, data), [3], what), { what, want, within: 1e-4, slips: slips(data) });
        }
      },
    },
    {
      title: "Using every sample twice does not change the gradient.",
      run(code) {
        const data = random(4);
        const what = "`gradient` for 4 samples";
        const want = read(call(code.gradient!, data), [3], what);
        const twice = { w: data.w, x: [...data.x, ...data.x], y: [...data.y, ...data.y] };
        agree(read(call(code.gradient!, twice), [3], what), {
          what: "`gradient` with every sample twice",
          want,
          within: 1e-4,
          slips: [
            [
              "It doubles with the number of samples. You forgot the factor 1/n: the loss is the average.",
              want.map((value) => 2 * value),
            ],
          ],
        });
      },
    },
    {
      title: "Confident samples pull with weight 0 if they are right, and 1 if wrong.",
      run(code) {
        // The logits are ±40, where σ is within 10⁻¹⁷ of 0 or 1.
        const data = {
          w: [20, -20],
          x: [
            [1, -1],
            [-1, 1],
          ],
          y: [1, 1],
        };
        const what = "`gradient` for logits of 40 and −40 with label 1";
        const want = weighted(data, (z, label) => sigmoid(z) - label);
        agree(read(call(code.gradient!, data), [2], what), {
          what,
          want,
          within: 1e-4,
          slips: slips(data).slice(0, 3),
        });
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "x.matmul(w).sigmoid().sub(y)", by: "y.sub(x.matmul(w).sigmoid())", hint: "wrong sign" },
  { replace: ".div(x.shape[0])", by: "", hint: "forgot the factor 1/n" },
  { replace: ".sigmoid()", by: "", hint: "forgot the sigmoid" },
];
