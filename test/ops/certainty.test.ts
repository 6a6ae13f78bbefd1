/**
 * Losses in extreme cases: logits far from zero, probabilities of 0 and 1, invalid probabilities, zero vectors, and
 * kinks.
 */
import { compile, grad, losses, type Tensor, tensor, zeros } from "nabla";
import { describe, expect, test } from "vitest";
import { costs, labels, softplus, valuesOf } from "../support/losses.ts";
import { expectClose } from "../support/oracle.ts";

const { crossEntropy, nll, bce, bceWithLogits, klDiv } = losses;
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const MARGINS = [0, 0.5, 5, 10, 15, 16.7, 20, 40, 80, -0.5, -5, -15, -20, -40, -80];
/** Asserts that the error is small relative to the loss, so a loss of 10⁻⁹ must be as accurate as a loss of 1. */
const expectRelative = (got: number, want: number, what: string, tolerance = 2e-6): void => {
  const error = Math.abs(got - want) / Math.max(Math.abs(want), 1e-38);
  expect(error, `${what} must be ${want}, got ${got}`).toBeLessThan(tolerance);
};

describe("the values, gradients and second derivatives of confident predictions are accurate for margins up to 80", () => {
  /** Compares the value, slope and curvature of f at margin z with those in float64. */
  function check(
    f: (z: Tensor) => Tensor,
    loss: (z: number) => number,
    slope: (z: number) => number,
    curvature?: (z: number) => number,
  ): void {
    for (const z of MARGINS.map(Math.fround)) {
      for (const { mode, value, gradient } of valuesOf(f, tensor(z))) {
        expectRelative(value[0]!, loss(z), `${mode}: loss at ${z}`);
        expectRelative(gradient[0]!, slope(z), `${mode}: slope at ${z}`);
      }
      if (!curvature) continue;
      const second = grad(grad((v: Tensor) => f(v).sum()))(tensor(z)).item();
      expectRelative(second, curvature(z), `curvature at ${z}`, 1e-5);
    }
  }
  const bend = (z: number): number => sigmoid(z) * sigmoid(-z);

  test.each([1, 0])("of bceWithLogits with target %d", (t) => {
    check(
      (z) => bceWithLogits(z, tensor(t)),
      (z) => softplus(t ? -z : z),
      (z) => (t ? -sigmoid(-z) : sigmoid(z)),
      bend,
    );
  });
  test("of bceWithLogits with posWeight", () => {
    check(
      (z) => bceWithLogits(z, tensor(1), { posWeight: tensor(3) }),
      (z) => 3 * softplus(-z),
      (z) => -3 * sigmoid(-z),
    );
    check((z) => bceWithLogits(z, tensor(0), { posWeight: tensor(3) }), softplus, sigmoid);
  });
  test("of logSigmoid and softplus", () => {
    check(
      (z) => z.logSigmoid(),
      (z) => -softplus(-z),
      (z) => sigmoid(-z),
    );
    check((z) => z.softplus(), softplus, sigmoid);
  });
  const pair = (z: Tensor): Tensor => z.mul(tensor([[0.5, -0.5]]));
  test.each<[string, (x: Tensor) => Tensor]>([
    ["crossEntropy of two classes", (x) => crossEntropy(x, labels([0]))],
    ["crossEntropy with class weights", (x) => crossEntropy(x, labels([0]), { weight: tensor([1, 2]) })],
    ["crossEntropy with probabilities as the target", (x) => crossEntropy(x, tensor([[1, 0]]))],
    ["nll of logSoftmax", (x) => nll(x.logSoftmax(), labels([0]))],
    ["klDiv of logSoftmax", (x) => klDiv(x.logSoftmax(), tensor([[1, 0]]), { reduction: "sum" })],
  ])("of %s", (_, f) => {
    check(
      (z) => f(pair(z)),
      (z) => softplus(-z),
      (z) => -sigmoid(-z),
    );
  });
  test("of crossEntropy with ten classes and one confident prediction", () => {
    const row = [3, 25, 1, 0, -2, 4, 2, 1, 0, -1];
    const [want] = [costs(row)[1]!];
    for (const { mode, value, gradient } of valuesOf((x) => crossEntropy(x, labels([1])), tensor([row]))) {
      expectRelative(value[0]!, want, mode);
      expectRelative(gradient[1]!, Math.expm1(-want), `${mode}: gradient`);
    }
  });
  test("of bce with probabilities near 0 and 1", () => {
    for (const p of [1e-10, 1e-7, 1e-3, 0.3, 1 - 2 ** -20, 1 - 2 ** -24].map(Math.fround)) {
      for (const { mode, value, gradient } of valuesOf((x) => bce(x, tensor(0)), tensor(p))) {
        expectRelative(value[0]!, -Math.log1p(-p), `${mode}: loss at ${p}`);
        expectRelative(gradient[0]!, 1 / (1 - p), `${mode}: slope at ${p}`);
      }
      for (const { mode, value } of valuesOf((x) => bce(x, tensor(1)), tensor(p)))
        expectRelative(value[0]!, -Math.log(p), `${mode}: loss at ${p}`);
    }
  });
  test("of bceWithLogits with soft targets", () => {
    for (const t of [0.25, 0.5, 0.9, 1 - 2 ** -20].map(Math.fround))
      for (const z of MARGINS.map(Math.fround)) {
        const want = t * softplus(-z) + (1 - t) * softplus(z);
        expectRelative(bceWithLogits(tensor(z), tensor(t)).item(), want, `${t} at ${z}`);
      }
  });
});

