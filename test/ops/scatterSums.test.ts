/** Long sums are accurate in ops that add elements at indices, and in depthwise convolutions. */
import * as f from "nabla";
import { compile, full, grad, manualSeed, ones, rand, type Tensor, tensor, tidy, zeros } from "nabla";
import { describe, expect, test } from "vitest";

const n = 131_072;
const tenth = Math.fround(0.1);
const ints = (values: number[]): Tensor => tensor(values, { dtype: "int32" });
const same = (count: number, at: number): Tensor => ints(new Array(count).fill(at));
const worst = (x: Tensor, expected: number): number =>
  Array.from(x.data).reduce((most, v) => Math.max(most, Math.abs(v / expected - 1)), 0);

describe("131072 equal terms at one index add up exactly", () => {
  test("in indexAdd, for widths around a block of columns", () => {
    for (const inner of [1, 3, 4, 7, 8, 9, 17])
      tidy(() => {
        const y = zeros([3, inner]).indexAdd(0, same(n, 1), full([n, inner], 0.1));
        expect(worst(y.narrow(0, 1, 1), tenth * n)).toBeLessThan(5e-7);
        expect(Array.from(y.narrow(0, 2, 1).data)).toEqual(new Array(inner).fill(0));
      });
  });
  test("in indexAdd along the last dimension", () => {
    tidy(() => {
      const y = zeros([2, 3]).indexAdd(1, same(n, 2), full([2, n], 0.1));
      expect(worst(y.narrow(1, 2, 1), tenth * n)).toBeLessThan(5e-7);
    });
  });
  test("in scatterAdd along each dimension", () => {
    tidy(() => {
      const rows = zeros([2, 3]).scatterAdd(1, zeros([2, n]).to("int32"), full([2, n], 0.1));
      expect(worst(rows.narrow(1, 0, 1), tenth * n)).toBeLessThan(5e-7);
      const columns = zeros([3, 5]).scatterAdd(0, ones([n, 5]).to("int32"), full([n, 5], 0.1));
      expect(worst(columns.narrow(0, 1, 1), tenth * n)).toBeLessThan(5e-7);
    });
  });
  test("in gradients of embedding, indexSelect and gather", () => {
    tidy(() => {
      const at = same(n, 1);
      for (const d of [
        grad((w: Tensor) => f.embedding(at, w).mul(0.1).sum())(ones([4, 5])),
        grad((w: Tensor) => w.indexSelect(0, at).mul(0.1).sum())(ones([4, 5])),
      ])
        expect(worst(d.narrow(0, 1, 1), tenth * n)).toBeLessThan(5e-7);
      const d = grad((w: Tensor) => w.gather(0, at).mul(0.1).sum())(ones([4]));
      expect(worst(d.narrow(0, 1, 1), tenth * n)).toBeLessThan(5e-7);
    });
  });
});

test("indexAdd and scatterAdd of random terms agree with float64, eager and compiled", () => {
  manualSeed(3);
  tidy(() => {
    const [count, entries, inner] = [20_000, 37, 11];
    const x = rand([count, inner]);
    const index = Array.from({ length: count }, (_, j) => (j * j) % entries);
    const exact = new Float64Array(entries * inner);
    x.data.forEach((v, i) => {
      exact[index[Math.floor(i / inner)]! * inner + (i % inner)]! += v;
    });
    const at = ints(index);
    const wide = at
      .reshape([count, 1])
      .add(zeros([count, inner]).to("int32"))
      .to("int32");
    const add = (v: Tensor): Tensor => zeros([entries, inner]).indexAdd(0, at, v);
    const scatter = (v: Tensor): Tensor => zeros([entries, inner]).scatterAdd(0, wide, v);
    for (const op of [add, scatter]) {
      const y = Array.from(op(x).data);
      y.forEach((v, i) => expect(Math.abs(v - exact[i]!)).toBeLessThan(2e-7 * Math.max(1, exact[i]!)));
      expect(Array.from(compile(op)(x).data)).toEqual(y);
    }
  });
});

test("infinities at an index stay infinite, and opposite infinities give NaN", () => {
  const many = 40;
  const values = new Array(many).fill(1);
  values[3] = Number.POSITIVE_INFINITY;
  for (const op of ["indexAdd", "scatterAdd"] as const) {
    expect(zeros([2])[op](0, same(many, 1), tensor(values)).data[1]).toBe(Number.POSITIVE_INFINITY);
    values[30] = Number.NEGATIVE_INFINITY;
    expect(zeros([2])[op](0, same(many, 1), tensor(values)).data[1]).toBeNaN();
    values[30] = 1;
  }
});

test("scatterSum of int32 is exact, and wraps around at ±2³¹", () => {
  const many = 40;
  const values = new Array(many).fill(2 ** 24 + 1);
  const sums = f.scatterSum(ints(values), 0, same(many, 1), 2);
  expect([sums.dtype, ...sums.toArray()]).toEqual(["int32", 0, many * (2 ** 24 + 1)]);
  expect(f.scatterSum(ints([2 ** 31 - 1, 1]), 0, same(2, 0), 1).toArray()).toEqual([-(2 ** 31)]);
  expect(
    ints([5, 6])
      .scatterAdd(0, same(2, 1), ints([1, 2]))
      .toArray(),
  ).toEqual([5, 9]);
});

describe("depthwise convolutions", () => {
  test.each([1, 4, 5, 17])("with a kernel of 131072 taps and %i channels are accurate", (channels) => {
    tidy(() => {
      const y = f.conv1d(full([1, n, channels], 0.1), ones([channels, n, 1]), null, { groups: channels });
      expect(worst(y, tenth * n)).toBeLessThan(1e-6);
    });
  });
  test.each([
    [128, 128],
    [512, 40],
    [3, 5000],
  ])("with a kernel of %i×%i are accurate", (h, w) => {
    // prettier-ignore
    tidy(() => {
      expect(worst(f.conv2d(full([1, h, w, 1], 0.1), ones([1, h, w, 1])), tenth * h * w)).toBeLessThan(3e-6);
    });
  });
  test.each([1, 4, 5])("have an accurate weight gradient over a row of 131072 pixels with %i channels", (channels) => {
    tidy(() => {
      const dw = grad((w: Tensor) => f.conv1d(full([1, n, channels], 0.1), w, null, { groups: channels }).sum())(
        ones([channels, 3, 1]),
      );
      expect(worst(dw, tenth * (n - 2))).toBeLessThan(3e-6);
    });
  });
  test("have an accurate input gradient for a kernel of 4096 taps", () => {
    tidy(() => {
      const dx = grad((x: Tensor) => f.conv1d(x, full([1, 4096, 1], 0.1)).sum())(ones([1, 8191, 1]));
      expect(Math.abs(dx.data[4095]! / (tenth * 4096) - 1)).toBeLessThan(3e-6);
    });
  });
});
