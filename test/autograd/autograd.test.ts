/** Reverse mode: the public transforms, higher-order gradients, branching graphs, and errors. */
import {
  customGradient,
  grad,
  hessian,
  hvp,
  jacobian,
  jvp,
  manualSeed,
  memory,
  noGrad,
  ones,
  randn,
  type Tensor,
  tensor,
  tidy,
  valueAndGrad,
  vjp,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { expectClose } from "../support/oracle.ts";

const loss = (theta: Tensor) =>
  theta
    .dot(tensor([3, 1]))
    .sub(8)
    .square()
    .mul(0.5);

describe("the article's first example, L(θ) = ½(3θ₁ + θ₂ − 8)² at (1, 1)", () => {
  test("the gradient is (−12, −4) and the value is 8", () => {
    expect(grad(loss)(tensor([1, 1])).toArray()).toEqual([-12, -4]);
    const [y, g] = valueAndGrad(loss)(tensor([1, 1]));
    expect([y.item(), g.toArray()]).toEqual([8, [-12, -4]]);
  });
  test("the Hessian is x·xᵀ = [[9, 3], [3, 1]], and hvp multiplies it by a direction", () => {
    expect(hessian(loss)(tensor([1, 1])).toArray()).toEqual([
      [9, 3],
      [3, 1],
    ]);
    expect(hvp(loss, tensor([1, 1]), tensor([1, 0])).toArray()).toEqual([9, 3]);
  });
  test("the directional derivative is ∇L·u", () => {
    const [y, dy] = jvp(loss, tensor([1, 1]), tensor([0.5, 2]));
    expect([y.item(), dy.item()]).toEqual([8, -14]);
  });
});

describe("higher orders", () => {
  test("nested grad gives the n-th derivative of sin: cos, −sin, −cos, sin, cos", () => {
    let f = (x: Tensor): Tensor => x.sin();
    const expected = [Math.cos, (x: number) => -Math.sin(x), (x: number) => -Math.cos(x), Math.sin, Math.cos];
    for (const e of expected) {
      f = grad(f);
      expect(f(tensor(0.7)).item()).toBeCloseTo(e(0.7), 5);
    }
  });
  test("nested grad gives the third derivative of x⁴ + e^(2x)", () => {
    const f = (x: Tensor) => x.pow(4).add(x.mul(2).exp());
    expect(grad(grad(grad(f)))(tensor(1)).item()).toBeCloseTo(24 + 8 * Math.exp(2), 3);
  });
  test("an inner gradient is differentiable with respect to tensors that its function closes over", () => {
    // d/dw of (d/dx w²x³) = 2w·3x².
    const f = (w: Tensor) => grad((x: Tensor) => w.square().mul(x.pow(3)))(tensor(2));
    expect(grad(f)(tensor(5)).item()).toBeCloseTo(2 * 5 * 3 * 4, 3);
  });
  test("a gradient penalty trains the parameters through double backward", () => {
    const w = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { requiresGrad: true },
    );
    const x = tensor([1, -1]);
    // g = ∂(Σ tanh(Wx))/∂x = Wᵀ(1 − tanh²(Wx)); the penalty is |g|².
    const penalty = () =>
      grad((z: Tensor) => w.matmul(z).tanh().sum())(x)
        .square()
        .sum();
    penalty().backward();
    const h = 1e-3;
    const base = w.data.slice();
    const numeric = Array.from(base, (_, i) => {
      const at = (delta: number) => {
        w.copyFrom(base.map((v, j) => v + (i === j ? delta : 0)));
        return noGrad(() => penalty().item());
      };
      return (at(h) - at(-h)) / (2 * h);
    });
    expectClose(w.grad!.data, numeric, 2e-3);
  });
  test("forward over reverse and reverse over reverse give the same result", () => {
    manualSeed(1);
    const [a, x, v] = [randn([4, 4]), randn([4]), randn([4])];
    const f = (z: Tensor) => a.matmul(z).tanh().square().sum();
    const [, along] = jvp(grad(f), x, v);
    expectClose(along.data, hvp(f, x, v).data, 1e-5);
  });
});

