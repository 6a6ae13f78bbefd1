/**
 * Convolutions of images with channels last. Three ops that are each other's gradients: conv, its gradient by the input (which
 * is the transposed convolution), its gradient by the weight. One dimension is an image of height 1.
 */
import { Activation, Op } from "../../../assembly/opcodes.ts";
import { kernels } from "../../runtime/engine.ts";
import { type ConvCode, encodeConv } from "../../runtime/instructions.ts";
import { apply, type OpDefinition, type Reference, type Sample } from "../definition/op.ts";
import { requireType, type Shape, type Value } from "../definition/value.ts";
import { activation64, activationGrad } from "../matrix/matmul.ts";
import { sum } from "../reduce/reduce.ts";

export type Pair = readonly [height: number, width: number];

/** What the three ops share: the forward convolution's geometry. */
export interface ConvAttributes {
  readonly stride: Pair;
  /** Rows above and columns left of the image; what lies below and right follows from the sizes. */
  readonly pad: Pair;
  readonly dilation: Pair;
  readonly groups: number;
  readonly activation: Activation;
  /** Height and width of x. */
  readonly inputSize: Pair;
  /** Height and width of y. */
  readonly outputSize: Pair;
  readonly kernelSize: Pair;
}

/** Pixels that one result of a kernel spans. */
export const span = (kernel: number, dilation: number): number => dilation * (kernel - 1) + 1;

const encodeAs: (code: ConvCode) => OpDefinition<ConvAttributes>["encode"] =
  (code) =>
  (encoder, { inputs: [a, b, bias], outputs: [out], attributes, address }) => {
    const { stride, pad, dilation, groups, activation, inputSize, outputSize, kernelSize } = attributes;
    const x = code === Op.ConvInput ? out! : a!;
    const y = code === Op.Conv ? out! : code === Op.ConvInput ? a! : b!;
    const [channels, outChannels] = [x.shape[3]!, y.shape[3]!];
    const workspace = encoder.workspace(
      kernels().convWorkspace!(
        ...inputSize,
        channels,
        ...outputSize,
        outChannels,
        ...kernelSize,
        ...stride,
        ...pad,
        ...dilation,
        groups,
      ),
    );
    const [[height, width], [outHeight, outWidth]] = [inputSize, outputSize];
    const [[kernelHeight, kernelWidth], [strideH, strideW]] = [kernelSize, stride];
    const [[padTop, padLeft], [dilationH, dilationW]] = [pad, dilation];
    encodeConv(encoder, code, {
      out: address(out!),
      a: address(a!),
      b: address(b!),
      bias: bias ? address(bias) : 0,
      batch: x.shape[0]!,
      height,
      width,
      channels,
      outHeight,
      outWidth,
      outChannels,
      kernelHeight,
      kernelWidth,
      strideH,
      strideW,
      padTop,
      padLeft,
      dilationH,
      dilationW,
      groups,
      activation,
      workspace,
    });
  };

/** Calls f for every product of the forward convolution, with flat indices into x, w and y. */
function forEachProduct(
  batch: number,
  channels: number,
  outChannels: number,
  { stride, pad, dilation, groups, inputSize: [h, w], outputSize: [oh, ow], kernelSize: [kh, kw] }: ConvAttributes,
  f: (x: number, w: number, y: number) => void,
): void {
  const [inside, outside] = [channels / groups, outChannels / groups];
  for (let n = 0; n < batch; n++)
    for (let i = 0; i < oh; i++)
      for (let j = 0; j < ow; j++)
        for (let a = 0; a < kh; a++)
          for (let b = 0; b < kw; b++) {
            const [r, s] = [i * stride[0] + a * dilation[0] - pad[0], j * stride[1] + b * dilation[1] - pad[1]];
            if (r < 0 || r >= h || s < 0 || s >= w) continue;
            for (let o = 0; o < outChannels; o++)
              for (let c = 0; c < inside; c++) {
                const channel = Math.floor(o / outside) * inside + c;
                f(
                  ((n * h + r) * w + s) * channels + channel,
                  ((o * kh + a) * kw + b) * inside + c,
                  ((n * oh + i) * ow + j) * outChannels + o,
                );
              }
          }
}

const finish64 = (data: Float64Array, bias: Reference | undefined, activation: Activation): Float64Array =>
  data.map((v, i) => activation64[activation](v + (bias ? bias.data[i % bias.data.length]! : 0), 0));

