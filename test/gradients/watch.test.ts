import { compile, losses, manualSeed, memory, nn, noGrad, optim, randn, type Tensor, tensor, zeros } from "nabla";
import { diagnose, gradientByDepth, gradientThroughTime, growthPerStep, spectralNorm, watch } from "nabla/gradients";
import { describe, expect, test } from "vitest";

const deep = (depth: number, activation: () => nn.Module, init?: (w: Tensor) => void) => {
  manualSeed(1);
  const model = new nn.Sequential(
    ...Array.from({ length: depth }, () => [new nn.Linear(16, 16), activation()]).flat(),
    new nn.Linear(16, 1),
  );
  if (init) for (const [name, p] of model.namedParameters()) if (name.endsWith("weight")) init(p);
  return model;
};
const data = () => ({ x: randn([32, 16]), y: randn([32, 1]) });
const lossOf = (model: nn.Module) => {
  const { x, y } = data();
  return () => losses.mse(model.forward(x), y);
};

describe("diagnose names the problem and the remedy", () => {
  test.each([
    ["a shallow network", () => deep(2, () => new nn.Tanh(), nn.init.xavierUniform), "healthy", ""],
    ["12 layers with sigmoid", () => deep(12, () => new nn.Sigmoid()), "vanishing", "kaimingNormal"],
    [
      "12 linear layers with large weights",
      () =>
        deep(
          12,
          () => new nn.Identity(),
          (w) => nn.init.normal(w, 0, 1),
        ),
      "exploding",
      "clipGradNorm",
    ],
    [
      "tanh with large weights",
      () =>
        deep(
          3,
          () => new nn.Tanh(),
          (w) => nn.init.normal(w, 0, 4),
        ),
      "saturated",
      "smaller weights",
    ],
  ] as const)("%s: %s", (_, make, kind, remedy) => {
    const model = make();
    const report = diagnose(model, lossOf(model));
    expect(report.verdicts.map((v) => v.kind)).toContain(kind);
    expect(report.healthy).toBe(kind === "healthy");
    expect(report.verdicts.find((v) => v.kind === kind)!.remedy).toContain(remedy);
    expect(String(report)).toContain(report.verdicts[0]!.text);
  });
  test.each([
    ["tanh", () => new nn.Tanh()],
    ["relu", () => new nn.ReLU()],
    ["gelu", () => new nn.GELU()],
  ] as const)(
    "small weights with %s: the gradient vanishes, even if the gradients of all weights have one size",
    (_, make) => {
      const model = deep(12, make, (w) => nn.init.normal(w, 0, 0.05));
      for (const [name, p] of model.namedParameters()) if (name.endsWith("bias")) nn.init.zeros(p);
      const loss = lossOf(model);
      const report = diagnose(model, loss);
      const perElement = ({ gradient, shape }: { gradient: number; shape: readonly number[] }) =>
        gradient / Math.sqrt(shape[0]! * shape[1]!);
      const weights = report.last.parameters.filter(({ shape }) => shape.length > 1);
      expect(perElement(weights[0]!) / perElement(weights.at(-1)!)).toBeGreaterThan(1e-3);
      const rows = gradientByDepth(model, loss).filter(({ type }) => type === "Linear");
      const ratio = rows[0]!.gradient / rows.at(-1)!.gradient;
      expect(ratio).toBeLessThan(1e-6);
      expect(report.verdicts.map(({ kind }) => kind)).toContain("vanishing");
      expect(report.verdicts[0]!.text).toContain(
        `changes by a factor of about ${(ratio ** (1 / 12)).toPrecision(2)} per layer, from `,
      );
      expect(report.verdicts[0]!.text).toMatch(/ at 24 to .* at 0: vanishing\.$/);
    },
  );
  test("the size of the inputs does not hide a gradient that vanishes", () => {
    const model = deep(12, () => new nn.Sigmoid());
    const [x, y] = [randn([32, 16]), randn([32, 1])];
    const kinds = (scale: number) =>
      diagnose(model, () => losses.mse(model.forward(x.mul(scale)), y)).verdicts.map(({ kind }) => kind);
    expect(kinds(1)).toEqual(["vanishing"]);
    const first = model.parameters()[0]!;
    noGrad(() => first.copyFrom(first.div(1e8)));
    expect(kinds(1e8)).toEqual(["vanishing"]);
  });
  test("large negative biases before ReLU: dead units", () => {
    const model = deep(1, () => new nn.ReLU());
    nn.init.constant(model.parameters()[1]!, -50);
    const report = diagnose(model, lossOf(model));
    expect(report.last.activations).toMatchObject([{ name: "1", type: "ReLU", saturated: 1, dead: 1 }]);
    expect(report.verdicts.map((v) => v.kind)).toEqual(["no gradient", "dead"]);
  });
  test("diagnose works in train and eval mode, and does not change running statistics", () => {
    manualSeed(4);
    const model = new nn.Sequential(new nn.Linear(16, 16), new nn.BatchNorm1d(16), new nn.ReLU(), new nn.Linear(16, 1));
    const loss = lossOf(model);
    const before = model.buffers().map((b) => b.toArray());
    expect(diagnose(model, loss).last.activations).toHaveLength(1);
    expect(model.buffers().map((b) => b.toArray())).toEqual(before);
    model.eval();
    expect(diagnose(model, loss).last.activations).toHaveLength(1);
  });
  test("one sample gives no verdict on dead units, an activation used twice has two rows, and a NaN loss is reported", () => {
    const relu = new nn.ReLU();
    manualSeed(5);
    const model = new nn.Sequential(new nn.Linear(16, 16), relu, new nn.Linear(16, 16), relu, new nn.Linear(16, 1));
    const [x, y] = [randn([1, 16]), randn([1, 1])];
    const report = diagnose(model, () => losses.mse(model.forward(x), y));
    expect(report.last.activations.map(({ name, rows }) => [name, rows])).toEqual([
      ["1", 1],
      ["1 (use 2)", 1],
    ]);
    expect(report.healthy).toBe(true);
    const broken = diagnose(model, () => losses.mse(model.forward(x), y).mul(Number.NaN));
    expect(broken.verdicts[0]!.text).toMatch(/not finite/);
  });
  test("gradient norms match backward, and diagnose changes nothing and leaves no tensors behind", () => {
    const model = deep(2, () => new nn.Tanh());
    const loss = lossOf(model);
    loss().backward();
    const held = model.parameters().map((p) => Math.hypot(...p.grad!.data));
    const before = memory().tensors;
    const { parameters } = diagnose(model, loss).last;
    parameters.forEach(({ gradient }, i) => expect(gradient).toBeCloseTo(held[i]!, 6));
    expect(memory().tensors).toBe(before);
    expect(Object.hasOwn(model, "forward")).toBe(false);
    expect(model.parameters().every((p, i) => Math.hypot(...p.grad!.data) === held[i])).toBe(true);
  });
});

