/** The public convolution functions: options, argument checks and output geometry. The ops are in conv.ts. */

import { Activation } from "../../../assembly/opcodes.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { apply, type Operand } from "../definition/op.ts";
import { type Shape, show, type Value } from "../definition/value.ts";
import { float } from "../pointwise/pointwise.ts";
import { reshape } from "../shape/reshape.ts";
import { convDefinition, convInputDefinition, type Pair, span } from "./conv.ts";

/** A single number for both height and width, or one number for each. */
export type Size2d = number | readonly [height: number, width: number];

/**
 * The width of the zero border around the image, in pixels: one number for all sides, [height, width], [[top, bottom],
 * [left, right]], "valid" for no border, or "same" for an output of size ⌈input/stride⌉. If "same" needs an odd number
 * of pixels, the extra one goes to the bottom or right, as in TensorFlow.
 */
export type Padding2d = Size2d | "same" | "valid" | readonly [readonly [number, number], readonly [number, number]];

export interface Conv2dOptions {
  /** The distance between neighbouring windows, in pixels. Default 1. */
  readonly stride?: Size2d;
  /** The width of the zero border around the image, in pixels, or "same" or "valid". Default 0. */
  readonly padding?: Padding2d;
  /** The distance between neighbouring taps of the kernel, in pixels. Default 1. */
  readonly dilation?: Size2d;
  /**
   * The number of independent groups to split the channels into. With as many groups as channels, the convolution is
   * depthwise. Default 1.
   */
  readonly groups?: number;
}

export interface ConvTranspose2dOptions extends Omit<Conv2dOptions, "padding"> {
  /** The number of pixels to remove on each side of the result. Default 0. */
  readonly padding?: Size2d;
  /**
   * The number of pixels to add at the bottom and right of the result. Must be less than the stride or the dilation. A
   * strided conv2d maps several input sizes to the same output size; outputPadding selects which input size to restore.
   * Default 0.
   */
  readonly outputPadding?: Size2d;
}

/** The upper bound on sizes and numbers of pixels: kernels count pixels in 32-bit integers. */
const MOST_PIXELS = 2 ** 31;

/** @throws ShapeError if an image has more pixels than kernels can count */
function requireCountable(name: string, ...sizes: number[]): void {
  if (sizes.some((n) => !(n < MOST_PIXELS)) || !(sizes.reduce((a, b) => a * b, 1) < MOST_PIXELS))
    throw new ShapeError(`${name}: ${sizes.join(" × ")} pixels exceed the limit of 2³¹. Use smaller sizes.`);
}

/** Expands one number to a pair. @throws RangeError unless the numbers are whole and ≥ least */
export function pair(name: string, option: string, value: Size2d, least: number): Pair {
  const list = typeof value === "number" ? [value, value] : value;
  if (!Array.isArray(list) || list.length !== 2 || list.some((v) => !Number.isInteger(v) || v < least))
    throw new RangeError(
      `${name}: ${option} must be a whole number ≥ ${least}, or [height, width], got ${describe(value)}.`,
    );
  return list as unknown as Pair; // two numbers, as checked above
}

/** The number of padding pixels before and after the image along dim i. @throws RangeError */
export function paddingAlong(
  name: string,
  padding: Padding2d,
  i: 0 | 1,
  size: number,
  spans: number,
  stride: number,
): Pair {
  if (padding === "valid") return [0, 0];
  if (padding === "same") {
    const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + spans - size);
    return [total >> 1, total - (total >> 1)];
  }
  const own = Array.isArray(padding) ? (padding[i] as number | Pair) : (padding as number);
  const both = typeof own === "number" ? [own, own] : own;
  if (!Array.isArray(both) || both.length !== 2 || both.some((v) => !Number.isInteger(v) || v < 0))
    throw new RangeError(
      `${name}: padding must be a whole number ≥ 0, [height, width], [[top, bottom], [left, right]], "same" or "valid", got ${describe(padding)}.`,
    );
  return both as unknown as Pair; // two numbers, as checked above
}

/**
 * Throws a ShapeError that says why the channels of images or sequences do not match the weight, and how to convert
 * them.
 */
function throwChannels(name: string, what: string, x: Shape, w: Shape, inputs: number, groups: number): never {
  const channels = x.at(-1);
  /** The permutation that moves channels from PyTorch's position to the last dim. */
  const moved = (rank: number): string => show(rank === w.length ? [0, ...later(2, rank), 1] : [...later(1, rank), 0]);
  const isPyTorchWeight = w[1] === channels && (w.length < 4 || w[2] === w[3]);
  throw new ShapeError(
    `${name}: ${what} ${show(x)} do not fit the weight ${show(w)} with ${groups} group${groups > 1 ? "s" : ""}: ` +
      `they must have ${inputs} channels, got ${channels}. Channels are last` +
      (isPyTorchWeight
        ? `: convert PyTorch's weights with w.permute(${moved(w.length)}).`
        : x.at(1 - w.length) === inputs
          ? `: convert PyTorch's ${what} with x.permute(${moved(x.length)}).`
          : ", as in the output of the layer before."),
  );
}
/** The dims from start to rank − 1. */
const later = (start: number, rank: number): number[] => Array.from({ length: rank - start }, (_, i) => start + i);