const flopsOf = (pixels: number, w: Value): number => 2 * pixels * w.size;
const channelSums = (dy: Value): Value => sum(dy, [0, 1, 2]);

export const convDefinition: OpDefinition<ConvAttributes> = {
  code: Op.Conv,
  cost: 0.02,
  name: "conv",
  doc: "act(Σ x·w over the kernel's taps and a group's channels + bias), channels last. dx: convInput, dw: convWeight, dbias: Σ dy.",
  saves: "both",
  infer([x, w, bias], { outputSize }) {
    for (const v of bias ? [x!, w!, bias] : [x!, w!]) requireType("conv", v, "float32");
    return [{ shape: [x!.shape[0]!, ...outputSize, w!.shape[0]!], dtype: "float32" }];
  },
  flops: ([, w], [y]) => flopsOf(y!.size / y!.shape[3]!, w!),
  encode: encodeAs(Op.Conv),
  vjp(dy, { inputs: [x, w, bias], outputs: [y], attributes, needs }) {
    const d = activationGrad[attributes.activation](dy, y!);
    const plain = { ...attributes, activation: Activation.None };
    return [
      needs[0] ? apply(convInputDefinition, [d, w!], plain) : null,
      needs[1] ? apply(convWeightDefinition, [x!, d], plain) : null,
      ...(bias ? [needs[2] ? channelSums(d) : null] : []),
    ];
  },
  reference([x, w, bias], attributes) {
    const shape = [x!.shape[0]!, ...attributes.outputSize, w!.shape[0]!];
    const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
    forEachProduct(shape[0]!, x!.shape[3]!, shape[3]!, attributes, (i, k, o) => {
      data[o]! += x!.data[i]! * w!.data[k]!;
    });
    return [{ shape, data: finish64(data, bias, attributes.activation) }];
  },
  samples: samplesOf((x, w, _, bias) => [x, w, ...bias]),
};

export const convInputDefinition: OpDefinition<ConvAttributes> = {
  code: Op.ConvInput,
  cost: 0.02,
  name: "convInput",
  doc: "conv's gradient by its input, from dy and w: the transposed convolution, act(… + bias). d dy: conv, dw: convWeight.",
  saves: "both",
  infer([dy, w, bias], { inputSize, groups }) {
    for (const v of bias ? [dy!, w!, bias] : [dy!, w!]) requireType("convTranspose", v, "float32");
    return [{ shape: [dy!.shape[0]!, ...inputSize, w!.shape[3]! * groups], dtype: "float32" }];
  },
  flops: ([dy, w]) => flopsOf(dy!.size / dy!.shape[3]!, w!),
  encode: encodeAs(Op.ConvInput),
  vjp(g, { inputs: [dy, w, bias], outputs: [dx], attributes, needs }) {
    const d = activationGrad[attributes.activation](g, dx!);
    const plain = { ...attributes, activation: Activation.None };
    return [
      needs[0] ? apply(convDefinition, [d, w!], plain) : null,
      needs[1] ? apply(convWeightDefinition, [d, dy!], plain) : null,
      ...(bias ? [needs[2] ? channelSums(d) : null] : []),
    ];
  },
  reference([dy, w, bias], attributes) {
    const shape = [dy!.shape[0]!, ...attributes.inputSize, w!.shape[3]! * attributes.groups];
    const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
    forEachProduct(shape[0]!, shape[3]!, dy!.shape[3]!, attributes, (i, k, o) => {
      data[i]! += dy!.data[o]! * w!.data[k]!;
    });
    return [{ shape, data: finish64(data, bias, attributes.activation) }];
  },
  samples: samplesOf((x, w, y, bias) => [y, w, ...bias.map(() => ({ shape: [x.shape[3]!] }))]),
};

