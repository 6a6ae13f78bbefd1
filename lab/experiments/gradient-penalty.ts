/** A penalty on the gradient with respect to the inputs makes a function flatter, and its answers harder to flip. */
import {
  compile,
  grad,
  losses,
  manualSeed,
  nn,
  optim,
  randn,
  randomState,
  setRandomState,
  type Tensor,
  tensor,
  tidy,
} from "nabla";
import { fgsm, gradientPenalty, inputGradientNorms, lipschitzBound, lipschitzPenalty, pgd } from "nabla/gradients";
import type { Plot } from "../experiment.ts";
import { stream } from "../stream.ts";

const TRAIN = 120;
const TEST = 600;
const STEPS = 400;
const EPSILONS = [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5];
/** The ε of the attacks in the table. */
const STRONG = 0.3;
/** The ranges of x₁ and x₂ in the window that is drawn. */
const [X, Y] = [[-1.6, 2.6] as const, [-1.3, 1.8] as const];
const COLUMNS = 60;
const ROWS = 44;

export default stream({
  name: "gradient-penalty",
  title: "A penalty on the gradient",
  section: "Applications and Interdisciplinary Connections",
  claim:
    "Adding the squared length of the gradient with respect to the inputs to the loss, and backpropagating through it, makes the network flatter. Here the network distinguishes two interleaved half-moons of points. An answer cannot flip within a distance of |f| divided by the steepest slope. So where |f| stays the same, a flatter network withstands larger changes to the input, such as those of FGSM, which moves each coordinate by ε along the sign of the gradient.",
  formula:
    "L(\\boldsymbol\\theta) + \\lambda\\,\\mathbb E_{\\boldsymbol x}\\bigl\\|\\nabla_{\\boldsymbol x} f_{\\boldsymbol\\theta}(\\boldsymbol x)\\bigr\\|_2^2",
  functions: ["gradientPenalty", "lipschitzPenalty", "inputGradientNorms", "lipschitzBound", "fgsm", "pgd"],
  parameters: {
    lambda: { kind: "number", label: "λ, the penalty's weight", min: 0.003, max: 1, default: 0.05, scale: "log" },
    penalty: {
      kind: "choice",
      label: "penalty",
      options: ["every slope", "slopes above 1"],
      default: "every slope",
    },
    noise: { kind: "number", label: "noise of the moons", min: 0.05, max: 0.35, default: 0.2 },
    seed: { kind: "number", label: "seed", min: 1, max: 999, default: 1, integer: true },
  },
  init({ lambda, penalty, noise, seed }) {
    manualSeed(seed);
    const [seen, unseen] = [moons(TRAIN, noise), moons(TEST, noise)];
    const slope = penalty === "every slope" ? gradientPenalty : lipschitzPenalty;
    // Both networks start from the same weights.
    const networks = [
      newNetwork("without the penalty", seen, seed + 1000, () => undefined),
      newNetwork("with the penalty", seen, seed + 1000, (f, x) => slope(f, x).mul(lambda)),
    ];
    return { seen, unseen, networks, steps: 0, random: randomState() };
  },
  step(state) {
    for (const network of state.networks) network.step();
    return ++state.steps / STEPS;
  },
  draw: ({ seen, networks }) => ({ plots: [slopesOf(networks), ...networks.map((one) => field(one, seen))] }),
  measure({ seen, unseen, networks, random }) {
    setRandomState(random);
    const measured = networks.map((one) => tidy(() => measure(one.model, unseen)));
    const [before, after] = measured as [Measured, Measured];
    return {
      findings: [
        {
          text: "mean ‖∂f/∂x‖ at unseen points with the penalty, divided by that without it",
          measured: after.slope / before.slope,
          expected: { atMost: 0.8 },
          theory: "only the penalty pushes the slope down",
        },
        ...networks.map(({ name }, i) => ({
          text: `${name}: largest ‖∂f/∂x‖ in the window, divided by the product of the layers' norms`,
          measured: measured[i]!.steepest / measured[i]!.bound,
          expected: { atMost: 1 },
          theory: "‖∂f/∂x‖ ≤ Π σ₁(Wₖ), because |tanh′| ≤ 1 (Szegedy et al. 2014)",
        })),
        ...networks.map(({ name }, i) => ({
          text: `${name}: increase in −y·f under FGSM with ε = 0.001, divided by ε·‖∂f/∂x‖₁`,
          measured: measured[i]!.firstOrder,
          expected: { equals: 1, within: 0.02 },
          theory:
            "of all steps in a box, ε times the sign of the gradient raises a linear function the most (Goodfellow et al. 2015)",
        })),
        ...networks.map(({ name }, i) => ({
          text: `${name}: smallest distance to a cell of the window with a different answer, divided by |f|/Π σ₁(Wₖ)`,
          measured: measured[i]!.closest,
          expected: { atLeast: 1 },
          theory: "f cannot fall to 0 within |f(x)| divided by its steepest slope (Tsuzuku et al. 2018)",
        })),
      ],
      plots: [
        slopesOf(networks),
        {
          title: "Accuracy under attack",
          x: { label: "ε per coordinate" },
          y: { label: "accuracy under FGSM" },
          series: networks.map(({ name }, i) => ({ name, points: measured[i]!.accuracies })),
        },
        ...networks.map((one) => field(one, seen)),
      ],
      tables: [
        {
          title: "Accuracy and slope",
          columns: [
            "network",
            "no attack",
            `FGSM, ε = ${STRONG}`,
            `PGD, length ${STRONG}`,
            "mean ‖∂f/∂x‖",
            "product of norms",
          ],
          rows: networks.map(({ name }, i) => {
            const { accuracies, underFgsm, underPgd, slope: mean, bound } = measured[i]!;
            return [name, ...[accuracies[0]![1], underFgsm, underPgd, mean, bound].map((v) => Number(v.toFixed(3)))];
          }),
        },
      ],
    };
  },
  dispose({ seen, unseen, networks }) {
    for (const network of networks) network.dispose();
    for (const x of [seen.x, seen.y, unseen.x, unseen.y]) x.dispose();
  },
});

