/** Optimizers with sparse gradients, in eager and compiled mode: against PyTorch, float64 and dense gradients. */
import {
  compile,
  embedding,
  losses,
  manualSeed,
  memory,
  nn,
  optim,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { inMode, MODES } from "../support/modes.ts";
import { expectClose } from "../support/oracle.ts";
import { batches, ints, isSparse, lossOf, type Make, N, rowwise, table } from "../support/sparse.ts";
import { expectTorch, load, values } from "../support/torch.ts";

describe(`updates match PyTorch ${values.torch}`, () => {
  const { table: start, a: stored, y: target, batches: lists, runs } = values.sparse;
  describe.each(MODES)("%s", (mode) => {
    test.each(runs.map((run) => [run.name, run] as const))(
      "%s",
      (_, { optimizer: kind, options, uses, paddingIdx, clip, at }) => {
        const weight = load(start);
        weight.requiresGrad = true;
        const [a, y] = [load(stored), load(target)];
        const optimizer = new (optim[kind] as unknown as new (params: Tensor[], options: object) => optim.SGD)(
          [weight],
          options,
        );
        const look = (index: Tensor): Tensor =>
          embedding(index, weight, { sparse: true, ...(paddingIdx !== undefined && { paddingIdx }) });
        const loss = (rows: Tensor): Tensor => losses.mse(rows.matmul(a).tanh(), y);
        const step = inMode(mode, (index: Tensor, other: Tensor) => {
          optimizer.zeroGrad();
          const value = tidy(() => {
            const rows = look(index);
            const first =
              uses === "twice"
                ? loss(rows.add(look(other)))
                : uses === "tied"
                  ? loss(rows).add(look(index).matmul(weight.t()).square().mean().mul(0.1))
                  : loss(rows);
            first.backward();
            if (uses === "accumulated") loss(look(other)).backward();
            return first.detach();
          });
          expect(isSparse(weight)).toBe(uses !== "tied");
          if (clip !== undefined) optim.clipGradNorm([weight], clip);
          expect(isSparse(weight)).toBe(uses !== "tied");
          optimizer.step();
          return value;
        });
        let seen = 0;
        for (let t = 1; t <= 20; t++) {
          const index = lists[t % lists.length]!;
          const other =
            uses === "twice" ? [...index].reverse().map((v) => Math.floor(v / 2)) : index.map((v) => Math.floor(v / 3));
          step(ints(index), ints(other));
          if ([1, 2, 5, 10, 20].includes(t)) expectTorch(weight, at[seen++]!, `the table after step ${t}`);
        }
        expect(seen).toBe(5);
      },
    );
  });
});

/** 25 steps of a row-wise optimizer in float64. */
function inFloat64(kind: string, width: number, start: ArrayLike<number>, all: readonly number[][]): Float64Array {
  const p = Float64Array.from(start);
  const [m, v] = [new Float64Array(p.length), new Float64Array(p.length).fill(kind === "Adagrad" ? 0.1 : 0)];
  all.forEach((index, k) => {
    const t = k + 1;
    // dL/dx of Σ x·sin x + 0.01·Σ cumsum(x²): row j occurs in the sums of count − j positions.
    const g = new Map<number, Float64Array>();
    index.forEach((row, j) => {
      const sum = g.get(row) ?? new Float64Array(width);
      g.set(row, sum);
      for (let i = 0; i < width; i++) {
        const x = p[row * width + i]!;
        sum[i]! += Math.sin(x) + x * Math.cos(x) + 0.02 * x * (index.length - j);
      }
    });
    for (const [row, dx] of g)
      for (let i = 0; i < width; i++) {
        const at = row * width + i;
        const d = dx[i]!;
        if (kind === "SGD") p[at]! -= 0.1 * d;
        else if (kind === "Adagrad") {
          v[at]! += d * d;
          p[at]! -= (0.05 / (1 + (t - 1) * 0.01)) * (d / (Math.sqrt(v[at]!) + 1e-10));
        } else {
          m[at] = 0.9 * m[at]! + 0.1 * d;
          v[at] = 0.999 * v[at]! + 0.001 * d * d;
          const size = (0.05 * Math.sqrt(1 - 0.999 ** t)) / (1 - 0.9 ** t);
          p[at]! -= (size * m[at]!) / (Math.sqrt(v[at]!) + 1e-8);
        }
      }
  });
  return p;
}

describe.each(Object.entries(rowwise))("%s", (kind, make) => {
  describe.each(MODES)("%s", (mode) => {
    test.each([1, 3, 4, 18, 128])("agrees with float64 over 25 steps, for rows of %i elements", (width) => {
      const layer = table(width);
      const start = layer.weight.data;
      const optimizer = make(layer.parameters());
      const step = inMode(mode, (index: Tensor) => optimizer.minimize(() => lossOf(layer.forward(index))));
      const all = batches(25, 40);
      for (const index of all) step(ints(index));
      // SGD amplifies rounding errors where it overshoots.
      expectClose(layer.weight.data, inFloat64(kind, width, start, all), 2e-4);
    });
  });

  test("has the same bits in eager and compiled mode, and after loading its state", () => {
    const all = batches(12, 64);
    const run = (mode: (typeof MODES)[number], reload: boolean): unknown => {
      const layer = table(20);
      let optimizer = make(layer.parameters());
      let step = inMode(mode, (index: Tensor) => optimizer.minimize(() => lossOf(layer.forward(index))));
      all.forEach((index, t) => {
        if (reload && t === 6) {
          const saved = optimizer.stateDict();
          optimizer = make(layer.parameters());
          optimizer.loadStateDict(saved);
          step = inMode(mode, (again: Tensor) => optimizer.minimize(() => lossOf(layer.forward(again))));
        }
        step(ints(index));
      });
      const { state } = optimizer.stateDict();
      return [layer.weight.data, ...Object.values(state[0]!).map(({ data }) => data)];
    };
    const expected = run("eager", false);
    expect(run("eager", true)).toEqual(expected);
    expect(run("compiled", false)).toEqual(expected);
    expect(run("compiled", true)).toEqual(expected);
  });

  test.each(MODES)("leaves the bits of unused rows and their state alone, and counts every step: %s", (mode) => {
    const layer = table(7);
    const optimizer = make(layer.parameters());
    const step = inMode(mode, (index: Tensor) => optimizer.minimize(() => lossOf(layer.forward(index))));
    step(ints([1, 2, 3, 4, 5]));
    const snapshot = () => {
      const { step: _, ...state } = optimizer.stateDict().state[0]!;
      return [layer.weight, ...Object.values(state)].map(({ data }) => data);
    };
    const before = snapshot();
    step(ints([2, 9, 2, 9, 2]));
    snapshot().forEach((after, i) => {
      for (let row = 0; row < N; row++) {
        const part = [before[i]!, after].map((data) => [...data.slice(7 * row, 7 * row + 7)]);
        if (row === 2 || row === 9) expect(part[0]).not.toEqual(part[1]);
        else expect(part[0]).toEqual(part[1]);
      }
    });
    expect(optimizer.stateDict().state[0]!.step!.item()).toBe(2);
  });

  test.each(MODES)("an empty batch changes nothing but the step count: %s", (mode) => {
    const layer = table(5);
    const optimizer = make(layer.parameters());
    const step = inMode(mode, (index: Tensor) => optimizer.minimize(() => layer.forward(index).square().sum()));
    step(ints([3, 3]));
    const before = layer.weight.data;
    step(ints([]));
    expect(layer.weight.data).toEqual(before);
    expect(layer.weight.grad!.data.every((v) => v === 0)).toBe(true);
    expect(optimizer.stateDict().state[0]!.step!.item()).toBe(2);
  });

  test.each(MODES)("a table without elements changes nothing but the step count: %s", (mode) => {
    for (const shape of [[0, 4], [0], [3, 0]]) {
      const weight = zeros(shape);
      weight.requiresGrad = true;
      const optimizer = make([weight]);
      const step = inMode(mode, (index: Tensor) =>
        optimizer.minimize(() => embedding(index, weight, { sparse: true }).sum()),
      );
      for (let t = 0; t < 2; t++) step(ints([]));
      expect(isSparse(weight)).toBe(true);
      expect(weight.grad!.shape).toEqual(shape);
      expect(optimizer.stateDict().state[0]!.step!.item()).toBe(2);
    }
  });

  test.each(MODES)("an index outside the table throws and changes nothing: %s", (mode) => {
    const layer = table(5);
    const optimizer = make(layer.parameters());
    const step = inMode(mode, (index: Tensor) => optimizer.minimize(() => lossOf(layer.forward(index))));
    step(ints([3, 4]));
    const before = layer.weight.data;
    expect(() => step(ints([3, N]))).toThrow(`embedding: index ${N} at position 1 is outside 0 … ${N - 1}.`);
    expect(layer.weight.data).toEqual(before);
    expect(optimizer.stateDict().state[0]!.step!.item()).toBe(1);
  });

  test.each(MODES)("the padding row and its state stay as they are, even with eps 0: %s", (mode) => {
    const layer = table(6, { sparse: true, paddingIdx: 2 });
    layer.weight.live()[13] = 5;
    const before = layer.weight.data.slice(12, 18);
    const optimizer = make(layer.parameters());
    if ("eps" in optimizer.paramGroups[0]!.options) Object.assign(optimizer.paramGroups[0]!.options, { eps: 0 });
    const step = inMode(mode, (index: Tensor) => optimizer.minimize(() => lossOf(layer.forward(index))));
    for (let t = 0; t < 3; t++) step(ints([2, 1, 2, 0]));
    expect(layer.weight.data.slice(12, 18)).toEqual(before);
    expect(layer.weight.data.every(Number.isFinite)).toBe(true);
  });
});

// Their formulas leave an element alone if its gradient is 0, so the dense update must have the same bits.
test.each(["SGD", "Adagrad"] as const)("%s: sparse and dense gradients give the same bits", (kind) => {
  const run = (sparse: boolean, mode: (typeof MODES)[number]): ArrayLike<number> => {
    const layer = table(33, { sparse, paddingIdx: 4 });
    const optimizer = rowwise[kind](layer.parameters());
    const step = inMode(mode, (index: Tensor) => optimizer.minimize(() => lossOf(layer.forward(index))));
    for (const index of batches(8, 500)) step(ints(index));
    expect(isSparse(layer.weight)).toBe(sparse);
    return layer.weight.data;
  };
  const expected = run(false, "eager");
  for (const mode of MODES) expect(run(true, mode)).toEqual(expected);
});

test("SparseAdam updates parameters with dense gradients like Adam, and trains a whole model", () => {
  const run = (mode: (typeof MODES)[number]) => {
    manualSeed(6);
    const embeddings = new nn.Embedding(50, 8, { sparse: true });
    const model = new nn.Sequential(embeddings, new nn.Flatten(), new nn.Linear(24, 2));
    const optimizer = new optim.SparseAdam(model.parameters(), { lr: 0.02 });
    const x = tensor(
      Int32Array.from({ length: 30 }, (_, i) => (i * 7) % 20),
      [10, 3],
    );
    const labels = ints([0, 1, 1, 0, 1, 0, 0, 1, 1, 0]);
    const step = inMode(mode, () => optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels)));
    const seen = Array.from({ length: 40 }, () => step().item());
    return { seen, parameters: model.parameters().map(({ data }) => data) };
  };
  const eager = run("eager");
  expect(eager.seen.at(-1)).toBeLessThan(0.1 * eager.seen[0]!);
  expect(run("compiled")).toEqual(eager);

  const [p, q] = [randn([9, 5]), zeros([9, 5])];
  q.copyFrom(p);
  for (const x of [p, q]) x.requiresGrad = true;
  const both = [new optim.SparseAdam([p], { lr: 0.1, eps: 0.5 }), new optim.Adam([q], { lr: 0.1, eps: 0.5 })] as const;
  for (let t = 0; t < 5; t++) [p, q].forEach((x, i) => void both[i]!.minimize(() => lossOf(x)));
  expect(p.data).toEqual(q.data);
});

