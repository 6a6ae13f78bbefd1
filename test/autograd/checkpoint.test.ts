/** nn.checkpoint: the same bits as without it, less memory, no second update of state, and errors for functions that change. */
import {
  compile,
  detectAnomaly,
  grad,
  hvp,
  losses,
  manualSeed,
  memory,
  NonFiniteError,
  nn,
  noGrad,
  optim,
  rand,
  randn,
  randomState,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { inMode, MODES } from "../support/modes.ts";
import { expectClose } from "../support/oracle.ts";

type Block = (x: Tensor) => Tensor;
const bits = (x: Tensor): string => Buffer.from(x.data.buffer).toString("hex");

/** The bits of the results of `run` without and with checkpoints, both from the same random numbers. */
const [plain, checkpointed] = [(f: Block): Block => f, (f: Block): Block => nn.checkpoint(f)];
function expectSame(run: (wrap: (f: Block) => Block) => readonly Tensor[]): void {
  const [a, b] = [plain, checkpointed].map((wrap) => {
    manualSeed(11);
    return [...run(wrap).map(bits), [...randomState()]];
  });
  expect(b).toEqual(a);
}

class Residual extends nn.Module {
  inner = new nn.Sequential(
    new nn.Linear(6, 6),
    new nn.BatchNorm1d(6),
    new nn.GELU(),
    new nn.Dropout(0.4),
    new nn.SpectralNorm(new nn.Linear(6, 6)),
  );
  readonly block: Block;
  constructor(wrap: (f: Block) => Block) {
    super();
    this.block = wrap((x) => this.inner.forward(x).add(x));
  }
  forward(x: Tensor): Tensor {
    return this.block(x);
  }
}

describe("values, gradients, state and random numbers have the bits of the plain function", () => {
  test.each(MODES)("in training with dropout, batch and spectral normalization: %s", (mode) => {
    expectSame((wrap) => {
      const model = new nn.Sequential(new Residual(wrap), new Residual(wrap), new nn.Linear(6, 3));
      const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
      const step = (x: Tensor, labels: Tensor): Tensor => {
        const loss = losses.crossEntropy(model.forward(x), labels);
        optimizer.minimize(loss);
        return loss;
      };
      const run = inMode(mode, step);
      const labels = tensor([0, 1, 2, 0], { dtype: "int32" });
      const values = [0, 1, 2].map((i) => run(rand([4, 6]).add(i), labels).clone());
      return [...values, ...Object.values(model.stateDict()), ...model.parameters().map((p) => p.grad!)];
    });
  });

  test("if a weight is used several times, inside and outside", () => {
    expectSame((wrap) => {
      const w = randn([5, 5], { requiresGrad: true });
      const block = wrap((x) => x.matmul(w).tanh().matmul(w).tanh());
      block(block(randn([7, 5]).matmul(w)))
        .matmul(w)
        .square()
        .sum()
        .backward();
      return [w.grad!];
    });
  });

  test.each(MODES)("if checkpoints are nested: %s", (mode) => {
    expectSame((wrap) => {
      const layer = new nn.Sequential(
        new nn.Linear(4, 4),
        new nn.BatchNorm1d(4, { momentum: null }),
        new nn.Dropout(0.3),
      );
      const inner = wrap((x) => layer.forward(x).sin());
      const outer = wrap((x) => inner(inner(x).mul(x)).add(rand([4])));
      const optimizer = new optim.SGD(layer.parameters(), { lr: 0.1 });
      const f = (x: Tensor): Tensor => optimizer.minimize(() => outer(outer(x)).square().sum());
      const run = inMode(mode, f);
      const x = randn([5, 4]);
      return [run(x).clone(), run(x), ...Object.values(layer.stateDict())];
    });
  });

  test("if backward runs twice through a retained graph", () => {
    expectSame((wrap) => {
      const layer = new nn.Sequential(new nn.Linear(3, 3), new nn.Dropout(0.5), new nn.BatchNorm1d(3));
      const parameters = layer.parameters();
      const loss = wrap((x) => layer.forward(x))(randn([4, 3]))
        .square()
        .sum();
      loss.backward({ retainGraph: true });
      loss.backward();
      return [...layer.buffers(), ...parameters.map((p) => p.grad!)];
    });
  });

  test("with sparse embeddings, whose gradients stay sparse", () => {
    expectSame((wrap) => {
      const table = new nn.Embedding(50, 4, { sparse: true });
      const optimizer = new optim.SparseAdam(table.parameters());
      optimizer.minimize(() => wrap((i) => table.forward(i).tanh())(tensor([3, 7, 3], { dtype: "int32" })).sum());
      return [table.weight];
    });
  });

  test("if the function writes JavaScript values to a tensor and reads it", () => {
    expectSame((wrap) => {
      const state = zeros([3]);
      const f = wrap((x) => {
        const y = x.mul(state.clone().add(1));
        noGrad(() => state.copyFrom([4, 5, 6]));
        return y.mul(state.clone());
      });
      const x = randn([3], { requiresGrad: true });
      const [a, b] = [f(x), f(x)];
      a.add(b).sum().backward();
      return [a, b, state, x.grad!];
    });
  });
});

test("second and third derivatives equal those of the plain function, with respect to arguments and captured tensors", () => {
  const [a, b] = [plain, checkpointed].map((wrap) => {
    manualSeed(11);
    const w = randn([3, 3], { requiresGrad: true });
    const f = (x: Tensor): Tensor =>
      wrap((y) =>
        y
          .matmul(w)
          .tanh()
          .mul(rand([3])),
      )(x)
        .square()
        .sum();
    const x = randn([2, 3]);
    const h = hvp(f, x, randn([2, 3]));
    const third = grad((z: Tensor) => grad((y: Tensor) => grad(f)(y).square().sum())(z).sum())(x);
    const y = randn([2, 3], { requiresGrad: true });
    f(y).backward({ createGraph: true });
    const g = y.grad!;
    [y.grad, w.grad] = [null, null];
    g.square().sum().backward();
    return [h, third, g, y.grad!, w.grad!].map((v) => v.data);
  });
  a!.forEach((values, i) => void expectClose(b![i]!, values, 1e-6, String(i)));
});

describe("arguments and results", () => {
  test("can be nested, and other values are passed on", () => {
    const [x, y] = [randn([3, 4], { requiresGrad: true }), randn([4, 2], { requiresGrad: true })];
    const f = ({ x }: { x: Tensor }, [y, scale]: [Tensor, number]) => {
      const z = x.matmul(y).mul(scale);
      return { z, parts: [z.exp(), z.argMax(1)] as const, same: x, scale };
    };
    const run = (g: typeof f): string[] => {
      const { z, parts, same, scale } = g({ x }, [y, 2]);
      expect([scale, parts[1].dtype]).toEqual([2, "int32"]);
      z.sum().add(parts[0].sum()).add(same.square().sum()).backward();
      const found = [z, ...parts, x.grad!, y.grad!].map(bits);
      for (const v of [x, y]) v.clearGrad();
      return found;
    };
    expect(run(nn.checkpoint(f))).toEqual(run(f));
  });

  test("get no gradient from an output that the loss does not use", () => {
    const x = tensor([0, 1], { requiresGrad: true });
    // The derivative of √x at 0 is infinite, so a gradient of 0 for the first output would give NaN.
    const [, second] = nn.checkpoint((v: Tensor) => [v.sqrt(), v.mul(3)] as const)(x);
    second.sum().backward();
    expect(x.grad!.toArray()).toEqual([3, 3]);
  });

  test("are those of f, which runs once, without autograd", () => {
    let runs = 0;
    const f = nn.checkpoint((x: Tensor) => {
      runs++;
      return x.exp();
    });
    const x = randn([2], { requiresGrad: true });
    expect(noGrad(() => f(x)).requiresGrad).toBe(false);
    expect(f(randn([2])).requiresGrad).toBe(false);
    f(x).sum().backward();
    expect(runs).toBe(4);
  });
});

describe("memory", () => {
  const [BATCH, WIDTH, DEPTH] = [1024, 64, 12];
  const modelWith = (wrap: (f: Block) => Block) => {
    const blocks = Array.from({ length: DEPTH }, () => {
      const layers = [0, 1, 2, 3].flatMap(() => [new nn.Linear(WIDTH, WIDTH, { bias: false }), new nn.Tanh()]);
      return new nn.Sequential(...layers);
    });
    const run = blocks.map((block) => wrap((x) => block.forward(x)));
    return { parameters: blocks.flatMap((b) => b.parameters()), forward: (x: Tensor) => run.reduce((y, f) => f(y), x) };
  };
  /** The bytes of one layer's activations. In each block, the weights and their gradients take less memory than this. */
  const ACTIVATION = 4 * BATCH * WIDTH;

  test("a compiled step keeps one activation per block, and those of one block", () => {
    const arenas = [plain, checkpointed].map((wrap) => {
      const model = modelWith(wrap);
      const optimizer = new optim.SGD(model.parameters, { lr: 0.1 });
      const step = compile((x: Tensor) => optimizer.minimize(() => model.forward(x).square().sum()));
      step(zeros([BATCH, WIDTH]));
      return step.explain().arenaBytes;
    });
    const [all, saved] = arenas.map((bytes) => bytes / ACTIVATION) as [number, number];
    expect(all).toBeGreaterThan(4 * DEPTH);
    // The terms: the inputs of the blocks, the activations of one block, its gradients, and the gradients of the weights.
    expect(saved).toBeLessThan(DEPTH + 4 + 3 + (4 * DEPTH * WIDTH) / BATCH);
  });

  test("in eager mode, the graph keeps only the blocks' inputs, and backward frees everything", () => {
    const held = [plain, checkpointed].map((wrap) => {
      const model = modelWith(wrap);
      const x = randn([BATCH, WIDTH]);
      const pass = (): number =>
        tidy(() => {
          const before = memory().bytes;
          const loss = tidy(() => model.forward(x).sum());
          const graph = memory().bytes - before;
          loss.backward();
          for (const p of model.parameters) p.clearGrad();
          loss.dispose();
          expect(memory().bytes - before).toBe(0);
          return graph / ACTIVATION;
        });
      // The first pass allocates the products' workspace.
      tidy(() => model.forward(x).sum().backward());
      for (const p of model.parameters) p.clearGrad();
      return pass();
    });
    expect(held[0]!).toBeGreaterThan(4 * DEPTH - 1);
    expect(held[1]!).toBeLessThan(DEPTH + 1);
  });
});

describe("errors", () => {
  test("name the op that differs if f runs other ops in backward", () => {
    const layer = new nn.Sequential(new nn.Linear(3, 3), new nn.Dropout(0.5));
    layer.parameters();
    const loss = nn.checkpoint((x: Tensor) => layer.forward(x).sum())(randn([2, 3]));
    layer.eval();
    expect(() => loss.backward()).toThrow(
      /^checkpoint: f ran bernoulli in the forward pass, but sum in the backward pass. f must do the same both times: call train\(\) and eval\(\) after backward/,
    );
    layer.train();
    // Nothing was freed or changed, so backward can run again.
    const state = randomState();
    loss.backward();
    expect(randomState()).toEqual(state);
  });

  test("name the shapes if the result has another shape in backward", () => {
    let n = 2;
    const x = randn([4], { requiresGrad: true });
    const loss = nn
      .checkpoint((v: Tensor) => v.narrow(0, 0, n))(x)
      .sum();
    n = 3;
    expect(() => loss.backward()).toThrow(
      "checkpoint: f returned [2] in the forward pass, but [3] in the backward pass.",
    );
  });

  test("report an argument or captured tensor that was changed in place before backward", () => {
    const [x, w] = [randn([2], { requiresGrad: true }), randn([2])];
    const make = (): Tensor => nn.checkpoint((v: Tensor) => v.mul(w).sum())(x);
    const first = make();
    noGrad(() => w.copyFrom([1, 2]));
    expect(() => first.backward()).toThrow("checkpoint: a tensor that f uses was changed in place before backward.");
    const second = make();
    noGrad(() => x.copyFrom([1, 2]));
    expect(() => second.backward()).toThrow("checkpoint: a tensor [2] that its gradient needs was changed in place.");
  });

  test("report a captured tensor that was disposed before backward; an argument stays alive", () => {
    const x = tensor([1, 1], { requiresGrad: true });
    const scale = tensor([2, 3]);
    const captured = nn.checkpoint((v: Tensor) => v.mul(scale))(x);
    const passed = nn.checkpoint((v: Tensor, s: Tensor) => v.mul(s))(x, scale);
    scale.dispose();
    expect(() => captured.sum().backward()).toThrow(/^mul: the float32 tensor \[2\] .* was disposed/);
    passed.sum().backward();
    expect(x.grad!.toArray()).toEqual([2, 3]);
  });
  test("leave the random generator and state as they were if f throws in backward", () => {
    const norm = new nn.BatchNorm1d(2);
    let fails = false;
    const f = nn.checkpoint((x: Tensor) => {
      const y = norm.forward(x.mul(rand([2])));
      if (fails) throw new Error("stop");
      return y;
    });
    const loss = f(randn([4, 2], { requiresGrad: true }))
      .square()
      .sum();
    const before = [randomState(), ...norm.buffers().map(bits)];
    fails = true;
    expect(() => loss.backward()).toThrow("stop");
    expect([randomState(), ...norm.buffers().map(bits)]).toEqual(before);
  });

  test("promises are rejected, and the argument must be a function", () => {
    expect(() => nn.checkpoint(async (x: Tensor) => x)(randn([1]))).toThrow("checkpoint: f returned a promise");
    expect(() => nn.checkpoint(3 as never)).toThrow("checkpoint: f must be a function, got 3");
  });

  test("detectAnomaly names the line in f for a NaN in the gradient", () => {
    const x = tensor([0], { requiresGrad: true });
    const run = (): void =>
      nn
        .checkpoint((v: Tensor) => v.sqrt().mul(v))(x)
        .sum()
        .backward();
    expect(() => detectAnomaly(run)).toThrow(NonFiniteError);
    expect(() => detectAnomaly(run)).toThrow(/checkpoint\.test\.ts/);
  });
});

test("profile counts the products of the second run", () => {
  const flops = [plain, checkpointed].map((wrap) => {
    const w = randn([32, 32], { requiresGrad: true });
    const f = wrap((x) => x.matmul(w).tanh().matmul(w).tanh());
    const step = compile((x: Tensor) => {
      w.clearGrad();
      const loss = f(x).sum();
      loss.backward();
      return [loss, w.grad!];
    });
    return step.profile([zeros([32, 32])], { calls: 1 }).flops / (2 * 32 ** 3);
  });
  // Without a checkpoint, there are two products in the forward pass, two weight gradients and one input gradient. The second run needs
  // both products of the forward pass again.
  expect(flops).toEqual([5, 7]);
});
