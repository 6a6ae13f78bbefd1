/** nn.quantize: copies of models with int8 weights, their accuracy, files, errors and report. */
import { readFileSync } from "node:fs";
import {
  compile,
  losses,
  manualSeed,
  memory,
  nn,
  noGrad,
  optim,
  rand,
  randint,
  randn,
  summary,
  Tensor,
  tensor,
  tidy,
} from "nabla";
import { readSafetensors, writeSafetensors } from "nabla/formats";
import { describe, expect, test } from "vitest";
import { Bert, LanguageModel } from "../../bench/models/transformers.ts";
import { loadMnist } from "../../cli/mnist/data.ts";
import { evaluate, trainMnist } from "../../cli/mnist/train.ts";

/** ‖a − b‖ / ‖b‖. */
const difference = (a: Tensor, b: Tensor): number => a.sub(b).norm().item() / b.norm().item();

const sizes = { layers: 2, width: 64, heads: 4, vocabulary: 100, steps: 16 };

interface Quantizable {
  readonly make: () => nn.Module;
  readonly run: (model: nn.Module) => Tensor;
  /** The largest relative difference from float32. */
  readonly bound: number;
}

manualSeed(8);
const image = randn([2, 9, 9, 6]).keep();
const sequence = randn([20, 3, 6]).keep();
const rows = randn([12, 70]).keep();
const numbers = randint(0, 100, [2, 16]).keep();
const first = (y: Tensor | readonly unknown[]): Tensor => (Array.isArray(y) ? y[0] : y) as Tensor;
const onImages = (make: () => nn.Module): Quantizable => ({
  make,
  run: (m) => m.forward(image) as Tensor,
  bound: 6e-3,
});
const onSequences = (make: () => nn.Module): Quantizable => ({
  make,
  run: (m) => first(m.forward(sequence) as Tensor),
  bound: 6e-3,
});
const onSteps = (make: () => nn.Module): Quantizable => ({
  make,
  run: (m) => first(m.forward(sequence.narrow(0, 0, 1).squeeze(0)) as Tensor),
  bound: 6e-3,
});

const models: Record<string, Quantizable> = {
  "Linear, many rows": { ...onSequences(() => new nn.Linear(6, 20)), bound: 1.5e-2 },
  "Linear with long rows": {
    make: () => new nn.Linear(70, 20),
    run: (m) => m.forward(rows) as Tensor,
    bound: 2e-2,
  },
  "Linear, few rows": onSteps(() => new nn.Linear(6, 20, { bias: false })),
  Embedding: { make: () => new nn.Embedding(100, 24), run: (m) => m.forward(numbers) as Tensor, bound: 8e-3 },
  Conv2d: onImages(() => new nn.Conv2d(6, 8, 3, { padding: 1, stride: 2 })),
  "grouped Conv2d": onImages(() => new nn.Conv2d(6, 12, 3, { groups: 3 })),
  ConvTranspose2d: onImages(() => new nn.ConvTranspose2d(6, 8, 3, { stride: 2 })),
  Conv1d: onSequences(() => new nn.Conv1d(6, 8, 3)),
  ConvTranspose1d: onSequences(() => new nn.ConvTranspose1d(6, 8, 3)),
  LSTM: onSequences(() => new nn.LSTM(6, 16, { numLayers: 2, bidirectional: true })),
  GRU: onSequences(() => new nn.GRU(6, 16)),
  RNN: onSequences(() => new nn.RNN(6, 16, { nonlinearity: "relu" })),
  LSTMCell: onSteps(() => new nn.LSTMCell(6, 16)),
  GRUCell: onSteps(() => new nn.GRUCell(6, 16)),
  RNNCell: onSteps(() => new nn.RNNCell(6, 16, { bias: false })),
  MultiheadAttention: { ...onSequences(() => new nn.MultiheadAttention(6, 2)), bound: 3e-2 },
  "MultiheadAttention with other keys and values": {
    make: () => new nn.MultiheadAttention(6, 2, { batchFirst: true }),
    run: (m) => first(m.forward(sequence, sequence.mul(2), sequence.sub(1)) as Tensor[]),
    bound: 2e-2,
  },
  "a decoder layer": {
    make: () => new nn.TransformerDecoderLayer(6, 2, { dimFeedforward: 16, normFirst: true }),
    run: (m) => m.forward(sequence, sequence.neg()) as Tensor,
    bound: 1e-2,
  },
  BERT: { make: () => new Bert(sizes), run: (m) => m.forward(numbers) as Tensor, bound: 2e-2 },
};

