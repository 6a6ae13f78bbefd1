/**
 * Checks the error bounds stated in assembly/math.ts and trig.ts, on a million bit patterns spread evenly over all of float32.
 */
import { atan2, compile, grad, mod, pow, type Tensor, tensor } from "nabla";
import { describe, expect, test } from "vitest";
import { apply } from "../../src/ops/definition/op.ts";
import { seeded } from "../support/oracle.ts";
import { referenceOf } from "./oracles/index.ts";
import { definitionOf } from "./oracles/pointwise.ts";

/** Every 4099th float32: 1,047,808 values. 4099 is odd, so the samples take every value of the low bits. */
const STEP = 4099;
const patterns = Float32Array.from(
  { length: Math.floor(2 ** 32 / STEP) },
  (() => {
    const word = new Uint32Array(1);
    const value = new Float32Array(word.buffer);
    return (_: unknown, i: number) => {
      word[0] = i * STEP;
      return value[0]!;
    };
  })(),
);

/** The distance between adjacent float32 values at x. */
const ulp = (x: number): number => 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(x) || 1e-300))) - 23);

/** The error of `actual` in ulps of the exact value. Infinite if only one of the two values is NaN, or only one is infinite. */
function error(actual: number, exact: number): number {
  const rounded = Math.fround(exact);
  if (Object.is(actual, rounded) || actual === rounded || (Number.isNaN(actual) && Number.isNaN(exact))) return 0;
  if (Number.isNaN(actual) || Number.isNaN(exact)) return Infinity;
  // At the limit of float32, returning the largest number instead of infinity is an error of 1 ulp.
  if (!Number.isFinite(rounded)) return actual === Math.sign(rounded) * 3.4028234663852886e38 ? 1 : Infinity;
  if (!Number.isFinite(actual)) return Infinity;
  return Math.abs(actual - exact) / ulp(exact);
}

const simd = process.env.NABLA_BUILD === "simd";

describe("ops with one operand are accurate on all of float32", () => {
  const bounds = {
    exp: 1.1,
    expm1: 1.5,
    log: 1,
    log1p: 1.5,
    logSigmoid: 1.8,
    softplus: 1.8,
    tanh: 1.4,
    sigmoid: simd ? 1.9 : 1.7,
    erf: simd ? 1.5 : 1.2,
    sqrt: 0.5,
    rsqrt: 1.5,
    reciprocal: 0.5,
    hardSigmoid: 1,
    hardSwish: 2,
    square: 0.5,
    floor: 0,
    ceil: 0,
    round: 0,
  };
  for (const [name, bound] of Object.entries(bounds)) {
    test(`${name}: error at most ${bound} ulp`, () => {
      const definition = definitionOf(name);
      const y = (apply(definition, [tensor(patterns)], [0, 0]) as Tensor).data;
      const exact = referenceOf(definition, [{ shape: [], data: patterns }], [0, 0])[0]!.data;
      let [worst, at] = [0, 0];
      for (let i = 0; i < patterns.length; i++) {
        const e = error(y[i]!, exact[i]!);
        if (e > worst) [worst, at] = [e, i];
      }
      expect(worst, `${name}(${patterns[at]}) must be ${exact[at]}, got ${y[at]}`).toBeLessThanOrEqual(bound);
    });
  }
  // Math.sin, Math.cos and Math.tan have an error below 1 ulp of float64 for any argument.
  for (const [name, bound] of Object.entries({ sin: 1.6, cos: 1.6, tan: 0.6 })) {
    test(`${name}: error at most ${bound} ulp for any finite argument`, () => {
      const y = (tensor(patterns)[name as "sin"]() as Tensor).data;
      let [worst, at] = [0, 0];
      for (let i = 0; i < patterns.length; i++) {
        const e = error(y[i]!, Math[name as "sin"](patterns[i]!));
        if (e > worst) [worst, at] = [e, i];
      }
      expect(worst, `${name}(${patterns[at]})`).toBeLessThanOrEqual(bound);
    });
  }
});

