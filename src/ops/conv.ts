/**
 * Convolutions of images with channels last. Three ops that are each other's gradients: conv, its gradient by the input (which
 * is the transposed convolution), its gradient by the weight. One dimension is an image of height 1.
 */
import { Activation, Conv, Op } from "../../assembly/opcodes.ts";
import { kernels } from "../runtime/engine.ts";
import { ShapeError } from "../runtime/errors.ts";
import { activation64, activationGrad } from "./matmul.ts";
import { apply, type OpDefinition, type Operand, type Reference, type Sample } from "./op.ts";
import { float } from "./pointwise.ts";
import { sum } from "./reduce.ts";
import { reshape } from "./shape.ts";
import { requireType, type Shape, show, type Value } from "./value.ts";

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
const span = (kernel: number, dilation: number): number => dilation * (kernel - 1) + 1;

const encodeConv: (code: Op) => OpDefinition<ConvAttributes>["encode"] =
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
    encoder.begin(code, Conv.words);
    const words: [Conv, number][] = [
      [Conv.out, address(out!)],
      [Conv.a, address(a!)],
      [Conv.b, address(b!)],
      [Conv.bias, bias ? address(bias) : 0],
      [Conv.batch, x.shape[0]!],
      [Conv.height, inputSize[0]],
      [Conv.width, inputSize[1]],
      [Conv.channels, channels],
      [Conv.outHeight, outputSize[0]],
      [Conv.outWidth, outputSize[1]],
      [Conv.outChannels, outChannels],
      [Conv.kernelHeight, kernelSize[0]],
      [Conv.kernelWidth, kernelSize[1]],
      [Conv.strideH, stride[0]],
      [Conv.strideW, stride[1]],
      [Conv.padTop, pad[0]],
      [Conv.padLeft, pad[1]],
      [Conv.dilationH, dilation[0]],
      [Conv.dilationW, dilation[1]],
      [Conv.groups, groups],
      [Conv.activation, activation],
      [Conv.workspace, workspace],
    ];
    for (const [word, value] of words) encoder.set(word, value);
    encoder.end();
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
  name: "conv",
  doc: "act(Σ x·w over the kernel's taps and a group's channels + bias), channels last. dx: convInput, dw: convWeight, dbias: Σ dy.",
  saves: "both",
  infer([x, w, bias], { outputSize }) {
    for (const v of bias ? [x!, w!, bias] : [x!, w!]) requireType("conv", v, "float32");
    return [{ shape: [x!.shape[0]!, ...outputSize, w!.shape[0]!], dtype: "float32" }];
  },
  flops: ([, w], [y]) => flopsOf(y!.size / y!.shape[3]!, w!),
  encode: encodeConv(Op.Conv),
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
  name: "convInput",
  doc: "conv's gradient by its input, from dy and w: the transposed convolution, act(… + bias). d dy: conv, dw: convWeight.",
  saves: "both",
  infer([dy, w, bias], { inputSize, groups }) {
    for (const v of bias ? [dy!, w!, bias] : [dy!, w!]) requireType("convTranspose", v, "float32");
    return [{ shape: [dy!.shape[0]!, ...inputSize, w!.shape[3]! * groups], dtype: "float32" }];
  },
  flops: ([dy, w]) => flopsOf(dy!.size / dy!.shape[3]!, w!),
  encode: encodeConv(Op.ConvInput),
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
  name: "convWeight",
  doc: "conv's gradient by its weight, from x and dy. dx: convInput, d dy: conv.",
  saves: "input",
  infer: ([x, dy], { kernelSize, groups }) => [
    { shape: [dy!.shape[3]!, ...kernelSize, x!.shape[3]! / groups], dtype: "float32" },
  ],
  flops: ([, dy], [dw]) => flopsOf(dy!.size / dy!.shape[3]!, dw!),
  encode: encodeConv(Op.ConvWeight),
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

/** One number for both dimensions, or one each. */
export type Size2d = number | readonly [height: number, width: number];

/**
 * Pixels of zeros around the image: the same on both sides of a dimension, [before, after] for each dimension, "valid" for
 * none, or "same" for as many as make the output input/stride large (the odd one behind, as TensorFlow has it).
 */
export type Padding2d = Size2d | "same" | "valid" | readonly [readonly [number, number], readonly [number, number]];

