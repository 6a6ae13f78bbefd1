/** Losses that exclude rows, classes and elements (ignored labels, weights and targets of 0), for any logits. */
import { compile, grad, hessian, losses, type Tensor, tensor } from "nabla";
import { describe, expect, test } from "vitest";
import { costs, labels, softplus, valuesOf } from "../support/losses.ts";
import { expectClose } from "../support/oracle.ts";

const { crossEntropy, nll, bce, bceWithLogits, klDiv } = losses;

const POISON = [-Infinity, Infinity, Number.NaN];
const good = [
  [0.5, -1, 2],
  [1, 0.25, -3],
];
const all = (v: number): number[] => [v, v, v];
const weight = [1, 2, 3];

/**
 * Losses of logits whose middle row is excluded. For the other rows, `own` is the expected loss, from −log p, and `mass` is the weight.
 */
const forms: Record<
  string,
  {
    f: (x: Tensor, reduction: "mean" | "sum" | "none") => Tensor;
    own: (cost: number[], row: number) => number;
    mass: (row: number) => number;
  }
> = {
  "crossEntropy with an ignored label": {
    f: (x, reduction) => crossEntropy(x, labels([2, -100, 0]), { reduction }),
    own: (c, r) => c[[2, 0, 0][r]!]!,
    mass: () => 1,
  },
  "crossEntropy with ignoreIndex 1": {
    f: (x, reduction) => crossEntropy(x, labels([2, 1, 0]), { reduction, ignoreIndex: 1 }),
    own: (c, r) => c[[2, 0, 0][r]!]!,
    mass: () => 1,
  },
  "crossEntropy with class weights": {
    f: (x, reduction) => crossEntropy(x, labels([2, -100, 0]), { reduction, weight: tensor(weight) }),
    own: (c, r) => [3, 0, 1][r]! * c[[2, 0, 0][r]!]!,
    mass: (r) => [3, 0, 1][r]!,
  },
  "crossEntropy with a class of weight 0": {
    f: (x, reduction) => crossEntropy(x, labels([2, 1, 0]), { reduction, weight: tensor([1, 0, 3]) }),
    own: (c, r) => [3, 0, 1][r]! * c[[2, 0, 0][r]!]!,
    mass: (r) => [3, 0, 1][r]!,
  },
  "crossEntropy with label smoothing": {
    f: (x, reduction) => crossEntropy(x, labels([2, -100, 0]), { reduction, labelSmoothing: 0.3 }),
    own: (c, r) => 0.7 * c[[2, 0, 0][r]!]! + 0.1 * (c[0]! + c[1]! + c[2]!),
    mass: () => 1,
  },
  "crossEntropy with label smoothing and class weights": {
    f: (x, reduction) =>
      crossEntropy(x, labels([2, -100, 0]), { reduction, labelSmoothing: 0.3, weight: tensor(weight) }),
    own: (c, r) => 0.7 * [3, 0, 1][r]! * c[[2, 0, 0][r]!]! + 0.1 * (c[0]! + 2 * c[1]! + 3 * c[2]!),
    mass: (r) => [3, 0, 1][r]!,
  },
  "nll of logSoftmax with an ignored label": {
    f: (x, reduction) => nll(x.logSoftmax(), labels([2, -100, 0]), { reduction }),
    own: (c, r) => c[[2, 0, 0][r]!]!,
    mass: () => 1,
  },
  "nll of logSoftmax with class weights": {
    f: (x, reduction) => nll(x.logSoftmax(), labels([2, -100, 0]), { reduction, weight: tensor(weight) }),
    own: (c, r) => [3, 0, 1][r]! * c[[2, 0, 0][r]!]!,
    mass: (r) => [3, 0, 1][r]!,
  },
  "nll of logSoftmax with a class of weight 0": {
    f: (x, reduction) => nll(x.logSoftmax(), labels([2, 1, 0]), { reduction, weight: tensor([1, 0, 3]) }),
    own: (c, r) => [3, 0, 1][r]! * c[[2, 0, 0][r]!]!,
    mass: (r) => [3, 0, 1][r]!,
  },
};

