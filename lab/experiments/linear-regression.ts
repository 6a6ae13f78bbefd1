/** The article's first example: two parameters, one three times as sensitive as the other. */
import { type Tensor, tensor } from "nabla";
import { finiteDifference, objective, sensitivities } from "nabla/gradients";
import { experiment } from "../experiment.ts";

export default experiment({
  name: "linear-regression",
  title: "Sensitivities of a linear regression",
  section: "The Gradient: A Vector of Sensitivities",
  claim:
    "For the sample ((3, 1), 8) and θ = (1, 1), the partial derivatives are −12 and −4: the loss is three times as sensitive to θ₁ as to θ₂.",
  formula:
    "L(\\boldsymbol\\theta)=\\tfrac12(\\theta_1x_1+\\theta_2x_2-y)^2,\\qquad \\frac{\\partial L}{\\partial\\theta_i}=(\\theta_1x_1+\\theta_2x_2-y)\\,x_i",
  functions: ["objective", "sensitivities"],
  parameters: {
    theta1: { kind: "number", label: "θ₁", min: -3, max: 5, default: 1, step: 0.1 },
    theta2: { kind: "number", label: "θ₂", min: -3, max: 5, default: 1, step: 0.1 },
    x1: { kind: "number", label: "x₁", min: -4, max: 4, default: 3, step: 0.1 },
    x2: { kind: "number", label: "x₂", min: -4, max: 4, default: 1, step: 0.1 },
    y: { kind: "number", label: "y", min: -10, max: 10, default: 8, step: 0.1 },
  },
  run({ theta1, theta2, x1, x2, y }) {
    const loss = (theta: Tensor) =>
      theta
        .dot(tensor([x1, x2]))
        .sub(y)
        .square()
        .mul(0.5);
    const at = objective(loss, [theta1, theta2]);
    const gradient = at.gradient();
    const [g1, g2] = [gradient[0]!, gradient[1]!];
    const residual = theta1 * x1 + theta2 * x2 - y;
    // The same loss in plain JavaScript, as a function of one parameter.
    const byDifferences = (i: 0 | 1) =>
      finiteDifference((t) => 0.5 * ((i ? theta1 : t) * x1 + (i ? t : theta2) * x2 - y) ** 2, i ? theta2 : theta1);
    const within = 1e-4 * (1 + Math.abs(residual) * Math.max(Math.abs(x1), Math.abs(x2)));
    const curvature = x1 * x1 + x2 * x2;
    const lr = curvature && 1 / curvature;
    const after = at.value([theta1 - lr * g1, theta2 - lr * g2]);
    const along = (i: 0 | 1) =>
      Array.from({ length: 61 }, (_, k): [number, number] => {
        const t = -3 + (8 * k) / 60;
        return [t, at.value(i ? [theta1, t] : [t, theta2])];
      });
    const ranked = sensitivities(at);
    return {
      findings: [
        { text: "∂L/∂θ₁", measured: g1, expected: { equals: residual * x1, within }, theory: "(θ·x − y)·x₁" },
        { text: "∂L/∂θ₂", measured: g2, expected: { equals: residual * x2, within }, theory: "(θ·x − y)·x₂" },
        {
          text: "∂L/∂θ₁ from finite differences, minus ∂L/∂θ₁ from backward",
          measured: byDifferences(0) - g1,
          expected: { equals: 0, within: 10 * within },
          theory: "both are the derivative",
        },
        {
          text: "∂L/∂θ₂ from finite differences, minus ∂L/∂θ₂ from backward",
          measured: byDifferences(1) - g2,
          expected: { equals: 0, within: 10 * within },
          theory: "both are the derivative",
        },
        {
          text: "loss after one step down the gradient, with the rate 1/‖x‖²",
          measured: after,
          expected: { equals: curvature ? 0 : residual ** 2 / 2, within: 1e-6 * (1 + residual ** 2) },
          theory: curvature
            ? "this rate is 1/curvature, so one step fits one sample exactly"
            : "x = 0: the loss depends on no parameter",
        },
      ],
      plots: [
        {
          title: "The loss along each parameter, with the other fixed",
          x: { label: "θᵢ" },
          y: { label: "L" },
          series: [
            { name: "θ₁ varies", points: along(0) },
            { name: "θ₂ varies", points: along(1) },
          ],
        },
      ],
      tables: [
        {
          title: "Sensitivities, largest first",
          columns: ["parameter", "∂L/∂θ"],
          rows: ranked.map(({ index, derivative }) => [`θ${"₁₂"[index[0]!]}`, derivative]),
        },
      ],
    };
  },
});
