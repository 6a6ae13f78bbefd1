/** Pointwise ops at the limits of float32: signed zeros, infinities, NaN and the largest inputs. */
import { grad, type Tensor, tensor } from "nabla";
import { describe, expect, test } from "vitest";
import { type AnyOp, apply } from "../../src/ops/definition/op.ts";
import { pointwiseDefinitions } from "../../src/ops/pointwiseDefinitions.ts";
import { referenceOf, samplesOf } from "./oracles/index.ts";

const SPECIAL = [0, -0, 1, -1, 0.5, -0.5, Infinity, -Infinity, Number.NaN, 1e-40, -1e-40, 88.7, -88.7, 104, -104];

/** Whether both are NaN, both are the same infinity, or they differ by at most `tolerance`. */
function agrees(a: number, e: number, tolerance: number): boolean {
  const expected = Math.fround(e);
  if (Number.isNaN(expected)) return Number.isNaN(a);
  if (!Number.isFinite(expected)) return a === expected;
  return Math.abs(a - expected) <= tolerance * Math.max(1e-30, Math.abs(expected));
}

// Expected results of ops whose float64 formula is wrong at infinity.
const LIMITS: Record<string, (x: number) => number | undefined> = {
  gelu: (x) => (x === Infinity ? Infinity : undefined),
  geluTanh: (x) => (x === -Infinity ? -0 : undefined),
  silu: (x) => (x === -Infinity ? -0 : undefined),
  mish: (x) => (x === -Infinity ? -0 : undefined),
};

const unaries = Object.values<AnyOp>(pointwiseDefinitions).filter(
  (definition) => samplesOf(definition)[0]!.inputs.length === 1 && !definition.name.endsWith("Grad"),
);

describe("ops with one operand", () => {
  for (const definition of unaries) {
    const { name } = definition;
    const [sample] = samplesOf(definition);
    test(`${name}: NaN, ±∞, ±0, denormals and ±extreme agree with the reference`, () => {
      const extreme = sample!.inputs[0]!.extreme ?? 0;
      const values = [...SPECIAL, extreme, -extreme].map(Math.fround);
      const parameters = sample!.attributes;
      const actual = (apply(definition, [tensor(values)], parameters) as Tensor).data;
      for (const [i, x] of values.entries()) {
        const e =
          LIMITS[definition.name]?.(x) ?? referenceOf(definition, [{ shape: [], data: [x] }], parameters)[0]!.data[0]!;
        // Results that are smaller than the smallest normal number may be less accurate.
        const tolerance = Math.abs(e) < 1.2e-38 ? 1 : 2e-6;
        const tiny = Math.abs(e) < 1.2e-38 && Math.abs(actual[i]!) < 1.2e-38;
        expect(tiny || agrees(actual[i]!, e, tolerance), `${name}(${x}) must be ${e}, got ${actual[i]}`).toBe(true);
      }
    });
  }
  test("odd functions keep the sign of zero", () => {
    for (const name of [
      "neg",
      "abs",
      "sign",
      "expm1",
      "log1p",
      "sin",
      "tan",
      "tanh",
      "erf",
      "sqrt",
      "floor",
      "ceil",
      "round",
    ] as const) {
      const y = (tensor([-0, 0])[name] as () => Tensor)().data;
      const expected = name === "neg" ? [0, -0] : name === "abs" ? [0, 0] : [-0, 0];
      expect(Array.from(y), name).toEqual(expected);
    }
  });
});

const binaries = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"] as const;
const reference: Record<(typeof binaries)[number], (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  // C99 and PyTorch give 1 where JavaScript gives NaN.
  pow: (a, b) => (a === 1 || (a === -1 && !Number.isFinite(b) && !Number.isNaN(b)) ? 1 : a ** b),
  maximum: Math.max,
  minimum: Math.min,
};