describe("an excluded row adds 0 to the loss and has gradient 0, even if its logits are not finite", () => {
  for (const [name, { f, own, mass }] of Object.entries(forms)) {
    test.each(POISON)(`${name}, a row of %d`, (poison) => {
      const [first, last] = good as [number[], number[]];
      const each = [own(costs(first), 0), 0, own(costs(last), 2)];
      const sum = each[0]! + each[2]!;
      const x = tensor([first, all(poison), last]);
      const calm = tensor([first, all(0), last]);
      for (const [reduction, want] of [
        ["none", each],
        ["sum", [sum]],
        ["mean", [sum / (mass(0) + mass(2))]],
      ] as const) {
        const expected = valuesOf((v) => f(v, reduction), calm)[0]!.gradient;
        for (const { mode, value, gradient } of valuesOf((v) => f(v, reduction), x)) {
          expectClose(value, want, 1e-6, `${mode}, ${reduction}`);
          expectClose(gradient, expected, 1e-6, `${mode}, ${reduction}: gradient`);
          for (const i of [3, 4, 5]) expect(gradient[i], `${mode}, ${reduction}: gradient ${i}`).toBe(0);
        }
      }
    });

    test(`${name}, the Hessian of shared weights is finite`, () => {
      const logits = (w: Tensor, middle: Tensor): Tensor => tensor(good).sum(0).mul(w).add(middle);
      const mask = (poison: number) => tensor([all(0), all(poison), all(0)]);
      const w = tensor([0.3, -0.2, 0.5]);
      const at = (poison: number) => hessian((v: Tensor) => f(logits(v, mask(poison)), "sum"))(w);
      const expected = at(0).data;
      for (const poison of POISON) expectClose(at(poison).data, expected, 1e-6, String(poison));
      expect(Math.max(...expected)).toBeGreaterThan(0.01);
    });
  }

  test.each(POISON)("crossEntropy with probabilities of 0, a row of %d", (poison) => {
    const p = [[0.2, 0.3, 0.5], all(0), [0.6, 0.4, 0]];
    const each = [0, 2].map((r) => costs(good[r / 2]!).reduce((sum, c, i) => sum + c * p[r]![i]!, 0));
    for (const { mode, value, gradient } of valuesOf(
      (x) => crossEntropy(x, tensor(p), { reduction: "none" }),
      tensor([good[0]!, all(poison), good[1]!]),
    )) {
      expectClose(value, [each[0]!, 0, each[1]!], 1e-6, mode);
      expect(gradient.slice(3, 6), mode).toEqual([0, 0, 0]);
      expect(gradient.every(Number.isFinite), mode).toBe(true);
    }
  });

  test("if all labels are ignored, the sum and its gradient are 0 and the mean is NaN, as in PyTorch", () => {
    const x = tensor([all(-Infinity), all(Number.NaN)]);
    for (const options of [{}, { labelSmoothing: 0.1 }, { weight: tensor(weight) }]) {
      const sum = (v: Tensor) => crossEntropy(v, labels([-100, -100]), { ...options, reduction: "sum" });
      expect(sum(x).item()).toBe(0);
      expect(grad(sum)(x).toArray()).toEqual([all(0), all(0)]);
      expect(crossEntropy(x, labels([-100, -100]), options).item()).toBeNaN();
    }
  });

  test("gradients of class weights ignore excluded rows, and include a class with weight 0", () => {
    const x = tensor([good[0]!, all(Number.NaN), good[1]!]);
    const c = good.map(costs);
    for (const f of [
      (w: Tensor) => crossEntropy(x, labels([2, -100, 0]), { weight: w, reduction: "sum" }),
      (w: Tensor) => nll(x.logSoftmax(), labels([2, -100, 0]), { weight: w, reduction: "sum" }),
    ])
      expectClose(grad(f)(tensor([0, 2, 3])).data, [c[1]![0]!, 0, c[0]![2]!], 1e-6);
    const smooth = (w: Tensor) =>
      crossEntropy(x, labels([2, -100, 0]), { weight: w, labelSmoothing: 0.3, reduction: "sum" });
    const spread = [0, 1, 2].map((k) => 0.1 * (c[0]![k]! + c[1]![k]!));
    spread[2]! += 0.7 * c[0]![2]!;
    spread[0]! += 0.7 * c[1]![0]!;
    expectClose(grad(smooth)(tensor([0, 2, 3])).data, spread, 1e-6);
  });
});

describe("an impossible class, with a logit of −∞", () => {
  const x = [[2, 1, -Infinity]];
  const cost = Math.log1p(Math.exp(-1));
  test.each<[string, (x: Tensor) => Tensor]>([
    ["labels", (v) => crossEntropy(v, labels([0]))],
    ["labels with class weights", (v) => crossEntropy(v, labels([0]), { weight: tensor([1, 2, 3]) })],
    [
      "label smoothing with weight 0 for that class",
      (v) => crossEntropy(v, labels([0]), { weight: tensor([1, 0, 0]), labelSmoothing: 0.3 }).div(0.8),
    ],
    ["probabilities", (v) => crossEntropy(v, tensor([[1, 0, 0]]))],
    ["weighted probabilities", (v) => crossEntropy(v, tensor([[1, 0, 0]]), { weight: tensor([1, 2, 3]) })],
    ["nll", (v) => nll(v.logSoftmax(), labels([0]))],
    ["klDiv", (v) => klDiv(v.logSoftmax(), tensor([[1, 0, 0]]), { reduction: "sum" })],
    [
      "klDiv with logTarget",
      (v) => klDiv(v.logSoftmax(), tensor([[0, -Infinity, -Infinity]]), { reduction: "sum", logTarget: true }),
    ],
  ])("does not affect the loss and gradients of %s", (_, f) => {
    const p = 1 / (1 + Math.exp(-1));
    for (const { mode, value, gradient } of valuesOf(f, tensor(x))) {
      expectClose(value, [cost], 1e-6, mode);
      expectClose(gradient, [p - 1, 1 - p, 0], 1e-6, mode);
    }
  });
  test("has an infinite loss as the label", () => {
    expect(crossEntropy(tensor(x), labels([2])).item()).toBe(Infinity);
    expect(crossEntropy(tensor(x), tensor([[0.5, 0.25, 0.25]])).item()).toBe(Infinity);
    expect(klDiv(tensor(x), tensor([[0.5, 0.25, 0.25]])).item()).toBe(Infinity);
  });
  test("has finite gradients of its target probability and of class weights", () => {
    const target = tensor([[1, 0, 0]]);
    expectClose(grad((t: Tensor) => crossEntropy(tensor(x), t))(target).data, [cost, 1 + cost, 0], 1e-6);
    const byWeight = grad((w: Tensor) => crossEntropy(tensor(x), target, { weight: w }))(tensor([1, 2, 3]));
    expectClose(byWeight.data, [cost, 0, 0], 1e-6);
    expect(grad((t: Tensor) => klDiv(tensor(x), t, { reduction: "sum" }))(target).data.every(Number.isFinite)).toBe(
      true,
    );
  });
});

