/** The two basic rules of backpropagation: the gradients of a linear layer are the sum of g and the sum of g·xᵀ. */
import { losses, manualSeed, nn, randn, type Tensor, tidy } from "nabla";
import { gradcheck, linearGradients, objective } from "nabla/gradients";
import { dot, norm } from "../algebra.ts";
import { experiment, type Picture, showNumber } from "../experiment.ts";
import { significant } from "../statistics.ts";

export default experiment({
  name: "linear-layer",
  title: "The linear layer: sums of g and of g·xᵀ",
  section: "Calculating Gradients: The Chain Rule and Backpropagation",
  claim:
    "In any network, the bias gradient of a linear layer is the sum of the upstream gradients g over the mini-batch, and its weight gradient is the sum of the outer products g·xᵀ: the column g times the row xᵀ. Blue is negative, orange is positive.",
  formula:
    "\\frac{\\partial L}{\\partial b}=\\sum_{k=1}^n g^{(k)},\\qquad \\frac{\\partial L}{\\partial W}=\\sum_{k=1}^n g^{(k)}(x^{(k)})^\\top",
  functions: ["linearGradients", "gradcheck", "objective"],
  parameters: {
    batch: { kind: "number", label: "samples in the batch", min: 1, max: 64, default: 16, integer: true },
    sample: { kind: "number", label: "sample to show", min: 1, max: 64, default: 1, integer: true },
    width: { kind: "number", label: "inputs of the layer", min: 1, max: 32, default: 8, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ batch, sample, width, seed }) {
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
    const k = Math.min(sample, batch);
    const g = upstream.gradient().slice(5 * (k - 1), 5 * k);
    const input = x.data.slice(width * (k - 1), width * k);
    /** A picture of a matrix. The title gives the largest magnitude of an element. */
    const picture = (title: string, columns: number, values: ArrayLike<number>): Picture => ({
      title: `${title}; darkest: ±${showNumber(significant(Math.max(...Array.from(values, Math.abs)), 2))}`,
      width: columns,
      height: values.length / columns,
      values: Array.from(values),
      colours: "diverging",
      cell: width > 8 ? 10 : 28,
    });
    const exact = inFloat64(layer, head, x, target);
    /**
     * The largest difference between autograd's or the closed form's gradient and the gradient in float64, relative to
     * the sum of absolute terms.
     */
    const apart = (name: "weight" | "bias") =>
      Math.max(
        ...exact[name].map(
          ({ sum, size }, i) => Math.max(Math.abs(automatic[name]![i]! - sum), Math.abs(closed[name][i]! - sum)) / size,
        ),
      );
    // A sum of n products in float32 is off by at most about n·2⁻²⁴ of the sum of their absolute values. The sum over
    // the inputs in the forward pass adds to this error.
    const rounding = (batch + width + 10) * 2 ** -24;
    const check = gradcheck(at, { raise: false });
    return {
      findings: [
        {
          text: "bias: largest difference between Σ g in float64 and the results of backward and linearGradients, divided by the sum of absolute terms",
          measured: apart("bias"),
          expected: { equals: 0, within: rounding },
          theory: "∂L/∂b = Σ g",
        },
        {
          text: "weight: largest difference between Σ g·xᵀ in float64 and the results of backward and linearGradients, divided by the sum of absolute terms",
          measured: apart("weight"),
          expected: { equals: 0, within: rounding },
          theory: "∂L/∂W = Σ g·xᵀ",
        },
        {
          text: "largest error against finite differences, divided by its tolerance",
          measured: check.worst.error / check.worst.allowed,
          expected: { atMost: 1 },
          theory: "the definition of the derivative",
        },
      ],
      gallery: "One sample, and their sum",
      pictures: [
        picture(`g of sample ${k}`, 1, g),
        picture(`xᵀ of sample ${k}`, width, input),
        picture(`g·xᵀ of sample ${k}`, width, Array.from(g, (slope) => Array.from(input, (v) => slope * v)).flat()),
        picture(batch > 1 ? `Σ g·xᵀ of all ${batch} samples` : "Σ g·xᵀ", width, closed.weight),
        picture("∂L/∂W from backward", width, automatic.weight!),
      ],
      plots: [
        {
          title: "The gradient of each bias",
          ignores: ["sample"],
          x: { label: "output i", integer: true },
          y: { label: "∂L/∂bᵢ" },
          series: [
            { name: "from backward", points: Array.from(automatic.bias!, (v, i) => [i + 1, v]), style: "bars" },
            { name: "Σ g", points: Array.from(closed.bias, (v, i) => [i + 1, v]), style: "dots" },
          ],
        },
      ],
    };
  },
});

interface Sum {
  readonly sum: number;
  /** The sum of the absolute values of the gradient's terms, which limits how much rounding can change the gradient. */
  readonly size: number;
}

/** Σ g and Σ g·xᵀ by the chain rule through v·tanh(W·x + b) + c and the mean squared error, in float64. */
function inFloat64(layer: nn.Linear, head: nn.Sequential, x: Tensor, target: Tensor): Record<"weight" | "bias", Sum[]> {
  const [w, inputs] = [layer.weight.toArray(), x.toArray()] as [number[][], number[][]];
  const b = Array.from(layer.bias!.data);
  const last = head.layers[1] as nn.Linear;
  const [v, [c], targets] = [last.weight.data, last.bias!.data, target.data];
  const gradients = inputs.map((row, k) => {
    const h = w.map((weights, i) => Math.tanh(dot(weights, row) + b[i]!));
    const answer = dot(v, h) + c!;
    // ŷ − y may be almost 0, but the rounding error of ŷ is not, so `size` adds the magnitudes.
    const [slope, size] = [answer - targets[k]!, norm(v) * norm(h) + Math.abs(c!) + Math.abs(targets[k]!)];
    return h.map((value, i) => {
      const factor = (2 / inputs.length) * v[i]!;
      // 1 − h² may be almost 0, too, but the rounding error of h² is not.
      return { sum: slope * factor * (1 - value ** 2), size: size * Math.abs(factor) * (1 + value ** 2) };
    });
  });
  const total = (terms: readonly Sum[]): Sum => ({
    sum: terms.reduce((a, term) => a + term.sum, 0),
    size: terms.reduce((a, term) => a + term.size, 0),
  });
  const times = ({ sum, size }: Sum, value: number): Sum => ({ sum: sum * value, size: size * Math.abs(value) });
  return {
    bias: b.map((_, i) => total(gradients.map((g) => g[i]!))),
    weight: w.flatMap((row, i) => row.map((_, j) => total(gradients.map((g, k) => times(g[i]!, inputs[k]![j]!))))),
  };
}