/** For each format: the largest relative difference of results, unless a model has its own bound, of weights, and the bytes per number. */
const formats = {
  int8: { results: undefined, weights: 0.01, bytes: 1 },
  int4: { results: 0.25, weights: 0.12, bytes: 0.5 },
  float16: { results: 1e-3, weights: 3e-4, bytes: 2 },
  bfloat16: { results: 8e-3, weights: 3e-3, bytes: 2 },
} as const;
type Format = keyof typeof formats;

/** The format in which a weight is stored: int8 if int4 would not make it smaller. */
function storedAs(shape: readonly number[], dtype: Format): Format {
  const k = shape.slice(1).reduce((a, b) => a * b, 1);
  return dtype === "int4" && 20 * Math.ceil(k / 32) >= k + 4 ? "int8" : dtype;
}
/** The bytes of a weight without its scales. Groups of int4 numbers are padded. */
function sizeIn([n, ...rest]: readonly number[], dtype: Format): number {
  const k = rest.reduce((a, b) => a * b, 1);
  return n! * (dtype === "int4" ? 16 * Math.ceil(k / 32) : k * formats[dtype].bytes);
}

const cases = Object.keys(models).flatMap((name) =>
  (Object.keys(formats) as Format[]).map((dtype) => [name, dtype] as const),
);

/** The float32 tensor at a path of a quantized model. */
function weightAt(model: nn.Module, path: string): Tensor {
  return path.split(".").reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], model) as Tensor;
}

describe.each(cases)("%s, %s", (name, dtype) => {
  const { make, run, bound } = models[name]!;
  test("agrees with float32 and holds a part of the bytes, eagerly and compiled", async () => {
    manualSeed(2);
    const model = make().eval();
    const quantized = await nn.quantize(model, { dtype });
    await tidy(() => {
      const expected = noGrad(() => run(model));
      const y = run(quantized);
      expect(y.shape).toEqual(expected.shape);
      expect(difference(y, expected)).toBeLessThan(formats[dtype].results ?? bound);
      expect(difference(y, expected)).toBeGreaterThan(1e-5);
      const compiled = compile(() => run(quantized));
      expect(Array.from(compiled().data)).toEqual(Array.from(y.data));
      compiled.dispose();
      return undefined;
    });
    const report = nn.quantizationReport(quantized)!;
    expect(report.skipped).toEqual([]);
    for (const weight of report.weights) {
      const { shape } = weightAt(model, weight.name);
      const stored = storedAs(shape, dtype);
      expect(weight.error).toBeLessThan(formats[stored].weights);
      expect(weight.dtype).toBe(stored);
      const scales = {
        int8: shape[0]!,
        int4: shape[0]! * Math.ceil(weight.elements / shape[0]! / 32),
        float16: 0,
        bfloat16: 0,
      };
      expect(weight.bytes).toBe(sizeIn(shape, stored) + 4 * scales[stored]);
    }
    const state = Object.entries(quantized.stateDict());
    const bytes = state.reduce((total, [, x]) => total + (x.dtype === "uint8" ? x.size : 0), 0);
    const originals = Object.values(model.stateDict()).filter((x) => x.shape.length > 1);
    expect(bytes).toBe(originals.reduce((total, { shape }) => total + sizeIn(shape, storedAs(shape, dtype)), 0));
    // Nothing else is as large as a weight.
    const others = state.filter(([path, x]) => x.dtype === "float32" && !path.endsWith("scale"));
    expect(others.every(([, x]) => x.shape.length === 1)).toBe(true);
    expect(quantized.training).toBe(false);
  });

  // Products of int8 numbers also round activations.
  if (dtype !== "int8")
    test("computes the bits of a float32 model with the rounded weights", async () => {
      const model = make().eval();
      const quantized = await nn.quantize(model, { dtype });
      for (const { name: path } of nn.quantizationReport(quantized)!.weights)
        model.loadStateDict({ [path]: weightAt(quantized, path).clone() }, { strict: false });
      expect(noGrad(() => run(model)).data).toEqual(run(quantized).data);
    });

  test("is saved in a file and loaded again", async () => {
    const [quantized, other] = [await nn.quantize(make(), { dtype }), await nn.quantize(make(), { dtype })];
    const file = writeSafetensors(quantized.stateDict());
    other.loadStateDict(readSafetensors(file).tensors);
    expect(Array.from(run(other).data)).toEqual(Array.from(run(quantized).data));
  });
});

