/**
 * Trains a recurrent network twice from the same start on the same data: with the plain gradient, and with the clipped
 * gradient.
 */
import { compile, losses, manualSeed, nn, optim, randn, type Tensor, tidy, zeros } from "nabla";
import { objective } from "nabla/gradients";
import { dot, type Matrix, norm, times, transpose, type Vector } from "../algebra.ts";
import { generator } from "../random.ts";
import { average, plusMinus } from "../statistics.ts";
import { stream } from "../stream.ts";

const HIDDEN = 16;
const BATCH = 32;
const STEPS = 150;
/** The number of training runs with and without clipping, with different data and initial weights. */
const REPEATS = 4;
/** The loss of a mini-batch is noisy, so the final loss is the mean over this many steps at the end. */
const LAST = 20;
/** A run has diverged if its loss is not a number, or is at least this many times the loss of always answering 0. */
const DIVERGED = 100;

/** Clipped steps of at most this length keep training stable. Longer steps can still overshoot. */
const GENTLE = 0.5;

interface Run {
  /** The loss before each step. */
  readonly losses: number[];
  /** The gradient's norm before clipping, for each step. */
  readonly norms: number[];
  /** The largest difference between a step's length and η·min(c, ‖∇L‖). */
  error: number;
  isDiverged: boolean;
  step(): void;
  dispose(): void;
}

