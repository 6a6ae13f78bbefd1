/**
 * Explains in six ways which pixels a network's answer depends on, and compares the explanations with the effect of
 * covering pixels.
 */
import { nn, randn, type Tensor, tensor, tidy } from "nabla";
import { gradCam, gradientTimesInput, integratedGradients, occlusion, saliency, smoothGrad } from "nabla/gradients";
import { type Digits, SIDE } from "../../cli/mnist/packed.ts";
import type { Picture, Series } from "../experiment.ts";
import { accuracy, images, labels, newTrainer, read } from "../network.ts";
import { fork, generator } from "../random.ts";
import { stream } from "../stream.ts";

const PIXELS = SIDE * SIDE;
/** The number of test digits over which the findings average. */
const DIGITS = 40;
/** The side of a covered block, in pixels. */
const BLOCK = 2;
/** The fractions of the ink to remove. */
const SHARES = [0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1];

export default stream({
  name: "saliency",
  title: "What a network looks at",
  section: "Applications and Interdisciplinary Connections",
  claim:
    "The gradient of a score with respect to the inputs shows which pixels an answer depends on. Integrated along a path, it distributes the whole score over the pixels, and removing the pixels with the largest shares lowers the score much faster than removing random ones. With the default settings, removing pixels by gradient × input or SmoothGrad × input works too; plain saliency works less well, and Grad-CAM, which shows only a region, hardly works at all. In maps with two colours, orange pixels raise the score and blue ones lower it.",
  formula:
    "\\mathrm{IG}_i(\\boldsymbol x) = x_i\\int_0^1 \\frac{\\partial f}{\\partial x_i}(\\alpha\\boldsymbol x)\\,d\\alpha, \\qquad \\sum_i \\mathrm{IG}_i(\\boldsymbol x) = f(\\boldsymbol x) - f(\\boldsymbol 0)",
  functions: ["saliency", "gradientTimesInput", "integratedGradients", "smoothGrad", "gradCam", "occlusion"],
  parameters: {
    digit: { kind: "number", label: "test digit", min: 0, max: 999, default: 0, integer: true },
    steps: { kind: "number", label: "points on the path", min: 8, max: 256, default: 64, integer: true, scale: "log" },
    noise: { kind: "number", label: "SmoothGrad's noise, relative to the range", min: 0.05, max: 0.5, default: 0.2 },
    seed: { kind: "number", label: "seed", min: 1, max: 999, default: 1, integer: true },
  },
  long: true,
  dependsOn: ["seed"],
  async init({ seed }, { digits }) {
    const data = await digits();
    const random = generator(seed);
    const { model, camLayer } = random(network);
    const trainer = newTrainer(model, data.train, { epochs: 2, lr: 3e-3, random });
    return { data, random, model, camLayer, trainer, measured: undefined as Measured | undefined };
  },
  step: ({ trainer }) => trainer.step(),
  draw: ({ data, random, model, camLayer }, { digit, steps, noise }) => ({
    plots: [],
    gallery: "A digit, explained",
    pictures: fork(random)(() => tidy(() => picturesOf(model, camLayer, images(data.test, digit, 1), steps, noise))),
  }),
  async measure(state, { steps, noise }, { progress }) {
    // The findings depend only on `steps` and `noise`, so keep them if the reader only chooses another digit to draw.
    if (state.measured?.steps !== steps || state.measured.noise !== noise) {
      await progress(0, `explaining ${DIGITS} digits`);
      state.measured = { steps, noise, ...fork(state.random)(() => tidy(() => explain(state, steps, noise))) };
    }
    const { right, completeness, by, area, inkless, steady, curves, near } = state.measured;
    return {
      findings: [
        {
          text: "accuracy on 1,000 unseen digits",
          measured: right,
          expected: { atLeast: 0.88 },
          theory: "the network has learned something to explain",
        },
        {
          text: "integrated gradients: mean error of the sum over pixels, divided by the mean of |f(x) − f(0)|",
          measured:
            mean(completeness.map((c) => Math.abs(c.error))) / mean(completeness.map((c) => Math.abs(c.difference))),
          expected: { atMost: 0.5 / steps },
          theory:
            "completeness (Sundararajan et al. 2017, proposition 1); with ReLU's kinks, the error of n points is O(1/n)",
        },
        {
          text: "integrated gradients: share of the pixels without ink, which equal the baseline",
          measured: inkless,
          expected: { equals: 0, within: 0 },
          theory: "the factor xᵢ − x′ᵢ is 0",
        },
        {
          text: "integrated gradients: correlation with the decrease in the score when 2 × 2 pixels with ink are covered",
          measured: by["integrated gradients"]!,
          expected: { atLeast: 0.6 },
          theory:
            "both measure how the score changes towards blank paper, and agree to first order (Ancona et al. 2018)",
        },
        {
          text: "gradient × input: correlation with the decrease in the score when 2 × 2 pixels with ink are covered",
          measured: by["gradient × input"]!,
          expected: { atLeast: 0.5 },
          theory: "f(x) − f(x covered) ≈ Σ xᵢ·∂f/∂xᵢ over the covered pixels, to first order",
        },
        {
          text: "area under the curve of the remaining score: removal by integrated gradients divided by random removal",
          measured: area["integrated gradients"]! / area.random!,
          expected: { atMost: 0.6 },
          theory: "the score depends on the pixels with the largest attributions (deletion: Petsiuk et al. 2018)",
        },
        {
          text: "correlation of an explanation with itself after small noise: SmoothGrad minus the plain gradient",
          measured: steady.smooth - steady.plain,
          expected: { atLeast: 0 },
          theory: "the mean over noisy copies averages out the gradient's fluctuations (Smilkov et al. 2017)",
        },
      ],
      plots: [
        {
          title: "Score by pixels removed",
          x: { label: "fraction of the ink removed" },
          y: { label: "score, from 0 (blank) to 1 (all ink)" },
          series: curves,
        },
      ],
      tables: [
        {
          title: `Explanations of ${DIGITS} digits`,
          columns: [
            "explanation",
            "correlation with occlusion",
            "mean score while ink is removed",
            "% of the map within 2 pixels of ink",
          ],
          rows: Object.keys(by).map((name) => [
            name,
            round(by[name]!),
            round(area[name]!),
            round(100 * near[name]!, 1),
          ]),
        },
      ],
    };
  },
  dispose({ trainer, model }) {
    trainer.dispose();
    model.dispose();
  },
});

