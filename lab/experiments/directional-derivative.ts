/**
 * The slope along u is ∇L·u. It varies with the cosine of the angle: it is largest along the gradient and zero
 * perpendicular to it.
 */
import { type Tensor, tensor } from "nabla";
import { objective } from "nabla/gradients";
import { experiment } from "../experiment.ts";

export default experiment({
  name: "directional-derivative",
  title: "The directional derivative",
  section: "The Gradient: A Vector of Sensitivities",
  claim:
    "The slope of the loss along a unit vector u is the gradient's dot product with u: largest along the gradient itself.",
  formula: "D_{\\boldsymbol u}L(\\boldsymbol\\theta) = \\nabla L(\\boldsymbol\\theta)\\cdot\\boldsymbol u",
  functions: ["objective"],
  parameters: {
    x: { kind: "number", label: "θ₁", min: -2, max: 2, default: 1 },
    y: { kind: "number", label: "θ₂", min: -2, max: 2, default: 0.5 },
    directions: { kind: "number", label: "directions tried", min: 8, max: 360, default: 72, integer: true },
  },
  run({ x, y, directions }) {
    // L = ½θ₁² + 2θ₂² + θ₁θ₂: steeper in θ₂.
    const weights = tensor([0.5, 2]);
    const loss = (theta: Tensor) => theta.square().dot(weights).add(theta.prod());
    const at = objective(loss, [x, y]);
    const g = at.gradient();
    const length = Math.hypot(g[0]!, g[1]!);
    const angles = Array.from({ length: directions }, (_, i) => (2 * Math.PI * i) / directions);
    const h = 1e-2;
    const measured = angles.map((a): [number, number] => {
      const [dx, dy] = [h * Math.cos(a), h * Math.sin(a)];
      return [(180 * a) / Math.PI, (at.value([x + dx, y + dy]) - at.value([x - dx, y - dy])) / (2 * h)];
    });
    const steepest = (180 * Math.atan2(g[1]!, g[0]!)) / Math.PI;
    const best = measured.reduce((top, point) => (point[1] > top[1] ? point : top));
    const apart = Math.abs(((best[0] - steepest + 540) % 360) - 180);
    const predicted = angles.map((a): [number, number] => [
      (180 * a) / Math.PI,
      g[0]! * Math.cos(a) + g[1]! * Math.sin(a),
    ]);
    const error = Math.max(...measured.map(([, d], i) => Math.abs(d - predicted[i]![1])));
    return {
      findings: [
        // The angle of a vector of length 0 is undefined, and that of a short one is inaccurate.
        ...(length > 0.01
          ? [
              {
                text: "angle between the steepest direction tried and the gradient, degrees",
                measured: apart,
                expected: { equals: 0, within: 180 / directions + 1 },
                theory: "at most half of the angle between neighbouring directions, and 1° for rounding errors",
              },
            ]
          : []),
        {
          text: "largest slope",
          measured: best[1],
          expected: { equals: length, within: length * (1 - Math.cos(Math.PI / directions)) + 1e-3 },
          theory: "max of ∇L·u over unit u is ‖∇L‖",
        },
        {
          text: "largest difference between a measured slope and ∇L·u",
          measured: error,
          expected: { equals: 0, within: 1e-3 * (1 + length) },
          theory: "D_u L = ∇L·u",
        },
      ],
      plots: [
        {
          title: "The slope by direction",
          x: { label: "direction, degrees" },
          y: { label: "slope" },
          series: [
            { name: "measured by differences", points: measured, style: "dots" },
            { name: "∇L·u", points: predicted, style: "theory" },
          ],
        },
      ],
    };
  },
});
