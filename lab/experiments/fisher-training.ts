/** Training on digits with the Fisher matrix: K-FAC needs far fewer steps than Adam, but each step costs more. */
import { avgPool2d, losses, manualSeed, nn, optim, type Tensor } from "nabla";
import { KFAC, NaturalGradient } from "nabla/gradients";
import { experiment } from "../experiment.ts";
import { images, labels } from "../network.ts";

const LAST = 5;

export default experiment({
  name: "fisher-training",
  title: "Training with natural gradients",
  section: "The Natural Gradient: Descending in Information Space",
  claim:
    "Following the natural gradient leads to more stable convergence, often in far fewer steps. K-FAC approximates F layer by layer with small Kronecker factors.",
  formula:
    "F_\\ell\\approx A_{\\ell}\\otimes G_\\ell,\\quad A=\\mathbb E[\\bar a\\bar a^\\top],\\ G=\\mathbb E[gg^\\top],\\qquad \\Delta W=-G^{-1}\\,\\nabla_{\\!W}L\\,A^{-1}",
  functions: ["KFAC", "NaturalGradient"],
  long: true,
  parameters: {
    target: { kind: "number", label: "training loss to reach", min: 0.05, max: 0.5, default: 0.1, scale: "log" },
    steps: { kind: "number", label: "maximum number of steps", min: 20, max: 150, default: 60, integer: true },
    batch: { kind: "number", label: "digits per step", min: 100, max: 1000, default: 500, integer: true },
    adam: { kind: "number", label: "Adam's learning rate", min: 1e-3, max: 0.1, default: 0.02, scale: "log" },
    natural: { kind: "choice", label: "also run conjugate gradients", options: ["no", "yes"], default: "no" },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  async run({ target, steps, batch, adam, natural, seed }, { progress, digits }) {
    const { train } = await digits();
    const count = Math.min(Math.floor(train.count / batch), 6);
    const batches = Array.from({ length: count }, (_, i) => {
      // Half the resolution is enough to compare optimizers.
      const x = avgPool2d(images(train, i * batch, batch), 2).reshape([batch, -1]);
      return [x, labels(train, i * batch, batch)] as const;
    });
    const make = () => {
      manualSeed(seed);
      return new nn.Sequential(new nn.Linear(196, 48), new nn.Tanh(), new nn.Linear(48, 10));
    };
    const kinds: [string, (model: nn.Module) => (x: Tensor, y: Tensor) => number][] = [
      [
        "Adam",
        (model) => {
          const optimizer = new optim.Adam(model.parameters(), { lr: adam });
          return (x, y) => optimizer.minimize(() => losses.crossEntropy(model.forward(x) as Tensor, y)).item();
        },
      ],
      [
        "K-FAC",
        (model) => {
          const optimizer = new KFAC(model, { likelihood: "softmax", damping: 0.01 });
          return (x, y) => optimizer.minimize(() => model.forward(x) as Tensor, y);
        },
      ],
      ...(natural === "yes"
        ? [
            [
              "NaturalGradient",
              (model: nn.Module) => {
                const optimizer = new NaturalGradient(model, { likelihood: "softmax", lr: 0.5, iterations: 8 });
                return (x: Tensor, y: Tensor) => optimizer.minimize(() => model.forward(x) as Tensor, y);
              },
            ] as [string, (model: nn.Module) => (x: Tensor, y: Tensor) => number],
          ]
        : []),
    ];
    const runs = [];
    for (const [k, [name, optimizer]] of kinds.entries()) {
      const step = optimizer(make());
      const path: number[] = [];
      let seconds = 0;
      for (let i = 0; i < steps; i++) {
        const [x, y] = batches[i % count]!;
        const started = performance.now();
        path.push(step(x, y));
        seconds += (performance.now() - started) / 1000;
        if (i % 3 === 0) await progress((k + i / steps) / kinds.length, name);
      }
      // The loss of a mini-batch is noisy, so the mean of the last few steps must reach the target.
      const smooth = path.map(
        (_, i) => path.slice(Math.max(0, i - LAST + 1), i + 1).reduce((a, b) => a + b, 0) / Math.min(LAST, i + 1),
      );
      const reached = smooth.findIndex((loss) => loss <= target);
      runs.push({
        name,
        smooth,
        reached: reached < 0 ? Infinity : reached + 1,
        milliseconds: (1000 * seconds) / steps,
      });
    }
    const [first, kfac] = runs as [(typeof runs)[0], (typeof runs)[0]];
    return {
      findings: [
        {
          text: `steps to a training loss of ${target}: K-FAC divided by Adam`,
          measured: kfac.reached / Math.min(first.reached, steps + 1),
          expected: { atMost: 1 },
          theory: "with F⁻¹, steps along the floor of a ravine are as fast as across it (Martens and Grosse 2015)",
        },
        {
          text: "final loss: K-FAC divided by Adam",
          measured: kfac.smooth.at(-1)! / first.smooth.at(-1)!,
          expected: { atMost: 1 },
          theory: "the same",
        },
      ],
      plots: [
        {
          title: "Training loss, mean of the last 5 steps",
          x: { label: "step" },
          y: { label: "cross-entropy", scale: "log" },
          series: [
            ...runs.map(({ name, smooth }) => ({
              name,
              points: smooth.map((loss, i): [number, number] => [i + 1, loss]),
            })),
            {
              name: "target",
              points: [
                [1, target],
                [steps, target],
              ],
              style: "theory",
            },
          ],
        },
      ],
      tables: [
        {
          title: "Fewer steps, but each step costs more",
          columns: ["optimizer", "steps to the target", "milliseconds per step", "final loss"],
          rows: runs.map(({ name, reached, milliseconds, smooth }) => [
            name,
            Number.isFinite(reached) ? reached : `more than ${steps}`,
            milliseconds,
            smooth.at(-1)!,
          ]),
        },
      ],
    };
  },
});
