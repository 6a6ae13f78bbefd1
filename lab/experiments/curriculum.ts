/** Compares training with three orders of mini-batches: random, by difficulty, and by similarity of gradient signs. */
import { losses, nn, optim, randn, type Tensor, tidy } from "nabla";
import { batchGradients, curriculum, gradientConfusion, objective, signFlips } from "nabla/gradients";
import { generator } from "../random.ts";
import { average, plusMinus, variance } from "../statistics.ts";
import { stream } from "../stream.ts";

const BATCHES = 32;
const SIZE = 8;
/** The number of training runs in each order, with different data and initial weights. */
const REPEATS = 8;
/** A training run has diverged if its loss is not a number, or is at least this many times the initial loss. */
const DIVERGED = 100;

type Point = [x: number, y: number];
type Order = "random" | "difficulty" | "signs";
/** One training run. */
interface Run {
  /** The mean squared error over all mini-batches, by epoch. */
  readonly points: Point[];
  /** The mean fraction of signs that flip from batch to batch, for each epoch up to a divergence. */
  readonly flips: number[];
  /** For each epoch, the fraction of signs that differ between two batches: its mean and variance over all pairs. */
  readonly pairs: { readonly mean: number; readonly variance: number }[];
  isDiverged: boolean;
  /** Trains on one mini-batch. */
  step(): void;
  dispose(): void;
}

