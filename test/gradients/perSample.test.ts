import { arange, losses, manualSeed, nn, randint, randn, type Tensor } from "nabla";
import { objective, type PerSample, perSampleGradients } from "nabla/gradients";
import { describe, expect, test } from "vitest";

/** The largest relative difference between two sets of gradients. */
function relativeDifference(a: PerSample, b: PerSample): number {
  expect(Object.keys(a).sort()).toEqual(Object.keys(b).sort());
  return Math.max(
    ...Object.entries(a).map(([name, x]) => {
      expect(x.shape, name).toEqual(b[name]!.shape);
      const scale = Math.max(x.abs().max().item(), b[name]!.abs().max().item(), 1e-3);
      return x.sub(b[name]!).abs().max().item() / scale;
    }),
  );
}

class Positions extends nn.Module {
  embedding = new nn.Embedding(11, 6, { paddingIdx: 0 });
  norm = new nn.LayerNorm(6);
  scale = new nn.RMSNorm(6);
  head = new nn.Linear(6, 4, { bias: false });
  forward(index: Tensor): Tensor {
    return this.head.forward(this.scale.forward(this.norm.forward(this.embedding.forward(index)).tanh()));
  }
}
class Twice extends nn.Module {
  layer = new nn.Linear(5, 5);
  unused = new nn.Linear(2, 2);
  forward(x: Tensor): Tensor {
    return this.layer.forward(this.layer.forward(x).tanh());
  }
}

class Tied extends nn.Module {
  embedding = new nn.Embedding(6, 4);
  forward(index: Tensor): Tensor {
    return this.embedding.forward(index).mean(1).matmul(this.embedding.weight.t());
  }
}
class Positional extends nn.Module {
  position = new nn.Embedding(5, 4);
  head = new nn.Linear(4, 4);
  forward(x: Tensor): Tensor {
    const places = this.position.forward(arange(x.shape[1]!).to("int32"));
    return this.head.forward(x.add(places)).tanh().mean(1);
  }
}
class Reshaped extends nn.Module {
  layer = new nn.Linear(4, 4);
  forward(x: Tensor): Tensor {
    return this.layer
      .forward(x.reshape([-1, 4]))
      .reshape([x.shape[0]!, -1, 4])
      .mean(1);
  }
}
class Doubled extends nn.Linear {
  override forward(x: Tensor): Tensor {
    return super.forward(x).mul(2);
  }
}

const classify = (model: nn.Module) => (x: Tensor, labels: Tensor) =>
  losses.crossEntropy(model.forward(x) as Tensor, labels, { reduction: "none" });

manualSeed(1);
const images = randn([7, 9, 8, 2]);
const conv = (options: object) => () =>
  new nn.Sequential(new nn.Conv2d(2, 3, [3, 2], options), new nn.ReLU(), new nn.Flatten(), new LazyHead());
class LazyHead extends nn.Module {
  head: nn.Linear | undefined;
  forward(x: Tensor): Tensor {
    this.head ??= new nn.Linear(x.shape[1]!, 4);
    return this.head.forward(x);
  }
}

describe("per-sample gradients from one backward pass equal gradients from a loop", () => {
  const labels = randint(0, 4, [7]);
  const cases: [string, () => nn.Module, Tensor][] = [
    ["an MLP", () => new nn.Sequential(new nn.Linear(5, 6), new nn.Tanh(), new nn.Linear(6, 4)), randn([7, 5])],
    ["a layer used twice and an unused layer", () => new Twice(), randn([7, 5])],
    ["a convolution", conv({}), images],
    [
      "a convolution with padding, stride and dilation",
      conv({ padding: [1, 2], stride: [2, 1], dilation: [1, 2] }),
      images,
    ],
    [
      "a convolution with one-sided padding",
      conv({
        padding: [
          [0, 2],
          [1, 0],
        ],
        stride: 2,
      }),
      images,
    ],
    ['a convolution with padding "same"', conv({ padding: "same", stride: 2 }), images],
  ];
  test.each(cases)("%s", (_, make, x) => {
    manualSeed(2);
    const model = make();
    model.forward(x);
    const fast = perSampleGradients(model, classify(model), { method: "batch" })(x, labels);
    const slow = perSampleGradients(model, classify(model), { method: "loop" })(x, labels);
    expect(relativeDifference(fast, slow)).toBeLessThan(2e-5);
    expect(model.parameters().every((p) => p.grad === null)).toBe(true);
  });
  test("a sequence model with padded embeddings, LayerNorm and RMSNorm", () => {
    manualSeed(3);
    const model = new Positions();
    const [tokens, targets] = [randint(0, 11, [7, 3]), randint(0, 4, [7, 3])];
    const lossOf = (x: Tensor, y: Tensor) => losses.crossEntropy(model.forward(x), y, { reduction: "none" }).sum(-1);
    const fast = perSampleGradients(model, lossOf, { method: "batch" });
    const slow = perSampleGradients(model, lossOf, { method: "loop" });
    expect(relativeDifference(fast(tokens, targets), slow(tokens, targets))).toBeLessThan(2e-5);
    const others = randint(0, 11, [7, 3]);
    expect(relativeDifference(fast(others, targets), slow(others, targets))).toBeLessThan(2e-5);
  });
  test("the mean of per-sample gradients is the gradient of the mean loss", () => {
    manualSeed(4);
    const model = new nn.Linear(5, 4);
    const x = randn([7, 5]);
    const mean = perSampleGradients(model, classify(model))(x, labels).weight!.mean(0).data;
    const whole = objective(model, () => losses.crossEntropy(model.forward(x), labels)).gradientsByName().weight!;
    mean.forEach((g, i) => expect(g).toBeCloseTo(whole[i]!, 6));
  });
});

