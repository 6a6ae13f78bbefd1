/** The distinct rows of a list of indices, and sums of the rows with the same index: against plain JavaScript in float64, and the dense sums. */
import { compile, manualSeed, randn, type Tensor, tensor, tidy, zeros } from "nabla";
import { describe, expect, test } from "vitest";
import { apply, applyAll, type SparseRows } from "../../src/ops/definition/op.ts";
import { operationsOf } from "../../src/ops/definition/work.ts";
import { embeddingDefinition } from "../../src/ops/index/embedding.ts";
import { gatherDefinitions } from "../../src/ops/index/gather.ts";
import { coalesce, densify, uniqueDefinition } from "../../src/ops/index/sparse.ts";
import { expectClose, seeded } from "../support/oracle.ts";

const ints = (values: readonly number[]): Tensor => tensor(Int32Array.from(values));
const unique = (index: Tensor, n: number) => applyAll(uniqueDefinition, [index], { n }) as Tensor[];

/** What `unique` must return, computed with a Map. */
function reference(values: readonly number[], n: number): { out: number[]; inverse: number[] } {
  const counted = values.filter((v) => v >= 0 && v < n);
  const distinct = [...new Set(counted)].sort((a, b) => a - b);
  const places = new Map(distinct.map((v, i) => [v, i]));
  return {
    out: Array.from({ length: Math.min(values.length, n) }, (_, i) => distinct[i] ?? -1),
    inverse: values.map((v) => places.get(v) ?? -1),
  };
}

/** `count` indices below n, drawn from `distinct` different values. */
function draw(count: number, n: number, distinct: number, seed = 1): number[] {
  const random = seeded(seed);
  const values = Array.from({ length: Math.min(distinct, n) }, () => Math.floor(random() * n));
  return Array.from({ length: count }, () => values[Math.floor(random() * values.length)]!);
}

describe("unique lists the distinct indices in ascending order, and the place of each index", () => {
  // A sort takes one pass per byte of n − 1, so n is on both sides of each limit.
  test.each([1, 2, 255, 256, 257, 65536, 65537, 2 ** 24, 2 ** 24 + 1, 2 ** 31 - 1])("below %i", (n) => {
    for (const [count, distinct] of [
      [1, 1],
      [5, 2],
      [255, 1000],
      [256, 256],
      [1000, 3],
      [4099, 2000],
    ] as const) {
      const values = [...draw(count, n, distinct), 0, n - 1];
      const [out, inverse] = unique(ints(values), n);
      expect({ out: [...out!.data], inverse: [...inverse!.data] }).toEqual(reference(values, n));
    }
  });
  test("of an empty list, one value, sorted, reversed and equal values", () => {
    const sorted = Array.from({ length: 300 }, (_, i) => 3 * i);
    for (const values of [[], [7], sorted, [...sorted].reverse(), new Array<number>(300).fill(899)]) {
      const [out, inverse] = unique(ints(values), 900);
      expect({ out: [...out!.data], inverse: [...inverse!.data] }).toEqual(reference(values, 900));
    }
  });
  test("without those that are out of range", () => {
    const values = [5, -1, 4, 5, 10, 9, -(2 ** 31), 2 ** 31 - 1, 4];
    const [out, inverse] = unique(ints(values), 10);
    expect([...out!.data]).toEqual([4, 5, 9, -1, -1, -1, -1, -1, -1]);
    expect([...inverse!.data]).toEqual([1, -1, 0, 1, -1, 2, -1, -1, 0]);
    const [none, nowhere] = unique(ints([0, 1]), 0);
    expect([none!.shape, [...nowhere!.data]]).toEqual([[0], [-1, -1]]);
  });
  test("without more entries than there are values", () => {
    const values = [2, 1, 2, 2, 5, 1, 1];
    for (const n of [3, 4]) {
      const [out, inverse] = unique(ints(values), n);
      expect({ out: [...out!.data], inverse: [...inverse!.data] }).toEqual(reference(values, n));
      expect(out!.size).toBe(n);
    }
  });
  test("in compiled functions", () => {
    const values = draw(500, 70_000, 200);
    const [out, inverse] = compile((index: Tensor) => unique(index, 70_000))(ints(values));
    expect({ out: [...out!.data], inverse: [...inverse!.data] }).toEqual(reference(values, 70_000));
  });
});

