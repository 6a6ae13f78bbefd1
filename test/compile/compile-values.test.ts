/** Arguments, results and gradients of compiled functions. */
import { compile, grad, losses, nn, noGrad, optim, scalar, type Tensor, tensor, zeros } from "nabla";
import { describe, expect, test } from "vitest";

describe("arguments", () => {
  test("the same tensor can be passed twice", () => {
    const f = compile((x: Tensor, y: Tensor) => x.sub(y));
    const [a, b] = [tensor([5]), tensor([3])];
    expect([f(a, a).item(), f(a, b).item(), f(b, a).item()]).toEqual([0, 2, -2]);
  });
  test("typed arrays become tensors, and share recordings with tensors of their element type", () => {
    let recorded = 0;
    const f = compile(({ pixels, labels }: { pixels: Tensor; labels: Tensor }) => {
      recorded++;
      return pixels.to("float32").div(255).add(labels.to("float32"));
    });
    const labels = Int32Array.of(1, 2);
    expect(f({ pixels: Uint8Array.of(255, 0), labels }).toArray()).toEqual([2, 2]);
    expect(f({ pixels: Uint8Array.of(0, 255), labels: tensor(labels) }).toArray()).toEqual([1, 3]);
    expect(recorded).toBe(1);
    expect(f({ pixels: tensor([1, 1]), labels }).toArray()).toEqual([
      expect.closeTo(1.0039, 4),
      expect.closeTo(2.0039, 4),
    ]);
    expect(recorded).toBe(2);
    expect(compile((x: Tensor) => f({ pixels: x, labels: tensor(labels) }))(Uint8Array.of(0, 0)).toArray()).toEqual([
      1, 2,
    ]);
  });
  test("typed arrays have one dim, whatever the arguments before them were", () => {
    const f = compile((x: Tensor) => x.sum(0));
    const values = Float32Array.of(1, 2, 3, 4);
    expect(f(tensor(values, [2, 2])).toArray()).toEqual([4, 6]);
    expect(f(values).toArray()).toBe(10);
    expect(f(values.subarray(0, 3)).toArray()).toBe(6);
    expect(f(new Float32Array(5).fill(2)).toArray()).toBe(10);
    expect(f(Int32Array.of(1, 2, 3, 5)).toArray()).toBe(11);
    expect(f(values).toArray()).toBe(10);
    expect(f(tensor(values, [4, 1])).toArray()).toEqual([10]);
  });
  test("a disposed argument is rejected before anything is copied", () => {
    const f = compile((x: Tensor, y: Tensor) => [x, x.add(y)] as const);
    const gone = tensor([1]);
    const [x] = f(tensor([7]), tensor([1]));
    gone.dispose();
    expect(() => f(tensor([9]), gone)).toThrow(/was disposed by dispose\(\)/);
    expect(x.item()).toBe(7);
  });
  test("a scalar is re-read on every call", () => {
    let recorded = 0;
    const k = scalar(2);
    const f = compile((x: Tensor) => {
      recorded++;
      return x.mul(k);
    });
    expect(f(tensor([3])).item()).toBe(6);
    k.value = 5;
    for (let i = 0; i < 3; i++) expect([f(tensor([3])).item(), k.value]).toEqual([15, 5]);
    // The function runs a second time, to find tensors that were replaced.
    expect(recorded).toBe(2);
  });
  test("a function may have no arguments or more than four", () => {
    const f = compile((...xs: Tensor[]) => xs.reduce((a, b) => a.add(b)));
    expect(f(...[1, 2, 3, 4, 5, 6].map((v) => tensor([v]))).item()).toBe(21);
    expect(compile(() => tensor([4]).square())().item()).toBe(16);
  });
});

