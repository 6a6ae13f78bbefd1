/**
 * Estimates gradients from function values alone with evolution strategies, and measures how the error and the cost
 * depend on the number of samples and the number of parameters.
 */
import { losses, nn, optim, tensor, tidy } from "nabla";
import { EvolutionStrategy, esError, logSlope, objective } from "nabla/gradients";
import { generator } from "../random.ts";
import { average } from "../statistics.ts";
import { stream } from "../stream.ts";

const SAMPLES = [16, 64, 256];
const DIMENSIONS = [4, 16, 64, 256];
const REPEATS = 80;
/** The number of single updates on ½‖θ‖², all from the same start. */
const ENDS = 200;
/** The number of updates to each network. */
const STEPS = 250;

/**
 * The tolerance of a mean, in standard errors. Squared errors are skewed if d is small: about one mean in 10,000 is more than 5 standard errors
 * from its expectation, and one in 2,500 is more than 4.
 */
const DEVIATIONS = 5;

/**
 * Moments of an estimate from m pairs, for a gradient e of length 1 and a function without third derivatives. The
 * estimate's error is the mean of m terms (e·ε)ε − e. The formulas follow from the moments of a normal distribution,
 * where k = d − 1 is the number of directions perpendicular to e.
 */
function momentsOf(d: number, m: number) {
  const k = d - 1;
  const mean = (d + 1) / m;
  const fourth = 3 * k * k + 26 * k + 60; // E‖(e·ε)ε − e‖⁴
  const pairs = (d + 1) ** 2 + 2 * (d + 3); // (tr C)² + 2 tr C², where C = diag(2, 1, …, 1) is the covariance of a term
  return {
    /** E‖error‖². */
    mean,
    /** The variance of ‖error‖². */
    variance: (fourth - pairs) / m ** 3 + pairs / m ** 2 - mean ** 2,
    /** The variance of the error along e. */
    along: 2 / m,
    /** The covariance of the error along e and ‖error‖². */
    covariance: (2 * k + 8) / m ** 2,
  };
}

/** The root mean square of REPEATS relative errors that theory predicts, and its standard error. */
function predictedError(d: number, samples: number): { error: number; standardError: number } {
  const { mean, variance } = momentsOf(d, samples / 2);
  const error = Math.sqrt(mean);
  return { error, standardError: Math.sqrt(variance / REPEATS) / (2 * error) };
}

/** The standard error of the slope of the line fitted to log error as a function of log x. */
function slopeError(xs: readonly number[], errors: readonly { error: number; standardError: number }[]): number {
  const logs = xs.map(Math.log);
  const centre = average(logs);
  const squares = logs.reduce((total, v) => total + (v - centre) ** 2, 0);
  return Math.hypot(...logs.map((v, i) => ((v - centre) / squares) * (errors[i]!.standardError / errors[i]!.error)));
}

/**
 * After one step, a fraction of ½‖θ‖² remains. Computes the standard error of the mean of this fraction over ENDS
 * steps. For an error with the component `along` along the gradient, the fraction is (1 − rate)² − 2·rate·(1 −
 * rate)·along + rate²·‖error‖².
 */
function remainderError(d: number, m: number, rate: number): number {
  const { variance, along, covariance } = momentsOf(d, m);
  const [linear, square] = [-2 * rate * (1 - rate), rate ** 2];
  return Math.sqrt((linear ** 2 * along + 2 * linear * square * covariance + square ** 2 * variance) / ENDS);
}

