/** int32 is exact in comparisons, extremes, sums, sorting and conversions, for any size and any other operand. */
import * as f from "nabla";
import { compile, full, manualSeed, randint, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { Op } from "../../assembly/opcodes.ts";
import { type AnyOp, applyAll } from "../../src/ops/definition/op.ts";
import { table } from "../../src/ops/table.ts";
import { addressOf, SplitEncoder } from "../support/oracle.ts";

const I = (v: number[] | number[][]): Tensor => tensor(v, { dtype: "int32" });
const [MIN, MAX, EXACT] = [-(2 ** 31), 2 ** 31 - 1, 2 ** 24];
const list = (x: Tensor): number[] => Array.from(x.data);

const comparisons = {
  eq: (a: number, b: number) => a === b,
  ne: (a: number, b: number) => a !== b,
  lt: (a: number, b: number) => a < b,
  le: (a: number, b: number) => a <= b,
  gt: (a: number, b: number) => a > b,
  ge: (a: number, b: number) => a >= b,
} as const;
const WHOLE = [MIN, MIN + 1, -EXACT - 1, -EXACT, -1, 0, 1, 2, EXACT, EXACT + 1, MAX - 1, MAX];
const NUMBERS = [
  ...WHOLE,
  MAX + 1,
  MIN - 1,
  0.5,
  -0.5,
  1.5,
  MAX + 0.5,
  MIN - 0.5,
  MIN + 0.5,
  EXACT + 0.5,
  1e10,
  -1e300,
  Infinity,
  -Infinity,
  Number.NaN,
  -0,
]; // prettier-ignore

describe.each(Object.keys(comparisons) as (keyof typeof comparisons)[])("%s", (name) => {
  const expected = (a: number, b: number): number => Number(comparisons[name](a, b));
  test("compares int32 with any number, on either side, eager and compiled", () => {
    tidy(() => {
      const x = I(WHOLE);
      for (const c of NUMBERS) {
        expect(list(x[name](c)), `x ${name} ${c}`).toEqual(WHOLE.map((v) => expected(v, c)));
        expect(list(f[name](c, x)), `${c} ${name} x`).toEqual(WHOLE.map((v) => expected(c, v)));
        expect(list(compile((v: Tensor) => v[name](c))(x)), `compiled: x ${name} ${c}`).toEqual(
          WHOLE.map((v) => expected(v, c)),
        ); // prettier-ignore
      }
    });
  });
  test("compares int32 with int32 and float32 tensors, with broadcasting", () => {
    tidy(() => {
      const floats = NUMBERS.map(Math.fround);
      const column = I(WHOLE).reshape([-1, 1]);
      const grid = (row: number[], flip: boolean) =>
        WHOLE.flatMap((v) => row.map((w) => (flip ? expected(w, v) : expected(v, w))));
      expect(list(column[name](I(WHOLE)))).toEqual(grid(WHOLE, false));
      expect(list(column[name](tensor(floats)))).toEqual(grid(floats, false));
      expect(list(tensor(floats)[name](column))).toEqual(grid(floats, true));
      const rounded = WHOLE.map((v) => Math.fround(v));
      expect(list(I(WHOLE)[name](tensor(rounded)))).toEqual(WHOLE.map((v, i) => expected(v, rounded[i]!)));
      const chained = compile((a: Tensor, b: Tensor) => a.add(0)[name](b.mul(1)));
      expect(list(chained(I(WHOLE), tensor(rounded)))).toEqual(WHOLE.map((v, i) => expected(v, rounded[i]!)));
    });
  });
  test("compares bool and uint8 with numbers and float32 tensors", () => {
    tidy(() => {
      const bytes = [0, 1, 2, 255];
      for (const c of NUMBERS) {
        expect(list(tensor(bytes, { dtype: "uint8" })[name](c))).toEqual(bytes.map((v) => expected(v, c)));
        expect(list(tensor([true, false])[name](c))).toEqual([1, 0].map((v) => expected(v, c)));
        expect(list(tensor(bytes, { dtype: "uint8" })[name](tensor([c])))).toEqual(
          bytes.map((v) => expected(v, Math.fround(c))),
        ); // prettier-ignore
      }
    });
  });
});

describe("reductions of int32", () => {
  const near = (rows: number, n: number): number[][] =>
    Array.from({ length: rows }, (_, r) => Array.from({ length: n }, (_, i) => EXACT * 100 + ((i * 7 + r) % n)));
  test.each([2, 5, 33, 700])("max, min, argMax and argMin of %i numbers beyond 2²⁴ are exact along both dims", (n) => {
    tidy(() => {
      const rows = near(3, n);
      const x = I(rows);
      const by = (pick: (row: number[]) => number) => rows.map(pick);
      for (const [y, dim] of [
        [x, -1],
        [x.t(), 0],
      ] as const) {
        expect(y.max(dim).dtype).toBe("int32");
        expect(list(y.max(dim))).toEqual(by((row) => Math.max(...row)));
        expect(list(y.min(dim))).toEqual(by((row) => Math.min(...row)));
        expect(list(y.argMax(dim))).toEqual(by((row) => row.indexOf(Math.max(...row))));
        expect(list(y.argMin(dim))).toEqual(by((row) => row.indexOf(Math.min(...row))));
      }
      expect(x.max().item()).toBe(Math.max(...rows.flat()));
      expect(x.argMin().item()).toBe(rows.flat().indexOf(Math.min(...rows.flat())));
    });
  });
  test("max and min are exact at the limits of int32", () => {
    expect(I([MAX, MIN, 0]).max().item()).toBe(MAX);
    expect(I([MAX, MIN, 0]).min().item()).toBe(MIN);
    expect(I([MIN, MIN]).max().item()).toBe(MIN);
    expect(
      I([EXACT, EXACT + 1])
        .argMax()
        .item(),
    ).toBe(1);
  });
  test("sum, cumsum and prod are exact modulo 2³²", () => {
    tidy(() => {
      expect(I([MAX, 1]).sum().item()).toBe(MIN);
      expect(I([EXACT, 1, 1]).sum().item()).toBe(EXACT + 2);
      expect(list(I([EXACT, 1, MAX, MAX]).cumsum(0))).toEqual([
        EXACT,
        EXACT + 1,
        (EXACT + 1 + MAX) | 0,
        (EXACT + MAX + MAX + 1) | 0,
      ]); // prettier-ignore
      expect(I([65537, 65537]).prod().item()).toBe(Math.imul(65537, 65537));
      expect(
        list(
          I([
            [MAX, 2],
            [3, MAX],
          ]).sum(0),
        ),
      ).toEqual([(MAX + 3) | 0, (MAX + 2) | 0]); // prettier-ignore
      expect(I([[1, 2]]).sum(1, { keepdim: true }).dtype).toBe("int32");
      expect(full([0, 3], 0, { dtype: "int32" }).sum(0).toArray()).toEqual([0, 0, 0]);
    });
  });
  test.each([
    [70_001, 1],
    [9001, 17],
    [20_000, 3],
    [33, 70],
  ])("sums of [%i, %i] agree with BigInt for any number of threads", (n, inner) => {
    // prettier-ignore
    tidy(() => {
      manualSeed(3);
      const x = randint(-(2 ** 31), 2 ** 31, [n, inner]);
      const data = x.data;
      const expected = Array.from({ length: inner }, (_, j) => {
        let total = 0n;
        for (let i = 0; i < n; i++) total += BigInt(data[i * inner + j]!);
        return Number(BigInt.asIntN(32, total));
      });
      expect(list(x.sum(0))).toEqual(expected);
      expect(list(x.cumsum(0)).slice(-inner)).toEqual(expected);
      for (const code of [Op.Sum, Op.Max, Op.Min] as const) {
        const op = table[code] as AnyOp;
        const attributes = { outer: 1, n, inner, divisor: 1, reverse: false, shape: [1, inner] };
        const whole = applyAll(op, [x], attributes)[0] as Tensor;
        for (const threads of [2, 3, 7]) {
          const y = whole.clone();
          y.live().fill(7);
          const address = (value: unknown) => addressOf(value === whole ? y : (value as Tensor));
          op.encode(new SplitEncoder(threads), { inputs: [x], outputs: [whole], attributes, address });
          expect(list(y)).toEqual(list(whole));
        }
      }
    });
  });
  test("sums of bool and uint8 are int32, and extremes keep their element type", () => {
    tidy(() => {
      const mask = full([300], 1, { dtype: "bool" });
      expect(mask.sum().dtype).toBe("int32");
      expect(mask.sum().item()).toBe(300);
      expect(tensor([200, 100], { dtype: "uint8" }).sum().item()).toBe(300);
      expect(list(tensor([200, 100], { dtype: "uint8" }).cumsum(0))).toEqual([200, 300]);
      expect(tensor([200, 100], { dtype: "uint8" }).max().dtype).toBe("uint8");
      expect(tensor([false, true]).max().toArray()).toBe(true);
      expect(tensor([false, true]).any().item()).toBe(1);
      expect(tensor([false, true]).all().item()).toBe(0);
      expect(I([1, 2]).mean().dtype).toBe("float32");
    });
  });
});

test("sort, argSort, topK, where, clamp, abs, neg, indexing and joining are exact", () => {
  tidy(() => {
    const x = I([EXACT + 1, EXACT, MAX, -EXACT - 1]);
    expect(list(x.sort()[0]!)).toEqual([-EXACT - 1, EXACT, EXACT + 1, MAX]);
    expect(list(x.argSort())).toEqual([3, 1, 0, 2]);
    expect(list(x.topK(2)[0]!)).toEqual([MAX, EXACT + 1]);
    expect(list(f.where(x.gt(EXACT), x, 5))).toEqual([EXACT + 1, 5, MAX, 5]);
    expect(list(x.clamp(-EXACT, EXACT + 1))).toEqual([EXACT + 1, EXACT, EXACT + 1, -EXACT]);
    expect(list(x.abs())).toEqual([EXACT + 1, EXACT, MAX, EXACT + 1]);
    expect(list(x.neg())).toEqual([-EXACT - 1, -EXACT, -MAX, EXACT + 1]);
    expect(list(x.maximum(EXACT + 3))).toEqual([EXACT + 3, EXACT + 3, MAX, EXACT + 3]);
    expect(list(x.add(MIN))).toEqual([EXACT + 1, EXACT, MAX, -EXACT - 1].map((v) => (v + MIN) | 0));
    expect(list(x.slice([null, null, -1]))).toEqual([-EXACT - 1, MAX, EXACT, EXACT + 1]);
    expect(list(f.concat([x, x]).gather(0, I([0, 6])))).toEqual([EXACT + 1, MAX]);
  });
});

describe("all conversions follow the same rule", () => {
  const values = [Number.NaN, Infinity, -Infinity, 3e9, -3e9, MAX, MIN, 300, 255.9, -1, -1.9, 0.5, -0, 1e20, 2 ** 32];
  const rules = {
    int32: [0, MAX, MIN, MAX, MIN, MAX, MIN, 300, 255, -1, -1, 0, 0, MAX, MAX],
    uint8: [0, 255, 0, 255, 0, 255, 0, 44, 255, 255, 255, 0, 0, 255, 255],
    bool: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1],
  } as const;
  test.each(["int32", "uint8", "bool"] as const)("to %s, from float32 and JavaScript numbers", (dtype) => {
    tidy(() => {
      const expected = [...rules[dtype]];
      expect(list(tensor(values).to(dtype)), "to").toEqual(expected);
      expect(list(tensor(values, { dtype })), "tensor").toEqual(expected);
      expect(list(tensor(new Float64Array(values), { dtype })), "tensor of a typed array").toEqual(expected);
      expect(list(full([values.length], 0, { dtype }).copyFrom(values)), "copyFrom").toEqual(expected);
      expect(
        values.map((v) => Number(full([], v, { dtype }).item())),
        "full",
      ).toEqual(expected);
      expect(list(f.pad(full([0], 0, { dtype }), [0, 1], 3e9)), "pad").toEqual([expected[3]]);
      expect(list(compile((x: Tensor) => x.to(dtype))(tensor(values))), "compiled").toEqual(expected);
    });
  });
  test("from int32 to uint8 and bool", () => {
    expect(list(I([300, -1, MAX, MIN]).to("uint8"))).toEqual([44, 255, 255, 0]);
    expect(list(I([300, 0, MIN]).to("bool"))).toEqual([1, 0, 1]);
    expect(list(tensor(new Int32Array([300, 0, MIN]), { dtype: "uint8" }))).toEqual([44, 0, 0]);
  });
});