describe("an optimizer that changes every row rejects a sparse gradient", () => {
  const fix = "Use optim.SparseAdam, SGD or Adagrad, or an embedding without sparse: true.";
  const others: Record<string, Make> = {
    Adam: (ps) => new optim.Adam(ps),
    AdamW: (ps) => new optim.AdamW(ps),
    NAdam: (ps) => new optim.NAdam(ps),
    RMSProp: (ps) => new optim.RMSProp(ps),
    Lion: (ps) => new optim.Lion(ps),
    Muon: (ps) => new optim.Muon(ps) as unknown as optim.Optimizer,
  };
  test.each(Object.entries(others))("%s", (kind, make) => {
    for (const mode of MODES) {
      const layer = table(3);
      const optimizer = make(layer.parameters());
      const before = layer.weight.data;
      expect(() => inMode(mode, () => optimizer.minimize(() => lossOf(layer.forward(ints([1, 2])))))()).toThrow(
        `${kind}: a parameter [300, 3] has a sparse gradient, but ${kind} changes every row. ${fix}`,
      );
      expect(layer.weight.data).toEqual(before);
      expect(optimizer.stateDict().state).toEqual([{}]);
    }
  });
  test.each([
    ["SGD", (ps: Tensor[]) => new optim.SGD(ps, { lr: 0.1, weightDecay: 0.1 })],
    ["Adagrad", (ps: Tensor[]) => new optim.Adagrad(ps, { weightDecay: 0.1 })],
  ] as const)("%s with weight decay", (kind, make) => {
    const layer = table(3);
    const optimizer = make(layer.parameters());
    const step = (): Tensor => optimizer.minimize(() => lossOf(layer.forward(ints([1, 2]))));
    expect(step).toThrow(
      `${kind}: a parameter [300, 3] has a sparse gradient, but weightDecay changes every row. ` +
        "Set weightDecay to 0 in the parameter's group, or use an embedding without sparse: true.",
    );
    optimizer.paramGroups[0]!.options.weightDecay = 0;
    expect(step).not.toThrow();
  });
});

