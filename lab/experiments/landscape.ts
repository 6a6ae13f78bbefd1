/**
 * Measures the curvatures of a small network's loss: both ends of the spectrum by Lanczos, and the spectrum's density.
 * Plots the loss over the two steepest directions.
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
  type Vector,
} from "nabla/gradients";
import { simpson } from "../algebra.ts";
import type { Context } from "../experiment.ts";
import { stream } from "../stream.ts";

const PROBES = 6;
/** The residual at which Lanczos stops, relative to the largest curvature. */
const TOLERANCE = 1e-6;
/** Densities below this floor are drawn at the floor. */
const FLOOR = 1e-6;

/**
 * The standard deviation of the mean of vᵀHv over random unit vectors v. For a single vector, the standard deviation is
 * √(2·(Σλ²/n − (Σλ/n)²)/(n + 2)).
 */
function spreadOfMean(values: Float64Array, probes: number): number {
  const n = values.length;
  const [mean, square] = [values.reduce((a, b) => a + b, 0) / n, values.reduce((a, b) => a + b * b, 0) / n];
  return Math.sqrt((2 * (square - mean * mean)) / (n + 2) / probes);
}

export default stream({
  name: "landscape",
  title: "The landscape's curvatures",
  section: "The Geometry of Non-Convex Landscapes",
  claim:
    "Loss landscapes are non-convex: besides steep directions, there are flat and negatively curved ones. Hessian-vector products reveal them without ever forming the Hessian. In the density, a peak at 0 means flat directions. The density smooths every curvature into a bell. The dots at the bottom are the exact curvatures: along the directions of those left of 0, the loss curves down.",
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
    a: { kind: "number", label: "point, 1st direction", min: -1.5, max: 1.5, default: 0.8, step: 0.05 },
    b: { kind: "number", label: "point, 2nd direction", min: -1.5, max: 1.5, default: -0.8, step: 0.05 },
  },
  dependsOn: ["steps", "width", "seed"],
  init: explore,
  measure({ at, dense, largest, smallest, products, trace, curvatures, density, kind, u, v, seen }, { a, b }) {
    const total = dense.reduce((sum, c) => sum + c, 0);
    const densityMean = density.reduce((sum, p, i) => sum + p * curvatures[i]!, 0) * (curvatures[1]! - curvatures[0]!);
    const top = dense.at(-1)!;
    // Lanczos may stop before it separates two curvatures that differ by less than about ten times its tolerance, and
    // may then return either of them.
    const gap = (first: number, second: number): number => {
      const distance = Math.abs(second - first);
      return distance < 10 * TOLERANCE * top ? distance : 0;
    };
    const origin = at.theta;
    const theta = (t: number): Vector => origin.map((w, i) => w + t * (a * u[i]! + b * v[i]!));
    /** The gradient's components along both directions of the plane. */
    const slopes = (t: number): [number, number] => {
      const gradient = at.gradient(theta(t));
      return [u, v].map((d) => d.reduce((sum, w, i) => sum + w * gradient[i]!, 0)) as [number, number];
    };
    const here = slopes(1);
    const arrow = Math.min(1, 0.8 / Math.hypot(...here));
    const there = at.value(theta(1));
    const corner = at.value(origin.map((w, i) => w + 1.5 * (u[i]! - v[i]!)));
    const work = integral((t) => a * slopes(t)[0] + b * slopes(t)[1]);
    return {
      findings: [
        {
          text: "largest curvature from products, minus the largest curvature of the dense Hessian",
          measured: largest[0]!.value - top,
          // The residual bounds the error of an approximate eigenvalue; products in float32 add rounding.
          expected: { equals: 0, within: largest[0]!.residual + 2 ** -18 * top + gap(top, dense.at(-2)!) },
          theory: "Lanczos finds the ends of a spectrum first",
        },
        {
          text: "smallest curvature from products, minus the smallest curvature of the dense Hessian",
          measured: smallest[0]!.value - dense[0]!,
          expected: { equals: 0, within: smallest[0]!.residual + 2 ** -18 * top + gap(dense[0]!, dense[1]!) },
          theory: "the same",
        },
        {
          text: "trace from random signs, minus the sum of all curvatures, in standard errors",
          measured: (trace.value - total) / trace.standardError,
          expected: { equals: 0, within: 5 },
          theory: "E[vᵀHv] = tr H (Hutchinson 1990)",
        },
        {
          text: "area under the spectral density",
          measured: density.reduce((a, b) => a + b, 0) * (curvatures[1]! - curvatures[0]!),
          // The area is slightly smaller, because the Gaussian around each eigenvalue is cut off at four standard
          // deviations.
          expected: { equals: 1, within: 1e-3 },
          theory: "the area of a density is 1",
        },
        {
          text: "mean of the spectral density, minus the mean eigenvalue, in standard errors",
          measured: (densityMean - total / at.size) / spreadOfMean(dense, PROBES),
          expected: { equals: 0, within: 5 },
          theory: "a random start weights each eigenvalue by 1/n on average",
        },
        {
          text: "loss at the point, minus the loss at the network's parameters",
          measured: there - at.value(),
          // The second term allows for the rounding of losses and gradients to float32.
          expected: { equals: work.value, within: work.difference + 2 ** -19 * (1 + there) },
          theory: "∫ ∇L·dθ along the line between them",
        },
        {
          text: "loss in the lower right corner of the plot",
          measured: seen.losses[0]!.at(-1)!,
          // The plot adds the terms of θ + 1.5u − 1.5v in a different order, which may round the parameters
          // differently.
          expected: { equals: corner, within: 2 ** -19 * (1 + corner) },
          theory: "L(θ + 1.5u − 1.5v)",
        },
      ],
      plots: [
        {
          title: "Spectral density",
          ignores: ["a", "b"],
          x: { label: "curvature" },
          y: { label: "density", scale: "log" },
          series: [
            {
              name: "density: each curvature smoothed into a bell",
              points: Array.from(curvatures, (c, i): [number, number] => [c, Math.max(FLOOR, density[i]!)]),
            },
            {
              name: "exact curvatures",
              points: Array.from(dense, (c) => [c, FLOOR]),
              style: "dots",
            },
          ],
        },
        {
          title: "Loss over the steepest plane",
          x: { label: "along the direction of the largest curvature" },
          y: { label: "along that of the second largest" },
          equal: true,
          field: { x: [-1.5, 1.5], y: [-1.5, 1.5], columns: 31, values: seen.losses.flat() },
          series: [
            { name: "the network", points: [[0, 0]], style: "dots" },
            {
              name: "−∇L in this plane",
              points: [
                [a, b],
                [a - arrow * here[0], b - arrow * here[1]],
              ],
              style: "arrow",
            },
          ],
          handles: [{ name: "the point", at: [a, b], sets: { x: "a", y: "b" } }],
        },
      ],
      tables: [
        {
          title: "The kind of point",
          ignores: ["a", "b"],
          columns: ["quantity", "value"],
          rows: [
            ["kind of point", kind.kind],
            ["norm of the gradient", kind.gradientNorm],
            ["curvatures", dense.length],
            ["curvatures below 0", kind.index],
            ["largest curvature", top],
            ["smallest curvature", dense[0]!],
            ["Hessian-vector products to find them", products],
          ],
        },
      ],
    };
  },
});

