/** Normalization layers: agreement with PyTorch, running statistics, compiled training, and errors. */
import {
  batchNormTrain,
  compile,
  grad,
  layerNorm,
  losses,
  manualSeed,
  type NestedArray,
  nn,
  ones,
  optim,
  rand,
  randint,
  randn,
  type Tensor,
  tensor,
} from "nabla";
import { describe, expect, test } from "vitest";
import { expectTorch, load, values } from "../support/torch.ts";

const RUNNING = { running_mean: "runningMean", running_var: "runningVar" } as const;

describe(`batch norms agree with PyTorch ${values.torch} in values, gradients, running statistics and evaluation mode`, () => {
  for (const c of values.batches) {
    test(c.name, () => {
      const layer = new nn[c.layer](c.features, c.options);
      for (const [name, stored] of Object.entries(c.state)) layer[name as "weight" | "bias"]!.copyFrom(load(stored));
      for (const [name, stored] of Object.entries(c.before))
        layer[RUNNING[name as "running_mean"]]!.copyFrom(load(stored));
      layer.numBatchesTracked!.copyFrom([1]);
      const x = load(c.x);
      x.requiresGrad = true;
      const out = layer.forward(x);
      expectTorch(out, c.out, "value");
      out.backward({ gradient: load(c.dy) });
      expectTorch(x.grad!, c.dx, "gradient of the input");
      for (const [name, stored] of Object.entries(c.grads))
        expectTorch(layer[name as "weight" | "bias"]!.grad!, stored, `gradient of ${name}`);
      for (const [name, stored] of Object.entries(c.after))
        expectTorch(layer[RUNNING[name as "running_mean"]]!, stored, name);
      expect(layer.numBatchesTracked!.item()).toBe(2);
      layer.eval();
      expectTorch(layer.forward(load(c.x)), c.eval, "eval");
      expect(layer.numBatchesTracked!.item()).toBe(2);
    });
  }
});

test("layers normalize their inputs, and their state dicts hold parameters and running statistics", () => {
  const x = randn([2, 3, 8]);
  const sums = (y: Tensor) => y.sum(-1).abs().max().item();
  expect(sums(new nn.LayerNorm(8).forward(x))).toBeLessThan(1e-5);
  expect(new nn.RMSNorm(8).forward(x).square().mean(-1).sub(1).abs().max().item()).toBeLessThan(1e-3);
  expect(new nn.GroupNorm(2, 8).forward(x).shape).toEqual([2, 3, 8]);
  expect(Object.keys(new nn.BatchNorm1d(8).stateDict())).toEqual([
    "weight",
    "bias",
    "runningMean",
    "runningVar",
    "numBatchesTracked",
  ]);
  expect(Object.keys(new nn.LayerNorm([3, 8], { bias: false }).stateDict())).toEqual(["weight"]);
  expect(String(new nn.GroupNorm(2, 8))).toBe("GroupNorm(2, 8, affine=true)");
});

test("training with batch norm and layer norm is bit-identical in eager and compiled mode", () => {
  const run = (compiled: boolean): unknown => {
    manualSeed(6);
    const norm = new nn.BatchNorm2d(5);
    const model = new nn.Sequential(
      new nn.Conv2d(2, 5, 3),
      norm,
      new nn.ReLU(),
      new nn.Flatten(),
      new nn.Linear(80, 6),
      new nn.LayerNorm(6),
      new nn.Linear(6, 3),
    );
    const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-2 });
    const eager = (x: Tensor, y: Tensor) => optimizer.minimize(() => losses.crossEntropy(model.forward(x), y));
    const step = compiled ? compile(eager) : eager;
    const [x, y] = [rand([7, 6, 6, 2]), randint(0, 3, [7])];
    const seen = Array.from({ length: 20 }, () => step(x, y).item());
    model.eval();
    const read = compiled ? compile((z: Tensor) => model.forward(z)) : (z: Tensor) => model.forward(z);
    return [seen, norm.runningMean!.toArray(), norm.runningVar!.toArray(), read(x).toArray()];
  };
  expect(run(true)).toEqual(run(false));
});

test("layerNorm accepts a bias without a weight, and infinity affects only the means that contain it", () => {
  const x = rand([4, 2, 3]);
  expect(layerNorm(x, [2, 3], null, ones([2, 3])).toArray()).toEqual(layerNorm(x, [2, 3]).add(1).toArray());
  const pooled = new nn.AdaptiveAvgPool2d([1, 2]).forward(tensor([[[[Infinity], [1], [2], [3]]]]));
  expect(pooled.toArray()).toEqual([[[[Infinity], [2.5]]]]);
  const image = tensor([[[[1], [Infinity]]]]);
  expect(nn.interpolate(image, { size: [1, 2], mode: "bilinear" }).toArray()).toEqual(image.toArray());
});

test("batchNorm: the bits of a channel's results do not depend on other channels", () => {
  const rows = Array.from({ length: 7 }, (_, row) => row);
  const firstChannel = (secondChannel: (row: number) => number): NestedArray[] => {
    const x = tensor(rows.map((row) => [1 + Math.sin(row), secondChannel(row), row]));
    const upstream = tensor(rows.map((row) => [Math.cos(row), 1, 1]));
    const [y, stats] = batchNormTrain(x);
    const dx = grad((z: Tensor) => batchNormTrain(z)[0]!.mul(upstream).sum())(x);
    return [y!, stats!, dx as Tensor].map((t) => t.narrow(-1, 0, 1).toArray());
  };
  expect(firstChannel((row) => row)).toEqual(firstChannel((row) => 1e6 + row));
});

describe("invalid arguments are rejected with a remedy", () => {
  const refused: [() => unknown, string][] = [
    [() => new nn.LayerNorm(5).forward(rand([2, 4])), "layerNorm: [2, 4] does not end with the normalized shape [5]."],
    [() => new nn.GroupNorm(3, 8), "GroupNorm: numGroups must divide numChannels (8), got 3."],
    [() => new nn.LayerNorm([]), "LayerNorm: sizes must be whole numbers above 0, got []."],
    [() => new nn.BatchNorm1d(3).forward(rand([1, 3])), "BatchNorm1d: the batch [1, 3] has one value per channel, so it has no variance. Use larger batches, or eval()."],
    [() => new nn.BatchNorm1d(3).forward(rand([4, 2])), "BatchNorm1d: x must have 2 or 3 dimensions, with 3 channels last, got [4, 2]. Use x.permute([0, 2, 3, 1]) for PyTorch's images."],
    [() => new nn.BatchNorm2d(3).forward(tensor([1, 2, 3])), "BatchNorm2d: x must have 4 dimensions"],
    [() => new nn.LayerNorm(3, { eps: -1 }).forward(rand([2, 3])), "layerNorm: eps must be finite and ≥ 0, got -1."],
  ]; // biome-ignore format: a table
  for (const [call, message] of refused) test(message.slice(0, 60), () => expect(call).toThrow(message));
});
