/** A feature's unit scales its partial derivative and shapes the ravine. Standardizing removes the unit; whitening also removes correlation. */
import { losses, manualSeed, nn, optim, randn, type Tensor, tensor } from "nabla";
import { conditioning, objective, partialsUnderScaling, standardize, whiten } from "nabla/gradients";
import { experiment } from "../experiment.ts";

const SAMPLES = 200;
const STEPS = 150;

export default experiment({
  name: "feature-scaling",
  title: "Feature scaling",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "The scale of the input features changes which parameter's gradient is larger, and with it the landscape's anisotropy and the optimizer's path.",
  formula:
    "x_j\\mapsto s_jx_j,\\ \\theta_j\\mapsto\\theta_j/s_j\\ \\Rightarrow\\ \\frac{\\partial L}{\\partial\\theta_j}\\mapsto s_j\\frac{\\partial L}{\\partial\\theta_j},\\qquad H=\\tfrac1nX^\\top X",
  functions: ["partialsUnderScaling", "conditioning", "standardize", "whiten", "objective"],
  parameters: {
    scale: { kind: "number", label: "scale of the second feature", min: 0.01, max: 100, default: 20, scale: "log" },
    correlation: { kind: "number", label: "correlation of the features", min: 0, max: 0.95, default: 0.6, step: 0.05 },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ scale, correlation, seed }) {
    manualSeed(seed);
    const mix = tensor([
      [1, correlation],
      [0, Math.sqrt(1 - correlation ** 2)],
    ]);
    const plain = randn([SAMPLES, 2]).matmul(mix);
    const y = plain
      .matmul(tensor([1, -2]))
      .add(randn([SAMPLES]).mul(0.1))
      .add(0.5);
    const x = plain.mul(tensor([1, scale]));
    // Both objectives give the same predictions, because θ₂ is divided by the scale.
    const of = (inputs: Tensor, theta: readonly number[]) =>
      objective((t: Tensor) => losses.mse(inputs.matmul(t), y), [...theta]);
    const { before, after } = partialsUnderScaling((z) => of(z, z === plain ? [0.3, 0.4] : [0.3, 0.4 / scale]), plain, [
      1,
      scale,
    ]);
    const [standard, white] = [standardize(x), whiten(x)];
    const inputs: [string, Tensor][] = [
      ["original", x],
      ["standardized", standard.apply(x)],
      ["whitened", white.apply(x)],
    ];
    const curves = inputs.map(([name, z]) => ({ name, points: descent(z, y) }));
    const final = curves.map(({ points }) => points.at(-1)![1]);
    // For two standardized features with sample correlation r, the curvatures are 1 (for the bias), 1 + r and 1 − r.
    const z = standard.apply(x);
    const r = z
      .narrow(1, 0, 1)
      .mul(z.narrow(1, 1, 1))
      .mean()
      .item();
    return {
      findings: [
        {
          text: "∂L/∂θ₂ after scaling, divided by ∂L/∂θ₂ before scaling",
          measured: after[1]! / before[1]!,
          expected: { equals: scale, within: 1e-3 * scale },
          theory: "it is multiplied by the scale of its feature",
        },
        {
          text: "∂L/∂θ₁ after scaling, divided by ∂L/∂θ₁ before scaling",
          measured: after[0]! / before[0]!,
          expected: { equals: 1, within: 1e-3 },
          theory: "its feature does not change",
        },
        {
          text: "condition number of standardized features",
          measured: standard.after.conditionNumber,
          expected: { equals: (1 + Math.abs(r)) / (1 - Math.abs(r)), within: 0.02 * standard.after.conditionNumber },
          theory: "(1 + |r|)/(1 − |r|)",
        },
        {
          text: "condition number of whitened features",
          measured: white.after.conditionNumber,
          expected: { equals: 1, within: 0.01 },
          theory: "all curvatures are 1",
        },
        {
          text: `loss after ${STEPS} steps at the best rate: whitened divided by original features`,
          measured: final[2]! / final[0]!,
          expected: { atMost: 1 + 1e-3 },
          theory: "each step leaves (κ − 1)/(κ + 1) of the distance",
        },
      ],
      plots: [
        {
          title: "Gradient descent, each at its best rate",
          x: { label: "step" },
          y: { label: "mean squared error", scale: "log" },
          series: curves,
        },
      ],
      tables: [
        {
          title: "Condition number of XᵀX/n with a bias",
          columns: ["features", "κ"],
          rows: [
            ["original", conditioning(x).conditionNumber],
            ["standardized", standard.after.conditionNumber],
            ["whitened", white.after.conditionNumber],
          ],
        },
      ],
    };
  },
});

/**
 * Solves least squares by gradient descent at the best rate for its curvatures. The curvatures of the mse are twice the
 * values that `conditioning` returns.
 */
function descent(x: Tensor, y: Tensor): [number, number][] {
  const layer = new nn.Linear(2, 1);
  nn.init.zeros(layer.weight);
  nn.init.zeros(layer.bias!);
  const { smallest, largest } = conditioning(x);
  const optimizer = new optim.SGD(layer.parameters(), { lr: 1 / (smallest + largest) });
  return Array.from({ length: STEPS + 1 }, (_, t): [number, number] => {
    const loss = optimizer.minimize(() => losses.mse(layer.forward(x).reshape([-1]), y));
    return [t, loss.item()];
  });
}