/** @throws ShapeError unless x is a batch of images and the kernels in w match its channels */
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
    throw new RangeError(`${name}: groups must be a whole number ≥ 1, got ${groups}.`);
  if (x.shape.length !== 4 || w.shape.length !== 4)
    throw new ShapeError(
      `${name}: images must be [batch, height, width, channels] and weights must have 4 dims, channels last, got ${show(x.shape)} and ${show(w.shape)}.`,
    );
  if (w.shape.some((n) => n === 0))
    throw new ShapeError(`${name}: the weight ${show(w.shape)} is empty. Every size must be at least 1.`);
  if (inputs % groups || outputs % groups || x.shape[3] !== inputs)
    throwChannels(name, "images", x.shape, w.shape, inputs, groups);
  if (bias && (bias.shape.length !== 1 || bias.shape[0] !== outputs))
    throw new ShapeError(`${name}: the bias must be [${outputs}], got ${show(bias.shape)}.`);
}

/** Applies f to a batch of images; a single image becomes a batch of one. */
export function batched(x: Value, f: (x: Value) => Value): Value {
  if (x.shape.length !== 3) return f(x);
  const y = f(reshape(x, [1, ...x.shape]));
  return reshape(y, y.shape.slice(1));
}

/**
 * 2-d convolution (cross-correlation, as in other frameworks): each output is Σ x·w, summed over the kernel's taps and
 * the channels of a group, plus bias. dx: convTranspose2d of dy.
 *
 * x: [batch, height, width, in] or [height, width, in], w: [out, kernelHeight, kernelWidth, in/groups], bias: [out] →
 * [batch, outHeight, outWidth, out], float32, where outHeight = ⌊(height + 2·padding − dilation·(kernelHeight − 1) −
 * 1)/stride⌋ + 1.
 *
 * @param w The kernels' weights, float32.
 * @param bias One number per output channel. Omit it or pass null for no bias.
 * @throws ShapeError if the sizes or the channels do not match
 * @throws RangeError if an option is out of range
 * @example
 * ```ts
 * const x = ones([1, 4, 4, 1]);
 * const w = ones([1, 3, 3, 1]);
 * conv2d(x, w).flatten().toArray(); // [9, 9, 9, 9]
 * ```
 * @op function
 */