describe("ops of int32 and a number", () => {
  const [BEYOND, BELOW] = [3e9, -3e9];
  const typed = (x: Tensor) => [x.dtype, ...list(x)];
  test("clamp, minimum and maximum ignore bounds outside int32 and are exact", () => {
    tidy(() => {
      const x = I([MAX, MIN, 0]);
      for (const y of [
        x.clamp(null, BEYOND),
        x.clamp(BELOW, MAX + 1),
        x.clamp(MIN, null),
        x.minimum(BEYOND),
        f.minimum(BEYOND, x),
        x.maximum(BELOW),
        f.maximum(MIN - 1, x),
        compile((v: Tensor) => v.minimum(BEYOND).clamp(BELOW))(x),
      ])
        expect(typed(y)).toEqual(["int32", MAX, MIN, 0]);
      expect(typed(I([MAX, -5]).clamp(0, MAX + 1))).toEqual(["int32", MAX, 0]);
      expect(typed(x.maximum(BEYOND))).toEqual(["float32", BEYOND, BEYOND, BEYOND]);
    });
  });
  test("mod with a number outside int32 is exact modulo 2³²", () => {
    tidy(() => {
      const wrapped = (v: number) => v | 0;
      const values = [MAX, 5, 0, -5, MIN];
      for (const b of [BEYOND, MAX + 1, BELOW, MIN - 1, 2 ** 40])
        expect(typed(I(values).mod(b)), `mod ${b}`).toEqual([
          "int32",
          ...values.map((a) => wrapped(((a % b) + b) % b || 0)),
        ]);
    });
  });
  test("non-negative integer powers are exact modulo 2³², and other powers are float32", () => {
    tidy(() => {
      const bases = [3, -3, 0, 1, 65537, MAX, MIN, 46341];
      for (const n of [0, 1, 2, 3, 19, 31, 100, MAX]) {
        const power = (b: number) => Number(BigInt.asIntN(32, modular(BigInt(b), n)));
        expect(typed(I(bases).pow(n)), `pow ${n}`).toEqual(["int32", ...bases.map(power)]);
      }
      expect(list(I(bases).pow(2))).toEqual(list(I(bases).square()));
      expect(tensor([true, false]).pow(2).dtype).toBe("int32");
      for (const n of [-1, 0.5, 2 ** 31]) expect(I([4]).pow(n).dtype).toBe("float32");
    });
  });
  /** bⁿ modulo 2³². */
  function modular(b: bigint, n: number): bigint {
    if (n === 0) return 1n;
    const half = modular(b, Math.floor(n / 2));
    return BigInt.asUintN(32, half * half * (n % 2 ? b : 1n));
  }
  test("where with two numbers gives float32, or int32 if float32 would round one of them", () => {
    tidy(() => {
      const mask = tensor([true, false]);
      expect(typed(f.where(mask, EXACT + 1, 0))).toEqual(["int32", EXACT + 1, 0]);
      expect(typed(f.where(mask, 0, -EXACT - 1))).toEqual(["int32", 0, -EXACT - 1]);
      expect(typed(f.where(mask, MAX, 1))).toEqual(["int32", MAX, 1]);
      expect(typed(f.where(mask, 1, 0))).toEqual(["float32", 1, 0]);
      expect(f.where(mask, EXACT + 1, 0.5).dtype).toBe("float32");
    });
  });
});

