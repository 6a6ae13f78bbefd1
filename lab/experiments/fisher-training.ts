/**
 * Trains networks on digits with natural gradients, with plain gradient descent and with Adam, and compares the steps and
 * the seconds that each method needs.
 */
import { avgPool2d, losses, manualSeed, nn, optim, randn, type Tensor, tidy } from "nabla";
import { fisherProduct, KFAC, NaturalGradient, naturalGradient, objective } from "nabla/gradients";
import { dot, norm, solve } from "../algebra.ts";
import { type Finding, showNumber } from "../experiment.ts";
import { images, labels } from "../network.ts";
import { generator } from "../random.ts";
import { average, klDivergence, significant } from "../statistics.ts";
import { stream } from "../stream.ts";

/** The learning rates to try for gradient descent and Adam. The natural gradients are not tuned. */
const RATES = { "gradient descent": [0.1, 0.3, 1, 3], Adam: [0.01, 0.03, 0.1, 0.3] };
/**
 * Gradient descent and Adam may take MORE times as many steps as the natural gradients, because their steps are cheap.
 */
const MORE = 5;
/** The largest training loss that the reader can choose as the target. */
const LARGEST = 0.5;
/** The loss of a mini-batch is noisy, so the mean loss of this many successive steps must reach the target. */
const LAST = 5;
/** A run has diverged if its loss is not finite, or above both the target and this many times its lowest value. */
const DIVERGED = 10;
/** The KL divergence between the predictions before and after each of the small steps that the findings compare. */
const KL = 1e-4;

type Batch = readonly [x: Tensor, y: Tensor];
/** Takes one step on a batch, and returns the loss before the step. */
type Step = (batch: Batch) => number;
interface Optimizer {
  readonly name: string;
  readonly settings: string;
  make(model: nn.Module): { readonly step: Step; dispose?(): void };
}
interface Training {
  readonly name: string;
  readonly settings: string;
  /** After each step, the mean of the last LAST losses. */
  readonly losses: number[];
  /** The time from the start of training to the end of each step, in seconds. */
  readonly seconds: number[];
  step(): void;
  dispose(): void;
}
/** A training run, and whether it reached the target. */
interface Run extends Omit<Training, "step" | "dispose"> {
  /** The number of steps to the target; ∞ if the run does not reach it. */
  readonly reached: number;
  readonly isDiverged: boolean;
}

