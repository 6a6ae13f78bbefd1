/**
 * Compiled functions: the same bits as in eager mode, one recording per combination of argument shapes and types, and no allocation in the
 * steady state.
 */
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
  type Tensor,
  tensor,
} from "nabla";
import { describe, expect, test, vi } from "vitest";
import { engine } from "../../src/runtime/engine.ts";

/** A model, an optimizer, a loss and random data. The seed determines all of them. */
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
  "dropout, GELU, AdamW with amsgrad and label smoothing": () => {
    const model = new nn.Sequential(new nn.Linear(7, 33), new nn.GELU(), new nn.Dropout(0.3), new nn.Linear(33, 3));
    const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-2, amsgrad: true });
    return {
      model,
      optimizer,
      loss: (x, y) => losses.crossEntropy(model.forward(x), y, { labelSmoothing: 0.1 }),
      data: () => [randn([9, 7]), randint(0, 3, [9])],
    };
  },
  "a tiny MLP with SGD, Nesterov momentum and bceWithLogits": () => {
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

describe("eager and compiled training are bit-identical over 100 steps", () => {
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
  test("a function is recorded once per combination of shapes, element types, numbers and modes", () => {
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
  test("random numbers differ between calls and match those in eager mode", () => {
    const f = compile(() => randn([4]));
    manualSeed(5);
    const drawn = [f().toArray(), f().toArray()];
    manualSeed(5);
    expect(drawn).toEqual([randn([4]).toArray(), randn([4]).toArray()]);
    expect(drawn[0]).not.toEqual(drawn[1]);
  });
  test("arguments and results may be nested; the next call overwrites results, but not clones", () => {
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
  test("a parameter's new values are used in the next call", () => {
    const w = nn.parameter(tensor([2]));
    const f = compile((x: Tensor) => x.mul(w));
    expect(f(tensor([3])).item()).toBe(6);
    noGrad(() => w.copyFrom([5]));
    expect(f(tensor([3])).item()).toBe(15);
  });
  test("a compiled function is inlined into another compiled function", () => {
    const inner = compile((x: Tensor) => x.exp());
    const outer = compile((x: Tensor) => inner(x).add(1));
    expect(outer(tensor([0])).item()).toBe(2);
  });
  test("recordings of one function share parameters and gradients, which may be cleared at any time", () => {
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
  test(".grad is set as in eager mode", () => {
    const w = nn.parameter(tensor([2, 3]));
    const optimizer = new optim.SGD([w], { lr: 0 });
    const step = compile((x: Tensor) => optimizer.minimize(() => w.mul(x).sum()));
    step(tensor([5, 7]));
    expect(w.grad!.toArray()).toEqual([5, 7]);
    step(tensor([1, 2]));
    expect(w.grad!.toArray()).toEqual([1, 2]);
  });
});

describe("conditions of a recording", () => {
  test("a compiled function may call itself, and switch modules between train and eval", () => {
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
  test("the time to record is not quadratic in the length of the function", () => {
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
  test("a new learning rate needs no new recording, but other new options do", () => {
    const { w, optimizer, step, count } = make();
    step(tensor([1]));
    optimizer.lr = 0.5;
    step(tensor([1]));
    optimizer.paramGroups[0]!.options.lr = 0.25;
    step(tensor([1]));
    expect([w.item(), count()]).toEqual([2 - 1 - 0.5 - 0.25, 2]); // The function runs a second time, because b could have been replaced.
    optimizer.paramGroups[0]!.options.weightDecay = 1;
    step(tensor([1]));
    expect([w.item(), count()]).toEqual([0.25 - 0.25 * 1.25, 3]);
  });
  test("the next call sees parameters that were frozen or added", () => {
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
  test("arguments that keep changing cause one warning", () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const f = compile((x: Tensor, k: number) => x.mul(k), { name: "scale" });
    for (let k = 0; k < 40; k++) expect(f(tensor([1]), k).item()).toBe(k);
    expect(warn.mock.calls).toEqual([
      [
        "compile: scale was recorded 16 times because arguments, modes or options keep changing. " +
          "Pass changing numbers as scalar(…) or tensors, and pad batches to the same size.",
      ],
    ]);
    warn.mockRestore();
  });
});

describe("memory", () => {
  test("repeated calls allocate nothing, and dispose frees everything", () => {
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

test("a recording that runs out of memory at any allocation frees everything", () => {
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
