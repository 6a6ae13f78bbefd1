/** Misuse throws an error that says how to fix the call, or does what PyTorch does. It never corrupts other tensors. */

import * as nabla from "nabla";
import {
  arange,
  type DType,
  full,
  grad,
  hvp,
  jacobian,
  jvp,
  linear,
  losses,
  memory,
  nn,
  noGrad,
  ones,
  optim,
  scatterSum,
  type Tensor,
  tensor,
  tidy,
  vjp,
  where,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import * as functions from "../../src/core/functions.ts";
import { methods } from "../../src/ops/methods.ts";

const int = (values: number[]) => tensor(values, { dtype: "int32" });

describe("memory is never corrupted", () => {
  test("invalid arguments to any function, method or constructor change no other tensor", () => {
    const canary = full([4096], 7);
    const nonsense: unknown[] = [undefined, null, Number.NaN, -1, 0.5, Infinity, 1e18, "3", [1, 2], [], {}, true];
    const tensors: (() => unknown)[] = [
      () => ones([2, 3]),
      () => zeros([0]),
      () => int([0, 5]),
      () => tensor([true, false]),
      () => tensor(new Uint8Array(3)),
      () => tensor(2),
    ];
    const operands = [...nonsense.map((v) => () => v), ...tensors];
    const makers = [
      nabla.zeros,
      nabla.full,
      nabla.rand,
      nabla.randn,
      nabla.arange,
      nabla.linspace,
      nabla.eye,
      nabla.randint,
      nabla.tensor,
    ];
    const calls = [...Object.values({ ...methods, ...functions }), ...makers] as ((...args: unknown[]) => unknown)[];
    let refused = 0;
    for (const f of calls) {
      for (const first of operands) {
        for (const second of operands) {
          try {
            tidy(() => f(first(), second(), second()));
          } catch (error) {
            refused++;
            expect(error).toBeInstanceOf(Error);
          }
        }
      }
    }
    expect(refused).toBeGreaterThan(1000);
    expect(canary.data.every((v) => v === 7)).toBe(true);
    expect(Number.isFinite(memory().bytes)).toBe(true);
    expect(full([3], 2).mul(3).toArray()).toEqual([6, 6, 6]);
  });
  test("unknown element types and invalid sizes are rejected", () => {
    expect(() => zeros([2], { dtype: "double" as DType })).toThrow(
      'zeros: "double" is not a dtype. Use float32, int32, bool or uint8.',
    );
    expect(() => ones([2]).to("int64" as DType)).toThrow(/"int64" is not a dtype/);
    expect(() => int([0]).oneHot(Number.NaN)).toThrow("oneHot: [NaN] is not a shape");
    expect(() => scatterSum(ones([1]), 0, int([0]), 1.5)).toThrow("scatterSum: [1.5] is not a shape");
    expect(() => ones([4]).slice([0.5, 3])).toThrow(
      "slice: 0.5 is not an index of dim 0 of [4]. Use a whole number or null.",
    );
    expect(() => ones([4]).narrow(0, 1, undefined as unknown as number)).toThrow("narrow:");
    expect(() => ones([4]).split(0.5)).toThrow("split: the size must be a whole number above 0, got 0.5.");
  });
  test("a serialized tensor does not contain the whole linear memory", () => {
    expect(JSON.stringify(ones([2, 3]).mul(2)).length).toBeLessThan(1000);
  });
  test("a tensor keeps its shape if the array that it was made with changes", () => {
    const shape = [2, 2];
    const x = zeros(shape);
    shape[0] = 1000;
    expect(x.shape).toEqual([2, 2]);
  });
  test("errors name the operand that has the wrong type", () => {
    expect(() => ones([1]).add("3" as unknown as number)).toThrow(
      'add: b must be a tensor or a number, got "3". Write it without quotes: 3.',
    );
    expect(() => ones([2]).mul([1, 2] as unknown as number)).toThrow(
      "mul: b must be a tensor or a number, got the array [1, 2].",
    );
    expect(() => linear(ones([1, 2]), int([1, 2]).reshape(1, 2))).toThrow(
      'linear: the weight must be float32, got int32. Convert it with .to("float32").',
    );
    expect(() => ones([2]).clamp(ones([2]) as unknown as number)).toThrow(
      "clamp: low must be a number, got a float32 tensor [2]. Use clamp(low, high) with numbers or null; for tensor bounds, use maximum and minimum.",
    );
  });
  test("gather and indexSelect work on one-byte elements", () => {
    const pixels = tensor(new Uint8Array([10, 20, 30, 40]), [2, 2]);
    expect(pixels.indexSelect(0, int([1, 0, 1])).toArray()).toEqual([
      [30, 40],
      [10, 20],
      [30, 40],
    ]);
    expect(pixels.gather(1, int([1, 0]).reshape(2, 1)).toArray()).toEqual([[20], [30]]);
    expect(
      tensor([true, false])
        .gather(0, int([1, 1, 0]))
        .toArray(),
    ).toEqual([false, false, true]);
  });
  test("bool elements are always 0 or 1", () => {
    expect(full([3], 2, { dtype: "bool" }).sum().item()).toBe(3);
    expect(tensor([true]).pad([1, 1], 5).sum().item()).toBe(3);
    expect(zeros([2], { dtype: "bool" }).copyFrom([2, 0]).toArray()).toEqual([true, false]);
  });
  test("scalar operands are correct even if thousands are used", () => {
    const mask = tensor([true, false]);
    for (let i = 0; i < 2000; i++) expect(tidy(() => where(mask, 0.25, i + 0.5).toArray())).toEqual([0.25, i + 0.5]);
  });
});

describe("gradients", () => {
  test("jvp is differentiable with respect to its direction, even for linear functions", () => {
    const f = (x: Tensor) => x.mul(2);
    expect(grad((v: Tensor) => jvp(f, tensor([1, 2]), v)[1].sum())(tensor([1, 1])).toArray()).toEqual([2, 2]);
    expect(jacobian((v: Tensor) => jvp(f, tensor([1, 2]), v)[1])(tensor([1, 1])).toArray()).toEqual([
      [2, 0],
      [0, 2],
    ]);
  });
  test("grad rejects structures that it cannot rebuild", () => {
    const message = /arguments must be tensors, or arrays and plain objects of them\./;
    expect(() => grad((m: Map<string, Tensor>) => m.get("w")!.sum())(new Map([["w", tensor([3])]]))).toThrow(message);
    const model = new nn.Linear(2, 1);
    expect(() => grad((m: nn.Linear) => m.forward(ones([1, 2])).sum())(model)).toThrow(message);
  });
  test("the gradients of two leaves do not share memory", () => {
    const [a, b] = [tensor([1], { requiresGrad: true }), tensor([2], { requiresGrad: true })];
    const seed = tensor([1]);
    a.add(b).backward({ gradient: seed });
    a.grad!.copyFrom([5]);
    expect([b.grad!.item(), seed.item()]).toEqual([1, 1]);
  });
  test("in-place writes to tensors that autograd records are rejected", () => {
    const x = tensor([3], { requiresGrad: true });
    const y = x.mul(2);
    expect(() => y.copyFrom([100])).toThrow(
      "copyFrom: autograd does not record writes in place. Wrap the call in noGrad(() => …), or detach() the source.",
    );
    expect(() => zeros([1]).copyFrom(y)).toThrow("copyFrom:");
    noGrad(() => x.copyFrom([4]));
    expect(x.item()).toBe(4);
  });
  test("a leaf's gradient is freed with the leaf", () => {
    const work = () =>
      tidy(() => {
        const w = tensor([1, 2], { requiresGrad: true });
        w.square().sum().backward();
      });
    work();
    const before = memory().tensors;
    for (let i = 0; i < 10; i++) work();
    expect(memory().tensors).toBe(before);
    const kept = tidy(() => {
      const w = tensor([1, 2], { requiresGrad: true });
      w.square().sum().backward();
      return w.grad!;
    });
    expect(kept.toArray()).toEqual([2, 4]);
  });
  test("reading a gradient that backward has replaced throws", () => {
    const w = tensor([1], { requiresGrad: true });
    w.mul(2).sum().backward();
    const held = w.grad!;
    w.mul(2).sum().backward();
    expect(() => held.toArray()).toThrow(/disposed by backward, which replaced the gradient/);
  });
  test("vjp frees its intermediate tensors", () => {
    const x = tensor([1, 2]);
    const work = () => {
      const [y, pullback] = vjp((z: Tensor) => z.exp().mul(2).sin(), x);
      for (const g of pullback(ones([2]))) g.dispose();
      y.dispose();
    };
    tidy(work);
    const before = memory().bytes;
    tidy(() => {
      for (let i = 0; i < 5; i++) work();
    });
    expect(memory().bytes).toBe(before);
    expect(hvp((z: Tensor) => vjp((u: Tensor) => u.pow(3), z)[1](ones([2]))[0]!.sum(), x, ones([2])).toArray()).toEqual(
      [6, 6],
    );
  });
  test("backward on a disposed loss and noGrad with a promise are rejected", () => {
    const loss = tensor([1], { requiresGrad: true }).sum();
    loss.dispose();
    expect(() => loss.backward()).toThrow(/^backward: the float32 tensor \[\] made by sum was disposed by dispose\(\)/);
    expect(() => noGrad(async () => 1)).toThrow("noGrad: f returned a promise");
  });
});

describe("layers, losses and optimizers", () => {
  test("an invalid state or the state of another optimizer is rejected before anything changes", () => {
    const w = nn.parameter(ones([3]));
    const canary = full([512], 7);
    const sgd = new optim.SGD([w], { lr: 0.1, momentum: 0.9 });
    sgd.minimize(() => w.sum());
    const adam = new optim.Adam([w]);
    expect(() => adam.loadStateDict(sgd.stateDict())).toThrow(
      "Adam: the state has momentum as 0.9. Was it saved by this optimizer, for this model?",
    );
    expect(() => adam.loadStateDict({ ...sgd.stateDict(), groups: [{ lr: 0.1 }] })).toThrow(
      "Adam: the state of parameter 0 has step, momentumBuffer, but must have step, expAvg, expAvgSq. Was it saved by this optimizer, for this model?",
    );
    adam.minimize(() => w.sum());
    const { groups, state } = adam.stateDict();
    expect(() => adam.loadStateDict({ groups, state: [{ ...state[0], expAvg: zeros([2]) }] })).toThrow(
      "Adam: the state of parameter 0 has expAvg as float32 [2], but must be float32 [3]. Was it saved by this optimizer, for this model?",
    );
    expect(() => adam.loadStateDict({ groups: [{ lr: Number.NaN }], state })).toThrow(
      "lr must be a number ≥ 0, got NaN",
    );
    expect(() => adam.loadStateDict({} as ReturnType<typeof adam.stateDict>)).toThrow(
      "Adam: the state has 0 groups and 0 parameters",
    );
    expect(() => adam.loadStateDict({ groups: [{ betas: [2, 2] }], state })).toThrow(
      "Adam: beta1 must be in 0 … 1, below 1, got 2",
    );
    expect([adam.lr, canary.sum().item()]).toEqual([1e-3, 7 * 512]);
  });
  test("turning on an option later creates the state that it needs", () => {
    const w = nn.parameter(ones([3]));
    const adam = new optim.Adam([w], { lr: 0.1 });
    adam.minimize(() => w.sum());
    adam.paramGroups[0]!.options.amsgrad = true;
    adam.minimize(() => w.sum());
    expect(w.toArray()).toEqual(new Array(3).fill(w.data[0]));
    expect(w.data[0]).toBeCloseTo(0.8, 4);
  });
  test("optimizers reject tensors that are not leaves, and replace an undefined option with its default", () => {
    const w = nn.parameter(ones([3]));
    expect(() => new optim.SGD([w.mul(2)], { lr: 1 })).toThrow(
      "SGD: params must not contain results of ops, got one of shape [3]. Pass parameters, such as model.parameters().",
    );
    const options = { weightDecay: undefined } as unknown as { weightDecay: number };
    expect(new optim.Adam([w], options).paramGroups[0]!.options.weightDecay).toBe(0);
  });
  test("losses reject float labels, unknown reductions and negative thresholds", () => {
    expect(() => losses.crossEntropy(zeros([3, 4]), tensor([1, 2, 0]))).toThrow(
      'crossEntropy: the target is float32 [3], but labels must be int32: use target.to("int32")',
    );
    expect(() => losses.mse(ones([1]), ones([1]), { reduction: "avg" as "mean" })).toThrow(
      'mse: unknown reduction "avg". Valid: "mean", "sum", "none"',
    );
    expect(() => losses.huber(ones([1]), ones([1]), { delta: -1 })).toThrow("huber: delta must be above 0, got -1.");
  });
  test("a module that contains itself is visited once", () => {
    class Loop extends nn.Module {
      readonly layer = new nn.Linear(1, 1);
      readonly self = this;
      forward(x: Tensor): Tensor {
        return this.layer.forward(x);
      }
    }
    expect(new Loop().parameters().length).toBe(2);
  });
  test("an op that has nothing to do returns a new tensor", () => {
    const x = ones([2, 3]);
    x.flatten(1).dispose();
    x.to("float32").dispose();
    expect(x.isDisposed).toBe(false);
  });
});

test("where promotes element types like other ops", () => {
  const mask = tensor([true, false]);
  expect(where(mask, int([1, 2]), 3e9).dtype).toBe("float32");
  expect(where(mask, tensor([true, true]), tensor([false, false])).toArray()).toEqual([true, false]);
  expect(where(mask, int([1, 2]), tensor([true, true])).dtype).toBe("int32");
});

test("sizes may be separate arguments, and a Buffer becomes uint8", () => {
  expect(arange(6).reshape(2, 3).permute(1, 0).toArray()).toEqual([
    [0, 3],
    [1, 4],
    [2, 5],
  ]);
  expect(tensor(Buffer.from([1, 2])).dtype).toBe("uint8");
});

test("scatterAdd and indexAdd add to a tensor and have gradients", () => {
  const x = ones([2, 2]);
  expect(x.indexAdd(0, int([1, 1]), arange(4).reshape(2, 2)).toArray()).toEqual([
    [1, 1],
    [3, 5],
  ]);
  expect(x.scatterAdd(1, int([1, 0]).reshape(2, 1), tensor([[5], [6]])).toArray()).toEqual([
    [1, 6],
    [7, 1],
  ]);
  const [gx, gs] = grad(
    (a: Tensor, s: Tensor) =>
      a
        .indexAdd(0, int([1, 1]), s)
        .square()
        .sum(),
    [0, 1],
  )(x, ones([2, 2]));
  expect([gx.toArray(), gs.toArray()]).toEqual([
    [
      [2, 2],
      [6, 6],
    ],
    [
      [6, 6],
      [6, 6],
    ],
  ]);
});

test("the heap merges adjacent free blocks and reuses them", async () => {
  const { Heap } = await import("../../src/runtime/heap.ts");
  const MB = 1 << 20;
  const heap = new Heap({ memoryLimit: 64 * MB });
  const blocks = [20, 20, 20].map((n) => heap.allocate(n * MB));
  heap.release(blocks[0]!, 20 * MB);
  heap.allocate(4 * MB);
  heap.release(blocks[1]!, 20 * MB);
  expect(() => heap.allocate(30 * MB)).not.toThrow();
});

test("scatterSum rejects an index that does not match its source, and elu rejects a negative alpha", () => {
  expect(() => scatterSum(ones([16]), 0, zeros([32], { dtype: "int32" }), 1)).toThrow(
    "scatterSum: the index [32] must have the source's shape [16]. Narrow the longer one.",
  );
  expect(() => ones([2]).elu(-1)).toThrow("elu: alpha must be ≥ 0, got -1.");
});

test("cross-entropy is accurate for logits far from zero", () => {
  for (const offset of [0, 100, 1000, 10_000]) {
    const logits = tensor([[offset, offset + 0.5, offset + 1]]);
    const loss = (x: Tensor) => losses.crossEntropy(x, int([0]));
    expect(loss(logits).item()).toBeCloseTo(1.6802697, 6);
    expect((grad(loss)(logits).toArray() as number[][])[0]![2]).toBeCloseTo(0.5064804, 6);
  }
});
