/** Int8 products: the same integers as an exact reference, errors within the bounds of the quantization steps, and unusual values. */
import { type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { applyAll } from "../../src/ops/definition/op.ts";
import { type QuantizedMatrix, quantizedLinear, quantizeRowsDefinition } from "../../src/ops/matrix/quantized.ts";
import { seeded } from "../support/oracle.ts";

const { fround: f } = Math;
/** Rounds to the nearest whole number, and halves to the even one, as the kernel does. */
const even = (x: number): number => x + 1.5 * 2 ** 52 - 1.5 * 2 ** 52;

interface Row {
  readonly q: number[];
  readonly scale: number;
  readonly zero: number;
}

/** Quantizes a row of activations with the kernel's formula, and rounds to float32 where the kernel does. */
function quantizeRow(x: readonly number[], bits: number): Row {
  const levels = 2 ** bits - 1;
  const [low, high] = [Math.min(0, ...x), Math.max(0, ...x)];
  let scale = f(f(high / levels) - f(low / levels));
  let inverse = f(1 / scale);
  if (!(inverse < Number.POSITIVE_INFINITY)) [scale, inverse] = [0, 0];
  const zero = Math.min(even(f(-low * inverse)), levels);
  const q = x.map((v) => even(Math.max(-zero, Math.min(levels - zero, f(v * inverse))) + zero));
  return { q, scale, zero };
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const dot = (a: readonly number[], b: readonly number[]): number => sum(a.map((v, i) => v * b[i]!));

/** Computes one result from exact integers. */
function reference({ q, scale, zero }: Row, w: readonly number[], step: number, bias: number, bits: number): number {
  const factor = f(f(bits === 7 ? 2 * scale : scale) * step);
  const finish = (total: number): number => f(f(total * factor) + bias);
  if (bits === 7) {
    const halves = w.map((v) => even(v / 2));
    return finish(f(dot(q, halves) - zero * sum(halves)));
  }
  const plane = (part: (v: number) => number): number => f(dot(q.map(part), w) - part(zero) * sum(w));
  return finish(f(f(plane((v) => v >> 7) * 128) + plane((v) => v & 127)));
}

interface Product {
  readonly x: number[][];
  readonly w: number[][];
  readonly scale: number[];
  readonly bias: number[] | null;
}

const matrixOf = ({ w, scale }: Product): QuantizedMatrix => ({
  weight: tensor(
    Uint8Array.from(w.flat(), (v) => v + 128),
    [w.length, w[0]!.length],
  ),
  scale: tensor(scale),
  sums: tensor(Int32Array.from(w, sum)),
});

function run(product: Product, weightsOnly: boolean): number[] {
  return tidy(() => {
    const { x, bias } = product;
    const y = quantizedLinear("test", tensor(x), matrixOf(product), bias && tensor(bias), { weightsOnly });
    return Array.from((y as Tensor).data);
  });
}

function random(m: number, n: number, k: number, seed: number): Product {
  const draw = seeded(seed);
  const list = (length: number, make: () => number): number[] => Array.from({ length }, make);
  const byte = (): number => Math.floor(draw() * 255) - 127;
  return {
    x: list(m, () => 0).map(() => list(k, () => f(draw() * 3 - 1))),
    w: list(n, () => 0).map(() => list(k, byte)),
    scale: list(n, () => f(draw() * 0.1)),
    bias: seed % 2 ? list(n, () => f(draw())) : null,
  };
}

/** Compares every result with the exact reference, bit by bit. */
function requireExact(product: Product, weightsOnly = false): void {
  const { x, w, scale, bias } = product;
  const bits = weightsOnly || x.length <= 8 ? 14 : 7;
  const rows = x.map((row) => quantizeRow(row, bits));
  const expected = rows.flatMap((row) => w.map((v, j) => reference(row, v, scale[j]!, bias?.[j] ?? 0, bits)));
  expect(run(product, weightsOnly)).toEqual(expected);
}

describe("products are equal to an exact reference, bit by bit", () => {
  test.each([1, 2, 3, 8, 9, 10, 17])("%i rows, for sizes around the steps of the kernel", (m) => {
    let seed = m;
    for (const n of [1, 2, 3, 4, 5, 8, 63, 65])
      for (const k of [1, 2, 3, 4, 7, 15, 16, 17, 31, 32, 33, 65]) requireExact(random(m, n, k, seed++));
  });
  test("with 14 bits for many rows", () => {
    for (const [m, n, k] of [
      [9, 70, 33],
      [20, 5, 100],
    ] as const)
      requireExact(random(m, n, k, m), true);
  });
  test("for more columns than a block of packed weights holds", () => {
    requireExact(random(11, 9, 3000, 1));
  });
  test.each([1, 9])("for the largest integers, %i rows", (m) => {
    const k = 131_072;
    for (const value of [127, -127]) {
      const w = [new Array<number>(k).fill(value), Array.from({ length: k }, (_, i) => (i % 2 ? -value : value))];
      const row = new Array<number>(k).fill(1);
      const x = Array.from({ length: m }, (_, i) => (i % 2 ? row.map((v) => -v) : row));
      const y = run({ x, w, scale: [1, 1], bias: null }, false);
      // Half of 127 is rounded to 64, so a weight of 127 becomes 128.
      const one = m > 8 ? Math.sign(value) * 128 : value;
      for (let i = 0; i < m; i++) {
        expect(y[2 * i]! / (i % 2 ? -k : k)).toBeCloseTo(one, 3);
        expect(Math.abs(y[2 * i + 1]!)).toBeLessThan(1e-3);
      }
    }
  });
});

describe("errors are within the bounds that follow from the quantization steps", () => {
  test.each([
    [false, 4],
    [false, 12],
    [true, 12],
  ])("weightsOnly: %s, %i rows, also with outliers", (weightsOnly, m) => {
    const bits = weightsOnly || m <= 8 ? 14 : 7;
    for (const outlier of [1, 1000]) {
      const product = random(m, 20, 333, 7);
      for (const row of product.x) row[5] = outlier;
      const y = run(product, weightsOnly);
      product.x.forEach((row, i) => {
        const half = quantizeRow(row, bits).scale / 2;
        product.w.forEach((w, j) => {
          const step = product.scale[j]!;
          const exact = dot(row, w) * step + (product.bias?.[j] ?? 0);
          // Activations are off by at most half a step and, with 7 bits, weights by at most one step.
          const fromX = half * sum(w.map(Math.abs)) * step;
          const fromW = bits === 7 ? sum(row.map((v) => Math.abs(v) + half)) * step : 0;
          expect(Math.abs(y[20 * i + j]! - exact)).toBeLessThan(1.0001 * (fromX + fromW) + 1e-6);
        });
      });
    }
  });

  test("rounding weights to 7 bits has no bias", () => {
    const x = Array.from({ length: 9 }, () => new Array<number>(4096).fill(1));
    const product = { ...random(9, 50, 4096, 3), x };
    const y = run(product, false);
    const bias = product.w.map(
      (w, j) => y[j]! / product.scale[j]! - sum(w) - (product.bias?.[j] ?? 0) / product.scale[j]!,
    );
    // Each weight is off by 0 or ±1, so the error of a sum of 4,096 has a standard deviation of about 45.
    expect(Math.abs(sum(bias) / 50)).toBeLessThan(30);
  });
});

describe("unusual values", () => {
  test.each([3, 12])("a row of zeros gives the bias, and others are not affected, %i rows", (m) => {
    const product = random(m, 6, 20, 5);
    product.x[1]!.fill(0);
    expect(run(product, false).slice(6, 12)).toEqual(product.bias);
    requireExact(product);
  });
  test.each([3, 12])("a channel of zeros gives the bias, %i rows", (m) => {
    const product = random(m, 6, 20, 5);
    product.w[2]!.fill(0);
    product.scale[2] = 0;
    const y = run(product, false);
    for (let i = 0; i < m; i++) expect(y[6 * i + 2]).toBe(product.bias![2]);
    requireExact(product);
  });
  test.each([3, 12])("NaN and ±∞ make their row NaN and do not affect the others, %i rows", (m) => {
    for (const flaw of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      for (const at of [0, 6, 18]) {
        const product = random(m, 6, 19, 5);
        const clean = run(product, false);
        product.x[1]![at] = flaw;
        const y = run(product, false);
        expect(y.slice(6, 12).every(Number.isNaN)).toBe(true);
        expect([...y.slice(0, 6), ...y.slice(12)]).toEqual([...clean.slice(0, 6), ...clean.slice(12)]);
      }
  });
  test.each([3, 12])("products of huge, tiny and denormal numbers equal the reference, %i rows", (m) => {
    const product = random(m, 6, 19, 5);
    const scaled = (by: number) => ({ ...product, x: product.x.map((row) => row.map((v) => f(v * by))) });
    for (const by of [1e38, 1e-30, 1e-37, 1e-45]) requireExact(scaled(by));
  });
  test("x may have no rows, or any number of dims", () => {
    const product = random(1, 6, 19, 5);
    const matrix = matrixOf(product);
    tidy(() => {
      const empty = quantizedLinear("test", tensor([], [0, 19]), matrix, null) as Tensor;
      expect(empty.shape).toEqual([0, 6]);
      const vector = quantizedLinear("test", tensor(product.x[0]!), matrix, null) as Tensor;
      expect(vector.shape).toEqual([6]);
      const cube = quantizedLinear("test", tensor(new Float32Array(76), [2, 2, 19]), matrix, null) as Tensor;
      expect(cube.shape).toEqual([2, 2, 6]);
    });
  });
  test("a size that does not fit throws", () => {
    expect(() => quantizedLinear("Layer", tensor([1, 2]), matrixOf(random(1, 2, 3, 1)), null)).toThrow(
      "Layer: [2] does not fit the weight [2, 3]: the last size must be 3.",
    );
  });
});

test("quantized rows hold the high bits, the low bits and zeros", () => {
  tidy(() => {
    const x = [[-1, 0, 2.5, 1, 0.3]];
    const { q, scale, zero } = quantizeRow(x[0]!.map(f), 14);
    const [rows, stats] = applyAll(quantizeRowsDefinition, [tensor(x)], { planes: 2 }) as Tensor[];
    expect(rows!.shape).toEqual([1, 2, 32]);
    const rest = new Array<number>(27).fill(0);
    expect(Array.from(rows!.data)).toEqual([...q.map((v) => v >> 7), ...rest, ...q.map((v) => v & 127), ...rest]);
    expect(Array.from(stats!.data)).toEqual([scale, zero]);
  });
});
