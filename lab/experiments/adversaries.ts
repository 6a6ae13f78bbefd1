/**
 * Small changes along the gradient with respect to the inputs flip a network's answers. Training on inputs with such
 * changes makes the answers harder to flip.
 */
import { grad, losses, nn, type Tensor, tidy } from "nabla";
import { adversarialLoss, fgsm, pgd } from "nabla/gradients";
import { type Digits, SIDE } from "../../cli/mnist/packed.ts";
import type { Finding, Picture } from "../experiment.ts";
import { accuracy, images, labels, newTrainer, read } from "../network.ts";
import { fork, generator } from "../random.ts";
import { significant } from "../statistics.ts";
import { stream } from "../stream.ts";

const PIXELS = SIDE * SIDE;
/** The number of unseen digits to attack. */
const TESTED = 300;
/** The two digits that the linear model distinguishes. */
const [ONE, OTHER] = [3, 7];
const EPSILONS = [0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3];
/** An ε small enough for the loss to be nearly linear within this distance. */
const TINY = 1e-4;
const PIXEL = { min: 0, max: 1 };

export default stream({
  name: "adversaries",
  title: "Adversaries",
  section: "Applications and Interdisciplinary Connections",
  claim:
    "The gradient of the loss with respect to the inputs also shows how to mislead a network: a step of ε along its sign reduces the margin of a linear model by exactly ε‖w‖₁. This is the fast gradient sign method, FGSM. Projected gradient descent, PGD, takes several smaller steps within the same limit. Training on such inputs makes the network harder to mislead.",
  formula:
    "\\boldsymbol x_{\\mathrm{adv}} = \\boldsymbol x + \\varepsilon\\,\\mathrm{sign}\\,\\nabla_{\\boldsymbol x} L, \\qquad L(\\boldsymbol x_{\\mathrm{adv}}) - L(\\boldsymbol x) \\approx \\varepsilon\\,\\|\\nabla_{\\boldsymbol x} L\\|_1",
  functions: ["fgsm", "pgd", "adversarialLoss"],
  parameters: {
    epsilon: { kind: "number", label: "ε, relative to the range from paper to ink", min: 0.02, max: 0.3, default: 0.1 },
    steps: { kind: "number", label: "PGD steps", min: 2, max: 40, default: 10, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 999, default: 1, integer: true },
  },
  long: true,
  dependsOn: ["epsilon", "seed"],
  async init({ epsilon, seed }, { digits }) {
    const data = await digits();
    // Both networks start from the same weights.
    const random = [generator(seed), generator(seed), generator(seed)] as const;
    const linear = random[0](() => new nn.Sequential(new nn.Flatten(), new nn.Linear(PIXELS, 1)));
    const [plain, robust] = [random[1](network), random[2](network)];
    const trainers = [
      newTrainer(linear, only(data.train), {
        epochs: 5,
        lr: 1e-3,
        loss: (x, y) => logistic(linear, x, signs(y)).mean(),
        random: random[0],
      }),
      newTrainer(plain, data.train, { epochs: 3, lr: 2e-3, random: random[1] }),
      newTrainer(robust, data.train, {
        epochs: 3,
        lr: 2e-3,
        loss: (x, y) =>
          adversarialLoss(
            (z) => losses.crossEntropy(robust.forward(z), y),
            x,
            (lossOf, z) => fgsm(lossOf, z, { epsilon, ...PIXEL }),
          ),
        random: random[2],
      }),
    ];
    const both = [
      { name: "plain training", model: plain },
      { name: "adversarial training", model: robust },
    ];
    return { data, linear, both, random: random[0], trainers, done: trainers.map(() => 0) };
  },
  step(state) {
    state.done = state.done.map((done, i) => (done < 1 ? state.trainers[i]!.step() : done));
    return Math.min(...state.done);
  },
  draw: ({ data, both }, { epsilon }) => ({
    plots: [],
    gallery: "A digit, attacked",
    pictures: tidy(() => both.flatMap(({ name, model }, i) => picturesOf(name, model, data.test, epsilon, i === 0))),
  }),
  async measure({ data, linear, both, random }, { epsilon, steps }, { progress }) {
    await progress(0, "attacking");
    const findings = fork(random)(() => tidy(() => linearFindings(linear, only(data.test), epsilon, steps)));
    const measured = both.map(({ model }) => tidy(() => measureNetwork(model, data.test, epsilon, steps)));
    const [before, after] = measured as [Measured, Measured];
    return {
      findings: [
        ...findings,
        ...both.map(({ name }, i) => ({
          text: `${name}: increase in the loss at ε = ${TINY}, divided by ε‖∂L/∂x‖₁`,
          measured: measured[i]!.firstOrder,
          expected: { equals: 1, within: 0.05 },
          theory: "the first Taylor term: the dot product of the step and the gradient is ε‖∂L/∂x‖₁",
        })),
        ...both.map(({ name }, i) => ({
          text: `${name}: loss under PGD divided by loss under FGSM`,
          measured: measured[i]!.ratio,
          expected: { atLeast: 1 },
          theory: "many small steps follow the gradient as it turns; one large step cannot (Madry et al. 2018)",
        })),
        {
          text: "accuracy under PGD: adversarial training minus plain training",
          measured: after.kept - before.kept,
          // Require no minimum gain: if FGSM's single step is large, training on FGSM helps little against other
          // attacks (Madry et al. 2018, §5.1).
          expected: { atLeast: 0 },
          theory: "adversarial training lowers the loss at attacked inputs (Goodfellow et al. 2015, §6)",
        },
      ],
      plots: [
        {
          title: "Accuracy under attack",
          x: { label: "ε" },
          y: { label: "accuracy" },
          series: both.flatMap(({ name }, i) => [
            { name: `${name}: FGSM`, points: measured[i]!.fgsm },
            { name: `${name}: PGD`, points: measured[i]!.pgd },
          ]),
        },
      ],
      tables: [
        {
          title: `${TESTED} unseen digits, ε = ${epsilon}`,
          columns: ["training", "accuracy", "under FGSM", "under PGD", "mean ‖∂L/∂x‖₁"],
          rows: both.map(({ name }, i) => {
            const { right, single, kept, slope } = measured[i]!;
            return [name, ...[right, single, kept, slope].map((v) => significant(v, 3))];
          }),
        },
      ],
    };
  },
  dispose({ linear, both, trainers }) {
    for (const one of [...trainers, linear, ...both.map(({ model }) => model)]) one.dispose();
  },
});

