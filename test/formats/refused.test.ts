/** Manipulated states and states of other training runs: the error names the part that is wrong, and nothing changes. */
import { compile, losses, manualSeed, memory, nn, optim, randn, type Tensor, tensor, zeros } from "nabla";
import { loadState, readSafetensors, saveState, writeSafetensors } from "nabla/formats";
import { KFAC, NaturalGradient } from "nabla/gradients";
import { describe, expect, test } from "vitest";

// biome-ignore lint/suspicious/noExplicitAny: the content of a file
type Metadata = any;
const KEY = "nabla.training";

/** A copy of a file with edited training metadata or tensors. */
function edited(
  file: Uint8Array,
  edit: (metadata: Metadata) => void,
  change: (tensors: Record<string, Tensor>) => void = () => {},
): Uint8Array {
  const { tensors, metadata } = readSafetensors(file);
  const training = JSON.parse(metadata[KEY]!);
  edit(training);
  change(tensors);
  return writeSafetensors(tensors, { [KEY]: JSON.stringify(training) });
}

const optimizers = {
  Adam: (model: nn.Module) => new optim.Adam(model.parameters(), { lr: 0.01 }),
  LBFGS: (model: nn.Module) => new optim.LBFGS(model.parameters(), { maxIter: 3 }),
  NaturalGradient: (model: nn.Module) => new NaturalGradient(model, { likelihood: "softmax", iterations: 5 }),
  KFAC: (model: nn.Module) => new KFAC(model, { likelihood: "softmax", every: 4 }),
};
type Kind = keyof typeof optimizers;

function start(kind: Kind, seed: number) {
  manualSeed(seed);
  const model = new nn.Sequential(new nn.Linear(4, 5), new nn.Tanh(), new nn.Linear(5, 3));
  const optimizer = optimizers[kind](model);
  const x = randn([6, 4]);
  const labels = tensor([0, 1, 2, 0, 1, 2], { dtype: "int32" });
  const run = (steps: number): void => {
    for (let i = 0; i < steps; i++) {
      if (optimizer instanceof KFAC || optimizer instanceof NaturalGradient)
        optimizer.minimize(() => model.forward(x), labels);
      else optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels));
    }
  };
  return { model, optimizer, run };
}

const options = (change: object) => (metadata: Metadata) => Object.assign(metadata.optimizer.groups[0], change);
const none = (): void => {};
/** A float64 vector as a state stores it: its bytes in a uint8 tensor [1, 8·n]. */
const bytes = (...values: number[]): Tensor =>
  tensor(new Uint8Array(Float64Array.of(...values).buffer), [1, 8 * values.length]);

