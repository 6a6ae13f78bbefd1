/**
 * Measures how fast gradient flow and a heavy ball leave a saddle, and compares both with the discrete optimizers that
 * approximate them.
 */
import { tensor, tidy } from "nabla";
import {
  escapeRate,
  gradientDescent,
  gradientFlow,
  heavyBall,
  heavyBallOf,
  objective,
  stability,
  type Trajectory,
} from "nabla/gradients";
import { experiment } from "../experiment.ts";
import { showTick } from "../scale.ts";

/** Both coordinates of the start. */
const EPSILON = 1e-6;
const SADDLE = [0, 0];

type Points = [number, number][];

export default experiment({
  name: "momentum-escape",
  title: "Momentum leaves saddles in fewer steps",
  section: "Gradients as a Dynamical System",
  claim:
    "Momentum can accelerate the escape from saddle points along directions of negative curvature. Counted in steps, it does so at any learning rate: each step multiplies the distance by z, which is larger than gradient descent's factor 1 + η|h|. In continuous time, as in the differential equations, a heavy ball is faster than gradient flow only if |h| + γ < 1; with the usual settings, friction makes it slower.",
  formula:
    "\\ddot{\\boldsymbol\\theta} + \\gamma\\dot{\\boldsymbol\\theta} = -\\nabla L:\\quad \\lambda^2 + \\gamma\\lambda - |h| = 0,\\quad \\gamma = \\frac{1-\\mu}{\\sqrt{\\eta}},\\qquad \\text{per step: } z^2-(1+\\mu+\\eta|h|)z+\\mu=0",
  functions: ["gradientFlow", "heavyBall", "stability", "escapeRate", "heavyBallOf", "gradientDescent", "objective"],
  parameters: {
    curvature: { kind: "number", label: "curvature |h| at the saddle", min: 0.2, max: 4, default: 2 },
    lr: { kind: "number", label: "learning rate", min: 3e-3, max: 0.1, default: 0.01, scale: "log" },
    momentum: { kind: "number", label: "momentum μ", min: 0.3, max: 0.98, default: 0.9 },
  },
  run: ({ curvature, lr, momentum }) =>
    tidy(() => {
      const theta = tensor([EPSILON, EPSILON], { requiresGrad: true });
      const weights = tensor([curvature / 2, -curvature / 2]);
      const at = objective([theta], () => theta.square().dot(weights));
      const { friction } = heavyBallOf({ lr, momentum });
      const gamma = (1 - momentum) / Math.sqrt(lr);
      const predicted = stability([curvature, -curvature], { lr, momentum });

      // The duration is long enough for the distance to grow from ε to about 1 at the rate that theory predicts.
      const far = Math.log(1 / EPSILON);
      const optionsFor = (rate: number) => ({
        duration: far / rate,
        tolerance: { absolute: 1e-12, relative: 1e-7 },
        times: Array.from({ length: 101 }, (_, i) => (far / rate) * (i / 100)),
      });
      const flow = gradientFlow(at, optionsFor(predicted.flow.escapeRate));
      const ball = heavyBall(at, { ...optionsFor(predicted.heavyBall.escapeRate), friction });
      const stepsFor = (rate: number): number => Math.ceil(far / rate);
      const descent = gradientDescent(at, { lr, steps: stepsFor(predicted.descent!.escapeRate) });
      const withMomentum = gradientDescent(at, { lr, momentum, steps: stepsFor(predicted.momentum!.escapeRate) });

      const perTime = (path: Trajectory): number => escapeRate(path, { from: SADDLE });
      const measured = {
        flow: perTime(flow),
        ball: perTime(ball),
        descent: perTime(descent) * lr,
        momentum: perTime(withMomentum) * Math.sqrt(lr),
      };
      const distances = (path: Trajectory, unit = 1): Points =>
        path.times.map((t, i) => [t / unit, Math.hypot(...path.states[i]!)]);
      /** An exponential curve with this growth rate that ends at the last point; it is a line on a log axis. */
      const line = (points: Points, rate: number): Points => {
        const [end, distance] = points[points.length - 1]!;
        return points.map(([t]) => [t, distance * Math.exp(rate * (t - end))]);
      };
      const inTime = [distances(flow), distances(ball)] as const;
      const inSteps = [distances(descent, lr), distances(withMomentum, Math.sqrt(lr))] as const;
      const escapeIndex = (points: Points): number => points.findIndex(([, d]) => d >= 0.1);
      // The curvature, θ and two products are rounded to float32. Each rounding changes a rate by at most 1.3·2⁻²⁴ of
      // the rate, because 1 − η|h| is at least 0.6.
      const rounding = 2 ** -21;
      const discrete = (text: string, value: number, theory: number, source: string) => ({
        text,
        measured: value,
        expected: { equals: theory, within: rounding * Math.abs(theory) },
        theory: source,
      });
      // The integrator's error per step is at most 10⁻⁷ of the distance, which grows by a factor of about e^0.14
      // between two of the 101 sampled times.
      const continuous = (text: string, value: number, theory: number, source: string) => ({
        text,
        measured: value,
        expected: { equals: theory, within: (rounding + 1e-7 / 0.14) * Math.abs(theory) },
        theory: source,
      });
      return {
        findings: [
          continuous("escape rate of gradient flow, per unit of time", measured.flow, curvature, "|h|"),
          continuous(
            "escape rate of the heavy ball, per unit of time",
            measured.ball,
            (-gamma + Math.sqrt(gamma ** 2 + 4 * curvature)) / 2,
            "the positive root of λ² + γλ − |h| = 0, with γ = (1 − μ)/√η",
          ),
          {
            text: "rate of the stable direction θ₁ under gradient flow, per unit of time",
            measured: rateAlong(flow),
            // θ₁ shrinks by a factor of e^3.45, to about 3·10⁻⁸. An absolute error of 10⁻¹² changes the logarithm by
            // 3·10⁻⁵.
            expected: { equals: predicted.modes[0]!.flow, within: 1e-5 * curvature },
            theory: "−h, so θ₁ shrinks like exp(−|h|t)",
          },
          discrete(
            "rate of the stable direction θ₁ under gradient descent, per step",
            rateAlong(descent) * lr,
            Math.log(predicted.modes[0]!.descent),
            "ln(1 − η|h|)",
          ),
          // Both rates come from the integrator, so their ratio gets the integrator's tolerance.
          continuous(
            `escape rate of the ball divided by the flow's, per unit of time; |h| + γ is ${(curvature + friction).toPrecision(3)}`,
            measured.ball / measured.flow,
            predicted.heavyBall.escapeRate / predicted.flow.escapeRate,
            "above 1 only if |h| + γ < 1, because friction slows the ball",
          ),
          discrete(
            "escape rate of gradient descent, per step",
            measured.descent,
            Math.log(1 + lr * curvature),
            "ln(1 + η|h|)",
          ),
          discrete(
            "escape rate of gradient descent with momentum, per step",
            measured.momentum,
            predicted.momentum!.escapeRate,
            "ln z, where z is the larger root of z² − (1 + μ + η|h|)z + μ = 0",
          ),
          {
            text: "escape rate with momentum divided by that without, per step at the same learning rate",
            measured: measured.momentum / measured.descent,
            expected: {
              equals: predicted.momentum!.escapeRate / Math.log1p(lr * curvature),
              within: (2 * rounding * predicted.momentum!.escapeRate) / Math.log1p(lr * curvature),
            },
            theory:
              "ln z/ln(1 + η|h|), which is above 1 for every μ > 0, up to 1/(1 − μ): one step covers a time of √η for the ball, but only η for the flow",
          },
          {
            text: "this ratio divided by its upper bound 1/(1 − μ)",
            measured: (measured.momentum / measured.descent) * (1 - momentum),
            expected: { atMost: 1 },
            theory: "near 1 if η|h| is far below (1 − μ)²",
          },
        ],
        plots: [
          {
            title: "By step",
            x: { label: "steps", integer: true },
            y: { label: "distance from the saddle", scale: "log" },
            series: [
              { name: "gradient descent", points: thin(inSteps[0]), style: "dots" },
              {
                name: "theory",
                points: line(inSteps[0], predicted.descent!.escapeRate),
                style: "theory",
              },
              { name: "with momentum", points: thin(inSteps[1]), style: "dots" },
              {
                name: "theory, with momentum",
                points: line(inSteps[1], predicted.momentum!.escapeRate),
                style: "theory",
              },
            ],
          },
          {
            title: "By time",
            x: { label: "time" },
            y: { label: "distance from the saddle", scale: "log" },
            series: [
              { name: "gradient flow", points: thin(inTime[0]), style: "dots" },
              { name: "theory: flow", points: line(inTime[0], curvature), style: "theory" },
              { name: "heavy ball", points: thin(inTime[1]), style: "dots" },
              { name: "theory: heavy ball", points: line(inTime[1], predicted.heavyBall.escapeRate), style: "theory" },
            ],
          },
          {
            title: "Speed-up from momentum",
            x: { label: "curvature |h|", scale: "log" },
            y: { label: "ratio of the escape rates", scale: "log" },
            series: [
              { name: "theory, per step", points: ratios((h) => speedups(h, lr, momentum).perStep), style: "theory" },
              {
                name: "theory, per unit of time",
                points: ratios((h) => speedups(h, lr, momentum).perTime),
                style: "theory",
              },
              {
                name: "measured",
                points: [
                  [curvature, measured.momentum / measured.descent],
                  [curvature, measured.ball / measured.flow],
                ],
                style: "dots",
              },
              { name: "equally fast", points: ratios(() => 1), style: "reference" },
            ],
          },
        ],
        tables: [
          {
            title: `From a distance of ${showTick(EPSILON)} to 0.1`,
            columns: ["", "time", "steps"],
            rows: [
              ["without momentum", flow.times[escapeIndex(inTime[0])] ?? Number.NaN, escapeIndex(inSteps[0])],
              ["with momentum", ball.times[escapeIndex(inTime[1])] ?? Number.NaN, escapeIndex(inSteps[1])],
            ],
          },
        ],
      };
    }),
});

