/**
 * With residual blocks, x + f(x), the gradient reaches the first layer of a deep network. Without residual blocks, the
 * gradient vanishes, and the network does not learn.
 */
import { compile, losses, manualSeed, nn, optim, randn, type Tensor, tidy } from "nabla";
import { gradientByDepth, growthPerStep } from "nabla/gradients";
import { dot, type Matrix, times, transpose, type Vector } from "../algebra.ts";
import { average, slope } from "../statistics.ts";
import { stream } from "../stream.ts";

const WIDTH = 24;
/** The constant that layer norm adds to the variance. */
const EPSILON = 1e-5;

class Block extends nn.Module {
  readonly linear = new nn.Linear(WIDTH, WIDTH);
  readonly norm: nn.LayerNorm | null;
  readonly gate: nn.Linear | null;
  constructor(readonly kind: string) {
    super();
    this.norm = kind === "residual and norm" ? new nn.LayerNorm(WIDTH, { eps: EPSILON }) : null;
    this.gate = kind === "gates" ? new nn.Linear(WIDTH, WIDTH) : null;
    // Highway networks start with nearly closed gates (Srivastava et al. 2015).
    if (this.gate) nn.init.constant(this.gate.bias!, -2);
  }
  forward(x: Tensor): Tensor {
    const f = this.linear.forward(this.norm?.forward(x) ?? x).tanh();
    if (this.kind === "plain") return f;
    if (!this.gate) return x.add(f);
    const open = this.gate.forward(x).sigmoid();
    return x.add(open.mul(f.sub(x)));
  }
}