const cases: [Kind, string, (metadata: Metadata) => void, RegExp, ((tensors: Record<string, Tensor>) => void)?][] = [
  ["Adam", "betas that are strings", options({ betas: ["0.9", "0.99"] }), /^Adam: the state has betas as the array \["0.9", ?"0.99"\]/],
  ["Adam", "betas that are not a list", options({ betas: {} }), /^Adam: the state has betas as the object {}/],
  ["Adam", "betas that are null", options({ betas: null }), /^Adam: the state has betas as null/],
  ["Adam", "eps that is null", options({ eps: null }), /^Adam: the state has eps as null/],
  ["Adam", "an unknown option", options({ constructor: 1 }), /^Adam: the state has constructor as 1/],
  ["Adam", "a group that is null", (metadata) => (metadata.optimizer.groups = [null]), /is malformed/],
  ["Adam", "lr that is a list", options({ lr: [0.1] }), /^Adam: the state has lr as the array \[0.1\]/],
  ["LBFGS", "a tolerance that is a string", options({ toleranceGrad: "x" }), /^LBFGS: the state has toleranceGrad as "x"/],
  ["LBFGS", "maxEval of 0", options({ maxEval: 0 }), /^LBFGS: maxEval must be at least 1, got 0/],
  ["LBFGS", "lr that is a string", options({ lr: "1" }), /^LBFGS: the state has lr as "1"/],
  ["LBFGS", "an unknown line search", options({ lineSearchFn: "toString" }), /^LBFGS: lineSearchFn must be "strongWolfe" or null, got "toString"/],
  ["LBFGS", "a scale of NaN", none, /incomplete/, (t) => (t["optimizer.0.numbers"] = bytes(Number.NaN, 1))],
  ["LBFGS", "curvature of another element type", none, /incomplete/, (t) => (t["optimizer.0.y"] = zeros(t["optimizer.0.y"]!.shape, { dtype: "uint8" }))],
  ["LBFGS", "half of the last step", none, /incomplete/, (t) => (t["optimizer.0.last"] = t["optimizer.0.last"]!.narrow(0, 0, 1))],
  ["LBFGS", "other parameter sizes", none, /^LBFGS: the state is for parameters with sizes 20,5,14,4/, (t) => (t["optimizer.0.sizes"] = bytes(20, 5, 14, 4))],
  ["NaturalGradient", "infinite damping", none, /^NaturalGradient: damping must be finite and above 0, got Infinity\./, (t) => (t["optimizer.0.damping"] = bytes(Number.POSITIVE_INFINITY))],
  ["NaturalGradient", "a flag that is a string", options({ adapt: "no" }), /^NaturalGradient: the state has adapt as "no"/],
  ["NaturalGradient", "another likelihood", options({ likelihood: "gaussian" }), /has the likelihood "gaussian"/],
  ["KFAC", "infinite damping", none, /^KFAC: damping must be finite and above 0, got Infinity\./, (t) => (t["optimizer.0.progress"] = bytes(Number.POSITIVE_INFINITY, 3))],
  ["KFAC", "a negative number of steps", none, /incomplete/, (t) => (t["optimizer.0.progress"] = bytes(0.1, -1))],
  ["KFAC", "a likelihood that is a property of Object", options({ likelihood: "constructor" }), /has the likelihood "constructor"/],
  ["KFAC", "missing inverses", (metadata) => (metadata.optimizer.slots[2] = []), /^KFAC: the state is incomplete/],
  ["KFAC", "missing factors", (metadata) => (metadata.optimizer.slots[1] = []), /^KFAC: the state is incomplete/],
  ["KFAC", "decay that is null", options({ decay: null }), /^KFAC: the state has decay as null/],
]; // biome-ignore format: a table

test.each(cases)("%s: %s", (kind, _, edit, why, change) => {
  const other = start(kind, 1);
  other.run(3);
  const file = edited(saveState(other), edit, change);
  const training = start(kind, 2);
  training.run(5);
  const before = saveState(training);
  const { tensors } = memory();
  expect(() => loadState(file, training)).toThrow(why);
  expect(memory().tensors).toBe(tensors);
  expect(saveState(training)).toEqual(before);
  training.run(1);
});

test.each(Object.keys(optimizers) as Kind[])(
  "%s: if loading another part fails, the training state is restored",
  (kind) => {
    const other = start(kind, 1);
    other.run(3);
    const narrow = new optim.EMA([zeros([2], { requiresGrad: true })]);
    const file = saveState({ ...other, average: narrow });
    const training = { ...start(kind, 2), average: new optim.EMA(other.model.parameters()) };
    training.run(2);
    const before = saveState(training);
    expect(() => loadState(file, training)).toThrow(/^loadStateDict: 0 must be float32 \[\d, \d\], got float32 \[2\]/);
    expect(saveState(training)).toEqual(before);
  },
);

