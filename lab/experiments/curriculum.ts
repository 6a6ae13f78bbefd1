/** The order of mini-batches: random, by difficulty, or by similarity of gradient signs. */
import { losses, manualSeed, nn, optim, randn, type Tensor } from "nabla";
import { batchGradients, curriculum, gradientConfusion, objective, signFlips } from "nabla/gradients";
import { experiment } from "../experiment.ts";
import { average, plusMinus, variance } from "../statistics.ts";

const BATCHES = 32;
const SIZE = 8;
/** The number of trainings in each order, with different data and initial weights. */
const REPEATS = 4;
/** A training run has diverged if its loss is this many times the initial loss, or not a number. */
const DIVERGED = 100;

type Order = "random" | "difficulty" | "signs";
/** One training run. */
interface Run {
  readonly points: [batches: number, loss: number][];
  /** The mean fraction of signs that flip from batch to batch, for each epoch before a divergence. */
  readonly flips: number[];
  /** The mean and the variance of that fraction over all pairs of batches, for each epoch. */
  readonly pairs: { readonly mean: number; readonly variance: number }[];
  readonly isDiverged: boolean;
}

export default experiment({
  name: "curriculum",
  title: "Curricula: the order of mini-batches",
  section: "Stochasticity and Gradient Confusion",
  claim:
    "Ordering mini-batches so that the signs of successive gradients differ little gives the optimizer a smoother, more consistent path than a random order. A smoother path need not be a faster one: compare the losses over several seeds.",
  formula:
    "d(a,b)=\\frac1n\\sum_i\\bigl[\\operatorname{sign} g^{(a)}_i\\ne\\operatorname{sign} g^{(b)}_i\\bigr],\\qquad \\text{next}=\\arg\\min_b d(\\text{last},b)",
  functions: ["curriculum", "signFlips", "gradientConfusion", "batchGradients", "objective"],
  parameters: {
    noise: { kind: "number", label: "noise of the targets", min: 0, max: 2, default: 0.5, step: 0.1 },
    lr: { kind: "number", label: "learning rate", min: 0.01, max: 0.2, default: 0.1, scale: "log" },
    epochs: { kind: "number", label: "epochs", min: 1, max: 10, default: 4, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  async run({ noise, lr, epochs, seed }, { progress }) {
    const make = (repeat: number) => {
      manualSeed(REPEATS * seed + repeat);
      const model = new nn.Sequential(new nn.Linear(6, 12), new nn.Tanh(), new nn.Linear(12, 1));
      // The batches differ in kind: each batch's inputs are centred at a different point.
      const teacher = randn([6, 1]);
      const batches = Array.from({ length: BATCHES }, (): readonly [Tensor, Tensor] => {
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
      const loss = ([x, y]: readonly [Tensor, Tensor]) => losses.mse(model.forward(x), y);
      const whole = objective(model, () =>
        batches
          .map(loss)
          .reduce((a, b) => a.add(b))
          .div(BATCHES),
      );
      return { model, batches, loss, whole };
    };
    const train = async (by: Order, repeat: number): Promise<Run> => {
      const { model, batches, loss, whole } = make(repeat);
      const optimizer = new optim.SGD(model.parameters(), { lr });
      const initial = whole.value();
      const run: Run = { points: [[0, initial]], flips: [], pairs: [], isDiverged: false };
      for (let epoch = 0; epoch < epochs; epoch++) {
        const gradients = batchGradients(model, loss, batches);
        const order =
          by === "signs"
            ? curriculum({ by, gradients })
            : by === "difficulty"
              ? curriculum({ by, difficulty: batches.map((batch) => objective(model, () => loss(batch)).value()) })
              : curriculum({ by, count: BATCHES });
        run.flips.push(gradientConfusion(order.map((i) => gradients[i]!)).signFlips);
        const pairs = gradients.flatMap((a, i) => gradients.slice(0, i).map((b) => signFlips(a, b)));
        run.pairs.push({ mean: average(pairs), variance: variance(pairs) });
        for (const [k, i] of order.entries()) {
          optimizer.minimize(() => loss(batches[i]!)).dispose();
          if ((k + 1) % 4 === 0) run.points.push([epoch * BATCHES + k + 1, whole.value()]);
        }
        if (!(run.points.at(-1)![1] < DIVERGED * initial)) return { ...run, isDiverged: true };
        await progress((ORDERS.indexOf(by) + (repeat + (epoch + 1) / epochs) / REPEATS) / ORDERS.length, by);
      }
      return run;
    };
    const results: { by: Order; runs: Run[] }[] = [];
    for (const by of ORDERS) {
      const runs: Run[] = [];
      for (let repeat = 0; repeat < REPEATS; repeat++) runs.push(await train(by, repeat));
      results.push({ by, runs });
    }
    const [random, , signs] = results as [(typeof results)[0], (typeof results)[0], (typeof results)[0]];
    const pairs = random.runs.flatMap((run) => run.pairs);
    const expected = average(pairs.map(({ mean }) => mean));
    const error = Math.sqrt(average(pairs.map((pair) => pair.variance)) / (BATCHES - 1) / pairs.length);
    // Checks the claim without training, on eight sign patterns for which the best order is known.
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
            "six steps along edges flip 1 of 3 signs, and the step to the corner left over flips all 3; a random order flips 4/7",
        },
      ],
      plots: [
        {
          title: "Loss: each run, and the mean",
          x: { label: "mini-batches seen" },
          y: { label: "loss", scale: "log" },
          series: results.flatMap(({ by, runs }, order) => {
            const first = order * (REPEATS + 1);
            return [
              { name: labelOf(by), points: meanOf(runs) },
              ...runs.map(({ points }, i) => ({
                name: `${labelOf(by)}, run ${i + 1}`,
                points,
                style: "reference" as const,
                sameAs: first,
              })),
            ];
          }),
        },
      ],
      tables: [
        {
          title: `Mean ± standard error of ${REPEATS} runs on the same data`,
          columns: ["order", "sign flips", "final loss", "final loss minus that in random order", "diverged"],
          rows: results.map((result) => [
            labelOf(result.by),
            plusMinus(result.runs.map(({ flips }) => average(flips))),
            plusMinus(result.runs.filter((run) => !run.isDiverged).map(finalLoss)),
            plusMinus(
              result.runs.flatMap((run, i) => {
                const paired = random.runs[i]!;
                return run.isDiverged || paired.isDiverged ? [] : finalLoss(run) - finalLoss(paired);
              }),
            ),
            `${result.runs.filter((run) => run.isDiverged).length} of ${REPEATS}`,
          ]),
        },
      ],
    };
  },
});

const ORDERS: readonly Order[] = ["random", "difficulty", "signs"];
const finalLoss = ({ points }: Run): number => points.at(-1)![1];
/** The geometric mean of the losses of all runs, as long as none diverges. */
const meanOf = (runs: readonly Run[]): Run["points"] =>
  runs[0]!.points.flatMap(([x], i) => {
    const losses = runs.map(({ points }) => points[i]?.[1] ?? Number.NaN);
    return losses.every(Number.isFinite) ? [[x, Math.exp(average(losses.map(Math.log)))]] : [];
  });
const labelOf = (by: Order): string => (by === "random" ? "random" : `by ${by}`);
