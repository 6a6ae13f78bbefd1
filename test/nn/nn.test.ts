/** Modules and optimizers as objects: names, state, modes, groups, and errors. */
import {
  compile,
  losses,
  manualSeed,
  nn,
  noGrad,
  optim,
  randn,
  type StateDict,
  summary,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";

class Residual extends nn.Module {
  readonly inner = new nn.Linear(3, 3);
  readonly blocks = [new nn.Sequential(new nn.Linear(3, 3), new nn.ReLU()), new nn.Tanh()];
  readonly scale = nn.parameter(tensor([2]));
  readonly running = zeros([3]).keep();
  forward(x: Tensor): Tensor {
    return this.blocks
      .reduce((y, block) => block.forward(y) as Tensor, this.inner.forward(x))
      .mul(this.scale)
      .add(x);
  }
}

describe("Module", () => {
  test("finds parameters, buffers and modules in its properties, with their paths", () => {
    const model = new Residual();
    expect(Array.from(model.namedParameters(), ([name]) => name)).toEqual([
      "scale",
      "inner.weight",
      "inner.bias",
      "blocks.0.0.weight",
      "blocks.0.0.bias",
    ]);
    expect(Array.from(model.namedBuffers(), ([name]) => name)).toEqual(["running"]);
    expect(Object.keys(model.stateDict())).toContain("running");
    expect(Array.from(model.namedModules(), ([name]) => name)).toEqual([
      "",
      "inner",
      "blocks.0",
      "blocks.0.0",
      "blocks.0.1",
      "blocks.1",
    ]);
    expect(model.forward(randn([4, 3])).shape).toEqual([4, 3]);
  });
  test("lists a parameter only once if it is used twice", () => {
    const shared = new nn.Linear(2, 2);
    expect(new nn.Sequential(shared, new nn.ReLU(), shared).parameters().length).toBe(2);
  });
  test("lists a frozen parameter", () => {
    const layer = new nn.Linear(2, 2);
    layer.weight.requiresGrad = false;
    expect(layer.parameters().length).toBe(2);
    layer
      .forward(zeros([1, 2]))
      .sum()
      .backward();
    expect([layer.weight.grad, layer.bias!.grad!.toArray()]).toEqual([null, [1, 1]]);
  });
  test("train() and eval() apply to nested modules", () => {
    const model = new nn.Sequential(new nn.Dropout(0.5), new nn.Sequential(new nn.Dropout(0.5)));
    const x = tensor(new Float32Array(1000).fill(1));
    expect(model.eval().forward(x).toArray()).toEqual(x.toArray());
    manualSeed(1);
    const y = Array.from(model.train().forward(x).data);
    expect([...new Set(y)].sort()).toEqual([0, 4]);
    expect(y.filter((v) => v > 0).length).toBeGreaterThan(190);
    expect(y.filter((v) => v > 0).length).toBeLessThan(310);
  });
  test("dropout preserves the mean in training, and p = 1 drops everything", () => {
    const x = tensor(new Float32Array(20_000).fill(1));
    manualSeed(2);
    expect(new nn.Dropout(0.3).forward(x).mean().item()).toBeCloseTo(1, 1);
    expect(new nn.Dropout(1).forward(x).sum().item()).toBe(0);
  });
  test("prints as in PyTorch", () => {
    expect(String(new nn.Sequential(new nn.Flatten(), new nn.Linear(4, 2)))).toBe(
      "Sequential(\n  (0): Flatten(startDim=1, endDim=-1)\n  (1): Linear(inFeatures=4, outFeatures=2, bias=true)\n)",
    );
  });
  test("dispose frees parameters, buffers and gradients", () => {
    const model = new Residual();
    model.dispose();
    expect(Object.values(model.stateDict()).every((x) => x.isDisposed)).toBe(true);
  });
});

describe("stateDict and loadStateDict", () => {
  const make = () => new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU(), new nn.Linear(3, 1));
  test("copies values by name", () => {
    const [a, b] = [make(), make()];
    expect(b.loadStateDict(a.stateDict())).toEqual({ missing: [], unexpected: [] });
    const x = randn([5, 2]);
    expect(b.forward(x).toArray()).toEqual(a.forward(x).toArray());
  });
  test("the error lists missing, unexpected and misshapen entries, and nothing changes", () => {
    const model = make();
    const before = model.forward(tensor([[1, 2]])).item();
    const { "0.bias": _, ...rest } = model.stateDict();
    const bad: StateDict = { ...rest, "2.weight": zeros([1, 4]), extra: zeros([1]) };
    expect(() => model.loadStateDict(bad)).toThrow(
      "loadStateDict: 2.weight must be float32 [1, 3], got float32 [1, 4]; missing: 0.bias; unexpected: extra. " +
        "Pass { strict: false } to load only matching names.",
    );
    expect(model.forward(tensor([[1, 2]])).item()).toBe(before);
    expect(model.loadStateDict({ extra: zeros([1]), "2.bias": tensor([7]) }, { strict: false })).toEqual({
      missing: ["0.weight", "0.bias", "2.weight"],
      unexpected: ["extra"],
    });
    expect((model.stateDict()["2.bias"] as Tensor).item()).toBe(7);
  });
});