describe("a compiled step continues", () => {
  const make = () => {
    const { model, optimizer } = start("Adam", 3) as { model: nn.Module; optimizer: optim.Adam };
    const step = compile((x: Tensor) => optimizer.minimize(() => (model.forward(x) as Tensor).square().mean()));
    return { model, optimizer, step, x: randn([6, 4]) };
  };
  test("after loading a checkpoint from before the first step", () => {
    const { model, optimizer, step, x } = make();
    const file = saveState({ model, optimizer });
    const first = [step(x).item(), step(x).item(), step(x).item()];
    loadState(file, { model, optimizer });
    expect([step(x).item(), step(x).item(), step(x).item()]).toEqual(first);
  });
  test("after a rejected load", () => {
    const { model, optimizer, step, x } = make();
    const file = saveState({ model, optimizer, average: new optim.EMA([zeros([2], { requiresGrad: true })]) });
    step(x);
    step(x);
    const before = saveState({ model, optimizer });
    expect(() => loadState(file, { model, optimizer, average: new optim.EMA(model.parameters()) })).toThrow();
    expect(saveState({ model, optimizer })).toEqual(before);
    expect(step(x).item()).toBeGreaterThan(0);
  });
});

describe("schedules", () => {
  const make = () => {
    const optimizer = new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 0.1 });
    return { optimizer, scheduler: new optim.StepLR(optimizer, 5) };
  };
  const rate = ({ optimizer }: ReturnType<typeof make>): number => optimizer.paramGroups[0]!.lr;

  test("a manually set learning rate is kept", () => {
    const training = make();
    training.scheduler.step();
    training.optimizer.paramGroups[0]!.lr = 0.03;
    const resumed = make();
    loadState(saveState(training), resumed);
    expect(rate(resumed)).toBe(0.03);
    for (const { scheduler } of [training, resumed]) for (let i = 0; i < 4; i++) scheduler.step();
    expect(rate(resumed)).toBe(rate(training));
  });
  test("a warm-up followed by ReduceLROnPlateau is resumed", () => {
    const begin = () => {
      const optimizer = new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 0.1 });
      const warmUp = new optim.LinearLR(optimizer, 0.1, 1, 2);
      return { optimizer, warmUp, scheduler: new optim.ReduceLROnPlateau(optimizer, { patience: 0 }) };
    };
    const training = begin();
    for (let i = 0; i < 2; i++) training.warmUp.step();
    for (let i = 0; i < 2; i++) training.scheduler.step(1);
    expect(training.optimizer.paramGroups[0]!.lr).toBeCloseTo(0.01, 7);
    const resumed = begin();
    const { warmUp: _, ...whole } = training;
    loadState(saveState(whole), { optimizer: resumed.optimizer, scheduler: resumed.scheduler });
    loadState(saveState({ scheduler: training.warmUp, optimizer: training.optimizer }), {
      scheduler: resumed.warmUp,
      optimizer: resumed.optimizer,
    });
    expect(resumed.optimizer.paramGroups[0]!.lr).toBe(training.optimizer.paramGroups[0]!.lr);
  });
  test("ReduceLROnPlateau with an infinite cooldown is resumed", () => {
    const begin = () => {
      const optimizer = new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 0.1 });
      return { optimizer, scheduler: new optim.ReduceLROnPlateau(optimizer, { patience: 0, cooldown: 1 / 0 }) };
    };
    const training = begin();
    for (let i = 0; i < 3; i++) training.scheduler.step(1);
    const resumed = begin();
    loadState(saveState(training), resumed);
    expect(resumed.scheduler.stateDict()).toEqual(training.scheduler.stateDict());
  });
  test("an added group with a manually set learning rate is resumed", () => {
    const begin = () => {
      const optimizer = new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 0.1 });
      const scheduler = new optim.ExponentialLR(optimizer, 0.5);
      optimizer.addParamGroup({ params: new nn.Linear(1, 1).parameters(), lr: 0.5 });
      return { optimizer, scheduler };
    };
    const training = begin();
    training.optimizer.paramGroups[1]!.lr = 0.4;
    const file = saveState(training);
    const resumed = begin();
    loadState(file, resumed);
    resumed.scheduler.step();
    training.scheduler.step();
    expect(resumed.optimizer.paramGroups[1]!.lr).toBe(0.2);
    expect(saveState(resumed)).toEqual(saveState(training));
    // Load the file into the first training run, whose schedule now includes the added group.
    loadState(file, training);
    training.scheduler.step();
    expect(saveState(training)).toEqual(saveState(resumed));
  });
  test("a custom schedule in a SequentialLR is resumed", () => {
    class Mine extends optim.StepLR {
      count = 0;
      override stateDict() {
        return { ...super.stateDict(), count: this.count };
      }
      override loadStateDict({ count, ...state }: ReturnType<Mine["stateDict"]>) {
        super.loadStateDict(state);
        this.count = count;
      }
    }
    const begin = () => {
      const { optimizer } = make();
      const mine = new Mine(optimizer, 2);
      return { mine, scheduler: new optim.SequentialLR([mine, new optim.LinearLR(optimizer)], [3]) };
    };
    const training = begin();
    training.mine.count = 7;
    const resumed = begin();
    loadState(saveState({ scheduler: training.scheduler }), { scheduler: resumed.scheduler });
    expect(resumed.mine.count).toBe(7);
  });
  test("an added group is resumed", () => {
    const grown = () => {
      const training = make();
      training.optimizer.addParamGroup({ params: new nn.Linear(1, 1).parameters(), lr: 0.5 });
      return training;
    };
    const rates = ({ optimizer, scheduler }: ReturnType<typeof make>): number[][] =>
      Array.from({ length: 6 }, () => {
        scheduler.step();
        return optimizer.paramGroups.map(({ lr }) => lr);
      });
    for (const before of [0, 6]) {
      const training = grown();
      for (let i = 0; i < before; i++) training.scheduler.step();
      const resumed = grown();
      loadState(saveState(training), resumed);
      expect(rates(resumed)).toEqual(rates(training));
    }
  });
  const malformed: [string, unknown][] = [
    ["null", null],
    ["a fractional step", { lastEpoch: 5.5, bases: [0.1] }],
    ["a negative step", { lastEpoch: -1, bases: [0.1] }],
    ["a learning rate that is a string", { lastEpoch: 5, bases: ["1"] }],
    ["another number of groups", { lastEpoch: 5, bases: [0.1, 0.1] }],
  ];
  test.each(malformed)("%s is rejected and changes nothing", (_, state) => {
    const training = make();
    const file = edited(saveState(training), (metadata) => {
      metadata.scheduler = state;
    });
    training.scheduler.step();
    training.optimizer.paramGroups[0]!.lr = 0.03;
    const before = training.scheduler.stateDict();
    expect(() => loadState(file, { scheduler: training.scheduler })).toThrow(
      /^StepLR: the saved state does not fit this schedule. Was it saved by this schedule/,
    );
    expect([rate(training), training.scheduler.stateDict()]).toEqual([0.03, before]);
  });
  test("invalid states of SequentialLR and ReduceLROnPlateau are rejected", () => {
    const { optimizer } = make();
    const several = new optim.SequentialLR([new optim.StepLR(optimizer, 2), new optim.LinearLR(optimizer)], [3]);
    const before = several.stateDict();
    for (const state of [
      null,
      { schedulers: [null, null] },
      { ...before, lastEpoch: "7" },
      { lastEpoch: 1, schedulers: [] },
    ])
      expect(() => several.loadStateDict(state as typeof before)).toThrow(
        /^SequentialLR: the saved state does not fit this schedule. Was it saved by a SequentialLR with 2 schedules/,
      );
    expect(() => several.loadStateDict({ lastEpoch: 1, schedulers: [before.schedulers[0]!, {}] })).toThrow(
      /^LinearLR: /,
    );
    expect(several.stateDict()).toEqual(before);
    const plateau = new optim.ReduceLROnPlateau(optimizer);
    for (const state of [null, { best: "x", bad: 0, cooling: 0 }, { best: 1, bad: Number.NaN, cooling: 0 }])
      expect(() => plateau.loadStateDict(state as never)).toThrow(/^ReduceLROnPlateau: the saved state does not fit/);
  });
});

