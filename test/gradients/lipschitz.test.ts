/** lipschitzBound against singular values, slopes and pairs of inputs. */
import { grad, jacobian, manualSeed, nn, noGrad, ones, randn, type Tensor, tensor, tidy, zeros } from "nabla";
import { describe, expect, test } from "vitest";
import { lipschitzBound } from "../../src/gradients/regularization/lipschitz.ts";
import { inputGradientNorms } from "../../src/gradients/regularization/regularize.ts";

describe("lipschitzBound", () => {
  const operatorNorm = (f: (z: Tensor) => Tensor, shape: number[]): number => {
    // Power iteration on JᵀJ of an affine map.
    const zero = tidy(() => f(zeros(shape)).detach());
    let v = randn(shape);
    let size = 0;
    for (let i = 0; i < 300; i++) {
      const before = v;
      v = tidy(() => {
        const g = grad((z: Tensor) => f(z).sub(zero).mul(f(before).sub(zero).detach()).sum())(before);
        size = Math.sqrt(g.norm().item());
        return g.div(g.norm());
      });
      before.dispose();
    }
    return size;
  };

  test("equals the largest singular value of a Linear", () => {
    for (const [shape, values, expected] of [
      [[2, 2], [0, 3, 2, 0], 3],
      [[1, 4], [1, -1, 1, 1], 2],
      [[4, 1], [1, -1, 1, 1], 2],
      [[2, 3], [0, 0, 0, 0, 0, 0], 0],
    ] as const) {
      const layer = new nn.Linear(shape[1], shape[0]);
      noGrad(() => layer.weight.copyFrom(values));
      expect(lipschitzBound(layer)).toBeCloseTo(expected, 5);
    }
    manualSeed(1);
    const wide = new nn.Linear(30, 20, { bias: false });
    expect(lipschitzBound(wide)).toBeCloseTo(
      operatorNorm((z) => wide.forward(z), [1, 30]),
      4,
    );
    const tiny = new nn.Linear(2, 2);
    noGrad(() => tiny.weight.copyFrom([1e-25, 0, 0, 3e-25]));
    expect(lipschitzBound(tiny) / 3e-25).toBeCloseTo(1, 5);
  });

  test("lies between the operator norm of a Conv2d and √taps times that norm", () => {
    manualSeed(2);
    for (const [inputs, outputs, kernel, options] of [
      [3, 4, 3, { padding: "same" }],
      [2, 3, [1, 4], { padding: 2 }],
      [2, 4, 3, { stride: 2 }],
      [4, 6, 3, { groups: 2, padding: 1 }],
      [2, 2, 3, { dilation: 2, padding: 2 }],
      [3, 2, 1, {}],
    ] as const) {
      const layer = new nn.Conv2d(inputs, outputs, kernel, { bias: false, ...options });
      const bound = lipschitzBound(layer);
      const norm = operatorNorm((z) => layer.forward(z), [1, 10, 10, inputs]);
      const taps = layer.kernelSize[0]! * layer.kernelSize[1]!;
      expect(bound, `${layer}`).toBeGreaterThanOrEqual(norm * (1 - 1e-5));
      expect(bound, `${layer}`).toBeLessThanOrEqual(norm * Math.sqrt(taps) * (1 + 1e-5));
    }
    // If all weights are 1, the bound is the number of taps, 3 × 3.
    const sum = new nn.Conv2d(1, 1, 3, { bias: false });
    noGrad(() => sum.weight.copyFrom(ones([1, 3, 3, 1])));
    expect(lipschitzBound(sum)).toBeCloseTo(9, 4);
  });

  test("is 1 for SpectralNorm, and the product of the layers' bounds for a Sequential", () => {
    manualSeed(3);
    const normed = new nn.SpectralNorm(new nn.Linear(5, 6), { nPowerIterations: 50 });
    normed.forward(randn([1, 5]));
    expect(lipschitzBound(normed)).toBeCloseTo(1, 3);
    const [a, b] = [new nn.Linear(4, 5), new nn.Linear(5, 2)];
    const product = lipschitzBound(a) * lipschitzBound(b);
    const model = new nn.Sequential(new nn.Flatten(), new nn.Sequential(a, new nn.Sigmoid()), b, new nn.Identity());
    expect(lipschitzBound(model)).toBeCloseTo(product / 4, 6);
  });

  test("bounds the slope of each activation on [−8, 8], with at most 1% slack", () => {
    const x = tensor(Float32Array.from({ length: 16001 }, (_, i) => (i - 8000) / 1000 + 2 ** -12));
    const smooth = [
      new nn.Tanh(),
      new nn.Sigmoid(),
      new nn.SiLU(),
      new nn.Mish(),
      new nn.GELU(),
      new nn.GELU({ approximate: "tanh" }),
      new nn.Softplus(),
      new nn.Softplus(3),
      new nn.LogSigmoid(),
      new nn.Hardswish(),
      new nn.Hardsigmoid(),
      new nn.SELU(),
      new nn.ELU(),
      new nn.ELU(2),
      new nn.LeakyReLU(),
      new nn.LeakyReLU(-3),
      new nn.ReLU(),
      new nn.ReLU6(),
      new nn.Hardtanh(),
    ];
    for (const layer of smooth) {
      const steepest = grad((z: Tensor) => layer.forward(z).sum())(x)
        .abs()
        .max()
        .item();
      const bound = lipschitzBound(layer);
      expect(steepest, `${layer}`).toBeLessThanOrEqual(bound * (1 + 1e-6));
      expect(steepest, `${layer}`).toBeGreaterThan(bound * 0.99);
    }
    const softmax = new nn.Softmax();
    const J = jacobian((z: Tensor) => softmax.forward(z))(tensor([0, 0]));
    expect(J.square().sum().sqrt().item()).toBeCloseTo(lipschitzBound(softmax), 5);
  });

  test("is 1 for MaxPool2d without overlap, and the square root of the number of overlapping windows otherwise", () => {
    expect(lipschitzBound(new nn.MaxPool2d(2))).toBe(1);
    expect(lipschitzBound(new nn.MaxPool2d(3, { stride: 1 }))).toBe(3);
    expect(lipschitzBound(new nn.MaxPool2d([3, 2], { stride: 2 }))).toBeCloseTo(Math.SQRT2, 12);
    expect(lipschitzBound(new nn.MaxPool2d(2, { dilation: 2 }))).toBe(2);
    manualSeed(4);
    // An image with one nonzero pixel reaches the bound, because all 9 windows that contain this pixel return its value.
    const pool = new nn.MaxPool2d(3, { stride: 1 });
    const spike = zeros([1, 7, 7, 1]).data;
    spike[3 * 7 + 3] = 1;
    expect(
      pool
        .forward(tensor(spike, [1, 7, 7, 1]))
        .norm()
        .item(),
    ).toBeCloseTo(3, 6);
  });

  test("no two inputs of a network have outputs that are further apart than the bound allows", () => {
    manualSeed(6);
    const model = new nn.Sequential(
      new nn.Conv2d(1, 4, 3),
      new nn.SiLU(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(4, 4, 3),
      new nn.ReLU(),
      new nn.GlobalAvgPool2d(),
      new nn.Linear(4, 3),
      new nn.Softmax(),
    );
    const bound = lipschitzBound(model);
    const [a, b] = [randn([200, 10, 10, 1]), randn([200, 10, 10, 1])];
    const moved = model.forward(a).sub(model.forward(b)).norm(2, 1).div(a.sub(b).flatten(1).norm(2, 1)).max().item();
    expect(moved).toBeLessThanOrEqual(bound);
    expect(
      inputGradientNorms((z) => model.forward(z).narrow(1, 0, 1), a)
        .max()
        .item(),
    ).toBeLessThanOrEqual(bound);
  });

  test("errors name the layer", () => {
    expect(() =>
      lipschitzBound(new nn.Sequential(new nn.Linear(2, 2), new nn.Sequential(new nn.LayerNorm(2)))),
    ).toThrow("lipschitzBound: LayerNorm (layer 1.0) has no known bound. Layers may be Linear, Conv2d");
    class Twice extends nn.Sequential {
      override forward(x: Tensor): Tensor {
        return super.forward(x).mul(2);
      }
    }
    expect(() => lipschitzBound(new Twice(new nn.ReLU()))).toThrow("Twice has no known bound.");
    const odd = new nn.Linear(2, 2);
    noGrad(() => odd.weight.copyFrom([1, Number.NaN, 0, 0]));
    expect(() => lipschitzBound(odd)).toThrow("the weight must be finite, but [2, 2] contains NaN or infinities");
  });
});