describe("activations are accurate, relative to the result", () => {
  const check = (name: string, low: number, high: number, bound: (x: number, exact: number) => number) => {
    const definition = definitionOf(name);
    const xs = Float32Array.from({ length: 200_001 }, (_, i) => low + ((high - low) * i) / 200_000);
    const y = (apply(definition, [tensor(xs)], [0, 0]) as Tensor).data;
    const exact = referenceOf(definition, [{ shape: [], data: xs }], [0, 0])[0]!.data;
    for (let i = 0; i < xs.length; i++) {
      const e = Math.abs(y[i]! - exact[i]!);
      if (!(e <= bound(xs[i]!, exact[i]!)))
        expect.fail(`${name}(${xs[i]}) must be ${exact[i]}, got ${y[i]}, an error of ${e}`);
    }
  };
  const tiny = 2 ** -149;
  test("gelu: relative error below 6e-7 until the result underflows", () =>
    check("gelu", -14, 20, (_, e) => 6e-7 * Math.abs(e) + tiny));
  test("geluTanh: relative error below 4.5e-7 for x ≥ −2", () =>
    check("geluTanh", -2, 20, (_, e) => 4.5e-7 * Math.abs(e) + tiny));
  test("silu: relative error below 3.4e-7 for x ≥ −87", () =>
    check("silu", -87, 90, (_, e) => 3.4e-7 * Math.abs(e) + tiny));
  test("mish: relative error below 6e-7 for x ≥ −87", () =>
    check("mish", -87, 90, (_, e) => 6e-7 * Math.abs(e) + tiny));
});

describe("derivatives are accurate for dy = 1", () => {
  const check = (
    name: "siluGrad" | "mishGrad" | "geluGrad" | "geluTanhGrad",
    low: number,
    high: number,
    bound: (e: number) => number,
  ) => {
    const definition = definitionOf(name);
    const xs = Float32Array.from({ length: 200_001 }, (_, i) => low + ((high - low) * i) / 200_000);
    const ones = new Float32Array(xs.length).fill(1);
    const y = (apply(definition, [tensor(ones), tensor(xs)], [0, 0]) as Tensor).data;
    const exact = referenceOf(
      definition,
      [
        { shape: [], data: ones },
        { shape: [], data: xs },
      ],
      [0, 0],
    )[0]!.data;
    for (let i = 0; i < xs.length; i++) {
      const e = Math.abs(y[i]! - exact[i]!);
      if (!(e <= bound(exact[i]!))) expect.fail(`${name}(${xs[i]}) must be ${exact[i]}, got ${y[i]}, an error of ${e}`);
    }
  };
  test("siluGrad: absolute error below 2.4e-7", () => check("siluGrad", -100, 100, () => 2.4e-7));
  test("mishGrad: absolute error below 2.5e-7", () => check("mishGrad", -100, 100, () => 2.5e-7));
  test("geluGrad: absolute error below 1.5e-7", () => check("geluGrad", -20, 20, () => 1.5e-7));
  test("geluGrad: relative error below 3e-7 in the left tail", () =>
    check("geluGrad", -12, -2, (e) => 3e-7 * Math.abs(e)));
  test("geluTanhGrad: absolute error below 2.5e-7", () => check("geluTanhGrad", -20, 20, () => 2.5e-7));
});

test("to int32: truncates, saturates, and converts NaN to 0", () => {
  const x = tensor([3e9, -3e9, Number.NaN, Infinity, -Infinity, 1.9, -1.9, 16777216]);
  const [most, least] = [2147483647, -2147483648];
  expect(x.to("int32").toArray()).toEqual([most, least, 0, most, least, 1, -1, 16777216]);
});

test("softmax: relative error below 1e-6 down to e⁻⁸⁰", () => {
  const x = [0, -5, -20, -60, -80];
  const total = x.reduce((sum, v) => sum + Math.exp(v), 0);
  tensor(x)
    .softmax()
    .data.forEach((v, i) => expect(Math.abs(v / (Math.exp(x[i]!) / total) - 1)).toBeLessThan(1e-6));
});

describe("ops with two operands are accurate", () => {
  /** Numbers with a wide range of magnitudes and both signs. */
  const random = seeded(11);
  const wide = () => Math.fround((random() < 0.5 ? -1 : 1) * 2 ** (random() * 40 - 20));
  const N = 300_000;
  const [a, b] = [Float32Array.from({ length: N }, wide), Float32Array.from({ length: N }, wide)];
  const worst = (y: ArrayLike<number>, exact: (i: number) => number): number => {
    let most = 0;
    for (let i = 0; i < N; i++) most = Math.max(most, error(y[i]!, exact(i)));
    return most;
  };
  test("atan2: error at most 2 ulp", () => {
    expect(worst(atan2(tensor(a), tensor(b)).data, (i) => Math.atan2(a[i]!, b[i]!))).toBeLessThanOrEqual(2);
  });
  test("pow: error at most 0.6 ulp, even for integer powers of negative bases", () => {
    const powers = b.map((v, i) => (i % 3 ? v : Math.round(v)));
    expect(worst(pow(tensor(a), tensor(powers)).data, (i) => a[i]! ** powers[i]!)).toBeLessThanOrEqual(0.6);
  });
});

