/** Convolutions and pooling beyond the oracles' samples: several blocks, layers, shapes, and errors. */
import {
  avgPool2d,
  compile,
  conv1d,
  conv2d,
  convTranspose2d,
  globalAvgPool2d,
  losses,
  manualSeed,
  maxPool2d,
  maxPool2dWithIndices,
  nn,
  optim,
  rand,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "nabla";
import { describe, expect, test } from "vitest";
import { apply } from "../../src/ops/definition/op.ts";
import {
  type ConvAttributes,
  convDefinition,
  convInputDefinition,
  convWeightDefinition,
} from "../../src/ops/image/conv.ts";
import { addressOf, SplitEncoder } from "../support/oracle.ts";
import { referenceOf } from "./oracles/index.ts";
import type { Reference } from "./oracles/oracle.ts";

const ops = { conv: convDefinition, convInput: convInputDefinition, convWeight: convWeightDefinition };

/** The attributes of a convolution with a square kernel and the same padding on all sides. */
function geometry(x: number[], kernel: number, stride: number, pad: number, dilation = 1, groups = 1): ConvAttributes {
  const size = (n: number) => Math.floor((n + 2 * pad - dilation * (kernel - 1) - 1) / stride) + 1;
  return {
    stride: [stride, stride],
    pad: [pad, pad],
    dilation: [dilation, dilation],
    groups,
    activation: 0,
    inputSize: [x[1]!, x[2]!],
    outputSize: [size(x[1]!), size(x[2]!)],
    kernelSize: [kernel, kernel],
  };
}

describe("sizes beyond the kernels' blocks agree with float64, and several threads give the same results as one", () => {
  // biome-ignore format: a table
  const cases: [what: string, x: number[], out: number, kernel: number, stride: number, pad: number, dilation?: number, groups?: number][] = [
    ["several bands of a wide image", [1, 23, 60, 64], 5, 3, 1, 1],
    ["several bands, with a stride", [1, 23, 60, 64], 4, 3, 2, 1],
    ["no padding, so the image is read in place", [2, 9, 20, 16], 17, 3, 1, 0],
    ["a long inner size", [1, 5, 6, 130], 13, 3, 1, 1],
    ["rows of more than 512 pixels", [1, 2, 530, 8], 3, 2, 1, 1],
    ["more output channels than a block of rows", [1, 6, 7, 8], 200, 2, 1, 0],
    ["a 1 × 1 kernel on many pixels", [1, 20, 21, 10], 11, 1, 1, 0],
    ["a dilation that separates the taps", [2, 19, 17, 12], 9, 3, 1, 2, 2],
    ["groups", [2, 15, 17, 12], 18, 3, 1, 1, 1, 3],
    ["more output than input channels in groups, as in AlexNet's second layer", [1, 9, 9, 96], 256, 5, 1, 2, 1, 2],
    ["a strided gradient whose phases have few taps", [1, 14, 14, 256], 256, 3, 2, 1, 1, 2],
    ["a stride longer than the image", [1, 3, 4, 23], 262, 3, 5, 1, 1],
    ["outputs of one pixel", [3, 4, 4, 24], 20, 4, 1, 0],
    ["images two pixels wide", [5, 9, 2, 12], 7, 3, 1, 1],
    ["several blocks of Winograd's tiles", [2, 40, 26, 16], 24, 3, 1, 1],
    ["a row of more than 512 of Winograd's tiles", [1, 6, 1100, 12], 12, 3, 1, 1],
    ["a row of Winograd's tiles and partial tiles of gemm", [1, 4, 1100, 16], 17, 3, 1, 1],
    ["more of Winograd's tiles than channels", [3, 10, 9, 20], 19, 3, 1, 1],
    ["more channels than Winograd's tiles", [1, 5, 7, 33], 42, 3, 1, 2],
    ["a depthwise convolution with more channels than a vector step", [2, 9, 8, 37], 37, 3, 2, 1, 1, 37],
    ["depthwise tiles at both borders", [2, 13, 15, 24], 24, 3, 1, 1, 1, 24],
    ["depthwise, with channels that do not fill a step", [1, 9, 11, 9], 9, 3, 1, 1, 1, 9],
    ["depthwise, without padding", [1, 7, 9, 20], 20, 3, 1, 0, 1, 20],
    ["depthwise, with results outside the image", [1, 6, 7, 10], 10, 3, 1, 3, 1, 10],
    ["depthwise, with a dilation", [1, 10, 14, 16], 16, 3, 1, 2, 2, 16],
    ["depthwise, with a dilation equal to the stride", [1, 11, 25, 12], 12, 3, 2, 2, 2, 12],
    ["depthwise, of images narrower than a tile", [1, 4, 3, 12], 12, 3, 1, 1, 1, 12],
    ["depthwise, with a 5 × 5 kernel", [1, 12, 30, 13], 13, 5, 1, 2, 1, 13],
    ["depthwise, with a 5 × 5 kernel and a stride", [2, 11, 19, 18], 18, 5, 2, 2, 1, 18],
    ["depthwise, with a kernel wider than the image", [1, 6, 5, 12], 12, 7, 1, 3, 1, 12],
    ["depthwise, with rows of more pixels than a block of sums", [1, 5, 300, 17], 17, 3, 1, 1, 1, 17],
    ["depthwise, with more taps than a block of sums", [1, 13, 14, 10], 10, 12, 1, 5, 1, 10],
  ];
  const TERMS_ERROR = 2 ** -23;
  for (const [what, x, out, kernel, stride, pad, dilation = 1, groups = 1] of cases) {
    test(what, () => {
      manualSeed(1);
      const attributes = geometry(x, kernel, stride, pad, dilation, groups);
      const w = [out, kernel, kernel, x[3]! / groups];
      const y = [x[0]!, ...attributes.outputSize, out];
      const inputs = { conv: [x, w], convInput: [y, w], convWeight: [x, y] };
      for (const [name, op] of Object.entries(ops)) {
        tidy(() => {
          const tensors = inputs[name as keyof typeof ops].map((shape) => randn(shape));
          const result = apply(op, tensors, attributes) as Tensor;
          const references = tensors.map((t): Reference => ({ shape: t.shape, data: Float64Array.from(t.data) }));
          const [expected] = referenceOf(op, references, attributes);
          // The bound on the rounding error is proportional to Σ|terms|.
          const sizes = references.map(({ shape, data }) => ({ shape, data: Float64Array.from(data, Math.abs) }));
          const [terms] = referenceOf(op, sizes, attributes);
          const actual = result.data;
          for (let i = 0; i < actual.length; i++) {
            const bound = 8 * TERMS_ERROR * terms!.data[i]!;
            if (!(Math.abs(actual[i]! - expected!.data[i]!) <= bound))
              expect.fail(`${name}: element ${i} must be ${expected!.data[i]} within ${bound}, got ${actual[i]}`);
          }
          const again = result.clone();
          const address = (value: unknown) => addressOf(value === result ? again : (value as Tensor));
          for (const threads of [1, 2, 3, 7]) {
            again.copyFrom(new Float32Array(again.size).fill(Number.NaN));
            op.encode(new SplitEncoder(threads), { inputs: tensors, outputs: [result], attributes, address });
            expect(again.data, `${name} in ${threads} threads`).toEqual(actual);
          }
        });
      }
    });
  }
});

describe("convolution and pooling layers", () => {
  test("have the same shapes, options and ranges of initial weights as in PyTorch", () => {
    manualSeed(2);
    const conv = new nn.Conv2d(6, 8, [3, 2], { stride: 2, padding: 1, groups: 2 });
    expect([conv.weight.shape, conv.bias!.shape]).toEqual([[8, 3, 2, 3], [8]]);
    expect(conv.forward(rand([2, 7, 7, 6])).shape).toEqual([2, 4, 4, 8]);
    const bound = 1 / Math.sqrt(3 * 2 * 3);
    const most = Math.max(...conv.weight.abs().data);
    expect(most).toBeLessThanOrEqual(bound);
    expect(most).toBeGreaterThan(0.9 * bound);
    expect(String(conv)).toBe("Conv2d(6, 8, kernelSize=3×2, stride=2, padding=1, groups=2, bias=true)");
    expect(new nn.Conv1d(4, 5, 3, { padding: "same", bias: false }).forward(rand([2, 9, 4])).shape).toEqual([2, 9, 5]);
    expect(
      new nn.ConvTranspose2d(4, 6, 3, { stride: 2, padding: 1, outputPadding: 1 }).forward(rand([1, 5, 6, 4])).shape,
    ).toEqual([1, 10, 12, 6]);
    expect(new nn.ConvTranspose1d(4, 6, 4, { stride: 2, groups: 2 }).forward(rand([1, 5, 4])).shape).toEqual([
      1, 12, 6,
    ]);
    expect(new nn.MaxPool2d(2).forward(rand([1, 7, 6, 3])).shape).toEqual([1, 3, 3, 3]);
    expect(new nn.AvgPool2d(3, { stride: 2, padding: 1 }).forward(rand([1, 7, 6, 3])).shape).toEqual([1, 4, 3, 3]);
    expect(new nn.GlobalAvgPool2d().forward(rand([2, 7, 6, 3])).shape).toEqual([2, 3]);
  });
  test("return an image without a batch dim if the input has none", () => {
    const [x, w] = [rand([5, 5, 2]), rand([3, 3, 3, 2])];
    expect(conv2d(x, w).toArray()).toEqual((conv2d(x.unsqueeze(0), w).toArray() as unknown[])[0]);
    expect(maxPool2d(x, 2).shape).toEqual([2, 2, 2]);
    expect(conv1d(rand([9, 2]), rand([3, 4, 2])).shape).toEqual([6, 3]);
  });
  test('padding "same" gives ⌈input/stride⌉ pixels, and puts an odd pixel of padding at the end', () => {
    const x = tensor([[[[1], [2], [3], [4]]]]);
    const two = tensor([[[[1], [10]]]]);
    expect(conv2d(x, two, null, { padding: "same" }).toArray()).toEqual([[[[21], [32], [43], [4]]]]);
    expect(conv2d(rand([1, 7, 8, 1]), rand([1, 3, 3, 1]), null, { padding: "same", stride: 2 }).shape).toEqual([
      1, 4, 4, 1,
    ]);
    expect(conv2d(x, two, null, { padding: [[0, 0], [1, 0]] }).toArray()).toEqual([[[[10], [21], [32], [43]]]]); // biome-ignore format: short
  });
  test("conv1d is causal if only the beginning is padded", () => {
    const x = tensor([[[1], [2], [3]]]);
    const w = tensor([[[10], [1]]]);
    expect(conv1d(x, w, null, { padding: [1, 0] }).toArray()).toEqual([[[1], [12], [23]]]);
  });
  test("max pooling gives the index of the first maximum, and treats NaN as the largest value", () => {
    const x = tensor([
      [
        [[3], [3], [1]],
        [[3], [Number.NaN], [1]],
      ],
    ]);
    const [values, places] = maxPool2dWithIndices(x, [2, 2], { stride: 1 });
    expect([values!.toArray(), places!.toArray()]).toEqual([[[[[Number.NaN], [Number.NaN]]]], [[[[4], [4]]]]]);
    expect(maxPool2dWithIndices(x, [1, 2])[1]!.toArray()).toEqual([[[[0]], [[4]]]]);
  });
  test("global average pooling is the mean of all pixels", () => {
    const x = rand([2, 4, 6, 3]);
    const mean = globalAvgPool2d(x);
    const pooled = avgPool2d(x, [4, 6]);
    expect(pooled.shape).toEqual([2, 1, 1, 3]);
    pooled.data.forEach((v, i) => expect(v).toBeCloseTo(mean.data[i]!, 6));
  });
});

describe("a CNN", () => {
  const make = () => {
    manualSeed(4);
    const model = new nn.Sequential(
      new nn.Conv2d(1, 6, 3, { padding: 1 }),
      new nn.ReLU(),
      new nn.Conv2d(6, 9, 3, { stride: 2 }),
      new nn.Tanh(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(9, 9, 2, { groups: 9 }),
      new nn.AvgPool2d(2),
      new nn.Flatten(),
      new nn.Linear(9, 4),
    );
    return { model, optimizer: new optim.Adam(model.parameters(), { lr: 1e-2 }) };
  };
  const steps = (compiled: boolean): number[] => {
    const { model, optimizer } = make();
    const eager = (x: Tensor, y: Tensor) => optimizer.minimize(() => losses.crossEntropy(model.forward(x), y));
    const step = compiled ? compile(eager) : eager;
    const [x, y] = [rand([5, 14, 14, 1]), randint(0, 4, [5])];
    const seen = Array.from({ length: 30 }, () => step(x, y).item());
    return [...seen, ...model.parameters().flatMap((p) => [...p.data, ...p.grad!.data])];
  };
  test("learns with the same bits in eager and compiled mode, and fuses activations into convolutions", () => {
    const eager = steps(false);
    expect(eager[29]).toBeLessThan(0.7 * eager[0]!);
    expect(steps(true)).toEqual(eager);
    const { model } = make();
    const explained = compile((x: Tensor) => model.forward(x)).explain([rand([5, 14, 14, 1])]);
    expect(explained.steps.map(({ name }) => name).slice(0, 2)).toEqual(["conv + relu", "conv + tanh"]);
  });
});

describe("invalid arguments are rejected with a remedy", () => {
  const w = rand([3, 3, 3, 2]);
  const refused: [() => unknown, string][] = [
    [() => conv2d(rand([1, 2, 5, 5]), w), "they must have 2 channels, got 5. Channels are last: convert PyTorch's images with x.permute([0, 2, 3, 1])."],
    [() => conv2d(rand([5, 2]), w), "conv2d: images must be [batch, height, width, channels] and weights must have 4 dims, channels last, got [5, 2] and [3, 3, 3, 2]."],
    [() => conv2d(rand([1, 2, 5, 2]), w), "conv2d: the kernel [3, 3, 3, 2] spans 3 pixels, but the padded image [1, 2, 5, 2] has 2 along its height. Pad it, or use a smaller kernel."],
    [() => conv2d(rand([1, 5, 5, 2]), w, rand([2])), "conv2d: the bias must be [3], got [2]."],
    [() => conv2d(rand([1, 5, 5, 2]), w, null, { stride: 0 }), "conv2d: stride must be a whole number ≥ 1, or [height, width], got 0."],
    [() => conv2d(rand([1, 5, 5, 2]), w, null, { padding: -1 }), "conv2d: padding must be a whole number ≥ 0, [height, width], [[top, bottom], [left, right]], \"same\" or \"valid\", got -1."],
    [() => conv2d(rand([1, 5, 5, 4]), w, null, { groups: 2 }), "do not fit the weight [3, 3, 3, 2] with 2 groups"],
    [() => conv1d(rand([1, 5, 5, 2]), rand([3, 3, 2])), "conv1d: sequences"],
    [() => convTranspose2d(rand([1, 5, 5, 3]), w, null, { outputPadding: 1 }), "convTranspose2d: outputPadding must be less than the stride or the dilation, got 1."],
    [() => maxPool2d(rand([1, 5, 5, 3]), 2, { padding: 2 }), "maxPool2d: padding must be at most half the window of 2, got 2."],
    [() => maxPool2d(rand([1, 3, 5, 3]), 4), "maxPool2d: the window 4×4 does not fit [1, 3, 5, 3] along its height. Pad it, or use a smaller window."],
    [() => conv2d(rand([1, 5, 5, 2]), w, null, { pading: 1 } as object), 'conv2d: unknown option "pading". Did you mean "padding"? Valid options: stride, padding, dilation, groups.'],
    [() => conv2d(rand([1, 5, 5, 0]), zeros([3, 3, 3, 0])), "conv2d: the weight [3, 3, 3, 0] is empty. Every size must be at least 1."],
    [() => conv2d(rand([1, 5, 5, 2]), w, null, { padding: [0, 2 ** 31] }), "pixels exceed the limit"],
    [() => conv1d(rand([1, 5, 2]), rand([3, 3, 2]), null, { stride: [1, 2] } as object), "conv1d: stride must be a number, got the array [1, 2]."],
    [() => maxPool2d(rand([1, 4, 4, 1]), 2, { dilation: 5, padding: 1 }), "maxPool2d: window 0, with size 2 and dilation 5, covers only padding. Reduce the padding, which is 1, or the dilation."],
    [() => maxPool2d(rand([1, 6, 6, 1]), 3, 2 as never), "maxPool2d: options must be an object, got 2. Did you mean { stride: 2 }?"],
    [() => avgPool2d(rand([1, 5, 5, 1]), 2, { ceilMode: true } as object), 'avgPool2d: unknown option "ceilMode". Valid options: stride, padding, countIncludePad.'],
    [() => new nn.Conv2d(1, 2, 3, 2 as never), "Conv2d: options must be an object, got 2. Did you mean { stride: 2 }?"],
    [() => new nn.Conv2d(3, 4, [3, 3, 3] as never), "Conv2d: kernelSize must have 2 sizes, got [3, 3, 3]."],
    [() => new nn.Conv2d(3, 4, 3, { groups: 2 }), "Conv2d: groups must divide inChannels (3) and outChannels (4), got 2."],
    [() => new nn.Conv2d(3, 0, 3), "Conv2d: outChannels must be a whole number above 0, got 0."],
  ]; // biome-ignore format: a table
  for (const [call, message] of refused) test(message.slice(0, 70), () => expect(call).toThrow(message));
});
