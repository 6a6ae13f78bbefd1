/** Measures how much the gradients of mini-batches disagree, by sign flips, cosines and the noise scale. */
import { losses, manualSeed, nn, optim, randn, type Tensor } from "nabla";
import {
  batchGradients,
  type Confusion,
  gradientConfusion,
  gradientNoiseScale,
  logSlope,
  type NoiseScale,
  type PerSample,
  perSampleGradients,
} from "nabla/gradients";
import { experiment } from "../experiment.ts";
import { average } from "../statistics.ts";

const SAMPLES = 512;
const SIZES = [1, 2, 4, 8, 16, 32, 64];

/**
 * The expected fraction of components whose sign flips between batches, computed from each component's mean and standard
 * deviation over samples.
 */
function expectedFlips(samples: PerSample, size: number): number {
  const parts = Object.values(samples).map((g) => {
    const centre = g.mean(0);
    const z = centre
      .abs()
      .div(g.std(0).add(1e-12))
      .mul(Math.sqrt(size / 2));
    // Φ(−|m|√B/s) = ½(1 − erf(|m|√(B/2)/s)).
    const p = z.erf().neg().add(1).mul(0.5);
    return { flips: p.mul(p.neg().add(1)).mul(2).sum().item(), count: centre.size };
  });
  return parts.reduce((sum, { flips }) => sum + flips, 0) / parts.reduce((sum, { count }) => sum + count, 0);
}

/** The relative standard error of the mean squared distance between gradients and their mean. */
function relativeError(gradients: readonly Float64Array[]): number {
  const mean = gradients[0]!.map((_, i) => average(gradients.map((g) => g[i]!)));
  const squares = gradients.map((g) => g.reduce((sum, v, i) => sum + (v - mean[i]!) ** 2, 0));
  const spread = average(squares.map((v) => v * v)) / average(squares) ** 2 - 1;
  return Math.sqrt(spread / gradients.length);
}

export default experiment({
  name: "gradient-confusion",
  title: "Gradient confusion",
  section: "Stochasticity and Gradient Confusion",
  claim:
    "Gradients of different mini-batches point in conflicting directions. The fraction of components whose sign flips measures the conflict. Larger batches disagree less.",
  formula:
    "\\hat g_B=\\nabla L+\\frac{\\varepsilon}{\\sqrt B},\\qquad B_{\\text{simple}}=\\frac{\\operatorname{tr}\\Sigma}{\\|\\nabla L\\|^2}",
  functions: ["gradientConfusion", "gradientNoiseScale", "batchGradients", "perSampleGradients", "logSlope"],
  parameters: {
    noise: { kind: "number", label: "noise of the targets", min: 0.1, max: 5, default: 1, scale: "log" },
    steps: { kind: "number", label: "training steps before measuring", min: 0, max: 300, default: 0, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  async run({ noise, steps, seed }, { progress }) {
    manualSeed(seed);
    const model = new nn.Sequential(new nn.Linear(8, 16), new nn.Tanh(), new nn.Linear(16, 1));
    const x = randn([SAMPLES, 8]);
    const y = x
      .matmul(randn([8, 1]))
      .tanh()
      .add(randn([SAMPLES, 1]).mul(noise));
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    for (let i = 0; i < steps; i++) optimizer.minimize(() => losses.mse(model.forward(x), y)).dispose();
    const of = (size: number) => {
      const batches = Array.from(
        { length: SAMPLES / size },
        (_, i) => [x.narrow(0, i * size, size), y.narrow(0, i * size, size)] as const,
      );
      return batchGradients(model, ([a, b]: readonly [Tensor, Tensor]) => losses.mse(model.forward(a), b), batches);
    };
    let error = 0;
    const rows: ({ readonly size: number } & Confusion & NoiseScale)[] = [];
    for (const size of SIZES) {
      const gradients = of(size);
      if (size === 8) error = relativeError(gradients);
      rows.push({ size, ...gradientConfusion(gradients.slice(0, 64)), ...gradientNoiseScale(gradients, size) });
      await progress((SIZES.indexOf(size) + 1) / SIZES.length, "mini-batches");
    }
    // tr Σ, computed from per-sample gradients instead of batches.
    const samples = perSampleGradients(model, (a, b) =>
      losses.mse(model.forward(a), b, { reduction: "none" }).mean(-1),
    )(x, y);
    const trace = Object.values(samples).reduce(
      (sum, g) =>
        sum +
        g
          .sub(g.mean(0, { keepdim: true }))
          .square()
          .sum()
          .item() /
          (SAMPLES - 1),
      0,
    );
    const points = (key: "signFlips" | "meanCosine"): [number, number][] => rows.map((row) => [row.size, row[key]]);
    const scale = rows[3]!.scale;
    // The variance of a mini-batch's gradient: E‖g − ∇L‖² = tr Σ/B.
    const deviations = rows.map((row): [number, number] => [row.size, row.noise / row.size]);
    return {
      findings: [
        {
          text: "tr Σ from mini-batches of 8, divided by tr Σ from per-sample gradients",
          measured: rows[3]!.noise / trace,
          expected: { equals: 1, within: 4 * error },
          theory: "McCandlish et al. 2018, A.1: an unbiased estimate",
        },
        {
          text: "growth of the gradient's variance with the batch size (slope on a log-log plot)",
          measured: logSlope(deviations.slice(0, -1)),
          expected: { equals: -1, within: 0.2 },
          theory: "tr Σ/B",
        },
        {
          text: "sign flips with batches of 16, predicted from per-sample gradients",
          measured: rows[4]!.signFlips,
          // There are only 31 pairs of batches, and components do not flip independently, so 0.1 is about three
          // standard errors.
          expected: { equals: expectedFlips(samples, 16), within: 0.1 },
          theory:
            "2p(1 − p) for each component, p = Φ(−|mean|·√B/deviation), because a batch's gradient is nearly normal",
        },
        ...(Number.isFinite(scale) && scale < SAMPLES
          ? [
              {
                text: "mean cosine with batches of 64, predicted from the noise scale of batches of 8",
                measured: rows.at(-1)!.meanCosine,
                expected: { equals: 1 / (1 + scale / 64), within: 0.2 } as const,
                theory: "‖∇L‖²/(‖∇L‖² + tr Σ/B) = 1/(1 + noise scale/B)",
              },
            ]
          : []),
      ],
      plots: [
        {
          title: "Agreement by batch size",
          x: { label: "batch size", scale: "log", integer: true },
          y: { label: "share of signs, cosine" },
          series: [
            { name: "signs that flip", points: points("signFlips") },
            { name: "mean cosine", points: points("meanCosine") },
            ...(Number.isFinite(scale)
              ? [
                  {
                    name: "predicted cosine",
                    points: SIZES.map((b): [number, number] => [b, 1 / (1 + scale / b)]),
                    style: "theory" as const,
                  },
                ]
              : []),
          ],
        },
      ],
      tables: [
        {
          title: "By batch size",
          columns: ["batch", "sign flips", "mean cosine", "noise tr Σ", "‖∇L‖²", "noise scale"],
          rows: rows.map((r) => [r.size, r.signFlips, r.meanCosine, r.noise, r.signal, r.scale]),
        },
      ],
    };
  },
});
