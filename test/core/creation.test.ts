/**
 * arange and linspace have exact ends, and lengths that do not depend on rounding, for every element type. full and eye
 * have exact values.
 */
import { arange, eye, full, linspace, randint, type Tensor } from "nabla";
import { describe, expect, test } from "vitest";

const list = (x: Tensor): number[] => Array.from(x.data);

describe("linspace", () => {
  const ranges: [number, number][] = [
    [1e20, 1],
    [1, 1e20],
    [-3e38, 3e38],
    [0.1, 0.7],
    [1, 1 + 2 ** -23],
    [-1e-40, 1e-40],
    [5, 5],
    [16777216, -16777215],
  ];
  test.each(ranges)("from %d to %d: the first element is start and the last is end, for any n", (start, end) => {
    for (const n of [2, 3, 4, 7, 100, 1001]) {
      const values = list(linspace(start, end, n));
      expect(values.length).toBe(n);
      expect(values[0]).toBe(Math.fround(start));
      expect(values.at(-1)).toBe(Math.fround(end));
    }
  });
  test.each(ranges)("from %d to %d: the elements are monotonic, and the reversed range mirrors them", (start, end) => {
    const values = list(linspace(start, end, 101));
    const direction = Math.sign(end - start);
    for (let i = 1; i < values.length; i++)
      expect((values[i]! - values[i - 1]!) * direction, `element ${i}`).toBeGreaterThanOrEqual(0);
    const reversed = list(linspace(end, start, 101)).reverse();
    // linspace may compute the middle element from either end, so allow a rounding error.
    values.forEach((v, i) => expect(Math.abs(v - reversed[i]!)).toBeLessThanOrEqual(2 ** -23 * Math.abs(v)));
  });
  test("every element is its exact value, rounded once", () => {
    expect(list(linspace(0, 1, 1001))).toEqual(Array.from({ length: 1001 }, (_, i) => Math.fround(i / 1000)));
    expect(list(linspace(-3, 0, 7))).toEqual([-3, -2.5, -2, -1.5, -1, -0.5, 0]);
  });
  test("n = 0 gives an empty tensor, n = 1 gives start, and a negative or fractional n is rejected", () => {
    expect(list(linspace(3, 9, 1))).toEqual([3]);
    expect(linspace(3, 9, 0).shape).toEqual([0]);
    expect(() => linspace(0, 1, 2.5)).toThrow("linspace: n must be a whole number, at least 0, got 2.5.");
    expect(() => linspace(0, 1, -1)).toThrow(RangeError);
    expect(() => linspace(0, Infinity, 3)).toThrow("linspace: end must be finite, got Infinity.");
  });
  test("int32: whole steps are exact, and fractions are truncated as in PyTorch", () => {
    expect(list(linspace(0, 10, 5, { dtype: "int32" }))).toEqual([0, 2, 5, 7, 10]);
    expect(list(linspace(-10, 10, 5, { dtype: "int32" }))).toEqual([-10, -5, 0, 5, 10]);
    const [most, n] = [2147483646, 7];
    expect(list(linspace(0, most, n, { dtype: "int32" }))).toEqual(Array.from({ length: n }, (_, i) => (most / 6) * i));
    // In floating point, 49·(1/49) is below 1, and elements computed from it could be truncated to the next lower integer.
    expect(list(linspace(0, 49, 50, { dtype: "int32" }))).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(list(linspace(-2147483648, 2147483647, 2, { dtype: "int32" }))).toEqual([-2147483648, 2147483647]);
  });
  test("bool and uint8 elements are converted like other numbers", () => {
    expect(linspace(0, 1, 3, { dtype: "bool" }).toArray()).toEqual([false, true, true]);
    expect(list(linspace(0, 255, 6, { dtype: "uint8" }))).toEqual([0, 51, 102, 153, 204, 255]);
  });
});

