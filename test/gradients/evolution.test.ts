import { losses, manualSeed, memory, nn, optim, type Tensor, tensor } from "nabla";
import { objective, type Vector } from "nabla/gradients";
import { describe, expect, test } from "vitest";
import {
  breed,
  landeResponse,
  type Population,
  selectionAscent,
  selectionDifferential,
  selectionGradient,
  selectionGradientError,
} from "../../src/gradients/evolution/evolution.ts";
import { centredRanks, EvolutionStrategy, esError, esGradient } from "../../src/gradients/evolution/strategies.ts";

const population: Population = {
  mean: [1, -1],
  G: [
    [0.5, 0.3],
    [0.3, 0.4],
  ],
  E: [
    [0.5, -0.1],
    [-0.1, 0.8],
  ],
};
const beta = [0.3, -0.2];
const exponential = (z: Vector): number => Math.exp(beta[0]! * z[0]! + beta[1]! * z[1]!);
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.hypot(...Array.from(a, (v, i) => v - b[i]!));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b) / values.length;

describe("Lande's equation", () => {
  test("the response is exactly G·β", () => {
    expect([...landeResponse(population.G, beta)]).toEqual([0.5 * 0.3 - 0.3 * 0.2, 0.3 * 0.3 - 0.4 * 0.2]);
    // The second trait is not selected, but it is correlated with the first.
    expect([
      ...landeResponse(
        [
          [1, 0.5],
          [0.5, 1],
        ],
        [2, 0],
      ),
    ]).toEqual([2, 1]);
  });

  test("the differential and gradient of four individuals match a calculation by hand", () => {
    // z̄ = (½, ½), P = I/4, w̄ = 2; S = (¾ − ½, ½ − ½).
    const traits = [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ];
    const fitness = [1, 1, 3, 3];
    expect([...selectionDifferential(traits, fitness)]).toEqual([0.25, 0]);
    expect(distance(selectionGradient(traits, fitness), [1, 0])).toBeLessThan(1e-14);
    // The residuals are 0, so only the mean fitness contributes to the error. Along the first trait, ψ = ±½, so the error is √(¼/4).
    const error = selectionGradientError(traits, fitness);
    expect(distance(error, [0.25, 0])).toBeLessThan(1e-14);
  });

  test("the gradient separates a selected trait from a correlated one; the differential does not", () => {
    const { traits, fitness } = breed(
      {
        mean: [0, 0],
        G: [
          [1, 0.8],
          [0.8, 1],
        ],
        E: [
          [0, 0],
          [0, 0],
        ],
      },
      ([z]) => Math.exp(0.3 * z!),
      { seed: 3 },
    );
    const error = selectionGradientError(traits, fitness);
    const gradient = selectionGradient(traits, fitness);
    expect(Math.max(...error)).toBeLessThan(0.03);
    expect(Math.abs(gradient[0]! - 0.3)).toBeLessThan(4 * error[0]!);
    expect(Math.abs(gradient[1]!)).toBeLessThan(4 * error[1]!);
    expect(selectionDifferential(traits, fitness)[1]).toBeGreaterThan(0.2);
  });

  test("the standard errors of the gradient and the response are correct over 200 samples", () => {
    manualSeed(11);
    const expected = landeResponse(population.G, beta);
    const [ofGradient, ofResponse]: [number[], number[]] = [[], []];
    for (let i = 0; i < 200; i++) {
      const { traits, fitness, response, standardError } = breed(population, exponential, { size: 1000 });
      const error = selectionGradientError(traits, fitness);
      selectionGradient(traits, fitness).forEach((v, j) => ofGradient.push((v - beta[j]!) / error[j]!));
      response.forEach((v, j) => ofResponse.push((v - expected[j]!) / standardError[j]!));
    }
    for (const scores of [ofGradient, ofResponse]) {
      // The 400 scores are correlated in pairs, so the standard error is at most √(1/200) for their mean and √(2/200)
      // for their mean square.
      expect(Math.abs(mean(scores))).toBeLessThan(4 * Math.sqrt(1 / 200));
      expect(Math.abs(mean(scores.map((v) => v * v)) - 1)).toBeLessThan(4 * Math.sqrt(2 / 200));
    }
  });

  test("the response to selection is G·P⁻¹·S, the heritable part of the selection differential", () => {
    const h2 = 0.3;
    const options = { size: 40_000, seed: 5 };
    const { traits, fitness, response, standardError, offspring } = breed(
      { mean: [2], G: [[h2]], E: [[1 - h2]] },
      ([z]) => (z! > 2.5 ? 1 : 0),
      options,
    );
    const [S] = selectionDifferential(traits, fitness);
    // The mean of a normal distribution truncated at ½: φ(½)/(1 − Φ(½)).
    expect(Math.abs(S! - 1.1411)).toBeLessThan(0.03);
    expect(standardError[0]).toBeLessThan(0.01);
    expect(Math.abs(response[0]! - h2 * 1.1411)).toBeLessThan(4 * standardError[0]!);
    expect(offspring[0]! - 2).toBeCloseTo(response[0]!, 12);
  });

  test("the same seed gives the same generation", () => {
    const once = breed(population, exponential, { size: 100, seed: 9 });
    expect(breed(population, exponential, { size: 100, seed: 9 })).toEqual(once);
    expect(breed(population, exponential, { size: 100, seed: 10 }).response).not.toEqual(once.response);
  });

  test("under stabilizing selection, S is the natural gradient P·∇ln W̄ and the response is G·∇ln W̄", () => {
    // w = exp(−½·(z − o)ᵀ·Ω⁻¹·(z − o)), Ω = 4·I: ∇ ln W̄ = −(Ω + P)⁻¹·(z̄ − o) (Lande 1979).
    const optimum = [2, 0];
    const logFitness = (z: Tensor): Tensor =>
      z
        .sub(tensor(optimum))
        .square()
        .sum(1)
        .mul(-1 / 8);
    const ascent = selectionAscent(population, logFitness, { size: 50_000, seed: 2 });
    const [a, b, d] = [4 + 1, 0.2, 4 + 1.2];
    const [x, y] = [1 - 2, -1 - 0];
    const determinant = a * d - b * b;
    const gradient = [-(d * x - b * y) / determinant, -(a * y - b * x) / determinant];
    expect(distance(ascent.gradient, gradient)).toBeLessThan(0.01);
    expect(distance(ascent.natural, ascent.differential)).toBeGreaterThan(0);
    ascent.natural.forEach((v, j) => {
      expect(Math.abs(v - ascent.differential[j]!)).toBeLessThan(4 * ascent.standardError[j]!);
      expect(ascent.standardError[j]).toBeLessThan(0.01);
    });
    expect(distance(ascent.response, landeResponse(population.G, ascent.gradient))).toBe(0);
    // The Euclidean gradient points in a different direction.
    const [nx, ny] = ascent.natural;
    expect(Math.abs(Math.atan2(ny!, nx!) - Math.atan2(gradient[1]!, gradient[0]!))).toBeGreaterThan(0.05);
  });

  test("the standard errors of the natural gradient and the differential are correct over 100 samples", () => {
    manualSeed(4);
    const scores: number[] = [];
    for (let i = 0; i < 100; i++) {
      const { natural, differential, standardError } = selectionAscent(population, (z) => z.matmul(tensor(beta)), {
        size: 500,
      });
      natural.forEach((v, j) => scores.push((v - differential[j]!) / standardError[j]!));
    }
    expect(Math.abs(mean(scores))).toBeLessThan(4 * Math.sqrt(1 / 100));
    expect(Math.abs(mean(scores.map((v) => v * v)) - 1)).toBeLessThan(4 * Math.sqrt(2 / 100));
  });

  test("errors say how to fix the call", () => {
    expect(() => landeResponse([[1, 0]], [1, 0])).toThrow("landeResponse: G must be 2 × 2 for 2 traits, got 1 × 2.");
    expect(() => selectionDifferential([[1], [2]], [1])).toThrow(
      /traits must be \[n\]\[d\] and fitness \[n\].* got 2 individuals with traits and 1 with fitness/,
    );
    expect(() => selectionDifferential([[1], [2]], [0, 0])).toThrow(
      /fitness must be finite and 0 or more, with a mean above 0, got mean 0 and minimum 0/,
    );
    expect(() => selectionDifferential([[1], [2]], [3, -1])).toThrow(/got mean 1 and minimum -1/);
    expect(() =>
      selectionGradient(
        [
          [1, 2],
          [2, 4],
          [3, 6],
        ],
        [1, 2, 3],
      ),
    ).toThrow(/^selectionGradient: the covariance P of the traits is singular.* Remove that trait/);
    expect(() => breed({ mean: [0], G: [[-1]], E: [[1]] }, () => 1)).toThrow(
      /breed: G must be a covariance matrix .*got eigenvalue -1/,
    );
    expect(() => breed({ mean: [], G: [], E: [] }, () => 1)).toThrow(
      "breed: mean must have at least one trait, got none.",
    );
    expect(() => selectionAscent(population, (z) => z.sum())).toThrow(/logFitness must return \[10000\].*got \[\]/);
    expect(() => selectionAscent(population, (z) => z.sum(1).mul(Number.NaN))).toThrow(
      /logFitness must return a finite number/,
    );
  });
});