describe("infinite logits", () => {
  test("bceWithLogits is 0 if an infinite logit is right, and ∞ if it is wrong", () => {
    for (const options of [{}, { posWeight: tensor(2) }]) {
      const at = (x: number, t: number) => bceWithLogits(tensor(x), tensor(t), options).item();
      expect([at(Infinity, 1), at(-Infinity, 0), at(Infinity, 0), at(-Infinity, 1)]).toEqual([
        0,
        0,
        Infinity,
        Infinity,
      ]);
    }
    for (const { gradient } of valuesOf((x) => bceWithLogits(x, tensor([1, 0])), tensor([Infinity, -Infinity])))
      expect(gradient.map(Math.abs)).toEqual([0, 0]);
  });
  test("bceWithLogits of NaN is NaN", () => {
    for (const [x, t] of [
      [Number.NaN, 0],
      [Number.NaN, 1],
      [2, Number.NaN],
    ] as const)
      expect(bceWithLogits(tensor(x), tensor(t)).item()).toBeNaN();
  });
});

describe("invalid probabilities", () => {
  test.each([
    [
      [0.5, 1.5],
      [0, 1],
      "bce: the prediction must be in 0 … 1, got 1.5 at [1]. Use bceWithLogits for logits, or apply sigmoid first.",
    ],
    [[-0.25, 0.5], [0, 1], "bce: the prediction must be in 0 … 1, got -0.25 at [0]."],
    [[0.5, Number.NaN], [0, 1], "bce: the prediction must be in 0 … 1, got NaN at [1]."],
    [[0.5, 0.5], [0, 2], "bce: the target must be in 0 … 1, got 2 at [1]. Pass the probability of class 1."],
    [[0.5, 0.5], [Number.NaN, 1], "bce: the target must be in 0 … 1, got NaN at [0]."],
  ])("bce rejects %o against %o", (x, t, message) => {
    expect(() => bce(tensor(x), tensor(t))).toThrow(message);
    expect(() => grad((v: Tensor) => bce(v, tensor(t)))(tensor(x))).toThrow(RangeError);
  });
  test("bce names the index of the invalid element in all dimensions", () => {
    const x = zeros([2, 3, 4]);
    x.copyFrom(Float32Array.from({ length: 24 }, (_, i) => (i === 17 ? 2 : 0.5)));
    expect(() => bce(x, zeros([2, 3, 4]))).toThrow("bce: the prediction must be in 0 … 1, got 2 at [1, 1, 1]");
  });
  test("bce accepts 0, 1 and empty tensors", () => {
    expect(bce(tensor([0, 1]), tensor([0, 1])).item()).toBe(0);
    expect(bce(tensor([0, 1]), tensor([1, 0])).item()).toBe(100);
    expect(bce(zeros([0]), zeros([0]), { reduction: "sum" }).item()).toBe(0);
  });
  test.each([
    ["a prediction above 1", [0.5, 1.5], [1, 0], "bce: the prediction must be in 0 … 1, got 1.5 at [1]"],
    ["a prediction below 0", [-0.5, 0.5], [1, 0], "bce: the prediction must be in 0 … 1, got -0.5 at [0]"],
    ["a target above 1", [0.5, 0.5], [0, 7], "bce: the target must be in 0 … 1, got 7 at [1]"],
  ])("bce: %s throws the same error in eager and compiled mode", (_, x, t, message) => {
    const f = (p: Tensor, q: Tensor): Tensor => bce(p, q, { reduction: "none" });
    expect(() => f(tensor(x), tensor(t))).toThrow(message);
    expect(() => compile(f)(tensor(x), tensor(t))).toThrow(message);
  });
  test.each([
    ["a NaN target", [Number.NaN, 0.5]],
    ["a negative target", [-0.5, 0.5]],
  ])("klDiv: %s gives NaN", (_, target) => {
    for (const reduction of ["mean", "sum", "batchMean"] as const)
      expect(klDiv(tensor([-1, -1]), tensor(target), { reduction }).item()).toBeNaN();
    const each = klDiv(tensor([-1, -1]), tensor(target), { reduction: "none" }).data;
    expect(each[0]).toBeNaN();
    expectClose([each[1]!], [0.5 * (Math.log(0.5) + 1)], 1e-6);
  });
  test("klDiv: a NaN prediction gives NaN for any target, with and without logTarget", () => {
    const x = tensor([Number.NaN, Number.NaN]);
    expect(Array.from(klDiv(x, tensor([0.5, 0]), { reduction: "none" }).data)).toEqual([Number.NaN, Number.NaN]);
    const log = klDiv(x, tensor([-1, -Infinity]), { reduction: "none", logTarget: true });
    expect(Array.from(log.data)).toEqual([Number.NaN, Number.NaN]);
    expect(klDiv(tensor(-1), tensor(Number.NaN), { logTarget: true }).item()).toBeNaN();
  });
  test.each(["mse", "l1", "huber", "smoothL1", "hinge", "bceWithLogits"] as const)(
    "%s: a NaN prediction or target gives NaN",
    (name) => {
      const f = losses[name] as (x: Tensor, t: Tensor) => Tensor;
      expect(f(tensor(Number.NaN), tensor(1)).item()).toBeNaN();
      expect(f(tensor(1), tensor(Number.NaN)).item()).toBeNaN();
    },
  );
});

