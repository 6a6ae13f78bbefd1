/**
 * Gradients from function values alone: how the error and cost of evolution strategies depend on the number of samples
 * and the number of parameters.
 */
import { losses, nn, optim, tensor, tidy } from "nabla";
import { EvolutionStrategy, esError, logSlope, objective } from "nabla/gradients";
import { generator } from "../random.ts";
import { average, variance } from "../statistics.ts";
import { stream } from "../stream.ts";

const SAMPLES = [16, 64, 256];
const DIMENSIONS = [4, 16, 64, 256];
const REPEATS = 80;
/** The number of single updates on a parabola. */
const ENDS = 200;
/** The number of updates of each network. */
const STEPS = 250;

/** The standard error of the fitted slope of log error against log x, from the standard errors of the errors. */
function slopeError(xs: readonly number[], errors: readonly { error: number; standardError: number }[]): number {
  const logs = xs.map(Math.log);
  const centre = logs.reduce((a, b) => a + b) / logs.length;
  const squares = logs.reduce((total, v) => total + (v - centre) ** 2, 0);
  return Math.hypot(...logs.map((v, i) => ((v - centre) / squares) * (errors[i]!.standardError / errors[i]!.error)));
}
/** The root mean square error of estimates relative to the gradient, with its standard error, and what theory predicts for it. */
interface EsErrorAt {
  readonly error: number;
  readonly standardError: number;
  readonly predicted: number;
}
function errorAt(...[f, theta, options]: Parameters<typeof esError>): EsErrorAt {
  const { points, standardErrors, predicted } = esError(f, theta, options);
  return { error: points[0]![1], standardError: standardErrors[0]!, predicted: predicted[0]![1] };
}
const standardErrorOf = (values: readonly number[]): number => Math.sqrt(variance(values) / values.length);