test("the variance of int32 values is exact if they are close together, no matter how far they are from 0", () => {
  tidy(() => {
    expect(
      I([MAX, MAX - 2])
        .var()
        .item(),
    ).toBe(2);
    expect(
      I([MIN, MIN + 2])
        .std()
        .item(),
    ).toBeCloseTo(Math.SQRT2, 6);
    expect(
      list(
        I([
          [MAX, MAX - 4],
          [0, 4],
        ]).var(1),
      ),
    ).toEqual([8, 8]);
    expect(I([65535, 65536, 65537]).var().item()).toBe(1);
    expect(
      I([2 ** 24 + 1, 2 ** 24 + 2, 2 ** 24 + 3])
        .var({ correction: 0 })
        .item(),
    ).toBeCloseTo(2 / 3, 6);
    expect(I([MAX, MIN]).var().item() / 2 ** 63).toBeCloseTo(1, 6);
  });
}); // prettier-ignore

test("sort and topK keep the element types uint8 and bool", () => {
  tidy(() => {
    const bytes = tensor(new Uint8Array([3, 255, 0]));
    const mask = tensor([true, false, true]);
    expect(bytes.sort()[0]!.dtype).toBe("uint8");
    expect(list(bytes.sort()[0]!)).toEqual([0, 3, 255]);
    expect(mask.sort()[0]!.dtype).toBe("bool");
    expect(list(bytes.topK(2)[0]!)).toEqual([255, 3]);
    expect(bytes.topK(2)[0]!.dtype).toBe("uint8");
    expect(mask.topK(1)[0]!.dtype).toBe("bool");
    expect(tensor(true as never).sort()[0]!.dtype).toBe("bool");
  });
});

test("pad rejects values that are not whole for integer and bool tensors", () => {
  for (const dtype of ["int32", "uint8", "bool"] as const)
    for (const value of [0.5, -1.5, Number.NaN, Infinity])
      expect(() => I([1]).to(dtype).pad([1, 1], value)).toThrow(`pad: ${dtype} cannot represent the value ${value}`);
  expect(list(I([1]).pad([1, 1], MAX))).toEqual([MAX, 1, MAX]);
  expect(list(tensor([1]).pad([1, 0], 0.5))).toEqual([0.5, 1]);
});
