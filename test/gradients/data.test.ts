import { losses, manualSeed, nn, randn, type Tensor, tensor } from "nabla";
import {
  batchGradients,
  conditioning,
  conditionNumber,
  curriculum,
  gradientConfusion,
  gradientNoiseScale,
  objective,
  partialsUnderScaling,
  signFlips,
  standardize,
  type Vector,
  weightsAgainstBiases,
  whiten,
} from "nabla/gradients";
import { describe, expect, test } from "vitest";

const v = (...values: number[]): Vector => Float64Array.from(values);

describe("confusion", () => {
  test("gives the sign flips, cosines and bound of known gradients", () => {
    const found = gradientConfusion([v(1, 1), v(1, -1), v(-1, -1)]);
    expect(found.signFlips).toBe(0.5);
    expect(found.meanCosine).toBeCloseTo(-1 / 3, 12);
    expect(found.leastCosine).toBeCloseTo(-1, 12);
    expect(found.bound).toBe(2);
    expect(found.cosines[0]![0]).toBeCloseTo(1, 12);
    expect(signFlips(v(1, 0, -2), v(-1, 5, -1))).toBeCloseTo(1 / 3, 12);
    expect(() => gradientConfusion([v(1)])).toThrow(/at least two/);
  });
  test("the noise scale recovers tr Σ/‖G‖² of Gaussian gradients for any batch size", () => {
    manualSeed(1);
    const [d, sigma, g] = [50, 2, 0.5];
    for (const size of [4, 16]) {
      const gradients = Array.from({ length: 400 }, () =>
        Float64Array.from(randn([d]).data, (n) => g + (sigma * n) / Math.sqrt(size)),
      );
      const { signal, noise, scale } = gradientNoiseScale(gradients, size);
      expect(Math.abs(signal / (d * g * g) - 1)).toBeLessThan(0.05);
      expect(Math.abs(noise / (d * sigma * sigma) - 1)).toBeLessThan(0.05);
      expect(Math.abs(scale / 16 - 1)).toBeLessThan(0.1);
    }
  });
  test("the mean of the mini-batch gradients of a model is the gradient of the whole batch", () => {
    manualSeed(2);
    const model = new nn.Linear(3, 1);
    const [x, y] = [randn([12, 3]), randn([12, 1])];
    const batches = [0, 4, 8].map((at) => [x.narrow(0, at, 4), y.narrow(0, at, 4)] as const);
    const loss = ([a, b]: readonly [Tensor, Tensor]) => losses.mse(model.forward(a), b);
    const gradients = batchGradients(model, loss, batches);
    const whole = objective(model, () => loss([x, y])).gradient();
    whole.forEach((g, i) => expect(gradients.reduce((s, part) => s + part[i]!, 0) / 3).toBeCloseTo(g, 5));
  });
});