export default stream({
  name: "evolution-strategies",
  title: "Gradients by random search",
  section: "Applications and Interdisciplinary Connections",
  claim:
    "Evolution strategies estimate the gradient from values at random points. The estimate is unbiased, and its error is proportional to the square root of the number of parameters divided by the number of samples. Backpropagation computes the exact gradient at the cost of a few evaluations.",
  formula:
    "\\nabla \\mathbb{E}\\,L(\\boldsymbol\\theta+\\sigma\\boldsymbol\\varepsilon) = \\mathbb{E}\\Big[\\tfrac{L(\\boldsymbol\\theta+\\sigma\\boldsymbol\\varepsilon)-L(\\boldsymbol\\theta-\\sigma\\boldsymbol\\varepsilon)}{2\\sigma}\\boldsymbol\\varepsilon\\Big],\\qquad \\frac{\\mathrm{error}}{\\|\\nabla L\\|} = \\sqrt{\\frac{d+1}{m}}",
  functions: ["esError", "EvolutionStrategy", "logSlope", "objective"],
  parameters: {
    parameters: { kind: "number", label: "parameters d", min: 2, max: 64, default: 10, integer: true },
    pairs: { kind: "number", label: "pairs of samples m, in training", min: 10, max: 50, default: 20, integer: true },
    sigma: { kind: "number", label: "σ", min: 0.02, max: 0.3, default: 0.1, scale: "log" },
    seed: { kind: "number", label: "seed", min: 0, max: 9999, default: 1, integer: true },
  },
  init({ parameters: d, pairs, sigma, seed }) {
    const random = generator(seed);
    // L = ½‖θ‖², computed by nabla at a θ of length 1.
    const start = new Float32Array(d).fill(1 / Math.sqrt(d));
    const theta = tensor(start, { requiresGrad: true });
    const bowl = objective([theta], () => theta.square().sum().mul(0.5));
    // A step of rate η on ½‖θ‖² multiplies ‖θ‖² by (1 − η)² + η²(d + 1)/m in expectation. At the best η, m/(m + d + 1),
    // this factor is (d + 1)/(m + d + 1).
    const rate = pairs / (pairs + d + 1);
    const sgd = new optim.SGD([theta], { lr: rate });
    const bowlStrategy = new EvolutionStrategy(bowl, sgd, { samples: 2 * pairs, sigma });
    const sum = (v: Float64Array): number => v.reduce((a, b) => a + b, 0);
    const [bySamples, byParameters, ends]: [EsErrorAt[], EsErrorAt[], Float64Array[]] = [[], [], []];
    const options = { sigma, repeats: REPEATS };
    const measurements = [
      ...SAMPLES.map((n) => () => bySamples.push(errorAt(bowl, undefined, { ...options, samples: [n] }))),
      ...DIMENSIONS.map((n) => () => {
        const exact = new Float64Array(n).fill(1);
        byParameters.push(errorAt(sum, new Float64Array(n), { ...options, samples: [64], exact }));
      }),
      ...Array.from({ length: ENDS }, () => () => {
        bowl.moveTo(start);
        bowlStrategy.step();
        ends.push(bowl.theta);
      }),
    ];
    const networks = [newNetwork(seed, { samples: 2 * pairs, sigma }), newNetwork(seed)] as const;
    const dispose = (): void => {
      for (const one of [sgd, theta, ...networks]) one.dispose();
    };
    return { random, measurements, measured: 0, bySamples, byParameters, ends, start, rate, networks, dispose };
  },
  step(state) {
    const { random, measurements, networks } = state;
    for (const network of networks) network.step();
    const taken = networks[1].curve.length;
    for (; state.measured < (measurements.length * taken) / STEPS; state.measured++)
      random(measurements[state.measured]!);
    return taken / STEPS;
  },
  draw({ bySamples, byParameters, networks: [evolved, backprop] }, { parameters: d }) {
    return {
      plots: [
        {
          title: "Error by number of samples",
          x: { label: "samples", scale: "log" },
          y: { label: "relative error", scale: "log" },
          series: [
            { name: "measured", points: bySamples.map(({ error }, i) => [SAMPLES[i]!, error] as const), style: "dots" },
            {
              name: "√((d + 1)/m)",
              points: SAMPLES.map((n) => [n, Math.sqrt((d + 1) / (n / 2))] as const),
              style: "theory",
            },
          ],
        },
        {
          title: "Error by parameters, 64 samples",
          x: { label: "parameters", scale: "log" },
          y: { label: "relative error", scale: "log" },
          series: [
            {
              name: "measured",
              points: byParameters.map(({ error }, i) => [DIMENSIONS[i]!, error] as const),
              style: "dots",
            },
            {
              name: "√((d + 1)/m)",
              points: DIMENSIONS.map((n) => [n, Math.sqrt((n + 1) / 32)] as const),
              style: "theory",
            },
          ],
        },
        {
          title: "Learning XOR with Adam",
          x: { label: "evaluations of the loss", scale: "log" },
          y: { label: "loss", scale: "log" },
          series: [
            { name: "evolution strategy", points: evolved.curve, grows: true },
            { name: "backpropagation", points: backprop.curve, grows: true },
          ],
        },
      ],
    };
  },
  measure({ bySamples, byParameters, ends, start, rate, networks: [evolved] }, { parameters: d, pairs }) {
    const left = ends.map((end) => end.reduce((total, v) => total + v * v, 0));
    // The gradient is θ, of length 1: the part of the estimate along it has the mean 1.
    const along = ends.map((end) => end.reduce((total, v, i) => total + start[i]! * (start[i]! - v), 0) / rate);
    return {
      findings: [
        {
          text: "slope of log error against log samples",
          measured: logSlope(SAMPLES.map((n, i) => [n, bySamples[i]!.error])),
          expected: { equals: -0.5, within: 4 * slopeError(SAMPLES, bySamples) },
          theory: "−½, as for every mean of independent terms; within four standard errors",
        },
        {
          text: `relative error with ${SAMPLES[0]} samples`,
          measured: bySamples[0]!.error,
          expected: { equals: bySamples[0]!.predicted, within: 4 * bySamples[0]!.standardError },
          theory: "√((d + 1)/m) for m pairs",
        },
        {
          text: "slope of log error against log (d + 1)",
          measured: logSlope(byParameters.map(({ error }, i) => [DIMENSIONS[i]! + 1, error])),
          expected: {
            equals: 0.5,
            within:
              4 *
              slopeError(
                DIMENSIONS.map((n) => n + 1),
                byParameters,
              ),
          },
          theory: "½",
        },
        {
          text: "fraction of ½‖θ‖² that remains after a step at the best rate",
          measured: average(left),
          expected: { equals: (d + 1) / (pairs + d + 1), within: 4 * standardErrorOf(left) },
          theory: "(d + 1)/(m + d + 1); with backpropagation, nothing remains after a step of rate 1",
        },
        {
          text: "XOR, learned from function values alone: correct answers out of 4",
          measured: evolved.right(),
          expected: { atLeast: 4 },
          theory: "an unbiased gradient is enough for Adam",
        },
        {
          text: "mean of the estimates along the gradient, divided by its length",
          measured: average(along),
          expected: { equals: 1, within: 4 * standardErrorOf(along) },
          theory: "E[ε·εᵀ] = I, so the estimate is unbiased: on a parabola for every σ; within four standard errors",
        },
      ],
    };
  },
  dispose: ({ dispose }) => dispose(),
});

interface Network {
  readonly curve: [evaluations: number, loss: number][];
  /** The number of right answers out of 4. */
  right(): number;
  step(): void;
  dispose(): void;
}

/** Learns XOR with an evolution strategy, or with backpropagation if options are omitted. */
function newNetwork(seed: number, options?: { samples: number; sigma: number }): Network {
  const random = generator(seed);
  const x = tensor([
    [0, 0],
    [0, 1],
    [1, 0],
    [1, 1],
  ]);
  const y = tensor([[0], [1], [1], [0]]);
  const model = random(() => new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1)));
  const loss = () => losses.bceWithLogits(model.forward(x), y);
  const at = objective(model, loss);
  const adam = new optim.Adam(model.parameters(), { lr: 0.05 });
  const strategy = options && new EvolutionStrategy(at, adam, options);
  return {
    curve: [],
    right: () =>
      tidy(
        () =>
          model
            .forward(x)
            .sigmoid()
            .round()
            .sub(y)
            .data.filter((v) => v === 0).length,
      ),
    step() {
      if (strategy) random(() => strategy.step());
      else adam.minimize(loss).dispose();
      this.curve.push([strategy?.evaluations ?? this.curve.length + 1, at.value()]);
    },
    dispose() {
      for (const one of [adam, model, x, y]) one.dispose();
    },
  };
}