export interface Conv2dOptions {
  /** Pixels between two results. Default 1. */
  readonly stride?: Size2d;
  /** Default 0. */
  readonly padding?: Padding2d;
  /** Pixels between two taps of the kernel. Default 1. */
  readonly dilation?: Size2d;
  /** Channels are cut into groups that know nothing of each other; as many as channels: depthwise. Default 1. */
  readonly groups?: number;
}

export interface ConvTranspose2dOptions extends Omit<Conv2dOptions, "padding"> {
  /** Pixels cut off around the result. Default 0. */
  readonly padding?: Size2d;
  /** Pixels added behind the result, less than the stride or the dilation: of the sizes that stride maps to one, choose. Default 0. */
  readonly outputPadding?: Size2d;
}

export const CONV_OPTIONS = ["stride", "padding", "dilation", "groups"];
export const TRANSPOSE_OPTIONS = [...CONV_OPTIONS, "outputPadding"];

/** Sizes stay below this: kernels count pixels in 32 bits. */
const MOST_PIXELS = 2 ** 31;

/** Refuses what would be passed over: a misspelt option, or one that belongs elsewhere. @throws TypeError */
export function requireOptions(name: string, options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new TypeError(`${name}: options are an object, such as { ${known[0]}: 2 }, not ${JSON.stringify(options)}.`);
  const odd = Object.keys(options).find((key) => !known.includes(key));
  if (odd !== undefined) throw new TypeError(`${name}: "${odd}" is no option. There are ${known.join(", ")}.`);
}

/** @throws ShapeError where an image would have more pixels than can be counted */
function requireCountable(name: string, ...sizes: number[]): void {
  if (sizes.some((n) => !(n < MOST_PIXELS)) || !(sizes.reduce((a, b) => a * b, 1) < MOST_PIXELS))
    throw new ShapeError(`${name}: ${sizes.join(" × ")} pixels are more than can be counted.`);
}

/** @throws RangeError unless whole numbers ≥ least */
export function pair(name: string, option: string, value: Size2d, least: number): Pair {
  const list = typeof value === "number" ? [value, value] : value;
  if (!Array.isArray(list) || list.length !== 2 || list.some((v) => !Number.isInteger(v) || v < least))
    throw new RangeError(
      `${name}: ${option} is ${JSON.stringify(value)}, but must be a whole number ≥ ${least}, or [height, width] of them.`,
    );
  return list as unknown as Pair;
}

/** Pixels before and behind along dimension i. @throws RangeError */
function paddingAlong(name: string, padding: Padding2d, i: 0 | 1, size: number, spans: number, stride: number): Pair {
  if (padding === "valid") return [0, 0];
  if (padding === "same") {
    const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + spans - size);
    return [total >> 1, total - (total >> 1)];
  }
  const own = Array.isArray(padding) ? (padding[i] as number | Pair) : (padding as number);
  const both = typeof own === "number" ? [own, own] : own;
  if (!Array.isArray(both) || both.length !== 2 || both.some((v) => !Number.isInteger(v) || v < 0))
    throw new RangeError(
      `${name}: padding is ${JSON.stringify(padding)}, but must be a whole number ≥ 0, [height, width], [[top, bottom], [left, right]], "same" or "valid".`,
    );
  return both as unknown as Pair;
}

/** @throws ShapeError unless x holds images and w the kernels for their channels */
function requireFit(
  name: string,
  x: Value,
  w: Value,
  bias: Value | undefined,
  inputs: number,
  outputs: number,
  groups: number,
): void {
  if (!Number.isInteger(groups) || groups < 1)
    throw new RangeError(`${name}: groups is ${groups}, but must be a whole number ≥ 1.`);
  if (x.shape.length !== 4 || w.shape.length !== 4)
    throw new ShapeError(
      `${name}: images are [batch, height, width, channels] and weights have 4 dimensions, channels last, but these are ${show(x.shape)} and ${show(w.shape)}.`,
    );
  if (w.shape.some((n) => n === 0))
    throw new ShapeError(`${name}: the weight ${show(w.shape)} has nothing in it: every size must be 1 or more.`);
  if (inputs % groups || outputs % groups || x.shape[3] !== inputs)
    throw new ShapeError(
      `${name}: images ${show(x.shape)} do not fit the weight ${show(w.shape)} with ${groups} group${groups > 1 ? "s" : ""}: ` +
        `they have ${x.shape[3]} channels where ${inputs} are wanted. Images are channels last: x.permute([0, 2, 3, 1]) turns PyTorch's.`,
    );
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== outputs))
    throw new ShapeError(`${name}: the bias is ${show(bias.shape)}, but must be [${outputs}].`);
}