describe("watch", () => {
  test("two watchers can stop in any order", () => {
    const model = deep(1, () => new nn.Tanh());
    const [a, b] = [watch(model), watch(model)];
    model.forward(randn([2, 16]));
    expect(a.step().activations.length + b.step().activations.length).toBe(2);
    a.stop();
    model.forward(randn([2, 16]));
    expect([a.step().activations.length, b.step().activations.length]).toEqual([0, 1]);
    b.stop();
    b.stop();
    expect(Object.hasOwn(model, "forward")).toBe(false);
    expect(model.forward(randn([2, 16])).shape).toEqual([2, 1]);
  });
  test("records gradients, relative updates and activations of every step, and restores the model", () => {
    const model = deep(2, () => new nn.Tanh());
    const loss = lossOf(model);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const watcher = watch(model);
    expect(() => watcher.report()).toThrow(/Call step\(\)/);
    for (let i = 0; i < 3; i++) {
      optimizer.minimize(loss).dispose();
      watcher.step();
    }
    expect(watcher.history).toHaveLength(3);
    const [first, second] = watcher.history;
    expect(first!.parameters[0]!.update).toBeNaN();
    // SGD changes a weight by lr times its gradient.
    for (const { update, gradient, weight } of second!.parameters)
      expect(update).toBeCloseTo((0.1 * gradient) / weight, 5);
    expect(second!.activations.map(({ name, type }) => `${name} ${type}`)).toEqual(["1 Tanh", "3 Tanh"]);
    expect(watcher.report().healthy).toBe(true);
    watcher.stop();
    expect(String(model)).not.toContain("forward");
    expect(Object.hasOwn(model, "forward")).toBe(false);
  });
  test("reports a learning rate that is too high, and does not affect compiled functions", () => {
    const model = deep(1, () => new nn.Tanh());
    const loss = lossOf(model);
    const optimizer = new optim.SGD(model.parameters(), { lr: 20 });
    const watcher = watch(model);
    for (let i = 0; i < 2; i++) {
      optimizer.minimize(loss).dispose();
      watcher.step();
    }
    expect(watcher.report().verdicts.map((v) => v.kind)).toContain("too fast");
    const step = compile((x: Tensor) => model.forward(x));
    expect(step(randn([2, 16])).shape).toEqual([2, 1]);
    watcher.stop();
  });
});

