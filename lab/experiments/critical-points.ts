/**
 * Shows how the gradient and the Hessian's eigenvalues tell minima, saddles and plateaus apart, on a landscape that has
 * all three.
 */
import { type Tensor, tensor, tidy } from "nabla";
import { type CriticalPoint, classifyCriticalPoint, denseHessian, type Objective, objective } from "nabla/gradients";
import { type Finding, showNumber } from "../experiment.ts";
import { stream } from "../stream.ts";

/** The radius of the wells. */
const S = 0.6;
const HALF = 2.5;
/** Half the length of the bars that show the directions of the curvatures. */
const BAR = 0.35;
type Point = readonly [x: number, y: number];

export default stream({
  name: "critical-points",
  title: "Minima, plateaus and saddles",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "At a critical point the gradient is zero. The eigenvalues of the Hessian show what kind of point it is: all above zero at a minimum, of both signs at a saddle, all near zero on a plateau.",
  formula:
    "L=-e^{-\\|\\boldsymbol\\theta-c\\|^2/2s^2}-e^{-\\|\\boldsymbol\\theta+c\\|^2/2s^2},\\qquad c=(d/2,\\,0):\\quad d>2s\\ \\Leftrightarrow\\ \\text{two minima and a saddle}",
  functions: ["classifyCriticalPoint", "denseHessian", "objective"],
  parameters: {
    x: { kind: "number", label: "θ₁", min: -2.5, max: 2.5, default: 0.3, step: 0.02 },
    y: { kind: "number", label: "θ₂", min: -2.5, max: 2.5, default: 0.4, step: 0.02 },
    gap: { kind: "number", label: "distance d of the wells", min: 0.2, max: 4, default: 2, step: 0.05 },
  },
  dependsOn: ["gap"],
  init({ gap }) {
    const c = gap / 2;
    const wells = tensor([
      [c, 0],
      [-c, 0],
    ]);
    const at = objective(
      (theta: Tensor) =>
        theta
          .sub(wells)
          .square()
          .sum(1)
          .div(-2 * S * S)
          .exp()
          .sum()
          .neg(),
      [0, 0],
    );
    // The critical points on the axis: x = (d/2)·tanh(xd/(2s²)), which has three solutions for d > 2s.
    const well = wellOf(c);
    const starts: Point[] =
      well > 0
        ? [
            [-c, 0.1],
            [0.05, 0.05],
            [c, 0.1],
          ]
        : [[0.05, 0.05]];
    return tidy(() => {
      const found = starts.map((start) => newton(at, start));
      const classified = found.map((point) => inspect(at, point).kind);
      return { at, wells, well, found, classified, ridge: inspect(at, [0, 0]), far: inspect(at, [0, 4]) };
    });
  },
  measure: ({ at, well, found, classified, ridge, far }, { x, y, gap }) =>
    tidy(() => {
      const c = gap / 2;
      const here = inspect(at, [x, y]);
      const kinds = classified.map(({ kind }) => kind);
      const nearest = found.reduce((a, b) => (away(b, [x, y]) < away(a, [x, y]) ? b : a));
      const there = classified[found.indexOf(nearest)]!;
      const height = (2 / S ** 2) * Math.exp(-(c * c) / (2 * S * S));
      const slope = gradientOf(c, x, y);
      const isDouble = gap > 2 * S;
      // The gradient is computed with four float32 products and sums, each at most 2/s² and rounded by 2⁻²⁴ of its value.
      const within = 2 ** -20 * (2 / S ** 2);
      const findings: Finding[] = [
        {
          text: "∂L/∂θ₁ at the point",
          measured: here.gradient[0],
          expected: { equals: slope[0], within },
          theory: "Σ (θ₁ ∓ d/2)·exp(−‖θ ∓ c‖²/2s²)/s²",
        },
        {
          text: "∂L/∂θ₂ at the point",
          measured: here.gradient[1],
          expected: { equals: slope[1], within },
          theory: "Σ θ₂·exp(−‖θ ∓ c‖²/2s²)/s²",
        },
        {
          text: "curvature between the wells, along the line through them",
          measured: ridge.hessian[0]!,
          expected: { equals: height * (1 - (c / S) ** 2), within: 4 * within },
          theory: isDouble ? "below 0 for d > 2s: a saddle" : "above 0 for d < 2s: a minimum",
        },
        {
          text: "curvature between the wells, perpendicular to that line",
          measured: ridge.hessian[3]!,
          expected: { equals: height, within: 4 * within },
          theory: "2/s²·exp(−d²/8s²)",
        },
        {
          text: "largest magnitude of the derivatives at (0, 4), far from the wells",
          measured: Math.max(...[...far.gradient, ...Array.from(far.hessian)].map(Math.abs)),
          expected: { equals: 0, within: 1e-6 },
          theory: `at most 2·16/s⁴·exp(−8/s²) ≈ 5·10⁻⁸: a ${far.kind.kind}`,
        },
      ];
      // Newton's method and the curvatures are inaccurate where the two minima merge.
      if (Math.abs(gap / (2 * S) - 1) > 0.05)
        findings.push(
          {
            text: "minima minus saddles",
            measured: count(kinds, "minimum") - count(kinds, "saddle"),
            expected: { equals: 1, within: 0 },
            theory: "1 if the loss rises at the border (Morse; Poincaré and Hopf)",
          },
          {
            text: "number of minima",
            measured: count(kinds, "minimum"),
            expected: { equals: isDouble ? 2 : 1, within: 0 },
            theory: "2 if d > 2s, otherwise 1",
          },
          {
            text: "curvatures below 0, over all critical points",
            measured: classified.reduce((sum, { index }) => sum + index, 0),
            expected: { equals: isDouble ? 1 : 0, within: 0 },
            theory: "none at a minimum, one at a saddle",
          },
          {
            text: "θ₁ of the right minimum, found by Newton's method",
            measured: Math.max(...found.map(([a]) => a)),
            // An error in the gradient moves the minimum by this error divided by the curvature at the minimum.
            expected: { equals: well, within: (2 * within) / Math.abs(curvatureAt(c, well)) },
            theory: "the solution of θ₁ = (d/2)·tanh(θ₁d/2s²)",
          },
        );
      const grid = Array.from({ length: 51 }, (_, i) => -HALF + i / 10);
      const arrow = Math.min(0.6, 0.9 / Math.hypot(...here.gradient));
      return {
        findings,
        plots: [
          {
            title: "Point and curvatures",
            x: { label: "θ₁" },
            y: { label: "θ₂" },
            equal: true,
            field: {
              x: [-HALF, HALF],
              y: [-HALF, HALF],
              columns: 51,
              values: grid.flatMap((b) => grid.map((a) => valueOf(c, a, b))),
            },
            series: [
              {
                name: "∇L",
                points: [
                  [x, y],
                  [x + arrow * here.gradient[0], y + arrow * here.gradient[1]],
                ],
                style: "arrow",
              },
              { name: "minima", points: found.filter((_, i) => kinds[i] !== "saddle"), style: "dots" },
              { name: "saddle", points: found.filter((_, i) => kinds[i] === "saddle"), style: "dots" },
              { name: `to the nearest: a ${there.kind}`, points: [[x, y], nearest], style: "reference" },
              ...[here.kind.smallest, here.kind.largest].map(({ value, direction: [a, b] }) => ({
                name: `curvature ${showNumber(Number(value.toFixed(2)))}`,
                points: [-BAR, BAR].map((d): Point => [x + d * a!, y + d * b!]),
              })),
            ],
            handles: [{ name: "the point", at: [x, y], sets: { x: "x", y: "y" } }],
          },
        ],
        tables: [
          {
            title: "What the derivatives say",
            columns: ["", "the point", "nearest critical point"],
            rows: derivativeRows([x, y], here.kind, rounded(nearest), there),
          },
        ],
      };
    }),
  dispose({ at, wells }) {
    at.dispose();
    wells.dispose();
  },
});