test("a compiled step of a sparse embedding needs no memory for the whole table", () => {
  const layer = new nn.Embedding(20_000, 16, { sparse: true });
  const optimizer = new optim.SparseAdam(layer.parameters());
  const step = compile((x: Tensor) => optimizer.minimize(() => lossOf(layer.forward(x))));
  step(ints([1, 2, 3]));
  const { bytes } = memory();
  const other = compile((x: Tensor) => optimizer.minimize(() => lossOf(layer.forward(x))));
  other(ints([3, 2, 1]));
  expect(memory().bytes - bytes).toBeLessThan(layer.weight.size / 8);
});

test.each(MODES)("minimize with finite: a NaN leaves the table and the state unchanged: %s", (mode) => {
  const layer = table(5);
  const optimizer = rowwise.SparseAdam(layer.parameters());
  const step = inMode(mode, (x: Tensor, scale: Tensor) =>
    optimizer.minimize(() => lossOf(layer.forward(x)).mul(scale), { finite: true }),
  );
  step(ints([1, 2]), tensor(1));
  const { state } = optimizer.stateDict();
  const snapshot = () => [layer.weight, ...Object.values(state[0]!)].map(({ data }) => data);
  const before = snapshot();
  expect(() => step(ints([2, 3]), tensor(Number.NaN))).toThrow("contains NaN");
  expect(snapshot()).toEqual(before);
});
