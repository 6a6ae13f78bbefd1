/** Penalties on gradients: closed forms, finite differences, training, and errors. */
import {
  compile,
  jacobian,
  losses,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { adversarialLoss, fgsm, pgd } from "../../src/gradients/regularization/adversaries.ts";
import {
  gradientPenalty,
  inputGradientNorms,
  jacobianPenalty,
  lipschitzPenalty,
} from "../../src/gradients/regularization/regularize.ts";
import { expectClose } from "../support/oracle.ts";
import { network, X } from "./regularization.ts";

describe("closed forms", () => {
  const w = [1, -2, 0.5, 3];
  const length = Math.hypot(...w);
  const linear = (z: Tensor) => z.matmul(tensor(w));
  const x = tensor(X);
  test("for a linear function, penalties are (‖w‖ − target)² and max(0, ‖w‖ − bound)²", () => {
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

  test("inputGradientNorms of ½‖x‖² is ‖x‖ per sample, for samples of any shape", () => {
    const image = randn([5, 2, 3, 2]);
    const expected = image.flatten(1).norm(2, 1).data;
    expectClose(inputGradientNorms((z) => z.square().flatten(1).sum(1).mul(0.5), image).data, expected, 1e-6);
  });

  test("jacobianPenalty of x·W is ‖W‖²_F if there are at least as many projections as outputs", () => {
    const W = randn([4, 3]);
    const total = W.square().sum().item();
    for (const projections of [3, 4, 100])
      expect(jacobianPenalty((z) => z.matmul(W), x, { projections }).item()).toBeCloseTo(total, 4);
    expect(jacobianPenalty(linear, x).item()).toBeCloseTo(length ** 2, 4);
  });
});

describe("jacobianPenalty", () => {
  test("with enough projections, equals the mean of ‖J‖²_F over samples, with J from jacobian()", () => {
    const model = network(5);
    const each = X.map((row) => {
      const J = jacobian((z: Tensor) => model.forward(z.reshape([1, 4])).reshape([5]))(tensor(row));
      return J.square().sum().item();
    });
    const expected = each.reduce((a, b) => a + b) / X.length;
    expect(jacobianPenalty(model, tensor(X), { projections: 5 }).item()).toBeCloseTo(expected, 5);
  });

  test("with fewer projections, is unbiased within 4 standard errors, with a deviation proportional to 1/√projections", () => {
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
      "jacobianPenalty with random projections",
      (model, x) => {
        manualSeed(9);
        return jacobianPenalty(model, x, { projections: 2 });
      },
      3,
    ],
    ["inputGradientNorms", (model, x) => inputGradientNorms(model, x).mean(), 1],
  ];
  test.each(penalties)(
    "%s: gradients of all parameters equal central differences, with an error below 3e-3 of the largest",
    (_, penalty, outputs) => {
      const model = network(outputs);
      const x = tensor(X);
      penalty(model, x).backward();
      const got = model.parameters().map((p) => p.grad?.data ?? new Float32Array(p.size));
      // With h = 2⁻⁷, float32 rounding (1e-7) causes an error of about 1e-5, and truncation, which is O(h²), one of about 1e-4.
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

  test("penalties and their gradients are finite if the input gradient is 0", () => {
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

  test("x gets a gradient if it requires one: 36x³/n for the mean of ‖∇f‖² with f = Σx³", () => {
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
      "gradientPenalty, target 1",
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
      "jacobianPenalty, all projections",
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
    "%s: ten compiled and ten eager steps are bit-identical, lower the loss and use constant memory",
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

describe("errors say how to fix the call", () => {
  const x = tensor(X);
  const model = network(3);
  const loss = (z: Tensor) => z.sum();
  test.each<[string, () => unknown, string]>([
    [
      "a function with several outputs",
      () => gradientPenalty(model, x),
      'gradientPenalty: the function must return one number per sample, [3] or [3, 1], got a float32 tensor [3, 3]. Use { reduction: "none" }, or select one class\'s score. For several outputs, use jacobianPenalty.',
    ],
    [
      "a function that returns the mean",
      () => lipschitzPenalty((z) => z.mean(), x),
      "lipschitzPenalty: the function must return one number per sample, [3] or [3, 1], got a float32 tensor [].",
    ],
    [
      "inputs without a batch",
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
      "the shape of the outputs",
      () => jacobianPenalty((z) => z.reshape([3, 2, 2]), x),
      "jacobianPenalty: the scores must be [3, classes] or [3], one row for each sample of [3, 4], got [3, 2, 2].",
    ],
  ])("%s", (_, f, message) => expect(f).toThrow(message));
});
