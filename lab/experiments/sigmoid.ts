/**
 * Shows the sigmoid and its derivative, which is at most ¼, and near 0 for saturated neurons. A large bias saturates a
 * whole layer.
 */
import { manualSeed, randn, type Tensor, tidy } from "nabla";
import { objective } from "nabla/gradients";
import { sigmoid } from "../algebra.ts";
import { average } from "../statistics.ts";
import { stream } from "../stream.ts";

const NEURONS = 400;
const RANGE = 8;

/** σ′ by autograd. */
const slopes = (at: readonly number[]): number[] =>
  tidy(() => Array.from(objective((t: Tensor) => t.sigmoid().sum(), at).gradient()));
/** σ′ of neurons whose inputs are shifted by a bias. */
const layer = (inputs: readonly number[], bias: number): number[] => slopes(inputs.map((x) => x + bias));
const derivative = (z: number): number => sigmoid(z) * sigmoid(-z);

export default stream({
  name: "sigmoid",
  title: "The sigmoid saturates",
  section: "Vanishing and Exploding Gradients",
  claim:
    "The derivative of the sigmoid has a maximum of ¼ at z = 0 and decays to 0 as |z| grows. A large bias saturates a neuron for almost all of its inputs.",
  formula: "\\sigma(z)=\\frac1{1+e^{-z}},\\qquad \\sigma'(z)=\\sigma(z)\\bigl(1-\\sigma(z)\\bigr)\\le\\tfrac14",
  functions: ["objective"],
  parameters: {
    z: { kind: "number", label: "z", min: -8, max: 8, default: 1.5, step: 0.1 },
    bias: { kind: "number", label: "bias of the neurons", min: -8, max: 8, default: 4, step: 0.1 },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  dependsOn: ["seed"],
  init({ seed }) {
    manualSeed(seed);
    const inputs = tidy(() => Array.from(randn([NEURONS]).data));
    const biases = Array.from({ length: 17 }, (_, i) => -RANGE + i);
    return { inputs, curve: biases.map((b): [number, number] => [b, average(layer(inputs, b))]) };
  },
  measure({ inputs, curve }, { z, bias }) {
    const grid = Array.from({ length: 129 }, (_, i) => -RANGE + i / 8);
    const onGrid = slopes(grid);
    const point = objective((t: Tensor) => t.sigmoid().sum(), [z]);
    const { value, gradient } = point.valueAndGradient();
    const slope = gradient[0]!;
    const decay = point.hvp([1])[0]! / slope;
    point.dispose();
    const neurons = layer(inputs, bias);
    const [mean, deviation] = [expectation(derivative, bias), spread(bias)];
    const highest = Math.max(...onGrid);
    return {
      findings: [
        {
          text: "σ′(z) from autograd",
          measured: slope,
          // 1 − σ(z) inherits the rounding error of σ(z), which is at most half of 2⁻²⁴ because σ(z) ≤ 1. The products
          // are rounded again.
          expected: { equals: derivative(z), within: 2 ** -22 },
          theory: "σ(z)(1 − σ(z))",
        },
        {
          text: `largest derivative at ${grid.length} points from −${RANGE} to ${RANGE}`,
          measured: highest,
          expected: { equals: 0.25, within: 2 ** -22 },
          theory: "σ(1 − σ) is largest for σ = ½",
        },
        {
          text: "z at which it is largest",
          measured: grid[onGrid.indexOf(highest)]!,
          expected: { equals: 0, within: 0 },
          theory: "σ(0) = ½",
        },
        {
          text: "relative change of σ′ per unit of z, σ″/σ′",
          measured: decay,
          // σ′ and σ″ each have an error of about 2⁻²². In the ratio, these errors are divided by σ′ ≥ e^{−|z|}/4.
          expected: { equals: -Math.tanh(z / 2), within: 2 ** -19 * Math.exp(Math.abs(z)) },
          theory: "−tanh(z/2): for large |z|, σ′ falls by a factor of e per unit",
        },
        {
          text: `mean σ′ of ${NEURONS} neurons with inputs from N(0, 1) and this bias`,
          measured: average(neurons),
          // Allow five standard errors.
          expected: { equals: mean, within: (5 * deviation) / Math.sqrt(NEURONS) },
          theory: "E[σ′(b + x)], about exp(½ − |b|) for large |b|",
        },
      ],
      plots: [
        {
          title: "σ and its tangent",
          ignores: ["bias", "seed"],
          x: { label: "z" },
          y: { label: "σ(z)" },
          series: [
            { name: "σ", points: grid.map((t) => [t, sigmoid(t)]) },
            { name: "slope σ′(z)", points: [-2, 2].map((d) => [z + d, value + slope * d]) },
          ],
          handles: [{ name: "z", at: [z, value], sets: { x: "z" } }],
        },
        {
          title: "The derivative",
          x: { label: "z" },
          y: { label: "σ′(z)" },
          series: [
            { name: "σ′ from autograd", points: grid.map((t, i) => [t, onGrid[i]!]) },
            {
              name: "at most ¼",
              style: "theory",
              points: [
                [-RANGE, 0.25],
                [RANGE, 0.25],
              ],
            },
            {
              name: "neurons with this bias",
              style: "dots",
              points: inputs
                .map((x, i): [number, number] => [x + bias, neurons[i]!])
                .filter(([t], i) => i % 5 === 0 && Math.abs(t) <= RANGE),
            },
          ],
          handles: [{ name: "the bias", at: [bias, derivative(bias)], sets: { x: "bias" } }],
        },
        {
          title: "A bias saturates a layer",
          ignores: ["z"],
          x: { label: "bias" },
          y: { label: "mean σ′", scale: "log" },
          series: [
            { name: `mean of ${NEURONS} neurons`, points: curve, style: "dots" },
            { name: "predicted mean", points: grid.map((b) => [b, expectation(derivative, b)]), style: "theory" },
          ],
          handles: [{ name: "the bias", at: [bias, mean], sets: { x: "bias" } }],
        },
      ],
    };
  },
});

/**
 * E[f(b + x)] for x from N(0, 1), by the trapezoidal rule, which is accurate up to rounding for smooth functions that
 * decay.
 */
function expectation(f: (z: number) => number, b: number): number {
  const h = 1 / 8;
  let sum = 0;
  for (let x = -RANGE; x <= RANGE; x += h) sum += h * f(b + x) * Math.exp((-x * x) / 2);
  return sum / Math.sqrt(2 * Math.PI);
}

/** The standard deviation of σ′(b + x). */
const spread = (b: number): number =>
  Math.sqrt(expectation((z) => derivative(z) ** 2, b) - expectation(derivative, b) ** 2);