describe("curriculum", () => {
  test("orders samples by fewest sign flips, by difficulty, or at random", () => {
    const gradients = [v(1, 1, 1, 1), v(-1, -1, -1, -1), v(1, 1, 1, -1), v(-1, -1, -1, 1), v(1, 1, -1, -1)];
    const order = curriculum({ by: "signs", gradients });
    const flips = (places: readonly number[]) => gradientConfusion(places.map((i) => gradients[i]!)).signFlips;
    expect([...order].sort()).toEqual([0, 1, 2, 3, 4]);
    expect(flips(order)).toBeLessThanOrEqual(flips([0, 1, 2, 3, 4]) / 2);
    expect(curriculum({ by: "difficulty", difficulty: [3, 1, 2] })).toEqual([1, 2, 0]);
    manualSeed(3);
    const random = curriculum({ by: "random", count: 50 });
    expect([...random].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(random).not.toEqual(curriculum({ by: "random", count: 50 }));
    expect(curriculum({ by: "signs", gradients: [] })).toEqual([]);
  });
});

describe("scaling", () => {
  const inputs = () => {
    manualSeed(4);
    const mixed = randn([200, 3]).matmul(
      tensor([
        [1, 0.8, 0],
        [0, 0.6, 0],
        [0, 0, 1],
      ]),
    );
    return mixed.mul(tensor([100, 1, 0.1])).add(tensor([5, -3, 0]));
  };
  test("conditioning agrees with the Hessian of ½·mse for a linear layer", () => {
    const x = inputs();
    const layer = new nn.Linear(3, 1);
    const at = objective(layer, () => losses.mse(layer.forward(x), randn([200, 1])).mul(0.5));
    const { conditionNumber: ratio } = conditioning(x);
    expect(Math.abs(ratio / conditionNumber(at) - 1)).toBeLessThan(0.02);
  });
  test("standardize gives mean 0 and standard deviation 1, and whiten also removes correlations", () => {
    const x = inputs();
    const { apply, before, after, std } = standardize(x);
    const z = apply(x);
    z.mean(0).data.forEach((m) => expect(m).toBeCloseTo(0, 5));
    z.square()
      .mean(0)
      .data.forEach((m) => expect(m).toBeCloseTo(1, 4));
    expect(std[0]! / std[2]!).toBeGreaterThan(500);
    expect(before.conditionNumber).toBeGreaterThan(1e5);
    expect(after.conditionNumber).toBeLessThan(20);
    for (const kind of ["zca", "pca"] as const) {
      const white = whiten(x, { kind, epsilon: 0 });
      expect(white.after.conditionNumber).toBeCloseTo(1, 2);
      const w = white.apply(x);
      const covariance = w.t().matmul(w).div(200).toArray() as number[][];
      covariance.forEach((row, i) => row.forEach((c, j) => expect(c).toBeCloseTo(i === j ? 1 : 0, 3)));
    }
    expect(
      conditioning(
        tensor([
          [1, 1],
          [1, 1],
        ]),
      ).conditionNumber,
    ).toBe(Infinity);
    expect(
      standardize(
        tensor([
          [1, 2],
          [1, 4],
        ]),
      )
        .apply(tensor([[1, 3]]))
        .toArray(),
    ).toEqual([[0, 0]]);
    const constant = standardize(tensor(Array.from({ length: 7 }, (_, k) => [0.1, k])));
    expect(constant.apply(tensor([[0.2, 3]])).toArray()).toEqual([[0, 0]]);
    expect(() =>
      whiten(
        tensor([
          [1, 1],
          [2, 2],
        ]),
        { epsilon: 0 },
      ),
    ).toThrow(/Remove them, or pass a larger epsilon/);
    expect(() => standardize(tensor([1, 2]))).toThrow(/\[samples, features\]/);
  });
  test("each partial derivative is multiplied by its feature's factor if predictions stay the same", () => {
    manualSeed(5);
    const [x, y] = [randn([20, 2]), randn([20])];
    const factors = [10, 0.1];
    const of = (inputs_: Tensor, w: readonly number[]) =>
      objective((t: Tensor) => losses.mse(inputs_.matmul(t), y), [...w]);
    const { before, after } = partialsUnderScaling((z) => of(z, z === x ? [1, 2] : [1 / 10, 2 / 0.1]), x, factors);
    after.forEach((g, i) => expect(g / before[i]!).toBeCloseTo(factors[i]!, 3));
  });
  test("for one sample, the ratio of weight to bias gradients is the length of the input", () => {
    manualSeed(6);
    const model = new nn.Sequential(new nn.Linear(4, 5), new nn.Tanh(), new nn.Linear(5, 2));
    for (const size of [0.1, 1, 3]) {
      const x = randn([1, 4]).mul(size);
      const [first, second] = weightsAgainstBiases(model, () => losses.mse(model.forward(x), randn([1, 2])));
      expect(first!.ratio / Math.hypot(...x.data)).toBeCloseTo(1, 4);
      expect(first!.inputLength).toBeCloseTo(Math.hypot(...x.data), 3);
      expect(second!.name).toBe("2");
    }
  });
});
