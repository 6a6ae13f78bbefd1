/**
 * Each sample pulls the weights of logistic regression along its input, in proportion to its error. The pulls are drawn
 * as arrows in the plane of the inputs.
 */
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
    "The gradient of logistic regression is the mean of (ŷ − y)·x. Each arrow is a sample's pull on the weights, −(ŷ − y)·x: towards the sample if y = 1, and away from it if y = 0. Samples that are classified correctly and confidently barely pull.",
  formula:
    "\\nabla_{\\boldsymbol w}L=\\frac1n\\sum_{i=1}^n(\\hat y_i-y_i)\\,\\boldsymbol x_i,\\qquad \\hat y_i=\\sigma(\\boldsymbol w^\\top\\boldsymbol x_i)",
  functions: ["logisticPulls", "objective"],
  parameters: {
    w1: { kind: "number", label: "w₁", min: -4, max: 4, default: -0.5, step: 0.05 },
    w2: { kind: "number", label: "w₂", min: -3, max: 3, default: 1.5, step: 0.05 },
    steps: {
      kind: "number",
      label: "steps of gradient descent from these weights",
      min: 0,
      max: 200,
      default: 0,
      integer: true,
    },
    samples: { kind: "number", label: "samples", min: 10, max: 200, default: 40, integer: true },
    flipped: { kind: "number", label: "wrong labels, %", min: 0, max: 20, default: 5, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ w1, w2, steps, samples, flipped, seed }) {
    manualSeed(seed);
    const { x, y } = clouds(samples, flipped / 100);
    const loss = (w: Tensor) => losses.bceWithLogits(x.matmul(w), y);
    const at = objective(loss, [w1, w2]);
    const path: Point[] = [[w1, w2]];
    for (let i = 0; i < steps; i++) {
      const gradient = at.gradient();
      at.moveTo(at.theta.map((v, k) => v - 2 * gradient[k]!));
      path.push([at.theta[0]!, at.theta[1]!]);
    }
    const w = path.at(-1)!;
    const inputs = x.toArray() as number[][];
    const { errors, pulls, gradient } = tidy(() => {
      const found = logisticPulls(tensor(at.theta), x, y);
      return { errors: found.errors.data, pulls: found.pulls.toArray() as number[][], gradient: found.gradient.data };
    });
    const automatic = at.gradient();
    const exact = pullsInFloat64(w, inputs, Array.from(y.data));
    const apart = Math.max(...automatic.map((g, i) => Math.abs(g - gradient[i]!)));
    const size = (i: number): number => Math.hypot(...pulls[i]!);
    const rows = Array.from({ length: samples }, (_, i) => ({ i, error: Math.abs(errors[i]!), pull: size(i) }));
    const total = rows.reduce((sum, { pull }) => sum + pull, 0);
    const misclassified = rows.filter(({ error }) => error > 0.5).reduce((sum, { pull }) => sum + pull, 0);
    const ofClass = (label: number) => rows.filter(({ i }) => y.data[i] === label);
    const points = (label: number): Point[] => ofClass(label).map(({ error, pull }) => [error, pull]);
    const places = (label: number): Point[] => ofClass(label).map(({ i }) => [inputs[i]![0]!, inputs[i]![1]!]);
    /** An arrow that starts at a point and points against a gradient. */
    const arrow = ([a, b]: Point, [da, db]: readonly number[], scale: number): Point[] => [
      [a, b],
      [a - scale * da!, b - scale * db!],
    ];
    const arrows = (label: number): Point[] =>
      ofClass(label)
        .filter(({ pull }) => pull > 0.02)
        .flatMap(({ i }) => arrow([inputs[i]![0]!, inputs[i]![1]!], pulls[i]!, PULL));
    const length = norm(w);
    const grid = (half: number): number[] => Array.from({ length: 31 }, (_, i) => half * (i / 15 - 1));
    return {
      findings: [
        {
          text: "largest difference between the closed form and backward",
          measured: apart,
          expected: { equals: 0, within: exact.rounding },
          theory: "(1/n)·Σ (ŷ − y)·x; the tolerance is the rounding of float32",
        },
        {
          text: "largest difference between the result of backward and the mean of (σ(wᵀx) − y)·x in float64",
          measured: distance(Array.from(automatic), exact.gradient),
          expected: { equals: 0, within: exact.rounding },
          theory: "the chain rule: the slope of the cross-entropy is σ(z) − y",
        },
        {
          text: "largest difference between a pull and (σ(wᵀx) − y)·x in float64",
          measured: Math.max(...pulls.map((pull, i) => distance(pull, exact.pulls[i]!))),
          expected: { equals: 0, within: exact.rounding },
          theory: "a pull is the input times the error",
        },
      ],
      plots: [
        {
          title: "Pulls on the weights",
          x: { label: "x₁ and w₁" },
          y: { label: "x₂ and w₂" },
          equal: true,
          field: {
            x: [-WIDE, WIDE],
            y: [-HIGH, HIGH],
            columns: 31,
            values: grid(HIGH).flatMap((b) => grid(WIDE).map((a) => 1 / (1 + Math.exp(-w[0] * a - w[1] * b)))),
            label: "ŷ",
            range: [0, 1],
          },
          series: [
            { name: "y = 0", points: places(0), style: "dots" },
            { name: "y = 1", points: places(1), style: "dots" },
            { name: "pull of y = 0", points: arrows(0), style: "arrow", sameAs: 0 },
            { name: "pull of y = 1", points: arrows(1), style: "arrow", sameAs: 1 },
            {
              name: "decision line ŷ = ½",
              points: length ? [-8, 8].map((t): Point => [(-t * w[1]) / length, (t * w[0]) / length]) : [],
            },
            { name: "w", points: [[0, 0], w], style: "arrow" },
            { name: `−∇L, drawn ${MEAN} times as long`, points: arrow(w, exact.gradient, MEAN), style: "arrow" },
            ...(steps ? [{ name: "descent", points: path, style: "path", grows: true } as const] : []),
          ],
          handles: [{ name: steps ? "the first weights" : "the weights w", at: [w1, w2], sets: { x: "w1", y: "w2" } }],
        },
        {
          title: "Pull by error",
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

type Point = readonly [x: number, y: number];
/** Half the plot's width and height. */
const [WIDE, HIGH] = [5, 3.6];
/**
 * The lengths of arrows, relative to the pull or the gradient that they show. The gradient's factor is larger, because
 * a mean of many pulls is short.
 */
const [PULL, MEAN] = [0.5, 2];

const distance = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((v, k) => Math.abs(v - b[k]!)));

/**
 * (σ(wᵀx) − y)·x of each sample, and their mean. In float32, rounding changes wᵀx by at most 2⁻²²·‖w‖·‖x‖. This changes
 * σ(wᵀx) by at most a quarter as much, because σ's slope is at most ¼; rounding σ and its product with x adds 2⁻²³
 * each.
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
function clouds(n: number, share: number): { x: Tensor; y: Tensor } {
  const labels = Float32Array.from({ length: n }, (_, i) => i % 2);
  const noise = randn([n, 2]).data;
  const x = Float32Array.from(noise, (v, k) => v + (labels[k >> 1]! ? 1 : -1) * (k % 2 ? 0.5 : 1));
  for (let i = 0; i < Math.round(share * n); i++) labels[i] = 1 - labels[i]!;
  return { x: tensor(x, [n, 2]), y: tensor(labels) };
}