export default stream({
  name: "curriculum",
  title: "Curricula: the order of mini-batches",
  section: "Stochasticity and Gradient Confusion",
  claim:
    "Ordering mini-batches so that the signs of successive gradients differ little gives the optimizer a smoother, more consistent path than a random order. This order need not be faster: with the default settings, it halves the flips, but still ends with a higher loss over all mini-batches than random order does. The order by difficulty also ends with a higher loss. The smaller the learning rate, the less the order matters.",
  formula:
    "d(a,b)=\\frac1n\\sum_i\\bigl[\\operatorname{sign} g^{(a)}_i\\ne\\operatorname{sign} g^{(b)}_i\\bigr],\\qquad \\text{next}=\\arg\\min_b d(\\text{last},b)",
  functions: ["curriculum", "signFlips", "gradientConfusion", "batchGradients", "objective"],
  parameters: {
    noise: { kind: "number", label: "noise of the targets", min: 0, max: 2, default: 0.5, step: 0.1 },
    lr: { kind: "number", label: "learning rate", min: 0.01, max: 0.2, default: 0.1, scale: "log" },
    epochs: { kind: "number", label: "epochs", min: 1, max: 10, default: 4, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  init: ({ noise, lr, epochs, seed }) => ({
    results: ORDERS.map((by) => ({
      by,
      runs: Array.from({ length: REPEATS }, (_, repeat) => newRun(by, { noise, lr, seed: REPEATS * seed + repeat })),
    })),
    batches: 0,
    total: epochs * BATCHES,
  }),
  step(state) {
    for (const { runs } of state.results) for (const run of runs) if (!run.isDiverged) run.step();
    return ++state.batches / state.total;
  },
  draw: ({ results }) => ({
    plots: [
      {
        title: "Signs that flip",
        x: { label: "epoch", integer: true },
        y: { label: "fraction of signs that flip", zero: true },
        series: [
          ...results.map(({ by, runs }) => ({
            name: labelOf(by),
            points: byEpoch(runs.map(({ flips }) => flips)),
            grows: true,
          })),
          {
            name: "all pairs of batches",
            points: byEpoch(results[0]!.runs.map(({ pairs }) => pairs.map(({ mean }) => mean))),
            style: "theory" as const,
            grows: true,
          },
        ],
      },
      {
        title: "Loss by epoch",
        x: { label: "epoch", integer: true },
        y: { label: `loss over all mini-batches, mean of ${REPEATS} runs` },
        series: results.map(({ by, runs }) => ({
          name: labelOf(by),
          points: meanOf(runs.filter(({ isDiverged }) => !isDiverged).map(({ points }) => points)),
          grows: true,
        })),
      },
      {
        title: "Minus random order",
        x: { label: "epoch", integer: true },
        y: { label: "difference of the losses, ± standard error" },
        series: results.flatMap((result, order) => {
          const differences = pairsOf(result, results[0]!).map(([run, paired]) =>
            run.points.map(([x, loss], i): Point => [x, loss - paired.points[i]![1]]),
          );
          const [mean, error] = [meanOf(differences), standardErrorOf(differences)];
          const own = { name: labelOf(result.by), points: mean, grows: true };
          if (order === 0) return [own];
          const moved = (factor: number): Point[] => mean.map(([x, y], i) => [x, y + factor * error[i]!]);
          const band = { name: "one standard error", style: "reference", sameAs: 3 * order - 2, grows: true } as const;
          return [own, { ...band, points: moved(1) }, { ...band, points: moved(-1) }];
        }),
      },
    ],
    tables: [
      {
        title: `Mean ± standard error of ${REPEATS} runs`,
        columns: ["order", "sign flips", "final loss", "minus random", "diverged"],
        rows: results.map((result, order) => [
          labelOf(result.by),
          plusMinus(result.runs.map(({ flips }) => average(flips))),
          plusMinus(result.runs.filter((run) => !run.isDiverged).map(finalLoss)),
          plusMinus(
            order ? pairsOf(result, results[0]!).map(([run, paired]) => finalLoss(run) - finalLoss(paired)) : [],
          ),
          `${result.runs.filter((run) => run.isDiverged).length} of ${REPEATS}`,
        ]),
      },
    ],
  }),
  measure({ results }) {
    const [random, , signs] = results as [Result, Result, Result];
    const pairs = random.runs.flatMap((run) => run.pairs);
    const expected = average(pairs.map(({ mean }) => mean));
    const error = Math.sqrt(average(pairs.map((pair) => pair.variance)) / (BATCHES - 1) / pairs.length);
    // Check the order on eight sign patterns, the corners of a cube, for which the result is known without training.
    const cube = [0, 7, 1, 6, 2, 5, 3, 4].map((bits) => Float64Array.from([1, 2, 4], (bit) => (bits & bit ? 1 : -1)));
    const walked = gradientConfusion(curriculum({ by: "signs", gradients: cube }).map((i) => cube[i]!)).signFlips;
    return {
      findings: [
        {
          text: "fraction of signs that flip from batch to batch in random order",
          measured: average(random.runs.flatMap(({ flips }) => flips)),
          expected: { equals: expected, within: 5 * error },
          theory: "the mean over all pairs of batches",
        },
        {
          text: "fraction of signs that flip at the start of training: the order by signs divided by the mean over all pairs",
          measured: average(signs.runs.map(({ flips, pairs: [first] }) => flips[0]! / first!.mean)),
          expected: { atMost: 1 },
          theory: "the nearest remaining gradient comes next",
        },
        {
          text: "fraction of signs that flip along the order of the eight corners of a cube",
          measured: walked,
          expected: { equals: 3 / 7, within: 1e-9 },
          theory:
            "six steps along edges flip 1 of 3 signs, and the step to the last remaining corner flips all 3; a random order flips 4/7",
        },
      ],
    };
  },
  dispose({ results }) {
    for (const { runs } of results) for (const run of runs) run.dispose();
  },
});

interface Result {
  readonly by: Order;
  readonly runs: Run[];
}
interface TrainOptions {
  readonly noise: number;
  readonly lr: number;
  readonly seed: number;
}

function newRun(by: Order, { noise, lr, seed }: TrainOptions): Run {
  const random = generator(seed);
  const { model, batches } = random(() => start(noise));
  const loss = ([x, y]: readonly [Tensor, Tensor]) => losses.mse(model.forward(x), y);
  const whole = objective(model, () =>
    batches
      .map(loss)
      .reduce((a, b) => a.add(b))
      .div(BATCHES),
  );
  const optimizer = new optim.SGD(model.parameters(), { lr });
  const initial = whole.value();
  let order: readonly number[] = [];
  let seen = 0;
  return {
    points: [[0, initial]],
    flips: [],
    pairs: [],
    isDiverged: false,
    step() {
      const at = seen++ % BATCHES;
      if (at === 0) {
        const gradients = batchGradients(model, loss, batches);
        order = random(() =>
          by === "signs"
            ? curriculum({ by, gradients })
            : by === "difficulty"
              ? curriculum({ by, difficulty: batches.map((batch) => objective(model, () => loss(batch)).value()) })
              : curriculum({ by, count: BATCHES }),
        );
        this.flips.push(gradientConfusion(order.map((i) => gradients[i]!)).signFlips);
        const pairs = gradients.flatMap((a, i) => gradients.slice(0, i).map((b) => signFlips(a, b)));
        this.pairs.push({ mean: average(pairs), variance: variance(pairs) });
      }
      optimizer.minimize(() => loss(batches[order[at]!]!)).dispose();
      if (seen % BATCHES) return;
      const after = whole.value();
      this.points.push([seen / BATCHES, after]);
      this.isDiverged = !(after < DIVERGED * initial);
    },
    dispose() {
      for (const one of [whole, optimizer, model, ...batches.flat()]) one.dispose();
    },
  };
}

/**
 * A network and its batches. The inputs of each batch are centred at a different point, so the batches' gradients
 * differ.
 */
function start(noise: number) {
  const model = new nn.Sequential(new nn.Linear(6, 12), new nn.Tanh(), new nn.Linear(12, 1));
  const batches = tidy(() => {
    const teacher = randn([6, 1]);
    return Array.from({ length: BATCHES }, (): readonly [x: Tensor, y: Tensor] => {
      const x = randn([SIZE, 6])
        .mul(0.5)
        .add(randn([1, 6]));
      return [
        x,
        x
          .matmul(teacher)
          .tanh()
          .add(randn([SIZE, 1]).mul(noise)),
      ];
    });
  });
  return { model, batches };
}

const ORDERS: readonly Order[] = ["random", "difficulty", "signs"];
const finalLoss = ({ points }: Run): number => points.at(-1)![1];
/** Pairs of runs in the two orders, on the same data, of which neither has diverged. */
const pairsOf = ({ runs }: Result, other: Result): [Run, Run][] =>
  runs.flatMap((run, i): [Run, Run][] => {
    const paired = other.runs[i]!;
    return run.isDiverged || paired.isDiverged ? [] : [[run, paired]];
  });
const meanOf = (curves: readonly (readonly Point[])[]): Point[] =>
  (curves[0] ?? []).map(([x], i) => [x, average(curves.map((points) => points[i]![1]))]);
/** The standard error of the curves' mean at each point. */
const standardErrorOf = (curves: readonly (readonly Point[])[]): number[] =>
  (curves[0] ?? []).map((_, i) => Math.sqrt(variance(curves.map((points) => points[i]![1])) / curves.length));
/** The mean over all runs, for each epoch that every run reached. */
const byEpoch = (rows: readonly (readonly number[])[]): Point[] =>
  rows[0]!
    .map((_, i): Point => [i + 1, average(rows.map((row) => row[i] ?? Number.NaN))])
    .filter(([, value]) => Number.isFinite(value));
const labelOf = (by: Order): string => (by === "random" ? "random" : `by ${by}`);
