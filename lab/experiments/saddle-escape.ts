/**
 * Gradient descent stays at a saddle point forever. With noise, gradient descent escapes after a time that theory
 * predicts.
 */
import { manualSeed, type Tensor, tensor } from "nabla";
import { classifyCriticalPoint, type Escape, escape, objective, predictedEscape } from "nabla/gradients";
import { experiment, type Finding } from "../experiment.ts";

const DISTANCE = 1;
const REPEATS = 161;
/** The number of noise-free steps from a point on the line that leads to the saddle. */
const ATTRACTED = 20;
/** Half the width of the view that shows the paths, in standard deviations along θ₁. */
const WINDOW = 8;

export default experiment({
  name: "saddle-escape",
  title: "Escape from a saddle by noise",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "At the saddle (0, 0) of θ₁² − θ₂², the gradient is zero, and gradient descent does not move. The noise of stochastic gradients pushes it off the saddle, and the negative curvature does the rest: each step multiplies the distance along θ₂ by 1 + 2η. The median run reaches the distance r after t* steps. The number 0.455 in t* is the median of ξ² for a normally distributed ξ.",
  formula:
    "L=\\theta_1^2-\\theta_2^2,\\qquad \\theta_2\\leftarrow(1+2\\eta)\\,\\theta_2+\\eta\\sigma\\xi,\\qquad t^*\\approx\\frac{1}{2\\ln(1+2\\eta)}\\ln\\Bigl(1+\\frac{r^2((1+2\\eta)^2-1)}{0.455\\,\\eta^2\\sigma^2}\\Bigr)",
  functions: ["classifyCriticalPoint", "escape", "predictedEscape", "objective"],
  parameters: {
    lr: { kind: "number", label: "learning rate η", min: 0.005, max: 0.3, default: 0.05, scale: "log" },
    noise: { kind: "number", label: "noise σ", min: 1e-5, max: 1, default: 0.01, scale: "log" },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  async run({ lr, noise, seed }, { progress }) {
    manualSeed(seed);
    const loss = (theta: Tensor) => theta.square().dot(tensor([1, -1]));
    const saddle = objective(loss, [0, 0]);
    const point = classifyCriticalPoint(saddle);
    const options = { lr, noise, distance: DISTANCE };
    const predicted = predictedEscape(-2, options);
    const still = escape(saddle, { ...options, noise: 0, maxSteps: 200 });
    const beside = objective(loss, [1, 0]);
    const attracted = escape(beside, { ...options, noise: 0, distance: 2, maxSteps: ATTRACTED });
    const runs: ({ readonly path: [number, number][] } & Escape)[] = [];
    for (let i = 0; i < REPEATS; i++) {
      const path: [number, number][] = [[0, 0]];
      runs.push({ path, ...escape(saddle, { ...options, onStep: ([a, b]) => void path.push([a!, b!]) }) });
      await progress((i + 1) / REPEATS, "escapes");
    }
    const times = runs.map(({ steps }) => steps).sort((a, b) => a - b);
    const median = times[REPEATS >> 1]!;
    // Escape times vary like ln|ξ|/ln a, where ξ ~ N(0, 1) and a = 1 + 2η. The density of ln|ξ| at its median is
    // 0.4287, so the median of n values has a standard error of 1/(2·0.4287·√n). Allow five standard errors, and one
    // step for rounding.
    const within = 1 + 5 / (2 * 0.4287 * Math.sqrt(REPEATS)) / Math.log1p(2 * lr);
    const near = Math.min(WINDOW * stationary(lr, noise), 1.2 * DISTANCE);
    const grid = Array.from({ length: 41 }, (_, i) => near * (i / 20 - 1));
    const findings: Finding[] = [
      {
        text: "index of the critical point (0, 0)",
        measured: point.index,
        expected: { equals: 1, within: 0 },
        theory: `curvatures 2 and −2: a ${point.kind}`,
      },
      {
        text: "distance after 200 steps without noise",
        measured: Math.max(...still.distances),
        expected: { equals: 0, within: 0 },
        theory: "the gradient is 0 and remains 0",
      },
      {
        text: `distance from (1, 0) after ${ATTRACTED} steps without noise`,
        measured: attracted.distances.at(-1)!,
        // Each gradient 2θ₁ is rounded to float32. Each later step multiplies this error by 1 − 2η.
        expected: {
          equals: 1 - (1 - 2 * lr) ** ATTRACTED,
          within: ATTRACTED * (2 ** -23 * 2 * lr * (1 - 2 * lr) ** (ATTRACTED - 1) + 2 ** -52),
        },
        theory: "θ₁ ← (1 − 2η)θ₁: along θ₁, the saddle attracts",
      },
      {
        text: `median number of steps to a distance of ${DISTANCE}, over ${REPEATS} runs`,
        measured: median,
        expected: { equals: predicted, within },
        theory: "t*, when half of the normal distribution is beyond this distance",
      },
    ];
    return {
      findings,
      plots: [
        {
          title: "Distance from the saddle",
          x: { label: "step", integer: true },
          y: { label: "distance", scale: "log" },
          series: [
            ...runs.slice(0, 5).map(({ distances }, i) => ({
              name: "5 runs",
              points: distances.map((d, t): [number, number] => [t, d]),
              style: "reference" as const,
              ...(i && { sameAs: 0 }),
            })),
            {
              name: "expected spread",
              style: "theory" as const,
              points: Array.from({ length: Math.ceil(predicted) + 1 }, (_, t): [number, number] => [
                t,
                spread(t, lr, noise),
              ]),
            },
          ],
        },
        {
          title: "Steps to escape",
          x: { label: "run, sorted", integer: true },
          y: { label: "steps" },
          series: [
            { name: "measured", points: times.map((t, i) => [i + 1, t]), style: "bars" },
            {
              name: "predicted",
              points: [
                [1, predicted],
                [REPEATS, predicted],
              ],
              style: "theory",
            },
          ],
        },
        {
          title: "Paths at the saddle",
          x: { label: "θ₁" },
          y: { label: "θ₂" },
          equal: true,
          field: {
            x: [-near, near],
            y: [-near, near],
            columns: 41,
            values: grid.flatMap((b) => grid.map((a) => a * a - b * b)),
          },
          series: [
            ...runs.slice(0, 5).map(({ path }, i) => ({
              name: "5 runs",
              points: path.slice(0, 1 + path.findIndex(([, b]) => Math.abs(b) > near) || path.length),
              style: "reference" as const,
              ...(i && { sameAs: 0 }),
            })),
            { name: "the saddle", points: [[0, 0]], style: "dots" },
          ],
        },
      ],
    };
  },
});

/** The standard deviation √v along θ₁, where the noise and the curvature balance: v = (1 − 2η)²v + (ησ)². */
const stationary = (lr: number, noise: number): number => (lr * noise) / Math.sqrt(1 - (1 - 2 * lr) ** 2);

/** The standard deviation along the escaping direction after t steps. */
function spread(t: number, lr: number, noise: number): number {
  const a = 1 + 2 * lr;
  return lr * noise * Math.sqrt((a ** (2 * t) - 1) / (a * a - 1));
}