type Explained = ReturnType<typeof explain>;
interface Measured extends Explained {
  readonly steps: number;
  readonly noise: number;
}

/** Explains the network's answers for the first test digits, and compares the explanations with the effect of removing pixels. */
function explain(
  {
    data,
    model,
    camLayer,
  }: { readonly data: { readonly test: Digits }; readonly model: nn.Sequential; readonly camLayer: nn.Module },
  steps: number,
  noise: number,
) {
  const x = images(data.test, 0, DIGITS);
  const ink = pixelsOf(x);
  const classes = Int32Array.from(read(model, x));
  const target = tensor(classes);
  const integrated = integratedGradients(model, x, { target, steps });
  const maps: Record<string, Pixels[]> = {
    saliency: pixelsOf(saliency(model, x, { target })),
    "gradient × input": pixelsOf(gradientTimesInput(model, x, { target })),
    "integrated gradients": pixelsOf(integrated.attributions),
    "SmoothGrad × input": pixelsOf(smoothGrad(model, x, { target, noise, samples: 30 }).mul(x)),
    "Grad-CAM": pixelsOf(gradCam(model, camLayer, x, { target, resize: true })),
    occlusion: pixelsOf(occlusion(model, x, { target, window: BLOCK })),
  };
  const steady = steadiness(model, x, target, noise);
  const random = ink.map((digit) => randn([digit.length]).data as Float32Array);
  const all = { ...maps, random };
  const curves = Object.entries(all).map(([name, map]): Series => {
    const style = name === "random" ? "theory" : "line";
    return { name, style, points: deletion(model, ink, map, classes) };
  });
  const of = (value: (map: readonly Pixels[], name: string) => number): Record<string, number> =>
    Object.fromEntries(Object.entries(all).map(([name, map]) => [name, value(map, name)]));
  return {
    right: accuracy(model, images(data.test, 0, 1000), labels(data.test, 0, 1000)),
    completeness: integrated.completeness,
    steady,
    curves,
    area: Object.fromEntries(curves.map(({ name, points }) => [name, areaUnder(points)])),
    by: of((map, name) => {
      // Saliency has no sign, so compare it with the magnitudes of the drops.
      const control = maps.occlusion!.map((drops) => (name === "saliency" ? drops.map(Math.abs) : drops));
      return mean(map.map((one, i) => correlation(one, control[i]!, ink[i]!)));
    }),
    near: of((map) => mean(map.map((one, i) => nearInk(one, ink[i]!)))),
    inkless: mean(maps["integrated gradients"]!.map((map, i) => shareWhere(map, (at) => ink[i]![at] === 0))),
  };
}