export default stream({
  name: "evolution-strategies",
  title: "Gradients by random search",
  section: "Applications and Interdisciplinary Connections",
  claim:
    "Evolution strategies estimate the gradient from values at random points. The estimate is unbiased, and its error grows like the square root of the number of parameters, and shrinks like the square root of the number of samples. Backpropagation computes the exact gradient at the cost of a few evaluations.",
  formula:
    "\\nabla \\mathbb{E}\\,L(\\boldsymbol\\theta+\\sigma\\boldsymbol\\varepsilon) = \\mathbb{E}\\Big[\\tfrac{L(\\boldsymbol\\theta+\\sigma\\boldsymbol\\varepsilon)-L(\\boldsymbol\\theta-\\sigma\\boldsymbol\\varepsilon)}{2\\sigma}\\boldsymbol\\varepsilon\\Big],\\qquad \\frac{\\mathrm{error}}{\\|\\nabla L\\|} = \\sqrt{\\frac{d+1}{m}}",
  functions: ["esError", "EvolutionStrategy", "logSlope", "objective"],
  parameters: {
    parameters: { kind: "number", label: "parameters d", min: 2, max: 64, default: 10, integer: true },
    pairs: { kind: "number", label: "pairs of samples m, in training", min: 10, max: 50, default: 20, integer: true },
    sigma: { kind: "number", label: "search radius σ", min: 0.02, max: 0.3, default: 0.1, scale: "log" },
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
    const [bySamples, byParameters, ends]: [number[], number[], Float64Array[]] = [[], [], []];
    const options = { sigma, repeats: REPEATS };
    const measurements = [
      ...SAMPLES.map((n) => () => bySamples.push(esError(bowl, undefined, { ...options, samples: [n] }).points[0]![1])),
      ...DIMENSIONS.map((n) => () => {
        const exact = new Float64Array(n).fill(1);
        byParameters.push(esError(sum, new Float64Array(n), { ...options, samples: [64], exact }).points[0]![1]);
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
          title: "Error by samples",
          x: { label: "samples", scale: "log", integer: true },
          y: { label: "relative error", scale: "log" },
          series: [
            { name: "measured", points: bySamples.map((error, i) => [SAMPLES[i]!, error] as const), style: "dots" },
            {
              name: "predicted: √((d + 1)/m), m pairs",
              points: SAMPLES.map((n) => [n, Math.sqrt((d + 1) / (n / 2))] as const),
              style: "theory",
            },
          ],
        },
        {
          title: "Error by parameters, 64 samples",
          x: { label: "parameters", scale: "log", integer: true },
          y: { label: "relative error", scale: "log" },
          series: [
            {
              name: "measured",
              points: byParameters.map((error, i) => [DIMENSIONS[i]!, error] as const),
              style: "dots",
            },
            {
              name: "predicted: √((d + 1)/m), m pairs",
              points: DIMENSIONS.map((n) => [n, Math.sqrt((n + 1) / 32)] as const),
              style: "theory",
            },
          ],
        },
        {
          title: "Learning XOR with Adam",
          x: { label: "evaluations of the loss", scale: "log", integer: true },
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
    // The gradient is θ, which has length 1, so the mean of the estimates' components along it should be 1.
    const along = ends.map((end) => end.reduce((total, v, i) => total + start[i]! * (start[i]! - v), 0) / rate);
    const predicted = SAMPLES.map((n) => predictedError(d, n));
    const counts = DIMENSIONS.map((n) => n + 1);
    const acrossCounts = slopeError(
      counts,
      DIMENSIONS.map((n) => predictedError(n, 64)),
    );
    return {
      findings: [
        {
          text: "slope of log error against log samples",
          measured: logSlope(SAMPLES.map((n, i) => [n, bySamples[i]!])),
          expected: { equals: -0.5, within: DEVIATIONS * slopeError(SAMPLES, predicted) },
          theory: "−½, as for every mean of independent terms; within five standard errors",
        },
        {
          text: `relative error with ${SAMPLES[0]} samples`,
          measured: bySamples[0]!,
          expected: { equals: predicted[0]!.error, within: DEVIATIONS * predicted[0]!.standardError },
          theory: "√((d + 1)/m) for m pairs; within five standard errors, which follow from the moments of ε",
        },
        {
          text: "slope of log error against log (d + 1)",
          measured: logSlope(byParameters.map((error, i) => [counts[i]!, error])),
          expected: { equals: 0.5, within: DEVIATIONS * acrossCounts },
          theory: "½; within five standard errors",
        },
        {
          text: "fraction of ½‖θ‖² that remains after a step at the best rate",
          measured: average(left),
          expected: { equals: (d + 1) / (pairs + d + 1), within: DEVIATIONS * remainderError(d, pairs, rate) },
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
          expected: { equals: 1, within: DEVIATIONS * Math.sqrt(momentsOf(d, pairs).along / ENDS) },
          theory: "E[ε·εᵀ] = I, so the estimate is unbiased, on ½‖θ‖² for every σ; within five standard errors",
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