const slopesOf = (networks: readonly Network[]): Plot => ({
  title: "Input gradient",
  x: { label: "step", integer: true },
  y: { label: "mean ‖∂f/∂x‖ at the training points" },
  series: networks.map(({ name, slopes }) => ({ name, points: slopes, grows: true })),
});

interface Points {
  /** [n, 2] */
  readonly x: Tensor;
  /** ±1, [n] */
  readonly y: Tensor;
}

/** Points on two half-moons, half of the points on each, with Gaussian noise added. */
function moons(n: number, noise: number): Points {
  const jitter = tidy(() => randn([n, 2]).data);
  const angle = (i: number): number => (Math.PI * (Math.floor(i / 2) + 0.5)) / (n / 2);
  const points = Array.from({ length: n }, (_, i): [number, number] =>
    i % 2 ? [1 - Math.cos(angle(i)), 0.5 - Math.sin(angle(i))] : [Math.cos(angle(i)), Math.sin(angle(i))],
  );
  return {
    x: tensor(points.map(([a, b], i) => [a + noise * jitter[2 * i]!, b + noise * jitter[2 * i + 1]!])),
    y: tensor(points.map((_, i) => (i % 2 ? -1 : 1))),
  };
}

interface Network {
  readonly name: string;
  readonly model: nn.Sequential;
  readonly slopes: [step: number, slope: number][];
  step(): void;
  dispose(): void;
}

/**
 * Creates a network with two hidden layers, [n, 2] → [n, 1], which Adam trains on the logistic loss plus the penalty.
 */
function newNetwork(
  name: string,
  { x, y }: Points,
  seed: number,
  penalty: (f: nn.Module, x: Tensor) => Tensor | undefined,
): Network {
  manualSeed(seed);
  const model = new nn.Sequential(
    new nn.Linear(2, 32),
    new nn.Tanh(),
    new nn.Linear(32, 32),
    new nn.Tanh(),
    new nn.Linear(32, 1),
  );
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
  const update = compile((z: Tensor, signs: Tensor) =>
    optimizer.minimize(() => {
      const loss = logistic(model, z, signs).mean();
      const extra = penalty(model, z);
      return extra ? loss.add(extra) : loss;
    }),
  );
  const slope = (): number => tidy(() => inputGradientNorms(model, x).mean().item());
  let steps = 0;
  return {
    name,
    model,
    slopes: [[0, slope()]],
    step() {
      tidy(() => update(x, y));
      if (++steps % 10 === 0) this.slopes.push([steps, slope()]);
    },
    dispose() {
      for (const one of [update, optimizer, model]) one.dispose();
    },
  };
}