export function conv2d(x: Operand, w: Value, bias?: Value | null, options: Conv2dOptions = {}): Value {
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
 * The transposed 2-d convolution: the gradient of conv2d with respect to its input, plus bias. dx: conv2d of dy.
 *
 * x: [batch, height, width, in] or [height, width, in], w: [in, kernelHeight, kernelWidth, out/groups], bias: [out] →
 * [batch, outHeight, outWidth, out], float32, where outHeight = (height − 1)·stride − 2·padding +
 * dilation·(kernelHeight − 1) + outputPadding + 1.
 *
 * @param w The kernels' weights, float32.
 * @param bias One number per output channel. Omit it or pass null for no bias.
 * @throws ShapeError if the sizes or the channels do not match
 * @throws RangeError if an option is out of range
 * @example
 * ```ts
 * const x = ones([1, 2, 2, 1]);
 * convTranspose2d(x, ones([1, 2, 2, 1]), null, { stride: 2 }).shape; // [1, 4, 4, 1]
 * ```
 * @op function
 */
export function convTranspose2d(
  x: Operand,
  w: Value,
  bias?: Value | null,
  options: ConvTranspose2dOptions = {},
): Value {
  const name = "convTranspose2d";
  return batched(float(x, name), (images) => {
    const { stride: s = 1, padding: p = 0, outputPadding: more = 0, dilation: d = 1, groups = 1 } = options;
    const [stride, dilation] = [pair(name, "stride", s, 1), pair(name, "dilation", d, 1)];
    const [pad, extra] = [pair(name, "padding", p, 0), pair(name, "outputPadding", more, 0)];
    requireFit(name, images, w, bias ?? undefined, w.shape[0]!, w.shape[3]! * groups, groups);
    const outputSize: Pair = [images.shape[1]!, images.shape[2]!];
    const kernelSize: Pair = [w.shape[1]!, w.shape[2]!];
    const along = (i: 0 | 1): number => {
      if (extra[i] >= stride[i] && extra[i] >= dilation[i])
        throw new RangeError(`${name}: outputPadding must be less than the stride or the dilation, got ${extra[i]}.`);
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

/** Runs a 2-d convolution on sequences by treating them as images of height 1. */
function asImages<O>(
  name: string,
  f: (x: Operand, w: Value, bias: Value | null | undefined, options: O) => Value,
  x: Value,
  w: Value,
  bias: Value | null | undefined,
  options: object,
): Value {
  if (w.shape.length !== 3 || (x.shape.length !== 3 && x.shape.length !== 2))
    throw new ShapeError(
      `${name}: sequences must be [batch, length, channels] and weights must have 3 dims, channels last, got ${show(x.shape)} and ${show(w.shape)}.`,
    );
  const { groups = 1 } = options as { readonly groups?: number };
  const inputs = name === "conv1d" ? w.shape[2]! * groups : w.shape[0]!;
  if (groups >= 1 && x.shape.at(-1) !== inputs) throwChannels(name, "sequences", x.shape, w.shape, inputs, groups);
  // Along the height, which is 1, use no padding, and a stride and dilation of 1.
  const alone: Record<string, unknown> = { stride: 1, padding: 0, outputPadding: 0, dilation: 1 };
  const wide = Object.fromEntries(
    Object.entries(options).map(([key, v]) => {
      if (!(key in alone) || v === undefined || (key === "padding" && typeof v === "string")) return [key, v];
      if (key === "padding" && Array.isArray(v) && v.length === 2) return [key, [[0, 0], v]];
      if (!Number.isInteger(v)) throw new RangeError(`${name}: ${key} must be a whole number, got ${describe(v)}.`);
      return [key, [alone[key], v]];
    }),
  ) as O;
  const single = x.shape.length === 2;
  const images = reshape(x, single ? [1, 1, ...x.shape] : [x.shape[0]!, 1, x.shape[1]!, x.shape[2]!]);
  const y = f(images, reshape(w, [w.shape[0]!, 1, w.shape[1]!, w.shape[2]!]), bias, wide);
  return reshape(y, single ? y.shape.slice(2) : [y.shape[0]!, y.shape[2]!, y.shape[3]!]);
}

/** The options of conv2d, for a single dim. */
export interface Conv1dOptions {
  /** The distance between neighbouring windows, in steps. Default 1. */
  readonly stride?: number;
  /**
   * The number of zeros on each side, or [before, after]. [dilation·(kernel − 1), 0] makes the convolution causal.
   * Default 0.
   */
  readonly padding?: number | readonly [before: number, behind: number] | "same" | "valid";
  /** The distance between neighbouring taps of the kernel, in steps. Default 1. */
  readonly dilation?: number;
  /** The number of independent groups to split the channels into. Default 1. */
  readonly groups?: number;
}

/** The options of convTranspose2d, for a single dim. */
export interface ConvTranspose1dOptions {
  /** The distance between the output positions of neighbouring inputs, in steps. Default 1. */
  readonly stride?: number;
  /** The number of steps to remove at each end of the result. Default 0. */
  readonly padding?: number;
  /** The number of steps to add at the end of the result. Must be less than the stride or the dilation. Default 0. */
  readonly outputPadding?: number;
  /** The distance between neighbouring taps of the transposed kernel, in steps. Default 1. */
  readonly dilation?: number;
  /** The number of independent groups to split the channels into. Default 1. */
  readonly groups?: number;
}

/**
 * 1-d convolution: conv2d along one dim. Each output is Σ x·w, summed over the kernel's taps and the channels of a
 * group, plus bias.
 *
 * x: [batch, length, in] or [length, in], w: [out, kernel, in/groups], bias: [out] → [batch, outLength, out],
 * float32.
 *
 * @param w The kernels' weights, float32.
 * @param bias One number per output channel. Omit it or pass null for no bias.
 * @throws ShapeError if the sizes or the channels do not match
 * @throws RangeError if an option is out of range
 * @example
 * ```ts
 * const x = tensor([[[1], [2], [3], [4]]]);
 * conv1d(x, ones([1, 2, 1])).flatten().toArray(); // [3, 5, 7]
 * ```
 * @op function
 */
export function conv1d(x: Operand, w: Value, bias?: Value | null, options: Conv1dOptions = {}): Value {
  return asImages<Conv2dOptions>("conv1d", conv2d, float(x, "conv1d"), w, bias, options);
}

/**
 * The transposed 1-d convolution: convTranspose2d along one dim.
 *
 * x: [batch, length, in] or [length, in], w: [in, kernel, out/groups], bias: [out] → [batch, outLength, out],
 * float32.
 *
 * @param w The kernels' weights, float32.
 * @param bias One number per output channel. Omit it or pass null for no bias.
 * @throws ShapeError if the sizes or the channels do not match
 * @throws RangeError if an option is out of range
 * @example
 * ```ts
 * const x = tensor([[[1], [2]]]);
 * convTranspose1d(x, ones([1, 2, 1])).flatten().toArray(); // [1, 3, 2]
 * ```
 * @op function
 */
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
  );
}