describe("models that need a loop over samples", () => {
  const labels = randint(0, 4, [3]);
  test("the loop is the automatic fallback", () => {
    manualSeed(5);
    const model = new nn.Sequential(
      new nn.Conv2d(2, 4, 3, { groups: 2 }),
      new nn.Flatten(),
      new nn.Linear(7 * 6 * 4, 4),
    );
    const found = perSampleGradients(model, classify(model))(images.narrow(0, 0, 3), labels);
    expect(found["0.weight"]!.shape).toEqual([3, 4, 3, 3, 1]);
    expect(() => perSampleGradients(model, classify(model), { method: "batch" })).toThrow(
      /0.weight belongs to a layer without a rule.*Omit the method/,
    );
  });
  test.each([
    ["tied weights", () => new Tied(), randint(0, 6, [3, 2]), "embedding.weight is also used outside"],
    [
      "a positional embedding",
      () => new Positional(),
      randn([5, 5, 4]),
      "the input of position must have the 4 samples as its first dimension, got [5]",
    ],
    [
      "an input that is reshaped before its layer",
      () => new Reshaped(),
      randn([3, 2, 4]),
      "must have the 3 samples as its first dimension, got [6, 4]",
    ],
    ["a subclass that overrides forward", () => new Doubled(4, 4), randn([3, 4]), "belongs to a layer without a rule"],
    [
      "a spectrally normalized layer",
      () => new nn.SpectralNorm(new nn.Linear(4, 4)),
      randn([3, 4]),
      "layer.weight is also used outside",
    ],
  ] as [string, () => nn.Module, Tensor, string][])(
    '%s: method "batch" is rejected, and the default uses a loop',
    (_, make, x, why) => {
      manualSeed(8);
      const model = make().eval();
      const own = randint(0, 4, [x.shape[0]!]);
      const pattern = new RegExp(
        why
          .split("|")
          .map((part) => part.replace(/[[\]]/g, "\\$&"))
          .join("|"),
      );
      expect(() => perSampleGradients(model, classify(model), { method: "batch" })(x, own)).toThrow(pattern);
      const found = perSampleGradients(model, classify(model))(x, own);
      const each = Array.from({ length: x.shape[0]! }, (_, k) =>
        objective(model, () =>
          losses.crossEntropy(model.forward(x.narrow(0, k, 1)) as Tensor, own.narrow(0, k, 1)),
        ).gradientsByName(),
      );
      for (const [name, g] of Object.entries(found))
        g.data.forEach((v, i) => expect(v).toBeCloseTo(each.flatMap((row) => [...row[name]!])[i]!, 5));
    },
  );
  test("an overflow in one sample does not change the gradients of the others", () => {
    manualSeed(9);
    const model = new nn.Linear(2, 1);
    const x = randn([3, 2]);
    const scale = randn([3]).mul(0).add(1);
    scale.live()[1] = 1e30;
    const g = perSampleGradients(model, (a, s) => model.forward(a).reshape([-1]).mul(s).square().mul(s))(x, scale);
    const rows = g.weight!.toArray() as number[][][];
    expect(rows[0]!.flat().every(Number.isFinite)).toBe(true);
    expect(rows[2]!.flat().every(Number.isFinite)).toBe(true);
  });
  test("batch norm in training mode and reduced losses are rejected", () => {
    const mixed = new nn.Sequential(new nn.Linear(5, 4), new nn.BatchNorm1d(4));
    expect(() => perSampleGradients(mixed, classify(mixed))(randn([3, 5]), labels)).toThrow(
      /mixes the samples.*model.eval\(\)/,
    );
    mixed.eval();
    expect(perSampleGradients(mixed, classify(mixed))(randn([3, 5]), labels)["1.weight"]!.shape).toEqual([3, 4]);
    const model = new nn.Linear(5, 4);
    const wrong = perSampleGradients(model, (x, y) => losses.crossEntropy(model.forward(x), y));
    expect(() => wrong(randn([3, 5]), labels)).toThrow(
      /must be a tensor \[3\], one per sample, got a float32 tensor \[\].*reduction: "none"/,
    );
  });
});
