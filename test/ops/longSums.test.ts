/** In every kernel, long sums agree with float64, and their errors do not grow with the length. */
import * as f from "nabla";
import { full, grad, jvp, losses, manualSeed, nn, ones, rand, randn, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";

const LONG = [65_536, 128_256];
const tenth = Math.fround(0.1);

/**
 * Asserts that relative errors are below the bound. Equal numbers are the worst case, because their rounding errors
 * have the same sign.
 */
function near(actual: Tensor | number, expected: number, bound: number): void {
  const values = typeof actual === "number" ? [actual] : Array.from(actual.data);
  expect(values.reduce((worst, v) => Math.max(worst, Math.abs(v / expected - 1)), 0)).toBeLessThan(bound);
}

describe.each(LONG)("products with inner size %i are accurate", (k) => {
  const bound = 1e-5;
  test.each([1, 2, 3, 4, 8, 9])("with %i rows, any number of columns, and transposed operands", (m) => {
    tidy(() => {
      for (const n of [1, 2, 8, 33]) {
        const [a, b] = [full([m, k], 0.1), ones([k, n])];
        near(a.matmul(b), tenth * k, bound);
        near(a.matmul(ones([n, k]).t()), tenth * k, bound);
        near(full([k, m], 0.1).t().matmul(b), tenth * k, bound);
        near(
          full([k, m], 0.1)
            .t()
            .matmul(ones([n, k]).t()),
          tenth * k,
          bound,
        );
      }
    });
  });
  test("in dot, matrix times vector, batches, linear, einsum, and a gradient", () => {
    tidy(() => {
      const [a, b] = [full([k], 0.1), ones([k])];
      near(a.dot(b), tenth * k, bound);
      near(full([5, k], 0.1).matmul(b), tenth * k, bound);
      near(a.matmul(ones([k, 5])), tenth * k, bound);
      near(full([3, 2, k], 0.1).matmul(ones([3, k, 1])), tenth * k, bound);
      near(f.linear(full([1, k], 0.1), ones([4, k])), tenth * k, bound);
      near(f.einsum("ik,jk->ij", full([2, k], 0.1), ones([3, k])), tenth * k, bound);
      near(grad((w: Tensor) => full([k, 1], 0.1).matmul(w).sum())(ones([1, 2])), tenth * k, bound);
    });
  });
});

describe.each(LONG)("rows of %i elements", (n) => {
  test("softmax, logSoftmax, logSumExp and cross-entropy are accurate for equal logits", () => {
    tidy(() => {
      for (const value of [0, 0.7, -3]) {
        const x = full([2, n], value);
        near(x.softmax(), 1 / n, 1e-6);
        near(x.logSoftmax(), -Math.log(n), 2e-7);
        near(x.logSumExp(-1), value + Math.log(n), 2e-7);
        near(losses.crossEntropy(x, tensor([0, 1], { dtype: "int32" })), Math.log(n), 2e-7);
        near(losses.crossEntropy(x, full([2, n], 1 / n)), Math.log(n) * n * Math.fround(1 / n), 1e-6); // prettier-ignore
      }
    });
  });
  test("values and gradients for random logits agree with float64", () => {
    manualSeed(7);
    tidy(() => {
      const x = randn([1, n]);
      const e = Array.from(x.data, (v) => Math.exp(v));
      const total = e.reduce((a, b) => a + b, 0);
      near(x.logSumExp(), Math.log(total), 2e-7);
      near(losses.crossEntropy(x, tensor([5], { dtype: "int32" })), Math.log(total) - x.data[5]!, 4e-7);
      const [p, dx, dl] = [
        x.softmax(),
        grad((v: Tensor) => v.logSumExp())(x),
        grad((v: Tensor) => losses.crossEntropy(v, tensor([5], { dtype: "int32" })))(x),
      ];
      for (let i = 0; i < n; i += 997) {
        for (const y of [p, dx, dl]) near(y.data[i]!, e[i]! / total, 1e-6);
      }
      // dx = p·(u − Σ u·p), u = 1, 3, 1, 3, …
      const u = Float32Array.from(x.data, (_, i) => 1 + 2 * (i % 2));
      const level = u.reduce((sum, v, i) => sum + v * e[i]!, 0) / total;
      const dp = grad((v: Tensor) => v.softmax().mul(tensor(u)).sum())(x);
      for (let i = 0; i < n; i += 997) near(dp.data[i]!, (e[i]! / total) * (u[i]! - level), 1e-6);
    });
  });
  test("attention over as many keys is accurate", () => {
    tidy(() => {
      const [q, k, v] = [ones([1, 1, 1, 8]), ones([1, 1, n, 8]), full([1, 1, n, 8], 0.1)];
      near(f.scaledDotProductAttention(q, k, v), tenth, 1e-5);
    });
  });
});

describe("sums of a million numbers are accurate", () => {
  const n = 1_000_000;
  test.each([1, 3, 8, 9])("in products of %i rows", (m) => {
    tidy(() => {
      const a = full([m, n], 0.1);
      for (const columns of [1, 9]) {
        near(a.matmul(ones([n, columns])), tenth * n, 1e-5);
        near(a.matmul(ones([columns, n]).t()), tenth * n, 1e-5);
      }
      near(
        full([n, m], 0.1)
          .t()
          .matmul(ones([n, 33])),
        tenth * n,
        1e-5,
      );
    });
  });
  test("along every axis, in running sums, and in gradients of broadcast operands", () => {
    tidy(() => {
      near(full([n], 0.1).sum(), tenth * n, 1e-7);
      near(full([n, 3], 0.1).sum(0), tenth * n, 1e-7);
      near(full([n, 17], 0.1).sum(0), tenth * n, 1e-7);
      near(full([2, n, 2], 0.1).sum(1), tenth * n, 1e-7);
      const running = full([n], 0.1).cumsum(0);
      for (const at of [1, 999, n - 1]) near(running.data[at]!, tenth * (at + 1), 1e-7);
      near(full([n, 2], 0.1).cumsum(0).data[2 * n - 1]!, tenth * n, 1e-7);
      for (const shape of [[1], [1, 1], []])
        near(grad((b: Tensor) => full([n, 1], 0.1).mul(b).sum())(ones(shape)), tenth * n, 1e-7); // prettier-ignore
      near(grad((b: Tensor) => full([n, 3], 0.1).mul(b).sum())(ones([3])), tenth * n, 1e-7);
      near(full([n], 0.1).norm(), tenth * Math.sqrt(n), 2e-7);
      near(full([n], 0.1).norm(1), tenth * n, 1e-7);
    });
  });
  test("in bias and weight gradients of linear, conv2d, layerNorm and batchNorm", () => {
    tidy(() => {
      const pull = (b: Tensor, y: Tensor) => grad((v: Tensor) => y.mul(0).add(v).mul(0.1).sum())(b);
      near(pull(ones([2]), ones([n, 2])), tenth * n, 1e-7);
      const images = rand([1, 1000, 1000, 1]);
      const w = ones([2, 1, 1, 1]);
      near(grad((b: Tensor) => f.conv2d(images, w, b).mul(0.1).sum())(ones([2])), tenth * n, 1e-7);
      const dw = grad((v: Tensor) =>
        f
          .conv2d(ones([1, 1000, 1000, 1]), v)
          .mul(0.1)
          .sum(),
      )(w);
      // The kernel adds blocks of pixels in sequence, so the error is larger.
      near(dw, tenth * n, 1e-4);
      const deep = grad((v: Tensor) =>
        f
          .conv2d(ones([1, 1000, 1000, 2]), v, null, { groups: 2 })
          .mul(0.1)
          .sum(),
      );
      near(deep(w), tenth * n, 1e-5);
      near(
        grad((v: Tensor) =>
          f
            .conv2d(ones([1, 1002, 1002, 1]), v)
            .mul(0.1)
            .sum(),
        )(ones([2, 3, 3, 1])),
        tenth * n,
        1e-4,
      );
      near(
        grad((b: Tensor) =>
          f
            .layerNorm(ones([n, 2]), 2, ones([2]), b)
            .mul(0.1)
            .sum(),
        )(ones([2])),
        tenth * n,
        1e-7,
      );
      near(
        grad((b: Tensor) =>
          f
            .batchNormTrain(ones([n, 2]), ones([2]), b)[0]!
            .mul(0.1)
            .sum(),
        )(ones([2])),
        tenth * n,
        1e-7,
      ); // prettier-ignore
    });
  });
  test("in conv2d over many channels, with one or several output channels", () => {
    tidy(() => {
      for (const out of [1, 2, 8]) {
        const channels = 65_536;
        near(f.conv2d(full([1, 1, 1, channels], 0.1), ones([out, 1, 1, channels])), tenth * channels, 1e-5);
        near(f.conv2d(full([1, 3, 4, channels], 0.1), ones([out, 3, 1, channels])), 3 * tenth * channels, 1e-5);
      }
    });
  });
  test("in the mean and variance of batch norm and layer norm", () => {
    manualSeed(8);
    tidy(() => {
      const x = randn([n, 2]).add(0.5);
      const moments = (at: number) => {
        const v = Array.from(x.data).filter((_, i) => i % 2 === at);
        const mean = v.reduce((a, b) => a + b, 0) / n;
        return { mean, variance: v.reduce((a, b) => a + (b - mean) ** 2, 0) / n };
      };
      const stats = f.batchNormTrain(x)[1]!.data;
      const row = f.layerNorm(x.t().clone(), n, null, null, { eps: 0 }).data;
      for (const c of [0, 1]) {
        const { mean, variance } = moments(c);
        near(stats[c]!, mean, 1e-6);
        near(stats[2 + c]!, variance, 1e-6);
        near(row[c * n + 9]!, (x.data[2 * 9 + c]! - mean) / Math.sqrt(variance), 1e-5);
      }
    });
  });
});

test("a recurrent layer's weight gradients over many steps are accurate", () => {
  tidy(() => {
    const steps = 20_000;
    const layer = new nn.RNN(1, 1, { nonlinearity: "relu" });
    for (const p of layer.parameters()) f.noGrad(() => p.copyFrom(new Float32Array(p.size).fill(0)));
    const bias = layer.parameters().find((p) => p.shape.length === 1)!;
    f.noGrad(() => bias.copyFrom([1]));
    const [y] = layer.forward(ones([steps, 1, 1]));
    y!.mul(0.1).sum().backward();
    for (const p of layer.parameters()) near(p.grad!, tenth * steps, 1e-4);
  });
});

test("forward-mode derivatives of long sums are accurate", () => {
  tidy(() => {
    const n = 65_536;
    const [, dy] = jvp((x: Tensor) => x.matmul(ones([n, 1])), [full([1, n], 0.1)], [full([1, n], 0.1)]);
    near(dy as Tensor, tenth * n, 1e-5);
  });
});