test("quantize does not change the model, and disposing of the model does not affect the copy", async () => {
  const model = new nn.Sequential(new nn.Linear(4, 3), new nn.ReLU(), new nn.Linear(3, 2));
  const x = rand([2, 4]);
  const y = (model.forward(x) as Tensor).data;
  const quantized = await nn.quantize(model);
  expect(model.training).toBe(true);
  expect((model.forward(x) as Tensor).data).toEqual(y);
  model.dispose();
  const close = quantized.forward(x).data;
  for (let i = 0; i < 4; i++) expect(close[i]).toBeCloseTo(y[i]!, 2);
  expect(`${quantized}`).toContain("QuantizedLinear(inFeatures=4, outFeatures=3, bias=true)");
  expect(summary(quantized, [2, 4]).rows.map(({ type }) => type)).toContain("QuantizedLinear");
});

test("dispose() frees all tensors of the copy", async () => {
  const model = new nn.Sequential(new nn.Linear(4, 3), new nn.ReLU(), new nn.Linear(3, 2));
  const { tensors } = memory();
  const quantized = await nn.quantize(model);
  expect(memory().tensors).toBeGreaterThan(tensors);
  tidy(() => void quantized.forward(rand([2, 4])));
  quantized.dispose();
  expect(memory().tensors).toBe(tensors);
});

test("tied weights are quantized once, and `weight` is float32", async () => {
  class Tied extends nn.Module {
    embedding = new nn.Embedding(10, 6);
    out = new nn.Linear(6, 10);
    constructor() {
      super();
      Object.assign(this.out, { weight: this.embedding.weight });
    }
    forward(index: Tensor): Tensor {
      return this.out.forward(this.embedding.forward(index)).add(this.embedding.weight.sum());
    }
  }
  const model = new Tied().eval();
  const quantized = await nn.quantize(model);
  const index = tensor([1, 2], { dtype: "int32" });
  expect(quantized.embedding.weight.shape).toEqual([10, 6]);
  expect(difference(quantized.forward(index), model.forward(index))).toBeLessThan(0.01);
  const report = nn.quantizationReport(quantized)!;
  expect(report.weights.map(({ name, elements, bytes }) => [name, elements, bytes])).toEqual([
    ["embedding.weight", 60, 0],
    ["out.weight", 60, 100],
  ]);
  expect(report.weights[0]!.error).toBe(report.weights[1]!.error);
  expect(`${report}`).toContain("240 B in float32, 100 B now");
  const skipped = await nn.quantize(model, { skip: ["embedding", "out"] });
  expect(`${nn.quantizationReport(skipped)}`).toContain("240 B in float32, 240 B now");
});

describe("the public fields of every layer", () => {
  const layers: Record<string, () => nn.Module> = {
    Linear: () => new nn.Linear(6, 4),
    "Linear without bias": () => new nn.Linear(6, 4, { bias: false }),
    Embedding: () => new nn.Embedding(10, 4, { paddingIdx: 2, sparse: true }),
    MultiheadAttention: () => new nn.MultiheadAttention(8, 2, { dropout: 0.1, batchFirst: true }),
    "MultiheadAttention without bias": () => new nn.MultiheadAttention(8, 2, { bias: false }),
    Conv1d: () => new nn.Conv1d(4, 6, 3, { groups: 2, padding: "same" }),
    Conv2d: () => new nn.Conv2d(4, 6, [3, 1], { stride: 2, bias: false }),
    ConvTranspose1d: () => new nn.ConvTranspose1d(4, 6, 3, { stride: 2 }),
    ConvTranspose2d: () => new nn.ConvTranspose2d(4, 6, 3),
    LSTM: () => new nn.LSTM(4, 6, { numLayers: 2, bidirectional: true, batchFirst: true, dropout: 0.2 }),
    GRU: () => new nn.GRU(4, 6),
    RNN: () => new nn.RNN(4, 6, { nonlinearity: "relu", bias: false }),
    LSTMCell: () => new nn.LSTMCell(4, 6),
    GRUCell: () => new nn.GRUCell(4, 6, { bias: false }),
    RNNCell: () => new nn.RNNCell(4, 6, { nonlinearity: "relu" }),
  };
  test.each(Object.entries(layers))("%s", async (_, make) => {
    const layer = Object.assign(make(), { note: "my own" });
    const small = (await nn.quantize(layer)) as unknown as Record<string, unknown>;
    for (const [name, value] of Object.entries(layer)) {
      const other = small[name];
      if (value instanceof nn.Module) expect(other).toBeInstanceOf(nn.Module);
      else if (value instanceof Tensor) {
        expect(other).toBeInstanceOf(Tensor);
        expect((other as Tensor).shape).toEqual(value.shape);
        expect(difference(other as Tensor, value)).not.toBeGreaterThan(0.01);
      } else expect(other, name).toEqual(value);
    }
  });
  test("a model that reads them computes the same", async () => {
    class Scaled extends nn.Module {
      e = new nn.Embedding(10, 16);
      forward(index: Tensor): Tensor {
        return this.e.forward(index).mul(Math.sqrt(this.e.embeddingDim));
      }
    }
    const [model, index] = [new Scaled(), tensor([1, 2], { dtype: "int32" })];
    const small = await nn.quantize(model);
    expect(difference(small.forward(index), model.forward(index))).toBeLessThan(0.01);
  });
});

