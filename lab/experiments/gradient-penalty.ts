/** A penalty on the gradient by the inputs makes a function flatter, and its answers harder to turn. */
import { compile, grad, losses, manualSeed, nn, optim, randn, type Tensor, tensor, tidy } from "nabla";
import { fgsm, gradientPenalty, inputGradientNorms, lipschitzBound, lipschitzPenalty, pgd } from "nabla/gradients";
import { experiment, type Plot } from "../experiment.ts";

const TRAIN = 120;
const TEST = 600;
const STEPS = 400;
const EPSILONS = [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5];
/** The attack that findings speak of. */
const STRONG = 0.3;
/** The window that is drawn. */
const [X, Y] = [[-1.6, 2.6] as const, [-1.3, 1.8] as const];
const COLUMNS = 60;
const ROWS = 44;

export default experiment({
  name: "gradient-penalty",
  title: "A penalty on the gradient",
  section: "Applications and Interdisciplinary Connections",
  claim:
    "Adding the squared length of the gradient by the inputs to the loss, and going backward through it, makes the network flatter: small changes of the input turn fewer of its answers.",
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
  async run({ lambda, penalty, noise, seed }, { progress }) {
    manualSeed(seed);
    const [seen, unseen] = [moons(TRAIN, noise), moons(TEST, noise)];
    const slope = penalty === "every slope" ? gradientPenalty : lipschitzPenalty;
    const made: Trained[] = [];
    try {
      for (const [i, [name, weight]] of (
        [
          ["without the penalty", 0],
          ["with the penalty", lambda],
        ] as const
      ).entries()) {
        await progress(i / 2, name);
        manualSeed(seed + 1000); // both from the same weights
        made.push(trained(name, seen, (f, x) => (weight ? slope(f, x).mul(weight) : undefined)));
      }
      const [plain, flat] = made as [Trained, Trained];
      const measured = made.map((one) => tidy(() => measure(one.model, unseen)));
      const [before, after] = measured as [Measured, Measured];
      return {
        findings: [
          {
            text: "mean ‖∂f/∂x‖ at unseen points, with the penalty by without",
            measured: after.slope / before.slope,
            expected: { atMost: 0.8 },
            theory: "the penalty weighs against the slope, and without it nothing does",
          },
          ...made.map(({ name }, i) => ({
            text: `largest ‖∂f/∂x‖ in the window by the product of the layers' norms, ${name}`,
            measured: measured[i]!.steepest / measured[i]!.bound,
            expected: { atMost: 1 },
            theory: "‖∂f/∂x‖ ≤ Π σ₁(Wₖ), as |tanh′| ≤ 1 (Szegedy et al. 2014)",
          })),
          ...made.map(({ name }, i) => ({
            text: `rise of −y·f under FGSM with ε = 0.001, by ε·‖∂f/∂x‖₁, ${name}`,
            measured: measured[i]!.firstOrder,
            expected: { equals: 1, within: 0.02 },
            theory:
              "the step of a box that raises a linear function most is ε·sign of its gradient (Goodfellow et al. 2015)",
          })),
          ...made.map(({ name }, i) => ({
            text: `distance to the nearest cell of the window with another answer, by |f|/Π σ₁(Wₖ): the least, ${name}`,
            measured: measured[i]!.closest,
            expected: { atLeast: 1 },
            theory: "f cannot fall to 0 within |f(x)| by its steepest slope (Tsuzuku et al. 2018)",
          })),
          {
            text: `unseen points right under FGSM with ε = ${STRONG}, with the penalty less without`,
            measured: after.attacked - before.attacked,
            expected: { atLeast: 0 },
            theory: "what is flat takes longer ways to turn",
          },
        ],
        plots: [
          {
            title: "Length of the gradient by the inputs, in training",
            x: { label: "step" },
            y: { label: "mean ‖∂f/∂x‖" },
            series: made.map(({ name, slopes }) => ({ name, points: slopes })),
          },
          {
            title: "Unseen points answered right under FGSM",
            x: { label: "ε, for each coordinate" },
            y: { label: "accuracy" },
            series: made.map(({ name }, i) => ({ name, points: measured[i]!.accuracies })),
          },
          ...[plain, flat].map((one) => field(one, seen)),
        ],
        tables: [
          {
            title: "Both networks on unseen points, shares that are right",
            columns: [
              "network",
              "as they are",
              `FGSM, ε = ${STRONG}`,
              `PGD, length ${STRONG}`,
              "mean ‖∂f/∂x‖",
              "Π σ₁(Wₖ)",
            ],
            rows: made.map(({ name }, i) => {
              const { accuracies, attacked, turned, slope: mean, bound } = measured[i]!;
              return [name, ...[accuracies[0]![1], attacked, turned, mean, bound].map((v) => Number(v.toFixed(3)))];
            }),
          },
        ],
      };
    } finally {
      for (const { model } of made) model.dispose();
      for (const x of [seen.x, seen.y, unseen.x, unseen.y]) x.dispose();
    }
  },
});

