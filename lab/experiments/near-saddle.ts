/**
 * Gradient descent crawls near a saddle, and stochastic gradient descent escapes. The saddle belongs to a real network, a
 * linear autoencoder with one hidden unit, x̂ = w(w·x), whose loss looks like θ₁² − θ₂² there.
 */
import { compile, grad, manualSeed, optim, randint, randn, type Tensor, tensor, tidy } from "nabla";
import { classifyCriticalPoint, gradientDescent, objective, predictedEscape } from "nabla/gradients";
import type { Finding } from "../experiment.ts";
import { average } from "../statistics.ts";
import { stream } from "../stream.ts";

/** The second moments of the data. The saddle's curvatures are 4·LOW = 2 along θ₁ and LOW − HIGH = −2 along θ₂. */
const [LOW, HIGH] = [0.5, 2.5];
const SAMPLES = 64;
/** A path has escaped once |θ₂| reaches this value. The landscape is still close to θ₁² − θ₂² there. */
const FAR = 0.2;
const RUNS = 401;
const STEPS = 100;

type Points = [number, number][];

export default stream({
  name: "near-saddle",
  title: "Slow near a saddle",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "Gradient descent that starts near a saddle slows down, because the gradient there is close to zero: its dots, one per step, crowd together. The gradients of mini-batches are not zero there, so stochastic gradient descent escapes, even from the saddle itself. L is the loss of a small network that squeezes two inputs into one number, θᵀx, and restores them as θθᵀx. Near its saddles, (1, 0) and (−1, 0), it looks like θ₁² − θ₂². In the formula for t, the time to reach the distance r, the term 3 ln θ₁ accounts for the move from the start to θ₁ = 1.",
  formula:
    "L(\\boldsymbol\\theta)=\\tfrac12\\,\\mathbb E\\,\\|x-\\boldsymbol\\theta\\,\\boldsymbol\\theta^{\\!\\top}x\\|^2,\\qquad t\\approx\\frac{\\ln(r/|\\theta_2|)+3\\ln\\theta_1}{\\ln(1+2\\eta)}",
  functions: ["classifyCriticalPoint", "gradientDescent", "objective", "predictedEscape"],
  parameters: {
    x: { kind: "number", label: "start θ₁", min: 0.8, max: 1.2, default: 1.2, step: 0.01 },
    y: { kind: "number", label: "start θ₂", min: -0.5, max: 0.5, default: 0.01, step: 0.005 },
    lr: { kind: "number", label: "learning rate η", min: 0.01, max: 0.05, default: 0.03, scale: "log" },
    batch: { kind: "number", label: "samples per mini-batch", min: 4, max: 32, default: 4, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 6, integer: true },
  },
  dependsOn: ["lr", "batch", "seed"],
  init({ lr, batch, seed }) {
    manualSeed(seed);
    const data = sample();
    const noise = Math.sqrt(average(data.map(([a, b]) => (a * b) ** 2)) / batch);
    const predicted = predictedEscape(LOW - HIGH, { lr, noise, distance: FAR });
    manualSeed(seed);
    const paths = descend(data, Array<[number, number]>(RUNS).fill([1, 0]), {
      lr,
      batch,
      steps: Math.ceil(4 * predicted),
    });
    const median = paths.map(escapeTime).sort((a, b) => a - b)[RUNS >> 1]!;
    manualSeed(seed);
    const batches = Array.from({ length: STEPS }, () => draw(data, batch));
    return { data, batches, predicted, median, gradient: newGradient() };
  },
  measure({ data, batches, predicted, median, gradient }, { x, y, lr, batch }) {
    /** The path of gradient descent. Step t uses the samples that `samplesAt(t)` returns. */
    const walk = (samplesAt: (t: number) => Float32Array): Points => {
      let t = 0;
      const potential = { gradient: (w: ArrayLike<number>) => gradient(Float32Array.from(w), samplesAt(t++)).data };
      return gradientDescent(potential, { start: [x, y], lr, steps: STEPS }).states.map((w) => [w[0]!, w[1]!]);
    };
    const all = Float32Array.from(data.flat());
    const [path, stochastic] = [walk(() => all), walk((t) => batches[t]!)];
    return tidy(() => {
      const loss = (w: Tensor): Tensor => reconstruction(w.reshape([1, 2]), tensor(all, [1, SAMPLES, 2]));
      const point = classifyCriticalPoint(objective(loss, [1, 0]));
      // Near the saddle, θ̇₂ = θ₂(5 − 3θ₁²) and θ̇₁ = θ₁(1 − θ₁²), so ln θ₂ + 3·ln θ₁ grows by 2 per unit of time.
      const rate = Math.log1p(2 * lr);
      const slow = (Math.log(FAR / Math.abs(y)) + 3 * Math.log(x)) / rate;
      // Allow one step for rounding up. In the logarithm, allow 0.02 for the landscape's deviation from θ₁² − θ₂², and
      // a bound on 3·ln θ₁ at the end.
      const slack = 1 + (0.02 + 4.5 * Math.abs(Math.log(x)) * (Math.abs(y) / FAR / x ** 3 + 2 * lr)) / rate;
      const curvatures: Finding[] = (
        [
          ["along θ₂, the smallest curvature", point.smallest.value, LOW - HIGH],
          ["along θ₁, the largest curvature", point.largest.value, 4 * LOW],
        ] as const
      ).map(([text, measured, equals]) => ({
        text: `at the saddle (1, 0), ${text}`,
        measured,
        // The gradient consists of sums of 64 products of up to four factors, in float32.
        expected: { equals, within: 2 ** -17 },
        theory: `from the second moments ${LOW} and ${HIGH} of the data: the same as for θ₁² − θ₂²`,
      }));
      const findings: Finding[] = [
        ...curvatures,
        {
          text: "θ₂ after one step of gradient descent",
          measured: path[1]![1],
          expected: {
            equals: y * (1 + lr * (5 - 3 * x * x - 5 * y * y)),
            within: lr * 2 ** -18 + 2 ** -23 * Math.abs(y),
          },
          theory: "θ₂(1 + η(5 − 3θ₁² − 5θ₂²)), which is (1 + 2η)θ₂ near the saddle",
        },
        ...(y === 0
          ? [
              {
                text: `|θ₂| after ${STEPS} steps of gradient descent from θ₂ = 0`,
                measured: Math.abs(path[STEPS]![1]),
                // The gradient is a mean of 64 products whose sum is 0, rounded by up to 2⁻²¹. These errors grow by a
                // factor of 1 + 2η per step.
                expected: { equals: 0, within: 2 ** -22 * (1 + 2 * lr) ** STEPS },
                theory: "the gradient along θ₂ is 0",
              },
            ]
          : []),
        ...(Math.abs(y) >= 1e-3 && Math.abs(y) <= 0.05 && slow + 0.5 + slack < STEPS
          ? [
              {
                text: `steps that gradient descent needs to reach |θ₂| = ${FAR}`,
                measured: escapeTime(path),
                expected: { equals: slow + 0.5, within: slack },
                theory: "(ln(r/|θ₂|) + 3·ln θ₁)/ln(1 + 2η)",
              },
            ]
          : []),
        {
          text: `median number of steps that stochastic gradient descent needs from the saddle to |θ₂| = ${FAR}, over ${RUNS} runs`,
          measured: median,
          // As in saddle-escape, allow five standard errors of the median, and one step for rounding. The curvature of
          // a mini-batch varies too, with variance s², which lowers the growth of ln|θ₂| per step by η²s²/2.
          expected: {
            equals: predicted,
            within:
              1 + 5 / (2 * 0.4287 * Math.sqrt(RUNS)) / rate + (predicted * (lr * spread(data)) ** 2) / batch / rate,
          },
          theory: "the time in which noise of variance E[x₁²x₂²]/batch grows to r (predictedEscape)",
        },
      ];
      const grid = Array.from({ length: 49 }, (_, i) => -1.5 + i / 16);
      const steps = Array.from({ length: STEPS + 1 }, (_, t) => t);
      return {
        findings,
        plots: [
          {
            title: `${STEPS} steps`,
            x: { label: "θ₁" },
            y: { label: "θ₂" },
            equal: true,
            field: {
              x: [-1.5, 1.5],
              y: [-1.5, 1.5],
              columns: 49,
              values: grid.flatMap((b) => grid.map((a) => value(a, b))),
            },
            series: [
              { name: "gradient descent", points: path, style: "dots", grows: true },
              { name: "between steps", points: path, style: "reference", sameAs: 0, grows: true },
              { name: `batches of ${batch}`, points: stochastic, style: "dots", grows: true },
              { name: "between steps", points: stochastic, style: "reference", sameAs: 2, grows: true },
              {
                name: "saddles",
                style: "dots",
                points: [
                  [1, 0],
                  [-1, 0],
                ],
              },
            ],
            handles: [{ name: "the start", at: [x, y], sets: { x: "x", y: "y" } }],
          },
          {
            title: "Distance from the axis",
            x: { label: "step", integer: true },
            y: { label: "|θ₂|", scale: "log" },
            series: [
              { name: "gradient descent", points: path.map(([, b], t) => [t, Math.abs(b)]), grows: true },
              { name: `batches of ${batch}`, points: stochastic.map(([, b], t) => [t, Math.abs(b)]), grows: true },
              {
                name: "predicted near the saddle",
                points: steps
                  .map((t): [number, number] => [t, (Math.abs(y) / x ** 3) * (1 + 2 * lr) ** t])
                  .filter(([, d]) => d < 1),
                style: "theory",
              },
            ],
          },
        ],
        tables: [
          {
            title: `Steps to |θ₂| = ${FAR}`,
            columns: ["", "measured", "theory"],
            rows: [
              ["gradient descent from this start", escapeTime(path), slow],
              ["stochastic gradient descent from the saddle, median", median, predicted],
            ],
          },
        ],
      };
    });
  },
  dispose: ({ gradient }) => gradient.dispose(),
});

