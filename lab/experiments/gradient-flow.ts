/** Gradient descent is Euler's method for gradient flow: the distance between their paths is proportional to the learning rate. */
import { type Tensor, tensor, tidy } from "nabla";
import { discretizationError, gradientDescent, gradientFlow, objective, type Point } from "nabla/gradients";
import { experiment } from "../experiment.ts";

/**
 * The weight of the landscape's quartic terms. The weight is small, because the leading terms of RK4's error would
 * cancel if the cubic terms dominated the gradient.
 */
const Q = 0.05;
const last = <T>(list: readonly T[]): T => list[list.length - 1]!;
const length = (v: Point): number => Math.hypot(...Array.from(v));
const path = (states: readonly Point[]): [number, number][] => states.map(({ 0: x, 1: y }) => [x!, y!]);

export default experiment({
  name: "gradient-flow",
  title: "Gradient descent follows a flow",
  section: "Gradients as a Dynamical System",
  claim:
    "Gradient descent is a discretization of gradient flow: at small learning rates, its path follows the flow, with an error proportional to the rate.",
  formula:
    "\\dot{\\boldsymbol\\theta} = -\\nabla L(\\boldsymbol\\theta),\\qquad \\boldsymbol\\theta_{k+1} = \\boldsymbol\\theta_k - \\eta\\,\\nabla L(\\boldsymbol\\theta_k)",
  functions: ["gradientFlow", "gradientDescent", "discretizationError", "objective"],
  parameters: {
    curvature: { kind: "number", label: "curvature along θ₂ (1 along θ₁)", min: 1, max: 20, default: 8 },
    rate: {
      kind: "number",
      label: "learning rate, relative to the largest stable rate",
      min: 0.05,
      max: 0.95,
      default: 0.85,
    },
    x: { kind: "number", label: "start: θ₁", min: 0.2, max: 2, default: 1.5 },
    y: { kind: "number", label: "start: θ₂", min: 0.2, max: 2, default: 1 },
    duration: { kind: "number", label: "duration", min: 0.5, max: 5, default: 3 },
  },
  run: ({ curvature, rate, x, y, duration }) =>
    tidy(() => {
      // L = ½θ₁² + ½κθ₂² + ¼q(θ₁⁴ + θ₂⁴).
      const start = [x, y];
      const h = [1, curvature];
      const theta = tensor(start, { requiresGrad: true });
      const weights = tensor(h.map((v) => v / 2));
      const loss = (t: Tensor): Tensor => {
        const squares = t.square();
        return squares.dot(weights).add(
          squares
            .square()
            .sum()
            .mul(Q / 4),
        );
      };
      const at = objective([theta], () => loss(theta));
      // The same gradient in float64, because float32 rounding hides fourth-order convergence.
      const exact = { theta: start, gradient: (t: Point) => h.map((c, i) => c * t[i]! + Q * t[i]! ** 3) };
      // The largest curvature between the start and 0.
      const steepest = Math.max(...h.map((c, i) => c + 3 * Q * start[i]! ** 2));
      const lr = (rate * 2) / steepest;

      const steps = Math.max(1, Math.round(duration / lr));
      const descents = [1, 4, 16].map((parts) => ({
        lr: lr / parts,
        ...gradientDescent(at, { lr: lr / parts, steps: steps * parts }),
      }));
      const flow = gradientFlow(at, { duration: steps * lr, times: last(descents).times });
      const apart = descents.map(({ states }, k) => {
        const every = [16, 4, 1][k]!;
        return Math.max(...states.map((s, i) => length(s.map((v, j) => v - flow.states[i * every]![j]!))));
      });
      // ‖θ̈‖ = ‖∇²L·∇L‖ at the points of the flow, and its integral over time by the trapezoidal rule.
      const bends = flow.states.map((s) => length(at.hvp(at.gradient(s), s)));
      const bend = bends.reduce((total, b, i) => (i ? total + ((b + bends[i - 1]!) / 2) * last(descents).lr : 0), 0);

      const counts = (largest: number, n: number): number[] => {
        const first = Math.ceil((duration * steepest) / largest);
        return Array.from({ length: n }, (_, i) => first * 2 ** i);
      };
      const euler = discretizationError(exact, { duration, steps: counts(0.1, 5), method: "euler" });
      const rk4 = discretizationError(exact, { duration, steps: counts(0.4, 4), method: "rk4" });
      const nabla = discretizationError(at, { duration, steps: counts(0.1, 3), method: "euler" });
      const worst = flow.states.reduce(
        (most, s) => Math.max(most, length(at.gradient(s).map((g, i) => g - exact.gradient(s)[i]!))),
        0,
      );

      const columns = 60;
      const [right, top] = [1.15 * x, 1.15 * y];
      const overshoot = Math.min(0, ...descents.flatMap(({ states }) => states.map((s) => s[1]! / y)));
      const [left, bottom] = [-0.25 * x, Math.min(-0.25, 1.1 * overshoot) * y];
      const grid = Array.from({ length: columns * columns }, (_, k) => {
        const [i, j] = [k % columns, Math.floor(k / columns)];
        const point = [left + ((right - left) * i) / (columns - 1), bottom + ((top - bottom) * j) / (columns - 1)];
        return point.reduce((total, v, n) => total + (h[n]! * v * v) / 2 + (Q * v ** 4) / 4, 0);
      });
      const theory = (points: typeof euler.points, order: number): [number, number][] => {
        const [step, error] = last(points);
        return points.map(([s]) => [s, error * (s / step) ** order]);
      };
      return {
        findings: [
          {
            text: "order of Euler's method, which is gradient descent, in float64",
            measured: euler.order,
            expected: { equals: 1, within: 0.06 },
            theory: "its error is proportional to the step",
          },
          {
            text: "order of Euler's method with nabla's gradients, in float32",
            measured: nabla.order,
            expected: { equals: 1, within: 0.1 },
            theory: "its error is proportional to the step, here with larger steps",
          },
          {
            text: "order of the classical Runge–Kutta method",
            measured: rk4.order,
            expected: { equals: 4, within: 0.25 },
            theory: "its error is proportional to the fourth power of the step",
          },
          {
            text: "distance of gradient descent from the flow, divided by lr·∫‖∇²L·∇L‖ dt along the flow",
            measured: apart[0]! / (lr * bend),
            expected: { atMost: 1 },
            theory: "steps below 2/hₘₐₓ do not move paths apart, and each step adds at most lr·∫‖θ̈‖ dt",
          },
          {
            text: "this distance divided by the distance at a sixteenth of the rate",
            measured: apart[0]! / apart[2]!,
            expected: { atLeast: 8 },
            theory: "16 for small rates, because the error is proportional to the rate",
          },
          {
            text: "largest error of nabla's gradient on the path, divided by the largest curvature",
            measured: worst / steepest,
            expected: { atMost: 1e-6 },
            theory: "the rounding error of float32",
          },
        ],
        plots: [
          {
            title: "The flow and three rates",
            x: { label: "θ₁" },
            y: { label: "θ₂" },
            series: [
              { name: "gradient flow", points: path(flow.states), style: "theory" },
              ...descents.map((d) => ({
                name: `η = ${d.lr.toPrecision(2)}`,
                points: path(d.states),
                style: "path" as const,
              })),
            ],
            field: { x: [left, right], y: [bottom, top], columns, values: grid },
          },
          {
            title: "Distance from the flow",
            x: { label: "step", scale: "log" },
            y: { label: "distance", scale: "log" },
            series: [
              { name: "Euler (gradient descent)", points: euler.points, style: "dots" },
              { name: "proportional to the step", points: theory(euler.points, 1), style: "theory" },
              { name: "nabla, float32", points: nabla.points, style: "dots" },
              { name: "Runge–Kutta 4", points: rk4.points, style: "dots" },
              { name: "proportional to its 4th power", points: theory(rk4.points, 4), style: "theory" },
            ],
          },
        ],
      };
    }),
});
