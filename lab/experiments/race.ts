/**
 * Races gradient descent, momentum and Adam from the same start, on landscapes that are difficult in different ways.
 */
import { compile, noGrad, optim, type Tensor, tensor } from "nabla";
import { stability } from "nabla/gradients";
import type { Finding } from "../experiment.ts";
import { stream } from "../stream.ts";

type Point = readonly [x: number, y: number];
/**
 * A loss of two parameters, both as a function of tensors in float32 and, with its gradient, in closed form in float64.
 */
interface Landscape {
  readonly loss: (x: Tensor, y: Tensor) => Tensor;
  readonly value: (x: number, y: number) => number;
  readonly gradient: (x: number, y: number) => Point;
  readonly lowest: number;
  /** The largest curvature near the start, which scales the rounding errors of the gradient. */
  readonly curvature: number;
}

const KAPPA = 80;
const bump = (x: number, y: number): number => Math.exp(-(x * x + y * y));

const LANDSCAPES: Readonly<Record<"ravine" | "saddle" | "Rosenbrock" | "plateau", Landscape>> = {
  ravine: {
    loss: (x, y) => x.square().add(y.square().mul(KAPPA)).mul(0.5),
    value: (x, y) => 0.5 * (x * x + KAPPA * y * y),
    gradient: (x, y) => [x, KAPPA * y],
    lowest: 0,
    curvature: KAPPA,
  },
  saddle: {
    loss: (x, y) => x.square().sub(y.square()).add(y.square().square().mul(0.25)),
    value: (x, y) => x * x - y * y + y ** 4 / 4,
    gradient: (x, y) => [2 * x, y ** 3 - 2 * y],
    lowest: -1,
    curvature: 10,
  },
  Rosenbrock: {
    loss: (x, y) => x.sub(1).square().add(y.sub(x.square()).square().mul(3)),
    value: (x, y) => (x - 1) ** 2 + 3 * (y - x * x) ** 2,
    gradient: (x, y) => [2 * (x - 1) - 12 * x * (y - x * x), 6 * (y - x * x)],
    lowest: 0,
    curvature: 100,
  },
  plateau: {
    loss: (x, y) => x.square().add(y.square()).neg().exp().mul(-1).add(1),
    value: (x, y) => 1 - bump(x, y),
    gradient: (x, y) => [2 * x * bump(x, y), 2 * y * bump(x, y)],
    lowest: 0,
    curvature: 2,
  },
};
/** A path has diverged, and ends, once it is at least this far from the origin. */
const FAR = 50;