describe("gradients through time", () => {
  test("for a linear recurrence with a scaled rotation W, the norm changes by a factor of ‖W‖ per step", () => {
    const [c, s] = [Math.cos(0.3), Math.sin(0.3)];
    for (const size of [0.7, 1, 1.4]) {
      const w = tensor([
        [size * c, -size * s],
        [size * s, size * c],
      ]);
      expect(spectralNorm(w)).toBeCloseTo(size, 5);
      const inputs = Array.from({ length: 12 }, () => zeros([1, 2]));
      const norms = gradientThroughTime(
        (h: Tensor, x: Tensor) => h.matmul(w.t()).add(x),
        tensor([[1, 0]]),
        inputs,
        (h) => h.sum(),
      );
      expect(norms).toHaveLength(13);
      expect(growthPerStep(norms)).toBeCloseTo(Math.log(size), 4);
    }
  });
  test("LSTM and GRU cells: norms equal central differences of the loss with respect to the first state", () => {
    manualSeed(2);
    const inputs = Array.from({ length: 5 }, () => randn([1, 3]));
    const lstm = new nn.LSTMCell(3, 4);
    const [h0, c0] = [randn([1, 4]), randn([1, 4])];
    const run = (h: Tensor, c: Tensor) =>
      inputs.reduce<[Tensor, Tensor]>((state, x) => lstm.forward(x, state), [h, c])[0].sum();
    const norms = gradientThroughTime<[Tensor, Tensor]>(
      (state, x) => lstm.forward(x, state),
      [h0, c0],
      inputs,
      ([h]) => h.sum(),
    );
    const step = 1e-2;
    const squares = [0, 1].flatMap((which) =>
      Array.from({ length: 4 }, (_, k) => {
        const moved = (sign: number) =>
          tensor(
            Float32Array.from({ length: 4 }, (_, j) => (j === k ? sign * step : 0)),
            [1, 4],
          );
        const at = (sign: number) => (which ? run(h0, c0.add(moved(sign))) : run(h0.add(moved(sign)), c0)).item();
        return ((at(1) - at(-1)) / (2 * step)) ** 2;
      }),
    );
    expect(norms[0]).toBeCloseTo(Math.sqrt(squares.reduce((a, b) => a + b)), 3);
    const gru = new nn.GRUCell(3, 4);
    expect(
      gradientThroughTime(
        (h: Tensor, x: Tensor) => gru.forward(x, h),
        h0,
        inputs,
        (h) => h.sum(),
      )[5],
    ).toBeCloseTo(2, 5);
  });
});

test("gradientByDepth gives the norm of the gradient at each layer's output", () => {
  const model = deep(2, () => new nn.Tanh());
  const loss = lossOf(model);
  const rows = gradientByDepth(model, loss);
  expect(rows.map(({ type }) => type)).toEqual(["Linear", "Tanh", "Linear", "Tanh", "Linear"]);
  // The gradient at the last layer's output is 2·(ŷ − y)/n.
  const { x, y } = data();
  const residual = model
    .forward(x)
    .sub(y)
    .mul(2 / 32);
  const again = gradientByDepth(model, () => losses.mse(model.forward(x), y));
  expect(again.at(-1)!.gradient).toBeCloseTo(Math.hypot(...residual.data), 5);
  const lstm = new nn.LSTM(16, 4);
  expect(gradientByDepth(lstm, () => lstm.forward(randn([3, 2, 16]))[0].sum())).toEqual([]);
});