/** Adds a batch of one around an image that comes alone. */
export function batched(x: Value, f: (x: Value) => Value): Value {
  if (x.shape.length !== 3) return f(x);
  const y = f(reshape(x, [1, ...x.shape]));
  return reshape(y, y.shape.slice(1));
}

/**
 * Convolution (cross-correlation, as everywhere in the field) of x: [batch, height, width, in] (or without batch) with
 * w: [out, kernelHeight, kernelWidth, in/groups], plus bias: [out] → [batch, outHeight, outWidth, out].
 * @throws ShapeError, RangeError
 */
export function conv2d(x: Operand, w: Value, bias?: Value | null, options: Conv2dOptions = {}): Value {
  requireOptions("conv2d", options, CONV_OPTIONS);
  return batched(float(x, "conv2d"), (images) => {
    const { stride: s = 1, padding = 0, dilation: d = 1, groups = 1 } = options;
    const [stride, dilation] = [pair("conv2d", "stride", s, 1), pair("conv2d", "dilation", d, 1)];
    requireFit("conv2d", images, w, bias ?? undefined, w.shape[3]! * groups, w.shape[0]!, groups);
    const inputSize: Pair = [images.shape[1]!, images.shape[2]!];
    const kernelSize: Pair = [w.shape[1]!, w.shape[2]!];
    const along = (i: 0 | 1): [pad: number, size: number, padded: number] => {
      const spans = span(kernelSize[i], dilation[i]);
      const [before, behind] = paddingAlong("conv2d", padding, i, inputSize[i], spans, stride[i]);
      const padded = inputSize[i] + before + behind;
      for (const n of [padded, spans, stride[i]]) requireCountable("conv2d", n);
      if (padded < spans)
        throw new ShapeError(
          `conv2d: the kernel ${show(w.shape)} spans ${spans} pixels, but the padded image ${show(images.shape)} has ${padded} along ${i ? "its width" : "its height"}. Pad it, or use a smaller kernel.`,
        );
      return [before, Math.floor((padded - spans) / stride[i]) + 1, padded];
    };
    const [[top, outHeight, paddedHeight], [left, outWidth, paddedWidth]] = [along(0), along(1)];
    requireCountable("conv2d", paddedHeight, paddedWidth);
    return apply(convDefinition, bias ? [images, w, bias] : [images, w], {
      stride,
      dilation,
      groups,
      pad: [top, left],
      activation: Activation.None,
      inputSize,
      outputSize: [outHeight, outWidth],
      kernelSize,
    });
  });
}

/**
 * The transposed convolution, conv2d's gradient by its input: x: [batch, height, width, in] with w: [in, kernelHeight,
 * kernelWidth, out/groups], plus bias: [out] → [batch, outHeight, outWidth, out], where outHeight =
 * (height − 1)·stride − 2·padding + dilation·(kernelHeight − 1) + outputPadding + 1.
 * @throws ShapeError, RangeError
 */