const network = (): nn.Module =>
  new nn.Sequential(new nn.Flatten(), new nn.Linear(PIXELS, 64), new nn.ReLU(), new nn.Linear(64, 10));

/** Selects the digits ONE and OTHER. */
function only({ count, pixels, labels: all }: Digits): Digits {
  const picks = Array.from({ length: count }, (_, i) => i).filter((i) => all[i] === ONE || all[i] === OTHER);
  const kept = new Uint8Array(picks.length * PIXELS);
  picks.forEach((pick, i) => kept.set(pixels.subarray(pick * PIXELS, (pick + 1) * PIXELS), i * PIXELS));
  return { count: picks.length, pixels: kept, labels: Uint8Array.from(picks, (pick) => all[pick]!) };
}

/** 1 for ONE, −1 for OTHER. */
const signs = (y: Tensor): Tensor => y.eq(ONE).to("float32").mul(2).sub(1);
const marginsOf = (model: nn.Module, x: Tensor, y: Tensor): Tensor => (model.forward(x) as Tensor).reshape([-1]).mul(y);
/** log(1 + exp(−y·z)), [n]. */
const logistic = (model: nn.Module, x: Tensor, y: Tensor): Tensor => marginsOf(model, x, y).neg().softplus();

/** Compares a linear model with theory. Here, attacked pixels may leave the range from 0 to 1. */
function linearFindings(model: nn.Sequential, data: Digits, epsilon: number, steps: number): Finding[] {
  const x = images(data, 0, data.count);
  const y = signs(labels(data, 0, data.count));
  const lossOf = (z: Tensor): Tensor => logistic(model, z, y);
  const length = model.parameters()[0]!.abs().sum().item();
  const [margins, attacked] = [x, fgsm(lossOf, x, { epsilon })].map((z) => marginsOf(model, z, y)) as [Tensor, Tensor];
  const predicted = margins.sub(epsilon * length);
  const rightOf = (m: Tensor): number => m.gt(0).to("float32").mean().item();
  const random = lossOf(pgd(lossOf, x, { epsilon, steps, stepSize: epsilon }))
    .mean()
    .item();
  return [
    {
      text: "linear model: mean margin lost under FGSM, divided by ε‖w‖₁",
      measured: margins.sub(attacked).mean().item() / (epsilon * length),
      // The tolerance allows for the float32 rounding of sums of 784 products.
      expected: { equals: 1, within: 1e-5 },
      theory: "−ε·sign(w)·w = −ε‖w‖₁, for every input (Goodfellow et al. 2015, §4)",
    },
    {
      text: "linear model: increase in the loss under FGSM, divided by the increase if all margins fall by ε‖w‖₁",
      measured:
        (lossOf(fgsm(lossOf, x, { epsilon }))
          .mean()
          .item() -
          lossOf(x).mean().item()) /
        (predicted.neg().softplus().mean().item() - margins.neg().softplus().mean().item()),
      expected: { equals: 1, within: 1e-5 },
      theory: "log(1 + exp(ε‖w‖₁ − m)) for a margin m",
    },
    {
      text: "linear model: accuracy under FGSM minus the fraction of margins above ε‖w‖₁",
      measured: rightOf(attacked) - rightOf(predicted),
      expected: { equals: 0, within: 1 / data.count },
      theory: "no change within ε lowers a margin by more than ε‖w‖₁, and FGSM lowers it by that much",
    },
    {
      text: "linear model: loss under PGD from a random start, divided by loss under FGSM",
      measured:
        random /
        lossOf(fgsm(lossOf, x, { epsilon }))
          .mean()
          .item(),
      expected: { equals: 1, within: 1e-5 },
      theory: "the sign of the gradient is the same everywhere, so both end in the same corner of the box",
    },
  ];
}

