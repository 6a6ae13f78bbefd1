/** The two basic rules of backpropagation: the gradients of a linear layer are the sum of g and the sum of g·xᵀ. */
import { losses, manualSeed, nn, randn, tidy } from "nabla";
import { gradcheck, linearGradients, objective } from "nabla/gradients";
import { experiment } from "../experiment.ts";

export default experiment({
  name: "linear-layer",
  title: "The linear layer: sums of g and of g·xᵀ",
  section: "Calculating Gradients: The Chain Rule and Backpropagation",
  claim:
    "In any network, the bias gradient of a linear layer is the sum of the upstream gradients g over the mini-batch, and its weight gradient is the sum of the outer products g·xᵀ.",
  formula:
    "\\frac{\\partial L}{\\partial b}=\\sum_{k=1}^n g^{(k)},\\qquad \\frac{\\partial L}{\\partial W}=\\sum_{k=1}^n g^{(k)}(x^{(k)})^\\top",
  functions: ["linearGradients", "gradcheck", "objective"],
  parameters: {
    batch: { kind: "number", label: "samples in the batch", min: 1, max: 64, default: 16, integer: true },
    width: { kind: "number", label: "inputs of the layer", min: 1, max: 32, default: 8, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ batch, width, seed }) {
    manualSeed(seed);
    const layer = new nn.Linear(width, 5);
    const head = new nn.Sequential(new nn.Tanh(), new nn.Linear(5, 1));
    const [x, target] = [randn([batch, width]), randn([batch, 1])];
    const loss = () => losses.mse(head.forward(layer.forward(x)), target);
    const at = objective(layer, loss);
    const automatic = at.gradientsByName();
    // g = ∂L/∂y at the layer's output, computed by differentiating only the rest of the network.
    const upstream = objective(
      (y) => losses.mse(head.forward(y), target),
      tidy(() => layer.forward(x).detach()),
    );
    const closed = tidy(() => {
      const { weight, bias } = linearGradients(upstream.tensorOf(upstream.gradient(), 0), x);
      return { weight: weight.data, bias: bias.data };
    });
    const apart = (name: "weight" | "bias") =>
      Math.max(...automatic[name]!.map((g, i) => Math.abs(g - closed[name][i]!)));
    const largest = Math.max(...automatic.weight!.map(Math.abs), ...automatic.bias!.map(Math.abs));
    const check = gradcheck(at, { raise: false });
    return {
      findings: [
        {
          text: "bias: largest difference between Σ g and backward",
          measured: apart("bias"),
          expected: { atMost: 1e-5 * (largest + 0.1) },
          theory: "∂L/∂b = Σ g",
        },
        {
          text: "weight: largest difference between Σ g·xᵀ and backward",
          measured: apart("weight"),
          expected: { atMost: 1e-5 * (largest + 0.1) },
          theory: "∂L/∂W = Σ g·xᵀ",
        },
        {
          text: "largest error against finite differences, divided by its tolerance",
          measured: check.worst.error / check.worst.allowed,
          expected: { atMost: 1 },
          theory: "the definition of the derivative",
        },
      ],
      plots: [
        {
          title: "The gradient of each weight: by the rule and by backward",
          x: { label: "Σ g·xᵀ" },
          y: { label: "backward" },
          series: [
            { name: "weights", points: Array.from(automatic.weight!, (g, i) => [closed.weight[i]!, g]), style: "dots" },
            {
              name: "equal",
              points: [
                [-largest, -largest],
                [largest, largest],
              ],
              style: "theory",
            },
          ],
        },
      ],
    };
  },
});
