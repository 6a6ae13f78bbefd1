/** Networks that PyTorch trained and saved (make.py) produce the same outputs in nabla. */
import { readFileSync } from "node:fs";
import { memory, nn, type Tensor, tensor } from "nabla";
import { fromPyTorch, inspectSafetensors, readSafetensors, toPyTorch, writeSafetensors } from "nabla/formats";
import { describe, expect, test } from "vitest";

const file = (name: string) => readFileSync(new URL(`${name}.safetensors`, import.meta.url));

class Reader extends nn.Module {
  readonly lstm = new nn.LSTM(6, 8, { numLayers: 2, batchFirst: true, bidirectional: true });
  readonly fcOut = new nn.Linear(16, 3);
  forward(x: Tensor): Tensor {
    return this.fcOut.forward(this.lstm.forward(x)[0].slice(null, -1));
  }
}

class Mixed extends nn.Module {
  readonly embedding = new nn.Embedding(10, 8);
  readonly encoder = new nn.TransformerEncoderLayer(8, 2, { dimFeedforward: 16, dropout: 0, batchFirst: true });
  readonly gru = new nn.GRU(8, 6, { batchFirst: true });
  readonly norm = new nn.LayerNorm(6);
  readonly groupNorm = new nn.GroupNorm(2, 6);
  readonly fc = new nn.Linear(6, 3);
  forward(x: Tensor): Tensor {
    const steps = this.gru.forward(this.encoder.forward(this.embedding.forward(x)))[0];
    return this.fc.forward(this.groupNorm.forward(this.norm.forward(steps.slice(null, -1))));
  }
}

const toChannelsLast = (x: Tensor): Tensor => x.permute(0, 2, 3, 1);

const models: Record<string, { make: () => nn.Module; input?: (x: Tensor) => Tensor }> = {
  mlp: {
    make: () =>
      new nn.Sequential(
        new nn.Linear(12, 32),
        new nn.ReLU(),
        new nn.Linear(32, 16),
        new nn.Tanh(),
        new nn.Linear(16, 4),
      ),
  },
  cnn: {
    make: () =>
      new nn.Sequential(
        new nn.Sequential(
          new nn.Conv2d(3, 8, 3, { padding: 1 }),
          new nn.BatchNorm2d(8),
          new nn.ReLU(),
          new nn.Conv2d(8, 8, 3, { groups: 8 }),
          new nn.ReLU(),
        ),
        new nn.ConvTranspose2d(8, 4, 2, { stride: 2 }),
        new nn.ReLU(),
        new nn.MaxPool2d(3),
        new nn.Flatten(),
        new nn.Linear(4 * 4 * 5, 16),
        new nn.ReLU(),
        new nn.Linear(16, 5),
      ),
    input: toChannelsLast,
  },
  lstm: { make: () => new Reader() },
  mixed: { make: () => new Mixed() },
  normed: {
    make: () =>
      new nn.Sequential(
        new nn.Conv2d(1, 3, 2),
        new nn.Flatten(),
        new nn.BatchNorm1d(18),
        new nn.ReLU(),
        new nn.LayerNorm(18),
        new nn.Linear(18, 4),
      ),
    input: toChannelsLast,
  },
};

/** The network's weights, and the inputs and outputs of the test. */
function load(name: string) {
  const { "test.inputs": inputs, "test.outputs": outputs, ...own } = readSafetensors(file(name)).tensors;
  return { inputs: inputs!, outputs: outputs!, own };
}

test.each(Object.keys(models))("%s: outputs equal PyTorch's within 1e-5", (name) => {
  const { make, input = (x: Tensor) => x } = models[name]!;
  const { inputs, outputs, own } = load(name);
  const model = make();
  model.loadStateDict(fromPyTorch(model, own));
  const found = model.eval().forward(input(inputs)) as Tensor;
  expect(found.shape).toEqual(outputs.shape);
  expect(found.sub(outputs).abs().max().item()).toBeLessThan(1e-5);
  expect(outputs.abs().max().item()).toBeGreaterThan(1);
});

test.each(Object.keys(models))("%s: converting back gives the same bytes and names", (name) => {
  const { own } = load(name);
  const model = models[name]!.make();
  model.loadStateDict(fromPyTorch(model, own));
  const back = toPyTorch(model);
  expect(Object.keys(back).sort()).toEqual(Object.keys(own).sort());
  for (const [key, value] of Object.entries(back)) {
    expect(value.shape, key).toEqual(own[key]!.shape);
    expect(value.data, key).toEqual(own[key]!.data);
  }
});

test("the option flattened names a Linear layer whose input is an image that a custom module flattens", () => {
  class Net extends nn.Module {
    readonly conv = new nn.Conv2d(1, 3, 2);
    readonly fc = new nn.Linear(12, 2);
    forward(x: Tensor): Tensor {
      return this.fc.forward(this.conv.forward(x).flatten(1));
    }
  }
  const [net, whole] = [new Net(), new nn.Sequential(new nn.Conv2d(1, 3, 2), new nn.Flatten(), new nn.Linear(12, 2))];
  const theirs = { "conv.weight": toPyTorch(net)["conv.weight"]!, "conv.bias": net.conv.bias! };
  const [weight, bias] = [tensor(Array.from({ length: 24 }, (_, i) => i / 24)).reshape(2, 12), tensor([1, 2])];
  net.loadStateDict(fromPyTorch(net, { ...theirs, "fc.weight": weight, "fc.bias": bias }, { flattened: { fc: 3 } }));
  const sequential = {
    "0.weight": theirs["conv.weight"],
    "0.bias": theirs["conv.bias"],
    "2.weight": weight,
    "2.bias": bias,
  };
  whole.loadStateDict(fromPyTorch(whole, sequential));
  const x = tensor([[1, 2, 3], [4, 5, 6], [7, 8, 10]]).reshape(1, 3, 3, 1); // biome-ignore format: an image
  expect(net.forward(x).toArray()).toEqual(whole.forward(x).toArray());
  // Column c·4 + p in PyTorch is column p·3 + c in nabla.
  expect(net.fc.weight.toArray()).not.toEqual(weight.toArray());
  expect(net.fc.weight.narrow(1, 1, 1).toArray()).toEqual(weight.narrow(1, 4, 1).toArray());
  expect(() => fromPyTorch(net, theirs, { flattened: { fc: 5 } })).toThrow(
    `fromPyTorch: flattened["fc"] must divide the layer's 12 inputs evenly, got 5.`,
  );
  expect(() => fromPyTorch(net, theirs, { flattened: { conv: 3 } })).toThrow(
    'fromPyTorch: flattened must name Linear layers of the model, got "conv".',
  );
});