/**
 * Compiles the gradient of the loss at w [2] for samples [2n]. All paths share one compiled function, because dragging
 * the start draws them many times per second.
 */
const newGradient = () =>
  compile((w: Tensor, samples: Tensor) =>
    grad((v: Tensor) => reconstruction(v.reshape([1, 2]), samples.reshape([1, samples.size / 2, 2])))(w),
  );

/**
 * The mean over samples x of ½‖x − w(w·x)‖², summed over independent networks.
 * @param w [runs, 2]
 * @param x [runs, batch, 2]
 */
function reconstruction(w: Tensor, x: Tensor): Tensor {
  const column = w.unsqueeze(2); // [runs, 2, 1]
  const hidden = x.matmul(column); // [runs, batch, 1]
  const rest = x.sub(hidden.mul(w.unsqueeze(1)));
  return rest
    .square()
    .sum()
    .mul(0.5 / x.shape[1]!);
}

/** The loss in closed form: ½(tr Σ − 2wᵀΣw + wᵀΣw·‖w‖²). */
function value(a: number, b: number): number {
  const moment = LOW * a * a + HIGH * b * b;
  return 0.5 * (LOW + HIGH - 2 * moment + moment * (a * a + b * b));
}

/** Uncorrelated points whose second moments are exactly LOW and HIGH. */
function sample(): Points {
  const raw = tidy(() => randn([SAMPLES, 2]).toArray()) as Points;
  // Cholesky: with M = LLᵀ, the points L⁻¹x have the second moment I.
  const moment = (i: 0 | 1, j: 0 | 1): number => average(raw.map((p) => p[i] * p[j]));
  const l11 = Math.sqrt(moment(0, 0));
  const l21 = moment(0, 1) / l11;
  const l22 = Math.sqrt(moment(1, 1) - l21 ** 2);
  return raw.map(([a, b]) => [(Math.sqrt(LOW) * a) / l11, (Math.sqrt(HIGH) * (b - (l21 * a) / l11)) / l22]);
}