describe("optimizers", () => {
  const problem = () => {
    const p = tensor([3, -2], { requiresGrad: true });
    return { p, loss: () => p.square().sum() };
  };
  const makers = {
    SGD: (p: Tensor) => new optim.SGD([p], { lr: 0.1, momentum: 0.5 }),
    Adam: (p: Tensor) => new optim.Adam([p], { lr: 0.2 }),
    AdamW: (p: Tensor) => new optim.AdamW([p], { lr: 0.2 }),
    RMSProp: (p: Tensor) => new optim.RMSProp([p], { lr: 0.05 }),
    Adagrad: (p: Tensor) => new optim.Adagrad([p], { lr: 1 }),
  };
  for (const [name, make] of Object.entries(makers)) {
    test(`${name} finds the minimum of a quadratic, and its state continues bit-identically`, () => {
      const { p, loss } = problem();
      const optimizer = make(p);
      for (let i = 0; i < 50; i++) optimizer.minimize(loss).dispose();
      const twin = tensor(p.data, { requiresGrad: true });
      const other = make(twin);
      other.loadStateDict(optimizer.stateDict());
      for (let i = 0; i < 100; i++) {
        optimizer.minimize(loss).dispose();
        other.minimize(() => twin.square().sum()).dispose();
      }
      expect(twin.toArray()).toEqual(p.toArray());
      expect(p.square().sum().item()).toBeLessThan(0.02);
    });
  }
  test("groups have their own options, and lr may change at any time", () => {
    const [a, b] = [tensor([1], { requiresGrad: true }), tensor([1], { requiresGrad: true })];
    const optimizer = new optim.SGD([{ params: [a] }, { params: [b], lr: 1 }], { lr: 0.1 });
    const step = () => optimizer.minimize(() => a.add(b).sum()).dispose();
    step();
    expect([a.item(), b.item()]).toEqual([Math.fround(0.9), 0]);
    optimizer.lr = 0;
    step();
    expect(b.item()).toBe(0);
    optimizer.paramGroups[1]!.lr = 2;
    step();
    expect([a.item(), b.item()]).toEqual([Math.fround(0.9), -2]);
  });
  test("minimize takes a loss or a closure, and does not change parameters without gradients", () => {
    const { p, loss } = problem();
    const idle = tensor([5], { requiresGrad: true });
    const optimizer = new optim.SGD([p, idle], { lr: 0.25 });
    expect(optimizer.minimize(loss()).item()).toBe(13);
    expect(optimizer.minimize(loss).item()).toBe(3.25);
    expect([p.toArray(), idle.item()]).toEqual([[0.75, -0.5], 5]);
  });
  test("reject invalid parameters, options and states", () => {
    const p = tensor([1], { requiresGrad: true });
    expect(() => new optim.SGD([], { lr: 1 })).toThrow(
      "SGD: params must have at least one tensor, got []. Assign layers and nn.parameter(…) tensors to public properties of the model, or to arrays there: parameters() finds only those.",
    );
    expect(() => new optim.SGD([p, p], { lr: 1 })).toThrow(
      "SGD: params must not repeat a tensor, got one of shape [1] twice. Pass it once, in one group.",
    );
    expect(() => new optim.Adam([p], { lr: -1 })).toThrow("lr must be a number ≥ 0, got -1.");
    expect(() => new optim.Adam([p], { betas: [0.9, 1] })).toThrow("Adam: beta2 must be in 0 … 1, below 1, got 1.");
    expect(() => new optim.SGD([p], { lr: 1, nesterov: true })).toThrow(
      "SGD: nesterov needs momentum above 0 and dampening 0.",
    );
    expect(optim.clipGradNorm([p], 1).item()).toBe(0);
    const other = new optim.Adam([p, tensor([2], { requiresGrad: true })]);
    expect(() => new optim.Adam([p]).loadStateDict(other.stateDict())).toThrow(
      "Adam: the state has 1 groups and 2 parameters, but must have 1 and 1. Was it saved by this optimizer, for this model?",
    );
  });
});

