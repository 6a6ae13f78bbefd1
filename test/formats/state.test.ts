/** Training that is saved and resumed is byte-identical to uninterrupted training, in this process and in another one. */
import { execFileSync } from "node:child_process";
import { compile, losses, manualSeed, memory, nn, ones, optim, rand, randn, type Tensor, tensor } from "nabla";
import { FormatError, loadState, readSafetensors, saveState, writeSafetensors } from "nabla/formats";
import { afterEach, describe, expect, test } from "vitest";

const kinds = {
  SGD: (p: Iterable<Tensor>) => new optim.SGD(p, { lr: 0.05, momentum: 0.9, nesterov: true }),
  Adam: (p: Iterable<Tensor>) => new optim.Adam(p, { lr: 0.01, amsgrad: true }),
  AdamW: (p: Iterable<Tensor>) => new optim.AdamW(p, { lr: 0.01 }),
  NAdam: (p: Iterable<Tensor>) => new optim.NAdam(p, { lr: 0.01 }),
  RMSProp: (p: Iterable<Tensor>) => new optim.RMSProp(p, { lr: 0.01, centered: true, momentum: 0.5 }),
  Adagrad: (p: Iterable<Tensor>) => new optim.Adagrad(p, { lr: 0.05 }),
  Lion: (p: Iterable<Tensor>) => new optim.Lion(p, { lr: 0.001 }),
  SparseAdam: (p: Iterable<Tensor>) => new optim.SparseAdam(p, { lr: 0.01 }),
  Muon: (p: Iterable<Tensor>) => new optim.Muon([...p].filter(({ shape }) => shape.length === 2)),
};

test("every optimizer is tested", () => {
  const names = Object.entries(optim).flatMap(([name, made]) =>
    typeof made === "function" && "loadStateDict" in (made.prototype ?? {}) && "minimize" in made.prototype
      ? [name]
      : [],
  );
  expect(names.sort()).toEqual([...Object.keys(kinds), "LBFGS", "Optimizer"].sort());
});

/** Training with every kind of state: running statistics, dropout, random inputs and a schedule. */
function start(kind: keyof typeof kinds, seed: number) {
  manualSeed(seed);
  const model = new nn.Sequential(
    new nn.Linear(6, 16),
    new nn.BatchNorm1d(16),
    new nn.ReLU(),
    new nn.Dropout(0.3),
    new nn.Linear(16, 3),
  );
  const optimizer = kinds[kind](model.parameters());
  const scheduler = new optim.CosineAnnealingLR(optimizer, 50);
  const run = (steps: number): void => {
    for (let i = 0; i < steps; i++) {
      const x = randn([8, 6]);
      const y = rand([8, 3]);
      optimizer.minimize(() => losses.mse(model.forward(x), y)).dispose();
      scheduler.step();
      for (const used of [x, y]) used.dispose();
    }
  };
  const end = (): void => {
    optimizer.dispose();
    model.dispose();
  };
  return { model, optimizer, scheduler, run, end };
}

const trainings: { end(): void }[] = [];
const begin = (...args: Parameters<typeof start>) => {
  const training = start(...args);
  trainings.push(training);
  return training;
};
afterEach(() => {
  for (const training of trainings.splice(0)) training.end();
});

test.each(Object.keys(kinds) as (keyof typeof kinds)[])(
  "%s: a resumed run is byte-identical to an uninterrupted one",
  (kind) => {
    const whole = begin(kind, 3);
    whole.run(20);
    const expected = saveState({ ...whole, step: 20 });
    const interrupted = begin(kind, 3);
    interrupted.run(9);
    const file = saveState({ ...interrupted, step: 9, extra: { shuffled: [3, 1, 2], best: Number.POSITIVE_INFINITY } });
    // Training after the save must not change the saved file.
    interrupted.run(5);
    const resumed = begin(kind, 99);
    resumed.run(3);
    expect(loadState(file, resumed)).toEqual({
      step: 9,
      extra: { shuffled: [3, 1, 2], best: Number.POSITIVE_INFINITY },
    });
    resumed.run(11);
    expect(saveState({ ...resumed, step: 20 })).toEqual(expected);
  },
);

