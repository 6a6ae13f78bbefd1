/** Compiled functions: the same bits as eager ones, one recording per kind of arguments, and what cannot be recorded. */

import { inspect } from "node:util";
import {
  compile,
  grad,
  losses,
  manualSeed,
  memory,
  nn,
  noGrad,
  OutOfMemoryError,
  optim,
  randint,
  randn,
  scalar,
  type Tensor,
  TraceError,
  tensor,
  tidy,
  where,
  zeros,
} from "nabla";
import { describe, expect, test, vi } from "vitest";
import { engine } from "../../src/runtime/engine.ts";

/** A model, an optimizer and a loss, made anew from a seed: twice the same. */
interface Training {
  model: nn.Module;
  optimizer: optim.Optimizer;
  loss: (x: Tensor, y: Tensor) => Tensor;
  data: () => [Tensor, Tensor];
}
const trainings: Record<string, () => Training> = {
  "MLP with Adam and cross-entropy": () => {
    const model = new nn.Sequential(new nn.Linear(20, 32), new nn.ReLU(), new nn.Linear(32, 5));
    return {
      model,
      optimizer: new optim.Adam(model.parameters(), { lr: 1e-2 }),
      loss: (x, y) => losses.crossEntropy(model.forward(x), y),
      data: () => [randn([16, 20]), randint(0, 5, [16])],
    };
  },
  "dropout, GELU, AdamW with amsgrad, label smoothing": () => {
    const model = new nn.Sequential(new nn.Linear(7, 33), new nn.GELU(), new nn.Dropout(0.3), new nn.Linear(33, 3));
    const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-2, amsgrad: true });
    return {
      model,
      optimizer,
      loss: (x, y) => losses.crossEntropy(model.forward(x), y, { labelSmoothing: 0.1 }),
      data: () => [randn([9, 7]), randint(0, 3, [9])],
    };
  },
  "XOR's shape with SGD, momentum, Nesterov and bceWithLogits": () => {
    const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
    return {
      model,
      optimizer: new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9, nesterov: true }),
      loss: (x, y) => losses.bceWithLogits(model.forward(x), y),
      data: () => [randn([4, 2]), randn([4, 1]).gt(0).to("float32")],
    };
  },
  "a gradient penalty by double backward, with RMSProp": () => {
    const model = new nn.Sequential(new nn.Linear(3, 10), new nn.Softplus(), new nn.Linear(10, 1));
    return {
      model,
      optimizer: new optim.RMSProp(model.parameters(), { lr: 1e-3, momentum: 0.5, centered: true }),
      loss: (x, y) => {
        const penalty = grad((z: Tensor) => model.forward(z).sum())(x)
          .square()
          .mean();
        return losses.mse(model.forward(x), y).add(penalty.mul(0.1));
      },
      data: () => [randn([6, 3]), randn([6, 1])],
    };
  },
};

describe("same bits, eager and compiled, over 100 steps", () => {
  for (const [name, make] of Object.entries(trainings)) {
    test(name, () => {
      const run = (compiled: boolean): number[] => {
        manualSeed(11);
        const { model, optimizer, loss, data } = make();
        const step = (x: Tensor, y: Tensor) => optimizer.minimize(() => loss(x, y));
        const call = compiled ? compile(step) : step;
        const seen: number[] = [];
        for (let i = 0; i < 100; i++) {
          const [x, y] = data();
          if (i === 60) optimizer.lr /= 3;
          seen.push(call(x, y).item());
        }
        return [...seen, ...model.parameters().flatMap((p) => [...p.data, ...p.grad!.data])];
      };
      expect(run(true)).toEqual(run(false));
    });
  }
});