describe("arange", () => {
  test.each([
    [1, 1.3, 0.1, 3],
    [0, 0.3, 0.1, 3],
    [0, 0.7, 0.1, 7],
    [0.1, 0.4, 0.1, 3],
    [1, 0.7, -0.1, 3],
    [-1, 1, 0.1, 20],
    [0, 1, 1 / 3, 3],
    [0, 4.9, 0.7, 7],
    [100.1, 100.4, 0.1, 3],
    [0, 1e6, 0.1, 10_000_000],
  ])("from %d to %d by %d: %d elements, none at or beyond the end", (from, to, step, n) => {
    const x = arange(from, to, step);
    expect(x.size).toBe(n);
    expect(x.data[0]).toBe(Math.fround(from));
    expect(Math.sign(to - step / 2 - x.data.at(-1)!)).not.toBe(-Math.sign(step));
  });
  test("if the step does not divide the range, the last element is the last number before the end", () => {
    expect(list(arange(0, 1, 0.3))).toEqual([0, 0.3, 0.6, 0.9].map(Math.fround));
    expect(list(arange(5, 0, -2))).toEqual([5, 3, 1]);
    expect(list(arange(0, 1 + 1e-12, 1))).toEqual([0, 1]);
    expect(list(arange(2.5))).toEqual([0, 1, 2]);
  });
  test("agrees with a naive loop for all small ranges of integers", () => {
    for (let from = -7; from <= 7; from++)
      for (let to = -7; to <= 7; to++)
        for (const step of [-5, -3, -2, -1, 1, 2, 3, 5]) {
          const expected: number[] = [];
          for (let v = from; step > 0 ? v < to : v > to; v += step) expected.push(v);
          expect(list(arange(from, to, step)), `${from} … ${to} by ${step}`).toEqual(expected.map((v) => v + 0));
        }
  });
  test("int32 is exact up to its limits", () => {
    const options = { dtype: "int32" } as const;
    expect(list(arange(2147483645, 2147483648, 1, options))).toEqual([2147483645, 2147483646, 2147483647]);
    expect(list(arange(-2147483648, -2147483645, 1, options))).toEqual([-2147483648, -2147483647, -2147483646]);
    expect(list(arange(16777215, 16777220, 1, options))).toEqual([16777215, 16777216, 16777217, 16777218, 16777219]);
  });
  test("rejects steps that never reach the end and ends that are not finite", () => {
    expect(() => arange(0, 1, 0)).toThrow("arange: step 0 never reaches 1 from 0.");
    expect(() => arange(0, Infinity)).toThrow("arange: end must be finite, got Infinity.");
    expect(() => arange(0, 1, Number.NaN)).toThrow("arange: step NaN never reaches 1 from 0.");
    expect(() => arange(0, 1e12)).toThrow("arange: 1000000000000 elements do not fit in memory. Request fewer.");
  });
});

test("full and eye hold large integers exactly in int32", () => {
  expect(list(full([2], 16777217, { dtype: "int32" }))).toEqual([16777217, 16777217]);
  expect(list(full([2], -2147483648, { dtype: "int32" }))).toEqual([-2147483648, -2147483648]);
  expect(list(full([1], 2147483647, { dtype: "int32" }))).toEqual([2147483647]);
  expect(full([2], -0).toArray()).toEqual([-0, -0]);
  expect(eye(2, 3, { dtype: "int32" }).toArray()).toEqual([
    [1, 0, 0],
    [0, 1, 0],
  ]);
});

describe("ranges reject numbers outside the dtype", () => {
  for (const [name, make, message] of [
    [
      "arange, int32",
      () => arange(2147483646, 2147483650, 1, { dtype: "int32" }),
      "arange: 2147483649 is outside int32",
    ],
    ["a descending arange", () => arange(0, -4e9, -1e9, { dtype: "int32" }), "arange: -3000000000 is outside int32"],
    ["arange, uint8", () => arange(254, 258, 1, { dtype: "uint8" }), "arange: 257 is outside uint8's range, 0 … 255"],
    ["arange with numbers below 0, uint8", () => arange(-1, 3, { dtype: "uint8" }), "arange: -1 is outside uint8"],
    ["linspace, int32", () => linspace(0, 3e9, 3, { dtype: "int32" }), "linspace: 3000000000 is outside int32"],
    ["linspace, uint8", () => linspace(256, 0, 3, { dtype: "uint8" }), "linspace: 256 is outside uint8"],
    ["randint, uint8", () => randint(0, 300, [2], { dtype: "uint8" }), "randint: 299 is outside uint8"],
    [
      "randint with numbers below 0, uint8",
      () => randint(-1, 3, [2], { dtype: "uint8" }),
      "randint: -1 is outside uint8",
    ],
  ] as const)
    test(name, () => void expect(make).toThrow(message));
  test("the limits of each dtype are accepted", () => {
    expect(Array.from(arange(254, 256, { dtype: "uint8" }).data)).toEqual([254, 255]);
    expect(Array.from(arange(2147483646, 2147483648, { dtype: "int32" }).data)).toEqual([2147483646, 2147483647]);
    expect(Array.from(linspace(0, 255, 2, { dtype: "uint8" }).data)).toEqual([0, 255]);
    expect(randint(0, 256, [3], { dtype: "uint8" }).dtype).toBe("uint8");
    expect(full([1], 3e9, { dtype: "int32" }).item()).toBe(2147483647);
  });
});
