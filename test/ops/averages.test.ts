/** Average pooling agrees with means of windows in float64, and so do its first and second gradients. */
import * as f from "nabla";
import { compile, full, grad, manualSeed, nn, ones, rand, randn, type Tensor, tidy, vjp } from "nabla";
import { describe, expect, test } from "vitest";

const list = (x: Tensor): number[] => Array.from(x.data);
const tenth = Math.fround(0.1);

/**
 * The means of all windows in an image with one channel, in float64. If `own` is true, the divisor counts only pixels
 * of the image, not padding.
 */
function means64(x: Tensor, kernel: number, stride: number, pad: number, own: boolean): number[] {
  const [, h, w] = x.shape as [number, number, number];
  const out: number[] = [];
  for (let i = 0; i * stride + kernel <= h + 2 * pad; i++)
    for (let j = 0; j * stride + kernel <= w + 2 * pad; j++) {
      let [total, count] = [0, 0];
      for (let r = i * stride - pad; r < i * stride - pad + kernel; r++)
        for (let s = j * stride - pad; s < j * stride - pad + kernel; s++)
          if (r >= 0 && r < h && s >= 0 && s < w) [total, count] = [total + x.data[r * w + s]!, count + 1];
      out.push(total / (own ? count : kernel * kernel));
    }
  return out;
}

test("means of large values do not overflow, and infinities stay infinite", () => {
  tidy(() => {
    for (const kernel of [2, 3]) {
      const x = full([1, kernel, kernel, 5], 3e38);
      expect(list(f.avgPool2d(x, kernel)), `${kernel}`).toEqual(new Array(5).fill(Math.fround(3e38)));
      expect(list(f.avgPool2d(x.mul(2), kernel)), `${kernel}`).toEqual(new Array(5).fill(Infinity));
    }
  });
});

describe("the mean of equal pixels is exact", () => {
  const kinds: Record<string, (x: Tensor) => Tensor> = {
    "avgPool2d of 3": (x) => f.avgPool2d(x, 3),
    "avgPool2d of 3 × 5, stride 1": (x) => f.avgPool2d(x, [3, 5], { stride: 1 }),
    "avgPool2d of 7, countIncludePad false": (x) =>
      f.avgPool2d(x, 7, { stride: 2, padding: 3, countIncludePad: false }),
    AvgPool2d: (x) => new nn.AvgPool2d(6).forward(x),
    AvgPool1d: (x) => new nn.AvgPool1d(11).forward(x.reshape([1, 1024, x.shape[3]!])),
    AdaptiveAvgPool2d: (x) => new nn.AdaptiveAvgPool2d([5, 7]).forward(x),
    globalAvgPool2d: (x) => f.globalAvgPool2d(x),
  };
  test.each(Object.keys(kinds))("with %s, eager and compiled", (kind) => {
    tidy(() => {
      for (const channels of [1, 3, 17])
        for (const value of [0.1, -1 / 3, 3e38, 1e-38, 123456.789]) {
          const x = full([1, 32, 32, channels], value);
          for (const y of [kinds[kind]!(x), compile((v: Tensor) => kinds[kind]!(v))(x)])
            expect(new Set(list(y)), `${channels} channels of ${value}`).toEqual(new Set([Math.fround(value)]));
        }
    });
  });
});

describe.each([
  [2, 2, 0],
  [3, 1, 1],
  [3, 2, 1],
  [5, 4, 2],
  [2, 3, 0],
])("windows of %i, stride %i, padding %i", (kernel, stride, pad) => {
  test.each([true, false])(
    "have means that agree with float64, and gradients that are adjoint to pooling, countIncludePad %s",
    (countIncludePad) => {
      manualSeed(3);
      tidy(() => {
        const options = { stride, padding: pad, countIncludePad };
        const pool = (v: Tensor): Tensor => f.avgPool2d(v, kernel, options);
        const x = randn([1, 11, 13, 1]);
        const y = pool(x);
        const expected = means64(x, kernel, stride, pad, !countIncludePad);
        expect(y.size).toBe(expected.length);
        list(y).forEach((v, i) => expect(Math.abs(v - expected[i]!)).toBeLessThan(1e-7));
        const dy = randn(y.shape);
        const dx = vjp(pool, x)[1](dy)[0]!;
        // ⟨dy, pool(x)⟩ = ⟨pool*(dy), x⟩.
        const dot = (a: Tensor, b: Tensor): number => list(a).reduce((total, v, i) => total + v * b.data[i]!, 0);
        expect(Math.abs(dot(dy, y) - dot(dx, x))).toBeLessThan(1e-5);
        // Second order: d/dx Σ (d/dx ½ Σ pool(x)²)·v = pool*(pool(v)).
        const v = randn(x.shape);
        const inner = grad((u: Tensor) => pool(u).square().sum().mul(0.5));
        const second = grad((u: Tensor) => inner(u).mul(v).sum())(x);
        const direct = vjp(pool, x)[1](pool(v))[0]!;
        list(second).forEach((s, i) => expect(Math.abs(s - direct.data[i]!)).toBeLessThan(1e-6));
      });
    },
  );
});

test("the means of large windows are accurate", () => {
  tidy(() => {
    const n = 1_000_000;
    expect(new nn.AvgPool1d(n).forward(full([1, n, 1], 0.1)).item()).toBe(tenth);
    expect(list(f.avgPool2d(full([1, 1000, 1000, 3], 0.1), 1000))).toEqual([tenth, tenth, tenth]);
    const x = rand([1, 400, 400, 1]);
    const exact = list(x).reduce((a, b) => a + b, 0) / x.size;
    expect(f.avgPool2d(x, 400).item()).toBe(Math.fround(exact));
    const dx = grad((v: Tensor) => f.avgPool2d(v, 3, { stride: 1, padding: 1 }).sum())(ones([1, 5, 5, 2]));
    expect(dx.data[24]).toBe(1);
  });
});