export function convTranspose2d(
  x: Operand,
  w: Value,
  bias?: Value | null,
  options: ConvTranspose2dOptions = {},
): Value {
  const name = "convTranspose2d";
  requireOptions(name, options, TRANSPOSE_OPTIONS);
  return batched(float(x, name), (images) => {
    const { stride: s = 1, padding: p = 0, outputPadding: more = 0, dilation: d = 1, groups = 1 } = options;
    const [stride, dilation] = [pair(name, "stride", s, 1), pair(name, "dilation", d, 1)];
    const [pad, extra] = [pair(name, "padding", p, 0), pair(name, "outputPadding", more, 0)];
    requireFit(name, images, w, bias ?? undefined, w.shape[0]!, w.shape[3]! * groups, groups);
    const outputSize: Pair = [images.shape[1]!, images.shape[2]!];
    const kernelSize: Pair = [w.shape[1]!, w.shape[2]!];
    const along = (i: 0 | 1): number => {
      if (extra[i] >= stride[i] && extra[i] >= dilation[i])
        throw new RangeError(
          `${name}: outputPadding is ${extra[i]}, but must be less than the stride or the dilation.`,
        );
      const size = (outputSize[i] - 1) * stride[i] - 2 * pad[i] + span(kernelSize[i], dilation[i]) + extra[i];
      if (size < 1)
        throw new ShapeError(
          `${name}: ${show(images.shape)} with padding ${pad[i]} leaves ${size} pixels. Use less padding.`,
        );
      requireCountable(name, size);
      return size;
    };
    const inputSize: Pair = [along(0), along(1)];
    requireCountable(name, ...inputSize);
    return apply(convInputDefinition, bias ? [images, w, bias] : [images, w], {
      stride,
      dilation,
      groups,
      pad,
      activation: Activation.None,
      inputSize,
      outputSize,
      kernelSize,
    });
  });
}

/** One dimension as images of height 1. */
function asImages<O>(
  name: string,
  f: (x: Operand, w: Value, bias: Value | null | undefined, options: O) => Value,
  x: Value,
  w: Value,
  bias: Value | null | undefined,
  options: object,
  known: readonly string[],
): Value {
  requireOptions(name, options, known);
  if (w.shape.length !== 3 || (x.shape.length !== 3 && x.shape.length !== 2))
    throw new ShapeError(
      `${name}: sequences are [batch, length, channels] and weights have 3 dimensions, channels last, but these are ${show(x.shape)} and ${show(w.shape)}.`,
    );
  // Along the height of 1 nothing is padded, skipped or spread.
  const alone: Record<string, unknown> = { stride: 1, padding: 0, outputPadding: 0, dilation: 1 };
  const wide = Object.fromEntries(
    Object.entries(options).map(([key, v]) => {
      if (!(key in alone) || v === undefined || (key === "padding" && typeof v === "string")) return [key, v];
      if (key === "padding" && Array.isArray(v) && v.length === 2) return [key, [[0, 0], v]];
      if (!Number.isInteger(v))
        throw new RangeError(`${name}: ${key} is ${JSON.stringify(v)}, but must be a whole number.`);
      return [key, [alone[key], v]];
    }),
  ) as O;
  const single = x.shape.length === 2;
  const images = reshape(x, single ? [1, 1, ...x.shape] : [x.shape[0]!, 1, x.shape[1]!, x.shape[2]!]);
  const y = f(images, reshape(w, [w.shape[0]!, 1, w.shape[1]!, w.shape[2]!]), bias, wide);
  return reshape(y, single ? y.shape.slice(2) : [y.shape[0]!, y.shape[2]!, y.shape[3]!]);
}

/** As for images, along the one dimension. */
export interface Conv1dOptions {
  readonly stride?: number;
  /** Elements of zeros on both sides, or [before, behind]: [dilation·(kernel − 1), 0] is causal. */
  readonly padding?: number | readonly [before: number, behind: number] | "same" | "valid";
  readonly dilation?: number;
  readonly groups?: number;
}

/** As for images, along the one dimension. */
export interface ConvTranspose1dOptions {
  readonly stride?: number;
  readonly padding?: number;
  readonly outputPadding?: number;
  readonly dilation?: number;
  readonly groups?: number;
}

/** conv2d of one dimension: x: [batch, length, in], w: [out, kernel, in/groups] → [batch, outLength, out]. */
export function conv1d(x: Operand, w: Value, bias?: Value | null, options: Conv1dOptions = {}): Value {
  return asImages<Conv2dOptions>("conv1d", conv2d, float(x, "conv1d"), w, bias, options, CONV_OPTIONS);
}

/** convTranspose2d of one dimension: x: [batch, length, in], w: [in, kernel, out/groups] → [batch, outLength, out]. */
export function convTranspose1d(
  x: Operand,
  w: Value,
  bias?: Value | null,
  options: ConvTranspose1dOptions = {},
): Value {
  return asImages<ConvTranspose2dOptions>(
    "convTranspose1d",
    convTranspose2d,
    float(x, "convTranspose1d"),
    w,
    bias,
    options,
    TRANSPOSE_OPTIONS,
  );
}