describe("if the channels of a flattened image cannot be inferred, the error asks for them", () => {
  class Vgg extends nn.Module {
    readonly features = new nn.Sequential(new nn.Conv2d(1, 3, 2), new nn.ReLU());
    readonly classifier = new nn.Sequential(new nn.Flatten(), new nn.Linear(12, 2));
    forward(x: Tensor): Tensor {
      return this.classifier.forward(this.features.forward(x));
    }
  }
  class Block extends nn.Module {
    readonly conv = new nn.Conv2d(2, 4, 1);
    forward(x: Tensor): Tensor {
      return this.conv.forward(x);
    }
  }
  test.each([
    ["Flatten and the convolutions in different Sequentials", () => new Vgg(), "classifier.1", 3],
    [
      "a custom module between the convolution and Flatten",
      () => new nn.Sequential(new nn.Conv2d(1, 2, 2), new Block(), new nn.Flatten(), new nn.Linear(16, 2)),
      "3",
      4,
    ],
  ])("%s", (_, make, path, channels) => {
    const model = make();
    expect(() => toPyTorch(model)).toThrow(new RegExp(`"${path}" reads a flattened image with .*{ flattened: {`));
    const options = { flattened: { [path]: channels } };
    const theirs = toPyTorch(model, options);
    const again = fromPyTorch(model, theirs, options);
    for (const [name, { data }] of Object.entries(model.stateDict())) expect(again[name]!.data, name).toEqual(data);
    expect(theirs[`${path}.weight`]!.toArray()).not.toEqual(model.stateDict()[`${path}.weight`]!.toArray());
  });
  test("a network without convolutions needs no conversion", () => {
    const model = new nn.Sequential(new nn.Flatten(), new nn.Linear(4, 2));
    const weight = model.stateDict()["1.weight"]!;
    expect(toPyTorch(model)["1.weight"]!.toArray()).toEqual(weight.toArray());
  });
  test("disposing the tensors of toPyTorch does not affect the model", () => {
    const model = new nn.Linear(2, 2);
    for (const x of Object.values(toPyTorch(model))) {
      expect(x.requiresGrad).toBe(false);
      x.dispose();
    }
    expect(model.weight.isDisposed).toBe(false);
  });
});

test("loadStateDict lists unexpected and missing names", () => {
  const { own } = load("mlp");
  const { "0.bias": _, ...rest } = own;
  const model = models.mlp!.make();
  const before = model.stateDict()["0.weight"]!.toArray();
  expect(() => model.loadStateDict(fromPyTorch(model, { ...rest, other: tensor(1) }))).toThrow(
    /missing: 0\.bias; unexpected: other/,
  );
  expect(model.stateDict()["0.weight"]!.toArray()).toEqual(before);
});

test("every element type is read with the same values as in PyTorch", () => {
  const { tensors } = readSafetensors(file("types"));
  const { entries } = inspectSafetensors(file("types"));
  const types = Object.fromEntries(Array.from(entries, ([name, { dtype }]) => [name, dtype]));
  expect(types).toMatchObject({
    float64: "F64",
    float16: "F16",
    bfloat16: "BF16",
    int64: "I64",
    int8: "I8",
    bool: "BOOL",
  });
  expect(tensors.float16!.data).toEqual(tensors["float16.expected"]!.data);
  expect(tensors.bfloat16!.data).toEqual(tensors["bfloat16.expected"]!.data);
  expect(tensors.float64!.data).toEqual(tensors.float32!.data);
  const integers = [0, 1, -1, 127, -128, 5];
  for (const name of ["int64", "int32", "int16", "int8"]) {
    expect(tensors[name]!.dtype).toBe("int32");
    expect(tensors[name]!.shape).toEqual([2, 3]);
    expect([...tensors[name]!.data], name).toEqual(integers);
  }
  expect([...tensors.uint8!.data]).toEqual([0, 1, 255, 127, 128, 5]);
  expect(tensors.bool!.toArray()).toEqual([
    [false, true, false],
    [true, false, true],
  ]);
  // The values survive a round trip.
  const again = readSafetensors(writeSafetensors(tensors));
  for (const [name, { data }] of Object.entries(tensors)) expect(again.tensors[name]!.data, name).toEqual(data);
});

test("converting layouts leaves no tensors behind", () => {
  const model = new nn.Sequential(new nn.Conv2d(1, 2, 3), new nn.Flatten(), new nn.Linear(8, 3), new nn.BatchNorm1d(3));
  const { tensors, bytes: held } = memory();
  for (let i = 0; i < 3; i++) {
    const theirs = toPyTorch(model);
    const ours = fromPyTorch(model, theirs);
    for (const x of new Set([...Object.values(theirs), ...Object.values(ours)])) x.dispose();
  }
  const now = memory();
  expect({ tensors: now.tensors, bytes: now.bytes }).toEqual({ tensors, bytes: held });
});
