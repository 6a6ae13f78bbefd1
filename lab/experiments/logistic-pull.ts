/** Each sample pulls the weights of logistic regression along its input, in proportion to its error. */
import { losses, manualSeed, randn, type Tensor, tensor, tidy } from "nabla";
import { logisticPulls, objective } from "nabla/gradients";
import { dot, norm } from "../algebra.ts";
import { experiment } from "../experiment.ts";
import { average } from "../statistics.ts";

export default experiment({
  name: "logistic-pull",
  title: "Each sample's pull in logistic regression",
  section: "Calculating Gradients: The Chain Rule and Backpropagation",
  claim:
    "The gradient of logistic regression is the mean of (ŷ − y)·x: samples that are classified correctly and confidently barely count, and misclassified samples pull the weights along their input.",
  formula:
    "\\nabla_{\\boldsymbol w}L=\\frac1n\\sum_{i=1}^n(\\hat y_i-y_i)\\,\\boldsymbol x_i,\\qquad \\hat y_i=\\sigma(\\boldsymbol w^\\top\\boldsymbol x_i)",
  functions: ["logisticPulls", "objective"],
  parameters: {
    steps: { kind: "number", label: "training steps before measuring", min: 0, max: 200, default: 20, integer: true },
    samples: { kind: "number", label: "samples", min: 10, max: 200, default: 60, integer: true },
    flipped: { kind: "number", label: "wrong labels, %", min: 0, max: 20, default: 5, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ steps, samples, flipped, seed }) {
    manualSeed(seed);
    const { x, y, wrong } = clouds(samples, flipped / 100);
    const loss = (w: Tensor) => losses.bceWithLogits(x.matmul(w), y);
    const at = objective(loss, [0, 0]);
    for (let i = 0; i < steps; i++) at.moveTo(at.theta.map((v, k) => v - 2 * at.gradient()[k]!));
    const { errors, pulls, gradient } = tidy(() => {
      const found = logisticPulls(tensor(at.theta), x, y);
      return { errors: found.errors.data, pulls: found.pulls.toArray() as number[][], gradient: found.gradient.data };
    });
    const automatic = at.gradient();
    const exact = pullsInFloat64(Array.from(at.theta), x.toArray() as number[][], Array.from(y.data));
    const apart = Math.max(...automatic.map((g, i) => Math.abs(g - gradient[i]!)));
    const size = (i: number): number => Math.hypot(...pulls[i]!);
    const rows = Array.from({ length: samples }, (_, i) => ({ i, error: Math.abs(errors[i]!), pull: size(i) }));
    const total = rows.reduce((sum, { pull }) => sum + pull, 0);
    const misclassified = rows.filter(({ error }) => error > 0.5).reduce((sum, { pull }) => sum + pull, 0);
    const points = (label: number): [number, number][] =>
      rows.filter(({ i }) => y.data[i] === label).map(({ error, pull }) => [error, pull]);
    return {
      findings: [
        {
          text: "largest difference between the closed form and backward",
          measured: apart,
          expected: { equals: 0, within: exact.rounding },
          theory: "(1/n)·Σ (ŷ − y)·x; the tolerance is the rounding of float32",
        },
        {
          text: "largest difference of backward from the mean of (σ(wᵀx) − y)·x in float64",
          measured: distance(Array.from(automatic), exact.gradient),
          expected: { equals: 0, within: exact.rounding },
          theory: "the chain rule: the slope of the cross-entropy is σ(z) − y",
        },
        {
          text: "largest difference of a pull from (σ(wᵀx) − y)·x in float64",
          measured: Math.max(...pulls.map((pull, i) => distance(pull, exact.pulls[i]!))),
          expected: { equals: 0, within: exact.rounding },
          theory: "a pull is the input times the error",
        },
        ...(steps >= 50 && wrong.length
          ? [
              {
                text: "mean |error| of wrong labels divided by the mean |error| of correct labels",
                measured:
                  average(wrong.map((i) => Math.abs(errors[i]!))) /
                  average(rows.filter(({ i }) => !wrong.includes(i)).map(({ error }) => error)),
                expected: { atLeast: 1 } as const,
                theory: "a label that contradicts its neighbours keeps a large error",
              },
            ]
          : []),
      ],
      plots: [
        {
          title: "Length of each sample's pull, by its error",
          x: { label: "|ŷ − y|" },
          y: { label: "‖(ŷ − y)·x‖" },
          series: [
            { name: "y = 0", points: points(0), style: "dots" },
            { name: "y = 1", points: points(1), style: "dots" },
          ],
        },
      ],
      tables: [
        {
          title: "Which samples pull",
          columns: ["samples", "share of all pulls"],
          rows: [
            ["misclassified (|ŷ − y| > ½)", `${((100 * misclassified) / total).toFixed(1)} %`],
            ["classified correctly", `${(100 - (100 * misclassified) / total).toFixed(1)} %`],
          ],
        },
      ],
    };
  },
});

const distance = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((v, k) => Math.abs(v - b[k]!)));

/**
 * (σ(wᵀx) − y)·x of each sample, and their mean. In float32, rounding changes wᵀx by at most 2⁻²²·‖w‖·‖x‖ and σ, whose slope is at most ¼,
 * and the product with x by 2⁻²³ each.
 */
function pullsInFloat64(w: readonly number[], inputs: readonly (readonly number[])[], labels: readonly number[]) {
  const pulls = inputs.map((x, i) => {
    const z = dot(w, x);
    return x.map((v) => (1 / (1 + Math.exp(-z)) - labels[i]!) * v);
  });
  const longest = Math.max(...inputs.map(norm));
  return {
    pulls,
    gradient: w.map((_, k) => average(pulls.map((pull) => pull[k]!))),
    rounding: 2 ** -22 * (1 + (norm(w) * longest) / 4) * longest,
  };
}

/** Two clouds of points around ±(1, 0.5). Some points have the other cloud's label. */
function clouds(n: number, share: number): { x: Tensor; y: Tensor; wrong: number[] } {
  const labels = Float32Array.from({ length: n }, (_, i) => i % 2);
  const noise = randn([n, 2]).data;
  const x = Float32Array.from(noise, (v, k) => v + (labels[k >> 1]! ? 1 : -1) * (k % 2 ? 0.5 : 1));
  const wrong = Array.from({ length: Math.round(share * n) }, (_, i) => i);
  for (const i of wrong) labels[i] = 1 - labels[i]!;
  return { x: tensor(x, [n, 2]), y: tensor(labels), wrong };
}
