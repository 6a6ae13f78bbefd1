/** How `npm run bench -- --against` compares the timings of two trees. */
import { describe, expect, test } from "vitest";
import {
  type Comparison,
  compare,
  comparisonTable,
  medianInterval,
  summaryLine,
  unmatched,
} from "../../bench/compare.ts";
import type { Row } from "../../bench/measure.ts";
import { seeded } from "../support/oracle.ts";

const row = (median: number, more: Partial<Row> = {}): Row => ({
  suite: "step",
  case: "MLP",
  impl: "nabla",
  unit: "µs",
  median,
  min: median,
  samples: 1,
  ...more,
});
/** One row per turn, with the given times. */
const turns = (times: number[], more: Partial<Row> = {}): Row[][] => times.map((time) => [row(time, more)]);
const one = (a: number[], b: number[], more: Partial<Row> = {}): Comparison =>
  compare(turns(a, more), turns(b, more))[0]!;

describe("medianInterval", () => {
  test("returns the fourth and the twelfth of 15 values, which contain the median with a probability of 96.5 %", () => {
    expect(medianInterval([15, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 1])).toEqual([4, 12]);
  });
  test("returns the sixth and the sixteenth of 21 values, and the smallest and the largest of six values", () => {
    expect(medianInterval(Array.from({ length: 21 }, (_, i) => i + 1))).toEqual([6, 16]);
    expect(medianInterval([1, 2, 3, 4, 5, 6])).toEqual([1, 6]);
    expect(medianInterval([3, 1, 2])).toEqual([1, 3]);
    expect(medianInterval([7])).toEqual([7, 7]);
  });
  test("contains the true median in at least 95 % of draws", () => {
    const random = seeded(3);
    let contained = 0;
    for (let i = 0; i < 4000; i++) {
      const [low, high] = medianInterval(Array.from({ length: 15 }, random));
      contained += Number(low <= 0.5 && high >= 0.5);
    }
    expect(contained / 4000).toBeGreaterThan(0.95);
    expect(contained / 4000).toBeLessThan(0.98);
  });
});

describe("compare", () => {
  test("B is slower or faster only if it differs from A by more than 3 %", () => {
    const a = new Array<number>(16).fill(100);
    const b = (time: number): number[] => new Array<number>(15).fill(time);
    expect(one(a, b(104))).toMatchObject({ a: 100, b: 104, ratio: 1.04, self: 1, noise: 0, verdict: "slower" });
    expect(one(a, b(102.9)).verdict).toBe("");
    expect(one(a, b(97.1)).verdict).toBe("");
    expect(one(a, b(90)).verdict).toBe("faster");
  });
  test("compares rates as times: a lower rate is slower", () => {
    const rates = { unit: "GFLOP/s" } as const;
    const slower = one([60, 60, 60], [50, 50], rates);
    expect(slower.ratio).toBeCloseTo(1.2, 12);
    expect(slower).toMatchObject({ a: 60, b: 50, verdict: "slower" });
    expect(one([50, 50, 50], [60, 60], rates).verdict).toBe("faster");
  });
  test("cancels a drift of the machine: each B is compared with the A before it and the A after it", () => {
    // The machine slows down by a factor of 2 in equal steps.
    const at = (k: number): number => 100 * 2 ** (k / 30);
    const a = Array.from({ length: 16 }, (_, i) => at(2 * i));
    const same = one(
      a,
      Array.from({ length: 15 }, (_, i) => at(2 * i + 1)),
    );
    expect(same.ratio).toBeCloseTo(1, 12);
    expect(
      one(
        a,
        Array.from({ length: 15 }, (_, i) => 1.1 * at(2 * i + 1)),
      ).ratio,
    ).toBeCloseTo(1.1, 12);
    // The drift between two runs of A counts as noise.
    expect(same.noise).toBeCloseTo(2 ** (2 / 30) - 1, 12);
  });
  test("noise between the runs of A raises the limit", () => {
    const a = Array.from({ length: 16 }, (_, i) => (i % 2 ? 90 : 110));
    const noisy = one(a, new Array<number>(15).fill(110));
    expect(noisy.noise).toBeGreaterThan(0.1);
    expect(noisy.ratio).toBeGreaterThan(1.08);
    expect(noisy.verdict).toBe("");
  });
  test("single outliers do not change the ratio", () => {
    expect(one([100, 100, 500, 100, 100, 100, 100, 100], [100, 100, 100, 700, 100, 100, 100]).ratio).toBe(1);
  });
  test("startup may take a millisecond longer, regardless of the percentage", () => {
    const start = { suite: "start" };
    expect(one([50_000, 50_000], [50_990], start).verdict).toBe("");
    expect(one([50_000, 50_000], [51_100], start).verdict).toBe("slower");
  });
  test("compares only rows that both trees print in every turn, and names the others", () => {
    const more = (rows: Row[][], extra: Partial<Row>): Row[][] => rows.map((list) => [...list, row(1, extra)]);
    const a = more(turns([1, 1, 1]), { impl: "old" });
    const b = more(more(turns([1, 1]), { case: "CNN" }), { impl: "new" });
    expect(compare(a, b).map(({ impl }) => impl)).toEqual(["nabla"]);
    expect(unmatched(a, b)).toEqual({ a: ["step MLP old"], b: ["step CNN nabla", "step MLP new"] });
    const changed = compare(turns([1, 1]), turns([1], { unit: "GFLOP/s" }));
    expect(changed).toEqual([]);
    expect(compare([[], ...turns([1])], turns([1]))).toEqual([]);
    expect(() => compare(turns([1]), turns([1]))).toThrow("compare: A must have one more turn than B, got 1 and 1.");
  });
});

test("the table shows both medians, both ratios, the noise and the verdict; the summary names the slower rows", () => {
  const a = [turns([200, 200, 200]), turns([50, 50, 50], { impl: "eager" })];
  const b = [turns([240, 240]), turns([50, 50], { impl: "eager" })];
  const join = (lists: Row[][][]): Row[][] => lists[0]!.map((_, i) => lists.flatMap((list) => list[i]!));
  const compared = compare(join(a), join(b));
  expect(
    comparisonTable(compared)
      .split("\n")
      .map((line) => line.split(/\s{2,}/)),
  ).toEqual([
    ["case", "impl", "A", "B", "unit", "B/A time", "A/A time", "noise"],
    ["MLP", "nabla", "200", "240", "µs", "+20.0 %", "+0.0 %", "±0.0 %", "slower"],
    ["", "eager", "50.0", "50.0", "µs", "+0.0 %", "+0.0 %", "±0.0 %"],
  ]);
  expect(summaryLine(compared)).toBe(
    "1 of 2 rows are slower by more than 3 % (a start: 1 ms) plus noise:\n  step MLP nabla (+20.0 %)",
  );
  expect(summaryLine(compare(turns([1, 1]), turns([1])))).toBe(
    "None of 1 rows is slower by more than 3 % (a start: 1 ms) plus noise.",
  );
});
