/**
 * The slope of the loss along a unit vector u is ∇L·u, which is proportional to the cosine of the angle between ∇L and
 * u.
 */
import { type Tensor, tensor } from "nabla";
import { directionalDerivative, objective, steepestDescent } from "nabla/gradients";
import { experiment, showNumber } from "../experiment.ts";

const DIRECTIONS = 24;
/**
 * The step h of central differences. A large step keeps the effect of float32 rounding small, and the truncation error
 * is 0 for a quadratic L.
 */
const H = 0.1;

export default experiment({
  name: "directional-derivative",
  title: "The directional derivative",
  section: "The Gradient: A Vector of Sensitivities",
  claim:
    "The slope of the loss along a unit vector u is the gradient's dot product with u. It is largest along the gradient, and 0 along the contour.",
  formula:
    "D_{\\boldsymbol u}L(\\boldsymbol\\theta) = \\nabla L(\\boldsymbol\\theta)\\cdot\\boldsymbol u = \\|\\nabla L\\|\\cos\\alpha",
  functions: ["objective", "directionalDerivative", "steepestDescent"],
  parameters: {
    x: { kind: "number", label: "θ₁", min: -2, max: 2, default: 1, step: 0.01 },
    y: { kind: "number", label: "θ₂", min: -2, max: 2, default: 0.5, step: 0.01 },
    direction: { kind: "number", label: "direction of u, degrees", min: -180, max: 180, default: 40, step: 1 },
  },
  run({ x, y, direction }) {
    // L = ½θ₁² + 2θ₂² + θ₁θ₂: steeper in θ₂.
    const hessian = tensor([
      [1, 1],
      [1, 4],
    ]);
    const at = objective((theta: Tensor) => theta.dot(hessian.matmul(theta)).mul(0.5), [x, y]);
    const value = (a: number, b: number): number => 0.5 * a * a + 2 * b * b + a * b;
    const exact = [x + y, 4 * y + x] as const;
    const length = Math.hypot(...exact);
    const steepest = degrees(Math.atan2(exact[1], exact[0]));
    const unit = (angle: number): [number, number] => [Math.cos(radians(angle)), Math.sin(radians(angle))];
    const u = unit(direction);
    const measured = directionalDerivative(at, u);
    const difference = (a: number): number => {
      const [c, s] = unit(a);
      return (at.value([x + H * c, y + H * s]) - at.value([x - H * c, y - H * s])) / (2 * H);
    };
    const angles = Array.from({ length: DIRECTIONS + 1 }, (_, i) => -180 + (360 * i) / DIRECTIONS);
    const slopes = angles.map((a): [number, number] => [a, difference(a)]);
    // Fit slope(α) = c·cos α + s·sin α to the slopes by Fourier coefficients. According to theory, (c, s) = ∇L.
    const fitted = [0, 1].map((i) =>
      slopes.slice(1).reduce((sum, [a, slope]) => sum + (2 / DIRECTIONS) * slope * unit(a)[i]!, 0),
    );
    // Each value of L is a sum with a few rounding errors, each at most 2⁻²⁴ times the largest term. The central
    // difference divides these errors by 2h.
    const size = 1 + 0.5 * (Math.abs(x) + H) ** 2 + 2 * (Math.abs(y) + H) ** 2 + Math.abs(x * y);
    const rounding = (4 * 2 ** -24 * size) / H;
    const u32 = 2 ** -22 * (Math.abs(x) + 4 * Math.abs(y));
    const grid = Array.from({ length: 41 }, (_, i) => -2 + i / 10);
    const to = (v: readonly number[], scale: number): [number, number] => [x + scale * v[0]!, y + scale * v[1]!];
    const tip = to(u, 0.8);
    const drawn = length ? Math.min(1, 1.2 / length) : 0;
    return {
      findings: [
        {
          text: "slope along u",
          measured,
          expected: { equals: length * Math.cos(radians(direction - steepest)), within: u32 },
          theory: "‖∇L‖·cos α, where α is the angle between u and ∇L",
        },
        {
          text: "slope along u from differences of L",
          measured: difference(direction),
          expected: { equals: exact[0] * u[0] + exact[1] * u[1], within: rounding },
          theory: "∇L·u; for a quadratic L, central differences are exact except for rounding",
        },
        {
          text: "slope along the contour, perpendicular to ∇L",
          measured: directionalDerivative(at, unit(steepest + 90)),
          expected: { equals: 0, within: u32 },
          theory: "‖∇L‖·cos 90° = 0",
        },
        // At θ = 0, the gradient is 0 and has no direction.
        ...(length > 0
          ? [
              {
                text: "slope along the direction of steepest descent, from differences",
                measured: difference(degrees(Math.atan2(...flip(steepestDescent(at).direction)))),
                expected: { equals: -length, within: rounding },
                theory: "−‖∇L‖: the loss falls no faster in any other direction",
              },
              {
                text: "slope of the steepest descent",
                measured: steepestDescent(at).slope,
                expected: { equals: length, within: u32 },
                theory: "‖∇L‖",
              },
            ]
          : []),
        {
          text: `length of the vector that fits ∇L·u to the slopes in ${DIRECTIONS} directions`,
          measured: Math.hypot(...fitted),
          expected: { equals: length, within: rounding },
          theory: "‖∇L‖",
        },
      ],
      plots: [
        {
          title: "A point and a direction",
          x: { label: "θ₁" },
          y: { label: "θ₂" },
          equal: true,
          field: {
            x: [-2, 2],
            y: [-2, 2],
            columns: 41,
            values: grid.flatMap((b) => grid.map((a) => value(a, b))),
          },
          series: [
            { name: "∇L", points: [[x, y], to(exact, drawn)], style: "arrow" },
            {
              name: `component along u: ∇L·u = ${showNumber(measured)}`,
              points: [[x, y], to(u, drawn * measured)],
              style: "arrow",
            },
            { name: "u", points: [[x, y], tip], style: "arrow" },
            { name: "perpendicular to u", points: [to(exact, drawn), to(u, drawn * measured)], style: "theory" },
          ],
          handles: [
            { name: "the point θ", at: [x, y], sets: { x: "x", y: "y" } },
            { name: "the direction u", at: tip, sets: { angle: "direction", around: [x, y] } },
          ],
        },
        {
          title: "The slope by direction",
          x: { label: "direction, degrees" },
          y: { label: "slope" },
          series: [
            { name: "from differences", points: slopes, style: "dots" },
            {
              name: "‖∇L‖ cos α",
              points: Array.from({ length: 91 }, (_, i) => [
                4 * i - 180,
                length * Math.cos(radians(4 * i - 180 - steepest)),
              ]),
              style: "theory",
            },
            { name: "u", points: [[direction, measured]], style: "dots" },
          ],
          handles: [{ name: "the direction u", at: [direction, measured], sets: { x: "direction" } }],
        },
      ],
    };
  },
});

const radians = (angle: number): number => (angle * Math.PI) / 180;
const degrees = (angle: number): number => (angle * 180) / Math.PI;
const flip = ([a, b]: ArrayLike<number> & Iterable<number>): [number, number] => [b!, a!];
