/** FGSM, PGD and adversarialLoss: closed forms, constraints, side effects and errors. */
import { grad, losses, manualSeed, memory, rand, type Tensor, tensor, zeros } from "nabla";
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
import { network, X } from "./regularization.ts";

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
    // An unreduced loss produces the same attack.
    const single = fgsm((z) => losses.crossEntropy(model.forward(z), labels, { reduction: "none" }), point, {
      epsilon: 0.1,
    });
    expect(single.data).toEqual(expected.data);
  });

  test("all attacks raise the loss of every sample and stay within ε and within the box", () => {
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

  test("PGD's loss is at least FGSM's, and for a linear loss the l2 attack is ε·w/‖w‖", () => {
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

  test("random starts are uniform in the l2 ball: in 2-D, a quarter of them are within half the radius", () => {
    manualSeed(10);
    const flat = (z: Tensor) => z.mul(0).sum();
    const z = pgd(flat, zeros([4000, 2]), { epsilon: 2, norm: "l2", steps: 1 });
    const lengths = z.norm(2, 1);
    expect(lengths.max().item()).toBeLessThanOrEqual(2 * (1 + 1e-6));
    expect(lengths.lt(1).to("float32").mean().item()).toBeCloseTo(0.25, 1);
    expect(pgd(flat, zeros([4, 2]), { epsilon: 2, steps: 1, randomStart: false }).data).toEqual(new Float32Array(8));
  });

  test("adversarialLoss is the weighted mean of the losses at x and at the adversarial input", () => {
    const point = x();
    const attack = (l: typeof lossOf, z: Tensor) => fgsm(l, z, { epsilon: 0.2 });
    const [clean, hard] = [lossOf(point).item(), lossOf(attack(lossOf, point)).item()];
    expect(adversarialLoss(lossOf, point, attack).item()).toBeCloseTo((clean + hard) / 2, 6);
    expect(adversarialLoss(lossOf, point, attack, { clean: 0.25 }).item()).toBeCloseTo(0.25 * clean + 0.75 * hard, 6);
    expect(adversarialLoss(lossOf, point, attack, { clean: 0 }).item()).toBeCloseTo(hard, 6);
    expect(adversarialLoss(lossOf, point, attack, { clean: 1 }).item()).toBeCloseTo(clean, 6);
  });

  test("attacks and penalties change no existing gradient and leave no tensors behind, and attacks return constants", () => {
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
    for (const f of all()) f().dispose(); // the first calls cache constants
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

describe("errors say how to fix the call", () => {
  const x = tensor(X);
  const loss = (z: Tensor) => z.sum();
  test.each<[string, () => unknown, string]>([
    ["epsilon", () => fgsm(loss, x, { epsilon: -0.1 }), "fgsm: epsilon must be a number ≥ 0, got -0.1."],
    ["box", () => fgsm(loss, x, { epsilon: 0.1, min: 1, max: 0 }), "fgsm: min must be below max, got 1 and 0."],
    [
      "the inputs' element type",
      () => fgsm(loss, tensor(X, { dtype: "int32" }), { epsilon: 0.1 }),
      'fgsm: x must be float32 to have gradients, got int32. Use x.to("float32").',
    ],
    ["steps", () => pgd(loss, x, { epsilon: 0.1, steps: 0 }), "pgd: steps must be a whole number ≥ 1, got 0."],
    ["stepSize", () => pgd(loss, x, { epsilon: 0.1, stepSize: -1 }), "pgd: stepSize must be a number ≥ 0, got -1."],
    ["norm", () => pgd(loss, x, { epsilon: 0.1, norm: "l1" as "l2" }), 'pgd: norm must be "linf" or "l2", got "l1".'],
    [
      "a loss that is not a tensor",
      () => fgsm(() => 1 as unknown as Tensor, x, { epsilon: 0.1 }),
      "fgsm: the loss must be a tensor, got 1. Return a tensor from the function.",
    ],
    [
      "clean",
      () => adversarialLoss(loss, x, (_, z) => z, { clean: 2 }),
      "adversarialLoss: clean must be in 0 … 1, got 2.",
    ],
    [
      "the shape of the attack's result",
      () => adversarialLoss(loss, x, (_, z) => z.sum(0)),
      "adversarialLoss: the attack must return the shape of x, [3, 4], got [4].",
    ],
  ])("%s", (_, f, message) => expect(f).toThrow(message));
});