describe("recordings", () => {
  test("are made once per shapes, types, numbers, and train or eval", () => {
    const dropout = new nn.Dropout(0.5);
    let recorded = 0;
    const f = compile((x: Tensor, k: number) => {
      recorded++;
      return dropout.forward(x).mul(k);
    });
    const x = tensor(new Float32Array(50).fill(1));
    for (let i = 0; i < 3; i++) f(x, 2);
    expect(recorded).toBe(1);
    f(x, 3);
    f(x.reshape([5, 10]), 2);
    expect(recorded).toBe(3);
    dropout.eval();
    expect(f(x, 2).toArray()).toEqual(new Array(50).fill(2));
    dropout.train();
    expect(new Set(f(x, 2).data)).toEqual(new Set([0, 4]));
    expect(recorded).toBe(4);
  });
  test("random numbers differ from call to call, and are the eager ones", () => {
    const f = compile(() => randn([4]));
    manualSeed(5);
    const drawn = [f().toArray(), f().toArray()];
    manualSeed(5);
    expect(drawn).toEqual([randn([4]).toArray(), randn([4]).toArray()]);
    expect(drawn[0]).not.toEqual(drawn[1]);
  });
  test("take and return nested structures; results are overwritten by the next call, clones are not", () => {
    const f = compile(({ a, list }: { a: Tensor; list: Tensor[] }) => ({
      sum: a.add(list[0]!),
      same: a,
      both: [a.mul(2)],
    }));
    const first = f({ a: tensor([1, 2]), list: [tensor([10])] });
    expect([first.sum.toArray(), first.same.toArray(), first.both[0]!.toArray()]).toEqual([
      [11, 12],
      [1, 2],
      [2, 4],
    ]);
    const kept = first.sum.clone();
    const second = f({ a: tensor([5, 6]), list: [tensor([0])] });
    expect(second.sum).toBe(first.sum);
    expect([first.sum.toArray(), kept.toArray()]).toEqual([
      [5, 6],
      [11, 12],
    ]);
  });
  test("see parameters change, from outside and from inside", () => {
    const w = nn.parameter(tensor([2]));
    const f = compile((x: Tensor) => x.mul(w));
    expect(f(tensor([3])).item()).toBe(6);
    noGrad(() => w.copyFrom([5]));
    expect(f(tensor([3])).item()).toBe(15);
  });
  test("inline a compiled function inside a compiled function", () => {
    const inner = compile((x: Tensor) => x.exp());
    const outer = compile((x: Tensor) => inner(x).add(1));
    expect(outer(tensor([0])).item()).toBe(2);
  });
  test("for several kinds of arguments share parameters and gradients, which may be cleared at any time", () => {
    const run = (compiled: boolean): unknown => {
      const w = nn.parameter(tensor([2, 3]));
      const optimizer = new optim.Adam([w], { lr: 0.1 });
      const eager = (x: Tensor) => optimizer.minimize(() => w.mul(x).square().sum());
      const step = compiled ? compile(eager) : eager;
      const seen: unknown[] = [];
      for (const rows of [4, 2, 4, 1, 2]) {
        seen.push(step(tensor(new Float32Array(2 * rows).fill(0.5), [rows, 2])).item(), w.grad!.toArray());
        if (rows === 1) optimizer.zeroGrad();
      }
      return [seen, w.toArray()];
    };
    expect(run(true)).toEqual(run(false));
  });
  test("leave gradients where eager mode leaves them", () => {
    const w = nn.parameter(tensor([2, 3]));
    const optimizer = new optim.SGD([w], { lr: 0 });
    const step = compile((x: Tensor) => optimizer.minimize(() => w.mul(x).sum()));
    step(tensor([5, 7]));
    expect(w.grad!.toArray()).toEqual([5, 7]);
    step(tensor([1, 2]));
    expect(w.grad!.toArray()).toEqual([1, 2]);
  });
});

