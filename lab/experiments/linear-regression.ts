/** The article's first example: a loss that is three times as sensitive to one parameter as to the other. */
import { type Tensor, tensor } from "nabla";
import { finiteDifference, objective, type Sensitivity, sensitivities } from "nabla/gradients";
import { experiment } from "../experiment.ts";

export default experiment({
  name: "linear-regression",
  title: "Sensitivities of a linear regression",
  section: "The Gradient: A Vector of Sensitivities",
  claim:
    "For the sample ((3, 1), 8) and θ = (1, 1), the partial derivatives are −12 and −4: the loss is three times as sensitive to θ₁ as to θ₂.",
  formula:
    "L(\\boldsymbol\\theta)=\\tfrac12(\\theta_1x_1+\\theta_2x_2-y)^2,\\qquad \\frac{\\partial L}{\\partial\\theta_i}=(\\theta_1x_1+\\theta_2x_2-y)\\,x_i",
  functions: ["objective", "sensitivities", "finiteDifference"],
  parameters: {
    theta1: { kind: "number", label: "θ₁", min: -3, max: 5, default: 1, step: 0.1 },
    theta2: { kind: "number", label: "θ₂", min: -3, max: 5, default: 1, step: 0.1 },
    x1: { kind: "number", label: "x₁", min: -4, max: 4, default: 3, step: 0.1 },
    x2: { kind: "number", label: "x₂", min: -4, max: 4, default: 1, step: 0.1 },
    y: { kind: "number", label: "y", min: -10, max: 10, default: 8, step: 0.1 },
  },
  run({ theta1, theta2, x1, x2, y }) {
    const input = tensor([x1, x2]);
    const loss = (theta: Tensor) => theta.dot(input).sub(y).square().mul(0.5);
    const at = objective(loss, [theta1, theta2]);
    const gradient = at.gradient();
    const [g1, g2] = [gradient[0]!, gradient[1]!];
    const residual = theta1 * x1 + theta2 * x2 - y;
    // The partial derivative as a finite difference of the loss, which is computed in plain JavaScript.
    const byDifferences = (i: 0 | 1) =>
      finiteDifference((t) => 0.5 * ((i ? theta1 : t) * x1 + (i ? t : theta2) * x2 - y) ** 2, i ? theta2 : theta1);
    // In float32, the residual has an error of a few times 2⁻²⁴, relative to its terms. The finite differences in
    // float64 add an error of 10⁻⁹ times the loss.
    const terms = Math.abs(theta1 * x1) + Math.abs(theta2 * x2) + Math.abs(y);
    const within = 2 ** -21 * terms * Math.max(Math.abs(x1), Math.abs(x2));
    const withinDifferences = within + 1e-9 * (1 + terms ** 2);
    const curvature = x1 * x1 + x2 * x2;
    const lr = curvature && 1 / curvature;
    const fitted = [theta1 - lr * g1, theta2 - lr * g2] as const;
    const after = at.value(fitted);
    // After the step, the residual consists of rounding errors only: about eight float32 roundings of the terms before
    // and after the step. The loss is half the square of the residual.
    const rest = 2 ** -21 * (terms + Math.abs(fitted[0] * x1) + Math.abs(fitted[1] * x2) + Math.abs(y));
    const along = (i: 0 | 1) =>
      Array.from({ length: 33 }, (_, k): [number, number] => {
        const t = -3 + k / 4;
        return [t, at.value(i ? [theta1, t] : [t, theta2])];
      });
    const ranked = sensitivities(at);
    const [most, least] = ranked as [Sensitivity, Sensitivity];
    const inputs = [x1, x2] as const;
    const large = Math.max(Math.abs(x1), Math.abs(x2));
    const small = Math.min(Math.abs(x1), Math.abs(x2));
    // An arrow's length is a fifth of the gradient's, but at most 3.
    const scale = Math.min(0.2, 3 / Math.hypot(g1, g2));
    const to = (a: number, b: number): [number, number][] => [
      [theta1, theta2],
      [theta1 + scale * a, theta2 + scale * b],
    ];
    const grid = Array.from({ length: 41 }, (_, i) => -3 + i / 5);
    return {
      findings: [
        { text: "∂L/∂θ₁", measured: g1, expected: { equals: residual * x1, within }, theory: "(θ·x − y)·x₁" },
        { text: "∂L/∂θ₂", measured: g2, expected: { equals: residual * x2, within }, theory: "(θ·x − y)·x₂" },
        {
          text: "∂L/∂θ₁ from finite differences, minus ∂L/∂θ₁ from backward",
          measured: byDifferences(0) - g1,
          expected: { equals: 0, within: withinDifferences },
          theory: "both methods compute the same derivative",
        },
        {
          text: "∂L/∂θ₂ from finite differences, minus ∂L/∂θ₂ from backward",
          measured: byDifferences(1) - g2,
          expected: { equals: 0, within: withinDifferences },
          theory: "both methods compute the same derivative",
        },
        {
          text: "largest sensitivity",
          measured: Math.abs(most.derivative),
          expected: { equals: Math.abs(residual) * large, within },
          theory: "|θ·x − y| times the larger of |x₁| and |x₂|",
        },
        // If the residual or an input is about 0, the ratio is not defined.
        ...(small > 1e-3 && Math.abs(residual) > 1e-3
          ? [
              {
                text: `sensitivity to θ${"₁₂"[most.index[0]!]} divided by the sensitivity to θ${"₁₂"[least.index[0]!]}`,
                measured: most.derivative / least.derivative,
                // Both derivatives are products of the same residual and an input, so their ratio has only a few
                // rounding errors.
                expected: {
                  equals: inputs[most.index[0]!]! / inputs[least.index[0]!]!,
                  within: (2 ** -21 * large) / small,
                },
                theory: "x₁/x₂ or x₂/x₁: the residual is a factor of both",
              },
            ]
          : []),
        {
          text: "loss after one step down the gradient, with rate 1/‖x‖²",
          measured: after,
          expected: curvature
            ? { equals: 0, within: rest ** 2 / 2 }
            : { equals: residual ** 2 / 2, within: 2 ** -22 * residual ** 2 },
          theory: curvature
            ? "this rate is 1/curvature, so one step fits one sample exactly"
            : "x = 0: the loss depends on no parameter",
        },
      ],
      plots: [
        {
          title: "Loss and gradient",
          x: { label: "θ₁" },
          y: { label: "θ₂" },
          equal: true,
          field: {
            x: [-3, 5],
            y: [-3, 5],
            columns: 41,
            values: grid.flatMap((b) => grid.map((a) => 0.5 * (a * x1 + b * x2 - y) ** 2)),
          },
          series: [
            { name: "∇L", points: to(g1, g2), style: "arrow" },
            { name: "∂L/∂θ₁", points: to(g1, 0), style: "arrow" },
            { name: "∂L/∂θ₂", points: to(0, g2), style: "arrow" },
            { name: "L = 0", points: fits(x1, x2, y), style: "theory" },
          ],
          handles: [{ name: "the point θ", at: [theta1, theta2], sets: { x: "theta1", y: "theta2" } }],
        },
        {
          title: "Loss by parameter",
          x: { label: "θᵢ" },
          y: { label: "L" },
          series: [
            { name: "θ₁ varies", points: along(0) },
            { name: "θ₂ varies", points: along(1) },
            {
              name: "here",
              style: "dots",
              points: [
                [theta1, at.value()],
                [theta2, at.value()],
              ],
            },
          ],
        },
      ],
      tables: [
        {
          title: "Sensitivities",
          columns: ["parameter", "∂L/∂θ"],
          rows: ranked.map(({ index, derivative }) => [`θ${"₁₂"[index[0]!]}`, derivative]),
        },
      ],
    };
  },
});

/** The two ends of the line θ₁x₁ + θ₂x₂ = y in the plot's square; empty if the line misses the square. */
function fits(x1: number, x2: number, y: number): [number, number][] {
  const [low, high] = [-3, 5];
  const inside = (v: number): boolean => v >= low && v <= high;
  const ends = [low, high].flatMap((t): [number, number][] => [
    [t, (y - t * x1) / x2],
    [(y - t * x2) / x1, t],
  ]);
  return ends.filter((end) => end.every(inside)).slice(0, 2);
}