test("a disposed part is rejected before anything changes", () => {
  for (const which of ["optimizer", "average"] as const) {
    const { model, run, ...rest } = start("Adam", 1);
    const optimizer = rest.optimizer as optim.Adam;
    const training = { model, optimizer, average: new optim.EMA([zeros([2], { requiresGrad: true })]) };
    run(2);
    const file = saveState(training);
    run(2);
    const before = saveState({ model });
    training[which].dispose();
    expect(() => loadState(file, training)).toThrow(/was disposed/);
    expect(saveState({ model })).toEqual(before);
  }
});

describe("extra", () => {
  const kept = (extra: unknown): unknown => loadState(saveState({ extra }), {}).extra;
  test('"nabla.number" is an ordinary key, unless it is the only key of an object', () => {
    const extra = { a: { "nabla.number": "hello", b: 2 }, c: [Number.NaN, Number.NEGATIVE_INFINITY] };
    expect(kept(extra)).toEqual(extra);
    expect(() => saveState({ extra: { "nabla.number": { toString: 1 } } })).toThrow(
      /^saveState: extra contains an object whose only key is "nabla.number"/,
    );
  });
});

describe("custom parts", () => {
  test("saveState and loadState reject a part without state methods", () => {
    class Own {}
    const file = saveState({});
    for (const part of ["model", "optimizer", "scheduler", "average"]) {
      expect(() => saveState({ [part]: new Own() })).toThrow(
        `saveState: ${part} must have stateDict() and loadStateDict(), got the object {}.`,
      );
      expect(() => loadState(file, { [part]: new Own() })).toThrow(
        `loadState: ${part} must have stateDict() and loadStateDict(), got the object {}.`,
      );
    }
  });
  test("a custom schedule and a subclass of Adam with more state are resumed", () => {
    class Verbose extends optim.Adam {
      count = 0;
      override stateDict() {
        const { groups, state } = super.stateDict();
        return { groups: [...groups, { count: this.count }], state };
      }
      override loadStateDict({ groups, state }: ReturnType<optim.Adam["stateDict"]>) {
        super.loadStateDict({ groups: groups.slice(0, -1), state });
        ({ count: this.count } = groups.at(-1) as { count: number });
      }
    }
    class Own {
      t = 0;
      stateDict = () => ({ t: this.t });
      loadStateDict = ({ t }: { t: number }): void => {
        this.t = t;
      };
    }
    const make = () => ({ optimizer: new Verbose(new nn.Linear(1, 1).parameters()), scheduler: new Own() });
    const training = make();
    const scheduler = new optim.StepLR(training.optimizer, 5);
    training.optimizer.paramGroups[0]!.lr = 0.03;
    const file = saveState({ ...training, scheduler });
    training.optimizer.paramGroups[0]!.lr = 0.02;
    loadState(file, { ...training, scheduler });
    expect(training.optimizer.paramGroups[0]!.lr).toBe(0.03);
    training.optimizer.count = 4;
    training.scheduler.t = 7;
    const resumed = make();
    loadState(saveState(training), resumed);
    expect([resumed.optimizer.count, resumed.scheduler.t]).toEqual([4, 7]);
  });
});

test("names that are properties of Object are reported as unexpected or missing", () => {
  const model = new nn.Linear(1, 1);
  expect(() => model.loadStateDict({ ...model.stateDict(), toString: zeros([1]) })).toThrow(/unexpected: toString\./);
  const { weight } = model.stateDict();
  expect(() => model.loadStateDict({ weight: weight! })).toThrow(/missing: bias\. Pass { strict: false }/);
  expect(() => loadState(saveState({ model: new nn.Linear(1, 1, { bias: false }) }), { model })).toThrow(
    /missing: bias\.$/,
  );
});