export default stream({
  name: "clipping",
  title: "Clipping an exploding gradient",
  section: "Vanishing and Exploding Gradients",
  claim:
    "Exploding gradients make updates so large that they destabilize training: one huge step can undo everything and throw the network to a point where the next gradient is even larger. Clipping the norm of the gradient keeps its direction and limits the step to the learning rate times the limit. The same run then learns. A network that always answers 0 has a loss of 1.",
  formula:
    "\\boldsymbol\\theta\\leftarrow\\boldsymbol\\theta-\\eta\\,\\min\\Bigl(1,\\frac{c}{\\|\\nabla L\\|}\\Bigr)\\nabla L,\\qquad \\|\\Delta\\boldsymbol\\theta\\|\\le\\eta c",
  functions: ["objective"],
  parameters: {
    lr: { kind: "number", label: "learning rate η", min: 0.03, max: 0.5, default: 0.3, scale: "log" },
    clip: { kind: "number", label: "limit c of the gradient's norm", min: 0.3, max: 3, default: 1, scale: "log" },
    norm: { kind: "number", label: "initial ‖W‖₂", min: 0.8, max: 1.5, default: 1.2, step: 0.05 },
    length: { kind: "number", label: "time steps T", min: 5, max: 40, default: 25, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  init: ({ lr, clip, norm: gain, length, seed }) => ({
    runs: Array.from({ length: REPEATS }, (_, repeat) => {
      const options = { gain, length, seed: REPEATS * seed + repeat, lr };
      return { plain: newRun({ ...options, clip: Infinity }), clipped: newRun({ ...options, clip }) };
    }),
    first: gradients(gain, length, REPEATS * seed),
    steps: 0,
  }),
  step(state) {
    for (const run of bothOf(state.runs)) if (!run.isDiverged) run.step();
    return ++state.steps / STEPS;
  },
  draw: ({ runs }, { clip }) => ({
    plots: [
      {
        title: "Loss",
        x: { label: "step", integer: true },
        y: { label: "loss", scale: "log" },
        series: [
          { name: "plain gradient", points: pointsOf(runs[0]!.plain.losses), grows: true },
          { name: "clipped", points: pointsOf(runs[0]!.clipped.losses), grows: true },
          {
            name: "always answers 0",
            points: [
              [1, 1],
              [STEPS, 1],
            ],
            style: "reference",
          },
        ],
      },
      {
        title: "Gradient norm",
        x: { label: "step", integer: true },
        y: { label: "‖∇L‖ before clipping", scale: "log" },
        series: [
          { name: "plain gradient", points: pointsOf(runs[0]!.plain.norms), grows: true },
          { name: "clipped", points: pointsOf(runs[0]!.clipped.norms), grows: true },
          {
            name: "limit c",
            points: [
              [1, clip],
              [STEPS, clip],
            ],
            style: "theory",
          },
        ],
      },
    ],
    tables: [
      {
        title: `${REPEATS} starts`,
        columns: ["gradient", "diverged", "final loss of the others", "largest ‖∇L‖"],
        rows: (["plain", "clipped"] as const).map((kind) => {
          const all = runs.map((run) => run[kind]);
          const ended = all.filter(({ isDiverged }) => isDiverged);
          const after = ended.map(({ losses: path }) => path.length).join(", ");
          return [
            kind,
            ended.length ? `${ended.length} of ${REPEATS}, after ${after} steps` : `none of ${REPEATS}`,
            plusMinus(all.filter(({ isDiverged }) => !isDiverged).map(finalLoss)),
            Math.max(...all.flatMap(({ norms }) => norms.filter(Number.isFinite))),
          ];
        }),
      },
    ],
  }),
  measure({ runs, first }, { lr, clip }) {
    const clipped = runs.map((run) => run.clipped);
    const diverged = runs.filter(({ plain }) => plain.isDiverged);
    return {
      findings: [
        {
          text: "norm of the first gradient, divided by that of backpropagation through time in float64",
          measured: first.measured / first.exact,
          // Each of the up to 40 time steps adds a relative rounding error of about 2⁻²⁴.
          expected: { equals: 1, within: 1e-5 },
          theory: "∂L/∂W = Σₜ δₜ·hₜ₋₁ᵀ with δₜ = diag(1 − hₜ²)·(Wᵀδₜ₊₁), without autograd",
        },
        {
          text: "largest difference between a clipped step's length and η·min(c, ‖∇L‖)",
          measured: Math.max(...clipped.map((run) => run.error)),
          // The magnitudes of the 321 parameters are at most about 2, so rounding all of them changes the step's length
          // by about √321·2⁻²⁴. Rounding the step adds a few times 2⁻²⁴ of its length.
          expected: { equals: 0, within: 2 ** -19 + 2 ** -21 * lr * clip },
          theory:
            "a gradient whose norm is above c is scaled to norm c; other gradients do not change (Pascanu et al. 2013)",
        },
        ...(diverged.length && lr * clip <= GENTLE
          ? [
              {
                text: "loss at the end of the clipped runs whose unclipped twin diverged, divided by the loss of always answering 0",
                measured: average(diverged.map((run) => finalLoss(run.clipped))),
                expected: { atMost: 1 } as const,
                theory: "steps of limited length descend where longer ones jump",
              },
            ]
          : []),
      ],
    };
  },
  dispose: ({ runs }) => bothOf(runs).forEach((run) => run.dispose()),
});

const bothOf = (runs: readonly { readonly plain: Run; readonly clipped: Run }[]): Run[] =>
  runs.flatMap(({ plain, clipped }) => [plain, clipped]);

const finalLoss = ({ losses: path }: Run): number => average(path.slice(-LAST));
const pointsOf = (values: readonly number[]): [number, number][] => values.map((v, i) => [i + 1, v]);

/** The parameters of a recurrent network (W, U, b), and of a linear layer that reads its last hidden state (v, c). */
type Network = readonly [w: Tensor, u: Tensor, b: Tensor, v: Tensor, c: Tensor];

function network(gain: number): Network {
  return [
    nn.init.orthogonal(zeros([HIDDEN, HIDDEN])).mul(gain),
    randn([1, HIDDEN]).mul(0.5),
    zeros([HIDDEN]),
    randn([HIDDEN, 1]).div(Math.sqrt(HIDDEN)),
    zeros([1]),
  ].map((start) => {
    const parameter = start.detach().clone();
    parameter.requiresGrad = true;
    return parameter;
  }) as unknown as Network; // the type of map's result does not include the tuple's length
}

/** The squared error of v·h_T + c, with hₜ = tanh(hₜ₋₁W + xₜU + b), for inputs x: [batch, T]. */
function lossOf([w, u, b, v, c]: Network, x: Tensor, y: Tensor): Tensor {
  let h = zeros([BATCH, HIDDEN]);
  for (let t = 0; t < x.shape[1]!; t++)
    h = h
      .matmul(w)
      .add(x.narrow(1, t, 1).matmul(u))
      .add(b)
      .tanh();
  return losses.mse(h.matmul(v).add(c), y);
}

/**
 * Draws random inputs and their target: the sum of the inputs, scaled to variance 1 so that always answering 0 has a
 * loss of 1.
 */
function draw(length: number): readonly [x: Tensor, y: Tensor] {
  const x = randn([BATCH, length]);
  return [x, x.sum(1, { keepdim: true }).div(Math.sqrt(length))];
}

interface TrainOptions {
  readonly gain: number;
  readonly length: number;
  readonly seed: number;
  readonly lr: number;
  readonly clip: number;
}

function newRun({ gain, length, seed, lr, clip }: TrainOptions): Run {
  const random = generator(seed);
  const parameters = random(() => tidy(() => network(gain)));
  const optimizer = new optim.SGD(parameters, { lr });
  const update = compile((x: Tensor, y: Tensor) => {
    const loss = lossOf(parameters, x, y);
    optimizer.zeroGrad();
    loss.backward();
    const size = optim.clipGradNorm(parameters, clip);
    optimizer.step();
    return { loss, size };
  });
  const theta = (): Float64Array => Float64Array.from(parameters.flatMap((p) => Array.from(p.data)));
  let before = theta();
  return {
    losses: [],
    norms: [],
    error: 0,
    isDiverged: false,
    step() {
      tidy(() => {
        const { loss, size } = update(...random(() => draw(length)));
        this.losses.push(loss.item());
        this.norms.push(size.item());
      });
      const after = theta();
      const moved = norm(after.map((v, k) => v - before[k]!));
      this.error = Math.max(this.error, Math.abs(moved - lr * Math.min(clip, this.norms.at(-1)!)));
      before = after;
      this.isDiverged = !(this.losses.at(-1)! < DIVERGED);
    },
    dispose() {
      update.dispose();
      optimizer.dispose();
      for (const p of parameters) p.dispose();
    },
  };
}

/** The norm of the first gradient, as the library computes it and by backpropagation through time in float64. */
function gradients(gain: number, length: number, seed: number): { measured: number; exact: number } {
  return tidy(() => {
    manualSeed(seed);
    const parameters = network(gain);
    const [x, y] = draw(length);
    const measured = norm(objective(parameters, () => lossOf(parameters, x, y)).gradient());
    const [w, u] = parameters.map((p) => p.toArray()) as [number[][], number[][]];
    const [v, targets] = [Array.from(parameters[3].data), Array.from(y.data)];
    const squares = backpropagateThroughTime({ w, u: u[0]!, v }, x.toArray() as number[][], targets);
    return { measured, exact: Math.sqrt(squares) };
  });
}

/** ‖∇L‖² for the biases b = c = 0. */
function backpropagateThroughTime(
  { w, u, v }: { w: Matrix; u: Vector; v: Vector },
  inputs: Matrix,
  targets: Vector,
): number {
  const forward = transpose(w);
  const sums = { w: w.map((row) => row.map(() => 0)), u: u.map(() => 0), b: u.map(() => 0), v: u.map(() => 0), c: 0 };
  for (const [row, x] of inputs.entries()) {
    const states: Vector[] = [u.map(() => 0)];
    for (const value of x)
      states.push(forward.map((column, j) => Math.tanh(dot(column, states.at(-1)!) + value * u[j]!)));
    const last = states.at(-1)!;
    const error = (2 * (dot(v, last) - targets[row]!)) / inputs.length;
    sums.c += error;
    for (const [j, h] of last.entries()) sums.v[j]! += error * h;
    let g: Vector = v.map((weight) => error * weight);
    for (let t = x.length; t > 0; t--) {
      const delta = g.map((value, j) => value * (1 - states[t]![j]! ** 2));
      for (const [j, d] of delta.entries()) {
        sums.b[j]! += d;
        sums.u[j]! += d * x[t - 1]!;
        for (const [i, h] of states[t - 1]!.entries()) sums.w[i]![j]! += h * d;
      }
      g = times(w, delta);
    }
  }
  return [sums.c, ...sums.u, ...sums.b, ...sums.v, ...sums.w.flat()].reduce((sum, value) => sum + value ** 2, 0);
}
