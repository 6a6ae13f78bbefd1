/** argnums may be in any order, repeated or negative, and one tensor may be passed as several arguments. */
import { compile, grad, hessian, hvp, jacobian, jvp, nn, type Tensor, tensor, valueAndGrad, vjp } from "nabla";
import { describe, expect, test } from "vitest";

/** Σ a + 10·b + 100·c. */
const weighed = (a: Tensor, b: Tensor, c: Tensor): Tensor => a.add(b.mul(10)).add(c.mul(100)).sum();
const three = (): [Tensor, Tensor, Tensor] => [tensor(1), tensor(2), tensor(3)];
const numbers = (xs: readonly Tensor[]): number[] => xs.map((x) => x.item());

describe("argnums", () => {
  test.each<[number[], number[]]>([
    [
      [2, 0],
      [100, 1],
    ],
    [
      [0, 2],
      [1, 100],
    ],
    [
      [1, 0, 2],
      [10, 1, 100],
    ],
    [
      [2, 1, 0],
      [100, 10, 1],
    ],
    [[1], [10]],
    [
      [-1, 0],
      [100, 1],
    ],
    [
      [-3, -2],
      [1, 10],
    ],
    [
      [1, 1],
      [10, 10],
    ],
    [
      [2, 0, 2],
      [100, 1, 100],
    ],
    [
      [-1, 2],
      [100, 100],
    ],
    [[], []],
  ])("%o: grad and valueAndGrad return gradients in this order, in eager and compiled mode", (argnums, want) => {
    expect(numbers(grad(weighed, argnums)(...three()) as Tensor[])).toEqual(want);
    const [value, gradients] = valueAndGrad(weighed, argnums)(...three());
    expect(value.item()).toBe(321);
    expect(numbers(gradients as Tensor[])).toEqual(want);
    if (!want.length) return;
    const compiled = compile((a: Tensor, b: Tensor, c: Tensor) => grad(weighed, argnums)(a, b, c) as Tensor[]);
    expect(numbers(compiled(...three()))).toEqual(want);
  });
  test("a single number, even a negative one, gives a single gradient", () => {
    expect(grad(weighed, 1)(...three()).item()).toBe(10);
    expect((grad(weighed, -1)(...three()) as Tensor).item()).toBe(100);
  });
  test("structured arguments keep the order of argnums", () => {
    const f = (p: { w: Tensor; b: Tensor }, x: Tensor) => p.w.mul(x).add(p.b).sum();
    const [gx, gp] = grad(f, [1, 0])({ w: tensor([2, 3]), b: tensor([0, 0]) }, tensor([5, 7]));
    expect(gx.toArray()).toEqual([2, 3]);
    expect(gp.w.toArray()).toEqual([5, 7]);
    expect(gp.b.toArray()).toEqual([1, 1]);
  });
  test("the two gradients of a repeated argument do not share memory", () => {
    const [a, b] = grad((x: Tensor) => x.square().sum(), [0, 0])(tensor([1, 2])) as [Tensor, Tensor];
    a.copyFrom([0, 0]);
    expect(b.toArray()).toEqual([2, 4]);
  });
  test("second derivatives follow the order of argnums", () => {
    const f = (x: Tensor, y: Tensor) => x.square().mul(y).sum();
    const mixed = (x: Tensor, y: Tensor) => grad(f, [1, 0])(x, y)[1].sum();
    // ∂f/∂x = 2xy, whose derivative is 2x with respect to y and 2y with respect to x.
    const [byY, byX] = grad(mixed, [1, 0])(tensor(3), tensor(5));
    expect(numbers([byY, byX])).toEqual([6, 10]);
  });
  test.each<[number | number[], RegExp]>([
    [3, /grad: argnums must be in -3 … 2, the indices of the function's arguments, got 3\./],
    [[0, -4], /grad: argnums must be in -3 … 2, .*, got -4\./],
    [[0.5], /grad: argnums must be in .*, got 0.5/],
  ])("%o is rejected", (argnums, message) => {
    expect(() => grad(weighed, argnums)(...three())).toThrow(message);
    expect(() => valueAndGrad(weighed, argnums)(...three())).toThrow(RangeError);
  });
});

describe("a tensor that is passed as two arguments has one derivative per argument", () => {
  const f = (a: Tensor, b: Tensor): Tensor => a.square().mul(b).sum();
  const x = tensor([2, 3]);
  test("in grad and valueAndGrad", () => {
    for (const [a, b] of [
      grad(f, [0, 1])(x, x),
      valueAndGrad(f, [0, 1])(x, x)[1],
      compile((v: Tensor) => grad(f, [0, 1])(v, v))(x),
      [grad(f, 0)(x, x), grad(f, 1)(x, x)] as const,
    ]) {
      expect(a.toArray()).toEqual([8, 18]);
      expect(b.toArray()).toEqual([4, 9]);
    }
    expect(x.requiresGrad).toBe(false);
  });
  test("in two fields of one structure", () => {
    const g = grad((p: { a: Tensor; b: Tensor[] }) => f(p.a, p.b[0]!))({ a: x, b: [x] });
    expect(g.a.toArray()).toEqual([8, 18]);
    expect(g.b[0]!.toArray()).toEqual([4, 9]);
  });
  test("in vjp", () => {
    const [y, pullback] = vjp(f, x, x);
    expect(y.item()).toBe(35);
    expect(pullback(tensor(2)).map((g) => g.toArray())).toEqual([
      [16, 36],
      [8, 18],
    ]);
  });
  test("in jvp, even if one tensor is both directions", () => {
    const [y, dy] = jvp(f as (...xs: Tensor[]) => Tensor, [x, x], [tensor([1, 0]), tensor([0, 1])]);
    expect([y.item(), dy.item()]).toEqual([35, 8 + 9]);
    const v = tensor([1, 1]);
    expect(jvp(f as (...xs: Tensor[]) => Tensor, [x, x], [v, v])[1].item()).toBe(8 + 18 + 4 + 9);
    expect(jvp(f as (...xs: Tensor[]) => Tensor, [x, x], [x, x])[1].item()).toBe(3 * 35);
  });
  test("but an outer gradient flows through both arguments", () => {
    const outer = (v: Tensor) => {
      const [a, b] = grad(f, [0, 1])(v, v) as [Tensor, Tensor];
      return a.add(b).sum();
    };
    // d/dv Σ 2v² + v².
    expect(grad(outer)(x).toArray()).toEqual([12, 18]);
  });
  test("in jacobian, in hessian, and in hvp if the direction is the point itself", () => {
    const cube = (v: Tensor) => f(v, v);
    expect(hvp(cube, x, x).toArray()).toEqual([24, 54]);
    expect(hessian(cube)(x).toArray()).toEqual([
      [12, 0],
      [0, 18],
    ]);
    const g = jacobian((v: Tensor) => grad(f, [1, 0])(v, v)[0])(x);
    expect(g.toArray()).toEqual([
      [4, 0],
      [0, 6],
    ]);
  });
});

describe("invalid arguments", () => {
  test("the error for a module says what to pass instead", () => {
    const f = (m: nn.Linear, x: Tensor) => m.forward(x).sum();
    expect(() => grad(f, [0])(new nn.Linear(2, 2), tensor([[1, 2]]))).toThrow(
      "grad: arguments must be tensors, or arrays and plain objects of them.",
    );
    const held = { tensors: new Map([["a", tensor([1])]]), b: tensor([1]) };
    expect(() => grad((p: typeof held) => p.b.sum())(held)).toThrow(
      /arguments must be tensors, or arrays and plain objects/,
    );
  });
  test("more directions than points are rejected", () => {
    const v = tensor([1]);
    expect(() => jvp((a: Tensor) => a, v, [v, v] as never)).toThrow(
      "jvp: pass one direction for each point, got 2 for 1.",
    );
  });
});

test("errors name the argument that cannot be differentiated", () => {
  const f = grad((x: Tensor) => x.sum());
  expect(() => (f as () => unknown)()).toThrow("grad: the function was called without arguments.");
  expect(() => f(tensor([1], { dtype: "int32" }))).toThrow("grad: argument 0 is an int32 tensor [1]");
  expect(() => jacobian((x: Tensor) => x)(tensor([1], { dtype: "int32" }))).toThrow(": argument 0 is an int32 tensor");
});