describe("mod", () => {
  /** The remainder with the sign of y, computed with JavaScript's %, which is fmod. */
  const remainder = (x: number, y: number) => {
    const r = x % y;
    return r !== 0 && r < 0 !== y < 0 ? r + y : r;
  };
  const random = seeded(12);
  const N = 300_000;
  const anyBits = () => new Float32Array(Uint32Array.from({ length: N }, () => random() * 2 ** 32).buffer);
  const between = (low: number, high: number) =>
    Float32Array.from({ length: N }, () => (random() < 0.5 ? -1 : 1) * 2 ** (low + random() * (high - low)));
  test.each([
    ["any two bit patterns, including quotients up to 2²⁷⁶, denormals, infinities and NaN", anyBits(), anyBits()],
    ["quotients around 2²⁹, where the fast path ends", between(26, 32), between(-1, 1)],
    ["quotients up to 2²⁴", between(-10, 14), between(-10, -9)],
    ["a smaller than b", between(-30, 0), between(0, 30)],
    ["denormal divisors", between(-140, 120), between(-149, -127)],
  ])("correctly rounded for %s", (_, a, b) => {
    const y = mod(tensor(a), tensor(b)).data;
    for (let i = 0; i < N; i++) {
      const exact = Math.fround(remainder(a[i]!, b[i]!));
      if (!Object.is(y[i], exact)) expect.fail(`mod(${a[i]}, ${b[i]}) must be ${exact}, got ${y[i]}`);
    }
  });
  test("a lane's result does not depend on its neighbours", () => {
    const [a, b] = [tensor([3e38, 5.5, -5.5, 1e-40]), tensor([7, 2, 2, 1e-42])];
    const together = mod(a, b).toArray() as number[];
    expect(together).toEqual([3e38, 5.5, -5.5, 1e-40].map((v, i) => mod(v, [7, 2, 2, 1e-42][i]!).item()));
    expect(together[0]).toBe(1);
  });
  test("int32: the result is exact and has the sign of the divisor, or is 0 if the divisor is 0", () => {
    const most = 2147483647;
    const edges = [most, -most - 1, 16777217, -16777217, 7, -7, 1, -1, 0, 2147483646, 3];
    const any = Array.from({ length: 5000 }, () => Math.floor((random() - 0.5) * 2 ** 32) >> Math.floor(random() * 31));
    const pairs = [...edges.flatMap((x) => edges.map((y) => [x, y] as const)), ...any.map((x, i) => [x, any.at(-i)!])];
    const int = (k: 0 | 1) => tensor(Int32Array.from(pairs, (pair) => pair[k]!));
    const y = mod(int(0), int(1));
    expect(y.dtype).toBe("int32");
    expect(Array.from(y.data)).toEqual(pairs.map(([p, q]) => (q === 0 ? 0 : remainder(p!, q!) + 0)));
    expect(mod(tensor(Int32Array.of(16777217, -3)), 16777216).toArray()).toEqual([1, 16777213]);
    expect(mod(tensor(Int32Array.of(5)), 2.5).dtype).toBe("float32");
    expect(mod(tensor(Uint8Array.of(200, 7)), 16).toArray()).toEqual([8, 7]);
  });
  test("eager and compiled results are bit-identical, in a chain of ops and with broadcasting", () => {
    const [a, b] = [tensor(anyBits().slice(0, 9000), [90, 100]), tensor(anyBits().slice(0, 100))];
    const f = (x: Tensor, y: Tensor) => x.mul(0.5).mod(y).add(1);
    const g = (x: Tensor, y: Tensor) => x.mod(y.add(3)).sub(1);
    const [int, small] = [a.to("int32"), b.clamp(-100, 100).to("int32")];
    const [compiledF, compiledG] = [compile(f), compile(g)];
    expect(compiledF(a, b).data).toEqual(f(a, b).data);
    expect(compiledG(int, small).data).toEqual(g(int, small).data);
    expect(compiledG(int, small).dtype).toBe("int32");
  });
  test("the gradient of b is −⌊a/b⌋ of the exact quotient, even if a/b rounds up to an integer", () => {
    const pairs: [number, number][] = [];
    while (pairs.length < 200) {
      const b = Math.fround(1 + random());
      const a = Math.fround(b * Math.ceil(random() * 1000) * (1 - 2 ** -24));
      if (Math.floor(Math.fround(a / b)) !== Math.floor(a / b)) pairs.push([a, b]);
    }
    const [a, b] = [tensor(pairs.map(([x]) => x)), tensor(pairs.map(([, y]) => y))];
    const [da, db] = grad((x: Tensor, y: Tensor) => x.mod(y).sum(), [0, 1])(a, b) as [Tensor, Tensor];
    expect(Array.from(da.data)).toEqual(pairs.map(() => 1));
    expect(Array.from(db.data)).toEqual(pairs.map(([x, y]) => -Math.floor(x / y)));
    expect(grad((y: Tensor) => mod(5, y).sum())(tensor([3, -3, Infinity, -Infinity])).toArray()).toEqual([
      -1, 2, -0, 1,
    ]);
  });
});

