/** Normalization layers on empty batches and on batches with one value per channel: running statistics, gradients and results. */
import { compile, grad, manualSeed, nn, type Tensor, tensor, zeros } from "nabla";
import { KFAC } from "nabla/gradients";
import { describe, expect, test } from "vitest";

const EMPTY: [string, () => nn.BatchNorm, number[]][] = [
  ["BatchNorm1d of [0, 2]", () => new nn.BatchNorm1d(2), [0, 2]],
  ["BatchNorm1d of [0, 5, 3]", () => new nn.BatchNorm1d(3), [0, 5, 3]],
  ["BatchNorm1d of [4, 0, 3]", () => new nn.BatchNorm1d(3), [4, 0, 3]],
  ["BatchNorm1d of one channel, [0, 1]", () => new nn.BatchNorm1d(1), [0, 1]],
  ["BatchNorm2d of [0, 4, 4, 3]", () => new nn.BatchNorm2d(3), [0, 4, 4, 3]],
  ["BatchNorm2d of [2, 0, 4, 3]", () => new nn.BatchNorm2d(3), [2, 0, 4, 3]],
  ["BatchNorm1d with a cumulative average, of [0, 2]", () => new nn.BatchNorm1d(2, { momentum: null }), [0, 2]],
  ["BatchNorm1d without weights, of [0, 2]", () => new nn.BatchNorm1d(2, { affine: false }), [0, 2]],
];
const full = (shape: number[], f: (i: number) => number): Tensor => {
  const x = zeros(shape);
  return x.copyFrom(Float32Array.from({ length: x.size }, (_, i) => f(i)));
};
const statistics = (layer: nn.BatchNorm) =>
  [layer.runningMean!, layer.runningVar!, layer.numBatchesTracked!].map((x) => Array.from(x.data));

describe("an empty batch does not change running statistics", () => {
  for (const [name, make, shape] of EMPTY) {
    test(`${name}, eager and compiled`, () => {
      for (const compiled of [false, true]) {
        const layer = make();
        const real = full(
          shape.map((n) => n || 3),
          (i) => Math.sin(i),
        );
        layer.forward(real);
        const before = statistics(layer);
        expect(before[2]).toEqual([1]);
        const run = (x: Tensor) => layer.forward(x);
        const y = (compiled ? compile(run) : run)(zeros(shape));
        expect([...y.shape]).toEqual(shape);
        expect(statistics(layer)).toEqual(before);
        // The empty batch has no effect on later batches.
        const other = make();
        other.forward(real);
        for (const one of [layer, other]) one.forward(real.mul(2));
        expect(statistics(layer)).toEqual(statistics(other));
      }
    });
    test(`${name}: gradients are 0, and evaluation mode works`, () => {
      const layer = make();
      const x = zeros(shape, { requiresGrad: true });
      layer.forward(x).sum().backward();
      expect([...x.grad!.shape]).toEqual(shape);
      for (const p of layer.parameters()) expect(Array.from(p.grad!.data)).toEqual(new Array(p.size).fill(0));
      layer.eval();
      expect([...layer.forward(zeros(shape)).shape]).toEqual(shape);
    });
  }
});

describe("other normalizations of an empty input are empty and have gradient 0", () => {
  test.each<[string, nn.Module & { forward(x: Tensor): Tensor }, number[]]>([
    ["LayerNorm", new nn.LayerNorm(4), [0, 4]],
    ["LayerNorm of two dims", new nn.LayerNorm([2, 3]), [5, 0, 2, 3]],
    ["RMSNorm", new nn.RMSNorm(4), [3, 0, 4]],
    ["GroupNorm", new nn.GroupNorm(2, 4), [0, 3, 4]],
    ["GroupNorm without pixels", new nn.GroupNorm(2, 4), [2, 0, 4]],
    ["GroupNorm with one channel per group", new nn.GroupNorm(4, 4), [0, 3, 3, 4]],
    ["SpectralNorm", new nn.SpectralNorm(new nn.Linear(3, 2)), [0, 3]],
  ])("%s of %o", (_, layer, shape) => {
    const y = layer.forward(zeros(shape));
    expect(y.size).toBe(0);
    const x = zeros(shape, { requiresGrad: true });
    layer.forward(x).sum().backward();
    expect([...x.grad!.shape]).toEqual(shape);
    for (const p of layer.parameters()) if (p.grad) expect(Array.from(p.grad.data).every((v) => v === 0)).toBe(true);
    expect(grad((v: Tensor) => layer.forward(v).sum())(zeros(shape)).size).toBe(0);
  });
});

describe("one value per channel is rejected if batch statistics are used, as in PyTorch", () => {
  test.each<[string, nn.BatchNorm, number[]]>([
    ["BatchNorm1d", new nn.BatchNorm1d(2), [1, 2]],
    ["BatchNorm1d of one position", new nn.BatchNorm1d(2), [1, 1, 2]],
    ["BatchNorm2d", new nn.BatchNorm2d(2), [1, 1, 1, 2]],
    [
      "BatchNorm1d in eval() without running statistics",
      new nn.BatchNorm1d(2, { trackRunningStats: false }).eval() as nn.BatchNorm,
      [1, 2],
    ],
  ])("%s", (_, layer, shape) => {
    const before = layer.runningMean && statistics(layer);
    expect(() => layer.forward(zeros(shape))).toThrow(/one value per channel/);
    if (before) expect(statistics(layer)).toEqual(before);
  });
  test("but accepted in evaluation mode with running statistics", () => {
    const layer = new nn.BatchNorm1d(2).eval() as nn.BatchNorm1d;
    expect(layer.forward(tensor([[1, 2]])).data.every(Number.isFinite)).toBe(true);
  });
});

test("KFAC rejects an empty batch, which does not affect later steps", () => {
  const x = tensor([
    [1, 2],
    [3, 1],
    [-1, 0.5],
  ]);
  const y = tensor([
    [1, 0],
    [0, 1],
    [1, 1],
  ]);
  const run = (withEmpty: boolean): number[] => {
    const model = new nn.Linear(2, 2);
    model.weight.detach().copyFrom([0.1, -0.2, 0.3, 0.4]);
    model.bias!.detach().copyFrom([0, 0]);
    const optimizer = new KFAC(model, { likelihood: "gaussian" });
    const step = (input: Tensor, target: Tensor) => {
      manualSeed(6);
      return optimizer.minimize(() => model.forward(input), target);
    };
    step(x, y);
    if (withEmpty)
      expect(() => step(zeros([0, 2]), zeros([0, 2]))).toThrow(
        "KFAC: the batch must have at least one sample, got none.",
      );
    step(x, y);
    return Array.from(model.weight.data);
  };
  expect(run(true)).toEqual(run(false));
});
