/** Penalties on gradients, bounds and adversaries: closed forms, finite differences, and what attacks must keep to. */
import {
  compile,
  grad,
  jacobian,
  losses,
  manualSeed,
  memory,
  nn,
  noGrad,
  ones,
  optim,
  rand,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { adversarialLoss, fgsm, pgd } from "../../src/gradients/regularization/adversaries.ts";
import { lipschitzBound } from "../../src/gradients/regularization/lipschitz.ts";
import {
  gradientPenalty,
  inputGradientNorms,
  jacobianPenalty,
  lipschitzPenalty,
} from "../../src/gradients/regularization/regularize.ts";
import { expectClose } from "../support/oracle.ts";

function network(outputs: number, seed = 3): nn.Sequential {
  manualSeed(seed);
  return new nn.Sequential(new nn.Linear(4, 7), new nn.Tanh(), new nn.Linear(7, outputs));
}

const X = [
  [0.5, -1, 2, 0.25],
  [1, 0.75, -0.5, -2],
  [0, 1, 1, -1],
];

describe("closed forms", () => {
  const w = [1, -2, 0.5, 3];
  const length = Math.hypot(...w);
  const linear = (z: Tensor) => z.matmul(tensor(w));
  const x = tensor(X);
  test("a linear function has the same gradient everywhere: (‖w‖ − target)² and max(0, ‖w‖ − bound)²", () => {
    expectClose(inputGradientNorms(linear, x).data, [length, length, length], 1e-6);
    expect(gradientPenalty(linear, x).item()).toBeCloseTo(length ** 2, 4);
    expect(gradientPenalty(linear, x, { target: 1 }).item()).toBeCloseTo((length - 1) ** 2, 4);
    expect(gradientPenalty((z) => linear(z).reshape([-1, 1]), x, { target: 5 }).item()).toBeCloseTo(
      (length - 5) ** 2,
      4,
    );
    expect(lipschitzPenalty(linear, x, { bound: 2 }).item()).toBeCloseTo((length - 2) ** 2, 4);
    expect(lipschitzPenalty(linear, x, { bound: 4 }).item()).toBe(0);
  });

  test("norms are each sample's own: of ½‖x‖² they are ‖x‖, whatever the samples' shape", () => {
    const image = randn([5, 2, 3, 2]);
    const expected = image.flatten(1).norm(2, 1).data;
    expectClose(inputGradientNorms((z) => z.square().flatten(1).sum(1).mul(0.5), image).data, expected, 1e-6);
  });

  test("jacobianPenalty of x·W is ‖W‖²_F, exact with as many projections as outputs, for one output too", () => {
    const W = randn([4, 3]);
    const total = W.square().sum().item();
    for (const projections of [3, 4, 100])
      expect(jacobianPenalty((z) => z.matmul(W), x, { projections }).item()).toBeCloseTo(total, 4);
    expect(jacobianPenalty(linear, x).item()).toBeCloseTo(length ** 2, 4);
  });
});

describe("jacobianPenalty", () => {
  test("exact, it is the mean of ‖J‖²_F over samples, J by jacobian()", () => {
    const model = network(5);
    const each = X.map((row) => {
      const J = jacobian((z: Tensor) => model.forward(z.reshape([1, 4])).reshape([5]))(tensor(row));
      return J.square().sum().item();
    });
    const expected = each.reduce((a, b) => a + b) / X.length;
    expect(jacobianPenalty(model, tensor(X), { projections: 5 }).item()).toBeCloseTo(expected, 5);
  });

  test("with fewer projections it is unbiased: the mean of 3000 estimates within 4 standard errors, more projections vary less", () => {
    const model = network(5);
    const x = tensor(X);
    const exact = jacobianPenalty(model, x, { projections: 5 }).item();
    manualSeed(11);
    const spread = [1, 3].map((projections) => {
      const estimates = Array.from({ length: 3000 }, () =>
        tidy(() => jacobianPenalty(model, x, { projections }).item()),
      );
      const mean = estimates.reduce((a, b) => a + b) / estimates.length;
      const std = Math.sqrt(estimates.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (estimates.length - 1));
      expect(Math.abs(mean - exact), `${projections} projections`).toBeLessThan((4 * std) / Math.sqrt(3000));
      return std;
    });
    expect(spread[1]! / spread[0]!).toBeCloseTo(1 / Math.sqrt(3), 1);
  });
});

describe("double backward", () => {
  const penalties: [string, (model: nn.Module, x: Tensor) => Tensor, outputs: number][] = [
    ["gradientPenalty", (model, x) => gradientPenalty(model, x), 1],
    ["gradientPenalty, target 1", (model, x) => gradientPenalty(model, x, { target: 1 }), 1],
    [
      "gradientPenalty of a loss",
      (model, x) =>
        gradientPenalty(
          (z) => losses.crossEntropy(model.forward(z), tensor([0, 2, 1], { dtype: "int32" }), { reduction: "none" }),
          x,
        ),
      3,
    ],
    ["lipschitzPenalty", (model, x) => lipschitzPenalty(model, x, { bound: 0.05 }), 1],
    ["jacobianPenalty", (model, x) => jacobianPenalty(model, x, { projections: 3 }), 3],
    [
      "jacobianPenalty, projected",
      (model, x) => {
        manualSeed(9);
        return jacobianPenalty(model, x, { projections: 2 });
      },
      3,
    ],
    ["inputGradientNorms", (model, x) => inputGradientNorms(model, x).mean(), 1],
  ];
  test.each(penalties)(
    "%s: gradients by all parameters agree with central differences to 3e-3 of the largest",
    (_, penalty, outputs) => {
      const model = network(outputs);
      const x = tensor(X);
      penalty(model, x).backward();
      const got = model.parameters().map((p) => p.grad?.data ?? new Float32Array(p.size));
      // float32 values of size 1 are known to 1e-7: with h = 2⁻⁷ differences are good to 1e-5, their own error O(h²) to 1e-4.
      const h = 2 ** -7;
      const value = (): number => tidy(() => penalty(model, x).item());
      const expected = model.parameters().map((p) => {
        const at = p.data;
        return Array.from(at, (_v, i) => {
          const [up, down] = [h, -h].map((step) => {
            const moved = Float32Array.from(at);
            moved[i]! += step;
            noGrad(() => p.copyFrom(moved));
            return value();
          });
          noGrad(() => p.copyFrom(at));
          return (up! - down!) / (2 * h);
        });
      });
      const scale = Math.max(...expected.flat().map(Math.abs));
      expect(scale).toBeGreaterThan(0.01);
      expected.forEach((list, k) =>
        list.forEach((v, i) =>
          expect(Math.abs(v - got[k]![i]!), `parameter ${k}, element ${i}`).toBeLessThan(3e-3 * scale),
        ),
      );
    },
  );

  test("where a gradient is 0, penalties and their gradients are finite", () => {
    const model = new nn.Linear(4, 1);
    noGrad(() => model.weight.copyFrom(zeros([1, 4])));
    for (const f of [
      () => gradientPenalty(model, tensor(X)),
      () => gradientPenalty(model, tensor(X), { target: 1 }),
      () => lipschitzPenalty(model, tensor(X)),
      () => jacobianPenalty(model, tensor(X)),
    ]) {
      model.zeroGrad();
      f().backward();
      expect(Array.from(model.weight.grad!.data).every(Number.isFinite)).toBe(true);
    }
  });

  test("gradients flow to x too, where it requires one: d/dx of mean ‖∇f‖² for f = Σx³ is 36x³/n", () => {
    const x = tensor(
      [
        [1, 2],
        [-1, 0.5],
      ],
      { requiresGrad: true },
    );
    gradientPenalty((z) => z.pow(3).sum(1), x).backward();
    expectClose(x.grad!.data, [18, 144, -18, 2.25], 1e-5);
    x.clearGrad();
    jacobianPenalty((z) => z.pow(3), x, { projections: 2 }).backward();
    expectClose(x.grad!.data, [18, 144, -18, 2.25], 1e-5);
  });
});

describe("inside minimize and compile", () => {
  const labels = tensor([0, 2, 1], { dtype: "int32" });
  const each = (model: nn.Module) => (z: Tensor) =>
    losses.crossEntropy(model.forward(z), labels, { reduction: "none" });
  const terms: [string, (model: nn.Module, x: Tensor) => Tensor][] = [
    [
      "gradientPenalty",
      (model, x) =>
        each(model)(x)
          .mean()
          .add(gradientPenalty(each(model), x)),
    ],
    [
      "gradientPenalty 1",
      (model, x) =>
        each(model)(x)
          .mean()
          .add(gradientPenalty(each(model), x, { target: 1 })),
    ],
    [
      "lipschitzPenalty",
      (model, x) =>
        each(model)(x)
          .mean()
          .add(lipschitzPenalty(each(model), x, { bound: 0.1 })),
    ],
    ["jacobianPenalty", (model, x) => each(model)(x).mean().add(jacobianPenalty(model, x))],
    [
      "jacobianPenalty, exact",
      (model, x) =>
        each(model)(x)
          .mean()
          .add(jacobianPenalty(model, x, { projections: 3 })),
    ],
    [
      "adversarialLoss, fgsm",
      (model, x) =>
        adversarialLoss(
          (z) => each(model)(z).mean(),
          x,
          (l, z) => fgsm(l, z, { epsilon: 0.1, min: -2, max: 2 }),
        ),
    ],
    [
      "adversarialLoss, pgd",
      (model, x) =>
        adversarialLoss(
          (z) => each(model)(z).mean(),
          x,
          (l, z) => pgd(l, z, { epsilon: 0.1, steps: 2 }),
          { clean: 0 },
        ),
    ],
    [
      "adversarialLoss, pgd l2",
      (model, x) =>
        adversarialLoss(
          (z) => each(model)(z).mean(),
          x,
          (l, z) => pgd(l, z, { epsilon: 0.5, steps: 2, norm: "l2" }),
        ),
    ],
  ];
  test.each(terms)(
    "%s: ten compiled steps give the parameters of ten eager ones, bit for bit; both lower the loss; memory is flat",
    (_, term) => {
      const x = tensor(X);
      const run = (wrap: (f: (z: Tensor) => Tensor) => ((z: Tensor) => Tensor) & { dispose?(): void }) => {
        const model = network(3);
        const optimizer = new optim.Adam(model.parameters(), { lr: 0.02 });
        const step = wrap((z) => optimizer.minimize(() => term(model, z)));
        manualSeed(5);
        const first = tidy(() => step(x).item());
        tidy(() => void step(x));
        const before = memory();
        for (let i = 0; i < 7; i++) tidy(() => void step(x));
        expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
        const last = tidy(() => step(x).item());
        expect(last).toBeLessThan(first);
        step.dispose?.();
        return model.parameters().map((p) => p.data);
      };
      expect(run(compile)).toEqual(run((f) => f));
    },
  );
});

describe("lipschitzBound", () => {
  const largest = (f: (z: Tensor) => Tensor, shape: number[]): number => {
    // The power iteration on JᵀJ of a linear map.
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

  test("of Linear it is the largest singular value: 2 and 3 in known matrices, any shape", () => {
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
      largest((z) => wide.forward(z), [1, 30]),
      4,
    );
    const tiny = new nn.Linear(2, 2);
    noGrad(() => tiny.weight.copyFrom([1e-25, 0, 0, 3e-25]));
    expect(lipschitzBound(tiny) / 3e-25).toBeCloseTo(1, 5);
  });

  test("of Conv2d it is no less than the operator's norm, and at most √taps times it: strides, groups, dilation, padding", () => {
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
      const norm = largest((z) => layer.forward(z), [1, 10, 10, inputs]);
      const taps = layer.kernelSize[0]! * layer.kernelSize[1]!;
      expect(bound, `${layer}`).toBeGreaterThanOrEqual(norm * (1 - 1e-5));
      expect(bound, `${layer}`).toBeLessThanOrEqual(norm * Math.sqrt(taps) * (1 + 1e-5));
    }
    // A 1 × 1 convolution is a matrix; equal weights reach Σ over taps.
    const sum = new nn.Conv2d(1, 1, 3, { bias: false });
    noGrad(() => sum.weight.copyFrom(ones([1, 3, 3, 1])));
    expect(lipschitzBound(sum)).toBeCloseTo(9, 4);
  });

  test("SpectralNorm makes it 1; Sequentials multiply, nested too; activations count by their steepest slope", () => {
    manualSeed(3);
    const normed = new nn.SpectralNorm(new nn.Linear(5, 6), { nPowerIterations: 50 });
    normed.forward(randn([1, 5]));
    expect(lipschitzBound(normed)).toBeCloseTo(1, 3);
    const [a, b] = [new nn.Linear(4, 5), new nn.Linear(5, 2)];
    const product = lipschitzBound(a) * lipschitzBound(b);
    const model = new nn.Sequential(new nn.Flatten(), new nn.Sequential(a, new nn.Sigmoid()), b, new nn.Identity());
    expect(lipschitzBound(model)).toBeCloseTo(product / 4, 6);
  });

  test("no slope of an activation exceeds its bound, on [−8, 8]; smooth ones come within 1% of it", () => {
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

  test("max pools: 1 without overlap; windows that overlap count as often as they do, and no pair of images exceeds it", () => {
    expect(lipschitzBound(new nn.MaxPool2d(2))).toBe(1);
    expect(lipschitzBound(new nn.MaxPool2d(3, { stride: 1 }))).toBe(3);
    expect(lipschitzBound(new nn.MaxPool2d([3, 2], { stride: 2 }))).toBeCloseTo(Math.SQRT2, 12);
    expect(lipschitzBound(new nn.MaxPool2d(2, { dilation: 2 }))).toBe(2);
    manualSeed(4);
    // A spike is seen by all windows that hold it: the bound is reached.
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

  test("no two inputs of a network are further apart behind it than the bound allows", () => {
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
    expect(() => lipschitzBound(odd)).toThrow("the weight [2, 2] has values that are not finite");
  });
});

describe("adversaries", () => {
  const model = network(3);
  const labels = tensor([0, 2, 1, 1], { dtype: "int32" });
  const lossOf = (z: Tensor) => losses.crossEntropy(model.forward(z), labels);
  const x = () => {
    manualSeed(8);
    return rand([4, 4]);
  };
  const each = (z: Tensor): Float32Array =>
    losses.crossEntropy(model.forward(z), labels, { reduction: "none" }).data as Float32Array;

  test("FGSM is x + ε·sign(∂loss/∂x), which raises a linear function by exactly ε‖w‖₁", () => {
    const w = [1, -2, 0.5, 0];
    const moved = fgsm((z) => z.matmul(tensor(w)), tensor(X), { epsilon: 0.25 });
    expect(moved.toArray()).toEqual(X.map((row) => row.map((v, i) => v + 0.25 * Math.sign(w[i]!))));
    const point = x();
    const expected = point.add(grad(lossOf)(point).sign().mul(0.1));
    expect(fgsm(lossOf, point, { epsilon: 0.1 }).data).toEqual(expected.data);
    // Losses one by one are attacked alike.
    const single = fgsm((z) => losses.crossEntropy(model.forward(z), labels, { reduction: "none" }), point, {
      epsilon: 0.1,
    });
    expect(single.data).toEqual(expected.data);
  });

  test("all raise the loss of every sample, stay within ε and within the box", () => {
    const point = x();
    const before = each(point);
    const box = { min: 0, max: 1 };
    for (const epsilon of [0.01, 0.1, 0.3]) {
      for (const z of [
        fgsm(lossOf, point, { epsilon, ...box }),
        pgd(lossOf, point, { epsilon, ...box }),
        pgd(lossOf, point, { epsilon, randomStart: false, stepSize: epsilon / 4, steps: 8, ...box }),
      ]) {
        expect(Math.max(...z.sub(point).abs().data)).toBeLessThanOrEqual(epsilon * (1 + 1e-6) + 6e-8);
        expect([z.min().item() >= 0, z.max().item() <= 1]).toEqual([true, true]);
        each(z).forEach((loss, i) => expect(loss).toBeGreaterThan(before[i]!));
      }
      for (const randomStart of [true, false]) {
        const z = pgd(lossOf, point, { epsilon, norm: "l2", randomStart, ...box });
        expect(z.sub(point).norm(2, 1).max().item()).toBeLessThanOrEqual(epsilon * (1 + 1e-5));
        expect([z.min().item() >= 0, z.max().item() <= 1]).toEqual([true, true]);
        each(z).forEach((loss, i) => expect(loss).toBeGreaterThan(before[i]!));
      }
    }
  });

  test("PGD ends no lower than FGSM, and in l2 along w where the loss is linear, at length ε", () => {
    const point = x();
    const [one, many] = [
      fgsm(lossOf, point, { epsilon: 0.5 }),
      pgd(lossOf, point, { epsilon: 0.5, steps: 40, randomStart: false }),
    ];
    expect(lossOf(many).item()).toBeGreaterThanOrEqual(lossOf(one).item() - 1e-6);
    const w = [3, 0, -4, 0];
    for (const scale of [1, 1e-30]) {
      const z = pgd((v) => v.matmul(tensor(w)).mul(scale), tensor(X), {
        epsilon: 2,
        norm: "l2",
        steps: 30,
        randomStart: false,
      });
      expectClose(
        z.sub(tensor(X)).data,
        X.flatMap(() => [1.2, 0, -1.6, 0]),
        0.02,
      );
    }
  });

  test("a random start lies anywhere within the ball: of the l2 ball's volume in 2-D, a quarter within half the radius", () => {
    manualSeed(10);
    const flat = (z: Tensor) => z.mul(0).sum();
    const z = pgd(flat, zeros([4000, 2]), { epsilon: 2, norm: "l2", steps: 1 });
    const lengths = z.norm(2, 1);
    expect(lengths.max().item()).toBeLessThanOrEqual(2 * (1 + 1e-6));
    expect(lengths.lt(1).to("float32").mean().item()).toBeCloseTo(0.25, 1);
    expect(pgd(flat, zeros([4, 2]), { epsilon: 2, steps: 1, randomStart: false }).data).toEqual(new Float32Array(8));
  });

  test("adversarialLoss weighs the loss at x and at the adversary", () => {
    const point = x();
    const attack = (l: typeof lossOf, z: Tensor) => fgsm(l, z, { epsilon: 0.2 });
    const [clean, hard] = [lossOf(point).item(), lossOf(attack(lossOf, point)).item()];
    expect(adversarialLoss(lossOf, point, attack).item()).toBeCloseTo((clean + hard) / 2, 6);
    expect(adversarialLoss(lossOf, point, attack, { clean: 0.25 }).item()).toBeCloseTo(0.25 * clean + 0.75 * hard, 6);
    expect(adversarialLoss(lossOf, point, attack, { clean: 0 }).item()).toBeCloseTo(hard, 6);
    expect(adversarialLoss(lossOf, point, attack, { clean: 1 }).item()).toBeCloseTo(clean, 6);
  });

  test("attacks touch no gradient that is held, return constants, and leave nothing behind; nor do penalties", () => {
    const point = x();
    point.requiresGrad = true;
    lossOf(point).backward();
    const held = [point, ...model.parameters()].map((p) => p.grad!);
    const values = held.map((g) => g.data);
    const all = (): (() => Tensor)[] => [
      () => fgsm(lossOf, point, { epsilon: 0.1, min: 0, max: 1 }),
      () => pgd(lossOf, point, { epsilon: 0.1, steps: 3 }),
      () => pgd(lossOf, point, { epsilon: 0.1, steps: 3, norm: "l2", min: 0 }),
      () => inputGradientNorms((z) => model.forward(z).sum(1), point),
      () => gradientPenalty((z) => model.forward(z).sum(1), point, { target: 1 }),
      () => lipschitzPenalty((z) => model.forward(z).sum(1), point, { bound: 0.1 }),
      () => jacobianPenalty(model, point, { projections: 2 }),
      () => jacobianPenalty(model, point, { projections: 3 }),
      () => adversarialLoss(lossOf, point, (l, z) => pgd(l, z, { epsilon: 0.1, steps: 2 })),
    ];
    for (const f of all()) f().dispose(); // constants are cached
    const before = memory();
    for (const [i, f] of all().entries()) {
      const result = f();
      expect(result.requiresGrad, `${f}`).toBe(i >= 3);
      expect(memory().tensors).toBe(before.tensors + 1);
      result.dispose();
      expect(memory(), `${f}`).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    }
    expect(() =>
      pgd(
        () => {
          throw new Error("stop");
        },
        point,
        { epsilon: 1 },
      ),
    ).toThrow("stop");
    expect(() => gradientPenalty(model, point)).toThrow();
    lipschitzBound(model);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    expect([point, ...model.parameters()].every((p, i) => p.grad === held[i])).toBe(true);
    expect(held.map((g) => g.data)).toEqual(values);
    model.zeroGrad();
  });
});

describe("errors name the remedy", () => {
  const x = tensor(X);
  const model = network(3);
  const loss = (z: Tensor) => z.sum();
  test.each<[string, () => unknown, string]>([
    [
      "several outputs",
      () => gradientPenalty(model, x),
      'gradientPenalty: the function must return one number per sample, [3] or [3, 1], got a float32 tensor [3, 3]. Use { reduction: "none" }, or select one class\'s score. For several outputs, use jacobianPenalty.',
    ],
    [
      "a mean",
      () => lipschitzPenalty((z) => z.mean(), x),
      "lipschitzPenalty: the function must return one number per sample, [3] or [3, 1], got a float32 tensor [].",
    ],
    [
      "no batch",
      () => inputGradientNorms(loss, tensor([1])),
      "inputGradientNorms: x must be [batch, …] and not empty, got [1].",
    ],
    ["target", () => gradientPenalty(loss, x, { target: -1 }), "gradientPenalty: target must be a number ≥ 0, got -1."],
    [
      "bound",
      () => lipschitzPenalty(loss, x, { bound: Number.NaN }),
      "lipschitzPenalty: bound must be a number ≥ 0, got NaN.",
    ],
    [
      "projections",
      () => jacobianPenalty(model, x, { projections: 0 }),
      "jacobianPenalty: projections must be a whole number ≥ 1, got 0.",
    ],
    [
      "outputs",
      () => jacobianPenalty((z) => z.reshape([3, 2, 2]), x),
      "jacobianPenalty: the scores must be [3, classes] or [3], one row for each sample of [3, 4], got [3, 2, 2].",
    ],
    ["epsilon", () => fgsm(loss, x, { epsilon: -0.1 }), "fgsm: epsilon must be a number ≥ 0, got -0.1."],
    ["box", () => fgsm(loss, x, { epsilon: 0.1, min: 1, max: 0 }), "fgsm: min must be below max, got 1 and 0."],
    [
      "type",
      () => fgsm(loss, tensor(X, { dtype: "int32" }), { epsilon: 0.1 }),
      'fgsm: x must be float32 to have gradients, got int32. Use x.to("float32").',
    ],
    ["steps", () => pgd(loss, x, { epsilon: 0.1, steps: 0 }), "pgd: steps must be a whole number ≥ 1, got 0."],
    ["stepSize", () => pgd(loss, x, { epsilon: 0.1, stepSize: -1 }), "pgd: stepSize must be a number ≥ 0, got -1."],
    ["norm", () => pgd(loss, x, { epsilon: 0.1, norm: "l1" as "l2" }), 'pgd: norm must be "linf" or "l2", got "l1".'],
    [
      "no tensor",
      () => fgsm(() => 1 as unknown as Tensor, x, { epsilon: 0.1 }),
      "fgsm: the loss must be a tensor, got 1. Return it from the function.",
    ],
    [
      "clean",
      () => adversarialLoss(loss, x, (_, z) => z, { clean: 2 }),
      "adversarialLoss: clean must be in 0 … 1, got 2.",
    ],
    [
      "the attack's shape",
      () => adversarialLoss(loss, x, (_, z) => z.sum(0)),
      "adversarialLoss: the attack must return the shape of x, [3, 4], got [4].",
    ],
  ])("%s", (_, f, message) => expect(f).toThrow(message));
});
