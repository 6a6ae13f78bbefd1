/** nn.fuse: copies of models in which batch normalization is part of the layer before it. */
import { memory, nn, randn, type Tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { tensorsIn } from "../../src/core/scope.ts";
import { norms, requireFused, train } from "../support/fuse.ts";
import { layers } from "../support/layers.ts";
import { expectTorch, load, values } from "../support/torch.ts";

type Convolution = nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d;

describe(`fuse agrees with PyTorch ${values.torch}`, () => {
  for (const { name, layers, state, x, out, weight, bias } of values.fusions) {
    test(name, () => {
      const model = new nn.Sequential(
        ...layers.map(
          ([kind, ...args]) =>
            new (nn[kind as "Identity"] as unknown as new (...args: unknown[]) => nn.Module)(...args),
        ),
      );
      model.loadStateDict(Object.fromEntries(Object.entries(state).map(([key, value]) => [key, load(value)])), {
        strict: false,
      });
      const fused = nn.fuse(model);
      const [layer] = fused.layers as [Convolution];
      expectTorch(layer.weight, weight, "weight");
      expectTorch(layer.bias!, bias, "bias");
      expectTorch(fused.forward(load(x)), out, "result");
      expect(Object.keys(fused.stateDict())).toEqual(["0.weight", "0.bias"]);
      expect(fused.parameters()).toHaveLength(2);
    });
  }
});

describe("the fused model's results, against a float64 computation", () => {
  const cases: [string, () => nn.Module & { weight: Tensor; bias: Tensor | null }, number[], number][] = [
    ["Linear", () => new nn.Linear(33, 20), [7, 33], 20],
    ["Linear without bias, of sequences", () => new nn.Linear(33, 20, { bias: false }), [2, 7, 33], 20],
    ["Conv1d", () => new nn.Conv1d(6, 9, 3, { groups: 3 }), [2, 20, 6], 9],
    ["Conv2d", () => new nn.Conv2d(5, 12, 3, { padding: "same", bias: false }), [2, 9, 9, 5], 12],
    ["depthwise Conv2d", () => new nn.Conv2d(24, 24, 3, { groups: 24, stride: 2 }), [2, 9, 9, 24], 24],
    ["depthwise Conv2d with a multiplier", () => new nn.Conv2d(4, 12, 3, { groups: 4 }), [2, 9, 9, 4], 12],
    ["ConvTranspose1d", () => new nn.ConvTranspose1d(6, 4, 3, { stride: 2, groups: 2 }), [2, 7, 6], 4],
    ["ConvTranspose2d", () => new nn.ConvTranspose2d(6, 4, 3, { stride: 2 }), [2, 5, 5, 6], 4],
    ["grouped ConvTranspose2d", () => new nn.ConvTranspose2d(6, 9, [2, 3], { groups: 3 }), [2, 5, 5, 6], 9],
    ["depthwise ConvTranspose2d", () => new nn.ConvTranspose2d(8, 8, 3, { groups: 8, bias: false }), [2, 5, 5, 8], 8],
  ];
  for (const [name, make, shape, channels] of cases) {
    for (const options of [{}, { affine: false }, { eps: 0.1 }]) {
      test(`${name}, ${JSON.stringify(options)}`, () => {
        const layer = make();
        const norm = train(new nn.BatchNorm(channels, options));
        const x = randn(shape);
        const fused = requireFused(new nn.Sequential(layer, norm), x, 0);
        // The layer's own float32 result, normalized in float64.
        const y = layer.forward(x) as Tensor;
        const [mean, variance, scale, shift] = [norm.runningMean, norm.runningVar, norm.weight, norm.bias].map(
          (v) => v?.data,
        );
        const got = fused.forward(x).data;
        // An error of the layer's result grows with the terms of its sum, so it is relative to the largest value before the mean
        // is subtracted.
        const { eps = 1e-5 } = options as { eps?: number };
        y.data.forEach((value, i) => {
          const c = i % channels;
          const s = (scale?.[c] ?? 1) / Math.sqrt(variance![c]! + eps);
          const expected = (value - mean![c]!) * s + (shift?.[c] ?? 0);
          const size = (Math.abs(value) + Math.abs(mean![c]!) + 3) * Math.abs(s) + Math.abs(shift?.[c] ?? 0);
          expect(Math.abs(got[i]! - expected)).toBeLessThan(1e-6 * size);
        });
      });
    }
  }
});

describe("which layers fuse folds", () => {
  test("those in nested Sequentials, and across their borders", () => {
    const block = (n: number, m: number) =>
      new nn.Sequential(new nn.Conv2d(n, m, 3, { padding: 1 }), new nn.BatchNorm2d(m), new nn.ReLU6());
    const model = new nn.Sequential(
      new nn.BatchNorm2d(3),
      block(3, 8),
      new nn.Sequential(new nn.Conv2d(8, 8, 1)),
      new nn.Sequential(new nn.Sequential(new nn.BatchNorm2d(8)), new nn.Tanh()),
      new nn.Conv2d(8, 5, 1),
      new nn.ReLU(),
      new nn.BatchNorm2d(5),
      new nn.Flatten(),
      new nn.Linear(180, 4),
      new nn.Dropout(0.9),
      new nn.Softmax(),
    );
    // The first normalization reads the input, and the last one reads an activation.
    const fused = requireFused(train(model), randn([2, 6, 6, 3]), 2);
    expect(Object.keys(fused.stateDict()).filter((name) => name.endsWith("bias"))).toEqual([
      "0.bias",
      "1.0.bias",
      "2.0.bias",
      "4.bias",
      "6.bias",
      "8.bias",
    ]);
    expect(fused.toString()).toContain("(1): Identity()");
  });
  test("not a layer whose result or weight is used elsewhere, or that is used twice", () => {
    const conv = new nn.Conv2d(4, 4, 1);
    const norm = new nn.BatchNorm2d(4);
    const same = new nn.Sequential(conv, norm, conv, norm);
    requireFused(train(same), randn([2, 3, 3, 4]), 0);
    const x = randn([2, 3, 3, 4]);
    requireFused(train(new nn.Sequential(conv, norm, conv)), x, 1);
    requireFused(train(new nn.Sequential(conv, norm, new nn.Conv2d(4, 4, 1), norm)), x, 1);
  });
  test("not a subclass with a forward pass of its own", () => {
    class Scaled extends nn.Linear {
      override forward(x: Tensor): Tensor {
        return super.forward(x).mul(2);
      }
    }
    class Shifted extends nn.BatchNorm1d {
      override forward(x: Tensor): Tensor {
        return super.forward(x).add(1);
      }
    }
    const x = randn([5, 4]);
    requireFused(train(new nn.Sequential(new Scaled(4, 6), new nn.BatchNorm1d(6))), x, 1);
    const shifted = nn.fuse(train(new nn.Sequential(new nn.Linear(4, 6), new Shifted(6))));
    expect(shifted.layers[1]).toBeInstanceOf(Shifted);
  });
  test("a model of any other kind is copied", () => {
    for (const model of [new nn.Linear(3, 2), new nn.BatchNorm1d(3), new nn.Sequential()])
      requireFused(model, randn([4, 3]), norms(model));
  });
});

describe("fuse", () => {
  test("rejects batch normalization without running statistics", () => {
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4, { trackRunningStats: false }));
    expect(() => nn.fuse(model)).toThrow(
      "fuse: 1 (BatchNorm1d) has no running statistics to fold. Train it with trackRunningStats: true.",
    );
  });
  test("checks its arguments", () => {
    expect(() => nn.fuse(3 as never)).toThrow("fuse: model must be a module, got 3");
    expect(() => nn.fuse(new nn.Linear(1, 1), { shape: [1] } as never)).toThrow('fuse: unknown option "shape"');
  });
  test("keeps frozen parameters frozen, and tied ones tied", () => {
    const [a, b] = [new nn.Linear(4, 4, { bias: false }), new nn.Linear(4, 4, { bias: false })];
    (b as { weight: Tensor }).weight = a.weight;
    const tied = nn.fuse(new nn.Sequential(a, new nn.ReLU(), b));
    expect(Object.keys(tied.stateDict())).toHaveLength(2);
    expect(tied.parameters()).toHaveLength(1);
    // A folded layer gets a weight of its own.
    requireFused(train(new nn.Sequential(a, new nn.BatchNorm1d(4), b)), randn([3, 4]), 0);
    const layer = new nn.Linear(4, 4);
    layer.weight.requiresGrad = false;
    const [frozen, norm] = nn.fuse(new nn.Sequential(layer, new nn.BatchNorm1d(4))).layers as [nn.Linear, nn.Identity];
    expect([frozen.weight.requiresGrad, norm.training]).toEqual([false, false]);
    expect(new nn.Sequential(frozen).parameters()).toHaveLength(2);
  });
  test("makes a copy that outlives its scope and the original, and leaks nothing", () => {
    const model = train(new nn.Sequential(new nn.Conv2d(3, 4, 3), new nn.BatchNorm2d(4)));
    const x = randn([1, 5, 5, 3]);
    const before = memory().bytes;
    const fused = tidy(() => nn.fuse(model));
    const state = Object.values(fused.stateDict()).reduce((total, { size }) => total + 4 * size, 0);
    expect(memory().bytes - before).toBeLessThan(state + 256);
    model.dispose();
    expect(fused.forward(x).shape).toEqual([1, 3, 3, 4]);
    const size = memory().bytes;
    const again = nn.fuse(fused);
    again.dispose();
    expect(memory().bytes).toBe(size);
  });
  test("loads a saved state of another fused model", () => {
    const make = () => new nn.Sequential(new nn.Linear(3, 4, { bias: false }), new nn.BatchNorm1d(4), new nn.ReLU());
    const [first, second] = [nn.fuse(train(make())), nn.fuse(make())];
    second.loadStateDict(first.stateDict());
    const x = randn([2, 3]);
    expect(second.forward(x).data).toEqual(first.forward(x).data);
  });
  test("copies layers of every kind", () => {
    for (const [name, examples] of Object.entries(layers)) {
      for (const { layer, given } of examples()) {
        const copy = nn.fuse(layer);
        expect([copy.constructor, copy.toString()], name).toEqual([layer.constructor, layer.toString()]);
        layer.eval();
        const [y, z] = [layer, copy].map((module) => [...tensorsIn(module.forward(...given))].map(({ data }) => data));
        expect(z, name).toEqual(y);
      }
    }
  });
});
