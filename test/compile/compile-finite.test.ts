/** `finite: true` and detectAnomaly: the error names the op and the line of the first NaN or ±∞, and state does not change. */
import {
  compile,
  detectAnomaly,
  grad,
  losses,
  manualSeed,
  memory,
  NonFiniteError,
  nn,
  noGrad,
  optim,
  rand,
  randn,
  type Tensor,
  tensor,
  where,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { randomState } from "../../src/runtime/engine.ts";

/** The message of the NonFiniteError that f throws. */
function failure(f: () => unknown): string {
  try {
    f();
  } catch (error) {
    expect(error).toBeInstanceOf(NonFiniteError);
    expect((error as Error).message.length).toBeLessThanOrEqual(300);
    return (error as Error).message;
  }
  return "did not throw";
}

/** Functions of x = [1, 0, 2] that produce NaN or ±∞, with the op, value and element that the error must name. */
const forward: Record<string, [(x: Tensor) => Tensor, op: string, value: string, at: number]> = {
  "log of 0": [(x) => x.log().sum(), "log", "-Infinity", 1],
  "0 / 0": [(x) => x.div(x).mul(3).mean(), "div", "NaN", 1],
  "1 / 0": [(x) => tensor([1, 1, 1]).div(x).add(1), "div", "Infinity", 1],
  "a root of −1": [(x) => x.sub(1).sqrt().relu(), "sqrt", "NaN", 1],
  "an exponential that overflows": [(x) => x.mul(50).exp().mean(), "exp", "Infinity", 2],
  "a sum that overflows": [(x) => x.mul(3e38 / 2).sum(), "sum", "Infinity", 0],
  "a product that overflows": [(x) => x.mul(1e38).matmul(x.mul(1e30)), "matmul", "Infinity", 0],
  "a softmax of a fully masked row": [
    (x) => where(x.lt(-1), x, Number.NEGATIVE_INFINITY).softmax().sum(),
    "softmax",
    "NaN",
    0,
  ],
  "a power": [(x) => x.sub(1).pow(0.5), "pow", "NaN", 1],
};
const x = tensor([1, 0, 2]);

describe("the error names the first op that made a non-finite value, and its line", () => {
  for (const [name, [f, op, value, at]] of Object.entries(forward)) {
    test(name, () => {
      const expected = new RegExp(
        `: ${op} produced ${value} at compile-finite\\.test\\.ts:\\d+:\\d+ from .*\\(element ${at} of float32 \\[`,
      );
      const compiled = compile(f, { finite: true, name: "f" });
      for (let i = 0; i < 2; i++) expect(failure(() => compiled(x))).toMatch(expected);
      expect(failure(() => compiled(x))).toMatch(/^compile\(f\): /);
      expect(failure(() => detectAnomaly(() => f(x)))).toMatch(expected);
      expect(failure(() => detectAnomaly(() => compile(f)(x)))).toMatch(expected);
      compile(f)(x);
    });
  }
  test("in a gradient, the error names the op that is differentiated", () => {
    const cases: [(p: Tensor) => Tensor, string][] = [
      [(p) => p.sqrt().sum(), "sqrt"],
      [(p) => where(p.gt(0), p.log(), 0).sum(), "log"],
      [(p) => p.pow(0.5).sum(), "pow"],
      [(p) => p.mul(1e30).mul(1e30).exp().neg().exp().mul(0).add(p.sub(p).square().sum().sqrt()).sum(), "sqrt"],
    ];
    for (const [f, op] of cases) {
      const p = nn.parameter(tensor([1, 0, 4]));
      const optimizer = new optim.SGD([p], { lr: 1 });
      const expected = new RegExp(
        `: the gradient of ${op}, in \\w+, produced (NaN|-?Infinity) at compile-finite\\.test\\.ts:\\d+`,
      );
      const step = () => optimizer.minimize(() => f(p));
      expect(failure(compile(step, { finite: true }))).toMatch(expected);
      expect(failure(compile(() => optimizer.minimize(() => f(p), { finite: true })))).toMatch(expected);
      expect(failure(() => optimizer.minimize(() => f(p), { finite: true }))).toMatch(expected);
      expect(failure(() => optimizer.minimize(() => f(p), { finite: true }))).toMatch(/^SGD\.minimize: /);
      expect(failure(() => detectAnomaly(step))).toMatch(expected);
      expect(failure(() => detectAnomaly(() => f(p).backward()))).toMatch(expected);
      expect(p.toArray()).toEqual([1, 0, 4]);
    }
  });
  test("for an update that overflows, the error names the optimizer", () => {
    for (const [optimizer, scale] of [
      [(p: Tensor) => new optim.SGD([p], { lr: 1e30 }), 1e20],
      [(p: Tensor) => new optim.Adam([p], { lr: 1 }), 1e25],
      [(p: Tensor) => new optim.Adagrad([p], { lr: 1 }), 1e25],
      [(p: Tensor) => new optim.SGD([p], { lr: 1e20, momentum: 0.9 }), 1e30],
    ] as const) {
      const p = nn.parameter(tensor([1, 2]));
      const o = optimizer(p);
      const step = () => o.minimize(() => p.mul(scale).sum());
      const before = o.stateDict();
      expect(failure(compile(step, { finite: true }))).toMatch(/(SGD|Adam|Adagrad) produced -?Infinity at/);
      expect(failure(() => detectAnomaly(step))).toMatch(/(SGD|Adam|Adagrad) produced -?Infinity at/);
      expect(p.toArray()).toEqual([1, 2]);
      expect(o.stateDict().groups).toEqual(before.groups);
      for (const s of Object.values(o.stateDict().state[0]!)) expect([...s.data].every((v) => v === 0)).toBe(true);
    }
  });
});

describe("the error names non-finite inputs", () => {
  test("the error names an argument by its path, and a tensor from outside by its first use", () => {
    const f = compile(({ data }: { data: Tensor[] }) => data[1]!.mul(2).sum(), { finite: true, name: "f" });
    expect(failure(() => f({ data: [x, tensor([1, Number.NaN])] }))).toBe(
      "compile(f): arguments[0].data[1] contains NaN (element 1 of float32 [2]). Remove NaN and ±Infinity from the values before the call.",
    );
    expect(failure(() => f({ data: [x, Float32Array.of(Number.POSITIVE_INFINITY)] }))).toMatch(
      "arguments[0].data[1] contains Infinity (element 0 of float32 [1])",
    );
    const w = nn.parameter(tensor([1, Number.NaN, 3]));
    const g = compile((v: Tensor) => v.mul(w).sum(), { finite: true });
    expect(failure(() => g(x))).toMatch(
      /a tensor from outside, used at compile-finite\.test\.ts:\d+:\d+, contains NaN \(element 1 of float32 \[3\]\)/,
    );
    expect(failure(() => detectAnomaly(() => x.mul(w).sum()))).toMatch(
      "a tensor from outside contains NaN (element 1 of",
    );
  });
  test("for an infinite input that becomes NaN, the error names the input and the op", () => {
    const f = compile((v: Tensor) => v.sub(v).sum(), { finite: true });
    expect(failure(() => f(tensor([1, Number.POSITIVE_INFINITY])))).toMatch(
      /sub produced NaN at \S+ from ±Infinity, since arguments\[0\] contains Infinity \(element 1 of/,
    );
  });
});

describe("masked non-finite values are allowed", () => {
  const masked: Record<string, (v: Tensor) => Tensor> = {
    "−∞ among attention scores": (v) => where(v.gt(0), v, Number.NEGATIVE_INFINITY).softmax().sum(),
    "a logarithm of 0 that where discards": (v) => where(v.gt(0), v.log(), 0).sum(),
    "the maximum of −∞ and a number": (v) => v.log().maximum(-5).sum(),
    "a comparison of a quotient": (v) => v.div(v).eq(1).to("float32").sum(),
  };
  for (const [name, f] of Object.entries(masked)) {
    test(name, () => {
      const expected = f(x).item();
      expect(compile(f, { finite: true })(x).item()).toBe(expected);
      expect(detectAnomaly(() => f(x).item())).toBe(expected);
      expect(detectAnomaly(() => f(x)).item()).toBe(expected);
    });
  }
});

/** A model with every kind of state, and a function that reads all of it as numbers. */
function makeState() {
  manualSeed(3);
  const model = new nn.Sequential(new nn.Linear(3, 6), new nn.BatchNorm1d(6), new nn.Dropout(0.5), new nn.Linear(6, 1));
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.1, weightDecay: 0.1 });
  const state = (): unknown => ({
    parameters: Object.values(model.stateDict()).map((v) => [...v.data]),
    optimizer: optimizer.stateDict().state.map((s) => Object.values(s).map((v) => [...v.data])),
    random: [...randomState()],
  });
  return { model, optimizer, state };
}