export default stream({
  name: "residual-vs-plain",
  title: "Residuals, gates and norms",
  section: "Applications and Interdisciplinary Connections",
  claim:
    "Gradients guide architecture: an identity path next to each layer passes the gradient on unchanged, so that very deep networks can be trained.",
  formula:
    "y=x+f(x)\\ \\Rightarrow\\ \\frac{\\partial y}{\\partial x}=I+f'(x),\\qquad \\Bigl\\|\\frac{\\partial L}{\\partial x_0}\\Bigr\\|\\approx\\Bigl\\|\\prod_l(I+f_l')^\\top\\frac{\\partial L}{\\partial x_D}\\Bigr\\|",
  functions: ["gradientByDepth", "growthPerStep"],
  parameters: {
    depth: { kind: "number", label: "blocks", min: 4, max: 60, default: 30, integer: true },
    steps: { kind: "number", label: "training steps", min: 0, max: 200, default: 80, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  init: ({ depth, steps, seed }) => ({
    runs: ["plain", "residual", "residual and norm", "gates"].map((kind) => newRun(kind, depth, seed)),
    steps,
  }),
  step({ runs, steps }) {
    if (runs[0]!.path.length < steps) for (const run of runs) run.step();
    return (steps && runs[0]!.path.length / steps) || 1;
  },
  draw: ({ runs }, { steps }) => ({
    plots: [
      {
        title: "Gradient at each block",
        x: { label: "block", integer: true },
        y: { label: "‖∂L/∂y‖", scale: "log" },
        series: runs.map(({ kind, points }) => ({ name: kind, points })),
      },
      ...(steps
        ? [
            {
              title: "Training with Adam",
              x: { label: "step", integer: true },
              y: { label: "loss", scale: "log" as const },
              series: runs.map(({ kind, path }) => ({ name: kind, points: path, grows: true })),
            },
          ]
        : []),
    ],
    tables: [
      {
        title: "First block divided by last",
        columns: ["network", "ratio", "final loss"],
        rows: runs.map((run) => [run.kind, ratio(run), last(run)]),
      },
    ],
  }),
  measure({ runs }, { steps }) {
    const [plain, residual] = runs as [Run, Run];
    return {
      findings: [
        ...runs.map(({ kind, points, exact }) => ({
          text: `${kind}: growth of log ‖gradient‖ per block, going backward`,
          measured: growthPerStep(points.map(([, g]) => g)),
          // Each block rounds its sums of 24 products to float32.
          expected: { equals: -slope(exact.map((g, i): [number, number] => [i, Math.log(g)])), within: 1e-6 },
          theory: "the chain rule block by block, in float64 and without autograd",
        })),
        ...(steps >= 60
          ? [
              {
                text: "residual: final loss divided by the variance of the targets",
                measured: last(residual) / residual.spread,
                expected: { atMost: 0.1 } as const,
                theory: "the gradient reaches all layers, so all of them learn",
              },
            ]
          : []),
        ...(steps >= 60 && ratio(plain) < 1e-7
          ? [
              {
                text: "plain: final loss divided by the variance of the targets",
                measured: last(plain) / plain.spread,
                // The bound is below 1, because the last blocks have a gradient, and can learn from what the first
                // blocks let through.
                expected: { atLeast: 0.3 } as const,
                theory:
                  "layers without a gradient do not learn; always answering with the mean of the targets gives a ratio of 1",
              },
            ]
          : []),
      ],
    };
  },
  dispose: ({ runs }) => runs.forEach((run) => run.dispose()),
});

interface Run {
  readonly kind: string;
  /** The loss before each step. */
  readonly path: [step: number, loss: number][];
  /** The variance of the targets. */
  readonly spread: number;
  /** The gradient at each block before training: from the library, and in float64. */
  readonly points: readonly [block: number, gradient: number][];
  readonly exact: readonly number[];
  step(): void;
  dispose(): void;
}
const ratio = ({ points }: Run): number => points[0]![1] / points.at(-1)![1];
const last = ({ path }: Run): number => path.at(-1)?.[1] ?? Number.NaN;

function newRun(kind: string, depth: number, seed: number): Run {
  manualSeed(seed);
  const model = new nn.Sequential(...Array.from({ length: depth }, () => new Block(kind)), new nn.Linear(WIDTH, 1));
  const [x, y] = tidy(() => {
    const inputs = randn([64, WIDTH]);
    const product = inputs.narrow(1, 0, 1).mul(inputs.narrow(1, 1, 1));
    return [inputs, product.add(inputs.narrow(1, 2, 1))] as const;
  });
  const rows = gradientByDepth(model, () => losses.mse(model.forward(x), y), {
    which: (module) => module instanceof Block,
  });
  const optimizer = new optim.Adam(model.parameters(), { lr: 2e-3 });
  const update = compile((a: Tensor, b: Tensor) => optimizer.minimize(() => losses.mse(model.forward(a), b)));
  return {
    kind,
    path: [],
    spread: tidy(() => y.sub(y.mean()).square().mean().item()),
    points: rows.map(({ gradient }, i): [number, number] => [i + 1, gradient]),
    exact: chainRule(model, x.toArray() as number[][], Array.from(y.data)),
    step() {
      this.path.push([this.path.length, tidy(() => update(x, y).item())]);
    },
    dispose() {
      for (const one of [update, optimizer, model, x, y]) one.dispose();
    },
  };
}

/** ‖∂L/∂y‖ over the batch at the output y of each block, by the chain rule in float64. */
function chainRule(model: nn.Sequential, inputs: Matrix, targets: Vector): number[] {
  const blocks = model.layers.slice(0, -1) as Block[];
  const head = model.layers.at(-1) as nn.Linear;
  const steps = blocks.map(stepOf);
  const [v, [c]] = [Array.from(head.weight.data), head.bias!.data];
  const squares = blocks.map(() => 0);
  for (const [k, row] of inputs.entries()) {
    let h: Vector = row;
    const backs = steps.map((step) => {
      const { y, back } = step(h);
      h = y;
      return back;
    });
    const error = (2 * (dot(v, h) + c! - targets[k]!)) / inputs.length;
    let g: Vector = v.map((weight) => error * weight);
    for (let i = blocks.length - 1; i >= 0; i--) {
      squares[i]! += dot(g, g);
      g = backs[i]!(g);
    }
  }
  return squares.map(Math.sqrt);
}

interface Step {
  readonly y: Vector;
  /** Computes the gradient at the block's input from the gradient at its output. */
  readonly back: (g: Vector) => Vector;
}

/** A block as a function of one sample. */
function stepOf({ kind, linear, gate, norm: layerNorm }: Block): (x: Vector) => Step {
  const inner = affine(linear);
  const outer = gate && affine(gate);
  return (x) => {
    const normal = layerNorm ? standardized(x) : { y: x, back: (g: Vector) => g };
    const f = inner.of(normal.y).map(Math.tanh);
    const backThroughF = (g: Vector): Vector => normal.back(inner.back(g.map((v, i) => v * (1 - f[i]! ** 2))));
    if (kind === "plain") return { y: f, back: backThroughF };
    if (!outer) return { y: sum(x, f), back: (g) => sum(g, backThroughF(g)) };
    // y = x + o·(f − x), with o = σ(A·x + a).
    const o = outer.of(x).map((z) => 1 / (1 + Math.exp(-z)));
    return {
      y: x.map((v, i) => v + o[i]! * (f[i]! - v)),
      back: (g) => {
        const throughGate = outer.back(g.map((v, i) => v * (f[i]! - x[i]!) * o[i]! * (1 - o[i]!)));
        const kept = g.map((v, i) => v * (1 - o[i]!));
        return sum(sum(kept, throughGate), backThroughF(g.map((v, i) => v * o[i]!)));
      },
    };
  };
}

const sum = (a: Vector, b: Vector): Vector => a.map((v, i) => v + b[i]!);

function affine({ weight, bias }: nn.Linear): { of: (x: Vector) => Vector; back: (g: Vector) => Vector } {
  const [w, b] = [weight.toArray() as number[][], bias!.data];
  const columns = transpose(w);
  return {
    of: (x) => times(w, x).map((v, i) => v + b[i]!),
    back: (g) => times(columns, g),
  };
}

/** x̂ = (x − μ)/s with s² = Var(x) + ε; its gradient is (g − mean(g) − x̂·mean(g·x̂))/s. */
function standardized(x: Vector): Step {
  const mean = average(x);
  const centred = x.map((v) => v - mean);
  const s = Math.sqrt(dot(centred, centred) / x.length + EPSILON);
  const y = centred.map((v) => v / s);
  return {
    y,
    back: (g) => {
      const [shift, along] = [average(g), dot(g, y) / y.length];
      return g.map((v, i) => (v - shift - y[i]! * along) / s);
    },
  };
}
