/** A training that was saved and resumed equals one that was not interrupted, byte for byte: here, in another process, and in a page. */
import { execFileSync } from "node:child_process";
import { losses, manualSeed, memory, nn, optim, rand, randn, type Tensor, tensor } from "nabla";
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
};

/** A training with all that has a state: running statistics, dropout, random inputs, a schedule. */
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

test.each(Object.keys(kinds) as (keyof typeof kinds)[])("%s: resumed equals uninterrupted, byte for byte", (kind) => {
  const whole = begin(kind, 3);
  whole.run(20);
  const interrupted = begin(kind, 3);
  interrupted.run(9);
  const file = saveState({ ...interrupted, step: 9, extra: { shuffled: [3, 1, 2], best: Number.POSITIVE_INFINITY } });
  // Something else happens meanwhile.
  interrupted.run(5);
  const resumed = begin(kind, 99);
  resumed.run(3);
  expect(loadState(file, resumed)).toEqual({ step: 9, extra: { shuffled: [3, 1, 2], best: Number.POSITIVE_INFINITY } });
  resumed.run(11);
  const expected = saveState({ ...whole, step: 20 });
  // `whole` ended before the others drew numbers: the generators differ, and are not part of this comparison.
  const found = saveState({ ...resumed, step: 20 });
  const [a, b] = [readSafetensors(found).tensors, readSafetensors(expected).tensors];
  expect(Object.keys(a)).toEqual(Object.keys(b));
  for (const [name, { data }] of Object.entries(b)) expect(a[name]!.data, name).toEqual(data);
  for (const x of [...Object.values(a), ...Object.values(b)]) x.dispose();
});

test("saved twice, or saved after it was loaded, it is the same file", () => {
  const training = begin("Adam", 5);
  training.run(4);
  const file = saveState({ ...training, step: 4, extra: Number.NaN });
  expect(saveState({ ...training, step: 4, extra: Number.NaN })).toEqual(file);
  const other = begin("Adam", 6);
  const { step, extra } = loadState(file, other);
  expect(saveState({ ...other, step, extra })).toEqual(file);
});

test("random numbers go on where they were, unless they are not to", () => {
  manualSeed(1);
  const file = saveState({});
  const next = rand([3]).toArray();
  loadState(file, {});
  expect(rand([3]).toArray()).toEqual(next);
  loadState(file, { random: false });
  expect(rand([3]).toArray()).not.toEqual(next);
});

test("another process ends with the same file", () => {
  const script = (body: string): string => `
    import { losses, manualSeed, nn, optim, randn } from "nabla";
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

describe("what does not fit changes nothing", () => {
  const file = (() => {
    const training = start("Adam", 7);
    training.run(2);
    const saved = saveState(training);
    training.end();
    return saved;
  })();
  const cases: [string, () => Uint8Array, keyof typeof kinds, (t: ReturnType<typeof start>) => object, RegExp][] = [
    ["another optimizer's state", () => file, "SGD", (t) => t, /another optimizer's/],
    [
      "weights alone",
      () => writeSafetensors({ a: tensor([1]) }),
      "Adam",
      (t) => t,
      /not written by saveState.*readSafetensors/,
    ],
    [
      "no schedule",
      () => saveState({ model: start("Adam", 1).model }),
      "Adam",
      ({ scheduler }) => ({ scheduler }),
      /has no schedule/,
    ],
    [
      "no optimizer",
      () => saveState({ model: start("Adam", 1).model }),
      "Adam",
      ({ optimizer }) => ({ optimizer }),
      /has no optimizer/,
    ],
    ["half a file", () => file.slice(0, file.length / 2), "Adam", (t) => t, /whole\?/],
    ["a newer version", () => withNotes('{"version":2}'), "Adam", (t) => t, /of version 2, but 1 is read/],
    ["notes that are no JSON", () => withNotes("{"), "Adam", (t) => t, /of version undefined/],
    [
      "notes that are not whole",
      () => withNotes('{"version":1,"step":0,"random":[1,2]}'),
      "Adam",
      (t) => t,
      /is not whole/,
    ],
  ];
  const withNotes = (notes: string): Uint8Array => writeSafetensors({}, { "nabla.training": notes });

  test.each(cases)("%s", (_, make, kind, parts, why) => {
    const training = begin(kind, 8);
    training.run(3);
    const before = saveState(training);
    const mutated = make();
    const { tensors } = memory();
    // What was drawn meanwhile is none of it.
    const parted = parts(training);
    expect(() => loadState(mutated, parted)).toThrow(why);
    expect(memory().tensors).toBe(tensors);
    const [a, b] = [before, saveState(training)].map((saved) => readSafetensors(saved).tensors);
    for (const [name, { data }] of Object.entries(a!)) expect(b![name]!.data, name).toEqual(data);
  });
  test("a model of other sizes", () => {
    const model = new nn.Linear(2, 2);
    const before = model.weight.toArray();
    expect(() => loadState(file, { model })).toThrow(/^loadStateDict: /);
    expect(model.weight.toArray()).toEqual(before);
  });
  test("an optimizer that does not fit takes the model back", () => {
    const training = begin("Adam", 9);
    const before = training.model.stateDict()["0.weight"]!.toArray();
    const optimizer = new optim.Adam(new nn.Linear(2, 2).parameters());
    expect(() => loadState(file, { model: training.model, optimizer })).toThrow(/with 6 parameters/);
    expect(training.model.stateDict()["0.weight"]!.toArray()).toEqual(before);
  });
  test("errors of the file are FormatErrors", () => {
    expect(() => loadState(new Uint8Array(3), {})).toThrow(FormatError);
  });
});