describe("initialization", () => {
  const big = () => zeros([300, 200]);
  const std = (x: Tensor) => tidy(() => x.std().item());
  test("Xavier, Kaiming and PyTorch's default for Linear have the correct variances", () => {
    manualSeed(1);
    expect(std(nn.init.xavierUniform(big()))).toBeCloseTo(Math.sqrt(2 / 500), 3);
    expect(std(nn.init.xavierNormal(big(), { gain: 2 }))).toBeCloseTo(2 * Math.sqrt(2 / 500), 2);
    expect(std(nn.init.kaimingUniform(big(), { nonlinearity: "relu" }))).toBeCloseTo(Math.sqrt(2 / 200), 2);
    expect(std(nn.init.kaimingNormal(big(), { mode: "fanOut", nonlinearity: "relu" }))).toBeCloseTo(
      Math.sqrt(2 / 300),
      2,
    );
    const { weight, bias } = new nn.Linear(200, 300);
    const bound = 1 / Math.sqrt(200);
    for (const x of [weight, bias!]) {
      expect(x.abs().max().item()).toBeLessThanOrEqual(bound);
      expect(std(x)).toBeCloseTo(bound / Math.sqrt(3), 2);
    }
  });
  test("orthogonal gives orthogonal rows or columns times the gain", () => {
    const tall = nn.init.orthogonal(zeros([7, 4]), { gain: 2 });
    const product = tall.t().matmul(tall);
    product
      .sub(tensor([4, 0, 0, 0, 0, 4, 0, 0, 0, 0, 4, 0, 0, 0, 0, 4], [4, 4]))
      .abs()
      .max();
    expect(
      product
        .sub(tensor([4, 0, 0, 0, 0, 4, 0, 0, 0, 0, 4, 0, 0, 0, 0, 4], [4, 4]))
        .abs()
        .max()
        .item(),
    ).toBeLessThan(1e-5);
    const wide = nn.init.orthogonal(zeros([3, 8]));
    expect(
      wide
        .matmul(wide.t())
        .sub(tensor([1, 0, 0, 0, 1, 0, 0, 0, 1], [3, 3]))
        .abs()
        .max()
        .item(),
    ).toBeLessThan(1e-6);
  });
  test("truncNormal stays within its bounds and has the standard deviation of a truncated normal distribution", () => {
    manualSeed(3);
    const x = nn.init.truncNormal(zeros([50_000]));
    expect(x.abs().max().item()).toBeLessThanOrEqual(2);
    expect(std(x)).toBeCloseTo(0.8796, 2); // √(1 − 4φ(2)/(2Φ(2) − 1))
    expect(() => nn.init.truncNormal(zeros([2]), { a: 1, b: 1 })).toThrow(
      "truncNormal: a must be below b, and std a finite number above 0",
    );
    expect(() => nn.init.xavierUniform(zeros([3]))).toThrow(
      "init: [3] has no fanIn: a weight is [out, in] or [out, …kernel, in].",
    );
  });
});

test("losses return a scalar and reject invalid options", () => {
  expect(losses.mse(tensor([1, 2]), tensor([1, 4])).shape).toEqual([]);
  expect(() => losses.crossEntropy(zeros([1, 2]), tensor([0], { dtype: "int32" }), { labelSmoothing: 2 })).toThrow(
    "crossEntropy: labelSmoothing must be in 0 … 1, got 2.",
  );
});

describe("Embedding", () => {
  test("returns rows, and sums the gradients of repeated rows", () => {
    const layer = new nn.Embedding(5, 3);
    const index = tensor(Int32Array.of(4, 1, 4, 0), [2, 2]);
    const y = layer.forward(index);
    expect(y.shape).toEqual([2, 2, 3]);
    expect(y.data.slice(0, 3)).toEqual(layer.weight.data.slice(12, 15));
    y.sum().backward();
    expect(layer.weight.grad!.sum(1).toArray()).toEqual([3, 3, 0, 0, 6]);
    expect(() => layer.forward(tensor(Int32Array.of(5)))).toThrow(RangeError);
  });
  test("the row of paddingIdx starts at 0, can be set, and has no gradient", () => {
    const layer = new nn.Embedding(4, 2, { paddingIdx: -1 });
    expect(String(layer)).toBe("Embedding(4, 2, paddingIdx=3)");
    expect(layer.weight.toArray()).toMatchObject({ 3: [0, 0] });
    noGrad(() => layer.weight.copyFrom([1, 2, 3, 4, 5, 6, 7, 8]));
    const y = layer.forward(tensor(Int32Array.of(3, 0, 3)));
    expect(y.toArray()).toEqual([
      [7, 8],
      [1, 2],
      [7, 8],
    ]);
    y.sum().backward();
    expect(layer.weight.grad!.toArray()).toEqual([
      [1, 1],
      [0, 0],
      [0, 0],
      [0, 0],
    ]);
    expect(() => new nn.Embedding(4, 2, { paddingIdx: 4 })).toThrow(
      "Embedding: paddingIdx must be a whole number in -4 … 3, got 4.",
    );
  });
});