/** Samples of the data, drawn with replacement: [2·count]. */
function draw(data: Points, count: number): Float32Array {
  const picks = tidy(() => randint(0, SAMPLES, [count]).data);
  return Float32Array.from({ length: 2 * count }, (_, i) => data[picks[i >> 1]!]![i % 2]!);
}

/** The standard deviation over samples of x₁² − x₂², a single sample's curvature along θ₂ at the saddle. */
const spread = (data: Points): number => Math.sqrt(average(data.map(([a, b]) => (a * a - b * b - LOW + HIGH) ** 2)));

/** The paths of stochastic gradient descent from several starts, each with its own mini-batches. */
function descend(
  data: Points,
  starts: Points,
  { lr, batch, steps }: { readonly lr: number; readonly batch: number; readonly steps: number },
): Points[] {
  return tidy(() => {
    const w = tensor(starts, { requiresGrad: true });
    const optimizer = new optim.SGD([w], { lr });
    const paths = starts.map((start): Points => [start]);
    for (let t = 0; t < steps; t++) {
      tidy(() => {
        const x = tensor(draw(data, starts.length * batch), [starts.length, batch, 2]);
        optimizer.minimize(() => reconstruction(w, x));
      });
      const now = w.data;
      paths.forEach((path, i) => void path.push([now[2 * i]!, now[2 * i + 1]!]));
      if (paths.filter((path) => escapeTime(path) < Number.POSITIVE_INFINITY).length > 0.6 * starts.length) break;
    }
    return paths;
  });
}

/** The first step at which |θ₂| is at least FAR; Infinity if there is none. */
function escapeTime(path: Points): number {
  const found = path.findIndex(([, b]) => Math.abs(b) >= FAR);
  return found < 0 ? Number.POSITIVE_INFINITY : found;
}