export default stream({
  name: "fisher-training",
  title: "Training with natural gradients",
  section: "The Natural Gradient: Descending in Information Space",
  claim:
    "The natural gradient measures a step by how much it changes the predictions, which leads to far fewer steps than plain gradient descent. But each step costs many times as much: with the default settings, the natural gradients need the fewest steps, and Adam at its best rate the fewest seconds. The curves of the natural gradients end at the maximum number of steps; gradient descent and Adam, whose steps are cheap, may take five times as many. The damping matters as well: if it adapts to single mini-batches, the natural gradient fits each batch and forgets the others.",
  formula:
    "\\Delta\\boldsymbol\\theta=-(F+\\lambda)^{-1}\\nabla L,\\qquad F_\\ell\\approx A_{\\ell}\\otimes G_\\ell,\\quad A=\\mathbb E[\\bar a\\bar a^\\top],\\ G=\\mathbb E[gg^\\top]",
  functions: ["KFAC", "NaturalGradient", "naturalGradient", "fisherProduct", "objective"],
  long: true,
  parameters: {
    target: { kind: "number", label: "training loss to reach", min: 0.05, max: LARGEST, default: 0.1, scale: "log" },
    steps: { kind: "number", label: "maximum number of steps", min: 20, max: 150, default: 60, integer: true },
    batch: { kind: "number", label: "digits per step", min: 100, max: 1000, default: 500, integer: true },
    damping: {
      kind: "choice",
      label: "damping of the natural gradient",
      options: ["fixed", "adapted to each batch"],
      default: "fixed",
    },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  dependsOn: ["steps", "batch", "damping", "seed"],
  async init({ steps, batch, damping, seed }, { digits }) {
    const { train } = await digits();
    const count = Math.min(Math.floor(train.count / batch), 6);
    const batches = Array.from({ length: count }, (_, i): Batch => {
      // Half the resolution, 14 × 14 pixels, is enough to compare optimizers.
      const x = tidy(() => avgPool2d(images(train, i * batch, batch), 2).reshape([batch, -1]));
      return [x, labels(train, i * batch, batch)];
    });
    const trainings = optimizersOf(batch, damping === "fixed").map((optimizer) => {
      const most = optimizer.name in RATES ? MORE * steps : steps;
      return { most, ...newTraining(optimizer, seed, batches) };
    });
    return { batches, trainings, taken: 0, most: MORE * steps };
  },
  step(state) {
    for (const training of state.trainings)
      if (state.taken < training.most && !hasDiverged(training.losses, LARGEST)) training.step();
    return ++state.taken / state.most;
  },
  draw({ trainings }, { target, steps }) {
    const all = runsOf(trainings, target);
    const runs = bestOf(all);
    return {
      plots: [
        {
          title: "Training loss by step",
          x: { label: "step", scale: "log", integer: true },
          y: { label: `cross-entropy, mean of ${LAST} steps`, scale: "log" },
          series: [
            ...runs.map(({ name, losses: path }) => ({
              name,
              points: path.map((loss, i): [number, number] => [i + 1, loss]),
              grows: true,
            })),
            targetLine(target, 1, MORE * steps),
          ],
        },
        {
          title: "Training loss by seconds",
          x: { label: "seconds", scale: "log" },
          y: { label: `cross-entropy, mean of ${LAST} steps`, scale: "log" },
          series: [
            ...runs.map(({ name, losses: path, seconds }) => ({
              name,
              points: path.map((loss, i): [number, number] => [seconds[i]!, loss]),
              grows: true,
            })),
            targetLine(
              target,
              Math.min(...runs.map(({ seconds }) => seconds[0]!)),
              Math.max(...runs.map(({ seconds }) => seconds.at(-1)!)),
            ),
          ],
        },
      ],
      tables: [
        {
          title: `Steps to a loss of ${target}`,
          columns: COLUMNS,
          rows: runs.map(rowOf),
        },
        {
          title: "Rates that were tried",
          columns: COLUMNS,
          rows: all.filter(({ name }) => name in RATES).map(rowOf),
        },
      ],
    };
  },
  measure({ batches, trainings }, { target, damping, seed }) {
    const model = generator(seed)(network);
    const checks = tidy(() => [...smallSteps(model, batches[0]!), ...leastSquares(seed)]);
    model.dispose();
    const runs = bestOf(runsOf(trainings, target));
    const stepsOf = (name: string): number => {
      const { reached, isDiverged } = runs.find((run) => run.name === name)!;
      return isDiverged ? Infinity : reached;
    };
    // Skip the comparison if gradient descent does not reach the target, even in MORE times as many steps.
    const isComparable = Number.isFinite(stepsOf("gradient descent"));
    const followers = isComparable ? ["K-FAC", ...(damping === "fixed" ? ["natural gradient"] : [])] : [];
    return {
      findings: [
        ...followers.map((name) => ({
          text: `steps that ${name} needs to reach a training loss of ${target}, divided by the steps that gradient descent needs at its best learning rate`,
          measured: stepsOf(name) / stepsOf("gradient descent"),
          expected: { atMost: 1 } as const,
          theory:
            "with F⁻¹, steps along the floor of a ravine are as fast as steps across it (Martens and Grosse 2015)",
        })),
        ...checks,
      ],
    };
  },
  dispose({ batches, trainings }) {
    for (const one of [...trainings, ...batches.flat()]) one.dispose();
  },
});

/** The training runs that have taken a step, and whether they reached the target. */
const runsOf = (trainings: readonly Training[], target: number): Run[] =>
  trainings
    .filter(({ losses: path }) => path.length)
    .map(({ name, settings, losses: path, seconds }) => {
      const end = path.findIndex((_, i) => hasDiverged(path.slice(0, i + 1), target));
      const own = end < 0 ? path : path.slice(0, end + 1);
      const reached = own.findIndex((loss) => loss <= target);
      return {
        name,
        settings,
        losses: own,
        seconds: seconds.slice(0, own.length),
        reached: reached < 0 ? Infinity : reached + 1,
        isDiverged: end >= 0,
      };
    });

/** The best run of each optimizer, sorted by `compare`, so the best optimizer comes first. */
const bestOf = (all: readonly Run[]): Run[] =>
  [...new Set(all.map(({ name }) => name))]
    .map((name) => all.filter((run) => run.name === name).sort(compare)[0]!)
    .sort(compare);

/** Whether the last of these losses shows that the run has diverged. */
const hasDiverged = (path: readonly number[], target: number): boolean =>
  path.length > 0 && !(path.at(-1)! <= Math.max(target, DIVERGED * Math.min(...path)));

const COLUMNS = ["optimizer", "steps", "seconds", "ms per step", "last loss"];
function rowOf({ name, settings, losses: path, seconds, reached, isDiverged }: Run): (string | number)[] {
  const n = path.length;
  const isReached = Number.isFinite(reached) && !isDiverged;
  return [
    `${name}, ${settings}`,
    isDiverged ? `diverged at ${n}` : isReached ? reached : `>\u00a0${n}`,
    isReached ? significant(seconds[reached - 1]!, 3) : "–",
    significant((1000 * seconds.at(-1)!) / n, 3),
    significant(path.at(-1)!, 3),
  ];
}

/**
 * Sorts runs: first those that reached the target, by their number of steps; then those that have not reached it, by
 * their last loss; then those that diverged.
 */
function compare(a: Run, b: Run): number {
  if (a.isDiverged !== b.isDiverged) return a.isDiverged ? 1 : -1;
  return a.reached === b.reached ? a.losses.at(-1)! - b.losses.at(-1)! : a.reached - b.reached;
}

const targetLine = (target: number, from: number, to: number) => ({
  name: "target",
  points: [
    [from, target],
    [to, target],
  ] as [number, number][],
  style: "theory" as const,
});

function network(): nn.Sequential {
  return new nn.Sequential(new nn.Linear(196, 48), new nn.Tanh(), new nn.Linear(48, 10));
}

function optimizersOf(batch: number, isFixed: boolean): Optimizer[] {
  const tuned = (name: keyof typeof RATES, kind: typeof optim.SGD | typeof optim.Adam): Optimizer[] =>
    RATES[name].map((lr) => ({
      name,
      settings: `rate ${lr}`,
      make: (model) => {
        const optimizer = new kind(model.parameters(), { lr });
        const step: Step = ([x, y]) =>
          tidy(() => optimizer.minimize(() => losses.crossEntropy(model.forward(x) as Tensor, y)).item());
        return { step, dispose: () => optimizer.dispose() };
      },
    }));
  // The fewer digits F is estimated from, the more damping it needs.
  const options = isFixed ? { damping: 1.5 / batch, adapt: false } : {};
  return [
    ...tuned("gradient descent", optim.SGD),
    ...tuned("Adam", optim.Adam),
    {
      name: "K-FAC",
      settings: "initial damping 0.01",
      make: (model) => {
        const optimizer = new KFAC(model, { likelihood: "softmax", damping: 0.01 });
        const step: Step = ([x, y]) => optimizer.minimize(() => model.forward(x) as Tensor, y);
        return { step, dispose: () => optimizer.dispose() };
      },
    },
    {
      name: "natural gradient",
      settings: isFixed ? `damping ${showNumber(1.5 / batch)}` : "damping adapted to each batch",
      make: (model) => {
        const optimizer = new NaturalGradient(model, { likelihood: "softmax", lr: 0.5, iterations: 8, ...options });
        return { step: ([x, y]) => optimizer.minimize(() => model.forward(x) as Tensor, y) };
      },
    },
  ];
}

/** A new network, and the optimizer that trains it. */
function newTraining({ name, settings, make }: Optimizer, seed: number, batches: readonly Batch[]): Training {
  const random = generator(seed);
  const model = random(network);
  const optimizer = make(model);
  const path: number[] = [];
  return {
    name,
    settings,
    losses: [],
    seconds: [],
    step() {
      const started = performance.now();
      path.push(random(() => optimizer.step(batches[path.length % batches.length]!)));
      this.seconds.push((this.seconds.at(-1) ?? 0) + (performance.now() - started) / 1000);
      this.losses.push(average(path.slice(-LAST)));
    },
    dispose() {
      optimizer.dispose?.();
      model.dispose();
    },
  };
}

/**
 * Compares two small steps that change the predictions by the same KL divergence: one along the natural gradient, and
 * one along the gradient. Averaging over the steps s and −s cancels the errors of first order in s, which leaves
 * relative errors of about KL and the float32 rounding errors.
 */
function smallSteps(model: nn.Module, [x, y]: Batch): Finding[] {
  const likelihood = "softmax";
  const outputs = (): Tensor => model.forward(x) as Tensor;
  const at = objective(model, () => losses.crossEntropy(outputs(), y));
  const theta = at.theta;
  const logits = (): Float64Array => tidy(() => Float64Array.from(outputs().data));
  const before = logits();
  const solver = { damping: 1e-3, iterations: 200, tolerance: 1e-3 };
  const { direction, gradient } = naturalGradient(model, outputs, y, { likelihood, ...solver });
  const product = fisherProduct(model, outputs, direction, { likelihood });
  const residual = product.map((v, i) => v + solver.damping * direction[i]! - gradient[i]!);
  const [natural, plain] = [direction, gradient].map((d) => {
    const size = dot(d, fisherProduct(model, outputs, d, { likelihood }));
    const step = d.map((v) => v * Math.sqrt((2 * KL) / size));
    const sides = [1, -1].map((sign) => {
      const moved = theta.map((v, i) => v + sign * step[i]!);
      return at.at(moved, () => ({ loss: at.value(), kl: klDivergence(before, logits()) }));
    });
    return {
      kl: average(sides.map(({ kl }) => kl)),
      slope: (sides[0]!.loss - sides[1]!.loss) / 2,
      predicted: dot(gradient, step),
    };
  }) as [Small, Small];
  return [
    {
      text: "the natural gradient d as a solution of (F + λ)·d = ∇L: residual divided by ‖∇L‖",
      measured: norm(residual) / norm(gradient),
      // Rounding float32 products adds an error no larger than the solver's tolerance.
      expected: { equals: 0, within: 2 * solver.tolerance },
      theory: "conjugate gradients stop at a residual of 10⁻³ (Hestenes and Stiefel 1952)",
    },
    {
      text: "change KL(p‖p′) of the predictions in a small natural step δ, divided by ½·δᵀFδ",
      measured: natural.kl / KL,
      expected: { equals: 1, within: 2e-3 },
      theory: "F is the metric of the space of distributions; KL is computed from the logits in float64",
    },
    {
      text: "decrease in the loss in that step, divided by the decrease in a gradient step with the same KL",
      measured: natural.slope / plain.slope,
      expected: { equals: natural.predicted / plain.predicted, within: 2e-3 * (natural.predicted / plain.predicted) },
      theory:
        "the ratio of the decreases |∇L·δ|; by the Cauchy–Schwarz inequality, none with this KL is above √(2·KL·∇Lᵀ F⁻¹ ∇L)",
    },
  ];
}
type Small = Readonly<Record<"kl" | "slope" | "predicted", number>>;

/**
 * Compares one step of each optimizer with theory, on least squares with one output. There, F = E[x̄·x̄ᵀ] is the
 * Hessian, and only one of its Kronecker factors is larger than 1 × 1. With little damping, the step is Newton's and
 * ends at the minimum. √λ = 10⁻⁴ leaves at most about 10⁻⁴/σ of the distance along an eigenvector of F with eigenvalue
 * σ, and the square of this fraction of the excess loss.
 */
function leastSquares(seed: number): Finding[] {
  manualSeed(seed);
  const x = randn([64, 4]);
  const y = x.matmul(randn([4, 1])).add(randn([64, 1]));
  const rows = (x.toArray() as number[][]).map((row) => [...row, 1]);
  const target = Array.from(y.data);
  const normal = rows[0]!.map((_, i) => rows[0]!.map((__, j) => rows.reduce((sum, row) => sum + row[i]! * row[j]!, 0)));
  const theta = solve(
    normal,
    rows[0]!.map((_, i) => rows.reduce((sum, row, k) => sum + row[i]! * target[k]!, 0)),
  );
  const lowest = average(rows.map((row, k) => (dot(row, theta) - target[k]!) ** 2)) / 2;
  const options = { likelihood: "gaussian", damping: 1e-8, adapt: false } as const;
  return [
    ["K-FAC", (layer: nn.Module) => new KFAC(layer, options)] as const,
    [
      "the natural gradient",
      (layer: nn.Module) => new NaturalGradient(layer, { ...options, tolerance: 1e-6 }),
    ] as const,
  ].map(([name, make]) => {
    const layer = new nn.Linear(4, 1);
    const optimizer = make(layer);
    optimizer.minimize(() => layer.forward(x), y);
    const loss = tidy(() => losses.mse(layer.forward(x), y).item());
    if (optimizer instanceof KFAC) optimizer.dispose();
    layer.dispose();
    return {
      text: `loss of a linear model after one step of ${name}, divided by its minimum`,
      measured: loss / 2 / lowest,
      expected: { equals: 1, within: 2e-6 },
      theory:
        "for least squares F is the Hessian, so the step is Newton's; the minimum solves the normal equations in float64",
    };
  });
}
