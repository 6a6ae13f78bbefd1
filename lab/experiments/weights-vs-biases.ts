/**
 * A weight's gradient grows with its input, but a bias's gradient does not: the scale of the inputs determines which
 * learns faster.
 */
import { losses, manualSeed, nn, randn, type Tensor } from "nabla";
import { logSlope, standardize, weightsAgainstBiases } from "nabla/gradients";
import { experiment } from "../experiment.ts";

const SCALES = Array.from({ length: 13 }, (_, i) => 10 ** (-2 + i / 3));

export default experiment({
  name: "weights-vs-biases",
  title: "Weights against biases",
  section: "Stochasticity and Gradient Confusion",
  claim:
    "In a linear layer, the scale of the inputs determines whether the updates to the weights or to the biases dominate. Normalization restores the balance.",
  formula:
    "\\frac{\\|\\partial L/\\partial W\\|_F}{\\|\\partial L/\\partial b\\|}=\\frac{\\|g\\,x^\\top\\|_F}{\\|g\\|}=\\|x\\|\\quad\\text{(one sample)}",
  functions: ["weightsAgainstBiases", "standardize", "logSlope"],
  parameters: {
    features: { kind: "number", label: "features", min: 1, max: 64, default: 16, integer: true },
    batch: { kind: "number", label: "samples in the batch", min: 2, max: 64, default: 16, integer: true },
    mean: {
      kind: "number",
      label: "mean of the inputs, relative to their spread",
      min: 0,
      max: 5,
      default: 1,
      step: 0.1,
    },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ features, batch, mean, seed }) {
    manualSeed(seed);
    const layer = new nn.Linear(features, 4);
    const [x, noise] = [randn([batch, features]).add(mean), randn([batch, 4])];
    // The loss is linear in the output, so g is the same at every scale and only x changes.
    const row = (inputs: Tensor, g: Tensor) =>
      weightsAgainstBiases(layer, () => layer.forward(inputs).mul(g).sum())[0]!;
    const rows = SCALES.map((scale) => ({ scale, ...row(x.mul(scale), noise) }));
    const single = row(x.narrow(0, 0, 1), noise.narrow(0, 0, 1));
    const length = Math.hypot(...x.narrow(0, 0, 1).data);
    const measureStandardized = (scale: number) => {
      const { apply } = standardize(x.mul(scale));
      return weightsAgainstBiases(layer, () => losses.mse(layer.forward(apply(x.mul(scale))), noise))[0]!;
    };
    const [balanced, large] = [measureStandardized(1), measureStandardized(1000)];
    const points = (of: "weight" | "bias"): [number, number][] => rows.map((r) => [r.scale, r[of]]);
    return {
      findings: [
        {
          text: "one sample: ‖∂W‖/‖∂b‖ divided by the length of the input",
          measured: single.ratio / length,
          // The tolerance allows for the float32 rounding of sums of up to 256 squares.
          expected: { equals: 1, within: 2e-6 },
          theory: "‖g·xᵀ‖ = ‖g‖·‖x‖",
        },
        {
          text: "growth of ‖∂W‖ with the inputs' scale (slope on a log-log plot)",
          measured: logSlope(points("weight")),
          expected: { equals: 1, within: 1e-6 },
          theory: "∂L/∂W = Σ g·xᵀ is linear in x",
        },
        {
          text: "growth of ‖∂b‖ with the inputs' scale",
          measured: logSlope(points("bias")),
          // The sums of g have the same bits at every scale, so only the float64 fit of the slope has rounding errors.
          expected: { equals: 0, within: 2 ** -46 },
          theory: "∂L/∂b = Σ g does not depend on x",
        },
        {
          text: "mean squared length of standardized inputs, divided by the number of features",
          measured: balanced.inputLength ** 2 / features,
          expected: { equals: 1, within: 1e-5 },
          theory: "each feature has variance 1, regardless of its unit",
        },
        {
          text: "‖∂W‖/‖∂b‖ after standardizing: with inputs multiplied by 1000, divided by the ratio with the original inputs",
          measured: large.ratio / balanced.ratio,
          // Inputs whose mean is five times their spread lose up to three bits when the mean is subtracted.
          expected: { equals: 1, within: 1e-4 },
          theory: "standardizing removes the unit, and with it the imbalance",
        },
      ],
      plots: [
        {
          title: "Gradients as the inputs grow",
          x: { label: "scale of the inputs", scale: "log" },
          y: { label: "norm of the gradient", scale: "log" },
          series: [
            { name: "weights", points: points("weight") },
            { name: "biases", points: points("bias") },
          ],
        },
      ],
    };
  },
});