interface Points {
  /** [n, 2] */
  readonly x: Tensor;
  /** ±1, [n] */
  readonly y: Tensor;
}

/** Two moons, half of the points each, with Gaussian noise. */
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

interface Trained {
  readonly name: string;
  readonly model: nn.Sequential;
  readonly slopes: readonly [step: number, slope: number][];
}

/** A network of two hidden layers, [n, 2] → [n, 1], trained by Adam on logistic losses and a penalty. */
function trained(name: string, { x, y }: Points, penalty: (f: nn.Module, x: Tensor) => Tensor | undefined): Trained {
  const model = new nn.Sequential(
    new nn.Linear(2, 32),
    new nn.Tanh(),
    new nn.Linear(32, 32),
    new nn.Tanh(),
    new nn.Linear(32, 1),
  );
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
  const step = compile((z: Tensor, signs: Tensor) =>
    optimizer.minimize(() => {
      const loss = logistic(model, z, signs).mean();
      const extra = penalty(model, z);
      return extra ? loss.add(extra) : loss;
    }),
  );
  const slopes: [number, number][] = [];
  for (let at = 0; at <= STEPS; at++) {
    if (at % 10 === 0) slopes.push([at, tidy(() => inputGradientNorms(model, x).mean().item())]);
    if (at < STEPS) step(x, y);
  }
  step.dispose();
  optimizer.dispose();
  return { name, model, slopes };
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
  /** Shares that are right: under FGSM, under PGD in length, both with STRONG, and under FGSM by ε. */
  readonly attacked: number;
  readonly turned: number;
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
    attacked: under(STRONG),
    turned: right(pgd(lossOf, x, { epsilon: STRONG, norm: "l2", steps: 20 })),
    accuracies: EPSILONS.map((epsilon) => [epsilon, under(epsilon)]),
  };
}

/** Over points: the distance to the nearest cell with the other sign of f, by |f|/bound; the least. */
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

/** The middles of the window's cells, [ROWS·COLUMNS, 2], rows from below. */
function grid(): Tensor {
  const along = ([from, to]: readonly [number, number], i: number, n: number): number =>
    from + ((to - from) * (i + 0.5)) / n;
  const cells = Array.from({ length: ROWS * COLUMNS }, (_, at) => [
    along(X, at % COLUMNS, COLUMNS),
    along(Y, Math.floor(at / COLUMNS), ROWS),
  ]);
  return tensor(cells);
}

/** The network's answer over the window, between −1 and 1, and the points that it learnt from. */
function field({ name, model }: Trained, { x, y }: Points): Plot {
  const [points, signs] = [x.toArray() as [number, number][], y.data];
  const of = (sign: number): [number, number][] => points.filter((_, i) => signs[i] === sign);
  return {
    title: `The answer, ${name}`,
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
      values: tidy(() => Array.from(model.forward(grid()).div(2).tanh().data)),
    },
  };
}
