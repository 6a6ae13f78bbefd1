/** Losses where numbers end: rows that do not count, logits far from zero, probabilities of 0 and 1, and what is not a probability. */
import { compile, grad, hessian, losses, type Tensor, tensor, valueAndGrad, zeros } from "nabla";
import { describe, expect, test } from "vitest";
import { expectClose } from "./support/oracle.ts";

const labels = (v: number[]): Tensor => tensor(v, { dtype: "int32" });
const { crossEntropy, nll, bce, bceWithLogits, klDiv } = losses;

/** A function of one tensor by its values, eager and compiled: its value and gradient. */
function valuesOf(f: (x: Tensor) => Tensor, x: Tensor): { mode: string; value: number[]; gradient: number[] }[] {
  const both = valueAndGrad((v: Tensor) => f(v).sum());
  const run = (v: Tensor): [Tensor, Tensor, Tensor] => [f(v), ...both(v)];
  return (
    [
      ["eager", run],
      ["compiled", compile(run)],
    ] as const
  ).map(([mode, g]) => {
    const [value, , gradient] = g(x);
    return { mode, value: Array.from(value.data), gradient: Array.from(gradient.data) };
  });
}

/** −log softmax in float64. */
function costs(row: readonly number[]): number[] {
  const top = Math.max(...row);
  const k = row.indexOf(top);
  const rest = row.reduce((sum, v, i) => (i === k ? sum : sum + Math.exp(v - top)), 0);
  return row.map((v) => top - v + Math.log1p(rest));
}

const POISON = [-Infinity, Infinity, Number.NaN];
const good = [
  [0.5, -1, 2],
  [1, 0.25, -3],
];
const all = (v: number): number[] => [v, v, v];
const weight = [1, 2, 3];

/** Losses of logits whose middle row does not count, and each of the others' (−log p, weight) by its row. */
const forms: Record<
  string,
  {
    f: (x: Tensor, reduction: "mean" | "sum" | "none") => Tensor;
    own: (cost: number[], row: number) => number;
    mass: (row: number) => number;
  }
> = {
  "crossEntropy, an ignored label": {
    f: (x, reduction) => crossEntropy(x, labels([2, -100, 0]), { reduction }),
    own: (c, r) => c[[2, 0, 0][r]!]!,
    mass: () => 1,
  },
  "crossEntropy, ignoreIndex 1": {
    f: (x, reduction) => crossEntropy(x, labels([2, 1, 0]), { reduction, ignoreIndex: 1 }),
    own: (c, r) => c[[2, 0, 0][r]!]!,
    mass: () => 1,
  },
  "crossEntropy, class weights": {
    f: (x, reduction) => crossEntropy(x, labels([2, -100, 0]), { reduction, weight: tensor(weight) }),
    own: (c, r) => [3, 0, 1][r]! * c[[2, 0, 0][r]!]!,
    mass: (r) => [3, 0, 1][r]!,
  },
  "crossEntropy, a class of weight 0": {
    f: (x, reduction) => crossEntropy(x, labels([2, 1, 0]), { reduction, weight: tensor([1, 0, 3]) }),
    own: (c, r) => [3, 0, 1][r]! * c[[2, 0, 0][r]!]!,
    mass: (r) => [3, 0, 1][r]!,
  },
  "crossEntropy, label smoothing": {
    f: (x, reduction) => crossEntropy(x, labels([2, -100, 0]), { reduction, labelSmoothing: 0.3 }),
    own: (c, r) => 0.7 * c[[2, 0, 0][r]!]! + 0.1 * (c[0]! + c[1]! + c[2]!),
    mass: () => 1,
  },
  "crossEntropy, label smoothing and class weights": {
    f: (x, reduction) =>
      crossEntropy(x, labels([2, -100, 0]), { reduction, labelSmoothing: 0.3, weight: tensor(weight) }),
    own: (c, r) => 0.7 * [3, 0, 1][r]! * c[[2, 0, 0][r]!]! + 0.1 * (c[0]! + 2 * c[1]! + 3 * c[2]!),
    mass: (r) => [3, 0, 1][r]!,
  },
  "nll of logSoftmax, an ignored label": {
    f: (x, reduction) => nll(x.logSoftmax(), labels([2, -100, 0]), { reduction }),
    own: (c, r) => c[[2, 0, 0][r]!]!,
    mass: () => 1,
  },
  "nll of logSoftmax, class weights": {
    f: (x, reduction) => nll(x.logSoftmax(), labels([2, -100, 0]), { reduction, weight: tensor(weight) }),
    own: (c, r) => [3, 0, 1][r]! * c[[2, 0, 0][r]!]!,
    mass: (r) => [3, 0, 1][r]!,
  },
  "nll of logSoftmax, a class of weight 0": {
    f: (x, reduction) => nll(x.logSoftmax(), labels([2, 1, 0]), { reduction, weight: tensor([1, 0, 3]) }),
    own: (c, r) => [3, 0, 1][r]! * c[[2, 0, 0][r]!]!,
    mass: (r) => [3, 0, 1][r]!,
  },
};

