/**
 * Synchronous loops, exceptions and forgotten tensors leak no memory: their tensors are freed immediately, or can be garbage collected.
 */
import { compile, customGradient, grad, hessian, hvp, jacobian, jvp, losses, memory, nn, noGrad, optim, randn, type Tensor, tensor, tidy, valueAndGrad, vjp, zeros } from "nabla"; // biome-ignore format: one line
import { describe, expect, test, vi } from "vitest";
import { interceptDuring } from "../../src/nn/intercept.ts";

const MB = 2 ** 20;
const held = () => ({ bytes: memory().bytes, tensors: memory().tensors });

describe("tensors made outside a scope", () => {
  test("above 64 MB, the oldest tensors move to JavaScript's memory, move back when they are used, and cause one warning that recommends tidy", () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const before = memory().bytes;
    const all = Array.from({ length: 300 }, (_, i) => zeros([MB / 4]).copyFrom(new Float32Array(MB / 4).fill(i)));
    expect(memory().bytes - before).toBeLessThan(66 * MB);
    for (const [i, x] of all.entries()) {
      expect(x.live()[i]).toBe(i);
      expect(x.add(1).max().item()).toBe(i + 1);
    }
    // A tensor that is used repeatedly stays in linear memory.
    const [first] = all;
    const { buffer } = first!.live();
    for (let i = 0; i < 200; i++) first!.add(1);
    expect(first!.live().buffer).toBe(buffer);
    expect(all.map((x) => x.isDisposed)).not.toContain(true);
    for (const x of all) x.dispose();
    expect(warn.mock.calls.map(([message]) => message)).toEqual([
      expect.stringMatching(/^nabla: more than 64 MB of tensors were made outside scopes.*Wrap each step in tidy\(/),
    ]);
    warn.mockRestore();
  });

  test("gradients, in-place writes, views and kept tensors work after a move to JavaScript's memory", () => {
    const w = tensor([2, 3], { requiresGrad: true });
    const loss = w.square().mul(w).sum();
    const x = zeros([2]);
    const view = x.reshape([2, 1]);
    const kept = tensor([7, 8]).keep();
    const step = compile((y: Tensor) => y.add(x));
    const moveAll = () => {
      for (let i = 0; i < 300; i++) zeros([MB / 4]);
    };
    step(tensor([1, 1]));
    moveAll();
    x.copyFrom([5, 6]);
    moveAll();
    expect([view.toArray(), kept.toArray(), step(tensor([1, 1])).toArray()]).toEqual([
      [[5], [6]],
      [7, 8],
      [6, 7],
    ]);
    moveAll();
    loss.backward();
    expect(w.grad!.toArray()).toEqual([12, 27]);
    moveAll();
    x.dispose();
    moveAll();
    expect(view.toArray()).toEqual([[5], [6]]);
    expect(() => x.add(1)).toThrow("was disposed by dispose()");
  });

  test("aliases of a tensor do not accumulate, and can be read after the tensor is disposed", () => {
    const x = tensor([1, 2]);
    const before = memory().tensors;
    const views = Array.from({ length: 20_000 }, () => x.reshape([2, 1]));
    expect(memory().tensors - before).toBeLessThan(1100);
    x.dispose();
    for (const view of [views[0]!, views[10_000]!, views.at(-1)!]) expect(view.toArray()).toEqual([[1], [2]]);
  });

  test("many small tensors do not accumulate", () => {
    const before = memory().tensors;
    const all = Array.from({ length: 30_000 }, (_, i) => tensor([i]));
    expect(memory().tensors - before).toBeLessThan(1100);
    expect(all.every((x, i) => x.item() === i)).toBe(true);
  });

  test("kept tensors do not delay the move of small tensors to JavaScript's memory", () => {
    const ways: ((i: number) => Tensor)[] = [
      (i) => tensor([i]).keep(),
      (i) => tidy(() => tensor([i]).keep()),
      (i) => tensor([i], { requiresGrad: true }).keep(),
    ];
    for (const make of ways) {
      const kept = Array.from({ length: 6000 }, (_, i) => make(i));
      const before = memory().tensors;
      let most = 0;
      for (let i = 0; i < 6000; i++) {
        kept[i]!.add(1);
        kept[i]!.reshape([1, 1]);
        most = Math.max(most, memory().tensors - before);
      }
      expect(most).toBeLessThan(1500);
      expect(kept.every((x, i) => x.item() === i)).toBe(true);
      for (const x of kept) x.dispose();
    }
  });

  test("losses and composed ops free their intermediate tensors when they return", () => {
    const [x, t] = [tensor([[0.2, 0.7], [0.6, 0.4]], { requiresGrad: true }), tensor([[0.1, 0.8], [0.3, 0.5]])]; // biome-ignore format: matrices
    const labels = tensor([0, 1], { dtype: "int32" });
    const calls: (() => Tensor)[] = [
      () => losses.mse(x, t),
      () => losses.huber(x, t),
      () => losses.bce(x, t),
      () => losses.crossEntropy(x, labels, { labelSmoothing: 0.1 }),
      () => losses.klDiv(x.detach(), t),
      () => x.std(),
      () => x.logSumExp(1),
    ];
    for (const call of calls) call().dispose();
    for (const [i, call] of calls.entries()) {
      const before = memory().tensors;
      const y = call();
      expect(memory().tensors - before, `call ${i}`).toBeLessThanOrEqual(i === 4 ? 2 : 1);
      y.dispose();
    }
  });

  test("after backward, results can be read, and repeated steps do not use more memory", () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.Tanh(), new nn.Linear(3, 2));
    const optimizer = new optim.Adam(model.parameters());
    const [x, labels] = [randn([4, 2]), tensor([0, 1, 1, 0], { dtype: "int32" })];
    const step = () => {
      optimizer.zeroGrad();
      const logits = model.forward(x);
      const expected = logits.toArray();
      const loss = losses.crossEntropy(logits, labels);
      loss.backward();
      optimizer.step();
      expect(logits.toArray()).toEqual(expected);
      expect(logits.argMax(1).shape).toEqual([4]);
    };
    for (let i = 0; i < 2000; i++) step();
    const { bytes } = memory();
    for (let i = 0; i < 2000; i++) step();
    expect(memory().bytes).toBeLessThan(1.5 * bytes);
  });
});