test("a compiled step continues with loaded state, without a new recording", () => {
  const training = begin("Adam", 4);
  const step = compile((x: Tensor, y: Tensor) =>
    training.optimizer.minimize(() => losses.mse(training.model.forward(x), y)),
  );
  const [x, y] = [randn([8, 6]), rand([8, 3])];
  for (let i = 0; i < 3; i++) step(x, y);
  const file = saveState(training);
  const run = (): number[] => Array.from({ length: 4 }, () => step(x, y).item());
  const first = run();
  const { tensors, bytes } = memory();
  for (let i = 0; i < 5; i++) {
    loadState(file, training);
    expect(run()).toEqual(first);
  }
  const now = memory();
  expect({ tensors: now.tensors, bytes: now.bytes }).toEqual({ tensors, bytes });
  step.dispose();
});

test("parameter groups and frozen parameters are resumed", () => {
  const make = (seed: number) => {
    manualSeed(seed);
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.Tanh(), new nn.Linear(4, 1));
    const [a, b, c, d] = model.parameters() as [Tensor, Tensor, Tensor, Tensor];
    b.requiresGrad = false;
    const optimizer = new optim.AdamW(
      [
        { params: [a, b], lr: 0.1 },
        { params: [c, d], weightDecay: 0.3 },
      ],
      { lr: 0.01 },
    );
    const run = (steps: number): void => {
      for (let i = 0; i < steps; i++) optimizer.minimize(() => losses.mse(model.forward(randn([4, 3])), randn([4, 1])));
    };
    return { model, optimizer, run };
  };
  const first = make(1);
  first.run(3);
  const file = saveState(first);
  first.run(3);
  const second = make(2);
  loadState(file, second);
  second.run(3);
  expect(saveState(second)).toEqual(saveState(first));
});

test("averages of weights are resumed", () => {
  const make = (seed: number, width = 3) => {
    manualSeed(seed);
    const model = new nn.Linear(4, width);
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.1 });
    const average = new optim.EMA(model.parameters(), { decay: 0.9 });
    const run = (steps: number): void => {
      for (let i = 0; i < steps; i++) {
        optimizer.minimize(() =>
          model
            .forward(randn([2, 4]))
            .square()
            .mean(),
        );
        average.update();
      }
    };
    return { model, optimizer, average, run };
  };
  const whole = make(1);
  whole.run(3);
  const file = saveState(whole);
  whole.run(3);
  const resumed = make(2);
  loadState(file, resumed);
  resumed.run(3);
  expect(saveState(resumed)).toEqual(saveState(whole));

  const { model, optimizer } = whole;
  expect(() => loadState(saveState({ model, optimizer }), whole)).toThrow(/^loadState: the file has no averages/);
  const { average } = make(3, 2);
  const before = saveState(whole);
  expect(() => loadState(saveState({ model, optimizer, average }), whole)).toThrow(
    /^loadStateDict: 0 must be float32 \[3, 4\], got float32 \[2, 4\]; 1 must be float32/,
  );
  expect(saveState(whole)).toEqual(before);
  const single = new optim.EMA([model.weight]);
  expect(() => whole.average.loadStateDict(single.stateDict())).toThrow(/^loadStateDict: missing: 1\./);
});

const schedules: Record<string, (o: optim.Adam) => Parameters<typeof loadState>[1]["scheduler"]> = {
  OneCycleLR: (o) => new optim.OneCycleLR(o, 0.1, { totalSteps: 30 }),
  SequentialLR: (o) => new optim.SequentialLR([new optim.LinearLR(o), new optim.ExponentialLR(o, 0.9)], [5]),
  ReduceLROnPlateau: (o) => new optim.ReduceLROnPlateau(o, { patience: 1 }),
};
test.each(Object.keys(schedules))("%s is resumed", (name) => {
  const make = () => {
    const model = new nn.Linear(1, 1);
    const optimizer = new optim.Adam(model.parameters(), { lr: 0.05 });
    return { model, optimizer, scheduler: schedules[name]!(optimizer)! };
  };
  const rates = ({ optimizer, scheduler }: ReturnType<typeof make>, steps: number): number[] =>
    Array.from({ length: steps }, () => {
      if (scheduler instanceof optim.ReduceLROnPlateau) scheduler.step(1);
      else (scheduler as optim.LRScheduler).step();
      return optimizer.paramGroups[0]!.lr;
    });
  const first = make();
  rates(first, 7);
  const file = saveState(first);
  const second = make();
  loadState(file, second);
  expect(rates(second, 10)).toEqual(rates(first, 10));
});

