/** Norms of elements with squares or powers outside float32's range: the op, its gradients, and everything that uses it. */
import {
  compile,
  grad,
  hessian,
  losses,
  manualSeed,
  nn,
  norm,
  optim,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { expectClose } from "../support/oracle.ts";

const SIZES = [1e-38, 1e-30, 1e-20, 1, 1e20, 1e30, 1e37];
const relative = (got: ArrayLike<number>, want: readonly number[], what: string, tolerance = 1e-6): void => {
  expect(got.length).toBe(want.length);
  const largest = Math.max(...want.map(Math.abs));
  want.forEach((v, i) => {
    expect(Math.abs(got[i]! - v) / largest, `${what}: element ${i} must be ${v}, got ${got[i]}`).toBeLessThan(
      tolerance,
    );
  });
};
/** The norm of float32 values, in float64. */
const exact = (x: readonly number[], p: number): number => {
  const top = Math.max(...x.map(Math.abs));
  return top * x.reduce((sum, v) => sum + Math.abs(v / top) ** p, 0) ** (1 / p);
};

describe("norms overflow and underflow only if their results do", () => {
  for (const p of [2, 1, 3, 1.5, 0.5, 4, 10, Infinity, -Infinity, -1, -2])
    test(`p = ${p}: values and gradients are correct for tiny to huge elements`, () => {
      for (const size of SIZES) {
        const x = [3, -4, 12].map((v) => Math.fround(v * size * (p > 0 && p < 1 ? 0.01 : 0.1)));
        const t = tensor(x);
        const want =
          p === Infinity ? Math.max(...x.map(Math.abs)) : p === -Infinity ? Math.min(...x.map(Math.abs)) : exact(x, p);
        relative([norm(t, p).item()], [want], `${size}`, 3e-6);
        relative([compile((v: Tensor) => norm(v, p))(t).item()], [want], `${size}, compiled`, 3e-6);
        if (!Number.isFinite(p)) continue;
        // d‖x‖/dx = sign(x)·(|x|/‖x‖)ᵖ⁻¹
        const slope = x.map((v) => Math.sign(v) * (Math.abs(v) / want) ** (p - 1));
        relative(grad((v: Tensor) => norm(v, p))(t).data, slope, `${size}: gradient`, 1e-5);
      }
    });

  test("norms along any dims, with keepdim, agree with those of scaled elements", () => {
    const values = Array.from({ length: 2 * 3 * 4 }, (_, i) => Math.sin(i + 1));
    for (const size of [1e-30, 1, 1e30]) {
      const x = tensor(
        values.map((v) => v * size),
        [2, 3, 4],
      );
      for (const dims of [0, 1, 2, [0, 1], [1, 2], [0, 2], [-1, 0]] as const)
        for (const p of [2, 3]) {
          const list = [dims].flat().map((d) => (d + 3) % 3);
          const want = norm(tensor(values, [2, 3, 4]), p, dims as number, { keepdim: true });
          const got = norm(x, p, dims as number, { keepdim: true });
          expect([...got.shape]).toEqual([2, 3, 4].map((n, d) => (list.includes(d) ? 1 : n)));
          relative(
            got.data,
            Array.from(want.data, (v) => v * size),
            `${dims}`,
          );
          expect([...norm(x, p, dims as number).shape]).toEqual([2, 3, 4].filter((_, d) => !list.includes(d)));
        }
    }
  });
  test("norms of many elements agree with float64 to within 1e-6", () => {
    for (const [n, inner] of [
      [300_000, 1],
      [20_001, 5],
      [70_000, 3],
    ] as const)
      for (const size of [1e-30, 1, 1e30]) {
        const values = Float32Array.from({ length: n * inner }, (_, i) => size * Math.cos(i));
        const want = Array.from({ length: inner }, (_, j) => {
          let sum = 0;
          for (let i = 0; i < n; i++) sum += values[i * inner + j]! ** 2;
          return Math.sqrt(sum);
        });
        tidy(() => relative(norm(tensor(values, [n, inner]), 2, 0).data, want, `${n} × ${inner}`));
      }
  });
  test("norms of zero, empty, infinite, NaN and int32 tensors are correct", () => {
    for (const p of [2, 3, 0.5]) {
      expect(norm(zeros([3]), p).item()).toBe(0);
      expect(grad((x: Tensor) => norm(x, p))(zeros([3])).toArray()).toEqual([0, 0, 0]);
      expect(norm(zeros([0]), p).item()).toBe(0);
      expect(norm(zeros([2, 0]), p, 1).toArray()).toEqual([0, 0]);
      expect(norm(tensor([1, Infinity]), p).item()).toBe(Infinity);
      expect(norm(tensor([1, Number.NaN]), p).item()).toBeNaN();
    }
    expect(norm(tensor([3, 0]), -1).item()).toBe(0);
    expect(norm(tensor([3, 4], { dtype: "int32" })).item()).toBe(5);
    expect(norm(tensor([3e38, 3e38])).item()).toBe(Infinity);
  });
  test("second derivatives are (I − x̂x̂ᵀ)/‖x‖, or 0 where x = 0", () => {
    for (const size of [1e-10, 1, 1e10]) {
      const h = hessian((x: Tensor) => norm(x))(tensor([3 * size, 4 * size])).data;
      relative(
        h,
        [16, -12, -12, 9].map((v) => v / 125 / size),
        `${size}`,
      );
    }
    expect(hessian((x: Tensor) => norm(x))(zeros([2])).toArray()).toEqual([
      [0, 0],
      [0, 0],
    ]);
    const rows = hessian((x: Tensor) => norm(x, 2, 1).sum())(
      tensor([
        [3, 4],
        [0, 0],
      ]),
    ).data;
    expectClose(rows.slice(0, 2), [16 / 125, -12 / 125], 1e-6);
  });
});

describe("clipGradNorm", () => {
  const clip = (gradients: number[][], max: number, normType?: number) => {
    const params = gradients.map((g) => {
      const p = zeros([g.length], { requiresGrad: true });
      p.grad = tensor(g);
      return p;
    });
    const total = optim.clipGradNorm(params, max, normType === undefined ? {} : { normType }).item();
    return { total, after: params.flatMap((p) => Array.from(p.grad!.data)) };
  };
  test.each([1e20, 1e30, 1e37])("gradients of %d keep their direction", (size) => {
    for (const normType of [2, 3, 1, Infinity]) {
      const { total, after } = clip([[3 * size, 0], [4 * size]], 10, normType);
      const want = normType === Infinity ? 4 : (3 ** normType + 4 ** normType) ** (1 / normType);
      relative([total], [want * size], `${normType}`, 3e-6);
      relative(after, [30 / want, 0, 40 / want], `${normType}`, 3e-6);
    }
  });
  test.each([1e-20, 1e-30, 1e-37])("gradients of %d are not changed, and their norm is correct", (size) => {
    const { total, after } = clip([[3 * size], [4 * size]], 1);
    relative([total], [5 * size], "norm");
    relative(after, [3 * size, 4 * size], "gradients");
  });
});

describe("Muon", () => {
  test.each([1e-4, 1, 1e20, 1e25, 1e37])("takes the same step for gradients of size 1 and %d", (size) => {
    const g = [0.5, -1.5, 2, 0.25, -0.75, 1];
    const step = (scale: number): Float32Array => {
      const p = zeros([2, 3], { requiresGrad: true });
      p.grad = tensor(
        g.map((v) => v * scale),
        [2, 3],
      );
      new optim.Muon([p], { weightDecay: 0, lr: 0.1 }).step();
      return p.data as Float32Array;
    };
    const want = Array.from(step(1));
    expect(Math.max(...want.map(Math.abs))).toBeGreaterThan(0.01);
    relative(step(size), want, `${size}`, 1e-5);
  });
});

describe("SpectralNorm", () => {
  test.each([1e-37, 1e-30, 1e-20, 1, 1e20, 1e30, 1e37])("normalizes weights of size %d", (size) => {
    manualSeed(3);
    const linear = new nn.Linear(5, 4, { bias: false });
    const base = linear.weight.detach().clone();
    linear.weight.copyFrom(base.mul(size));
    const layer = new nn.SpectralNorm(linear, { nPowerIterations: 30 });
    const x = randn([2, 5]);
    const y = layer.forward(x);
    linear.weight.copyFrom(base);
    const want = new nn.SpectralNorm(linear, { nPowerIterations: 30 }).forward(x);
    relative(y.data, Array.from(want.data), `${size}`, 1e-4);
  });
  test("keeps u and v finite for a weight of zeros", () => {
    const linear = new nn.Linear(3, 2, { bias: false });
    linear.weight.copyFrom(zeros([2, 3]));
    const layer = new nn.SpectralNorm(linear);
    expect(Array.from(layer.u.data).every(Number.isFinite)).toBe(true);
    expect(Array.from(layer.v.data).every(Number.isFinite)).toBe(true);
  });
});

test("cosineEmbedding: the angle is correct for vectors of any length", () => {
  for (const size of [1e-4, 1, 1e19, 1e30, 1e37]) {
    const f = (x: Tensor) => losses.cosineEmbedding(x, tensor([[size, 0]]), tensor([1]));
    const a = tensor([[3 * size, 4 * size]]);
    expectClose([f(a).item()], [0.4], 1e-4);
    // d cos/da = (b̂ − cos·â)/|a|
    expectClose(
      Array.from(grad(f)(a).data, (v) => v * size),
      [-(1 - 0.6 * 0.6) / 5, (0.6 * 0.8) / 5],
      1e-4,
    );
  }
});

describe("clipping to a limit", () => {
  const clipped = (values: number[], max: number, options = {}) => {
    const p = tensor(
      values.map(() => 1),
      undefined,
      { requiresGrad: true },
    ); // prettier-ignore
    p.grad = tensor(values);
    const total = optim.clipGradNorm([p], max, options).item();
    return { total, after: Array.from(p.grad.data) };
  };
  test("scales huge gradients to any small maxNorm", () => {
    for (const max of [1e30, 1, 1e-3, 1e-6, 1e-7, 1e-20, 1e-30])
      for (const normType of [2, 1, Infinity, 3]) {
        relative(clipped([3e38], max, { normType }).after, [max], `${max}, p = ${normType}`, 1e-6);
        const n = 2 ** (1 / normType);
        relative(
          clipped([1e38, -1e38], max, { normType }).after,
          [max / n, -max / n],
          `two, ${max}, p = ${normType}`,
          1e-6,
        );
      }
    expect(clipped([3e38], 0).after).toEqual([0]);
    expect(clipped([3e38], Infinity).after).toEqual([Math.fround(3e38)]);
  });
  test("keeps the bits of gradients below maxNorm, and uses PyTorch's ε", () => {
    expect(clipped([0.3, 1e-40], 1).after).toEqual([Math.fround(0.3), Math.fround(1e-40)]);
    expect(clipped([1], 1).after).toEqual([Math.fround(1 / Math.fround(1 + 1e-6))]);
    expect(clipped([1e-6], 1e-6).after[0]).toBeCloseTo(5e-7, 9);
    expect(clipped([Number.NaN, 1], 1).after).toEqual([Number.NaN, Number.NaN]);
  });
  test("counts empty gradients as 0", () => {
    for (const normType of [2, 1, Infinity, -Infinity]) expect(clipped([], 1, { normType }).total).toBe(0);
  });
  test("rejects negative and NaN limits before any gradient changes", () => {
    const p = tensor([1], { requiresGrad: true });
    p.grad = tensor([2]);
    for (const v of [-1, -1e-30, -Infinity, Number.NaN]) {
      expect(() => optim.clipGradNorm([p], v)).toThrow(`clipGradNorm: maxNorm must be at least 0, got ${v}.`);
      expect(() => optim.clipGradValue([p], v)).toThrow(`clipGradValue: clipValue must be at least 0, got ${v}.`);
    }
    expect(() => optim.clipGradNorm([p], 1, { normType: Number.NaN })).toThrow("got NaN");
    for (const decay of [-0.1, 1.1, Number.NaN])
      expect(() => new optim.EMA([p], { decay })).toThrow(`decay must be in 0 … 1, got ${decay}`);
    expect(p.grad.item()).toBe(2);
  });
});

describe("the norm of no elements", () => {
  for (const p of [Infinity, -Infinity, -1, -2.5])
    test(`p = ${p}: is rejected, because it is undefined`, () => {
      for (const f of [
        () => zeros([2, 0]).norm(p, 1),
        () => zeros([0]).norm(p),
        () => zeros([3, 0, 2]).norm(p, [1, 2]),
      ])
        expect(f).toThrow(/^norm: .*has no elements along the reduced dims/);
      expect(zeros([2, 0]).norm(p, 0).shape).toEqual([0]);
    });
  for (const p of [0, 0.5, 1, 2, 3])
    test(`p = ${p}: is 0`, () => expect(Array.from(zeros([2, 0]).norm(p, 1).data)).toEqual([0, 0]));
});