export default stream({
  name: "race",
  title: "A race of optimizers",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "Momentum remembers past gradients: it coasts through flat regions and along ravines. Adam also divides by the size of past gradients, so its steps have about the same length on a plateau as in a ravine.",
  formula:
    "b\\leftarrow\\mu b+\\nabla L,\\;\\theta\\leftarrow\\theta-\\eta b\\qquad\\text{Adam: } \\theta\\leftarrow\\theta-\\eta\\,\\frac{\\hat m}{\\sqrt{\\hat v}+\\varepsilon}",
  functions: ["stability"],
  parameters: {
    landscape: {
      kind: "choice",
      label: "landscape",
      options: ["ravine", "saddle", "Rosenbrock", "plateau"],
      default: "ravine",
    },
    x: { kind: "number", label: "start θ₁", min: -2, max: 2, default: -1.7, step: 0.02 },
    y: { kind: "number", label: "start θ₂", min: -2, max: 2, default: 0.9, step: 0.02 },
    lr: {
      kind: "number",
      label: "η of gradient descent and momentum",
      min: 1e-3,
      max: 0.1,
      default: 0.024,
      scale: "log",
    },
    momentum: { kind: "number", label: "momentum μ", min: 0, max: 0.99, default: 0.7, step: 0.01 },
    adam: { kind: "number", label: "η of Adam", min: 1e-3, max: 0.5, default: 0.1, scale: "log" },
    steps: { kind: "number", label: "steps", min: 10, max: 200, default: 80, integer: true },
  },
  dependsOn: ["landscape", "lr", "momentum", "adam"],
  init({ landscape, lr, momentum, adam }) {
    const racer = (make: (p: Tensor[]) => optim.Optimizer): Racer => newRacer(LANDSCAPES[landscape], make);
    return [
      { name: "gradient descent", rule: descent(lr, 0), ...racer((p) => new optim.SGD(p, { lr })) },
      { name: "momentum", rule: descent(lr, momentum), ...racer((p) => new optim.SGD(p, { lr, momentum })) },
      { name: "Adam", rule: adamRule(adam), ...racer((p) => new optim.Adam(p, { lr: adam })) },
    ];
  },
  measure(runners, { landscape: name, x, y, lr, momentum, adam, steps }) {
    const landscape = LANDSCAPES[name];
    const start: Point = [x, y];
    const paths = runners.map(({ walk }) => walk(start, steps));
    const findings = runners.map(({ name: runner, rule }, i): Finding => {
      const path = paths[i]!;
      const exact = retrace(landscape, start, rule, path.length - 1, 0);
      // Float32 errors in the gradient change the path. The tolerance is four times the largest change in four runs
      // with random errors.
      const moved = Math.max(
        ...[1, 2, 3, 4].map((seed) => apart(exact, retrace(landscape, start, rule, path.length - 1, seed))),
      );
      return {
        text: `${runner}: largest distance from the same rule in float64`,
        measured: apart(path, exact),
        expected: { equals: 0, within: 4 * moved },
        theory: runner === "Adam" ? "Kingma and Ba 2015, algorithm 1" : "b ← μb + ∇L, θ ← θ − ηb",
      };
    });
    const gradient = landscape.gradient(x, y);
    const [, afterAdam] = paths[2]!;
    if (Math.abs(gradient[0]) > 1e-3)
      findings.push({
        text: "Adam: length of the first step along θ₁",
        measured: Math.abs(afterAdam![0] - x),
        // ε = 10⁻⁸ is added to |g|, and θ is rounded to float32.
        expected: { equals: adam, within: (adam * 2e-8) / Math.abs(gradient[0]) + 2 ** -21 },
        theory: "η, however small the gradient is: m̂/√v̂ = ±1",
      });
    if (name === "ravine") findings.push(...contractions(paths, start, { lr, momentum }));
    const grid = Array.from({ length: 45 }, (_, i) => -2.2 + i / 10);
    const gap = ([a, b]: Point): number => landscape.value(a, b) - landscape.lowest;
    return {
      findings,
      plots: [
        {
          title: "The race",
          x: { label: "θ₁" },
          y: { label: "θ₂" },
          equal: true,
          field: {
            x: [-2.2, 2.2],
            y: [-2.2, 2.2],
            columns: 45,
            values: grid.flatMap((b) => grid.map((a) => Math.sqrt(gap([a, b])))),
            label: "√(loss − minimum)",
          },
          series: runners.map((runner, i) => ({
            name: runner.name,
            points: paths[i]!,
            style: "path" as const,
            grows: true,
          })),
          handles: [{ name: "the start", at: start, sets: { x: "x", y: "y" } }],
        },
        {
          title: "Loss by step",
          x: { label: "step", integer: true },
          y: { label: "loss − minimum", scale: "log" },
          series: runners.map((runner, i) => ({
            name: runner.name,
            points: paths[i]!.map((at, t): Point => [t, gap(at)]),
            grows: true,
          })),
        },
      ],
      tables: [
        {
          title: `After ${steps} steps`,
          columns: ["", "loss − minimum", "θ₁", "θ₂"],
          rows: runners.map((runner, i) => {
            const path = paths[i]!;
            const [a, b] = path.at(-1)!;
            return path.length > steps
              ? [runner.name, gap([a, b]), a, b]
              : [`${runner.name} (diverged)`, "–", "–", "–"];
          }),
        },
      ],
    };
  },
  dispose(runners) {
    for (const runner of runners) runner.dispose();
  },
});

interface Racer {
  /** The path from a start, which ends early if it diverges. */
  walk(start: Point, steps: number): Point[];
  dispose(): void;
}

/**
 * One of nabla's optimizers on a landscape. The step is compiled only once, because dragging the start draws the paths
 * many times per second.
 */