describe("elements with weight 0 are excluded, even if they are not finite", () => {
  const mask = tensor([1, 0, 1]);
  test.each<[string, (x: Tensor, t: Tensor) => Tensor, number]>([
    [
      "bceWithLogits",
      (x, t) => bceWithLogits(x, t, { weight: mask, reduction: "sum" }),
      softplus(-0.5) + softplus(0.25),
    ],
    [
      "bceWithLogits with posWeight",
      (x, t) => bceWithLogits(x, t, { weight: mask, posWeight: tensor([2, 2, 2]), reduction: "sum" }),
      2 * softplus(-0.5) + softplus(0.25),
    ],
    ["bce", (x, t) => bce(x, t, { weight: mask, reduction: "sum" }), -Math.log(0.5) - Math.log(0.75)],
  ])("%s", (_, f, want) => {
    for (const poison of POISON)
      for (const [x, t] of [
        [
          [0.5, poison, 0.25],
          [1, 0, 0],
        ],
        [
          [0.5, 0.5, 0.25],
          [1, poison, 0],
        ],
      ] as const)
        for (const { mode, value, gradient } of valuesOf((v) => f(v, tensor(t)), tensor(x))) {
          expectClose(value, [want], 1e-6, mode);
          expect(gradient[1], mode).toBe(0);
          expect(gradient.every(Number.isFinite), mode).toBe(true);
        }
  });
  test("a weight of 0 has a gradient", () => {
    const g = grad((w: Tensor) => bceWithLogits(tensor([0.5, 2]), tensor([1, 1]), { weight: w, reduction: "sum" }));
    expectClose(g(tensor([0, 1])).data, [softplus(-0.5), softplus(-2)], 1e-6);
  });
});

describe("elements with weight 0", () => {
  const skipping = (loss: (x: Tensor, t: Tensor, o: object) => Tensor, x: number[]) =>
    Array.from(grad((w: Tensor) => loss(tensor(x), tensor([0, 0]), { weight: w }))(tensor([0, 1])).data);
  test("give the weight no gradient if their value is invalid", () => {
    for (const bad of [Infinity, -Infinity, Number.NaN]) {
      expect(skipping(losses.bceWithLogits as never, [bad, 1])[0]).toBe(0);
      expect(skipping(losses.bce as never, [bad, 0.5])[0]).toBe(0);
    }
  });
  test("are not checked by bce, and posWeight does not apply to them", () => {
    const weight = tensor([0, 1]);
    for (const bad of [7, -1, Number.NaN])
      expect(losses.bce(tensor([bad, 0.5]), tensor([1, 1]), { weight }).item()).toBeCloseTo(Math.LN2 / 2, 6);
    expect(
      losses.bceWithLogits(tensor([1, 0]), tensor([0, 1]), { weight, posWeight: tensor([Infinity, 1]) }).item(),
    ).toBeCloseTo(Math.LN2 / 2, 6);
  });
});

test("compiled bce throws the same error as eager bce", () => {
  const step = compile((x: Tensor, t: Tensor) => losses.bce(x, t));
  const good = tensor([0.5, 0.5]);
  expect(step(good, good).item()).toBeCloseTo(Math.LN2, 6);
  for (const bad of [1.5, -0.1, Number.NaN]) {
    const wrong = tensor([0.5, bad]);
    for (const f of [step, losses.bce]) {
      expect(() => f(good, wrong)).toThrow(/^bce: the target must be in 0 … 1, got .* at \[1\]/);
      expect(() => f(wrong, good)).toThrow(/^bce: the prediction must be in 0 … 1, got .* at \[1\]/);
    }
  }
});

test("klDiv: with target 0, a NaN prediction gives NaN, and −∞ gives 0", () => {
  expect(losses.klDiv(tensor([Number.NaN]), tensor([0])).item()).toBeNaN();
  expect(losses.klDiv(tensor([-Infinity]), tensor([0])).item()).toBe(0);
  expect(losses.klDiv(tensor([Number.NaN]), tensor([-Infinity]), { logTarget: true }).item()).toBeNaN();
});
