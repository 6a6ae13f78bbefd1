/**
 * Gradients from function values alone: how the error and cost of evolution strategies depend on the number of samples
 * and the number of parameters.
 */
import { losses, manualSeed, nn, optim, tensor, tidy } from "nabla";
import { type EsError, EvolutionStrategy, esError, logSlope, objective } from "nabla/gradients";
import { experiment } from "../experiment.ts";
import { average, variance } from "../statistics.ts";

const SAMPLES = [16, 64, 256];
const DIMENSIONS = [4, 16, 64, 256];
const REPEATS = 80;
/** The number of updates of each network. */
const STEPS = 250;

/** The standard error of the fitted slope of log error against log x, from the standard errors of the errors. */
function slopeError(xs: readonly number[], errors: readonly { error: number; standardError: number }[]): number {
  const logs = xs.map(Math.log);
  const centre = logs.reduce((a, b) => a + b) / logs.length;
  const squares = logs.reduce((total, v) => total + (v - centre) ** 2, 0);
  return Math.hypot(...logs.map((v, i) => ((v - centre) / squares) * (errors[i]!.standardError / errors[i]!.error)));
}
const errorsOf = ({ points, standardErrors }: EsError) =>
  points.map(([, error], i) => ({ error, standardError: standardErrors[i]! }));

export default experiment({
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
  async run({ parameters: d, pairs, sigma, seed }, { progress }) {
    manualSeed(seed);
    await progress(0, "error by samples");
    // L = ½‖θ‖², computed by nabla at a θ of length 1.
    const start = new Float32Array(d).fill(1 / Math.sqrt(d));
    const theta = tensor(start, { requiresGrad: true });
    const bowl = objective([theta], () => theta.square().sum().mul(0.5));
    const bySamples = esError(bowl, undefined, { samples: SAMPLES, sigma, repeats: REPEATS });
    await progress(0.3, "error by parameters");
    const byParameters = DIMENSIONS.map((n) => {
      const sum = (v: Float64Array): number => v.reduce((a, b) => a + b, 0);
      const one = { samples: [64], sigma, repeats: REPEATS, exact: new Float64Array(n).fill(1) };
      return errorsOf(esError(sum, new Float64Array(n), one))[0]!;
    });
    const ofParameters = byParameters.map(({ error }, i): [number, number] => [DIMENSIONS[i]! + 1, error]);

    await progress(0.5, "training");
    // A step of rate η on ½‖θ‖² multiplies ‖θ‖² by (1 − η)² + η²(d + 1)/m in expectation. At the best η, m/(m + d + 1),
    // this factor is (d + 1)/(m + d + 1).
    const rate = pairs / (pairs + d + 1);
    const sgd = new optim.SGD([theta], { lr: rate });
    const bowlStrategy = new EvolutionStrategy(bowl, sgd, { samples: 2 * pairs, sigma });
    const ends = Array.from({ length: 200 }, () => {
      bowl.moveTo(start);
      bowlStrategy.step();
      return bowl.theta;
    });
    const left = ends.map((end) => end.reduce((total, v) => total + v * v, 0));
    // The gradient is θ, of length 1: the part of the estimate along it has the mean 1.
    const along = ends.map((end) => end.reduce((total, v, i) => total + start[i]! * (start[i]! - v), 0) / rate);
    const standardError = (values: readonly number[]): number => Math.sqrt(variance(values) / values.length);
    sgd.dispose();
    theta.dispose();

    const evolved = train(seed, { samples: 2 * pairs, sigma });
    await progress(0.9, "backpropagation");
    const backprop = train(seed);
    return {
      findings: [
        {
          text: "slope of log error against log samples",
          measured: bySamples.slope,
          expected: { equals: -0.5, within: 4 * slopeError(SAMPLES, errorsOf(bySamples)) },
          theory: "−½, as for every mean of independent terms; within four standard errors",
        },
        {
          text: `relative error with ${SAMPLES[0]} samples`,
          measured: bySamples.points[0]![1],
          expected: { equals: bySamples.predicted[0]![1], within: 4 * bySamples.standardErrors[0]! },
          theory: "√((d + 1)/m) for m pairs",
        },
        {
          text: "slope of log error against log (d + 1)",
          measured: logSlope(ofParameters),
          expected: {
            equals: 0.5,
            within:
              4 *
              slopeError(
                ofParameters.map(([n]) => n),
                byParameters,
              ),
          },
          theory: "½",
        },
        {
          text: "fraction of ½‖θ‖² that remains after a step at the best rate",
          measured: average(left),
          expected: { equals: (d + 1) / (pairs + d + 1), within: 4 * standardError(left) },
          theory: "(d + 1)/(m + d + 1); with backpropagation, nothing remains after a step of rate 1",
        },
        {
          text: "XOR, learned from function values alone: correct answers out of 4",
          measured: evolved.right,
          expected: { atLeast: 4 },
          theory: "an unbiased gradient is enough for Adam",
        },
        {
          text: "mean of the estimates along the gradient, divided by its length",
          measured: average(along),
          expected: { equals: 1, within: 4 * standardError(along) },
          theory: "E[ε·εᵀ] = I, so the estimate is unbiased: on a parabola for every σ; within four standard errors",
        },
      ],
      plots: [
        {
          title: "Error of the estimate by number of samples",
          x: { label: "samples", scale: "log" },
          y: { label: "relative error", scale: "log" },
          series: [
            { name: "measured", points: bySamples.points, style: "dots" },
            { name: "√((d + 1)/m)", points: bySamples.predicted, style: "theory" },
          ],
        },
        {
          title: "Error of the estimate by number of parameters, 64 samples",
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
            { name: "evolution strategy", points: evolved.curve },
            { name: "backpropagation", points: backprop.curve },
          ],
        },
      ],
    };
  },
});

interface Training {
  readonly curve: readonly (readonly [evaluations: number, loss: number])[];
  readonly right: number;
}

/** Learns XOR with an evolution strategy, or with backpropagation if options are omitted. */
function train(seed: number, options?: { samples: number; sigma: number }): Training {
  return tidy(() => {
    manualSeed(seed);
    const x = tensor([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]);
    const y = tensor([[0], [1], [1], [0]]);
    const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
    const loss = () => losses.bceWithLogits(model.forward(x), y);
    const at = objective(model, loss);
    const adam = new optim.Adam(model.parameters(), { lr: 0.05 });
    const strategy = options && new EvolutionStrategy(at, adam, options);
    const curve: [number, number][] = [];
    for (let k = 1; k <= STEPS; k++) {
      if (strategy) strategy.step();
      else adam.minimize(loss).dispose();
      curve.push([strategy?.evaluations ?? k, at.value()]);
    }
    const answers = model.forward(x).sigmoid().round().sub(y).data;
    adam.dispose();
    for (const p of model.parameters()) p.dispose();
    return { curve, right: answers.filter((v) => v === 0).length };
  });
}
