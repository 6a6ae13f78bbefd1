/**
 * Trains a plain recurrent network, and LSTMs with and without a forget-gate bias, to remember one bit through many
 * steps of noise.
 */
import { compile, losses, nn, optim, rand, randn, type Tensor, tensor, tidy, zeros } from "nabla";
import { gradientThroughTime } from "nabla/gradients";
import { dot, type Matrix, norm, sigmoid, times, transpose, type Vector } from "../algebra.ts";
import { generator } from "../random.ts";
import { average, plusMinus, significant } from "../statistics.ts";
import { stream } from "../stream.ts";

const HIDDEN = 16;
const BATCH = 32;
const STEPS = 150;
/** The number of training runs of each network, with different data and initial weights. */
const REPEATS = 3;
/** Results at the end of training are means over the batches of this many final steps. */
const LAST = 20;
/**
 * Let r be the gradient at the first step divided by the gradient at the last. Networks with r above OPEN learn the
 * task; networks with r below CLOSED guess. CLOSED is lower for plain networks, because training raises r more easily
 * for them than for an LSTM with half-closed gates.
 */
const OPEN = 0.5;
const CLOSED = { rnn: 1e-15, lstm: 1e-10 };

export default stream({
  name: "long-range",
  title: "Long-range memory",
  section: "Vanishing and Exploding Gradients",
  claim:
    "A network cannot learn from what its gradient does not reach. The first input is the answer, and noise follows. In a plain recurrent network the gradient at the first input is almost 0, so the network guesses. The forget gate of an LSTM, with bias b, keeps about σ(b) of its memory in each step; the dashed lines show the gradient through this gate alone. The paths through the hidden state and the other gates carry gradient, too, but not enough if b = 0: the gate then keeps half of the memory per step, and the LSTM fails as well. With a large bias the gradient arrives, and the LSTM learns the task.",
  formula:
    "c_t=f_t\\odot c_{t-1}+i_t\\odot g_t,\\qquad \\frac{\\partial c_T}{\\partial c_0}=\\underbrace{\\textstyle\\prod_{t=1}^{T}f_t}_{\\approx\\,\\sigma(b)^T}+\\text{paths through }h_t",
  functions: ["gradientThroughTime"],
  long: true,
  parameters: {
    length: { kind: "number", label: "time steps T", min: 5, max: 80, default: 70, integer: true },
    forget: { kind: "number", label: "bias b of the forget gate", min: 0, max: 6, default: 4, step: 0.5 },
    noise: { kind: "number", label: "size of the noise", min: 0, max: 1, default: 0.5, step: 0.1 },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  init({ length, forget, noise, seed }) {
    const kinds: readonly Kind[] = [
      { name: "plain RNN", forget: undefined },
      { name: "LSTM, b = 0", forget: 0 },
      ...(forget > 0 ? [{ name: `LSTM, b = ${forget}`, forget }] : []),
    ];
    const results = kinds.map((kind) => ({
      ...kind,
      runs: Array.from({ length: REPEATS }, (_, repeat) =>
        newRun(kind, { length, noise, seed: REPEATS * seed + repeat }),
      ),
    }));
    return { results, steps: 0 };
  },
  step(state) {
    for (const { runs } of state.results) for (const run of runs) run.step();
    return ++state.steps / STEPS;
  },
  draw: ({ results }, { length }) => ({
    plots: [
      {
        title: "The gradient before training",
        x: { label: "steps back, T − t", integer: true },
        y: { label: "‖∂z/∂(hₜ, cₜ)‖", scale: "log" },
        series: [
          ...results.map(({ name, runs: [run] }) => ({
            name,
            points: run!.measured.map((g, t): [number, number] => [length - t, g]),
          })),
          ...results.flatMap(({ name, forget, runs: [run] }, i) =>
            forget === undefined
              ? []
              : {
                  name: `${name}: gate alone`,
                  points: run!.measured
                    .slice(0, -1)
                    .map((_, t): [number, number] => [length - t, run!.measured.at(-1)! * alone(forget, length - t)]),
                  style: "theory" as const,
                  sameAs: i,
                },
          ),
        ],
      },
      {
        title: "Loss during training",
        x: { label: "step", integer: true },
        y: { label: "cross-entropy" },
        series: [
          ...results.map(({ name, runs: [run] }) => ({ name, points: smooth(run!.path), grows: true })),
          {
            name: "guessing",
            points: [
              [1, Math.LN2],
              [STEPS, Math.LN2],
            ],
            style: "theory",
          },
        ],
      },
    ],
    tables: [
      {
        title: `Mean ± standard error of ${REPEATS} runs`,
        columns: ["network", "first ÷ last gradient", "gate alone", "final loss", "accuracy"],
        rows: results.map(({ name, forget, runs }) => [
          name,
          significant(average(runs.map(({ measured }) => measured[0]! / measured.at(-1)!)), 2),
          forget === undefined ? "–" : significant(alone(forget, length), 2),
          plusMinus(runs.map(({ path }) => average(path.slice(-LAST)))),
          plusMinus(runs.map(({ right }) => average(right.slice(-LAST)))),
        ]),
      },
    ],
  }),
  measure: ({ results }) => ({
    findings: results.flatMap(({ name, forget: bias, runs }) => {
      const [{ measured, exact }] = runs as [Run];
      const arrived = runs.map((run) => run.measured[0]! / run.measured.at(-1)!);
      const atEnd = average(runs.map(({ path }) => average(path.slice(-LAST))));
      return [
        {
          text: `${name}: log of the gradient at the first step divided by that at the last`,
          measured: Math.log(measured[0]! / measured.at(-1)!),
          // Each of the up to 80 steps rounds sums of 16 products, which adds up to an error of about 80·√16·2⁻²⁴.
          expected: { equals: Math.log(exact[0]! / exact.at(-1)!), within: 2e-5 },
          theory: "the chain rule step by step, in float64 and without autograd",
        },
        ...(Math.max(...arrived) < CLOSED[bias === undefined ? "rnn" : "lstm"]
          ? [
              {
                text: `${name}: loss at the end of training, if the gradient does not reach the first input`,
                measured: atEnd,
                // A guess with a small logit z has a mean loss of log 2 + z²/8, and z is not 0, because the network
                // trains on batches of only 32 bits.
                expected: { equals: Math.LN2, within: 0.03 } as const,
                theory: "log 2 is the loss of a guess between two equally likely answers",
              },
            ]
          : []),
        ...(Math.min(...arrived) > OPEN
          ? [
              {
                text: `${name}: loss at the end of training, if the gradient reaches the first input`,
                measured: atEnd,
                expected: { atMost: 0.75 * Math.LN2 } as const,
                theory: "a loss clearly below log 2, the loss of a guess, requires the first input",
              },
            ]
          : []),
      ];
    }),
  }),
  dispose({ results }) {
    for (const { runs } of results) for (const run of runs) run.dispose();
  },
});

interface Kind {
  readonly name: string;
  /** The bias of the LSTM's forget gate; undefined for a plain RNN. */
  readonly forget: number | undefined;
}
interface Run {
  /** The loss of each batch before the step, and the fraction of right answers. */
  readonly path: number[];
  readonly right: number[];
  /** ‖∂z/∂(hₜ, cₜ)‖ for t = 0 … T before training: from the library, and in float64. */
  readonly measured: readonly number[];
  readonly exact: readonly number[];
  step(): void;
  dispose(): void;
}

/** The part of the gradient that goes through the output gate, which is half open, and then back through the forget gate of each step. */
const alone = (forget: number, steps: number): number => sigmoid(0) * sigmoid(forget) ** steps;

/** For each step, the mean of the last five losses, or of all losses in the first steps. */
const smooth = (path: readonly number[]): [number, number][] =>
  path.map((_, i) => [i + 1, average(path.slice(Math.max(0, i - 4), i + 1))]);

/**
 * Sequences [T, batch, 2], and the bits [batch] to remember. At the first step, the first input is the bit as ±1, and
 * the second input is 1 to mark the bit. At all other steps, the first input is noise, and the second is 0.
 */
function draw(length: number, noise: number): readonly [x: Tensor, bits: Tensor] {
  const bits = rand([BATCH]).gt(0.5).to("float32");
  const values = randn([length, BATCH]).mul(noise).data;
  values.set(bits.mul(2).sub(1).data);
  const pairs = Float32Array.from({ length: 2 * values.length }, (_, i) =>
    i % 2 ? Number(i < 2 * BATCH) : values[i >> 1]!,
  );
  return [tensor(pairs, [length, BATCH, 2]), bits];
}

interface TrainOptions {
  readonly length: number;
  readonly noise: number;
  readonly seed: number;
}

function newRun({ forget }: Kind, { length, noise, seed }: TrainOptions): Run {
  const random = generator(seed);
  const next = (): readonly [x: Tensor, bits: Tensor] => random(() => draw(length, noise));
  const [net, head] = random(() => [
    forget === undefined ? new nn.RNN(2, HIDDEN) : new nn.LSTM(2, HIDDEN),
    new nn.Linear(HIDDEN, 1),
  ]);
  const weights = Object.fromEntries(net.namedParameters());
  if (forget !== undefined) {
    nn.init.zeros(weights.biasHhL0!);
    // The gates are in PyTorch's order: input, forget, cell, output.
    weights.biasIhL0!.copyFrom(
      Float32Array.from({ length: 4 * HIDDEN }, (_, i) => (Math.floor(i / HIDDEN) === 1 ? forget : 0)),
    );
  }
  const gradients = tidy(() => gradientsThroughTime(net, head, next()[0].narrow(1, 0, 1)));
  const parameters = [...net.parameters(), ...head.parameters()];
  const optimizer = new optim.Adam(parameters, { lr: 0.005 });
  const update = compile((x: Tensor, bits: Tensor) => {
    const [out] = net.forward(x);
    const z = head.forward(out.narrow(0, length - 1, 1).reshape([BATCH, HIDDEN])).reshape([-1]);
    const loss = losses.bceWithLogits(z, bits);
    optimizer.zeroGrad();
    loss.backward();
    optim.clipGradNorm(parameters, 1);
    optimizer.step();
    return { loss, right: z.gt(0).to("float32").eq(bits).to("float32").mean() };
  });
  return {
    path: [],
    right: [],
    ...gradients,
    step() {
      tidy(() => {
        const { loss, right } = update(...next());
        this.path.push(loss.item());
        this.right.push(right.item());
      });
    },
    dispose() {
      for (const one of [update, optimizer, net, head]) one.dispose();
    },
  };
}

/** The gradients of the answer z = head(h_T) for one sequence x: [T, 1, 2]. */
function gradientsThroughTime(
  net: nn.RNN | nn.LSTM,
  head: nn.Linear,
  x: Tensor,
): { measured: readonly number[]; exact: readonly number[] } {
  const inputs = Array.from({ length: x.shape[0]! }, (_, t) => x.narrow(0, t, 1));
  const zero = zeros([1, 1, HIDDEN]);
  const z = (h: Tensor): Tensor => head.forward(h.reshape([1, HIDDEN])).sum();
  const measured =
    net instanceof nn.LSTM
      ? gradientThroughTime(
          ([h, c]: readonly Tensor[], input) => net.forward(input, [h!, c!])[1],
          [zero, zero] as readonly Tensor[],
          inputs,
          ([h]) => z(h!),
        )
      : gradientThroughTime((h, input) => net.forward(input, h)[1], zero, inputs, z);
  const weights = Object.fromEntries([...net.namedParameters()].map(([name, p]) => [name, p.toArray()]));
  const direction = Array.from(head.weight.data);
  const rows = x.reshape([-1, 2]).toArray() as number[][];
  return { measured, exact: (net instanceof nn.LSTM ? lstm : rnn)(weights, rows, direction) };
}

type Weights = Readonly<Record<string, unknown>>;
const sum = (a: Vector, b: Vector): number[] => a.map((v, i) => v + b[i]!);

/** The pre-activations of all gates: W·x + U·h + both biases. */
function preactivations(weights: Weights, x: Vector, h: Vector): number[] {
  const [w, u, b, d] = ["weightIhL0", "weightHhL0", "biasIhL0", "biasHhL0"].map((name) => weights[name]) as [
    Matrix,
    Matrix,
    Vector,
    Vector,
  ];
  return w.map((row, i) => dot(row, x) + dot(u[i]!, h) + b[i]! + d[i]!);
}

/** ‖∂z/∂hₜ‖ for t = 0 … T, for z = direction·h_T: each step back multiplies by Uᵀ·diag(1 − hₜ²). */
function rnn(weights: Weights, inputs: Matrix, direction: Vector): number[] {
  const states: Vector[] = [direction.map(() => 0)];
  for (const x of inputs) states.push(preactivations(weights, x, states.at(-1)!).map(Math.tanh));
  const back = transpose(weights.weightHhL0 as Matrix);
  const norms = [norm(direction)];
  let g: Vector = direction;
  for (const h of states.slice(1).reverse()) {
    const delta = g.map((v, i) => v * (1 - h[i]! ** 2));
    g = times(back, delta);
    norms.unshift(norm(g));
  }
  return norms;
}

/** ‖∂z/∂(hₜ, cₜ)‖ for t = 0 … T, for z = direction·h_T. */
function lstm(weights: Weights, inputs: Matrix, direction: Vector): number[] {
  let [h, c]: Vector[] = [direction.map(() => 0), direction.map(() => 0)];
  const steps = inputs.map((x) => {
    const z = preactivations(weights, x, h!);
    const part = (k: number): number[] => z.slice(k * HIDDEN, (k + 1) * HIDDEN);
    const [i, f, o] = [part(0).map(sigmoid), part(1).map(sigmoid), part(3).map(sigmoid)];
    const g = part(2).map(Math.tanh);
    const before = c!;
    c = f.map((v, k) => v * before[k]! + i[k]! * g[k]!);
    const squashed = c.map(Math.tanh);
    h = squashed.map((v, k) => v * o[k]!);
    return { i, f, g, o, before, squashed };
  });
  const back = transpose(weights.weightHhL0 as Matrix);
  let [dh, dc]: [Vector, Vector] = [direction, direction.map(() => 0)];
  const norms = [norm(direction)];
  for (const { i, f, g, o, before, squashed } of steps.reverse()) {
    const inner = sum(
      dc,
      dh.map((v, k) => v * o[k]! * (1 - squashed[k]! ** 2)),
    );
    const delta = [
      ...inner.map((v, k) => v * g[k]! * i[k]! * (1 - i[k]!)),
      ...inner.map((v, k) => v * before[k]! * f[k]! * (1 - f[k]!)),
      ...inner.map((v, k) => v * i[k]! * (1 - g[k]! ** 2)),
      ...dh.map((v, k) => v * squashed[k]! * o[k]! * (1 - o[k]!)),
    ];
    dc = inner.map((v, k) => v * f[k]!);
    dh = times(back, delta);
    norms.unshift(Math.hypot(norm(dh), norm(dc)));
  }
  return norms;
}