function newRacer({ loss }: Landscape, make: (p: Tensor[]) => optim.Optimizer): Racer {
  const [x, y] = [tensor(0, { requiresGrad: true }), tensor(0, { requiresGrad: true })];
  const optimizer = make([x, y]);
  const step = compile(() => optimizer.minimize(() => loss(x, y)));
  const fresh = optimizer.stateDict();
  return {
    walk(start, steps) {
      optimizer.loadStateDict(fresh);
      noGrad(() => [x, y].forEach((one, i) => void one.copyFrom([start[i]!])));
      const path: Point[] = [start];
      for (let t = 0; t < steps && isNear(path[t]!); t++) {
        step();
        path.push([x.item(), y.item()]);
      }
      return path.every(isNear) ? path : path.slice(0, -1);
    },
    dispose() {
      for (const one of [step, optimizer, x, y]) one.dispose();
    },
  };
}
const isNear = ([a, b]: Point): boolean => Math.hypot(a, b) < FAR;

/** The change of one coordinate in step t, counted from 1. Each coordinate has its own state. */
type Rule = (gradient: number, state: number[], t: number) => number;

const descent =
  (lr: number, mu: number): Rule =>
  (g, state) => {
    state[0] = mu * (state[0] ?? 0) + g;
    return -lr * state[0];
  };
const adamRule =
  (lr: number): Rule =>
  (g, state, t) => {
    state[0] = 0.9 * (state[0] ?? 0) + 0.1 * g;
    state[1] = 0.999 * (state[1] ?? 0) + 0.001 * g * g;
    return (-lr * state[0]) / (1 - 0.9 ** t) / (Math.sqrt(state[1] / (1 - 0.999 ** t)) + 1e-8);
  };

/** The path of a rule in float64. With a seed above 0, the gradients have random errors as large as float32's rounding. */
function retrace({ gradient, curvature }: Landscape, start: Point, rule: Rule, steps: number, seed: number): Point[] {
  const path: Point[] = [start];
  const states: [number[], number[]] = [[], []];
  let random = seed;
  const error = (size: number): number => {
    if (seed) random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    return seed ? (random / 2 ** 31 - 1) * 2 ** -23 * size : 0;
  };
  for (let t = 1; t <= steps; t++) {
    const [a, b] = path[t - 1]!;
    const g = gradient(a, b);
    const next = [a, b].map((v, i) => {
      const noisy = g[i]! + error(g[i]!) + (g[i] ? error(curvature * Math.hypot(a, b)) : 0);
      return v + rule(noisy, states[i]!, t) + error(v);
    });
    path.push([next[0]!, next[1]!]);
  }
  return path;
}

const apart = (p: readonly Point[], q: readonly Point[]): number =>
  Math.max(...p.map(([a, b], i) => Math.hypot(a - q[i]![0], b - q[i]![1])));

/** Compares with theory how fast the distance along the ravine shrinks. The curvature along the ravine is 1. */
function contractions(
  [plain, ball]: readonly (readonly Point[])[],
  [x]: Point,
  { lr, momentum }: { readonly lr: number; readonly momentum: number },
): Finding[] {
  const { modes } = stability([1], { lr, momentum });
  const last = 10;
  const findings: Finding[] = [];
  if (Math.abs(x) > 0.1 && plain!.length > last)
    findings.push({
      text: "gradient descent: factor per step along the ravine",
      measured: (plain![last]![0] / x) ** (1 / last),
      expected: { equals: modes[0]!.descent, within: 2 ** -21 },
      theory: "1 − η",
    });
  if (Math.abs(x) > 0.1 && ball!.length > last) {
    // From rest, aₜ = Sₜ₊₁ − μSₜ with Sₙ = (z₁ⁿ − z₂ⁿ)/(z₁ − z₂), so Sₙ₊₁ = (z₁ + z₂)Sₙ − z₁z₂Sₙ₋₁.
    const [z1, z2] = modes[0]!.momentum!;
    const sums = [0, 1];
    for (let n = 1; n <= last; n++) sums.push((z1.re + z2.re) * sums[n]! - z1.mul(z2).re * sums[n - 1]!);
    findings.push({
      text: `momentum: share of the distance along the ravine that is left after ${last} steps`,
      measured: ball![last]![0] / x,
      expected: { equals: sums[last + 1]! - momentum * sums[last]!, within: 2 ** -19 },
      theory: "a sum of powers of the roots of z² − (1 + μ − η)z + μ = 0",
    });
  }
  return findings;
}