test("int8: a weight near the largest float32 stays finite", async () => {
  const most = 3.4028234663852886e38;
  for (const make of [() => new nn.Linear(4, 2), () => new nn.Embedding(2, 4), () => new nn.RNNCell(4, 2)]) {
    const model = make();
    const [weight] = model.parameters() as [Tensor];
    weight.copyFrom(tensor([[most, -most, most / 2, 0], [0.99 * most, 1, 0, -0.5 * most]])); // biome-ignore format: a matrix
    const expected = weight.data;
    for (const dtype of ["int8", "int4"] as const) {
      const small = await nn.quantize(model, { dtype });
      const [name] = [...model.namedParameters()][0]!;
      weightAt(small, name).data.forEach((w, i) => {
        expect(Math.abs(w - expected[i]!) / most).toBeLessThan(0.004);
      });
      expect(nn.quantizationReport(small)!.weights[0]!.error).toBeLessThan(0.01);
    }
  }
});

describe("accuracy", () => {
  test("MNIST: accuracy on 10,000 test digits falls by at most 0.2 percentage points", async () => {
    const { train, test: digits } = await loadMnist();
    const { model } = await trainMnist(
      { train, test: digits },
      { epochs: 1, batch: 64, width: 128, lr: 3e-3, seed: 1 },
    );
    model.eval();
    const accuracy = (m: nn.Module, batch: number): number => 100 * evaluate(m, digits, batch).accuracy;
    const before = accuracy(model, 1000);
    const quantized = await nn.quantize(model);
    expect(before).toBeGreaterThan(94);
    for (const batch of [1000, 5]) expect(before - accuracy(quantized, batch)).toBeLessThanOrEqual(0.2);
  }, 120_000);

  test("a transformer that predicts characters: the loss rises by at most 1 %", async () => {
    manualSeed(1);
    const text = readFileSync("examples/text/genesis.txt", "utf8").slice(0, 20_000);
    const alphabet = [...new Set(text)];
    const codes = Int32Array.from(text, (c) => alphabet.indexOf(c));
    const model = new LanguageModel({ width: 48, heads: 4, feedforward: 96, layers: 2, outputs: alphabet.length });
    const windows = (from: number): [Tensor, Tensor] => {
      const starts = Array.from({ length: 16 }, (_, i) => (from + i * 997) % 19_000);
      const rows = (shift: number) => starts.flatMap((at) => [...codes.subarray(at + shift, at + shift + 32)]);
      return [tensor(Int32Array.from(rows(0)), [16, 32]), tensor(Int32Array.from(rows(1)), [512])];
    };
    const optimizer = new optim.Adam(model.parameters(), { lr: 5e-3 });
    const step = compile((x: Tensor, y: Tensor) => optimizer.minimize(() => losses.crossEntropy(model.forward(x), y)));
    for (let i = 0; i < 200; i++) step(...windows(i * 131));
    model.eval();
    const quantized = await nn.quantize(model);
    const lossOf = (m: LanguageModel): number => {
      let total = 0;
      for (let i = 0; i < 10; i++)
        total += tidy(() =>
          noGrad(() => losses.crossEntropy(m.forward(windows(i * 77)[0]), windows(i * 77)[1])).item(),
        );
      return total / 10;
    };
    const before = lossOf(model);
    expect(before).toBeLessThan(2.5);
    expect(lossOf(quantized) / before).toBeLessThan(1.01);
  }, 120_000);
});