test("a state with thousands of parameters loads within 10 seconds", () => {
  const many = (): { model: nn.Module; optimizer: optim.Adam } => {
    const model = new nn.Sequential(...Array.from({ length: 1000 }, () => new nn.Linear(1, 1)));
    return { model, optimizer: new optim.Adam(model.parameters()) };
  };
  const first = many();
  first.optimizer.minimize(() => (first.model as nn.Sequential).forward(randn([1, 1])).sum());
  const file = saveState(first);
  loadState(file, many());
}, 10_000);

test("saving twice, or loading and saving, gives the same bytes", () => {
  const training = begin("Adam", 5);
  training.run(4);
  const file = saveState({ ...training, step: 4, extra: Number.NaN });
  expect(saveState({ ...training, step: 4, extra: Number.NaN })).toEqual(file);
  const other = begin("Adam", 6);
  const { step, extra } = loadState(file, other);
  expect(saveState({ ...other, step, extra })).toEqual(file);
});

test("loading restores the random generator, unless random is false", () => {
  manualSeed(1);
  const file = saveState({});
  const next = rand([3]).toArray();
  loadState(file, {});
  expect(rand([3]).toArray()).toEqual(next);
  loadState(file, { random: false });
  expect(rand([3]).toArray()).not.toEqual(next);
});

test("a run resumed in another process is byte-identical", () => {
  const script = (body: string): string => `
    import { compile, losses, manualSeed, nn, optim, randn } from "nabla";
    import { loadState, saveState } from "nabla/formats";
    import { readFileSync, writeFileSync } from "node:fs";
    manualSeed(Number(process.argv[1]));
    const model = new nn.Sequential(new nn.Linear(4, 8), new nn.Dropout(0.2), new nn.Linear(8, 1));
    const optimizer = new optim.Adam(model.parameters());
    const run = (n) => { for (let i = 0; i < n; i++) optimizer.minimize(() => losses.mse(model.forward(randn([4, 4])), randn([4, 1]))); };
    const hex = (bytes) => process.stdout.write(Buffer.from(bytes).toString("hex"));
    ${body}`;
  const run = (seed: number, body: string): string =>
    execFileSync(process.execPath, ["--input-type=module", "-e", script(body), "--", String(seed)], {
      encoding: "utf8",
    });
  const half = run(1, "run(6); hex(saveState({ model, optimizer, step: 6 }));");
  const whole = run(1, "run(10); hex(saveState({ model, optimizer, step: 10 }));");
  const resume = `loadState(Buffer.from("${half}", "hex"), { model, optimizer }); run(4); hex(saveState({ model, optimizer, step: 10 }));`;
  expect(run(2, resume)).toBe(whole);
});