describe("transforms", () => {
  test("vjp's pullback can be called repeatedly", () => {
    const [y, pullback] = vjp((a: Tensor, b: Tensor) => a.mul(b), tensor([1, 2]), tensor([3, 4]));
    expect(y.toArray()).toEqual([3, 8]);
    expect(pullback(tensor([1, 0])).map((g) => g.toArray())).toEqual([
      [3, 0],
      [1, 0],
    ]);
    expect(pullback(tensor([0, 1])).map((g) => g.toArray())).toEqual([
      [0, 4],
      [0, 2],
    ]);
  });
  test("jvp with several arguments adds their contributions", () => {
    const [, dy] = jvp(
      (a: Tensor, b: Tensor) => a.mul(b),
      [tensor([1, 2]), tensor([3, 4])],
      [tensor([1, 1]), tensor([10, 10])],
    );
    expect(dy.toArray()).toEqual([13, 24]);
  });
  test("jacobian has the shape of the result followed by the shape of the argument", () => {
    const j = jacobian((x: Tensor) => x.reshape([1, 2]).mul(tensor([[1], [10], [100]])))(tensor([1, 2]));
    expect(j.shape).toEqual([3, 2, 2]);
    expect(j.toArray()).toEqual([
      [
        [1, 0],
        [0, 1],
      ],
      [
        [10, 0],
        [0, 10],
      ],
      [
        [100, 0],
        [0, 100],
      ],
    ]);
  });
  test("grad differentiates with respect to several arguments and nested objects of tensors", () => {
    const f = (p: { w: Tensor; rest: Tensor[] }, x: Tensor) => p.w.mul(x).add(p.rest[0]!).sum();
    const p = { w: tensor([1, 2]), rest: [tensor([5, 6])] };
    const [gp, gx] = grad(f, [0, 1])(p, tensor([3, 4]));
    expect([gp.w.toArray(), gp.rest[0]!.toArray(), gx.toArray()]).toEqual([
      [3, 4],
      [1, 1],
      [1, 2],
    ]);
    expect(grad(f, 1)(p, tensor([3, 4])).toArray()).toEqual([1, 2]);
  });
  test("the gradient of an unused argument is 0", () => {
    expect(grad((a: Tensor, _b: Tensor) => a.sum(), 1)(tensor([1]), tensor([2, 3])).toArray()).toEqual([0, 0]);
    expect(hessian((x: Tensor) => x.sum())(tensor([1, 2])).toArray()).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });
  test("transforms leave no gradient or graph on their arguments, and no memory in use", () => {
    const x = tensor([1, 1]);
    tidy(() => hvp(loss, x, tensor([1, 0])));
    const before = memory().tensors;
    tidy(() => [hvp(loss, x, tensor([1, 0])), jacobian((z: Tensor) => z.mul(2))(x), jvp(loss, x, x)].length);
    expect([x.grad, x.requiresGrad, memory().tensors]).toEqual([null, false, before]);
  });
});

describe("backward", () => {
  test("accumulates gradients across calls and across branches", () => {
    const x = tensor([2], { requiresGrad: true });
    const square = x.mul(x);
    square.add(square).sum().backward();
    expect(x.grad!.toArray()).toEqual([8]);
    x.mul(3).sum().backward();
    expect(x.grad!.toArray()).toEqual([11]);
  });
  test("sums gradients over broadcast dims", () => {
    const b = tensor([1, 2], { requiresGrad: true });
    const s = tensor(3, { requiresGrad: true });
    ones([4, 2]).mul(b).add(s).sum().backward();
    expect([b.grad!.toArray(), s.grad!.toArray()]).toEqual([[4, 4], 8]);
  });
  test("accepts an upstream gradient for a result with several elements", () => {
    const x = tensor([1, 2], { requiresGrad: true });
    x.square().backward({ gradient: tensor([1, 10]) });
    expect(x.grad!.toArray()).toEqual([2, 40]);
  });
  test("createGraph makes .grad differentiable", () => {
    const x = tensor(3, { requiresGrad: true });
    x.pow(3).backward({ createGraph: true });
    const first = x.grad!;
    expect(first.item()).toBeCloseTo(27, 4);
    x.grad = null;
    first.backward();
    expect(x.grad!.item()).toBeCloseTo(18, 3);
  });
  test("noGrad and detach stop gradients, and only tensors that require a gradient get one", () => {
    const x = tensor([1, 2], { requiresGrad: true });
    const y = tensor([3, 4]);
    expect(noGrad(() => x.mul(2)).requiresGrad).toBe(false);
    x.mul(y).add(x.detach().square()).sum().backward();
    expect([x.grad!.toArray(), y.grad]).toEqual([[3, 4], null]);
  });
  test("does not overflow the stack for a chain of 50,000 ops", () => {
    const x = tensor([1], { requiresGrad: true });
    tidy(() => {
      let y: Tensor = x;
      for (let i = 0; i < 50_000; i++) y = y.add(1);
      y.sum().backward();
    });
    expect(x.grad!.toArray()).toEqual([1]);
  });
});