test("bilinear interpolation: one pass over a large result has the same bits as a pass per dim", () => {
  const x = randn([1, 120, 110, 34]);
  const both = nn.interpolate(x, { size: [256, 256], mode: "bilinear" });
  const wide = nn.interpolate(x, { size: [120, 256], mode: "bilinear" });
  const twice = nn.interpolate(wide, { size: [256, 256], mode: "bilinear" }).data;
  expect(both.data.every((value, i) => value === twice[i])).toBe(true);
});

test("interpolate and AdaptiveAvgPool2d reject invalid sizes", () => {
  const x = zeros([1, 4, 4, 1]);
  expect(() => nn.interpolate(x, {})).toThrow("interpolate: pass either size or scaleFactor.");
  expect(() => nn.interpolate(x, { size: 0 })).toThrow(
    "interpolate: size must be [height, width], whole numbers above 0, got [0, 0]",
  );
  expect(() => nn.interpolate(zeros([4, 4]), { size: 2 })).toThrow(
    "x must be [batch, height, width, channels], got [4, 4].",
  );
  expect(() => nn.interpolate(x, { size: 2, alignCorners: true })).toThrow('alignCorners requires mode "bilinear".');
  expect(() => new nn.AdaptiveAvgPool2d([2.5, 1])).toThrow(
    "AdaptiveAvgPool2d: size must be [height, width], whole numbers above 0, got [2.5, 1]",
  );
});

test("init rejects unknown choices and suggests the nearest", () => {
  const w = zeros([2, 2]);
  expect(() => nn.init.kaimingNormal(w, { mode: "fan_out" as never })).toThrow('Did you mean "fanOut"?');
  expect(() => nn.init.kaimingUniform(w, { nonlinearity: "gelu" as never })).toThrow("must be one of linear, sigmoid");
  expect(() => nn.init.calculateGain("leaky_relu" as never)).toThrow('Did you mean "leakyRelu"?');
});

describe("Sequential.set", () => {
  const make = (count = 3): nn.Sequential =>
    new nn.Sequential(...Array.from({ length: count }, () => new nn.Linear(2, 2)));
  test("replaces a layer in forward, parameters, the state dict, modes, printing and summaries", () => {
    const [model, layer, x] = [make(), new nn.Linear(2, 2, { bias: false }), randn([4, 2])];
    expect(model.set(1, layer)).toBe(model);
    const [first, , last] = model.layers;
    expect(model[1]).toBe(layer);
    expect(model.forward(x).toArray()).toEqual(last!.forward(layer.forward(first!.forward(x))).toArray());
    expect(model.parameters()).toEqual([first, layer, last].flatMap((one) => one!.parameters()));
    expect(Object.keys(model.stateDict())).toEqual(["0.weight", "0.bias", "1.weight", "2.weight", "2.bias"]);
    expect(model.stateDict()["1.weight"]).toBe(layer.weight);
    model.eval();
    expect(layer.training).toBe(false);
    expect(String(model)).toContain("(1): Linear(inFeatures=2, outFeatures=2, bias=false)");
    expect(summary(model, [4, 2]).parameters).toBe(16);
    expect(Object.keys(nn.fuse(model).stateDict())).toEqual(Object.keys(model.stateDict()));
  });
  test.each([3, 100])("a compiled function uses the new one of %i layers", (count) => {
    const model = make(count);
    const f = compile((x: Tensor) => noGrad(() => model.forward(x)));
    const x = randn([4, 2]);
    f(x);
    model.set(-1, new nn.Linear(2, 5));
    expect(f(x).toArray()).toEqual(noGrad(() => model.forward(x)).toArray());
  });
  test("is the only way to replace a layer", () => {
    const model = make();
    const assign = (target: object) => () => void ((target as nn.Module[])[1] = new nn.ReLU());
    expect(assign(model)).toThrow(TypeError);
    expect(assign(model.layers)).toThrow(TypeError);
  });
  test("rejects positions that do not exist, and layers that are not modules", () => {
    expect(() => make().set(3, new nn.ReLU())).toThrow("set: there is no layer 3. Use -3 … 2.");
    expect(() => make().set(0.5, new nn.ReLU())).toThrow("set: there is no layer 0.5.");
    expect(() => make().set(0, 5 as never)).toThrow("set: layer must be a module");
  });
});
