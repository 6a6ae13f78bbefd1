/** Every public function and class that takes options rejects unknown ones. */
import * as nabla from "nabla";
import { losses, nn, ones, optim, tensor } from "nabla";
import * as formats from "nabla/formats";
import { describe, expect, test } from "vitest";
import { signatures } from "../../src/ops/signatures.ts";

const bogus = { bogus: 1 };
const x = ones([2, 4]);
const image = ones([1, 4, 4, 2]);
const params = (): nabla.Tensor[] => [tensor([1], { requiresGrad: true })];
const sgd = (): optim.SGD => new optim.SGD(params(), { lr: 0.1 });
const weights = { weightIh: ones([2, 4]), weightHh: ones([2, 2]) };

/** Valid arguments for each op, without options. */
const valid: Record<string, unknown[]> = {
  topK: [x, 1], conv1d: [x, ones([1, 1, 4])], convTranspose1d: [x, ones([4, 1, 1])],
  conv2d: [image, ones([1, 1, 1, 2])], convTranspose2d: [image, ones([2, 1, 1, 1])],
  avgPool2d: [image, 2], maxPool2d: [image, 2], maxPool2dWithIndices: [image, 2],
  batchNorm: [x, ones([4]), ones([4])], groupNorm: [image, 1], layerNorm: [x, 4], rmsNorm: [x, 4],
  rnn: [ones([1, 2, 4]), null, weights], gru: [ones([1, 2, 4]), null, weights], lstm: [ones([1, 2, 4]), null, null, weights],
  embedding: [tensor(Int32Array.of(0)), x],  scaledDotProductAttention: [x, x, x], triangularSolve: [ones([2, 2]), ones([2, 2])],
}; // biome-ignore format: a table
const ops = Object.entries(signatures).filter(([name, text]) => text.includes("{") && name in nabla);