describe("hardSigmoid and hardSwish are accurate at their kinks", () => {
  /** 1000 numbers on either side of x, at distances from 1 ulp to 0.1. */
  const around = (x: number) =>
    Float32Array.from({ length: 2000 }, (_, i) => x + (i % 2 ? 1 : -1) * 2 ** (-22 + (19 * i) / 2000));
  const inside = (x: number) => Math.min(6, Math.max(0, x + 3)) / 6;
  const worst = (xs: Float32Array, y: ArrayLike<number>, exact: (x: number) => number) =>
    xs.reduce((most, x, i) => Math.max(most, error(y[i]!, exact(x))), 0);
  test.each([-3, 3, 0, -1.5])(
    "near %d: errors at most 1 ulp for hardSigmoid, 2 ulp for hardSwish, and 1 ulp for gradients",
    (x) => {
      const xs = around(x);
      const at = tensor(xs);
      expect(worst(xs, at.hardSigmoid().data, inside)).toBeLessThanOrEqual(1);
      expect(worst(xs, at.hardSwish().data, (v) => v * inside(v))).toBeLessThanOrEqual(2);
      const slope = (f: (v: Tensor) => Tensor) => grad((v: Tensor) => f(v).sum())(at).data;
      const isInside = (v: number) => v > -3 && v < 3;
      expect(
        worst(
          xs,
          slope((v) => v.hardSigmoid()),
          (v) => (isInside(v) ? 1 / 6 : 0),
        ),
      ).toBeLessThanOrEqual(0.5);
      const swish = (v: number) => (isInside(v) ? (2 * v + 3) / 6 : Number(v > 0));
      expect(
        worst(
          xs,
          slope((v) => v.hardSwish()),
          swish,
        ),
      ).toBeLessThanOrEqual(1);
    },
  );
  test("hardSigmoid of the smallest number above −3 is 2⁻²²/6", () => {
    expect(
      tensor([-3 + 2 ** -22, -3, -3 - 2 ** -22])
        .hardSigmoid()
        .toArray(),
    ).toEqual([Math.fround(2 ** -22 / 6), 0, 0]);
  });
  test("hardSwish of the largest number does not overflow", () => {
    expect(tensor([3.4e38, -3.4e38]).hardSwish().toArray()).toEqual([Math.fround(3.4e38), -0]);
  });
});

describe("sums", () => {
  test("a sum of 10⁶ equal numbers has an error of at most log₂ n rounding errors", () => {
    const x = tensor(new Float32Array(1_000_000).fill(0.1));
    expect(Math.abs(x.sum().item() / (1_000_000 * Math.fround(0.1)) - 1)).toBeLessThan(20 * 2 ** -24);
    const columns = tensor(new Float32Array(300_000).fill(0.1), [100_000, 3]);
    for (const v of columns.sum(0).data)
      expect(Math.abs(v / (100_000 * Math.fround(0.1)) - 1)).toBeLessThan(20 * 2 ** -24);
  });
});
