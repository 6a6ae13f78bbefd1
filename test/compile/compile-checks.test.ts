/** Index checks of compiled functions: they throw the errors of eager mode, and a failed call changes no state. */
import { compile, losses, manualSeed, nn, noGrad, oneHot, optim, rand, randn, type Tensor, tensor, zeros } from "nabla";
import { describe, expect, test } from "vitest";
import { randomState } from "../../src/runtime/engine.ts";

const int = (values: number[]): Tensor => tensor(values, { dtype: "int32" });

/** The name and message of the error that f throws. */
function failure(f: () => unknown): string {
  try {
    f();
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`;
  }
  return "did not throw";
}

const table = randn([5, 4]).keep();
const rows = randn([3, 5]).keep();
const lstm = new nn.LSTM(2, 3);
const sequence = randn([5, 3, 2]).keep();
const embedding = new nn.Embedding(5, 4);
const weight = tensor([1, 2, 3, 4, 5]);

/** Ops that take an index tensor [3] with values from 0 to 4. */
const uses: Record<string, (index: Tensor) => Tensor> = {
  indexSelect: (i) => table.indexSelect(0, i),
  "indexSelect along dim 1": (i) => rows.indexSelect(1, i),
  indexAdd: (i) => zeros([5, 4]).indexAdd(0, i, table.narrow(0, 0, 3)),
  gather: (i) => table.narrow(1, 0, 1).reshape([5]).gather(0, i),
  "gather with an index that is a view": (i) => table.narrow(1, 0, 1).gather(0, i.reshape([3, 1])),
  scatterAdd: (i) => zeros([5]).scatterAdd(0, i, tensor([1, 2, 3])),
  "an embedding of a matrix of indices": (i) => embedding.forward(i.reshape([1, 3])),
  crossEntropy: (i) => losses.crossEntropy(rows, i),
  "crossEntropy with label smoothing": (i) => losses.crossEntropy(rows, i, { labelSmoothing: 0.1 }),
  "crossEntropy with weights": (i) => losses.crossEntropy(rows, i, { weight }),
  "crossEntropy with ignoreIndex": (i) => losses.crossEntropy(rows, i, { ignoreIndex: 2 }),
  nll: (i) => losses.nll(rows.logSoftmax(), i),
  "an LSTM's lengths": (i) => lstm.forward(sequence, undefined, { lengths: i })[0] as Tensor,
};

describe("an index out of range fails as in eager mode", () => {
  for (const [name, use] of Object.entries(uses)) {
    test(name, () => {
      const given = compile((i: Tensor) => use(i));
      const computed = compile((i: Tensor) => use(i.add(0)));
      const both = compile((i: Tensor) => [use(i), use(i.add(0))] as const);
      for (const values of [
        [0, 7, 3],
        [-1, 0, 9],
        [1, 2, 6],
        [2, 1, 0],
        [-2147483648, 0, 0],
        [0, 0, 2147483647],
      ]) {
        const index = int(values);
        const expected = failure(() => use(index));
        expect(failure(() => given(index))).toBe(expected);
        expect(failure(() => computed(index))).toBe(expected);
        expect(failure(() => both(index))).toBe(expected);
        expect(failure(() => given(Int32Array.from(values)))).toBe(expected);
      }
      expect(failure(() => given(int([0, 7, 3])))).toMatch(/^RangeError: .*7/);
      expect(given(int([2, 1, 0])).toArray()).toEqual(use(int([2, 1, 0])).toArray());
    });
  }
  test("an argMax that is padded with a value out of range", () => {
    const f = (x: Tensor) => table.indexSelect(0, x.argMax(-1).pad([0, 1], 9));
    expect(failure(() => f(rows))).toBe("RangeError: indexSelect: index 9 at position 3 is outside 0 … 4.");
    expect(failure(() => compile(f)(rows))).toBe(failure(() => f(rows)));
  });
  test("an index out of range is found at every position of a long input", () => {
    const f = compile((i: Tensor) => table.indexSelect(0, i).sum());
    for (let bad = 0; bad < 70; bad++) {
      const values = Int32Array.from({ length: 70 }, (_, k) => (k === bad ? 5 : k % 5));
      expect(failure(() => f(values))).toBe(`RangeError: indexSelect: index 5 at position ${bad} is outside 0 … 4.`);
    }
  });
  test("every index into an empty table fails", () => {
    const empty: Record<string, (index: Tensor) => Tensor> = {
      indexSelect: (i) => zeros([0, 4]).indexSelect(0, i),
      gather: (i) => zeros([0]).gather(0, i),
      oneHot: (i) => oneHot(i, 0),
    };
    for (const use of Object.values(empty))
      for (const values of [[0], [-1], [1], [-2147483648], [...Array(40).fill(0)]]) {
        const expected = failure(() => use(int(values)));
        expect(expected).toMatch(/^RangeError: .* is outside 0 … -1\./);
        expect(failure(() => compile(use)(int(values)))).toBe(expected);
        expect(failure(() => compile((i: Tensor) => use(i.add(0)))(int(values)))).toBe(expected);
      }
  });
  test("the first of several wrong indices is reported, in the order of the ops", () => {
    const f = (i: Tensor, j: Tensor) => {
      const a = table.indexSelect(0, i.add(0));
      const b = rows.gather(1, j.reshape([3, 1]));
      return [a, b, losses.crossEntropy(rows, i)] as const;
    };
    const g = compile(f);
    for (const [i, j] of [
      [
        [0, 0, 5],
        [6, 0, 0],
      ],
      [
        [0, 0, 0],
        [6, 0, 0],
      ],
      [
        [7, 0, 5],
        [0, 0, 0],
      ],
    ] as const)
      expect(failure(() => g(int([...i]), int([...j])))).toBe(failure(() => f(int([...i]), int([...j]))));
  });
  test("invalid constants in a function fail when the function is recorded", () => {
    const f = compile((x: Tensor) => x.indexSelect(0, int([0, 3])));
    expect(failure(() => f(tensor([1, 2])))).toBe("RangeError: indexSelect: index 3 at position 1 is outside 0 … 1.");
    expect(f(tensor([1, 2, 3, 4])).toArray()).toEqual([1, 4]);
  });
  test("an index tensor from outside the function is checked on every call", () => {
    const index = int([0, 1]);
    const f = compile((x: Tensor) => x.indexSelect(0, index));
    expect(f(tensor([1, 2])).toArray()).toEqual([1, 2]);
    index.copyFrom([0, 2]);
    expect(failure(() => f(tensor([1, 2])))).toBe("RangeError: indexSelect: index 2 at position 1 is outside 0 … 1.");
    index.copyFrom([1, 0]);
    expect(f(tensor([1, 2])).toArray()).toEqual([2, 1]);
  });
  test("an ignored label may be outside the range of classes", () => {
    const f = compile((i: Tensor) => losses.crossEntropy(rows, i, { ignoreIndex: -1 }));
    for (const values of [
      [-1, 0, 4],
      [-1, -1, -1],
      [0, 1, 2],
    ])
      expect(f(int(values)).item()).toBe(losses.crossEntropy(rows, int(values), { ignoreIndex: -1 }).item());
  });
  test("an empty index is valid", () => {
    const f = compile((i: Tensor) => table.indexSelect(0, i));
    expect(f(zeros([0], { dtype: "int32" })).shape).toEqual([0, 4]);
  });
});

/** A model with every kind of state, and a function that reads all of it as numbers. */
function makeState() {
  manualSeed(3);
  const model = new nn.Sequential(new nn.Linear(4, 6), new nn.BatchNorm1d(6), new nn.Dropout(0.5), new nn.Linear(6, 5));
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.1, amsgrad: true });
  const count = zeros([2]).keep();
  const state = (): unknown => ({
    parameters: Object.values(model.stateDict()).map((x) => [...x.data]),
    optimizer: optimizer.stateDict().state.map((s) => Object.values(s).map((x) => [...x.data])),
    random: [...randomState()],
    count: [...count.data],
    gradients: model.parameters().map((p) => p.grad && [...p.grad.data]),
  });
  return { model, optimizer, count, state };
}
type State = ReturnType<typeof makeState>;

const steps: Record<string, (s: State) => (x: Tensor, labels: Tensor) => unknown> = {
  "labels that are arguments":
    ({ model, optimizer }) =>
    (x, labels) =>
      optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels)),
  "labels computed before the forward pass":
    ({ model, optimizer }) =>
    (x, labels) => {
      const own = labels.add(1).sub(1);
      return optimizer.minimize(() => losses.crossEntropy(model.forward(x), own));
    },
  "labels computed after a write to state":
    ({ model, optimizer, count }) =>
    (x, labels) => {
      noGrad(() => count.copyFrom(count.add(1)));
      return optimizer.minimize(() => losses.crossEntropy(model.forward(x).add(rand([1])), labels.mul(1)));
    },
  "labels that depend on state written in the same call":
    ({ model, optimizer, count }) =>
    (x, labels) => {
      noGrad(() => count.copyFrom(count.add(1)));
      const shift = count
        .narrow(0, 0, 1)
        .sub(count.narrow(0, 1, 1))
        .to("int32");
      return optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels.add(shift)));
    },
  "two steps, with indices computed between them":
    ({ model, optimizer }) =>
    (x, labels) => {
      const first = optimizer.minimize(() => losses.mse(model.forward(x), zeros([3, 5])));
      const second = optimizer.minimize(() => losses.nll(model.forward(x).logSoftmax(), labels.add(0)));
      return [first, second];
    },
  "an index that is used after the updates":
    ({ model, optimizer }) =>
    (x, labels) => {
      const loss = optimizer.minimize(() => model.forward(x).square().mean());
      return [loss, table.indexSelect(0, labels)];
    },
};

describe("a failed call changes nothing", () => {
  for (const [name, make] of Object.entries(steps)) {
    test(name, () => {
      const run = (withFailures: boolean): unknown => {
        const s = makeState();
        const step = compile(make(s) as (x: Tensor, labels: Tensor) => Tensor);
        const x = randn([3, 4]);
        const seen: unknown[] = [];
        for (let i = 0; i < 4; i++) {
          if (withFailures) {
            const before = s.state();
            for (const bad of [5, -1, 1 << 30])
              expect(failure(() => step(x, int([0, 1, bad])))).toMatch(new RegExp(`^RangeError: .* ${bad} `));
            expect(s.state()).toEqual(i ? before : { ...(before as object), optimizer: expect.anything() });
          }
          step(x, int([0, 4, i]));
          seen.push(s.state());
        }
        return seen;
      };
      expect(run(true)).toEqual(run(false));
    });
  }
  test("version counters do not change either, so an older graph remains valid", () => {
    const w = nn.parameter(tensor([1, 2, 3]));
    const running = zeros([3]).keep();
    const f = compile((i: Tensor) => {
      noGrad(() => running.copyFrom(running.add(1)));
      return w.gather(0, i.add(0));
    });
    f(int([0]));
    const loss = w.mul(running).sum();
    expect(failure(() => f(int([3])))).toMatch("index 3");
    loss.backward();
    expect(w.grad!.toArray()).toEqual([1, 1, 1]);
    f(int([1]));
    expect(running.toArray()).toEqual([2, 2, 2]);
  });
  test("profile() throws the same error as a call", () => {
    const s = makeState();
    const step = compile(steps["labels computed after a write to state"]!(s) as (x: Tensor, i: Tensor) => Tensor);
    const x = randn([3, 4]);
    step(x, int([0, 1, 2]));
    const before = s.state();
    expect(failure(() => step.profile([x, int([0, 9, 0])], { calls: 2 }))).toMatch("label 9 at position 1");
    expect(s.state()).toEqual(before);
  });
});

describe("checks that cannot fail are omitted", () => {
  const names = (f: (x: Tensor) => unknown): string[] =>
    compile(f as (x: Tensor) => Tensor)
      .explain([randn([2, 6, 6, 3])])
      .steps.map(({ name }) => name);
  test("indices from argMax, sort and max pooling are not checked", () => {
    const w = nn.parameter(randn([3]));
    expect(names((x) => x.gather(3, x.argMax(3, { keepdim: true })))).not.toContain("check");
    expect(names((x) => x.reshape([-1]).sort())).not.toContain("check");
    expect(
      names((x) => {
        w.clearGrad();
        new nn.MaxPool2d(2).forward(x.mul(w)).sum().backward();
      }),
    ).not.toContain("check");
  });
  test("an index that is used twice is checked once, and arguments are checked before the call", () => {
    const twice = compile(
      (i: Tensor) => [table.indexSelect(0, i.add(0)), table.indexSelect(0, i.add(0)).mul(2)] as const,
    );
    expect(twice.explain([int([1])]).steps.filter(({ name }) => name === "check")).toHaveLength(1);
    const argument = compile((i: Tensor) => table.indexSelect(0, i));
    expect(argument.explain([int([1])]).steps.map(({ name }) => name)).toEqual(["indexSelect"]);
  });
});