describe("a row that does not count adds 0 to the loss and has a gradient of 0, whatever it holds", () => {
  for (const [name, { f, own, mass }] of Object.entries(forms)) {
    test.each(POISON)(`${name}: a row of %d`, (poison) => {
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

    test(`${name}: the Hessian of weights that all rows share stays finite`, () => {
      const logits = (w: Tensor, middle: Tensor): Tensor => tensor(good).sum(0).mul(w).add(middle);
      const mask = (poison: number) => tensor([all(0), all(poison), all(0)]);
      const w = tensor([0.3, -0.2, 0.5]);
      const at = (poison: number) => hessian((v: Tensor) => f(logits(v, mask(poison)), "sum"))(w);
      const expected = at(0).data;
      for (const poison of POISON) expectClose(at(poison).data, expected, 1e-6, String(poison));
      expect(Math.max(...expected)).toBeGreaterThan(0.01);
    });
  }

  test.each(POISON)("probabilities of 0 leave a row of %d out", (poison) => {
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

  test("labels of which all are ignored: the sum is 0, its gradient 0, the mean not a number, as in PyTorch", () => {
    const x = tensor([all(-Infinity), all(Number.NaN)]);
    for (const options of [{}, { labelSmoothing: 0.1 }, { weight: tensor(weight) }]) {
      const sum = (v: Tensor) => crossEntropy(v, labels([-100, -100]), { ...options, reduction: "sum" });
      expect(sum(x).item()).toBe(0);
      expect(grad(sum)(x).toArray()).toEqual([all(0), all(0)]);
      expect(crossEntropy(x, labels([-100, -100]), options).item()).toBeNaN();
    }
  });

  test("gradients by class weights skip what does not count, and reach a class of weight 0", () => {
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

describe("a class that cannot occur (a logit of −∞)", () => {
  const x = [[2, 1, -Infinity]];
  const cost = Math.log1p(Math.exp(-1));
  test.each<[string, (x: Tensor) => Tensor]>([
    ["labels", (v) => crossEntropy(v, labels([0]))],
    ["class weights", (v) => crossEntropy(v, labels([0]), { weight: tensor([1, 2, 3]) })],
    [
      "smoothing where that class has the weight 0",
      (v) => crossEntropy(v, labels([0]), { weight: tensor([1, 0, 0]), labelSmoothing: 0.3 }).div(0.8),
    ],
    ["probabilities", (v) => crossEntropy(v, tensor([[1, 0, 0]]))],
    ["weighted probabilities", (v) => crossEntropy(v, tensor([[1, 0, 0]]), { weight: tensor([1, 2, 3]) })],
    ["nll", (v) => nll(v.logSoftmax(), labels([0]))],
    ["klDiv", (v) => klDiv(v.logSoftmax(), tensor([[1, 0, 0]]), { reduction: "sum" })],
    [
      "klDiv, logTarget",
      (v) => klDiv(v.logSoftmax(), tensor([[0, -Infinity, -Infinity]]), { reduction: "sum", logTarget: true }),
    ],
  ])("%s: the loss of the others, and gradients that are finite", (_, f) => {
    const p = 1 / (1 + Math.exp(-1));
    for (const { mode, value, gradient } of valuesOf(f, tensor(x))) {
      expectClose(value, [cost], 1e-6, mode);
      expectClose(gradient, [p - 1, 1 - p, 0], 1e-6, mode);
    }
  });
  test("it costs ∞ where it is the label", () => {
    expect(crossEntropy(tensor(x), labels([2])).item()).toBe(Infinity);
    expect(crossEntropy(tensor(x), tensor([[0.5, 0.25, 0.25]])).item()).toBe(Infinity);
    expect(klDiv(tensor(x), tensor([[0.5, 0.25, 0.25]])).item()).toBe(Infinity);
  });
  test("gradients by probabilities of 0 are finite, also through weights", () => {
    const target = tensor([[1, 0, 0]]);
    expectClose(grad((t: Tensor) => crossEntropy(tensor(x), t))(target).data, [cost, 1 + cost, 0], 1e-6);
    const byWeight = grad((w: Tensor) => crossEntropy(tensor(x), target, { weight: w }))(tensor([1, 2, 3]));
    expectClose(byWeight.data, [cost, 0, 0], 1e-6);
    expect(grad((t: Tensor) => klDiv(tensor(x), t, { reduction: "sum" }))(target).data.every(Number.isFinite)).toBe(
      true,
    );
  });
});

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const MARGINS = [0, 0.5, 5, 10, 15, 16.7, 20, 40, 80, -0.5, -5, -15, -20, -40, -80];
/** Relative: a loss of 10⁻⁹ is as exact as one of 1. */
const expectRelative = (got: number, want: number, what: string, tolerance = 2e-6): void => {
  const error = Math.abs(got - want) / Math.max(Math.abs(want), 1e-38);
  expect(error, `${what}: ${got} instead of ${want}`).toBeLessThan(tolerance);
};

describe("certain predictions keep their digits: value, gradient and second derivative at margins up to 80", () => {
  /** f of a margin z against the float64 loss, slope and curvature. */
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

  test.each([1, 0])("bceWithLogits, target %d", (t) => {
    check(
      (z) => bceWithLogits(z, tensor(t)),
      (z) => softplus(t ? -z : z),
      (z) => (t ? -sigmoid(-z) : sigmoid(z)),
      bend,
    );
  });
  test("bceWithLogits, posWeight", () => {
    check(
      (z) => bceWithLogits(z, tensor(1), { posWeight: tensor(3) }),
      (z) => 3 * softplus(-z),
      (z) => -3 * sigmoid(-z),
    );
    check((z) => bceWithLogits(z, tensor(0), { posWeight: tensor(3) }), softplus, sigmoid);
  });
  test("logSigmoid and softplus", () => {
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
    ["crossEntropy against probabilities", (x) => crossEntropy(x, tensor([[1, 0]]))],
    ["nll of logSoftmax", (x) => nll(x.logSoftmax(), labels([0]))],
    ["klDiv of logSoftmax", (x) => klDiv(x.logSoftmax(), tensor([[1, 0]]), { reduction: "sum" })],
  ])("%s", (_, f) => {
    check(
      (z) => f(pair(z)),
      (z) => softplus(-z),
      (z) => -sigmoid(-z),
    );
  });
  test("ten classes, of which one is all but certain", () => {
    const row = [3, 25, 1, 0, -2, 4, 2, 1, 0, -1];
    const [want] = [costs(row)[1]!];
    for (const { mode, value, gradient } of valuesOf((x) => crossEntropy(x, labels([1])), tensor([row]))) {
      expectRelative(value[0]!, want, mode);
      expectRelative(gradient[1]!, Math.expm1(-want), `${mode}: gradient`);
    }
  });
  test("bce of probabilities near 0 and 1", () => {
    for (const p of [1e-10, 1e-7, 1e-3, 0.3, 1 - 2 ** -20, 1 - 2 ** -24].map(Math.fround)) {
      for (const { mode, value, gradient } of valuesOf((x) => bce(x, tensor(0)), tensor(p))) {
        expectRelative(value[0]!, -Math.log1p(-p), `${mode}: loss at ${p}`);
        expectRelative(gradient[0]!, 1 / (1 - p), `${mode}: slope at ${p}`);
      }
      for (const { mode, value } of valuesOf((x) => bce(x, tensor(1)), tensor(p)))
        expectRelative(value[0]!, -Math.log(p), `${mode}: loss at ${p}`);
    }
  });
  test("soft targets: bceWithLogits stays exact far from zero", () => {
    for (const t of [0.25, 0.5, 0.9, 1 - 2 ** -20].map(Math.fround))
      for (const z of MARGINS.map(Math.fround)) {
        const want = t * softplus(-z) + (1 - t) * softplus(z);
        expectRelative(bceWithLogits(tensor(z), tensor(t)).item(), want, `${t} at ${z}`);
      }
  });
});

describe("infinite logits", () => {
  test("bceWithLogits: 0 on the right side, ∞ on the wrong one", () => {
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
  test("bceWithLogits: NaN stays NaN", () => {
    for (const [x, t] of [
      [Number.NaN, 0],
      [Number.NaN, 1],
      [2, Number.NaN],
    ] as const)
      expect(bceWithLogits(tensor(x), tensor(t)).item()).toBeNaN();
  });
});

describe("elements of weight 0 do not count, even if they are not numbers", () => {
  const mask = tensor([1, 0, 1]);
  test.each<[string, (x: Tensor, t: Tensor) => Tensor, number]>([
    [
      "bceWithLogits",
      (x, t) => bceWithLogits(x, t, { weight: mask, reduction: "sum" }),
      softplus(-0.5) + softplus(0.25),
    ],
    [
      "bceWithLogits, posWeight",
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
  test("a weight of 0 still has a gradient", () => {
    const g = grad((w: Tensor) => bceWithLogits(tensor([0.5, 2]), tensor([1, 1]), { weight: w, reduction: "sum" }));
    expectClose(g(tensor([0, 1])).data, [softplus(-0.5), softplus(-2)], 1e-6);
  });
});

describe("what is not a probability", () => {
  test.each([
    [
      [0.5, 1.5],
      [0, 1],
      "bce: the prediction is 1.5 at [1], but must be in 0 … 1. Use bceWithLogits for logits, or apply sigmoid first.",
    ],
    [[-0.25, 0.5], [0, 1], "bce: the prediction is -0.25 at [0], but must be in 0 … 1."],
    [[0.5, Number.NaN], [0, 1], "bce: the prediction is NaN at [1], but must be in 0 … 1."],
    [[0.5, 0.5], [0, 2], "bce: the target is 2 at [1], but must be in 0 … 1. Give the probability of class 1."],
    [[0.5, 0.5], [Number.NaN, 1], "bce: the target is NaN at [0], but must be in 0 … 1."],
  ])("bce refuses %o against %o", (x, t, message) => {
    expect(() => bce(tensor(x), tensor(t))).toThrow(message);
    expect(() => grad((v: Tensor) => bce(v, tensor(t)))(tensor(x))).toThrow(RangeError);
  });
  test("bce names the place in all dimensions", () => {
    const x = zeros([2, 3, 4]);
    x.copyFrom(Float32Array.from({ length: 24 }, (_, i) => (i === 17 ? 2 : 0.5)));
    expect(() => bce(x, zeros([2, 3, 4]))).toThrow("bce: the prediction is 2 at [1, 1, 1]");
  });
  test("bce takes 0 and 1, and empty tensors", () => {
    expect(bce(tensor([0, 1]), tensor([0, 1])).item()).toBe(0);
    expect(bce(tensor([0, 1]), tensor([1, 0])).item()).toBe(100);
    expect(bce(zeros([0]), zeros([0]), { reduction: "sum" }).item()).toBe(0);
  });
  test("bce in a compiled function is NaN, never a plausible number", () => {
    const f = compile((x: Tensor, t: Tensor) => bce(x, t, { reduction: "none" }));
    const got = f(tensor([1.5, 1.5, -0.5, -0.5, Number.NaN]), tensor([1, 0, 0, 1, 0]));
    expect(Array.from(got.data).every(Number.isNaN)).toBe(true);
  });
  test.each([
    ["a NaN target", [Number.NaN, 0.5]],
    ["a negative target", [-0.5, 0.5]],
  ])("klDiv: %s gives NaN, value and gradient", (_, target) => {
    for (const reduction of ["mean", "sum", "batchMean"] as const)
      expect(klDiv(tensor([-1, -1]), tensor(target), { reduction }).item()).toBeNaN();
    const each = klDiv(tensor([-1, -1]), tensor(target), { reduction: "none" }).data;
    expect(each[0]).toBeNaN();
    expectClose([each[1]!], [0.5 * (Math.log(0.5) + 1)], 1e-6);
  });
  test("klDiv: NaN predictions give NaN unless the target is 0; logTarget too", () => {
    const x = tensor([Number.NaN, Number.NaN]);
    expect(Array.from(klDiv(x, tensor([0.5, 0]), { reduction: "none" }).data)).toEqual([Number.NaN, 0]);
    const log = klDiv(x, tensor([-1, -Infinity]), { reduction: "none", logTarget: true });
    expect(Array.from(log.data)).toEqual([Number.NaN, 0]);
    expect(klDiv(tensor(-1), tensor(Number.NaN), { logTarget: true }).item()).toBeNaN();
  });
  test.each(["mse", "l1", "huber", "smoothL1", "hinge", "bceWithLogits"] as const)(
    "%s: NaN stays NaN on both sides",
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
  test.each([1e-3, 1])("vectors of length %d: the angle alone counts", (size) => {
    const a = tensor([[3 * size, 4 * size]]);
    const f = (x: Tensor) => losses.cosineEmbedding(x, tensor([[size, 0]]), tensor([1]));
    expectClose([f(a).item()], [0.4], 1e-5);
    // d cos/da = (b̂ − cos·â)/|a|
    const g = Array.from(grad(f)(a).data, (v) => v * size);
    expectClose(g, [-(1 - 0.6 * 0.6) / 5, (0.6 * 0.8) / 5], 1e-4);
  });
});

describe("kinks have PyTorch's slopes", () => {
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
});