/** log(1 + exp(−y·f)), [n]. */
const logistic = (model: nn.Module, x: Tensor, y: Tensor): Tensor =>
  losses.bceWithLogits(model.forward(x).reshape([-1]), y.add(1).div(2), { reduction: "none" });

interface Measured {
  readonly slope: number;
  readonly steepest: number;
  readonly bound: number;
  readonly firstOrder: number;
  readonly closest: number;
  /**
   * `underFgsm` and `underPgd` are the accuracies under FGSM and under l2 PGD with ε = STRONG; `accuracies` are those
   * under FGSM for each ε.
   */
  readonly underFgsm: number;
  readonly underPgd: number;
  readonly accuracies: readonly [epsilon: number, accuracy: number][];
}

function measure(model: nn.Sequential, { x, y }: Points): Measured {
  const margins = (z: Tensor): Tensor => model.forward(z).reshape([-1]).mul(y);
  const lossOf = (z: Tensor): Tensor => margins(z).neg();
  const right = (z: Tensor): number => margins(z).gt(0).to("float32").mean().item();
  const under = (epsilon: number): number => right(fgsm(lossOf, x, { epsilon }));
  const bound = lipschitzBound(model);
  const tiny = 1e-3;
  const rise = margins(x)
    .sub(margins(fgsm(lossOf, x, { epsilon: tiny })))
    .mean();
  const g = grad((z: Tensor) => lossOf(z).sum())(x);
  return {
    slope: inputGradientNorms(model, x).mean().item(),
    steepest: inputGradientNorms(model, grid()).max().item(),
    bound,
    firstOrder: rise.item() / (tiny * g.abs().sum(1).mean().item()),
    closest: closest(model, x, bound),
    underFgsm: under(STRONG),
    underPgd: right(pgd(lossOf, x, { epsilon: STRONG, norm: "l2", steps: 20 })),
    accuracies: EPSILONS.map((epsilon) => [epsilon, under(epsilon)]),
  };
}

/**
 * For each point, computes the distance to the nearest cell where f has the other sign, and divides this distance by
 * |f|/bound. Returns the smallest of these ratios.
 */
function closest(model: nn.Sequential, x: Tensor, bound: number): number {
  const cells = grid();
  const pairs = (z: Tensor): [number, number][] => z.toArray() as [number, number][];
  const answers = (z: Tensor): ArrayLike<number> => model.forward(z).data;
  const [points, others, f, g] = [pairs(x), pairs(cells), answers(x), answers(cells)];
  const ratios = points.map(([a, b], i) => {
    const distances = others.map(([c, d], k) =>
      f[i]! * g[k]! < 0 ? Math.hypot(a - c, b - d) : Number.POSITIVE_INFINITY,
    );
    return (Math.min(...distances) * bound) / Math.abs(f[i]!);
  });
  return Math.min(...ratios);
}

/** The centres of the window's cells, from the bottom row up: [ROWS·COLUMNS, 2]. */
function grid(): Tensor {
  const along = ([from, to]: readonly [number, number], i: number, n: number): number =>
    from + ((to - from) * (i + 0.5)) / n;
  const cells = Array.from({ length: ROWS * COLUMNS }, (_, at) => [
    along(X, at % COLUMNS, COLUMNS),
    along(Y, Math.floor(at / COLUMNS), ROWS),
  ]);
  return tensor(cells);
}

/** A plot of the network's answers in the window, from −1 to 1, and of the training points. */
function field({ name, model }: Network, { x, y }: Points): Plot {
  const [points, signs] = [x.toArray() as [number, number][], y.data];
  const of = (sign: number): [number, number][] => points.filter((_, i) => signs[i] === sign);
  return {
    title: `Answer ${name}`,
    x: { label: "x₁" },
    y: { label: "x₂" },
    series: [
      { name: "one moon", points: of(1), style: "dots" },
      { name: "the other", points: of(-1), style: "dots" },
    ],
    field: {
      x: X,
      y: Y,
      columns: COLUMNS,
      label: "answer",
      range: [-1, 1],
      values: tidy(() => Array.from(model.forward(grid()).div(2).tanh().data)),
    },
  };
}
