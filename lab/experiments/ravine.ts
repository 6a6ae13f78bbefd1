/** In a ravine, the gradient points across the floor: descent zigzags, and the condition number determines how fast descent converges. */
import { type Tensor, tensor } from "nabla";
import { conditionNumber, gradientDescent, objective, ravine } from "nabla/gradients";
import { experiment } from "../experiment.ts";

/** The number of steps, and the step at which the distance is compared with theory. */
const [STEPS, CHECKED] = [100, 40];

export default experiment({
  name: "ravine",
  title: "The ravine",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "In a narrow ravine, the slope across the floor is orders of magnitude larger than the slope along it: the gradient points across the floor, and descent oscillates from side to side instead of making progress.",
  formula:
    "L=\\tfrac12(\\kappa\\,u^2+v^2),\\qquad \\rho=\\frac{\\kappa-1}{\\kappa+1}\\ \\text{ per step at the best rate }\\ \\eta=\\frac{2}{\\kappa+1}",
  functions: ["ravine", "conditionNumber", "gradientDescent", "objective"],
  parameters: {
    kappa: { kind: "number", label: "condition number κ", min: 1.5, max: 300, default: 30, scale: "log" },
    angle: { kind: "number", label: "the ravine's angle, degrees", min: 0, max: 90, default: 25, integer: true },
    rate: { kind: "number", label: "learning rate, relative to the best", min: 0.1, max: 1, default: 1, step: 0.05 },
    momentum: { kind: "choice", label: "momentum", options: ["none", "heavy ball"], default: "none" },
    x: { kind: "number", label: "start θ₁", min: -2.5, max: 2.5, default: 1.4, step: 0.05 },
    y: { kind: "number", label: "start θ₂", min: -2.5, max: 2.5, default: 1.75, step: 0.05 },
  },
  run({ kappa, angle, rate, momentum, x, y }) {
    const [c, s] = [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)];
    // u points across the ravine and v along it, both rotated by the angle.
    const turn = tensor([
      [c, s],
      [-s, c],
    ]);
    const weights = tensor([0.5, 0.5 * kappa]);
    const at = objective((theta: Tensor) => turn.matmul(theta).square().dot(weights), [x, y]);
    const across = (theta: ArrayLike<number>): number => -s * theta[0]! + c * theta[1]!;
    const along = (theta: ArrayLike<number>): number => c * theta[0]! + s * theta[1]!;
    const [u, v] = [across([x, y]), along([x, y])];
    const best = 2 / (kappa + 1);
    // Polyak's learning rate and momentum, which are optimal for curvatures from 1 to κ.
    const root = Math.sqrt(kappa);
    const [lr, mu] =
      momentum === "none" ? [rate * best, 0] : [rate * (2 / (root + 1)) ** 2, ((root - 1) / (root + 1)) ** 2];
    const path = gradientDescent(at, { lr, momentum: mu, steps: STEPS }).states.map((state) => [...state]);
    const distances = path.map((state, t): [number, number] => [t, Math.hypot(...state)]);
    // Along an eigenvector, the update is a scalar recurrence.
    const [across1, along1] = [recurrence(u, kappa, lr, mu), recurrence(v, 1, lr, mu)];
    const predicted = across1.map((a, t) => Math.hypot(a, along1[t]!));
    const [first] = distances[0]!.slice(1) as [number];
    const seen = ravine(at);
    const steep = Math.hypot(kappa * u, v);
    const arrow = Math.min(1, 1.2 / steep);
    const gradient = at.gradient();
    const grid = Array.from({ length: 53 }, (_, i) => -2.6 + i / 10);
    const value = (a: number, b: number): number => 0.5 * (kappa * across([a, b]) ** 2 + along([a, b]) ** 2);
    // In float32, rotating θ and multiplying by κ gives the gradient an error of a few times 2⁻²⁴·κ‖θ‖. In a step, this
    // error is multiplied by the learning rate, about 2/κ.
    const u32 = 2 ** -21;
    // The angle by which these errors turn the gradient, whose length is `steep`. A cosine changes by at most this angle.
    const turned = (u32 * kappa * first) / steep;
    // The errors of a step, η·κ·u32·‖θ‖, change like the distance itself: n steps later they are ρⁿ times as large, or (n + 1)ρⁿ with momentum.
    const rho = Math.max(largestRoot(kappa, lr, mu), largestRoot(1, lr, mu));
    const within = predicted.slice(0, CHECKED).reduce((sum, d, t) => {
      const n = CHECKED - 1 - t;
      return sum + lr * kappa * u32 * d * rho ** n * (mu ? n + 1 : 1);
    }, 0);
    return {
      findings: [
        {
          text: "condition number",
          measured: conditionNumber(at),
          // The Hessian's rounding error is proportional to κ, so relative to the smallest eigenvalue, 1, it is κ times
          // as large.
          expected: { equals: kappa, within: kappa ** 2 * u32 },
          theory: "κ, by construction",
        },
        // At the minimum, the gradient has no direction.
        ...(first > 0.1
          ? [
              {
                text: "share of the gradient that points across the ravine, at the start",
                measured: seen.share,
                expected: { equals: Math.abs(kappa * u) / steep, within: turned },
                theory: "κ|u|/√(κ²u² + v²) for u across and v along the ravine",
              },
              {
                text: "cosine of the angle between −∇L and the direction to the minimum, at the start",
                measured: (gradient[0]! * x + gradient[1]! * y) / (Math.hypot(...gradient) * first),
                expected: { equals: (kappa * u * u + v * v) / (steep * first), within: turned },
                theory: "(κu² + v²)/(√(κ²u² + v²)·√(u² + v²))",
              },
              {
                text: "distance across after one step, minus (1 − ηκ)u",
                measured: across(path[1]!) - (1 - lr * kappa) * u,
                expected: { equals: 0, within: 4 * u32 * first },
                theory: lr * kappa > 1 ? "1 − ηκ is below 0: the step lands on the other side" : "1 − ηκ is above 0",
              },
              {
                text: `distance after ${CHECKED} steps`,
                measured: distances[CHECKED]![1],
                expected: { equals: predicted[CHECKED]!, within },
                theory:
                  momentum === "none"
                    ? "√(((1 − ηκ)ᵗu)² + ((1 − η)ᵗv)²)"
                    : "the recurrence aₜ₊₁ = (1 + μ − ηh)aₜ − μaₜ₋₁ for h = κ and h = 1 (Polyak 1964)",
              },
            ]
          : []),
      ],
      plots: [
        {
          title: "The path",
          x: { label: "θ₁" },
          y: { label: "θ₂" },
          equal: true,
          field: {
            x: [-2.6, 2.6],
            y: [-2.6, 2.6],
            columns: 53,
            values: grid.flatMap((b) => grid.map((a) => Math.sqrt(value(a, b)))),
            label: "√loss",
          },
          series: [
            {
              name: momentum === "none" ? "gradient descent" : "heavy ball",
              points: path.map((state) => [state[0]!, state[1]!]),
              style: "path",
              grows: true,
            },
            {
              name: "−∇L",
              points: [
                [x, y],
                [x - arrow * gradient[0]!, y - arrow * gradient[1]!],
              ],
              style: "arrow",
            },
            {
              name: "to the minimum",
              points: [
                [x, y],
                [0, 0],
              ],
              style: "theory",
            },
          ],
          handles: [{ name: "the start", at: [x, y], sets: { x: "x", y: "y" } }],
        },
        {
          title: "Distance from the minimum",
          x: { label: "step", integer: true },
          y: { label: "distance", scale: "log" },
          series: [
            { name: "measured", points: distances, grows: true },
            { name: "predicted", points: predicted.map((d, t) => [t, d]), style: "theory" },
          ],
        },
      ],
    };
  },
});

/**
 * The largest modulus of the roots of z² − (1 + μ − ηh)z + μ = 0. In the long run, each step multiplies the distance by
 * this modulus.
 */
function largestRoot(h: number, lr: number, mu: number): number {
  const sum = 1 + mu - lr * h;
  const discriminant = sum * sum - 4 * mu;
  return discriminant < 0 ? Math.sqrt(mu) : (Math.abs(sum) + Math.sqrt(discriminant)) / 2;
}

/** The steps of a heavy ball on ½h·a², which starts at rest: aₜ₊₁ = (1 + μ − ηh)aₜ − μaₜ₋₁. */
function recurrence(start: number, h: number, lr: number, mu: number): number[] {
  const states = [start];
  for (let t = 0; t < STEPS; t++) states.push((1 + mu - lr * h) * states[t]! - mu * (t ? states[t - 1]! : states[t]!));
  return states;
}