interface Derivatives {
  readonly gradient: Point;
  /** The Hessian's four elements, row by row. */
  readonly hessian: ArrayLike<number>;
  readonly kind: CriticalPoint;
}
const inspect = (at: Objective, point: Point): Derivatives =>
  at.at(point, () => {
    const [a, b] = at.gradient();
    return { gradient: [a!, b!], hessian: denseHessian(at), kind: classifyCriticalPoint(at) };
  });

/** The critical point that Newton's method finds: θ ← θ − H⁻¹∇L. */
function newton(at: Objective, [x, y]: Point): Point {
  let point: Point = [x, y];
  for (let i = 0; i < 5; i++)
    at.at(point, () => {
      const [a, b] = at.gradient();
      const [p, q, r, s] = denseHessian(at);
      const determinant = p! * s! - q! * r!;
      point = [point[0] - (s! * a! - q! * b!) / determinant, point[1] - (p! * b! - r! * a!) / determinant];
    });
  return point;
}

/** The loss, its gradient and its curvature along the axis in closed form, for wells at (±c, 0). */
const valueOf = (c: number, x: number, y: number): number =>
  -[c, -c].reduce((sum, at) => sum + Math.exp(-((x - at) ** 2 + y * y) / (2 * S * S)), 0);
const gradientOf = (c: number, x: number, y: number): Point => {
  const parts = [c, -c].map((at) => {
    const weight = Math.exp(-((x - at) ** 2 + y * y) / (2 * S * S)) / S ** 2;
    return [weight * (x - at), weight * y] as const;
  });
  return [parts[0]![0] + parts[1]![0], parts[0]![1] + parts[1]![1]];
};
const curvatureAt = (c: number, x: number): number =>
  [c, -c].reduce((sum, at) => {
    const z = ((x - at) / S) ** 2;
    return sum + (Math.exp(-z / 2) * (1 - z)) / S ** 2;
  }, 0);

/** The positive solution of x = c·tanh(xc/s²), which exists if c > s. */
function wellOf(c: number): number {
  if (c <= S) return 0;
  let x = c;
  for (let i = 0; i < 1000; i++) x = c * Math.tanh((x * c) / S ** 2);
  return x;
}

const away = ([a, b]: Point, [x, y]: Point): number => Math.hypot(a - x, b - y);
const count = (kinds: readonly string[], kind: string): number => kinds.filter((one) => one === kind).length;
/** Rounds away the tiny remainder that Newton's method leaves where a coordinate should be 0. */
const rounded = ([a, b]: Point): Point => [Number(a.toFixed(4)), Number(b.toFixed(4))];
/** Table rows, each with a quantity's name and its values at the point and at the nearest critical point. */
const derivativeRows = (point: Point, here: CriticalPoint, critical: Point, there: CriticalPoint) => [
  ["θ₁", point[0], critical[0]],
  ["θ₂", point[1], critical[1]],
  ["‖∇L‖", ...[here, there].map(({ gradientNorm }) => Number(gradientNorm.toFixed(6)))],
  ["smallest curvature", here.smallest.value, there.smallest.value],
  ["largest curvature", here.largest.value, there.largest.value],
  ["kind", here.kind, there.kind],
];