describe("arguments", () => {
  test("the same tensor twice is two arguments", () => {
    const f = compile((x: Tensor, y: Tensor) => x.sub(y));
    const [a, b] = [tensor([5]), tensor([3])];
    expect([f(a, a).item(), f(a, b).item(), f(b, a).item()]).toEqual([0, 2, -2]);
  });
  test("typed arrays arrive as tensors, and share recordings with tensors of their type", () => {
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
  test("a disposed argument is refused before anything is copied", () => {
    const f = compile((x: Tensor, y: Tensor) => [x, x.add(y)] as const);
    const gone = tensor([1]);
    const [x] = f(tensor([7]), tensor([1]));
    gone.dispose();
    expect(() => f(tensor([9]), gone)).toThrow(/was disposed by dispose\(\)/);
    expect(x.item()).toBe(7);
  });
  test("a scalar is read anew at each call, a number is part of the recording", () => {
    let recorded = 0;
    const k = scalar(2);
    const f = compile((x: Tensor) => {
      recorded++;
      return x.mul(k);
    });
    expect(f(tensor([3])).item()).toBe(6);
    k.value = 5;
    for (let i = 0; i < 3; i++) expect([f(tensor([3])).item(), k.value]).toEqual([15, 5]);
    // The second recording finds whether the variable holds another tensor.
    expect(recorded).toBe(2);
  });
  test("more than four, and none", () => {
    const f = compile((...xs: Tensor[]) => xs.reduce((a, b) => a.add(b)));
    expect(f(...[1, 2, 3, 4, 5, 6].map((v) => tensor([v]))).item()).toBe(21);
    expect(compile(() => tensor([4]).square())().item()).toBe(16);
  });
});

describe("results", () => {
  test("disposed by their caller, come back with the next call, and nothing of others is overwritten", () => {
    const f = compile((x: Tensor) => x.mul(2));
    const x = tensor(new Float32Array(1000).fill(1));
    f(x).dispose();
    const other = zeros([1000]);
    expect([f(x).sum().item(), other.sum().item()]).toEqual([2000, 0]);
  });
  test("that are arguments are copies: fed back, each keeps its own value", () => {
    const next = compile((x: Tensor, before: Tensor) => [x.add(before), x] as const);
    let [a, b] = [tensor([1]), tensor([1])] as [Tensor, Tensor];
    const seen = [];
    for (let i = 0; i < 6; i++) seen.push(([a, b] = next(a, b) as unknown as [Tensor, Tensor])[0].item());
    expect(seen).toEqual([2, 3, 5, 8, 13, 21]);
    const swap = compile((x: Tensor, y: Tensor) => [y, x] as const);
    expect(swap(...swap(tensor([1]), tensor([2]))).map((x) => x.item())).toEqual([1, 2]);
  });
  test("that are constants of the function are made anew", () => {
    const f = compile(() => tensor([7, 8]));
    f().copyFrom([1, 1]);
    expect(f().toArray()).toEqual([7, 8]);
  });
  test("outlive the recording if it is the least recently used, and go with dispose()", () => {
    const f = compile((x: Tensor, k: number) => x.mul(k));
    const first = f(tensor([3]), 1);
    for (let k = 2; k < 12; k++) f(tensor([1]), k);
    expect(first.item()).toBe(3);
    const last = f(tensor([1]), 11);
    f.dispose();
    expect(last.isDisposed).toBe(true);
  });
  test("that a gradient still needs may not be overwritten unseen", () => {
    const w = nn.parameter(tensor([1, 1]));
    const f = compile((x: Tensor) => x.mul(2));
    const z = f(tensor([1, 2]))
      .mul(w)
      .sum();
    f(tensor([100, 100]));
    expect(() => z.backward()).toThrow("was changed in place");
  });
  test("are tensors in arrays and plain objects, and not promises", () => {
    const f = compile((x: Tensor) => new Map([["a", x.mul(2)]]));
    expect(() => f(tensor([1]))).toThrow("compile(f): results must be tensors, or arrays and plain objects of them");
    expect(() => compile(async (x: Tensor) => x.mul(2))(tensor([1]))).toThrow("compile: f returned a promise");
  });
});

describe("gradients", () => {
  test("flow through f when it is asked for them: grad(compile(f)) is grad(f)", () => {
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
  test("do not flow through results unseen", () => {
    const w = nn.parameter(tensor([1, 1]));
    const y = compile((x: Tensor) => x.mul(w).sum())(tensor([1, 2]));
    expect(() => y.add(w.sum()).backward()).toThrow(
      "backward: gradients do not flow through the results of a compiled function. Differentiate inside it and return the gradients.",
    );
  });
  test("are as they were after explain, which runs nothing", () => {
    const w = nn.parameter(tensor([3]));
    const optimizer = new optim.SGD([w], { lr: 1 });
    w.mul(2).sum().backward();
    compile((x: Tensor) => optimizer.minimize(() => w.mul(x).sum())).explain([tensor([1])]);
    expect(w.grad!.item()).toBe(2);
    optimizer.step();
    expect(w.item()).toBe(1);
  });
  test("that f forgets are forgotten at every call", () => {
    const [p, q] = [nn.parameter(tensor([1])), nn.parameter(tensor([1]))];
    const optimizer = new optim.SGD([p, q], { lr: 0 });
    const step = compile((x: Tensor) => optimizer.minimize(() => p.mul(x).sum()));
    step(tensor([1]));
    q.mul(5).sum().backward();
    step(tensor([1]));
    expect([p.grad!.item(), q.grad]).toEqual([1, null]);
  });
  test("noGrad around a call is another recording", () => {
    const w = nn.parameter(tensor([2]));
    const f = compile((x: Tensor) => (x.mul(w).requiresGrad ? x.mul(10) : x));
    expect([f(tensor([3])).item(), noGrad(() => f(tensor([3])).item())]).toEqual([30, 3]);
  });
});

describe("what a recording takes for granted", () => {
  test("a compiled function may call itself, and set its modes", () => {
    const f: (x: Tensor, depth: number) => Tensor = compile(
      (x: Tensor, depth: number): Tensor => (depth ? f(x.mul(2), depth - 1) : x.add(0)),
    );
    expect(f(tensor([1, 2]), 2).toArray()).toEqual([4, 8]);
    const dropout = new nn.Dropout(0.5);
    let recorded = 0;
    const g = compile((x: Tensor) => {
      recorded++;
      dropout.eval();
      const y = dropout.forward(x);
      dropout.train();
      return y.add(1);
    });
    for (let i = 0; i < 5; i++) expect(g(tensor([1])).item()).toBe(2);
    expect(recorded).toBe(1);
  });
  test("long functions are recorded in time that grows with their length, not with its square", () => {
    const time = (n: number): number => {
      const f = compile((x: Tensor) => {
        let y = x;
        for (let i = 0; i < n; i++) y = y.add(1).mul(0.5);
        return y;
      });
      const before = performance.now();
      f(tensor([1]));
      return performance.now() - before;
    };
    time(100);
    expect(time(4000)).toBeLessThan(16 * 5 * time(250));
  });
  const make = () => {
    const w = nn.parameter(tensor([2]));
    const b = nn.parameter(tensor([1]));
    b.requiresGrad = false;
    const optimizer = new optim.SGD([{ params: [w] }], { lr: 1 });
    let recorded = 0;
    const step = compile((x: Tensor) => {
      recorded++;
      return optimizer.minimize(() => w.mul(x).add(b).sum());
    });
    return { w, b, optimizer, step, count: () => recorded };
  };
  test("another learning rate needs no recording, other options do", () => {
    const { w, optimizer, step, count } = make();
    step(tensor([1]));
    optimizer.lr = 0.5;
    step(tensor([1]));
    optimizer.paramGroups[0]!.options.lr = 0.25;
    step(tensor([1]));
    expect([w.item(), count()]).toEqual([2 - 1 - 0.5 - 0.25, 2]); // b, in a variable, may be another tensor by the second call
    optimizer.paramGroups[0]!.options.weightDecay = 1;
    step(tensor([1]));
    expect([w.item(), count()]).toEqual([0.25 - 0.25 * 1.25, 3]);
  });
  test("parameters frozen or added later are seen", () => {
    const { w, b, optimizer, step, count } = make();
    step(tensor([1]));
    b.requiresGrad = true;
    optimizer.addParamGroup({ params: [b], lr: 1 });
    step(tensor([1]));
    expect([w.item(), b.item(), count()]).toEqual([0, 0, 2]);
    optimizer.zeroGrad();
    b.requiresGrad = false;
    step(tensor([1]));
    expect([w.item(), b.item(), count()]).toEqual([-1, 0, 3]);
  });
  test("arguments that keep changing are warned of, once", () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const f = compile((x: Tensor, k: number) => x.mul(k), { name: "scale" });
    for (let k = 0; k < 40; k++) expect(f(tensor([1]), k).item()).toBe(k);
    expect(warn.mock.calls).toEqual([
      [
        "compile: scale was recorded 16 times because arguments, modes or options keep changing. " +
          "Pass changing numbers as scalar(…) or tensors, and pad batches to one size.",
      ],
    ]);
    warn.mockRestore();
  });
});

describe("explain and profile", () => {
  const model = new nn.Sequential(new nn.Linear(20, 32), new nn.ReLU(), new nn.Linear(32, 5));
  const optimizer = new optim.Adam(model.parameters());
  const make = () =>
    compile((x: Tensor, y: Tensor) => optimizer.minimize(() => losses.crossEntropy(model.forward(x), y)), {
      name: "step",
    });
  const args = (): [Tensor, Tensor] => [randn([16, 20]), randint(0, 5, [16])];

  test("explain lists instructions with shapes, places, FLOPs and what was fused", () => {
    const step = make();
    expect(() => step.explain()).toThrow(
      "compile(step): nothing is recorded yet. Call the function first, or explain([…]) with arguments.",
    );
    const explained = step.explain(args());
    const [first] = explained.steps;
    expect(first).toMatchObject({
      name: "matmul(A·Bᵀ) + relu",
      fused: ["matmul", "relu"],
      shapes: "[16×20] [32×20] [32] → [16×32]",
      bytes: 4 * 16 * 32,
      flops: 2 * 16 * 20 * 32,
    });
    expect(first!.site).toMatch(/^compile\.test\.ts:\d+:\d+$/);
    expect(explained.steps.at(-1)!.name).toBe("Adam ×4");
    expect(explained.recorded).toBeGreaterThan(explained.steps.length);
    expect(explained.arenaBytes).toBeLessThan(explained.naiveBytes);
    const text = String(explained);
    expect(text).toMatch(
      /^step\(float32\[16, 20\], int32\[16\]\): \d+ ops in \d+ instructions, \S+ kFLOP, \S+ kB of arena for \S+ kB of values\n/,
    );
    expect(text.split("\n")).toHaveLength(explained.steps.length + 2);
    expect(inspect(explained)).toBe(text);
  });
  test("profile calls it for real and tells each instruction's share", () => {
    const step = make();
    const before = model.parameters()[0]!.data;
    const profile = step.profile(args(), { calls: 5 });
    expect(model.parameters()[0]!.data).not.toEqual(before);
    expect(profile.steps.map(({ name }) => name)).toEqual(step.explain().steps.map(({ name }) => name));
    expect(profile.steps.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
    for (const { microseconds, gflops, ofCeiling } of profile.steps) {
      expect(microseconds).toBeGreaterThanOrEqual(0);
      expect(ofCeiling).toBeCloseTo(gflops / profile.ceiling, 9);
    }
    expect(profile.ceiling).toBeGreaterThan(1);
    expect(String(profile).split("\n")).toHaveLength(profile.steps.length + 2);
    expect(() => step.profile(args(), { calls: 0 })).toThrow("profile: calls is 0");
  });
  test("profiling gives the bits of calling", () => {
    const run = (profiled: boolean): number[] => {
      manualSeed(3);
      const net = new nn.Linear(4, 2);
      const sgd = new optim.SGD(net.parameters(), { lr: 0.1 });
      const step = compile((x: Tensor) => sgd.minimize(() => net.forward(x).square().mean()));
      const x = randn([3, 4]);
      if (profiled) step.profile([x], { calls: 3 });
      else for (let i = 0; i < 6; i++) step(x);
      return Array.from(net.parameters()[0]!.data);
    };
    expect(run(true)).toEqual(run(false));
  });
});

describe("memory", () => {
  test("a steady state allocates nothing, and dispose gives all back", () => {
    manualSeed(1);
    const { optimizer, loss, data } = trainings["MLP with Adam and cross-entropy"]!();
    const step = compile((x: Tensor, y: Tensor) => optimizer.minimize(() => loss(x, y)));
    const [x, y] = data();
    optimizer.minimize(() => loss(x, y)).dispose();
    optimizer.zeroGrad();
    const before = memory();
    step(x, y);
    const { heap } = engine();
    let calls = 0;
    const { allocate } = heap;
    heap.allocate = (bytes) => {
      calls++;
      return allocate.call(heap, bytes);
    };
    const { bytes, tensors } = memory();
    for (let i = 0; i < 1000; i++) step(x, y);
    heap.allocate = allocate;
    expect([calls, memory().bytes, memory().tensors]).toEqual([0, bytes, tensors]);
    step.dispose();
    optimizer.zeroGrad();
    expect(memory().bytes).toBe(before.bytes);
    expect(memory().tensors).toBe(before.tensors);
  });
});

test("a recording for which there is no memory leaves nothing behind, wherever it fails", () => {
  const w = nn.parameter(randn([30, 20]));
  const optimizer = new optim.SGD([w], { lr: 0.1 });
  const step = compile((x: Tensor) => optimizer.minimize(() => x.matmul(w).tanh().square().mean()));
  const x = randn([10, 30]);
  step(x);
  step.dispose();
  optimizer.zeroGrad();
  const { heap } = engine();
  const { allocate } = heap;
  const before = memory();
  let failures = 0;
  for (let limit = 0; ; limit++) {
    let calls = 0;
    heap.allocate = (bytes) => {
      if (calls++ === limit) throw new OutOfMemoryError(bytes, heap.inUse, heap.limit);
      return allocate.call(heap, bytes);
    };
    try {
      step(x);
      break;
    } catch (error) {
      expect(error).toBeInstanceOf(OutOfMemoryError);
      failures++;
    } finally {
      heap.allocate = allocate;
    }
    expect([memory().bytes, memory().tensors, w.grad], `allocation ${limit} fails`).toEqual([
      before.bytes,
      before.tensors,
      null,
    ]);
  }
  expect(failures).toBeGreaterThan(3);
});

describe("what cannot be recorded says so", () => {
  test("writes that would be lost, or would last", () => {
    const lost = compile((x: Tensor) => x.copyFrom(x.add(1)));
    expect(() => lost(tensor([1]))).toThrow(
      "copyFrom: compile's function would write to its own copy of an argument. Return the new value instead, or use the tensor without passing it.",
    );
    const lasting = compile((x: Tensor) => tensor([0]).copyFrom(x));
    expect(() => lasting(tensor([1]))).toThrow(
      "copyFrom: values made inside compile's function from numbers are constants, and a write would change them for all calls. Write to a clone().",
    );
    const clone = compile((x: Tensor) => {
      const sum = tensor([1]).clone();
      return sum.copyFrom(sum.add(x)).mul(1);
    });
    for (let i = 0; i < 3; i++) expect(clone(tensor([1])).item()).toBe(2);
  });
  test("tensors that are to outlive the function they are made in", () => {
    let kept: Tensor | undefined;
    const f = compile((x: Tensor) => {
      kept ??= zeros([2]).keep();
      return kept.add(x);
    });
    f(tensor([1, 2]));
    expect(() => kept!.add(1)).toThrow(
      "add: a float32 tensor [2] was made while compile recorded a function, so it has no memory. Make it outside of the function, or return it.",
    );
    expect(() => f(tensor([[1, 2]]))).toThrow("was made while compile recorded another function");
  });
  test("reading a value, and what to do instead", () => {
    const f = compile((x: Tensor) => (x.sum().item() > 0 ? x : x.neg()));
    // The line that made the value, and what to do instead.
    expect(() => f(tensor([1]))).toThrow(TraceError);
    expect(() => f(tensor([1]))).toThrow(
      new RegExp(
        `^item: the float32 tensor \\[\\] made by sum at compile\\.test\\.ts:\\d+:\\d+ has no value while compile records the function. ` +
          "Return it and read it outside, or choose between values with where\\(…\\)\\.$",
      ),
    );
    const g = compile((x: Tensor) => where(x.sum().gt(0), x, x.neg()));
    expect(g(tensor([-1, -2])).toArray()).toEqual([1, 2]);
  });
  test("gradients that each call would add to", () => {
    const w = nn.parameter(tensor([1]));
    const f = compile((x: Tensor) => w.mul(x).sum().backward());
    expect(() => f(tensor([1]))).toThrow(/Call optimizer.zeroGrad\(\) inside the function/);
    expect(w.grad).toBe(null);
    w.mul(2).sum().backward();
    expect(() => f(tensor([1]))).toThrow(/has a gradient from before compile's function/);
    expect(w.grad!.toArray()).toEqual([2]);
  });
  test("a tensor that it used and that was disposed since", () => {
    const w = tensor([1]);
    const f = compile((x: Tensor) => x.add(w));
    f(tensor([1]));
    w.dispose();
    expect(() => f(tensor([1]))).toThrow(
      /^compile: a float32 tensor that the function used when it was recorded \(in add at compile\.test\.ts:\d+:\d+\) was disposed\. Compile the function again\.$/,
    );
  });
  test("values from JavaScript written in place, and arguments of other kinds", () => {
    const x = zeros([1]);
    expect(() => compile(() => x.copyFrom([1]))()).toThrow("copyFrom: values from JavaScript would be written once");
    expect(() => compile((m: unknown) => m)(new Map())).toThrow(
      "compile(f): arguments must be tensors, typed arrays, numbers, strings, booleans",
    );
    const loop: unknown[] = [];
    loop.push(loop);
    expect(() => compile((m: unknown) => m)(loop)).toThrow("an argument contains itself");
    expect(() => compile((m: unknown) => m)(new DataView(new ArrayBuffer(4)))).toThrow("arguments must be tensors");
  });
  test("a function that fails leaves nothing behind", () => {
    const w = nn.parameter(tensor([1]));
    const optimizer = new optim.SGD([w], { lr: 1 });
    const f = compile(() => {
      optimizer.minimize(() => w.sum());
      throw new Error("stop");
    });
    const before = memory().bytes;
    for (let i = 0; i < 3; i++) expect(() => tidy(() => f())).toThrow("stop");
    expect([w.item(), w.grad]).toEqual([1, null]);
    expect(memory().bytes).toBeLessThanOrEqual(before + 128);
  });
});
