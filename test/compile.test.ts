/** Compiled functions: the same bits as eager ones, one recording per kind of arguments, and what cannot be recorded. */
import {
  compile,
  grad,
  losses,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  randint,
  randn,
  type Tensor,
  TraceError,
  tensor,
  tidy,
  where,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { engine } from "../src/runtime/engine.ts";

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
  "dropout, GELU, AdamW with amsgrad, clipping, label smoothing": () => {
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

describe("what cannot be recorded says so", () => {
  test("reading a value, and what to do instead", () => {
    const f = compile((x: Tensor) => (x.sum().item() > 0 ? x : x.neg()));
    expect(() => f(tensor([1]))).toThrow(
      new TraceError(
        "item: the float32 tensor [] made by sum has no value while compile records the function. " +
          "Return it and read it outside; choose between values with where(…).",
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
      "compile: a float32 tensor that the function used when it was recorded was disposed since.",
    );
  });
  test("values from JavaScript written in place, and arguments of other kinds", () => {
    const x = zeros([1]);
    expect(() => compile(() => x.copyFrom([1]))()).toThrow("copyFrom: values from JavaScript would be written once");
    expect(() => compile((m: unknown) => m)(new Map())).toThrow(
      "compile: arguments are tensors, numbers, strings, booleans",
    );
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
