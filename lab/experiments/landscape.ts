/**
 * The curvatures of a small network's loss: both ends of the spectrum by Lanczos, its density, and a plot of the loss
 * over the two steepest directions.
 */
import { losses, manualSeed, nn, optim, randn, type Tensor } from "nabla";
import {
  classifyCriticalPoint,
  denseEigen,
  hessianExtremes,
  hessianTrace,
  objective,
  plane,
  spectralDensity,
  topHessianDirections,
} from "nabla/gradients";
import { experiment } from "../experiment.ts";

const PROBES = 6;

/**
 * The standard deviation of the mean of vᵀHv over random unit vectors v. For one vector, it is √(2·(Σλ²/n − (Σλ/n)²)/(n
 * + 2)).
 */
function spreadOfMean(values: Float64Array, probes: number): number {
  const n = values.length;
  const [mean, square] = [values.reduce((a, b) => a + b, 0) / n, values.reduce((a, b) => a + b * b, 0) / n];
  return Math.sqrt((2 * (square - mean * mean)) / (n + 2) / probes);
}

export default experiment({
  name: "landscape",
  title: "The landscape's curvatures",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "Loss landscapes are non-convex: besides steep directions, there are flat and negatively curved ones. Hessian-vector products reveal them without ever forming the Hessian.",
  formula: "Hv=\\nabla(\\nabla L\\cdot v),\\qquad \\operatorname{tr}H=\\mathbb E[v^\\top Hv],\\ v_i=\\pm1",
  functions: [
    "hessianExtremes",
    "hessianTrace",
    "spectralDensity",
    "classifyCriticalPoint",
    "plane",
    "topHessianDirections",
    "denseEigen",
    "objective",
  ],
  parameters: {
    steps: { kind: "number", label: "training steps", min: 0, max: 400, default: 150, integer: true },
    width: { kind: "number", label: "hidden units", min: 2, max: 12, default: 6, integer: true },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  async run({ steps, width, seed }, { progress }) {
    manualSeed(seed);
    const model = new nn.Sequential(new nn.Linear(3, width), new nn.Tanh(), new nn.Linear(width, 2));
    const x = randn([60, 3]);
    const y = x.matmul(randn([3, 2])).tanh();
    const at = objective(model, () => losses.mse(model.forward(x) as Tensor, y));
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.02 });
    for (let i = 0; i < steps; i++) optimizer.minimize(() => losses.mse(model.forward(x) as Tensor, y)).dispose();
    await progress(0.2, "trained");
    const dense = denseEigen(at).values;
    const { largest, smallest, products } = hessianExtremes(at, { iterations: at.size });
    const trace = hessianTrace(at, { samples: 100 });
    const total = dense.reduce((a, b) => a + b, 0);
    await progress(0.5, "curvatures");
    const { curvatures, density } = spectralDensity(at, { probes: PROBES });
    const kind = classifyCriticalPoint(at, { gradientTolerance: 0.02 });
    await progress(0.7, "spectrum");
    const densityMean = density.reduce((sum, p, i) => sum + p * curvatures[i]!, 0) * (curvatures[1]! - curvatures[0]!);
    const [u, v] = topHessianDirections(at);
    const seen = plane(at, u, v, { points: 31, from: -1.5, to: 1.5 });
    const top = dense.at(-1)!;
    return {
      findings: [
        {
          text: "largest curvature from products, minus the largest curvature of the dense Hessian",
          measured: largest[0]!.value - top,
          expected: { equals: 0, within: 1e-3 * top },
          theory: "Lanczos finds the ends of a spectrum first",
        },
        {
          text: "smallest curvature from products, minus the smallest curvature of the dense Hessian",
          measured: smallest[0]!.value - dense[0]!,
          expected: { equals: 0, within: 1e-3 * top },
          theory: "the same",
        },
        {
          text: "trace from random signs, minus the sum of all curvatures, in standard errors",
          measured: (trace.value - total) / trace.standardError,
          expected: { equals: 0, within: 3.5 },
          theory: "E[vᵀHv] = tr H (Hutchinson 1990)",
        },
        {
          text: "area under the spectral density",
          measured: density.reduce((a, b) => a + b, 0) * (curvatures[1]! - curvatures[0]!),
          expected: { equals: 1, within: 0.03 },
          theory: "the area of a density is 1",
        },
        {
          text: "mean of the spectral density, minus the mean eigenvalue, in standard errors",
          measured: (densityMean - total / at.size) / spreadOfMean(dense, PROBES),
          expected: { equals: 0, within: 3.5 },
          theory: "a random start weights each eigenvalue by 1/n on average",
        },
      ],
      plots: [
        {
          title: "Spectral density of the Hessian",
          x: { label: "curvature" },
          y: { label: "density", scale: "log" },
          series: [
            {
              name: "stochastic Lanczos quadrature",
              points: Array.from(curvatures, (c, i): [number, number] => [c, density[i]!]).filter(([, d]) => d > 1e-6),
            },
            {
              name: "eigenvalues",
              points: Array.from(dense, (c) => [c, 1 / (dense.length * 0.01 * (top - dense[0]!))]),
              style: "dots",
            },
          ],
        },
        {
          title: "The loss over the two steepest directions",
          x: { label: "along the first" },
          y: { label: "along the second" },
          field: { x: [-1.5, 1.5], y: [-1.5, 1.5], columns: 31, values: seen.losses.flat() },
          series: [{ name: "current point", points: [[0, 0]], style: "dots" }],
        },
      ],
      tables: [
        {
          title: "The kind of point",
          columns: ["kind", "‖∇L‖", "curvatures below 0", "largest", "smallest", "products used"],
          rows: [[kind.kind, kind.gradientNorm, kind.index, top, dense[0]!, products]],
        },
      ],
    };
  },
});
