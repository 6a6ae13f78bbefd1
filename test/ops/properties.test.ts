/** Broadcasting and shape ops agree with naive loops on random shapes and arguments from fast-check. */
import fc from "fast-check";
import { arange, concat, grad, type Tensor, tensor, tidy, zeros } from "nabla";
import { describe, expect, test } from "vitest";
import type { SliceRange } from "../../src/ops/shape/shape.ts";
import { runs } from "../support/runs.ts";

type Nested = number | Nested[];
const dims = (max = 4, rank = 4) => fc.array(fc.integer({ min: 0, max }), { maxLength: rank });
const filled = (shape: number[]) => arange(shape.reduce((a, b) => a * b, 1)).reshape(shape);

/** Checks a property. Each run has its own scope. */
const check = <A extends unknown[]>(
  arbitraries: { [K in keyof A]: fc.Arbitrary<A[K]> },
  f: (...args: A) => void,
): void => {
  fc.assert(
    fc.property(fc.tuple(...(arbitraries as fc.Arbitrary<unknown>[])), (args) => tidy(() => f(...(args as A)))),
    { numRuns: runs(300), seed: 7 },
  );
};

describe("broadcasting", () => {
  /** Two shapes that broadcast: copies of one shape, with some sizes replaced by 1 and leading sizes dropped. */
  const pair = dims()
    .chain((shape) =>
      fc.tuple(
        fc.constant(shape),
        fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
        fc.nat({ max: 4 }),
        fc.nat({ max: 4 }),
      ),
    )
    .map(([shape, ones, dropA, dropB]) => {
      const squash = (offset: number, drop: number) =>
        shape.map((n, i) => (ones[offset + i] ? 1 : n)).slice(Math.min(drop, shape.length));
      return [squash(0, dropA), squash(4, dropB)] as [number[], number[]];
    });

  test("a − b agrees with a naive loop that follows NumPy's rule", () => {
    check([pair], ([a, b]) => {
      const [x, y] = [filled(a), filled(b).mul(100)];
      const out = x.sub(y);
      const rank = Math.max(a.length, b.length);
      const sizes = Array.from({ length: rank }, (_, i) => {
        const [m, n] = [a[a.length - rank + i] ?? 1, b[b.length - rank + i] ?? 1];
        return m === 1 ? n : m;
      });
      expect(out.shape).toEqual(sizes);
      const place = (shape: number[], index: number[]) =>
        shape.reduce((at, n, i) => at * n + (n === 1 ? 0 : index[index.length - shape.length + i]!), 0);
      const [xs, ys, zs] = [x.data, y.data, out.data];
      for (let flat = 0; flat < zs.length; flat++) {
        let rest = flat;
        const index = sizes.map(() => 0);
        for (let d = rank - 1; d >= 0; d--) {
          index[d] = rest % sizes[d]!;
          rest = Math.floor(rest / sizes[d]!);
        }
        expect(zs[flat]).toBe(xs[place(a, index)]! - ys[place(b, index)]!);
      }
    });
  });

  test("gradients have the operands' shapes, summed over broadcast dimensions", () => {
    check([pair], ([a, b]) => {
      const [ga, gb] = grad((x: Tensor, y: Tensor) => x.add(y).sum(), [0, 1])(filled(a), filled(b));
      const n = filled(a).add(filled(b)).size;
      for (const [g, shape] of [
        [ga, a],
        [gb, b],
      ] as [Tensor, number[]][]) {
        expect(g.shape).toEqual(shape);
        const repeats = g.size ? n / g.size : 0;
        expect(Array.from(g.data).every((v) => v === repeats)).toBe(true);
      }
    });
  });
});