describe("exceptions leave no tensors behind", () => {
  const stop = (..._before: unknown[]): never => {
    throw new Error("stop");
  };
  const broken = customGradient((x: Tensor) => [x.mul(2), () => stop()]);
  const x = tensor([[0.5, 1], [1.5, 2]]); // biome-ignore format: a matrix
  const model = new nn.Sequential(new nn.Linear(2, 2), new nn.Tanh(), new nn.Linear(2, 1));
  const optimizer = new optim.Adam(model.parameters());
  const through = (y: Tensor) => broken(y.exp().mul(y)).sum();

  const failing: Record<string, () => unknown> = {
    "a gradient rule, in grad": () => grad(through)(x),
    "a gradient rule, in valueAndGrad of two arguments": () =>
      valueAndGrad((a: Tensor, b: Tensor) => through(a.mul(b)), [0, 1])(x, x),
    "a gradient rule, in a pullback": () => tidy(() => vjp((y: Tensor) => broken(y.exp()), x)[1](x)),
    "a gradient rule, in jvp": () => jvp(through, x, x),
    "a gradient rule, in jacobian": () => jacobian((y: Tensor) => broken(y.exp().mul(y)))(x),
    "a gradient rule, in hvp": () => hvp(through, x, x),
    "a gradient rule, in hessian": () => hessian(through)(x),
    "a gradient rule, in minimize": () => optimizer.minimize(() => through(model.forward(x))),
    "a gradient rule, in the second of several losses": () =>
      optimizer.minimize([() => model.forward(x).sum(), () => through(model.forward(x))]),
    "a gradient rule that returns the wrong shape": () =>
      grad(customGradient((y: Tensor) => [y.sum(), () => [zeros([3])]]) as never)(x),
    "the function, in grad": () => grad((y: Tensor) => stop(y.exp().mul(2)))(x),
    "the function, in jacobian of grad": () => jacobian((y: Tensor) => grad((z: Tensor) => stop(z.exp()))(y))(x),
    "the loss, in minimize": () => optimizer.minimize(() => stop(model.forward(x))),
    "the function, in nested tidy": () => tidy(() => tidy(() => [x.mul(2), x.exp().keep().dispose(), stop()])),
    "a function during its recording": () => compile((y: Tensor) => stop(y.exp(), optimizer.minimize(() => model.forward(y).sum())))(x), // biome-ignore format: one line
    "a function that reads a value during its recording": () => compile((y: Tensor) => y.exp().item())(x),
    "a hook in the forward pass": () =>
      tidy(() => interceptDuring(model, ({ name, forward }) => (name === "2" ? stop() : forward()), () => model.forward(x))), // biome-ignore format: one line
    "an op, because its shapes do not fit": () => x.exp().matmul(zeros([3, 1]).keep()),
    "an op, in noGrad in tidy": () => tidy(() => noGrad(() => x.exp().add(zeros([7])))),
    "backward through a freed graph": () =>
      tidy(() => {
        const loss = model.forward(x).square().sum();
        loss.backward();
        model.zeroGrad();
        loss.backward();
      }),
    "backward after an in-place write": () =>
      tidy(() => {
        const h = model.forward(x).exp();
        noGrad(() => h.copyFrom(new Float32Array(2)));
        h.sum().backward();
      }),
  };
  for (const [name, call] of Object.entries(failing)) {
    test(name, () => {
      // Outside a scope, an op frees its own intermediate tensors, and the caller frees the rest.
      const work = () => (name.startsWith("an op, because") ? tidy(call) : call());
      const attempt = () => {
        try {
          work();
        } catch {
          return;
        }
        expect.unreachable("it should throw");
      };
      attempt();
      optimizer.zeroGrad();
      const before = held();
      for (let i = 0; i < 50; i++) attempt();
      optimizer.zeroGrad();
      if (name.startsWith("an op, because")) expect(memory().tensors).toBe(before.tensors + 50);
      else expect(held()).toEqual(before);
    });
  }

  test("in 600 calls to jacobian", () => {
    const before = held();
    for (let i = 0; i < 600; i++) expect(() => jacobian((y: Tensor) => broken(y.exp()))(x)).toThrow("stop");
    expect(held()).toEqual(before);
  });
});