describe("results", () => {
  test("disposing a result neither breaks the next call nor lets it overwrite other tensors", () => {
    const f = compile((x: Tensor) => x.mul(2));
    const x = tensor(new Float32Array(1000).fill(1));
    f(x).dispose();
    const other = zeros([1000]);
    expect([f(x).sum().item(), other.sum().item()]).toEqual([2000, 0]);
  });
  test("a result that is also an argument is copied, and can be passed to the next call", () => {
    const next = compile((x: Tensor, before: Tensor) => [x.add(before), x] as const);
    let [a, b] = [tensor([1]), tensor([1])] as [Tensor, Tensor];
    const seen = [];
    for (let i = 0; i < 6; i++) seen.push(([a, b] = next(a, b) as unknown as [Tensor, Tensor])[0].item());
    expect(seen).toEqual([2, 3, 5, 8, 13, 21]);
    const swap = compile((x: Tensor, y: Tensor) => [y, x] as const);
    expect(swap(...swap(tensor([1]), tensor([2]))).map((x) => x.item())).toEqual([1, 2]);
  });
  test("results that are constants are reset on every call", () => {
    const f = compile(() => tensor([7, 8]));
    f().copyFrom([1, 1]);
    expect(f().toArray()).toEqual([7, 8]);
  });
  test("results outlive the eviction of their recording, and dispose() frees them", () => {
    const f = compile((x: Tensor, k: number) => x.mul(k));
    const first = f(tensor([3]), 1);
    for (let k = 2; k < 12; k++) f(tensor([1]), k);
    expect(first.item()).toBe(3);
    const last = f(tensor([1]), 11);
    f.dispose();
    expect(last.isDisposed).toBe(true);
  });
  test("backward fails if the next call has overwritten a result that it needs", () => {
    const w = nn.parameter(tensor([1, 1]));
    const f = compile((x: Tensor) => x.mul(2));
    const z = f(tensor([1, 2]))
      .mul(w)
      .sum();
    f(tensor([100, 100]));
    expect(() => z.backward()).toThrow("was changed in place");
  });
  test("results must be tensors, arrays or plain objects, and not promises", () => {
    const f = compile((x: Tensor) => new Map([["a", x.mul(2)]]));
    expect(() => f(tensor([1]))).toThrow("compile(f): results must be tensors, or arrays and plain objects of them");
    expect(() => compile(async (x: Tensor) => x.mul(2))(tensor([1]))).toThrow("compile: f returned a promise");
  });
});

describe("gradients", () => {
  test("grad(compile(f)) equals grad(f)", () => {
    const f = compile((x: Tensor) => x.square().sum());
    expect(grad(f)(tensor([1, 2])).toArray()).toEqual([2, 4]);
    const w = nn.parameter(tensor([3]));
    const g = compile((v: Tensor, x: Tensor) => {
      v.clearGrad();
      v.mul(x).sum().backward();
    });
    g(w, tensor([5]));
    expect(w.grad!.item()).toBe(5);
  });
  test("backward through a result of a compiled function is rejected", () => {
    const w = nn.parameter(tensor([1, 1]));
    const y = compile((x: Tensor) => x.mul(w).sum())(tensor([1, 2]));
    expect(() => y.add(w.sum()).backward()).toThrow(
      "backward: gradients do not flow through the results of a compiled function. Differentiate inside it and return the gradients.",
    );
  });
  test("explain does not change gradients", () => {
    const w = nn.parameter(tensor([3]));
    const optimizer = new optim.SGD([w], { lr: 1 });
    w.mul(2).sum().backward();
    compile((x: Tensor) => optimizer.minimize(() => w.mul(x).sum())).explain([tensor([1])]);
    expect(w.grad!.item()).toBe(2);
    optimizer.step();
    expect(w.item()).toBe(1);
  });
  test("gradients that the function clears are cleared on every call", () => {
    const [p, q] = [nn.parameter(tensor([1])), nn.parameter(tensor([1]))];
    const optimizer = new optim.SGD([p, q], { lr: 0 });
    const step = compile((x: Tensor) => optimizer.minimize(() => p.mul(x).sum()));
    step(tensor([1]));
    q.mul(5).sum().backward();
    step(tensor([1]));
    expect([p.grad!.item(), q.grad]).toEqual([1, null]);
  });
  test("a call inside noGrad has its own recording", () => {
    const w = nn.parameter(tensor([2]));
    const f = compile((x: Tensor) => (x.mul(w).requiresGrad ? x.mul(10) : x));
    expect([f(tensor([3])).item(), noGrad(() => f(tensor([3])).item())]).toEqual([30, 3]);
  });
});

test("the gradient of crossEntropy overwrites the logits, unless something reads them later", () => {
  const [rows, width, classes] = [64, 4, 5000];
  const arena = (isRead: boolean): number => {
    const layer = new nn.Linear(width, classes, { bias: false });
    const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
    const step = compile((x: Tensor, labels: Tensor) => {
      const logits = layer.forward(x);
      const loss = losses.crossEntropy(logits, labels);
      optimizer.minimize(loss);
      return isRead ? logits.detach().max() : loss;
    });
    // All logits are 0.
    const result = step(zeros([rows, width]), tensor(new Int32Array(rows).fill(3)));
    expect(result.item()).toBeCloseTo(isRead ? 0 : Math.log(classes), 5);
    return step.explain().arenaBytes / (4 * rows * classes);
  };
  expect(arena(false)).toBeLessThan(1.5);
  expect(arena(true)).toBeGreaterThan(2);
});
