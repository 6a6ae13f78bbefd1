/** A ball with momentum coasts across a plateau on which gradient descent almost stops. */
import { compile, grad, type Tensor } from "nabla";
import { gradientDescent } from "nabla/gradients";
import type { Finding } from "../experiment.ts";
import { stream } from "../stream.ts";

const STEPS = 80;

type Points = [number, number][];

export default stream({
  name: "coasting",
  title: "Momentum coasts across a plateau",
  section: "Gradients as a Dynamical System",
  claim:
    "On a plateau the gradient is almost zero, and gradient descent almost stops. Momentum keeps its velocity v for a while, and coasts to the other side if the plateau is not too wide.",
  formula: "v_{k+1}=\\mu v_k-\\eta L',\\qquad \\text{distance} = \\mu v+\\mu^2v+\\dots=\\frac{\\mu v}{1-\\mu}",
  functions: ["gradientDescent"],
  parameters: {
    start: { kind: "number", label: "start", min: -4, max: -0.1, default: -1.98, step: 0.01 },
    width: { kind: "number", label: "width of the plateau", min: 0.5, max: 8, default: 3, step: 0.05 },
    slope: { kind: "number", label: "slope ε of the plateau", min: 1e-4, max: 0.1, default: 1e-3, scale: "log" },
    momentum: { kind: "number", label: "momentum μ", min: 0, max: 0.98, default: 0.9, step: 0.01 },
    lr: { kind: "number", label: "learning rate η", min: 0.02, max: 0.2, default: 0.05, scale: "log" },
  },
  dependsOn: [],
  // L′ is −1 on the ramp (θ < 0), −ε on the plateau, and θ − width − 1 in the bowl (θ > width). The gradient is
  // compiled once, because the loss is differentiated hundreds of times per drag.
  init: () => ({
    gradient: compile((at: Tensor, width: Tensor, slope: Tensor) =>
      grad((theta: Tensor) => {
        const bowl = theta.sub(width).relu();
        const ramp = theta.neg().relu().sub(bowl);
        return ramp.sub(ramp.add(theta).mul(slope)).add(bowl.square().mul(0.5)).sum();
      })(at),
    ),
  }),
  measure({ gradient }, { start, width, slope, momentum, lr }) {
    const value = (t: number): number => {
      const [ramp, bowl] = [Math.max(0, -t), Math.max(0, t - width)];
      return (1 - slope) * (ramp - bowl) - slope * t + bowl ** 2 / 2;
    };
    const inputs = [Float32Array.of(width), Float32Array.of(slope)] as const;
    const potential = { gradient: (theta: ArrayLike<number>) => gradient(Float32Array.from(theta), ...inputs).data };
    const walk = (mu: number): number[] =>
      gradientDescent(potential, { start: [start], lr, momentum: mu, steps: STEPS }).states.map((state) => state[0]!);
    const [plain, ball] = [walk(0), walk(momentum)];
    const runs = [
      { name: "gradient descent", path: plain, theory: coast({ start, width, slope, lr, momentum: 0 }) },
      { name: "momentum", path: ball, theory: coast({ start, width, slope, lr, momentum }) },
    ];
    const findings = runs.flatMap(({ name, path, theory }): Finding[] => {
      const { entry, velocity, positions, isOnKink } = theory;
      const last = positions.length - 1;
      // Positions are in float64. Only the gradients are rounded to float32, by at most 2⁻²³ of the sum of their terms.
      const within = (2 ** -22 * lr * STEPS) / (1 - (name === "momentum" ? momentum : 0));
      if (entry >= last || isOnKink) return [];
      return [
        {
          text: `${name}: velocity on arrival at the plateau`,
          measured: path[entry]! - path[entry - 1]!,
          expected: { equals: velocity, within },
          theory:
            name === "momentum" ? "η(1 − μⁿ)/(1 − μ) after n steps down the ramp" : "η times the slope of the ramp",
        },
        {
          text: `${name}: distance on the plateau after ${last - entry} more steps`,
          measured: path[last]! - path[entry]!,
          expected: { equals: positions[last]! - positions[entry]!, within },
          theory:
            name === "momentum" ? "vμ(1 − μᵏ)/(1 − μ) from coasting, and the drift ηε/(1 − μ) per step" : "ηε per step",
        },
      ];
    });
    const reach = runs[1]!.theory;
    const stop = (momentum * reach.velocity) / (1 - momentum);
    const crossed = ball.findIndex((t) => t > width);
    const expected = reach.crossing;
    if (expected < STEPS - 1 && !reach.isOnKink)
      findings.push({
        text: "steps that momentum needs to reach the other side of the plateau",
        measured: crossed < 0 ? Number.POSITIVE_INFINITY : crossed,
        expected: { equals: expected, within: 1 },
        theory: "the first step at which the distance exceeds the width, give or take one step for rounding",
      });
    const grid = Array.from({ length: 161 }, (_, i) => -4 + ((width + 7) * i) / 160);
    const dots = (path: readonly number[]): Points => path.map((t) => [t, value(t)]);
    const bySteps = (path: readonly number[]): Points => path.map((t, k) => [k, t]);
    return {
      findings,
      plots: [
        {
          title: "Plateau and bowl",
          x: { label: "θ" },
          y: { label: "L" },
          series: [
            { name: "gradient descent", points: dots(plain), style: "dots", grows: true },
            { name: "momentum", points: dots(ball), style: "dots", grows: true },
            { name: "L", points: grid.map((t) => [t, value(t)]), style: "reference" },
          ],
          handles: [
            { name: "the start", at: [start, value(start)], sets: { x: "start" } },
            { name: "the end of the plateau", at: [width, value(width)], sets: { x: "width" } },
          ],
        },
        {
          title: "Position by step",
          x: { label: "step", integer: true },
          y: { label: "θ" },
          series: [
            { name: "gradient descent", points: bySteps(plain), grows: true },
            { name: "momentum", points: bySteps(ball), grows: true },
            { name: "theory, up to the bowl", points: bySteps(reach.positions), style: "theory" },
            {
              name: "end of the plateau",
              style: "reference",
              points: [
                [0, width],
                [STEPS, width],
              ],
            },
          ],
        },
      ],
      tables: [
        {
          title: "Crossing the plateau",
          columns: ["", "velocity on arrival", "coasts for", "steps to cross"],
          rows: [
            ["gradient descent", runs[0]!.theory.velocity, 0, runs[0]!.theory.crossing],
            ["momentum", reach.velocity, stop, reach.crossing],
          ],
        },
      ],
    };
  },
  dispose: ({ gradient }) => gradient.dispose(),
});

