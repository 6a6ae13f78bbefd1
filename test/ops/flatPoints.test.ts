/**
 * At singular points of roots and logarithms, gradients are 0, as in PyTorch, and second derivatives are finite. Also
 * tests logSumExp of infinite elements and of no elements.
 */
import * as f from "nabla";
import { compile, full, grad, hessian, manualSeed, randn, type Tensor, tensor, tidy, valueAndGrad, zeros } from "nabla";
import { describe, expect, test } from "vitest";

const list = (x: Tensor): number[] => Array.from(x.data);
const allZero = (x: Tensor): void => expect(list(x.abs())).toEqual(new Array(x.size).fill(0));

describe("std of equal numbers has gradient 0 and finite second derivatives", () => {
  const kinds: Record<string, (x: Tensor) => Tensor> = {
    all: (x) => x.std(),
    "one dim": (x) => x.std(1).sum(),
    "the first dim": (x) => x.std(0).sum(),
    "two dims, keepdim": (x) => x.std([0, 1], { keepdim: true }).sum(),
    "correction 0": (x) => x.std({ correction: 0 }),
    "n = 1, correction 0": (x) => x.reshape([6, 1]).std(1, { correction: 0 }).sum(),
    "scaled afterwards": (x) => x.std().mul(3).add(1),
  };
  test.each(Object.keys(kinds))("along %s, eager and compiled", (kind) => {
    tidy(() => {
      for (const value of [0, 1, 0.1, 1e6]) {
        const x = full([2, 3], value);
        allZero(grad(kinds[kind]!)(x));
        allZero(compile((v: Tensor) => grad(kinds[kind]!)(v))(x));
        expect(list(hessian(kinds[kind]!)(x)).every(Number.isFinite)).toBe(true);
      }
    });
  });
  test("only groups without variance have gradient 0", () => {
    tidy(() => {
      const dx = grad((x: Tensor) => x.std(1).sum())(
        tensor([
          [1, 1],
          [1, 2],
        ]),
      ); // prettier-ignore
      expect(list(dx).slice(0, 2)).toEqual([0, 0]);
      for (const [i, d] of [-1, 1].entries()) expect(Math.abs(dx.data[2 + i]! - d * Math.SQRT1_2)).toBeLessThan(1e-6);
    });
  });
  test("std is NaN for n = 1 with Bessel's correction, because it is 0/0", () => {
    expect(tensor([3]).std().item()).toBeNaN();
    expect(tensor([3]).var().item()).toBeNaN();
  });
});

test.each([0.5, 1, 1.5, 2, 3, -1, Infinity, -Infinity, 0])("the norm at 0 with p = %d is 0 and has gradient 0", (p) => {
  tidy(() => {
    if (p !== 0) allZero(grad((x: Tensor) => x.norm(p))(zeros([4])));
    if (p !== 0) allZero(grad((x: Tensor) => x.norm(p, 1).sum())(zeros([2, 3])));
    expect(zeros([4]).norm(p).item()).toBe(0);
  });
});

describe("logSumExp", () => {
  const edge = (x: Tensor) => valueAndGrad((v: Tensor) => v.logSumExp(-1).sum())(x);
  test("of no elements is −∞", () => {
    expect(zeros([0]).logSumExp().item()).toBe(-Infinity);
    expect(list(zeros([2, 0]).logSumExp(1))).toEqual([-Infinity, -Infinity]);
    expect(zeros([2, 0]).logSumExp(1, { keepdim: true }).shape).toEqual([2, 1]);
    expect(zeros([0, 3]).logSumExp(1).shape).toEqual([0]);
    expect(grad((x: Tensor) => x.logSumExp(1).sum())(zeros([2, 0])).shape).toEqual([2, 0]);
    expect(() => zeros([2, 0]).max(1)).toThrow(/max/);
  });
  test("of −∞ is −∞ with gradient 0, which does not affect other rows", () => {
    tidy(() => {
      const [y, dx] = edge(
        tensor([
          [-Infinity, -Infinity],
          [0, 0],
        ]),
      ); // prettier-ignore
      expect(y.item()).toBe(-Infinity);
      expect(list(dx)).toEqual([0, 0, 0.5, 0.5]);
      expect(list(edge(tensor([[-Infinity, 3]]))[1])).toEqual([0, 1]);
    });
  });
  test("of +∞ is +∞, and of NaN is NaN", () => {
    expect(tensor([Infinity, 1]).logSumExp().item()).toBe(Infinity);
    expect(tensor([Infinity, -Infinity]).logSumExp().item()).toBe(Infinity);
    expect(tensor([Number.NaN, 1]).logSumExp().item()).toBeNaN();
  });
  test.each([10, 1000, 100_000])("has the softmax as its gradient, even at the maximum of %i numbers", (n) => {
    tidy(() => {
      manualSeed(9);
      for (const shift of [0, 300, -2000]) {
        const x = randn([n]).add(shift);
        const top = x.argMax().item();
        const dx = grad((v: Tensor) => v.logSumExp())(x);
        const data = Array.from(x.data);
        const largest = data[top]!;
        const total = data.reduce((sum, v) => sum + Math.exp(v - largest), 0);
        expect(Math.abs(dx.data[top]! * total - 1)).toBeLessThan(5e-7);
        expect(Math.abs(list(dx).reduce((a, b) => a + b, 0) - 1)).toBeLessThan(1e-6);
        const columns = grad((v: Tensor) => v.logSumExp(0).sum())(x.reshape([n, 1]));
        expect(Math.abs(columns.data[top]! * total - 1)).toBeLessThan(5e-7);
      }
    });
  });
  test("has the Hessian diag(p) − ppᵀ", () => {
    tidy(() => {
      const x = tensor([1, 2, 2]);
      const p = list(x.softmax());
      const h = hessian((v: Tensor) => v.logSumExp())(x);
      p.forEach((a, i) => {
        p.forEach((b, j) => expect(Math.abs(h.data[3 * i + j]! - (Number(i === j) * a - a * b))).toBeLessThan(1e-6));
      });
    });
  });
  test("layerNorm and groupNorm of zeros have finite gradients", () => {
    tidy(() => {
      allZero(grad((x: Tensor) => f.layerNorm(x, 3).sum())(zeros([2, 3])));
      expect(list(grad((x: Tensor) => f.groupNorm(x, 1).square().sum())(zeros([1, 3, 2]))).every(Number.isFinite)).toBe(
        true,
      ); // prettier-ignore
    });
  });
});
