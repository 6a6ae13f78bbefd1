/** The order of mini-batches: random, by difficulty, or by similarity of gradient signs. */
import { losses, manualSeed, nn, optim, randn, type Tensor } from "nabla";
import { batchGradients, curriculum, gradientConfusion, objective } from "nabla/gradients";
import { experiment } from "../experiment.ts";

const BATCHES = 32;
const SIZE = 8;

export default experiment({
  name: "curriculum",
  title: "Curricula: the order of mini-batches",
  section: "Stochasticity and Gradient Confusion",
  claim:
    "Ordering mini-batches so that the signs of successive gradients differ little gives the optimizer a smoother, more consistent path than a random order.",
  formula:
    "d(a,b)=\\frac1n\\sum_i\\bigl[\\operatorname{sign} g^{(a)}_i\\ne\\operatorname{sign} g^{(b)}_i\\bigr],\\qquad \\text{next}=\\arg\\min_b d(\\text{last},b)",
  functions: ["curriculum", "signFlips", "gradientConfusion", "batchGradients"],
  parameters: {
    noise: { kind: "number", label: "noise of the targets", min: 0, max: 2, default: 0.5, step: 0.1 },
    lr: { kind: "number", label: "learning rate", min: 0.01, max: 0.2, default: 0.1, scale: "log" },
    epochs: { kind: "number", label: "epochs", min: 1, max: 10, default: 4, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  async run({ noise, lr, epochs, seed }, { progress }) {
    const make = () => {
      manualSeed(seed);
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
    const train = async (by: "random" | "difficulty" | "signs", place: number) => {
      const { model, batches, loss, whole } = make();
      const optimizer = new optim.SGD(model.parameters(), { lr });
      const points: [number, number][] = [[0, whole.value()]];
      let flips = 0;
      for (let epoch = 0; epoch < epochs; epoch++) {
        const order =
          by === "signs"
            ? curriculum({ by, gradients: batchGradients(model, loss, batches) })
            : by === "difficulty"
              ? curriculum({ by, difficulty: batches.map((batch) => objective(model, () => loss(batch)).value()) })
              : curriculum({ by, count: BATCHES });
        const before = batchGradients(
          model,
          loss,
          order.map((i) => batches[i]!),
        );
        flips += gradientConfusion(before).signFlips / epochs;
        for (const [k, i] of order.entries()) {
          optimizer.minimize(() => loss(batches[i]!)).dispose();
          if ((k + 1) % 4 === 0) points.push([epoch * BATCHES + k + 1, whole.value()]);
        }
        await progress((place + (epoch + 1) / epochs) / 3, by);
      }
      return { by, points, flips };
    };
    const runs = [await train("random", 0), await train("difficulty", 1), await train("signs", 2)];
    const [random, difficulty, signs] = runs as [(typeof runs)[0], (typeof runs)[0], (typeof runs)[0]];
    // Checks the claim without training, on eight sign patterns for which the best order is known.
    const cube = [0, 7, 1, 6, 2, 5, 3, 4].map((bits) => Float64Array.from([1, 2, 4], (bit) => (bits & bit ? 1 : -1)));
    const walked = gradientConfusion(curriculum({ by: "signs", gradients: cube }).map((i) => cube[i]!)).signFlips;
    return {
      findings: [
        {
          text: "sign flips in the order by signs, divided by those in random order, at the start of each epoch",
          measured: signs.flips / random.flips,
          expected: { atMost: 1 },
          theory: "the nearest remaining gradient comes next",
        },
        {
          text: "fraction of signs that flip along the order of the eight corners of a cube",
          measured: walked,
          expected: { atMost: 0.5 },
          theory: "neighbouring corners differ in 1 of 3 signs; random corners differ in 4/7 of them",
        },
        {
          text: "lowest loss during training divided by the initial loss, for the worst order",
          measured:
            Math.max(...runs.map(({ points }) => Math.min(...points.slice(1).map(([, loss]) => loss)))) /
            random.points[0]![1],
          expected: { atMost: 1 },
          theory: "every order lowers the loss",
        },
      ],
      plots: [
        {
          title: "The loss over all batches",
          x: { label: "mini-batches seen" },
          y: { label: "loss", scale: "log" },
          series: runs.map(({ by, points }) => ({ name: by === "random" ? "random" : `by ${by}`, points })),
        },
      ],
      tables: [
        {
          title: "Smoother is not always faster",
          columns: ["order", "sign flips", "final loss"],
          rows: [random, difficulty, signs].map(({ by, flips, points }) => [by, flips, points.at(-1)![1]]),
        },
      ],
    };
  },
});
