/**
 * Means, deviations and norms overflow or underflow only if their exact results do, and their first and second
 * gradients are finite.
 */
import * as f from "nabla";
import { compile, full, grad, losses, manualSeed, nn, randn, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";

const list = (x: Tensor): number[] => Array.from(x.data);

/** Asserts that errors are small relative to the largest expected element. */
function near(actual: Tensor, expected: ArrayLike<number>, bound = 2e-6): void {
  const scale = Array.from(expected).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const worst = list(actual).reduce((most, v, i) => Math.max(most, Math.abs(v - expected[i]!) / scale), 0);
  expect(actual.size).toBe(expected.length);
  expect(worst).toBeLessThan(bound);
}

describe("sums and means overflow only if their exact result does", () => {
  const big = Math.fround(3e38);
  test.each([2, 5, 32, 33, 1000, 70_000, 200_003])("for %i numbers near the largest float32", (n) => {
    tidy(() => {
      expect(full([n], 3e38).mean().item()).toBe(big);
      for (const inner of [1, 3, 16, 37]) expect(new Set(list(full([n, inner], 3e38).mean(0)))).toEqual(new Set([big]));
      expect(compile((x: Tensor) => x.mean())(full([n], -3e38)).item()).toBe(-big);
      const opposed = f.concat([full([n], 3e38), full([n], -3e38), tensor([1e33])]);
      near(opposed.sum(), [1e33]);
      near(
        opposed
          .reshape([-1, 1])
          .mul(f.ones([1, 5]))
          .sum(0),
        new Array(5).fill(1e33),
      );
      expect(full([n], 3e38).sum().item()).toBe(Infinity);
      expect(
        f
          .concat([full([n], 1), tensor([Number.NaN])])
          .mean()
          .item(),
      ).toBeNaN();
      expect(
        f
          .concat([full([n], 1), tensor([-Infinity])])
          .mean()
          .item(),
      ).toBe(-Infinity);
    });
  });
});

describe.each([1e20, 3e30, 1e-20, 1e-23, 1e-30])("for numbers near %d", (scale) => {
  manualSeed(11);
  const unit = [0.3, -1.2, 2.5, 0.7, -0.4, 1.1, -2.2, 0.9, 1.7, -0.1];
  const x = (): Tensor => tensor(unit.map((v) => v * scale));
  const n = unit.length;
  const mean = unit.reduce((a, b) => a + b, 0) / n;
  const variance = unit.reduce((a, b) => a + (b - mean) ** 2, 0) / n;
  const hat = unit.map((v) => (v - mean) / Math.sqrt(variance));

  test("std and its first and second gradients are correct along every axis", () => {
    tidy(() => {
      const expected = Math.sqrt((variance * n) / (n - 1)) * scale;
      near(x().std(), [expected]);
      near(compile((v: Tensor) => v.std())(x()), [expected]);
      for (const inner of [3, 5])
        near(
          x()
            .reshape([n, 1])
            .mul(f.ones([1, inner]))
            .std(0),
          new Array(inner).fill(expected),
        ); // prettier-ignore
      near(x().std({ correction: 0 }), [Math.sqrt(variance) * scale]);
      near(
        grad((v: Tensor) => v.std({ correction: 0 }))(x()),
        hat.map((h) => h / n),
      );
      // std is homogeneous: its Hessian times x is 0.
      const slope = grad((v: Tensor) => v.std());
      const along = grad((v: Tensor) => slope(v).mul(tensor(unit)).sum())(x());
      expect(list(along.abs()).every((v) => v < 1e-6 / Math.min(1, scale))).toBe(true);
    });
  });

  test("var is correct for a single outlier, even if its square overflows or underflows", () => {
    tidy(() => {
      const m = 1_000_000;
      const one = f.concat([tensor([scale]), f.zeros([m - 1])]);
      const expected = (scale * scale * (1 - 1 / m)) / m;
      const got = one.var({ correction: 0 }).item();
      if (expected > 3.4e38) expect(got).toBe(Infinity);
      else expect(Math.abs(got - expected)).toBeLessThanOrEqual(Math.max(2e-6 * expected, 2 ** -149));
    });
  });

  test("layer, group, instance, batch and RMS norm are correct without ε", () => {
    tidy(() => {
      const rows = x().reshape([1, n]);
      const columns = x().reshape([n, 1]);
      const options = { eps: 0 };
      near(f.layerNorm(rows, n, null, null, options), hat);
      near(compile((v: Tensor) => f.layerNorm(v, n, null, null, options))(rows), hat);
      near(
        f.layerNorm(rows, n, full([n], 2), full([n], 3), options),
        hat.map((h) => 2 * h + 3),
      ); // prettier-ignore
      near(f.groupNorm(x().reshape([1, 5, 2]), 1, null, null, options), hat);
      near(f.batchNormTrain(columns, null, null, options)[0]!, hat);
      const wide = columns.mul(tensor([[1, 2, -1, 1, 3]]));
      const each = [1, 1, -1, 1, 1];
      near(
        f.batchNormTrain(wide, null, null, options)[0]!,
        hat.flatMap((h) => each.map((s) => s * h)),
      );
      near(
        f.groupNorm(wide.reshape([1, n, 5]), 5, null, null, options),
        hat.flatMap((h) => each.map((s) => s * h)),
      );
      const square = unit.reduce((a, b) => a + b * b, 0) / n;
      near(
        f.rmsNorm(rows, n, null, options),
        unit.map((v) => v / Math.sqrt(square)),
      ); // prettier-ignore
    });
  });

  test("gradients of norms scale with 1/x, in rows and columns, and second gradients are finite", () => {
    tidy(() => {
      const dy = tensor([0.5, 1, -0.3, 0.2, 0.9, -1.4, 0.1, 0.6, -0.8, 0.4]);
      const d = list(dy);
      const level = d.reduce((a, b) => a + b, 0) / n;
      const along = d.reduce((a, v, i) => a + v * hat[i]!, 0) / n;
      const expected = d.map((v, i) => (v - level - hat[i]! * along) / Math.sqrt(variance));
      const slopes: ((v: Tensor) => Tensor)[] = [
        (v) =>
          f
            .layerNorm(v.reshape([1, n]), n, null, null, { eps: 0 })
            .reshape([n])
            .mul(dy)
            .sum(),
        (v) =>
          f
            .batchNormTrain(v.reshape([n, 1]).mul(f.ones([1, 3])), null, null, { eps: 0 })[0]!
            .narrow(1, 1, 1)
            .reshape([n])
            .mul(dy)
            .sum(), // prettier-ignore
      ];
      for (const loss of slopes) {
        const dx = grad(loss)(x());
        near(dx.mul(Math.min(scale, 1e30)).mul(scale / Math.min(scale, 1e30)), expected);
        if (scale < 1e-20) continue; // 1/x² overflows
        const second = grad((v: Tensor) => grad(loss)(v).mul(v).sum())(x());
        expect(list(second).every(Number.isFinite)).toBe(true);
      }
    });
  });

  test("the norm and cosineEmbedding are correct", () => {
    tidy(() => {
      near(x().norm(), [Math.sqrt(unit.reduce((a, b) => a + b * b, 0)) * scale]);
      if (scale > 1) expect(losses.cosineEmbedding(x(), x(), tensor(1)).item()).toBeLessThan(3e-7);
    });
  });
});

test("a column that overflows does not change the bits of other columns", () => {
  manualSeed(12);
  tidy(() => {
    const x = randn([9, 4]);
    const scales = tensor([[1, 1e25, 1, 1]]);
    const [alone, beside] = [x, x.mul(scales)].map((v) => {
      const y = f.batchNormTrain(v)[0]!;
      const dx = grad((u: Tensor) => f.batchNormTrain(u)[0]!.mul(x).sum())(v);
      return [y, dx, v.mean(0), v.std(0)].map((t) => t.reshape([-1, 4]).t().clone());
    });
    alone!.forEach((t, i) => {
      for (const column of [0, 2, 3])
        expect(list(beside![i]!.narrow(0, column, 1))).toEqual(list(t.narrow(0, column, 1)));
    });
  });
});

test("layerNorm's second derivatives are correct if all numbers are equal", () => {
  tidy(() => {
    // At σ = 0, d²/dx² of ½ Σ x̂² is (δ − 1/n)/ε.
    const eps = 0.25;
    const loss = (v: Tensor): Tensor => f.layerNorm(v, 4, null, null, { eps }).square().sum().mul(0.5);
    const hessian = f.hessian(loss)(full([4], 3));
    near(
      hessian.reshape([16]),
      Array.from({ length: 16 }, (_, i) => (Number(i % 5 === 0) - 0.25) / eps),
    );
  });
});

test("layer, RMS and batch norm of 1e20 are correct with their default ε", () => {
  tidy(() => {
    const x = tensor([[1e20, -2e20, 4e20, 0.5e20]]);
    const unit = f.layerNorm(tensor([[1, -2, 4, 0.5]]), 4, null, null, { eps: 0 });
    near(new nn.LayerNorm(4).forward(x), list(unit));
    near(new nn.RMSNorm(4).forward(x), list(f.rmsNorm(tensor([[1, -2, 4, 0.5]]), 4, null, { eps: 0 })));
    near(new nn.BatchNorm1d(1).forward(x.t()), list(unit));
  });
});

test("batch norm in evaluation mode is accurate for channels far from 0, eager and compiled", () => {
  manualSeed(13);
  tidy(() => {
    const x = randn([1000, 3])
      .mul(0.01)
      .add(tensor([1000, -3e4, 0]));
    const [weight, bias] = [tensor([2, -1, 0.5]), tensor([0.1, 0, -3])];
    const [average, variance] = [x.mean(0), x.var(0, { correction: 0 })];
    const centred = x.sub(average).data;
    const rate = Array.from(variance.data, (v) => 1 / Math.sqrt(v + 1e-5));
    const plain = list(x).map((_, i) => centred[i]! * rate[i % 3]!);
    const bare = (v: Tensor): Tensor => f.batchNorm(v, average, variance);
    const affine = (v: Tensor): Tensor => f.batchNorm(v, average, variance, weight, bias);
    for (const norm of [bare, compile(bare)]) near(norm(x), plain);
    for (const norm of [affine, compile(affine)])
      near(
        norm(x),
        plain.map((v, i) => v * weight.data[i % 3]! + bias.data[i % 3]!),
      );
  });
});

test.each([2, 3, 5, 7, 10, 11, 97, 1000])("label smoothing of 1 on %i equal logits has a gradient of 0", (classes) => {
  tidy(() => {
    const labels = tensor([0, classes - 1], { dtype: "int32" });
    for (const value of [0, 0.7, -30])
      for (const loss of [
        (x: Tensor) => losses.crossEntropy(x, labels, { labelSmoothing: 1 }),
        (x: Tensor) => losses.crossEntropy(x, full([2, classes], 1 / classes)),
        (x: Tensor) => losses.crossEntropy(x, labels, { labelSmoothing: 1, weight: full([classes], 3) }),
      ])
        for (const slope of [grad(loss), compile(grad(loss))])
          expect(list(slope(full([2, classes], value)).abs()).every((v) => v === 0)).toBe(true);
  });
});