describe("shape ops", () => {
  const shaped = dims(5, 4);

  test("permute moves each element to its new position, and the inverse order restores the tensor", () => {
    check([shaped, fc.array(fc.nat(), { minLength: 4, maxLength: 4 })], (shape, keys) => {
      const order = shape.map((_, i) => i).sort((i, j) => keys[i]! - keys[j]!);
      const x = filled(shape);
      const moved = x.permute(order);
      expect(moved.shape).toEqual(order.map((d) => shape[d]));
      expect(moved.permute(order.map((_, i) => order.indexOf(i))).toArray()).toEqual(x.toArray());
      const dig = (nested: Nested, index: number[]): Nested =>
        index.reduce<Nested>((part, i) => (part as Nested[])[i]!, nested);
      if (x.size) {
        const index = shape.map((n, d) => keys[d]! % n);
        expect(
          dig(
            moved.toArray() as Nested,
            order.map((d) => index[d]!),
          ),
        ).toEqual(dig(x.toArray() as Nested, index));
      }
    });
  });

  test("slice agrees with Array.slice for steps of 1, and with NumPy's rule for other steps", () => {
    const bound = fc.option(fc.integer({ min: -8, max: 8 }), { nil: null });
    const step = fc.constantFrom(1, 2, 3, -1, -2);
    check([fc.integer({ min: 0, max: 6 }), bound, bound, step], (n, start, end, by) => {
      const all = Array.from({ length: n }, (_, i) => i);
      const expected: number[] = [];
      const clip = (v: number, low: number, high: number) => Math.max(low, Math.min(high, v < 0 ? v + n : v));
      const from = start === null ? (by > 0 ? 0 : n - 1) : clip(start, by > 0 ? 0 : -1, by > 0 ? n : n - 1);
      const to = end === null ? (by > 0 ? n : -1) : clip(end, by > 0 ? 0 : -1, by > 0 ? n : n - 1);
      for (let i = from; by > 0 ? i < to : i > to; i += by) expected.push(all[i]!);
      const range: SliceRange = [start, end, by];
      expect(arange(n).slice(range).toArray()).toEqual(expected);
      if (by === 1) expect(expected).toEqual(all.slice(start ?? 0, end ?? undefined));
    });
  });

  test("concat undoes split along any dim", () => {
    check([shaped.filter((s) => s.length > 0), fc.nat(), fc.integer({ min: 1, max: 4 })], (shape, d, size) => {
      const dim = d % shape.length;
      const x = filled(shape);
      const parts = x.split(size, dim);
      if (parts.length) expect(concat(parts, dim).toArray()).toEqual(x.toArray());
      else expect(shape[dim]).toBe(0);
    });
  });

  test("a negative pad undoes a pad", () => {
    check([shaped, fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 8, maxLength: 8 })], (shape, sizes) => {
      const padding = sizes.slice(0, 2 * shape.length);
      const x = filled(shape);
      const around = x.pad(padding, -1);
      expect(around.shape).toEqual(
        shape.map((n, i) => n + padding[2 * (shape.length - 1 - i)]! + padding[2 * (shape.length - 1 - i) + 1]!),
      );
      expect(around.pad(padding.map((p) => -p)).toArray()).toEqual(x.toArray());
      expect(around.ne(-1).to("float32").sum().item()).toBe(x.size);
    });
  });

  test("flipping twice is the identity, and reshape keeps the order of elements", () => {
    check([shaped, fc.nat()], (shape, d) => {
      const x = filled(shape);
      if (shape.length)
        expect(
          x
            .flip(d % shape.length)
            .flip(d % shape.length)
            .toArray(),
        ).toEqual(x.toArray());
      expect(x.reshape([x.size]).toArray()).toEqual(arange(x.size).toArray());
    });
  });

  test("a sum over any set of dims equals successive sums over each dim", () => {
    check([shaped, fc.nat({ max: 15 })], (shape, mask) => {
      const over = shape.map((_, i) => i).filter((i) => mask & (1 << i));
      const x = filled(shape);
      const oneByOne = over.reduceRight((part: Tensor, d) => part.sum(d), x);
      const together = over.length ? x.sum(over) : x;
      expect(together.toArray()).toEqual(oneByOne.toArray());
      expect(x.sum(over.length ? over : undefined, { keepdim: true }).shape.length).toBe(shape.length);
    });
  });

  test("indexSelect, gather and their gradients agree with naive loops", () => {
    check(
      [fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 4 }), fc.array(fc.nat(), { maxLength: 6 })],
      (rows, cols, picks) => {
        const x = filled([rows, cols]);
        const index = picks.map((p) => p % rows);
        const at = tensor(Int32Array.from(index));
        expect(x.indexSelect(0, at).toArray()).toEqual(
          index.map((i) => Array.from({ length: cols }, (_, j) => i * cols + j)),
        );
        const g = grad((z: Tensor) => z.indexSelect(0, at).sum())(x);
        const counts = Array.from({ length: rows }, (_, i) => index.filter((v) => v === i).length);
        expect(g.toArray()).toEqual(counts.map((c) => new Array<number>(cols).fill(c)));
      },
    );
  });
});

test("matmul agrees with a naive loop for all shapes", () => {
  const size = fc.integer({ min: 0, max: 9 });
  check([size, size, size, fc.boolean(), fc.boolean()], (m, k, n, ta, tb) => {
    const [a, b] = [filled(ta ? [k, m] : [m, k]).sub(3), filled(tb ? [n, k] : [k, n]).mul(0.5)];
    const c = (ta ? a.t() : a).matmul(tb ? b.t() : b);
    expect(c.shape).toEqual([m, n]);
    const [x, y] = [a.data, b.data];
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let e = 0;
        for (let p = 0; p < k; p++) e += x[ta ? p * m + i : i * k + p]! * y[tb ? j * k + p : p * n + j]!;
        expect(c.data[i * n + j]).toBe(e);
      }
    }
  });
  expect(
    zeros([3, 0])
      .matmul(zeros([0, 2]))
      .toArray(),
  ).toEqual([
    [0, 0],
    [0, 0],
    [0, 0],
  ]);
});