describe("customGradient", () => {
  test("uses the custom rule", () => {
    const clipped = customGradient((x: Tensor) => [x, (dy: Tensor) => [dy.clamp(-1, 1)]]);
    expect(grad((x: Tensor) => clipped(x.mul(5)).mul(3).sum())(tensor([1])).toArray()).toEqual([5]);
  });
  test("can be differentiated twice", () => {
    const cube = customGradient((x: Tensor) => [x.pow(3), (dy: Tensor) => [dy.mul(x.square()).mul(3)]]);
    expect(grad(grad((x: Tensor) => cube(x)))(tensor(2)).item()).toBeCloseTo(12, 4);
  });
  test("rejects a gradient of the wrong shape", () => {
    const wrong = customGradient((x: Tensor) => [x.mul(1), () => [zeros([3])]]);
    expect(() => grad((x: Tensor) => wrong(x).sum())(tensor([1, 2]))).toThrow(
      "customGradient: its gradient rule returned [3] for an input [2]",
    );
  });
});

describe("errors say how to fix the call", () => {
  const x = () => tensor([1, 2], { requiresGrad: true });
  test("backward of a tensor with several elements", () => {
    expect(() => x().mul(2).backward()).toThrow(
      "backward: the tensor is [2], not a single number. Reduce it with sum() or mean(), or pass { gradient }.",
    );
  });
  test("backward of a tensor that depends on no leaf", () => {
    expect(() => tensor([1]).sum().backward()).toThrow(
      "backward: the tensor depends on nothing that requires a gradient.",
    );
  });
  test("a second backward through the same graph", () => {
    const y = x().square().sum();
    y.backward();
    expect(() => y.backward()).toThrow(
      /an earlier backward freed this part of the graph\. .* call the first backward with \{ retainGraph: true \}/,
    );
    const z = x().square().sum();
    z.backward({ retainGraph: true });
    expect(() => z.backward()).not.toThrow();
  });
  test("backward after an in-place write to a value that a gradient needs", () => {
    const a = x();
    const y = a.square().sum();
    a.copyFrom([5, 6]);
    expect(() => y.backward()).toThrow(
      "square: a tensor [2] that its gradient needs was changed in place. Change a clone() instead.",
    );
  });
  test("grad of a function that returns several numbers or no tensor", () => {
    expect(() => grad((z: Tensor) => z.mul(2))(tensor([1, 2]))).toThrow(
      "grad: the function returned [2], not a single number. Reduce it with sum() or mean(), or use jacobian or vjp.",
    );
    expect(() => grad((() => 3) as unknown as (z: Tensor) => Tensor)(tensor([1]))).toThrow(
      "grad: the function must return a tensor, got 3. Return the result of the last op, without item() or toArray().",
    );
    expect(() => grad((_a: number, z: Tensor) => z.sum())(1, tensor([1]))).toThrow(
      "grad: argument 0 contains no tensor. Pass the tensor to differentiate with respect to.",
    );
  });
  test("requiresGrad on an int32 tensor", () => {
    expect(() => tensor([1], { dtype: "int32", requiresGrad: true })).toThrow(
      "requiresGrad: int32 tensors have no gradients. Use float32.",
    );
    expect(() => grad((z: Tensor) => z.to("float32").sum())(tensor([1], { dtype: "int32" }))).toThrow(
      'grad: argument 0 is an int32 tensor [1], but only float32 is differentiable. Use x.to("float32").',
    );
  });
  test("requiresGrad on the result of an op", () => {
    expect(() => {
      x().mul(2).requiresGrad = false;
    }).toThrow("requiresGrad: this tensor is the result of an op.");
  });
});
