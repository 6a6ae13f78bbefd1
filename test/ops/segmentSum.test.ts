/** Sums of a table's rows by segment, gathered and added in one pass. */
import { compile, grad, manualSeed, mul, randn, sum, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { apply } from "../../src/ops/definition/op.ts";
import { gatherDefinitions } from "../../src/ops/index/gather.ts";
import { addressOf, SplitEncoder } from "../support/oracle.ts";

const { segmentSum, indexSelect, indexAdd } = gatherDefinitions;
const ints = (values: readonly number[]): Tensor => tensor([...values], { dtype: "int32" });
const inSegments = (x: Tensor, rows: Tensor, segments: Tensor, n: number): Tensor =>
  apply(segmentSum, [x, rows, segments], { n }) as Tensor;
/** The sums of segmentSum, computed in two passes: indexSelect and indexAdd. */
const copied = (x: Tensor, rows: Tensor, segments: Tensor, n: number): Tensor =>
  apply(indexAdd, [apply(indexSelect, [x, rows], { dim: 0, n: x.shape[0]! }), segments], { dim: 0, n }) as Tensor;

const HEIGHT = 7;
const SEGMENTS = 5;
const WIDTHS = [1, 3, 16, 37];
/**
 * How many rows to gather: so few that sums have few terms, and so many that sums span more than one block of terms. Segment 3 is always
 * empty.
 */
const COUNTS = [4, 300];
const indices = (count: number): [rows: Tensor, segments: Tensor] => [
  ints(Array.from({ length: count }, (_, j) => (j * j + 3) % HEIGHT)),
  ints(Array.from({ length: count }, (_, j) => [4, 0, 2, 1][(j * 7) % 4]!)),
];

describe.each(COUNTS)("segmentSum of %i rows", (count) => {
  test.each(WIDTHS)("of %i elements agrees with float64, and has the bits of a sum of copies", (width) => {
    manualSeed(5);
    tidy(() => {
      const x = randn([HEIGHT, width]);
      const [rows, segments] = indices(count);
      const y = inSegments(x, rows, segments, SEGMENTS);
      const exact = new Float64Array(SEGMENTS * width);
      for (let j = 0; j < count; j++)
        for (let i = 0; i < width; i++) exact[segments.data[j]! * width + i]! += x.data[rows.data[j]! * width + i]!;
      y.data.forEach((v, i) => expect(Math.abs(v - exact[i]!)).toBeLessThan(1e-6 * Math.max(1, Math.abs(exact[i]!))));
      expect(y.data).toEqual(copied(x, rows, segments, SEGMENTS).data);
      expect(compile((t: Tensor) => inSegments(t, rows, segments, SEGMENTS))(x).data).toEqual(y.data);
    });
  });

  test.each(WIDTHS)("of %i elements has the same bits in shares", (width) => {
    manualSeed(6);
    tidy(() => {
      const x = randn([HEIGHT, width]);
      const [rows, segments] = indices(count);
      const y = inSegments(x, rows, segments, SEGMENTS);
      for (const shares of [2, 3]) {
        const again = y.mul(0).add(1) as Tensor;
        const address = (value: unknown) => addressOf(value === y ? again : (value as Tensor));
        segmentSum.encode(new SplitEncoder(shares), {
          inputs: [x, rows, segments],
          outputs: [y],
          attributes: { n: SEGMENTS },
          address,
        });
        expect(again.data).toEqual(y.data);
      }
    });
  });

  test("has the gradients of a sum of copies", () => {
    manualSeed(7);
    tidy(() => {
      const x = randn([HEIGHT, 3]);
      const weights = randn([SEGMENTS, 3]);
      const [rows, segments] = indices(count);
      const loss = (f: typeof copied) => (t: Tensor) => sum(mul(f(t, rows, segments, SEGMENTS).square(), weights));
      const second = (f: typeof copied) => grad((t: Tensor) => sum(grad(loss(f))(t).square()));
      const close = (a: Tensor, b: Tensor) => {
        const largest = Math.max(...b.data.map(Math.abs));
        a.data.forEach((v, i) => expect(Math.abs(v - b.data[i]!)).toBeLessThan(1e-5 * largest));
      };
      close(grad(loss(inSegments))(x), grad(loss(copied))(x));
      close(second(inSegments)(x), second(copied)(x));
    });
  });
});

test("an index that is out of range throws, or its row is skipped", () => {
  tidy(() => {
    const x = tensor([[1, 2], [3, 4]]); // biome-ignore format: a matrix
    const call = (rows: number[], segments: number[], skips = false) =>
      apply(segmentSum, [x, ints(rows), ints(segments)], { n: 2, skips }) as Tensor;
    expect(call([1, 1, 0], [0, 0, 1]).toArray()).toEqual([[6, 8], [1, 2]]); // biome-ignore format: a matrix
    expect(() => call([1, 2, 0], [0, 0, 1])).toThrow("segmentSum: index 2 at position 1 is outside 0 … 1.");
    expect(() => call([1, 1, 0], [0, 0, -1])).toThrow("segmentSum: index -1 at position 2 is outside 0 … 1.");
    expect(call([1, 2, 0, -1], [0, 0, 5, -1], true).toArray()).toEqual([[3, 4], [0, 0]]); // biome-ignore format: a matrix
  });
});