describe("ops with two operands", () => {
  const values = [0, -0, 1, -1, 2, -2, 0.5, 3, Infinity, -Infinity, Number.NaN, 1e38, -1e38, 1e-38];
  for (const name of binaries) {
    test(`${name}: every pair of special values agrees with the reference`, () => {
      const a = tensor(values.map(Math.fround)).reshape([-1, 1]);
      const y = a[name](tensor(values.map(Math.fround))).data;
      values.forEach((x, i) => {
        for (const [j, z] of values.entries()) {
          const e = reference[name](Math.fround(x), Math.fround(z));
          const actual = y[i * values.length + j]!;
          const tiny = Math.abs(e) < 1.2e-38 && Math.abs(actual) < 1.3e-38;
          expect(tiny || agrees(actual, e, 2e-6), `${name}(${x}, ${z}) is ${actual}, but should be ${e}`).toBe(true);
        }
      });
    });
  }
  test("atan2: quadrants and axes follow C99", () => {
    const points = [0, -0, 1, -1, Infinity, -Infinity];
    const a = tensor(points).reshape([-1, 1]).atan2(tensor(points)).data;
    points.forEach((y, i) => {
      for (const [j, x] of points.entries())
        expect(a[i * points.length + j], `atan2(${y}, ${x})`).toBeCloseTo(Math.atan2(y, x), 6);
    });
  });
  test("mod: the result has the sign of the divisor, as in Python and PyTorch", () => {
    expect(
      tensor([7, -7, 7, -7, 6])
        .mod(tensor([3, 3, -3, -3, 3]))
        .toArray(),
    ).toEqual([1, 2, -2, -1, 0]);
  });
  test("mod: zeros, infinities and NaN give the same results as torch.remainder", () => {
    const [inf, nan] = [Infinity, Number.NaN];
    const cases: [number, number, number][] = [
      [-6, 3, -0],
      [6, -3, 0],
      [-0, 3, -0],
      [0, -3, 0],
      [5, inf, 5],
      [-5, inf, inf],
      [5, -inf, -inf],
      [-5, -inf, -5],
      [0, inf, 0],
      [inf, 3, nan],
      [-inf, inf, nan],
      [5, 0, nan],
      [0, 0, nan],
      [nan, 3, nan],
      [3, nan, nan],
      [-1e-20, 1, 1],
    ];
    const y = tensor(cases.map(([a]) => a)).mod(tensor(cases.map(([, b]) => b)));
    expect(y.toArray()).toEqual(cases.map(([, , e]) => e));
  });
  test("div: the gradient of the divisor is −a/b², not NaN, even if 1/b overflows", () => {
    const slope = grad((b: Tensor) => tensor([0, 1e-44, 0, 1]).div(b).sum());
    const got = slope(tensor([1e-40, 1e-40, -1e-45, 2])).toArray() as number[];
    const second = -Math.fround(1e-44) / Math.fround(1e-40) ** 2;
    expect(got[1]! / second).toBeCloseTo(1, 5);
    expect(got).toEqual([-0, got[1], -0, -0.25]);
  });
  test("maximum and minimum pass the gradient to both operands if one is NaN, as in PyTorch", () => {
    for (const f of ["maximum", "minimum"] as const) {
      const slopes = grad((a: Tensor, b: Tensor) => a[f](b).sum(), [0, 1]);
      const [da, db] = slopes(tensor([Number.NaN, 1, 2, 3]), tensor([1, Number.NaN, 2, 4])) as [Tensor, Tensor];
      expect(da.toArray(), f).toEqual([1, 1, 0.5, f === "maximum" ? 0 : 1]);
      expect(db.toArray(), f).toEqual([1, 1, 0.5, f === "maximum" ? 1 : 0]);
    }
  });
  test("clamp: NaN stays NaN, inverted bounds give the upper bound, and an omitted bound does not clamp", () => {
    const x = tensor([Number.NaN, -5, 0, 5, Infinity, -Infinity]);
    expect(x.clamp(-1, 1).toArray()).toEqual([Number.NaN, -1, 0, 1, 1, -1]);
    expect(x.clamp(2, -2).toArray()).toEqual([Number.NaN, -2, -2, -2, -2, -2]);
    expect(x.clamp(undefined, 1).toArray()).toEqual([Number.NaN, -5, 0, 1, 1, -Infinity]);
    expect(grad((v: Tensor) => v.clamp(2, -2).sum())(tensor([-3, 0, 3])).toArray()).toEqual([0, 0, 0]);
  });
});

describe("comparisons and extremes of NaN", () => {
  test("NaN is not equal to any number or to itself", () => {
    const x = tensor([Number.NaN, 1]);
    expect(x.eq(x).toArray()).toEqual([false, true]);
    expect(x.ne(x).toArray()).toEqual([true, false]);
    expect(x.isNaN().toArray()).toEqual([true, false]);
    expect(x.lt(2).toArray()).toEqual([false, true]);
  });
  test("max, min, argMax and argMin treat NaN as the extreme, as in PyTorch", () => {
    const x = tensor([1, Number.NaN, 3, Number.NaN]);
    expect(x.max().item()).toBeNaN();
    expect(x.min().item()).toBeNaN();
    expect(x.argMax().item()).toBe(1);
    expect(x.argMin().item()).toBe(1);
  });
  test("argMax and argMin return the index of the first of equal elements", () => {
    expect(tensor([1, 3, 3, 1, 1]).argMax().item()).toBe(1);
    expect(tensor([2, 1, 3, 1, 1]).argMin().item()).toBe(1);
  });
});

describe("large and infinite inputs", () => {
  const x = () => tensor([1e4, -1e4, 0]);
  test("softplus, sigmoid and logSigmoid do not overflow at ±10⁴", () => {
    expect(x().softplus().toArray()).toEqual([1e4, 0, Math.fround(Math.LN2)]);
    expect(x().sigmoid().toArray()).toEqual([1, 0, 0.5]);
    expect(Array.from(x().logSigmoid().data, (v) => v + 0)).toEqual([0, -1e4, Math.fround(-Math.LN2)]);
  });
  test("logSumExp, softmax and logSoftmax do not overflow at ±10⁴ and ±∞", () => {
    expect(tensor([1e4, 1e4]).logSumExp().item()).toBeCloseTo(1e4 + Math.LN2, 2);
    expect(tensor([-1e4, -1e4]).logSumExp().item()).toBeCloseTo(-1e4 + Math.LN2, 2);
    expect(tensor([-Infinity, -Infinity]).logSumExp().item()).toBe(-Infinity);
    expect(tensor([Infinity, 0]).logSumExp().item()).toBe(Infinity);
    expect(x().softmax().toArray()).toEqual([1, 0, 0]);
    expect(x().logSoftmax().toArray()).toEqual([0, -2e4, -1e4]);
  });
});