/**
 * The growth rate of θ₁, negative if θ₁ shrinks, over the first quarter of a path. After that, θ₁ can be smaller than the integrator's tolerance.
 */
function rateAlong({ times, states }: Trajectory): number {
  const k = Math.ceil(times.length / 4);
  return Math.log(states[k]![0]! / EPSILON) / times[k]!;
}

/**
 * The escape rate with momentum divided by that without, in closed form: per step, and per unit of time of the
 * differential equations.
 */
function speedups(h: number, lr: number, momentum: number): { perStep: number; perTime: number } {
  const gamma = (1 - momentum) / Math.sqrt(lr);
  const b = 1 + momentum + lr * h;
  const z = (b + Math.sqrt(b * b - 4 * momentum)) / 2;
  return { perStep: Math.log(z) / Math.log1p(lr * h), perTime: (-gamma + Math.hypot(gamma, 2 * Math.sqrt(h))) / 2 / h };
}

/** The points [h, ratio(h)] for curvatures h from 0.05 to 4. */
const ratios = (ratio: (h: number) => number): Points =>
  Array.from({ length: 61 }, (_, i): [number, number] => {
    const h = 0.05 * 80 ** (i / 60);
    return [h, ratio(h)];
  });

/** At most about 30 of the points, including the last. */
function thin(points: Points): Points {
  const every = Math.ceil(points.length / 30);
  return points.filter((_, i) => (points.length - 1 - i) % every === 0);
}