describe("loadState rejects a state that does not fit and changes nothing", () => {
  const file = (() => {
    const training = start("Adam", 7);
    training.run(2);
    const saved = saveState(training);
    training.end();
    return saved;
  })();
  const cases: [string, () => Uint8Array, keyof typeof kinds, (t: ReturnType<typeof start>) => object, RegExp][] = [
    ["another optimizer's state", () => file, "SGD", (t) => t, /saved by this optimizer/],
    [
      "weights without a training state",
      () => writeSafetensors({ a: tensor([1]) }),
      "Adam",
      (t) => t,
      /not written by saveState.*readSafetensors/,
    ],
    [
      "a state without a schedule",
      () => saveState({ model: start("Adam", 1).model }),
      "Adam",
      ({ scheduler }) => ({ scheduler }),
      /has no schedule/,
    ],
    [
      "a state without an optimizer",
      () => saveState({ model: start("Adam", 1).model }),
      "Adam",
      ({ optimizer }) => ({ optimizer }),
      /has no optimizer/,
    ],
    ["a truncated file", () => file.slice(0, file.length / 2), "Adam", (t) => t, /complete\?/],
    [
      "a newer version",
      () => withMetadata('{"version":2}'),
      "Adam",
      (t) => t,
      /version 2, but this release reads version 1/,
    ],
    ["training metadata that is not JSON", () => withMetadata("{"), "Adam", (t) => t, /is malformed/],
    [
      "incomplete training metadata",
      () => withMetadata('{"version":1,"step":0,"random":[1,2]}'),
      "Adam",
      (t) => t,
      /is malformed/,
    ],
  ];
  const withMetadata = (metadata: string): Uint8Array => writeSafetensors({}, { "nabla.training": metadata });

  test.each(cases)("%s", (_, make, kind, parts, why) => {
    const training = begin(kind, 8);
    training.run(3);
    const before = saveState(training);
    const mutated = make();
    // Call `parts` before counting tensors, because it may create some.
    const parted = parts(training);
    const { tensors } = memory();
    expect(() => loadState(mutated, parted)).toThrow(why);
    expect(memory().tensors).toBe(tensors);
    const [a, b] = [before, saveState(training)].map((saved) => readSafetensors(saved).tensors);
    for (const [name, { data }] of Object.entries(a!)) expect(b![name]!.data, name).toEqual(data);
  });
  test("a model with other sizes", () => {
    const model = new nn.Linear(2, 2);
    const before = model.weight.toArray();
    expect(() => loadState(file, { model })).toThrow(/^loadStateDict: /);
    expect(model.weight.toArray()).toEqual(before);
  });
  test("an optimizer that does not fit restores the model", () => {
    const training = begin("Adam", 9);
    const before = training.model.stateDict()["0.weight"]!.toArray();
    const optimizer = new optim.Adam(new nn.Linear(2, 2).parameters());
    expect(() => loadState(file, { model: training.model, optimizer })).toThrow(/and 6 parameters/);
    expect(training.model.stateDict()["0.weight"]!.toArray()).toEqual(before);
  });
  test("a schedule that does not fit changes neither its step nor the learning rate", () => {
    const make = (totalSteps: number) => {
      const optimizer = new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 0.01 });
      return { optimizer, scheduler: new optim.OneCycleLR(optimizer, 0.1, { totalSteps }) };
    };
    const long = make(60);
    for (let i = 0; i < 40; i++) long.scheduler.step();
    const saved = saveState(long);
    const short = make(20);
    for (let i = 0; i < 3; i++) short.scheduler.step();
    const before = [short.scheduler.lastEpoch, short.optimizer.paramGroups[0]!.lr];
    expect(() => loadState(saved, { scheduler: short.scheduler })).toThrow();
    expect([short.scheduler.lastEpoch, short.optimizer.paramGroups[0]!.lr]).toEqual(before);
  });
  test("saveState rejects a step that is NaN", () => {
    expect(() => saveState({ step: Number.NaN })).toThrow(/^saveState: step must be a finite number, got NaN\./);
  });
  test("an invalid file throws a FormatError", () => {
    expect(() => loadState(new Uint8Array(3), {})).toThrow(FormatError);
  });
});

describe("unknown parts are rejected", () => {
  const model = new nn.Linear(2, 2);
  const rest: [string, unknown][] = [
    ["discriminator", new nn.Linear(2, 2)], ["second", new optim.SGD(model.parameters(), { lr: 1 })], ["mask", ones([2])], ["notes", "x"], ["strict", false],
    ["schedule", { stateDict: () => ({}), loadStateDict() {} }], ["epoch", 3],
  ]; // biome-ignore format: a table
  test.each(rest)("%s", (name, value) => {
    const training = { model, [name]: value } as Parameters<typeof saveState>[0];
    expect(() => saveState(training)).toThrow(`saveState: unknown option "${name}". `);
    expect(() => loadState(saveState({ model }), training)).toThrow(`loadState: unknown option "${name}". `);
  });
  test("functions, such as a loss, are ignored", () => {
    const training = { model, loss: () => ones([]) };
    expect(loadState(saveState(training), training).step).toBe(0);
  });
});
