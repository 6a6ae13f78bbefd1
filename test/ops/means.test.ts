/** Means and deviations are exact for equal numbers, and accurate far from 0. */
import * as f from "nabla";
import { full, grad, losses, manualSeed, nn, ones, randn, type Tensor, tensor, tidy, zeros } from "nabla";
import { describe, expect, test } from "vitest";

const COUNTS = [1, 2, 3, 5, 7, 11, 13, 31, 49, 100, 127, 1000, 4099, 65537, 200_003];
const VALUES = [0.1, 1e6, -0.3, 1 / 3, 123456.789, 1e-30, 1.1754944e-38, -7e30];

const flat = (x: Tensor): number[] => Array.from(x.data);

describe("the mean of n equal numbers is that number", () => {
  test.each(COUNTS)("for n = %i along every axis", (n) => {
    for (const value of VALUES) {
      tidy(() => {
        const same = Math.fround(value);
        expect(full([n], value).mean().item(), `mean of ${value}`).toBe(same);
        for (const inner of [3, 4, 18])
          for (const y of flat(full([n, inner], value).mean(0))) expect(y, `column of ${value}`).toBe(same);
        expect(flat(full([2, n], value).mean(-1))).toEqual([same, same]);
        expect(flat(full([2, n, 3], value).mean([0, 1]))).toEqual([same, same, same]);
        expect(full([n], value).std({ correction: 0 }).item(), `std of ${value}`).toBe(0);
        expect(flat(full([n, 5], value).var(0, { correction: 0 })), `var of ${value}`).toEqual(new Array(5).fill(0));
      });
    }
  });
  test("in losses and global average pooling", () => {
    tidy(() => {
      for (const n of [3, 7, 49]) {
        expect(losses.mse(full([n], 0.1), zeros([n])).item()).toBe(Math.fround(Math.fround(0.1) ** 2));
        expect(losses.l1(full([n], 0.1), zeros([n])).item()).toBe(Math.fround(0.1));
        const images = full([1, n, 3, 2], 0.1);
        expect(flat(f.globalAvgPool2d(images))).toEqual([Math.fround(0.1), Math.fround(0.1)]);
      }
    });
  });
});

describe("constant inputs are normalized to 0", () => {
  test.each([3, 7, 10, 49, 768, 5000])("by layer, group, instance and batch norm of %i equal numbers", (n) => {
    tidy(() => {
      for (const value of [1e6, 0.1, -3e4]) {
        const zero = (name: string, y: Tensor): void => {
          expect(y.abs().max().item(), `${name} of ${value}`).toBe(0);
        };
        zero("layerNorm", f.layerNorm(full([2, n], value), n));
        zero("groupNorm", f.groupNorm(full([1, n, 4], value), 2));
        zero("instance norm", f.groupNorm(full([1, n, 4], value), 4));
        zero("batch norm", f.batchNormTrain(full([n, 5], value))[0]!);
        zero("batch norm of one channel", f.batchNormTrain(full([n, 1], value))[0]!);
      }
    });
  });
  test("with gradient 0 for a constant upstream gradient", () => {
    tidy(() => {
      const dx = grad((x: Tensor) => f.layerNorm(x, 7).mul(3).sum())(full([2, 7], 1e6));
      expect(dx.abs().max().item()).toBe(0);
      const dy = grad((x: Tensor) => f.batchNormTrain(x)[0]!.square().sum())(full([7, 3], 0.1));
      expect(dy.abs().max().item()).toBe(0);
    });
  });
});

describe("statistics are accurate far from 0", () => {
  const far = (shape: number[]): { x: Tensor; rows: number[][] } => {
    const x = randn(shape).mul(3).add(1e7);
    const [rows, n] = shape as [number, number];
    return { x, rows: Array.from({ length: rows }, (_, r) => Array.from(x.data.slice(r * n, (r + 1) * n))) };
  };
  const moments = (row: number[]) => {
    const mean = row.reduce((a, b) => a + b, 0) / row.length;
    return { mean, variance: row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length };
  };
  test("for two adjacent numbers", () => {
    tidy(() => {
      expect(
        tensor([1e7, 1e7 + 1])
          .var()
          .item(),
      ).toBe(0.5);
      expect(flat(f.layerNorm(tensor([[1e7, 1e7 + 1]]), 2, null, null, { eps: 0 }))).toEqual([-1, 1]);
      expect(
        flat(
          f.batchNormTrain(
            tensor([
              [1e7, 0],
              [1e7 + 1, 1],
            ]),
            null,
            null,
            { eps: 0 },
          )[0]!,
        ),
      ).toEqual([-1, -1, 1, 1]); // prettier-ignore
    });
  });
  test.each([33, 700])("var, layerNorm and batchNorm of %i numbers near 10⁷ agree with float64", (n) => {
    manualSeed(4);
    tidy(() => {
      const { x, rows } = far([5, n]);
      const variances = flat(x.var(-1, { correction: 0 }));
      const columns = flat(x.t().var(0, { correction: 0 }));
      const [byRow, byColumn] = [flat(f.layerNorm(x, n)), flat(f.batchNormTrain(x.t())[0]!.t())];
      rows.forEach((row, r) => {
        const { mean, variance } = moments(row);
        expect(Math.abs(variances[r]! / variance - 1)).toBeLessThan(1e-6);
        expect(Math.abs(columns[r]! / variance - 1)).toBeLessThan(1e-6);
        row.forEach((v, i) => {
          const hat = (v - mean) / Math.sqrt(variance + 1e-5);
          expect(Math.abs(byRow[r * n + i]! - hat)).toBeLessThan(2e-6);
          expect(Math.abs(byColumn[r * n + i]! - hat)).toBeLessThan(2e-6);
        });
      });
    });
  });
  test("in the running mean of batch norm over 10⁶ pixels", () => {
    tidy(() => {
      manualSeed(5);
      const norm = new nn.BatchNorm2d(2, { momentum: 1 });
      const x = randn([4, 512, 512, 2]).mul(0.01).add(100);
      norm.forward(x);
      const data = x.data;
      for (const c of [0, 1]) {
        let sum = 0;
        for (let i = c; i < data.length; i += 2) sum += data[i]!;
        expect(norm.runningMean!.data[c]).toBe(Math.fround(sum / (data.length / 2)));
      }
    });
  });
});

test("means of n numbers agree with float64 to within half an ulp", () => {
  manualSeed(6);
  for (const n of [3, 1000, 100_000, 1_000_000]) {
    tidy(() => {
      const x = randn([n]).add(0.3);
      const exact = Array.from(x.data).reduce((a, b) => a + b, 0) / n;
      expect(Math.abs(x.mean().item() - exact)).toBeLessThanOrEqual(
        1.01 * 2 ** -24 * Math.abs(exact) + 1e-7 / Math.sqrt(n),
      );
      expect(
        Math.abs(
          x
            .reshape([n, 1])
            .mul(ones([1, 3]))
            .mean(0).data[1]! /
            exact -
            1,
        ),
      ).toBeLessThan(1e-6);
    });
  }
});
