/** Lande's equation: selection moves a population's mean by G·β, which raises its mean fitness. */
import { manualSeed, type Tensor, tensor, tidy } from "nabla";
import {
  breed,
  landeResponse,
  selectionAscent,
  selectionGradient,
  selectionGradientError,
  type Vector,
} from "nabla/gradients";
import { experiment } from "../experiment.ts";

const OPTIMUM = [3, 1];

export default experiment({
  name: "evolution",
  title: "Evolution climbs a gradient",
  section: "Applications and Interdisciplinary Connections",
  claim:
    "Evolution follows a gradient, too: from one generation to the next, the mean of a population moves by its genetic covariance times the gradient of the logarithm of mean fitness.",
  formula:
    "\\Delta\\bar{\\boldsymbol z} = G\\,\\boldsymbol\\beta,\\quad \\boldsymbol\\beta = P^{-1}\\mathrm{Cov}(w/\\bar w, \\boldsymbol z) = \\nabla \\ln\\bar W(\\bar{\\boldsymbol z})",
  functions: ["landeResponse", "selectionGradient", "breed", "selectionAscent", "selectionGradientError"],
  parameters: {
    selection: { kind: "choice", label: "selection", options: ["directional", "stabilizing"], default: "stabilizing" },
    strength: { kind: "number", label: "strength of selection", min: 0.05, max: 0.4, default: 0.2 },
    heritability: { kind: "number", label: "heritability", min: 0.1, max: 0.9, default: 0.5 },
    correlation: { kind: "number", label: "genetic correlation", min: -0.9, max: 0.9, default: 0.6 },
    generations: { kind: "number", label: "generations", min: 10, max: 40, default: 20, integer: true },
    size: { kind: "number", label: "individuals", min: 500, max: 5000, default: 2000, integer: true, scale: "log" },
    seed: { kind: "number", label: "seed", min: 0, max: 9999, default: 1, integer: true },
  },
  async run({ selection, strength, heritability, correlation, generations, size, seed }, { progress }) {
    manualSeed(seed);
    const G = [
      [heritability, heritability * correlation],
      [heritability * correlation, heritability],
    ];
    const E = [
      [1 - heritability, 0],
      [0, 1 - heritability],
    ];
    // Directional selection: w = e^{s·z₁}. Stabilizing selection: w = exp(−½s‖z − o‖²), so β = −(I/s + P)⁻¹·(z̄ − o)
    // (Lande 1979).
    const directional = selection === "directional";
    const fitness = ([a, b]: Vector): number =>
      Math.exp(directional ? strength * a! : -0.5 * strength * ((a! - OPTIMUM[0]!) ** 2 + (b! - OPTIMUM[1]!) ** 2));
    const logFitness = (z: Tensor): Tensor =>
      directional
        ? z.matmul(tensor([strength, 0]))
        : z
            .sub(tensor(OPTIMUM))
            .square()
            .sum(1)
            .mul(-0.5 * strength);
    const beta = (mean: Vector): [number, number] => {
      if (directional) return [strength, 0];
      const [diagonal, off] = [1 / strength + 1, heritability * correlation];
      const [x, y] = [mean[0]! - OPTIMUM[0]!, mean[1]! - OPTIMUM[1]!];
      const determinant = diagonal ** 2 - off ** 2;
      return [-(diagonal * x - off * y) / determinant, -(diagonal * y - off * x) / determinant];
    };

    let mean: Vector = new Float64Array(2);
    const means = [mean];
    const predicted = [mean];
    const [total, expected, errors] = [
      [0, 0],
      [0, 0],
      [0, 0],
    ];
    let [squares, worstGradient] = [0, 0];
    for (let k = 0; k < generations; k++) {
      await progress(k / generations, "generations");
      const { traits, fitness: w, offspring, response, standardError } = breed({ mean, G, E }, fitness, { size });
      const theory = landeResponse(G, beta(mean));
      const [estimate, error] = [selectionGradient(traits, w), selectionGradientError(traits, w)];
      for (const j of [0, 1]) {
        squares += ((response[j]! - theory[j]!) / standardError[j]!) ** 2;
        worstGradient += ((estimate[j]! - beta(mean)[j]!) / error[j]!) ** 2;
        total[j]! += response[j]!;
        expected[j]! += theory[j]!;
        errors[j] = Math.hypot(errors[j]!, standardError[j]!);
      }
      mean = offspring;
      means.push(mean);
      const before = predicted[k]!;
      predicted.push(landeResponse(G, beta(before)).map((v, j) => before[j]! + v));
    }
    const ascent = tidy(() => selectionAscent({ mean: [0, 0], G, E }, logFitness, { size: 10 * size }));
    const apart = Math.max(
      ...ascent.natural.map((v, j) => Math.abs(v - ascent.differential[j]!) / ascent.standardError[j]!),
    );
    // If all variation were inherited, the response would be the natural gradient P·β itself.
    const P = G.map((row, i) => row.map((v, j) => v + E[i]![j]!));
    const natural = [new Float64Array(2)];
    for (let k = 0; k < generations; k++)
      natural.push(landeResponse(P, beta(natural[k]!)).map((v, j) => natural[k]![j]! + v));

    const spread = 4 * Math.sqrt(2 / generations);
    return {
      findings: [
        ...[0, 1].map((j) => ({
          text: `change in the mean of trait ${j + 1} over ${generations} generations`,
          measured: total[j]!,
          expected: { equals: expected[j]!, within: 4 * errors[j]! },
          theory: "the sum of G·β, with β in closed form at each generation's mean; within four standard errors",
        })),
        {
          text: "mean square of (response − G·β) in standard errors",
          measured: squares / (2 * generations),
          expected: { equals: 1, within: spread },
          theory: "1 if they differ only by sampling error; its standard deviation is at most √(2/generations)",
        },
        {
          text: "mean square of (selection gradient by regression − β) in standard errors",
          measured: worstGradient / (2 * generations),
          expected: { equals: 1, within: spread },
          theory: "Lande and Arnold (1983): P⁻¹·Cov(w/w̄, z) estimates β",
        },
        {
          text: "distance of the natural gradient P·∇ln W̄ from the selection differential, in standard errors",
          measured: apart,
          expected: { atMost: 4 },
          theory: "selection within a generation is the natural gradient in the metric P⁻¹",
        },
      ],
      plots: [
        {
          title: "Mean by generation",
          x: { label: "generation", integer: true },
          y: { label: "mean" },
          series: [0, 1].flatMap((j) => [
            {
              name: `trait ${j + 1}, simulated`,
              points: means.map((m, k): [number, number] => [k, m[j]!]),
              style: "dots" as const,
            },
            {
              name: `trait ${j + 1}, Lande's equation`,
              points: predicted.map((m, k): [number, number] => [k, m[j]!]),
              style: "theory" as const,
            },
          ]),
        },
        {
          title: "Path of the mean",
          x: { label: "trait 1" },
          y: { label: "trait 2" },
          series: [
            { name: "simulated", points: path(means), style: "path" },
            { name: "Lande's equation", points: path(predicted), style: "theory" },
            { name: "if all variation were inherited", points: path(natural), style: "theory" },
          ],
          field: fieldOf(
            [...means, ...predicted, ...(directional ? [] : [Float64Array.from(OPTIMUM), ...natural])],
            // Up to a constant, ln W̄ is ½β·(z̄ − o) for stabilizing selection, where it is quadratic, and β·z̄ for
            // directional selection, where it is linear.
            (z) => {
              const [a, b] = beta(z);
              return directional ? strength * z[0]! : (a * (z[0]! - OPTIMUM[0]!) + b * (z[1]! - OPTIMUM[1]!)) / 2;
            },
          ),
        },
      ],
    };
  },
});

const path = (means: readonly Vector[]): [number, number][] => means.map(([x, y]) => [x!, y!]);

function fieldOf(points: readonly Vector[], f: (z: Vector) => number) {
  const columns = 50;
  const range = (j: number): [number, number] => {
    const values = points.map((p) => p[j]!);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = 0.1 * (high - low) + 0.1;
    return [low - margin, high + margin];
  };
  const [x, y] = [range(0), range(1)];
  const at = ([from, to]: [number, number], i: number): number => from + ((to - from) * i) / (columns - 1);
  const values = Array.from({ length: columns * columns }, (_, k) =>
    f(Float64Array.of(at(x, k % columns), at(y, Math.floor(k / columns)))),
  );
  return { x, y, columns, values, label: "ln W̄" };
}