interface Coasting {
  /** The first step on the plateau. */
  readonly entry: number;
  /** The length of step `entry`. */
  readonly velocity: number;
  /** The positions in closed form, from the start to the last step before the bowl, for at most STEPS steps. */
  readonly positions: readonly number[];
  /** Whether a step ends exactly where the ramp and the plateau meet, so that rounding determines the slope there. */
  readonly isOnKink: boolean;
  /** The first step beyond the plateau. */
  readonly crossing: number;
}

/**
 * The path of a ball in closed form. For a constant slope g and the initial velocity v, the velocity after k steps is
 * μᵏv + ηg(1 − μᵏ)/(1 − μ), and the distance is the sum vμ(1 − μᵏ)/(1 − μ) + ηg/(1 − μ)·(k − μ(1 − μᵏ)/(1 − μ)).
 */
function coast({
  start,
  width,
  slope,
  lr,
  momentum: mu,
}: Readonly<Record<"start" | "width" | "slope" | "lr" | "momentum", number>>): Coasting {
  const sum = (k: number): number => (mu * (1 - mu ** k)) / (1 - mu);
  const distance = (v: number, g: number, k: number): number => v * sum(k) + ((lr * g) / (1 - mu)) * (k - sum(k));
  let entry = 1;
  while (start + distance(0, 1, entry) < 0) entry++;
  const velocity = distance(0, 1, entry) - distance(0, 1, entry - 1);
  const position = (k: number): number =>
    k <= entry ? start + distance(0, 1, k) : start + distance(0, 1, entry) + distance(velocity, slope, k - entry);
  // The position grows with every step, so find the first step beyond the plateau by bisection.
  let [before, crossing] = [entry - 1, entry];
  while (position(crossing) <= width) [before, crossing] = [crossing, 2 * crossing];
  while (crossing - before > 1) {
    const middle = (before + crossing) >> 1;
    if (position(middle) <= width) before = middle;
    else crossing = middle;
  }
  const count = Math.min(STEPS + 1, crossing);
  const isOnKink = Math.min(Math.abs(position(entry)), Math.abs(position(entry - 1))) < 1e-6;
  return { entry, velocity, crossing, isOnKink, positions: Array.from({ length: count }, (_, k) => position(k)) };
}