describe("evolution strategies", () => {
  /** ½·xᵀ·diag(1, 2, 3, …)·x, in float64. */
  const bowl = (theta: Vector): number => theta.reduce((total, x, i) => total + ((i + 1) * x * x) / 2, 0);
  const at = [1, -1, 0.5];
  const gradient = [1, -2, 1.5];

  test("estimates are unbiased and have correct standard errors, over 200 runs", () => {
    manualSeed(1);
    for (const antithetic of [true, false]) {
      const scores: number[] = [];
      for (let i = 0; i < 200; i++) {
        const estimate = esGradient(bowl, at, { samples: 200, antithetic });
        estimate.gradient.forEach((v, j) => scores.push((v - gradient[j]!) / estimate.standardError[j]!));
      }
      expect(Math.abs(mean(scores))).toBeLessThan(4 * Math.sqrt(1 / 200));
      expect(Math.abs(mean(scores.map((v) => v * v)) - 1)).toBeLessThan(4 * Math.sqrt(2 / 200));
    }
  });

  test("the mean estimate is the gradient of the smoothed function: −e^{−σ²/2}·sin x for cos x", () => {
    const {
      gradient: [slope],
      standardError: [error],
      value,
    } = esGradient(([x]) => Math.cos(x!), [1], { samples: 40_000, sigma: 1, seed: 2 });
    const smoothed = -Math.exp(-1 / 2) * Math.sin(1);
    expect(error).toBeLessThan(0.01);
    expect(Math.abs(slope! - smoothed)).toBeLessThan(4 * error!);
    expect(Math.abs(slope! + Math.sin(1))).toBeGreaterThan(10 * error!);
    expect(Math.abs(value - Math.exp(-1 / 2) * Math.cos(1))).toBeLessThan(0.02);
  });

  test("the error is √((d + 1)/m) for m pairs of samples", () => {
    const options = { samples: [50, 100, 200, 400, 800], exact: gradient, repeats: 100, seed: 3 };
    const { points, slope, predicted, standardErrors } = esError(bowl, at, options);
    expect(Math.abs(slope + 0.5)).toBeLessThan(0.05);
    points.forEach(([, error], i) => {
      expect(Math.abs(error - predicted[i]![1])).toBeLessThan(4 * standardErrors[i]!);
      expect(standardErrors[i]! / error).toBeLessThan(0.1);
    });
    expect(predicted[0]![1]).toBe(Math.sqrt(4 / 25));
  });

  test("the error is √((d + 1)/m) for d = 4 to 256 parameters", () => {
    for (const d of [4, 32, 256]) {
      const linear = (theta: Vector): number => theta.reduce((a, b) => a + b, 0);
      const { points, predicted, standardErrors } = esError(linear, new Float64Array(d), {
        samples: [100],
        exact: new Float64Array(d).fill(1),
        repeats: 60,
        seed: d,
      });
      expect(predicted[0]![1]).toBe(Math.sqrt((d + 1) / 50));
      expect(Math.abs(points[0]![1] - predicted[0]![1])).toBeLessThan(4 * standardErrors[0]!);
    }
  });

  test("antithetic pairs and a baseline remove the variance d·f(θ)²/σ²", () => {
    const lifted = (theta: Vector): number => 5 + bowl(theta);
    const options = { samples: [400], exact: gradient, repeats: 60, sigma: 0.1 };
    const error = (how: { antithetic: boolean; baseline?: boolean }) =>
      esError(lifted, at, { ...options, ...how, seed: 8 });
    const [pairs, baseline, plain] = [
      error({ antithetic: true }),
      error({ antithetic: false }),
      error({ antithetic: false, baseline: false }),
    ];
    expect(plain.points[0]![1]).toBeGreaterThan(10 * pairs.points[0]![1]);
    expect(plain.points[0]![1]).toBeGreaterThan(10 * baseline.points[0]![1]);
    expect(Math.abs(plain.points[0]![1] / plain.predicted[0]![1] - 1)).toBeLessThan(0.15);
    // For a function that is even around θ, the estimate from antithetic pairs has no variance, but the estimate with a baseline does.
    const even = (antithetic: boolean) => esGradient(bowl, [0, 0, 0], { antithetic, seed: 1 }).gradient;
    expect([...even(true)].map(Math.abs)).toEqual([0, 0, 0]);
    expect(Math.max(...even(false).map(Math.abs))).toBeGreaterThan(0.01);
  });

  test("the number of evaluations is as requested, the seed determines the estimate, and the objective does not change", () => {
    let calls = 0;
    const counted = (theta: Vector): number => {
      calls++;
      return bowl(theta);
    };
    for (const [options, expected] of [
      [{}, 60],
      [{ antithetic: false }, 61],
      [{ antithetic: false, baseline: false }, 60],
      [{ ranks: true }, 60],
    ] as const) {
      calls = 0;
      expect(esGradient(counted, at, { samples: 60, ...options }).evaluations).toBe(expected);
      expect(calls).toBe(expected);
    }
    expect(esGradient(bowl, at, { seed: 4 })).toEqual(esGradient(bowl, at, { seed: 4 }));
    const square = objective((theta) => theta.square().sum(), [1, 2]);
    const { gradient: g, standardError } = esGradient(square, undefined, { samples: 2000, seed: 5 });
    expect([...square.theta]).toEqual([1, 2]);
    // With m = 1000 pairs, component i has variance (‖∇f‖² + (∂f/∂θᵢ)²)/m.
    [2, 4].forEach((v, i) => {
      expect(Math.abs(standardError[i]! / Math.sqrt((20 + v * v) / 1000) - 1)).toBeLessThan(0.15);
    });
    g.forEach((v, i) => expect(Math.abs(v - square.gradient()[i]!)).toBeLessThan(4 * standardError[i]!));
  });

  test("centred ranks range from −½ to ½, are equal for ties, and do not change under increasing functions", () => {
    expect([...centredRanks([30, 10, 20])]).toEqual([0.5, -0.5, 0]);
    expect([...centredRanks([1, 1, 5])]).toEqual([-0.25, -0.25, 0.5]);
    const options = { ranks: true, seed: 6 };
    const shaped = esGradient(bowl, at, options).gradient;
    expect(esGradient((theta) => Math.exp(bowl(theta)), at, options).gradient).toEqual(shaped);
    expect(esGradient((theta) => Math.exp(bowl(theta)), at, { seed: 6 }).gradient).not.toEqual(
      esGradient(bowl, at, { seed: 6 }).gradient,
    );
    const cosine =
      shaped.reduce((total, v, i) => total + v * gradient[i]!, 0) / Math.hypot(...shaped) / Math.hypot(...gradient);
    expect(cosine).toBeGreaterThan(0.95);
  });

  test.each([false, true])("trains XOR with Adam without gradients; ranks: %s", (ranks) => {
    manualSeed(7);
    const x = tensor([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]);
    const y = tensor([[0], [1], [1], [0]]);
    const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
    const at = objective(model, () => losses.bceWithLogits(model.forward(x), y));
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.05 });
    const strategy = new EvolutionStrategy(at, optimizer, { samples: 40, ranks });
    const before = at.value();
    strategy.step();
    const { tensors } = memory();
    for (let i = 0; i < 300; i++) strategy.step();
    expect(memory().tensors).toBe(tensors);
    expect(strategy.evaluations).toBe(301 * 40);
    expect(at.value()).toBeLessThan(0.2 * before);
    expect(model.forward(x).sigmoid().round().toArray()).toEqual([[0], [1], [1], [0]]);
    expect(model.parameters().every((p) => p.grad === null)).toBe(true);
  });

  test("minimizes a piecewise constant loss, whose gradient is 0", () => {
    const theta = tensor([3], { requiresGrad: true });
    const steps = objective([theta], () => theta.abs().mul(10).floor().sum());
    expect([...steps.gradient()].map(Math.abs)).toEqual([0]);
    const strategy = new EvolutionStrategy(steps, new optim.SGD([theta], { lr: 0.02 }), {
      sigma: 0.2,
      samples: 20,
      seed: 1,
    });
    for (let i = 0; i < 60; i++) strategy.step();
    expect(Math.abs(theta.item())).toBeLessThan(0.3);
    theta.dispose();
  });

  test("errors say how to fix the call", () => {
    expect(() => esGradient(bowl)).toThrow(
      "esGradient: a function has no parameters to start from. Pass θ as the second argument.",
    );
    expect(() => esGradient(bowl, at, { samples: 5 })).toThrow(
      "esGradient: samples must be an even number, 2 or more, got 5.",
    );
    expect(() => esGradient(bowl, at, { sigma: 0 })).toThrow("sigma must be above 0, got 0");
    expect(() => esGradient(([x]) => 1 / Math.max(0, x! - 1), [1])).toThrow(
      /not finite at a point around θ. Use a smaller sigma than 0.1/,
    );
    expect(() => esError(bowl, at, { samples: [10] })).toThrow(/Pass \{ exact: \[...\] \}/);
    expect(() => esError(bowl, [0, 0, 0], { samples: [10], exact: [0, 0, 0] })).toThrow(
      "esError: the length of the gradient must be above 0, got 0. Pass another θ.",
    );
    expect(() => esError(bowl, at, { samples: [10], exact: gradient, repeats: 1 })).toThrow(
      "esError: repeats must be 2 or more, got 1.",
    );
  });
});

test("evolution and evolution strategies leave no tensors behind", () => {
  const theta = tensor([1, 2], { requiresGrad: true });
  const at = objective([theta], () => theta.square().sum());
  const run = (): void => {
    breed(population, exponential, { size: 20 });
    selectionAscent(population, (z) => z.sum(1), { size: 20 });
    esGradient(at, undefined, { samples: 10 });
    esError(at, undefined, { samples: [4], repeats: 2 });
  };
  run();
  const before = memory().tensors;
  run();
  expect(memory().tensors).toBe(before);
});