interface Measured {
  readonly right: number;
  readonly single: number;
  readonly kept: number;
  readonly slope: number;
  readonly firstOrder: number;
  readonly ratio: number;
  readonly fgsm: readonly [epsilon: number, accuracy: number][];
  readonly pgd: readonly [epsilon: number, accuracy: number][];
}

function measureNetwork(model: nn.Module, data: Digits, epsilon: number, steps: number): Measured {
  const [x, y] = [images(data, 0, TESTED), labels(data, 0, TESTED)];
  const lossOf = (z: Tensor): Tensor => losses.crossEntropy(model.forward(z), y, { reduction: "none" });
  const mean = (z: Tensor): number => lossOf(z).mean().item();
  const one = (e: number): Tensor => fgsm(lossOf, x, { epsilon: e, ...PIXEL });
  const many = (e: number): Tensor => pgd(lossOf, x, { epsilon: e, steps, randomStart: false, ...PIXEL });
  const slope = grad((z: Tensor) => lossOf(z).sum())(x)
    .flatten(1)
    .norm(1, 1)
    .mean()
    .item();
  const curve = (attack: (e: number) => Tensor): [number, number][] =>
    EPSILONS.map((e) => [
      e,
      accuracy(
        model,
        tidy(() => attack(e)),
        y,
      ),
    ]);
  return {
    right: accuracy(model, x, y),
    single: accuracy(model, one(epsilon), y),
    kept: accuracy(model, many(epsilon), y),
    slope,
    // Pixels may leave the range from 0 to 1 here: clamping them would shorten the step.
    firstOrder: (mean(fgsm(lossOf, x, { epsilon: TINY })) - mean(x)) / (TINY * slope),
    ratio: mean(many(epsilon)) / mean(one(epsilon)),
    fgsm: curve(one),
    pgd: curve(many),
  };
}

/**
 * Creates pictures of the change that an attack makes to a digit, and of the attacked digit with the network's answers.
 * If `first` is true, also creates a picture of the digit.
 */
function picturesOf(name: string, model: nn.Module, data: Digits, epsilon: number, first: boolean): Picture[] {
  const [x, y] = [images(data, 0, 1), labels(data, 0, 1)];
  const attacked = pgd((z) => losses.crossEntropy(model.forward(z), y), x, {
    epsilon,
    steps: 20,
    randomStart: false,
    ...PIXEL,
  });
  const picture = (title: string, colours: Picture["colours"], values: Tensor): Picture => ({
    title,
    width: SIDE,
    height: SIDE,
    colours,
    cell: 6, // Three pictures of this size fit in a row of the page, so each network gets its own row.
    values: Array.from(values.data),
  });
  const answer = (z: Tensor): number => read(model, z)[0]!;
  return [
    ...(first ? [picture("a digit", "grey", x)] : []),
    picture(`change by PGD, divided by ε: ${name}`, "diverging", attacked.sub(x).div(epsilon)),
    picture(`read as ${answer(attacked)} (before: ${answer(x)}): ${name}`, "grey", attacked),
  ];
}