describe("cosineEmbedding", () => {
  test("zero vectors have a cosine of 0 and finite gradients", () => {
    const b = tensor([[1, 2]]);
    const f = (a: Tensor) => losses.cosineEmbedding(a, b, tensor([1]));
    expect(f(zeros([1, 2])).item()).toBe(1);
    const g = grad(f)(zeros([1, 2])).data;
    // −b/(|b|·√ε)
    expectClose(
      g,
      [1, 2].map((v) => (-v / Math.sqrt(5)) * 1e6),
      1e-5,
    );
  });
  test.each([1e-3, 1])("only the angle matters for vectors of length %d", (size) => {
    const a = tensor([[3 * size, 4 * size]]);
    const f = (x: Tensor) => losses.cosineEmbedding(x, tensor([[size, 0]]), tensor([1]));
    expectClose([f(a).item()], [0.4], 1e-5);
    // d cos/da = (b̂ − cos·â)/|a|
    const g = Array.from(grad(f)(a).data, (v) => v * size);
    expectClose(g, [-(1 - 0.6 * 0.6) / 5, (0.6 * 0.8) / 5], 1e-4);
  });
});

describe("the gradients at kinks equal PyTorch's", () => {
  test.each<[string, (x: Tensor) => Tensor, number[]]>([
    ["huber at 0 and ±δ", (x) => losses.huber(x, zeros([3]), { delta: 0.5, reduction: "sum" }), [-0.5, 0, 0.5]],
    ["smoothL1 at 0 and ±β", (x) => losses.smoothL1(x, zeros([3]), { beta: 0.5, reduction: "sum" }), [-1, 0, 1]],
    ["l1 at 0", (x) => losses.l1(x, zeros([3]), { reduction: "sum" }), [-1, 0, 1]],
    ["hinge at the margin", (x) => losses.hinge(x.mul(2), tensor([-1, 1, 1]), { reduction: "sum" }), [0, -2, 0]],
  ])("%s", (_, f, want) => {
    for (const { mode, gradient } of valuesOf(f, tensor([-0.5, 0, 0.5])))
      expectClose(
        gradient.map((v) => v + 0),
        want,
        1e-6,
        mode,
      );
  });

  test.each([1e-30, 1e-20, 1, 1e20, 1e30])(
    "smoothL1 with β = %d is ½d²/β for |d| < β, and |d| − ½β otherwise",
    (beta) => {
      for (const d of [0.25, 3].map((v) => Math.fround(v * beta))) {
        const want = Math.abs(d) < beta ? (0.5 * d * d) / beta : Math.abs(d) - beta / 2;
        for (const { mode, value, gradient } of valuesOf((x) => losses.smoothL1(x, tensor(0), { beta }), tensor(d))) {
          expectRelative(value[0]!, want, `${mode}: loss at ${d}`);
          expectRelative(gradient[0]!, Math.min(1, d / beta), `${mode}: slope at ${d}`);
        }
      }
    },
  );
  test("smoothL1 rejects a negative β and targets with a different shape", () => {
    expect(() => losses.smoothL1(zeros([2]), zeros([2]), { beta: -1 })).toThrow("smoothL1: beta must be ≥ 0, got -1.");
    expect(() => losses.smoothL1(zeros([2]), zeros([3]))).toThrow("smoothL1: the prediction is [2]");
  });
});
