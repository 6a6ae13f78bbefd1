/** In a ravine, the gradient points across: descent zigzags, and the condition number determines how fast it converges. */
import { type Tensor, tensor } from "nabla";
import { conditionNumber, logSlope, objective, ravine } from "nabla/gradients";
import { experiment } from "../experiment.ts";

export default experiment({
  name: "ravine",
  title: "The ravine",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "In a narrow ravine, the slope across is orders of magnitude larger than the slope along the floor: the gradient points across, and descent oscillates from side to side instead of making progress.",
  formula:
    "L=\\tfrac12(\\kappa\\,u^2+v^2),\\qquad \\rho=\\frac{\\kappa-1}{\\kappa+1}\\ \\text{ per step at the best rate }\\ \\eta=\\frac{2}{\\kappa+1}",
  functions: ["ravine", "conditionNumber", "logSlope", "objective"],
  parameters: {
    kappa: { kind: "number", label: "condition number κ", min: 1.5, max: 300, default: 30, scale: "log" },
    angle: { kind: "number", label: "the ravine's angle, degrees", min: 0, max: 90, default: 25, integer: true },
    rate: { kind: "number", label: "learning rate, relative to the best", min: 0.1, max: 1, default: 1, step: 0.05 },
    momentum: { kind: "choice", label: "momentum", options: ["none", "heavy ball"], default: "none" },
  },
  run({ kappa, angle, rate, momentum }) {
    const [c, s] = [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)];
    // u points across the ravine and v along it, both rotated by the angle.
    const turn = tensor([
      [c, s],
      [-s, c],
    ]);
    const loss = (theta: Tensor) =>
      turn
        .matmul(theta)
        .square()
        .dot(tensor([0.5, 0.5 * kappa]));
    const start = [2 * c - 1 * s, 2 * s + 1 * c]; // v = 2 along the ravine, u = 1 across it
    const at = objective(loss, start);
    const seen = ravine(at);
    const best = 2 / (kappa + 1);
    // Polyak's learning rate and momentum, which are optimal for both extreme curvatures.
    const root = Math.sqrt(kappa);
    const [lr, mu] =
      momentum === "none" ? [rate * best, 0] : [rate * (2 / (root + 1)) ** 2, ((root - 1) / (root + 1)) ** 2];
    const steps = 120;
    let [theta, velocity] = [start, [0, 0]];
    const path: [number, number][] = [[start[0]!, start[1]!]];
    const distances: [number, number][] = [[0, Math.hypot(...start)]];
    let flips = 0;
    let before = 0;
    for (let t = 1; t <= steps; t++) {
      const g = at.gradient(theta);
      velocity = velocity.map((v, i) => mu * v - lr * g[i]!);
      theta = theta.map((v, i) => v + velocity[i]!);
      path.push([theta[0]!, theta[1]!]);
      distances.push([t, Math.hypot(...theta)]);
      const across = -s * theta[0]! + c * theta[1]!;
      if (across * before < 0) flips++;
      before = across;
    }
    const predicted = momentum === "none" ? Math.max(Math.abs(1 - lr * kappa), Math.abs(1 - lr)) : Math.sqrt(mu);
    // Use only distances that float32 can resolve.
    const clean = distances.filter(([t, d]) => t >= 5 && d > 1e-5);
    const pace = Math.exp(logSlope(clean.map(([t, d]) => [Math.exp(t), d])));
    const grid = Array.from({ length: 41 }, (_, i) => -2.6 + (5.2 * i) / 40);
    const value = (a: number, b: number): number => 0.5 * (kappa * (-s * a + c * b) ** 2 + (c * a + s * b) ** 2);
    return {
      findings: [
        {
          text: "condition number",
          measured: conditionNumber(at),
          expected: { equals: kappa, within: 1e-3 * kappa },
          theory: "κ, by construction",
        },
        {
          text: "slope across divided by slope along, at the start",
          measured: Math.abs(seen.across.slope / seen.along.slope),
          expected: { equals: kappa / 2, within: 0.01 * kappa },
          theory: "κ·u/v with u = 1, v = 2",
        },
        {
          text: "slope across, at the start",
          measured: Math.abs(seen.across.slope),
          expected: { equals: kappa, within: 1e-3 * kappa },
          theory: "κ·u with u = 1",
        },
        momentum === "none"
          ? {
              text: "fraction of the distance that remains after each step, fitted",
              measured: pace,
              expected: { equals: predicted, within: 0.03 },
              theory: "max(|1 − ηκ|, |1 − η|), which is (κ − 1)/(κ + 1) at the best rate",
            }
          : {
              text: "fraction of the distance that remains after each step, fitted",
              measured: pace,
              expected: { atMost: rate === 1 ? predicted + 0.06 : 1 },
              theory: "√μ, which is (√κ − 1)/(√κ + 1) at the best rate (Polyak 1964)",
            },
        ...(momentum === "none" && lr * kappa > 1 && kappa > 3
          ? [
              {
                text: "steps that cross to the other side of the ravine, counted up to 10",
                measured: Math.min(10, flips),
                expected: { atLeast: 10 } as const,
                theory: "1 − ηκ is below 0",
              },
            ]
          : []),
      ],
      plots: [
        {
          title: "The path",
          x: { label: "θ₁" },
          y: { label: "θ₂" },
          field: {
            x: [-2.6, 2.6],
            y: [-2.6, 2.6],
            columns: 41,
            values: grid.flatMap((b) => grid.map((a) => Math.log1p(value(a, b)))),
          },
          series: [{ name: "gradient descent", points: path, style: "path" }],
        },
        {
          title: "Distance from the minimum",
          x: { label: "step" },
          y: { label: "distance", scale: "log" },
          series: [
            { name: "measured", points: distances },
            {
              name: "predicted pace",
              points: distances.map(([t]) => [t, distances[0]![1] * predicted ** t]),
              style: "theory",
            },
          ],
        },
      ],
    };
  },
});