/** Trains the network and measures its curvatures. */
async function explore(
  { steps, width, seed }: { readonly steps: number; readonly width: number; readonly seed: number },
  { progress }: Context,
) {
  manualSeed(seed);
  const model = new nn.Sequential(new nn.Linear(3, width), new nn.Tanh(), new nn.Linear(width, 2));
  const x = randn([60, 3]);
  const y = x.matmul(randn([3, 2])).tanh();
  const loss = (): Tensor => losses.mse(model.forward(x) as Tensor, y);
  const at = objective(model, loss);
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.02 });
  for (let i = 0; i < steps; i++) optimizer.minimize(loss).dispose();
  optimizer.dispose();
  await progress(0.2, "trained");
  const dense = denseEigen(at).values;
  const { largest, smallest, products } = hessianExtremes(at, { iterations: at.size, tolerance: TOLERANCE });
  const trace = hessianTrace(at, { samples: 100 });
  await progress(0.5, "curvatures");
  const { curvatures, density } = spectralDensity(at, { probes: PROBES });
  const kind = classifyCriticalPoint(at, { gradientTolerance: 0.02 });
  await progress(0.7, "spectrum");
  const [u, v] = topHessianDirections(at);
  const seen = plane(at, u, v, { points: 31, from: -1.5, to: 1.5 });
  return { at, dense, largest, smallest, products, trace, curvatures, density, kind, u, v, seen };
}

/**
 * ∫₀¹ f(t) dt by Simpson's rule with 16 intervals, and the difference from the result with 8 intervals, which is about
 * 15 times the error with 16.
 */
function integral(f: (t: number) => number): { readonly value: number; readonly difference: number } {
  const values = Array.from({ length: 17 }, (_, i) => f(i / 16));
  const value = simpson(values);
  return { value, difference: Math.abs(value - simpson(values.filter((_, i) => i % 2 === 0))) };
}
