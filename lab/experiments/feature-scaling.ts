/**
 * The unit of a feature scales the partial derivative with respect to the feature's weight, and shapes the ravine.
 * Standardizing removes the effect of units; whitening also removes correlation.
 */
import { compile, losses, manualSeed, nn, noGrad, optim, randn, type Tensor, tensor, tidy } from "nabla";
import { conditioning, objective, partialsUnderScaling, standardize, whiten } from "nabla/gradients";
import { dot } from "../algebra.ts";
import { average } from "../statistics.ts";
import { stream } from "../stream.ts";

const SAMPLES = 200;
const STEPS = 40;
/** The default ε of `whiten`. */
const EPSILON = 1e-8;
/** The parameters at which the partial derivatives are compared, at scale 1. */
const THETA = [0.3, 0.4] as const;

export default stream({
  name: "feature-scaling",
  title: "Feature scaling",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "The scale of the input features changes which parameter's gradient is larger, and with it the landscape's anisotropy and the optimizer's path.",
  formula:
    "x_j\\mapsto s_jx_j,\\ \\theta_j\\mapsto\\theta_j/s_j\\ \\Rightarrow\\ \\frac{\\partial L}{\\partial\\theta_j}\\mapsto s_j\\frac{\\partial L}{\\partial\\theta_j},\\qquad H=\\tfrac1nX^\\top X",
  functions: ["partialsUnderScaling", "conditioning", "standardize", "whiten", "objective"],
  parameters: {
    scale: { kind: "number", label: "scale of the second feature", min: 0.01, max: 100, default: 5, scale: "log" },
    correlation: { kind: "number", label: "correlation of the features", min: 0, max: 0.95, default: 0.6, step: 0.05 },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  dependsOn: ["correlation", "seed"],
  init({ correlation, seed }) {
    manualSeed(seed);
    const mix = [
      [1, correlation],
      [0, Math.sqrt(1 - correlation ** 2)],
    ];
    const plain = tidy(() => randn([SAMPLES, 2]).matmul(tensor(mix)));
    const y = tidy(() =>
      plain
        .matmul(tensor([1, -2]))
        .add(randn([SAMPLES]).mul(0.1))
        .add(0.5),
    );
    return { plain, y, solver: newSolver() };
  },
  measure: ({ plain, y, solver }, { scale }) =>
    tidy(() => {
      const x = plain.mul(tensor([1, scale]));
      // The objectives before and after scaling give the same predictions, because θ₂ is divided by the scale.
      const of = (inputs: Tensor, theta: readonly number[]) =>
        objective((t: Tensor) => losses.mse(inputs.matmul(t), y), [...theta]);
      const { before, after } = partialsUnderScaling(
        (z) => of(z, z === plain ? THETA : [THETA[0], THETA[1] / scale]),
        plain,
        [1, scale],
      );
      const [standard, white] = [standardize(x), whiten(x)];
      // The partial derivatives at scale 1, computed from the samples in float64. ∂L/∂θ₁ does not depend on the scale.
      const { partials, sizes } = closedForm(plain, y, THETA);
      // A mean of 200 products in float32 has an error of about √200·2⁻²⁴ times the products' mean magnitude. Allow
      // five times this error.
      const [error1, error2] = sizes.map(
        (size, i) => (5 * Math.sqrt(SAMPLES) * 2 ** -24 * size) / Math.abs(partials[i]!),
      ) as [number, number];
      const switches = Math.abs(partials[0] / partials[1]);
      const scaled = (by: number) =>
        partialsUnderScaling((z) => of(z, z === plain ? THETA : [THETA[0], THETA[1] / by]), plain, [1, by]).after;
      const balanced = scaled(switches);
      const scales = Array.from({ length: 9 }, (_, i) => 10 ** (i / 2 - 2));
      const value = quadratic(x, y);
      const grid = Array.from({ length: 41 }, (_, i) => -3 + (3 * i) / 20);
      const gradient = of(x, THETA).gradient();
      const arrow = 1 / Math.hypot(gradient[0]!, gradient[1]!);
      const inputs: [string, Tensor][] = [
        ["original", x],
        ["standardized", standard.apply(x)],
        ["whitened", white.apply(x)],
      ];
      const curves = inputs.map(([name, z]) => ({ name, points: solver.descent(z, y) }));
      const final = curves.map(({ points }) => points.at(-1)![1]);
      // For two standardized features with sample correlation r, the curvatures are 1 (for the bias), 1 + r and 1 − r.
      // Rounding the features to float32 changes r by about 2⁻²³, and κ by the factor 1 ± 2⁻²³·2/(1 − r²). Allow twice
      // this change.
      const { r, kappa } = spread(x);
      const standardized = (1 + Math.abs(r)) / (1 - Math.abs(r));
      return {
        findings: [
          {
            text: "∂L/∂θ₂ after scaling, divided by ∂L/∂θ₂ before scaling",
            measured: after[1]! / before[1]!,
            expected: { equals: scale, within: scale * error2 },
            theory: "it is multiplied by the scale of its feature",
          },
          {
            text: "∂L/∂θ₁ after scaling, divided by ∂L/∂θ₁ before scaling",
            measured: after[0]! / before[0]!,
            expected: { equals: 1, within: error1 },
            theory: "its feature does not change",
          },
          {
            text: `|∂L/∂θ₂| divided by |∂L/∂θ₁| at the scale ${switches.toPrecision(3)}`,
            measured: Math.abs(balanced[1]! / balanced[0]!),
            expected: { equals: 1, within: error1 + error2 },
            theory: "this scale is the ratio of the derivatives at scale 1, so here both derivatives are equally large",
          },
          {
            text: "condition number of standardized features",
            measured: standard.after.conditionNumber,
            expected: { equals: standardized, within: (2 ** -21 / (1 - r * r)) * standardized },
            theory: "(1 + |r|)/(1 − |r|)",
          },
          {
            text: "condition number of whitened features",
            measured: white.after.conditionNumber,
            // Whitening multiplies the features by a matrix in float32. In the direction of least variance, this
            // product magnifies rounding errors by up to √κ.
            expected: { equals: 1 + EPSILON * kappa, within: 2 ** -21 * Math.sqrt(kappa) },
            theory: "all curvatures are 1, except that whiten adds ε = 10⁻⁸ of the largest variance to all variances",
          },
          {
            text: `loss after ${STEPS} steps at the best rate with whitened features, divided by that with the original features`,
            measured: final[2]! / final[0]!,
            expected: { atMost: 1 + 1e-3 },
            theory: "each step leaves (κ − 1)/(κ + 1) of the distance",
          },
        ],
        plots: [
          {
            title: "Which is larger?",
            x: { label: "scale of the second feature", scale: "log" },
            y: { label: "|∂L/∂θ|", scale: "log" },
            series: [
              { name: "∂L/∂θ₁", points: scales.map((by) => [by, Math.abs(scaled(by)[0]!)]), style: "dots" },
              { name: "∂L/∂θ₂", points: scales.map((by) => [by, Math.abs(scaled(by)[1]!)]), style: "dots" },
              {
                name: "predicted: constant",
                points: scales.map((by) => [by, Math.abs(partials[0])]),
                style: "theory",
              },
              {
                name: "predicted: proportional",
                points: scales.map((by) => [by, by * Math.abs(partials[1])]),
                style: "theory",
              },
            ],
            handles: [{ name: "the scale", at: [scale, Math.abs(after[1]!)], sets: { x: "scale" } }],
          },
          {
            title: "Gradient at a point",
            x: { label: "θ₁" },
            y: { label: "θ₂" },
            equal: true,
            field: {
              x: [-3, 3],
              y: [-3, 3],
              columns: 41,
              values: grid.flatMap((b) => grid.map((a) => Math.sqrt(value(a, b)))),
              label: "√loss",
            },
            series: [
              {
                name: "direction of −∇L",
                points: [THETA, [THETA[0] - arrow * gradient[0]!, THETA[1] - arrow * gradient[1]!]],
                style: "arrow",
              },
            ],
          },
          {
            title: "Descent at the best rates",
            x: { label: "step", integer: true },
            y: { label: "mean squared error", scale: "log" },
            series: curves,
          },
        ],
        tables: [
          {
            title: "Condition numbers",
            columns: ["features", "condition number κ"],
            rows: [
              ["original", conditioning(x).conditionNumber],
              ["standardized", standard.after.conditionNumber],
              ["whitened", white.after.conditionNumber],
            ],
          },
        ],
      };
    }),
  dispose({ plain, y, solver }) {
    for (const one of [plain, y, solver]) one.dispose();
  },
});

/**
 * Solves least squares by gradient descent. The step is compiled only once, because dragging the scale draws the curves
 * many times per second.
 */
function newSolver() {
  const layer = new nn.Linear(2, 1);
  const optimizer = new optim.SGD(layer.parameters(), { lr: 1 });
  const step = compile((x: Tensor, y: Tensor) =>
    optimizer.minimize(() => losses.mse(layer.forward(x).reshape([-1]), y)),
  );
  return {
    /**
     * The loss before each step, at the best rate for the curvatures. The curvatures of the mse are twice the values that `conditioning`
     * returns.
     */
    descent(x: Tensor, y: Tensor): [number, number][] {
      noGrad(() => layer.parameters().forEach((p) => void p.copyFrom(new Float32Array(p.size))));
      const { smallest, largest } = conditioning(x);
      optimizer.lr = 1 / (smallest + largest);
      return Array.from({ length: STEPS + 1 }, (_, t) => [t, step(x, y).item()]);
    },
    dispose() {
      for (const one of [step, optimizer, layer]) one.dispose();
    },
  };
}

/**
 * For each θⱼ, the partial derivative of the mean of (x·θ − y)², which is the mean of 2(x·θ − y)xⱼ, and the mean
 * magnitude of these terms.
 */
function closedForm(x: Tensor, y: Tensor, theta: readonly [number, number]) {
  const [inputs, targets] = [x.data, y.data];
  const [partials, sizes]: [[number, number], [number, number]] = [
    [0, 0],
    [0, 0],
  ];
  for (let i = 0; i < SAMPLES; i++) {
    const [a, b] = [inputs[2 * i]!, inputs[2 * i + 1]!];
    const residual = a * theta[0] + b * theta[1] - targets[i]!;
    for (const [j, value] of [a, b].entries()) {
      partials[j]! += (2 * residual * value) / SAMPLES;
      sizes[j]! += Math.abs(2 * residual * value) / SAMPLES;
    }
  }
  return { partials, sizes };
}

/** The correlation r of two features, and the condition number κ of their covariance, in float64. */
function spread(x: Tensor): { readonly r: number; readonly kappa: number } {
  const values = x.data;
  const column = (j: 0 | 1): number[] => Array.from({ length: SAMPLES }, (_, i) => values[2 * i + j]!);
  const [a, b] = ([0, 1] as const).map((j) => {
    const mean = average(column(j));
    return column(j).map((value) => value - mean);
  }) as [number[], number[]];
  const [aa, ab, bb] = [dot(a, a), dot(a, b), dot(b, b)];
  const largest = (aa + bb) / 2 + Math.hypot((aa - bb) / 2, ab);
  return { r: ab / Math.sqrt(aa * bb), kappa: largest ** 2 / (aa * bb - ab * ab) };
}

/** The loss, the mean of (x·θ − y)², as a quadratic function of θ. */
function quadratic(x: Tensor, y: Tensor): (a: number, b: number) => number {
  const [inputs, targets] = [x.data, Array.from(y.data)];
  const moment = (f: (a: number, b: number, t: number) => number): number =>
    targets.reduce((sum, t, i) => sum + f(inputs[2 * i]!, inputs[2 * i + 1]!, t), 0) / SAMPLES;
  const [aa, ab, bb] = [moment((a) => a * a), moment((a, b) => a * b), moment((_, b) => b * b)];
  const [at, bt, tt] = [moment((a, _, t) => a * t), moment((_, b, t) => b * t), moment((_a, _b, t) => t * t)];
  return (a, b) => Math.max(0, aa * a * a + 2 * ab * a * b + bb * b * b - 2 * (at * a + bt * b) + tt);
}