describe("a failed call leaves state unchanged", () => {
  const kinds: Record<string, (s: ReturnType<typeof makeState>) => (v: Tensor) => unknown> = {
    "compile(f, { finite: true })": ({ model, optimizer }) =>
      compile((v: Tensor) => optimizer.minimize(() => losses.mse(model.forward(v).exp().log(), zeros([4, 1]))), {
        finite: true,
      }) as (v: Tensor) => unknown,
    "minimize(…, { finite: true }) in a compiled function": ({ model, optimizer }) =>
      compile((v: Tensor) =>
        optimizer.minimize(() => losses.mse(model.forward(v).exp().log(), zeros([4, 1])), { finite: true }),
      ) as (v: Tensor) => unknown,
    "minimize(…, { finite: true }) in eager mode":
      ({ model, optimizer }) =>
      (v) =>
        optimizer.minimize(() => losses.mse(model.forward(v).exp().log(), zeros([4, 1])), { finite: true }),
    detectAnomaly:
      ({ model, optimizer }) =>
      (v) =>
        detectAnomaly(() => optimizer.minimize(() => losses.mse(model.forward(v).exp().log(), zeros([4, 1])))),
    "detectAnomaly around a compiled function": ({ model, optimizer }) => {
      const step = compile((v: Tensor) =>
        optimizer.minimize(() => losses.mse(model.forward(v).exp().log(), zeros([4, 1]))),
      );
      return (v) => detectAnomaly(() => step(v as never));
    },
  };
  for (const [name, make] of Object.entries(kinds)) {
    test(name, () => {
      const run = (withFailures: boolean): unknown => {
        const s = makeState();
        const step = make(s);
        const seen: unknown[] = [];
        for (let i = 0; i < 4; i++) {
          const v = randn([4, 3]);
          if (withFailures && i) {
            const before = s.state();
            const bad = [...v.data];
            bad[5] = [Number.NaN, 3e38, Number.NEGATIVE_INFINITY][i % 3]!;
            expect(failure(() => step(tensor(bad, [4, 3])))).not.toBe("did not throw");
            expect(s.state()).toEqual(before);
          }
          step(v);
          seen.push(s.state());
        }
        return seen;
      };
      expect(run(true)).toEqual(run(false));
    });
  }
  test("finite: true does not change the bits of training", () => {
    const run = (finite: boolean): unknown => {
      const s = makeState();
      const step = compile((v: Tensor) => s.optimizer.minimize(() => s.model.forward(v).square().mean()), { finite });
      for (let i = 0; i < 5; i++) step(randn([4, 3]));
      return s.state();
    };
    expect(run(true)).toEqual(run(false));
  });
  test("a failed call leaves no tensors behind", () => {
    const s = makeState();
    const step = compile((v: Tensor) => s.optimizer.minimize(() => s.model.forward(v).mean()), { finite: true });
    const [good, bad] = [randn([4, 3]), tensor([...randn([4, 3]).data].fill(Number.NaN), [4, 3])];
    step(good);
    const refused = /^compile\(f\): arguments\[0\] contains NaN/;
    expect(failure(() => step(bad))).toMatch(refused);
    const { tensors, bytes } = memory();
    for (let i = 0; i < 5; i++) expect(failure(() => step(bad))).toMatch(refused);
    expect([memory().tensors, memory().bytes]).toEqual([tensors, bytes]);
  });
  test("a wrong index is reported before the NaN that it causes", () => {
    const f = compile((i: Tensor) => losses.crossEntropy(randn([2, 3]), i.add(0)), { finite: true });
    expect(() => f(tensor([0, 3], { dtype: "int32" }))).toThrow("crossEntropy: label 3 at position 1 is outside 0 … 2");
    expect(f(tensor([0, 2], { dtype: "int32" })).item()).toBeGreaterThan(0);
  });
  test("second derivatives are checked", () => {
    const f = compile((v: Tensor) => grad((u: Tensor) => grad((t: Tensor) => t.pow(1.5).sum())(u).sum())(v), {
      finite: true,
    });
    expect(failure(() => f(x))).toMatch(/the gradient of \w+, in \w+, produced -?(Infinity|NaN) at compile-finite/);
    expect(f(tensor([1, 4])).toArray()).toEqual([0.75, 0.375]);
  });
  test("a failed call does not advance the random generator", () => {
    const f = compile((k: Tensor) => rand([3]).mul(k).log(), { finite: true });
    manualSeed(5);
    failure(() => f(tensor([0])));
    const first = f(tensor([1])).toArray();
    manualSeed(5);
    expect(
      noGrad(() =>
        rand([3])
          .mul(tensor([1]))
          .log(),
      ).toArray(),
    ).toEqual(first);
  });
});