/** A convolutional network, and the layer whose output Grad-CAM uses: [batch, 14, 14, 16]. */
function network(): { model: nn.Sequential; camLayer: nn.Module } {
  const camLayer = new nn.ReLU();
  const model = new nn.Sequential(
    new nn.Conv2d(1, 8, 3, { padding: "same" }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(8, 16, 3, { padding: "same" }),
    camLayer,
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear(7 * 7 * 16, 10),
  );
  return { model, camLayer };
}

/** One number per pixel. */
type Pixels = Float32Array;

/** The pixels of each sample. */
function pixelsOf(x: Tensor): Pixels[] {
  const values = x.data as Float32Array;
  return Array.from({ length: x.shape[0]! }, (_, i) => values.slice(i * PIXELS, (i + 1) * PIXELS));
}

const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
const mean = (values: ArrayLike<number>): number => sum(values) / values.length;
const round = (v: number, digits = 3): number => Number(v.toFixed(digits));

/** The Pearson correlation between two maps' sums over the blocks that contain ink. */
function correlation(a: Pixels, b: Pixels, ink: Pixels): number {
  const [p, q, inked] = [a, b, ink].map(blocks) as [number[], number[], number[]];
  return pearson(
    p.filter((_, i) => inked[i]! > 0),
    q.filter((_, i) => inked[i]! > 0),
  );
}
function pearson(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const [ma, mb] = [mean(a), mean(b)];
  const covariance = (u: ArrayLike<number>, mu: number, v: ArrayLike<number>, mv: number): number =>
    sum(Array.from(u, (value, i) => (value - mu) * (v[i]! - mv)));
  return covariance(a, ma, b, mb) / Math.sqrt(covariance(a, ma, a, ma) * covariance(b, mb, b, mb) || 1);
}
function blocks(map: Pixels): number[] {
  const side = SIDE / BLOCK;
  const sums = new Array<number>(side * side).fill(0);
  map.forEach((v, at) => {
    sums[Math.floor(at / SIDE / BLOCK) * side + Math.floor((at % SIDE) / BLOCK)]! += v;
  });
  return sums;
}

/** The fraction of Σ|map| at the pixels that meet the condition. */
function shareWhere(map: Pixels, condition: (at: number) => boolean): number {
  return sum(map.map((v, at) => (condition(at) ? Math.abs(v) : 0))) / (sum(map.map(Math.abs)) || 1);
}

/** The fraction of a map that is within 2 pixels of ink. */
function nearInk(map: Pixels, ink: Pixels): number {
  const near = (at: number): boolean => {
    const [row, column] = [Math.floor(at / SIDE), at % SIDE];
    for (let r = Math.max(0, row - 2); r <= Math.min(SIDE - 1, row + 2); r++)
      for (let c = Math.max(0, column - 2); c <= Math.min(SIDE - 1, column + 2); c++)
        if (ink[r * SIDE + c]! > 0.5) return true;
    return false;
  };
  return shareWhere(map, near);
}

/**
 * The score after removing fractions of the inked pixels, starting with those that have the largest values in the map: 1
 * with all ink, 0 with none.
 */
function deletion(
  model: nn.Module,
  ink: readonly Pixels[],
  maps: readonly Pixels[],
  classes: Int32Array,
): [number, number][] {
  const orders = ink.map((digit, i) => {
    const inked = Array.from(digit.keys()).filter((at) => digit[at]! > 0);
    return inked.sort((a, b) => maps[i]![b]! - maps[i]![a]!);
  });
  const scores = SHARES.map((share) =>
    tidy(() => {
      const left = new Float32Array(ink.length * PIXELS);
      ink.forEach((digit, i) => {
        left.set(digit, i * PIXELS);
        for (const at of orders[i]!.slice(0, Math.round(share * orders[i]!.length))) left[i * PIXELS + at] = 0;
      });
      const rows = model.forward(tensor(left, [ink.length, SIDE, SIDE, 1])).data as Float32Array;
      return Array.from(classes, (c, i) => rows[i * 10 + c]!);
    }),
  );
  const [all, none] = [mean(scores[0]!), mean(scores.at(-1)!)];
  return SHARES.map((share, k) => [share, (mean(scores[k]!) - none) / (all - none)]);
}
const areaUnder = (points: readonly (readonly [number, number])[]): number =>
  points.slice(1).reduce((area, [x, y], i) => area + ((y + points[i]![1]) / 2) * (x - points[i]![0]), 0);

/**
 * The correlation between the explanations of x and of x plus noise with standard deviation 0.05, for the plain
 * gradient and for SmoothGrad.
 */
function steadiness(model: nn.Module, x: Tensor, target: Tensor, noise: number): { plain: number; smooth: number } {
  const moved = x.add(randn(x.shape).mul(0.05));
  const compare = (explain: (z: Tensor) => Tensor): number => {
    const [a, b] = [x, moved].map((z) => pixelsOf(explain(z))) as [Pixels[], Pixels[]];
    return mean(a.map((one, i) => pearson(one, b[i]!)));
  };
  return {
    plain: compare((z) => smoothGrad(model, z, { target, noise: 0, samples: 1 })),
    smooth: compare((z) => smoothGrad(model, z, { target, noise, samples: 30 })),
  };
}

/** One digit and its explanations, each scaled to its largest value. */
function picturesOf(model: nn.Sequential, camLayer: nn.Module, x: Tensor, steps: number, noise: number): Picture[] {
  const scores = Array.from(model.forward(x).softmax(-1).data);
  const answer = scores.indexOf(Math.max(...scores));
  const picture = (title: string, colours: Picture["colours"], map: Tensor): Picture => {
    const values = Array.from(map.data);
    const largest = Math.max(...values.map(Math.abs)) || 1;
    return { title, width: SIDE, height: SIDE, colours, values: values.map((v) => v / largest) };
  };
  const target = answer;
  return [
    picture(`read as ${answer} (p = ${scores[answer]!.toFixed(2)})`, "grey", x),
    picture("saliency", "grey", saliency(model, x, { target })),
    picture("gradient × input", "diverging", gradientTimesInput(model, x, { target })),
    picture("integrated gradients", "diverging", integratedGradients(model, x, { target, steps }).attributions),
    picture("SmoothGrad", "diverging", smoothGrad(model, x, { target, noise, samples: 50 })),
    picture("Grad-CAM", "grey", gradCam(model, camLayer, x, { target, resize: true })),
    picture("occlusion, 4 × 4", "diverging", occlusion(model, x, { target, window: 4, stride: 1 })),
  ];
}