export const convWeightDefinition: OpDefinition<ConvAttributes> = {
  code: Op.ConvWeight,
  cost: 0.02,
  name: "convWeight",
  doc: "conv's gradient by its weight, from x and dy. dx: convInput, d dy: conv.",
  saves: "input",
  infer: ([x, dy], { kernelSize, groups }) => [
    { shape: [dy!.shape[3]!, ...kernelSize, x!.shape[3]! / groups], dtype: "float32" },
  ],
  flops: ([, dy], [dw]) => flopsOf(dy!.size / dy!.shape[3]!, dw!),
  encode: encodeAs(Op.ConvWeight),
  vjp: (g, { inputs: [x, dy], attributes, needs }) => [
    needs[0] ? apply(convInputDefinition, [dy!, g], attributes) : null,
    needs[1] ? apply(convDefinition, [x!, g], attributes) : null,
  ],
  reference([x, dy], attributes) {
    const [channels, outChannels] = [x!.shape[3]!, dy!.shape[3]!];
    const shape = [outChannels, ...attributes.kernelSize, channels / attributes.groups];
    const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
    forEachProduct(x!.shape[0]!, channels, outChannels, attributes, (i, k, o) => {
      data[k]! += x!.data[i]! * dy!.data[o]!;
    });
    return [{ shape, data }];
  },
  samples: samplesOf((x, _, y) => [x, y], [Activation.None]),
};

/** Tests: every combination that a branch of the kernels tells apart, on sizes that no tile fits. */
function samplesOf(
  inputs: (
    x: { shape: Shape },
    w: { shape: Shape },
    y: { shape: Shape },
    bias: { shape: Shape }[],
  ) => { shape: Shape }[],
  activations: readonly Activation[] = [Activation.None, Activation.Tanh],
): Sample<ConvAttributes>[] {
  // biome-ignore format: a table
  const cases: [x: Shape, out: number, kernel: Pair, stride: Pair, pad: Pair, end: Pair, dilation: Pair, groups: number][] = [
    [[2, 5, 6, 3], 4, [3, 3], [1, 1], [1, 1], [1, 1], [1, 1], 1],
    [[1, 7, 5, 1], 9, [3, 2], [1, 1], [0, 0], [0, 0], [1, 1], 1],
    [[2, 4, 4, 5], 3, [1, 1], [1, 1], [0, 0], [0, 0], [1, 1], 1],
    [[1, 5, 5, 2], 3, [1, 1], [2, 2], [0, 0], [0, 0], [1, 1], 1],
    [[1, 7, 8, 2], 3, [3, 3], [2, 2], [1, 1], [1, 0], [1, 1], 1],
    [[1, 8, 7, 2], 5, [2, 3], [3, 2], [0, 2], [1, 1], [1, 2], 1],
    [[2, 9, 6, 1], 2, [3, 2], [1, 2], [2, 0], [2, 1], [2, 3], 1],
    [[1, 1, 9, 3], 4, [1, 4], [1, 1], [0, 2], [0, 1], [1, 1], 1],
    [[1, 5, 5, 4], 6, [3, 3], [1, 1], [1, 1], [1, 1], [1, 1], 2],
    [[1, 6, 5, 6], 3, [2, 2], [2, 1], [0, 1], [0, 0], [1, 2], 3],
    [[2, 5, 4, 5], 5, [3, 3], [1, 1], [1, 1], [1, 1], [1, 1], 5],
    [[1, 6, 7, 3], 3, [3, 2], [2, 2], [1, 0], [0, 1], [2, 1], 3],
    [[1, 4, 4, 2], 4, [2, 2], [1, 1], [0, 0], [0, 0], [1, 1], 2],
    [[1, 6, 6, 2], 3, [3, 3], [1, 1], [-1, 0], [0, -1], [1, 1], 1],
    [[1, 5, 5, 2], 2, [1, 1], [3, 3], [0, 0], [0, 0], [1, 1], 1],
    [[0, 4, 4, 2], 3, [2, 2], [1, 1], [0, 0], [0, 0], [1, 1], 1],
    [[1, 3, 3, 70], 3, [3, 3], [1, 1], [1, 1], [1, 1], [1, 1], 1],
  ];
  return cases.flatMap(([x, out, kernelSize, stride, pad, end, dilation, groups]) => {
    const inputSize: Pair = [x[1]!, x[2]!];
    const size = (i: 0 | 1): number =>
      Math.floor((inputSize[i] + pad[i] + end[i] - span(kernelSize[i], dilation[i])) / stride[i]) + 1;
    const outputSize: Pair = [size(0), size(1)];
    const shapes = [x, [out, ...kernelSize, x[3]! / groups], [x[0]!, ...outputSize, out]] as const;
    const [image, weight, result] = shapes.map((shape) => ({ shape, low: -1, high: 1 }));
    return activations.map((activation) => ({
      inputs: inputs(image!, weight!, result!, activation ? [{ shape: [out] }] : []),
      attributes: { stride, pad, dilation, groups, activation, inputSize, outputSize, kernelSize },
    }));
  });
}
