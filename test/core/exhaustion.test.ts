/** Running out of memory at any allocation changes no state: a retry is bit-identical to an uninterrupted run. */
import { compile, grad, hessian, jacobian, jvp, losses, manualSeed, memory, nn, optim, randn, type Tensor, tensor, tidy, valueAndGrad, vjp } from "nabla"; // biome-ignore format: one line
import { expect, test } from "vitest";
import { engine, randomState } from "../../src/runtime/engine.ts";
import { OutOfMemoryError } from "../../src/runtime/errors.ts";

/** Runs f and makes allocation number `limit` fail. Returns whether f reached that allocation. */
function failingAt(limit: number, f: () => unknown): boolean {
  const { heap } = engine();
  const { allocate } = heap;
  let calls = 0;
  heap.allocate = (bytes) => {
    if (calls++ === limit) throw new OutOfMemoryError(bytes, heap.inUse, heap.limit);
    return allocate.call(heap, bytes);
  };
  try {
    f();
  } catch (error) {
    if (error instanceof OutOfMemoryError) return true;
    throw error;
  } finally {
    heap.allocate = allocate;
  }
  expect(calls).toBeLessThanOrEqual(limit);
  return false;
}

interface Job {
  readonly step: () => unknown;
  /** All state that a step changes. */
  readonly state: () => unknown;
  readonly dispose: () => void;
}

const held = () => ({ bytes: memory().bytes, tensors: memory().tensors });
const values = (tensors: Iterable<Tensor>): number[][] => Array.from(tensors, (x) => Array.from(x.data));

/**
 * Runs a job once for each allocation in its first step, and makes that allocation fail. Asserts that the failure changes no state, and
 * that a retry leads to the same final state as an uninterrupted run.
 */
function expectAtomic(begin: () => Job): void {
  /** Runs two steps. If allocation number `limit` fails in the first step, retries that step. */
  const run = (limit: number): { failed: boolean; end: unknown } => {
    manualSeed(4);
    const job = begin();
    const [before, state] = [held(), job.state()];
    const failed = failingAt(limit, job.step);
    if (failed) {
      expect(job.state(), `allocation ${limit} fails`).toEqual(state);
      expect(held(), `allocation ${limit} fails`).toEqual(before);
      job.step();
    }
    job.step();
    const end = job.state();
    job.dispose();
    return { failed, end };
  };
  run(Number.POSITIVE_INFINITY); // allocates constants and scratch memory
  const before = held();
  const { end } = run(Number.POSITIVE_INFINITY);
  let limit = 0;
  for (let now = run(limit); now.failed; now = run(++limit)) expect(now.end, `allocation ${limit} fails`).toEqual(end);
  expect(limit).toBeGreaterThan(1);
  expect(held()).toEqual(before);
}

type Optimizer = optim.Adam | optim.SGD | optim.Muon;

function training(
  makeOptimizer: (params: Tensor[]) => Optimizer,
  step: (model: nn.Module, optimizer: Optimizer, x: Tensor, labels: Tensor) => () => Tensor,
  makeModel = () =>
    new nn.Sequential(
      new nn.Linear(3, 4),
      new nn.BatchNorm1d(4),
      new nn.Dropout(0.5),
      new nn.Linear(4, 2, { bias: false }),
    ),
): Job {
  const model = makeModel();
  const optimizer = makeOptimizer(model.parameters());
  const [x, labels] = [randn([5, 3]), tensor([0, 1, 0, 1, 1], { dtype: "int32" })];
  const run = step(model, optimizer, x, labels);
  const results: number[][] = [];
  return {
    step: () => tidy(() => void results.push(...values([run()]))),
    state: () => ({
      results: [...results],
      weights: values(Object.values(model.stateDict())),
      optimizer: optimizer.stateDict().state.map((own) => values(Object.values(own))),
      random: [...randomState()],
    }),
    dispose() {
      if ("dispose" in run) (run.dispose as () => void)();
      for (const part of [model, optimizer, x, labels]) part.dispose();
    },
  };
}

const lossOf = (model: nn.Module, x: Tensor, labels: Tensor) => () =>
  losses.crossEntropy(model.forward(x) as Tensor, labels, { labelSmoothing: 0.1 });
const eager = (model: nn.Module, optimizer: Optimizer, x: Tensor, labels: Tensor) => () =>
  optimizer.minimize(lossOf(model, x, labels));

test("an eager step with Adam, BatchNorm and dropout is atomic", () => {
  expectAtomic(() => training((params) => new optim.Adam(params, { amsgrad: true }), eager));
});

test("an eager step with SGD, momentum and accumulated gradients is atomic", () => {
  const step: typeof eager = (model, optimizer, x, labels) => () =>
    optimizer.minimize([lossOf(model, x, labels), lossOf(model, x, labels)]);
  expectAtomic(() => training((params) => new optim.SGD(params, { lr: 0.1, momentum: 0.9 }), step));
});