/** Sums of rows in float64. */
function sums(parts: readonly { index: readonly number[]; rows: Tensor }[], n: number, width: number): Float64Array {
  const table = new Float64Array(n * width);
  for (const { index, rows } of parts) {
    const { data } = rows;
    index.forEach((row, j) => {
      for (let i = 0; i < width && row >= 0; i++) table[row * width + i]! += data[j * width + i]!;
    });
  }
  return table;
}

describe("coalesce", () => {
  // 40 values among 300 indices: sums span more than one block of terms.
  test.each([
    [1, 40],
    [3, 40],
    [16, 40],
    [37, 200],
    [128, 40],
  ])("sums rows of %i elements with the same index, of %i", (width, distinct) => {
    manualSeed(3);
    tidy(() => {
      const n = 5000;
      const index = draw(300, n, distinct);
      const rows = randn([300, width]);
      const made = coalesce([{ index: ints(index), rows }], n);
      const dense = apply(gatherDefinitions.indexAdd, [rows, ints(index)], { dim: 0, n }) as Tensor;
      const table = densify(made, n) as Tensor;
      expectClose(table.data, sums([{ index, rows }], n, width), 1e-6);
      expect(table.data).toEqual(dense.data);
      const numbers = (made.index as Tensor).data;
      const last = numbers.indexOf(-1);
      expect([...numbers.slice(0, last)]).toEqual([...new Set(index)].sort((a, b) => a - b));
      expect((made.rows as Tensor).data.slice(last * width).every((v) => v === 0)).toBe(true);
    });
  });

  test("joins several gradients, and ignores rows at −1", () => {
    const part = (index: number[]): SparseRows & { list: number[] } => ({
      index: ints(index),
      rows: randn([index.length, 5]),
      list: index,
    });
    manualSeed(4);
    const parts = [part([7, -1, 2]), part([]), part([2, 2, 0]), part([-1])];
    const made = coalesce(parts, 9);
    expect([...(made.index as Tensor).data]).toEqual([0, 2, 7, -1, -1, -1, -1]);
    const listed = parts.map(({ list, rows }) => ({ index: list, rows: rows as Tensor }));
    expectClose((densify(made, 9) as Tensor).data, sums(listed, 9, 5), 1e-6);
  });

  test("returns at most as many rows as the table has", () => {
    const index = draw(300, 7, 7);
    const rows = randn([300, 5]);
    const made = coalesce([{ index: ints(index), rows }], 7);
    expect([made.index.shape, made.rows.shape]).toEqual([[7], [7, 5]]);
    expectClose((densify(made, 7) as Tensor).data, sums([{ index, rows }], 7, 5), 1e-6);
  });

  test("of no rows is empty, and its table is 0", () => {
    const made = coalesce([{ index: ints([]), rows: zeros([0, 4]) }], 3);
    expect([made.index.shape, made.rows.shape]).toEqual([[0], [0, 4]]);
    expect((densify(made, 3) as Tensor).toArray()).toEqual([
      [0, 0, 0, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ]);
  });
});

test("reading a few rows of a large table counts as the work for these rows", () => {
  const table = { shape: [50_000, 128], dtype: "float32", size: 6_400_000 } as const;
  const index = { shape: [256], dtype: "int32", size: 256 } as const;
  const out = { shape: [256, 128], dtype: "float32", size: 32_768 } as const;
  expect(operationsOf(embeddingDefinition, { inputs: [table, index], outputs: [out], attributes: {} })).toBe(32_768);
});
