/** Options that optimizers reject, and those that they accept. */
import { nn, optim, zeros } from "nabla";
import { KFAC, type Likelihood, NaturalGradient } from "nabla/gradients";
import { describe, expect, test } from "vitest";

describe("optimizers reject invalid options", () => {
  const model = new nn.Linear(2, 2);
  test.each<[() => unknown, RegExp]>([
    [
      () => new optim.LBFGS(model.parameters(), { toleranceGrad: Number.NaN }),
      /^LBFGS: toleranceGrad must be ≥ 0, got NaN\./,
    ],
    [
      () => new optim.LBFGS(model.parameters(), { toleranceChange: -1 }),
      /^LBFGS: toleranceChange must be ≥ 0, got -1\./,
    ],
    [() => new optim.LBFGS(model.parameters(), { maxEval: -3 }), /^LBFGS: maxEval must be at least 1, got -3\./],
    [
      () => new NaturalGradient(model, { likelihood: "softmax", damping: Number.POSITIVE_INFINITY }),
      /damping must be finite and above 0, got Infinity\./,
    ],
    [
      () => new NaturalGradient(model, { likelihood: "softmax", tolerance: Number.NaN }),
      /tolerance must be ≥ 0, got NaN\./,
    ],
    [
      () => new KFAC(model, { likelihood: "toString" as Likelihood }),
      /^fisher: likelihood must be one of .*, got "toString"\./,
    ],
  ])("%s", (make, why) => {
    expect(make).toThrow(RangeError);
    expect(make).toThrow(why);
  });
});

test("Adam rejects a number in a string, and maxEval may be infinite", () => {
  expect(() => new optim.Adam(new nn.Linear(1, 1).parameters(), { eps: "0.1" as never })).toThrow(
    new TypeError('Adam: eps must be a number, got "0.1". Write it without quotes: 0.1.'),
  );
  expect(new optim.LBFGS([zeros([1])], { maxEval: Number.POSITIVE_INFINITY }).params).toHaveLength(1);
});