test("an eager step of an optimizer without a kernel is atomic", () => {
  const model = () => new nn.Sequential(new nn.Linear(3, 4, { bias: false }), new nn.Dropout(0.5), new nn.Linear(4, 2, { bias: false })); // biome-ignore format: one line
  expectAtomic(() => training((params) => new optim.Muon(params, { lr: 0.1 }), eager, model));
});

test("a compiled step and its recording are atomic", () => {
  const step: typeof eager = (model, optimizer, x, labels) => {
    // Take an eager step first, because it creates the optimizer's state.
    optimizer.minimize(lossOf(model, x, labels)).dispose();
    optimizer.zeroGrad();
    return compile(eager(model, optimizer, x, labels));
  };
  expectAtomic(() => training((params) => new optim.Adam(params), step));
});

test("a failed forward pass changes neither BatchNorm's statistics nor the random generator", () => {
  const forward: typeof eager = (model, _, x) => () => model.forward(x) as Tensor;
  expectAtomic(() => training((params) => new optim.Adam(params), forward));
});

test("BatchNorm is atomic for every momentum", () => {
  for (const momentum of [0.1, null]) {
    const layer = () => new nn.BatchNorm1d(3, { momentum });
    const forward: typeof eager = (model, _, x) => () => model.forward(x) as Tensor;
    expectAtomic(() => training((params) => new optim.Adam(params), forward, layer as never));
  }
});

test("clipping, averaging and L-BFGS are atomic", () => {
  const job = (
    step: (params: Tensor[]) => { step: () => unknown; own?: () => Tensor[]; dispose?: () => void },
  ): Job => {
    const params = [randn([3, 2]), randn([2])].map((x) => {
      x.requiresGrad = true;
      return x;
    });
    tidy(() =>
      params
        .map((p) => p.square().sum())
        .reduce((a, b) => a.add(b))
        .backward(),
    );
    const { own = () => [], ...rest } = step(params);
    return {
      step: () => tidy(() => void rest.step()),
      state: () => values([...params, ...params.flatMap((p) => p.grad ?? []), ...own()]),
      dispose() {
        rest.dispose?.();
        for (const p of params) p.dispose();
      },
    };
  };
  expectAtomic(() => job((params) => ({ step: () => optim.clipGradNorm(params, 0.5) })));
  expectAtomic(() => job((params) => ({ step: () => optim.clipGradValue(params, 0.5) })));
  expectAtomic(() =>
    job((params) => {
      const ema = new optim.EMA(params, { decay: 0.5 });
      for (const average of ema.averages) average.copyFrom(new Float32Array(average.size));
      return { step: () => ema.update(), own: () => [...ema.averages], dispose: () => ema.dispose() };
    }),
  );
  expectAtomic(() =>
    job((params) => {
      for (const p of params) p.clearGrad();
      const optimizer = new optim.LBFGS(params, { maxIter: 3, lineSearchFn: "strongWolfe" });
      const loss = () => params.map((p) => p.sub(1).square().mul(p).sum()).reduce((a, b) => a.add(b));
      return {
        step() {
          optimizer.minimize(loss);
          optimizer.zeroGrad();
        },
      };
    }),
  );
});

test("gradient transforms that fail leave no tensors behind", () => {
  const f = (x: Tensor) => x.tanh().mul(x).matmul(x.t()).softmax().sum();
  const functions: ((x: Tensor) => unknown)[] = [
    (x) => grad(f)(x),
    (x) => valueAndGrad(f)(x),
    (x) => vjp((y: Tensor) => y.matmul(y.t()), x)[1](tensor([[1, 2], [3, 4]])), // biome-ignore format: a matrix
    (x) => jvp(f, x, x),
    (x) => jacobian((y: Tensor) => y.exp().sum(0))(x),
    (x) => hessian(f)(x),
    (x) => grad((y: Tensor) => grad(f)(y).square().sum())(x),
  ];
  const x = tensor([[1, 2, 3], [4, 5, 6]]); // biome-ignore format: a matrix
  for (const [i, work] of functions.entries()) {
    tidy(() => void work(x));
    const before = held();
    let limit = 0;
    while (failingAt(limit, () => tidy(() => void work(x))))
      expect(held(), `function ${i}, ${limit++}`).toEqual(before);
    expect(limit).toBeGreaterThan(3);
  }
});

test("a failed backward changes no leaf's .grad", () => {
  const [a, b] = [tensor([1, 2], { requiresGrad: true }), tensor([3, 4], { requiresGrad: true })];
  const pass = () => a.mul(b).add(a.exp()).sum().backward();
  tidy(pass);
  const grads = () => [a.grad!.toArray(), b.grad!.toArray()];
  const [before, memoryBefore] = [grads(), held()];
  let limit = 0;
  while (failingAt(limit, () => tidy(pass))) {
    expect(grads(), `allocation ${limit}`).toEqual(before);
    expect(held(), `allocation ${limit++}`).toEqual(memoryBefore);
  }
  expect(limit).toBeGreaterThan(5);
  expect(grads()).toEqual(before.map((g) => (g as number[]).map((v) => 2 * v)));
});