describe("ops reject unknown options", () => {
  test.each(ops.map(([name]) => name))("%s", (name) => {
    const f = (nabla as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!;
    expect(() => f(...(valid[name] ?? [x]), bogus)).toThrow(`${name}: unknown option "bogus". `);
    expect(() => f(...(valid[name] ?? [x]), { bogus: 1 }, 2, 3, 4)).toThrow(TypeError);
  });
});

const layers: Record<string, unknown[]> = {
  RotaryEmbedding: [2], MultiheadAttention: [4, 2], Conv2d: [1, 1, 1], Conv1d: [1, 1, 1], ConvTranspose2d: [1, 1, 1], ConvTranspose1d: [1, 1, 1],
  Embedding: [2, 2], Linear: [2, 2], GELU: [], LayerNorm: [2], RMSNorm: [2], BatchNorm: [2], BatchNorm1d: [2], BatchNorm2d: [2], GroupNorm: [1, 2],
  MaxPool2d: [2], AvgPool2d: [2], MaxPool1d: [2], AvgPool1d: [2], RNN: [2, 2], LSTM: [2, 2], GRU: [2, 2], RNNCell: [2, 2], LSTMCell: [2, 2], GRUCell: [2, 2],
  Upsample: [], SpectralNorm: [new nn.Linear(2, 2)], TransformerEncoderLayer: [4, 2], TransformerDecoderLayer: [4, 2],
}; // biome-ignore format: a table
/** Layers without options. They reject extra arguments. */
const plain: Record<string, unknown[]> = {
  SinusoidalEncoding: [2], Identity: [], Flatten: [1, 2], Dropout: [0.5], ReLU: [], ReLU6: [], SELU: [], SiLU: [], Mish: [], Tanh: [], Sigmoid: [],
  LogSigmoid: [], Hardsigmoid: [], Hardswish: [], LeakyReLU: [1], ELU: [1], Softplus: [1], Hardtanh: [0, 1], Softmax: [1], LogSoftmax: [1],
  GlobalAvgPool2d: [], AdaptiveAvgPool2d: [1], Sequential: [], TransformerEncoder: [[new nn.ReLU()], null], TransformerDecoder: [[new nn.ReLU()], null],
}; // biome-ignore format: a table
type Class = new (...args: unknown[]) => unknown;

describe("layers reject unknown options", () => {
  const classes = Object.entries(nn).filter(
    ([name]) => /^[A-Z]/.test(name) && name !== "Module" && name !== "KeyValueCache",
  );
  test.each(classes)("%s", (name, value) => {
    const args = layers[name];
    const C = value as unknown as Class;
    if (args) expect(() => new C(...args, bogus)).toThrow(`${name}: unknown option "bogus". `);
    else {
      expect(plain, "list a new layer here").toHaveProperty(name);
      expect(() => new C(...plain[name]!, bogus)).toThrow(TypeError);
    }
  });
});

describe("optimizers and schedules reject unknown options", () => {
  const taking: Record<string, () => unknown[]> = {
    LBFGS: () => [params()], EMA: () => [params()], Muon: () => [[ones([2, 2])]], SGD: () => [params()], Adam: () => [params()], AdamW: () => [params()], SparseAdam: () => [params()],
    NAdam: () => [params()], Lion: () => [params()], RMSProp: () => [params()], Adagrad: () => [params()],
    OneCycleLR: () => [sgd(), 1], ReduceLROnPlateau: () => [sgd()], clipGradNorm: () => [params(), 1],
  }; // biome-ignore format: a table
  const none = ["Optimizer", "ParamGroup", "LRScheduler", "LambdaLR", "StepLR", "ExponentialLR", "LinearLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "SequentialLR", "clipGradValue"]; // biome-ignore format: a list
  test.each(Object.entries(optim).filter(([name]) => !none.includes(name)))("%s", (name, value) => {
    expect(taking, "list a new optimizer here").toHaveProperty(name);
    const args = taking[name]!();
    const call = (): unknown =>
      /^[A-Z]/.test(name)
        ? new (value as unknown as Class)(...args, bogus)
        : (value as (...a: unknown[]) => unknown)(...args, bogus);
    expect(call).toThrow(`${name}: unknown option "bogus". `);
  });
  test("a parameter group", () => {
    expect(() => new optim.SGD([{ params: params(), ...bogus }] as never, { lr: 1 })).toThrow(
      'SGD: unknown option "bogus". ',
    );
  });
});

describe("losses reject unknown options", () => {
  test.each(Object.entries(losses))("%s", (name, loss) => {
    const inputs = name === "cosineEmbedding" ? [x, x, ones([2])] : [x, x];
    expect(() => (loss as (...args: unknown[]) => unknown)(...inputs, bogus)).toThrow(
      `${name}: unknown option "bogus". `,
    );
  });
});

describe("functions that create tensors reject unknown options", () => {
  test.each([
    ["tensor", [[1]]], ["full", [[1], 1]], ["zeros", [[1]]], ["ones", [[1]]], ["zerosLike", [x]], ["onesLike", [x]], ["arange", [3]], ["linspace", [0, 1, 3]],
    ["eye", [2]], ["rand", [[1]]], ["uniform", [[1], 0, 1]], ["randn", [[1]]], ["normal", [[1], 0, 1]], ["randint", [0, 3, [1]]],
  ])("%s", (name, args) => {
    const f = (nabla as unknown as Record<string, (...a: unknown[]) => unknown>)[name]!;
    expect(() => f(...args, bogus)).toThrow(`${name}: unknown option "bogus". `);
  }); // biome-ignore format: a table
});

describe("functions with one tensor argument can be passed to map", () => {
  test("they ignore the index and the array that map passes", () => {
    expect([tensor([-1, 2]), tensor([3])].map(nabla.relu).map((t) => t.toArray())).toEqual([[0, 2], [3]]);
  });
  test("they reject any other extra argument", () => {
    expect(() => (nabla.relu as (...args: unknown[]) => unknown)(x, 1)).toThrow("takes 1 argument");
    expect(() => [x, x].map(nabla.sum as () => unknown)).toThrow("options must be an object");
  });
});

describe("methods and functions reject invalid extra arguments", () => {
  type Methods = Record<string, (...args: unknown[]) => unknown>;
  const method = (owner: object, name: string) => (owner as unknown as Methods)[name]!.bind(owner);
  const optimizer = sgd();
  const names = ["detach", "clone", "item", "toArray", "dispose", "clearGrad", "keep", "live"];
  test.each(names)("tensor.%s", (name) => {
    expect(() => method(tensor([1]), name)(1)).toThrow(
      `${name}: takes no arguments, got 1: argument 1 is 1. Remove it.`,
    );
  });
  test.each<[string, object, unknown]>([
    ["zeroGrad", optimizer, 1], ["zeroGrad", new nn.ReLU(), 1], ["eval", new nn.ReLU(), 1], ["dispose", new nn.ReLU(), 1], ["train", new nn.ReLU(), "no"],
    ["step", optimizer, 1], ["step", new optim.ExponentialLR(sgd(), 1), "a"], ["step", new optim.SequentialLR([new optim.ExponentialLR(sgd(), 1)], []), 1],
  ])("%s of %s", (name, owner, value) => {
    expect(() => method(owner, name)(value)).toThrow(TypeError);
  }); // biome-ignore format: a table
  test("manualSeed and calculateGain reject invalid arguments", () => {
    expect(() => (nabla.manualSeed as (...args: unknown[]) => void)(1, 2)).toThrow("manualSeed: takes 1 argument");
    expect(() => nn.init.calculateGain("swish" as "relu")).toThrow("calculateGain: nonlinearity must be one of");
  });
  const forward: Record<string, unknown[]> = { ...layers, ...plain };
  const several = ["MultiheadAttention", "SpectralNorm", "KeyValueCache", "Module"];
  test.each(Object.entries(nn).filter(([name]) => /^[A-Z]/.test(name) && !several.includes(name)))(
    "forward of %s",
    (name, value) => {
      const layer = new (value as unknown as Class)(...forward[name]!);
      expect(() => method(layer as object, "forward")(ones([2, 2]), ...new Array(5).fill(1))).toThrow(TypeError);
    },
  );
});

test("step(closure) runs the closure first and returns its result, as in PyTorch", () => {
  for (const make of [optim.SGD, optim.Adam, optim.Muon]) {
    const w = tensor([[2]], { requiresGrad: true });
    const optimizer = new (make as typeof optim.SGD)([w], { lr: 0.1 });
    const loss = optimizer.step(() => {
      optimizer.zeroGrad();
      const value = w.square().sum();
      value.backward();
      return value;
    });
    expect(loss.item()).toBe(4);
    expect(w.item()).toBeLessThan(2);
    expect(() => optimizer.step(async () => {})).toThrow("returned a promise");
  }
});

test("grad accepts only a tensor of the same shape, and requiresGrad only true or false", () => {
  const w = tensor([1, 2]);
  for (const wrong of [1, [1, 2], "a", undefined])
    expect(() => {
      w.grad = wrong as never;
    }).toThrow("grad: value must be a tensor, got ");
  for (const wrong of ["yes", 1, null])
    expect(() => {
      w.requiresGrad = wrong as never;
    }).toThrow("requiresGrad: value must be true or false, got ");
  expect([w.grad, w.requiresGrad]).toEqual([null, false]);
});

describe("invalid values are rejected with the name of the argument", () => {
  const any = <T>(value: unknown): T => value as T;
  const v = ones([2, 4]);
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  test.each<[string, () => unknown, string]>([
    ["gelu's approximation", () => v.gelu({ approximate: any("x") }), 'gelu: approximate must be one of none, tanh, got "x".'],
    ["permute", () => v.permute(any<number>([1, 0]), 1), "permute: got an array and 1 more arguments."],
    ["reshape", () => v.reshape(any<number>([8]), any<number>([4])), "reshape: got an array and 1 more arguments."],
    ["slice with four numbers", () => v.slice(any([0, 1, 2, 3])), "slice: a range must be null, a number or [start, end, step]"],
    ["slice with an object", () => v.slice(any({})), "slice: a range must be null, a number or [start, end, step]"],
    ["clamp without bounds", () => v.clamp(), "clamp: no bounds given."],
    ["encoder layers", () => new nn.TransformerEncoder(any([1])), "TransformerEncoder: a layer must be a module, got 1."],
    ["decoder layers", () => new nn.TransformerDecoder(any([1])), "TransformerDecoder: a layer must be a module, got 1."],
    ["a reduction", () => losses.l1(v, v, { reduction: any("avg") }), 'l1: unknown reduction "avg"'],
    ["a weighted reduction", () => losses.nll(v, tensor([0, 1], { dtype: "int32" }), { reduction: any("avg") }), 'nll: unknown reduction "avg"'],
    ["a BigInt", () => tensor(any([1n])), "tensor: values must be numbers, booleans or arrays of them, got 1n."],
    ["a tensor of a tensor", () => tensor(any(v)), "tensor: values must be numbers, booleans or arrays of them, got a float32 tensor [2, 4]. Copy a tensor with clone()"],
    ["extra with a BigInt", () => formats.saveState({ extra: 1n }), "saveState: extra contains a BigInt or a cycle"],
    ["extra that contains itself", () => formats.saveState({ extra: cyclic }), "saveState: extra contains a BigInt or a cycle"],
    ["std({ unbiased })", () => v.std(any({ unbiased: false })), 'std: unknown option "unbiased". Did you mean "correction"?'],
    ["softmax({ dim })", () => v.softmax(any({ dim: 1 })), "softmax: dim must be a number, got the object { dim }. Pass dim as an argument: 1."],
    ["stack of numbers", () => nabla.stack(any([1, 2])), "stack: tensors must be an array of tensors, got the array [1, 2]. Use tensor(…) for a tensor of numbers."],
  ])("%s", (_, call, message) => expect(call).toThrow(message)); // biome-ignore format: a table
  test("a module that holds its parent is printed without endless recursion", () => {
    const child = new nn.ReLU();
    const parent = new nn.Sequential(child);
    Object.assign(child, { parent });
    expect(String(parent)).toBe("Sequential(\n  (0): ReLU(\n    (parent): Sequential(…)\n  )\n)");
  });
});
