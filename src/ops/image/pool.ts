/**
 * Pooling of images, with channels last. The gradient of max pooling is scattered to the saved positions of the maxima.
 * Average pooling and its gradient are adjoint, so each is the other's gradient.
 */
import { Op } from "../../../assembly/opcodes.ts";
import { RangeError, ShapeError } from "../../runtime/errors.ts";
import { type AvgPoolCode, encodeAvgPool, encodeMaxPool } from "../../runtime/instructions.ts";
import { apply, applyAll, type OpDefinition, type Operand } from "../definition/op.ts";
import { requireType, type Shape, show, sizeOf, type Value } from "../definition/value.ts";
import { gatherDefinitions } from "../index/gather.ts";
import { float } from "../pointwise/pointwise.ts";
import { mean } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import type { Pair } from "./conv.ts";
import { batched, pair, type Size2d } from "./convolve.ts";

export interface MaxPoolAttributes {
  readonly kernelSize: Pair;
  readonly stride: Pair;
  /** The padding above and to the left of the image. */
  readonly pad: Pair;
  readonly dilation: Pair;
  readonly outputSize: Pair;
}

const planes = (x: Value): Value => reshape(x, [x.shape[0]!, x.shape[1]! * x.shape[2]!, x.shape[3]!]);

/**
 * The operands that max and average pooling share: the sizes of the image and the result, and the geometry of the
 * windows.
 */
function windows(
  x: Value,
  [height, width]: Pair,
  {
    kernelSize: [kernelH, kernelW],
    stride: [strideH, strideW],
    pad: [padTop, padLeft],
    outputSize: [outHeight, outWidth],
  }: Omit<MaxPoolAttributes, "dilation">,
) {
  const image = { batch: x.shape[0]!, height, width, channels: x.shape[3]! };
  return { ...image, outHeight, outWidth, kernelH, kernelW, strideH, strideW, padTop, padLeft };
}

export function maxPoolOperands(x: Value, attributes: MaxPoolAttributes, address: (value: Value) => number) {
  const [, height, width] = x.shape as [number, number, number];
  const [dilationH, dilationW] = attributes.dilation;
  const geometry = windows(x, [height, width], attributes);
  return { x: address(x), ...geometry, dilationH, dilationW, propagates: 0, taps: 0, filter: 0 };
}

/**
 * The gradient with respect to an image: each element of dy is added at the position in the image that the element's
 * window selected.
 */
export function toPlaces(
  dy: Value,
  places: Value,
  shape: Shape,
  { kernelSize, stride, dilation, outputSize }: MaxPoolAttributes,
): Value {
  // The maximum number of windows that read the same pixel, along dim i.
  const meet = (i: 0 | 1): number =>
    Math.min(kernelSize[i], outputSize[i], Math.ceil((dilation[i] * (kernelSize[i] - 1) + 1) / stride[i]));
  const attributes = { dim: 1, n: shape[1]! * shape[2]!, most: meet(0) * meet(1) };
  return reshape(apply(gatherDefinitions.scatterAdd, [planes(dy), planes(places)], attributes), shape);
}

/**
 * The largest value in each window, and its position in the image, with channels last. dx: dy scattered to these
 * positions.
 */
export const maxPoolDefinition: OpDefinition<MaxPoolAttributes> = {
  code: Op.MaxPool,
  cost: 0.2,
  name: "maxPool",
  saves: [2],
  infer([x], { outputSize }) {
    requireType("maxPool", x!, "float32");
    const shape = [x!.shape[0]!, ...outputSize, x!.shape[3]!];
    return [
      { shape, dtype: "float32" },
      { shape, dtype: "int32" },
    ];
  },
  below: ([x]) => [undefined, x!.shape[1]! * x!.shape[2]!],
  flops: (_, [y], { kernelSize }) => y!.size * sizeOf(kernelSize),
  encode(encoder, { inputs: [x], outputs: [y, places], attributes, address }) {
    const operands = maxPoolOperands(x!, attributes, address);
    encodeMaxPool(encoder, Op.MaxPool, { out: address(y!), places: address(places!), ...operands });
  },
  vjp: (dy, { inputs: [x], outputs: [, places], attributes }) => [toPlaces(dy, places!, x!.shape, attributes)],
  first: ({ dilation }) => (dilation.every((d) => d === 1) ? propagatingDefinition : undefined),
};

/** The first output of maxPool, for windows that are not dilated. */
const propagatingDefinition: OpDefinition<MaxPoolAttributes> = {
  code: maxPoolDefinition.code,
  cost: 0.1,
  name: "maxPool",
  infer: (inputs, attributes) => [maxPoolDefinition.infer(inputs, attributes)[0]!],
  flops: maxPoolDefinition.flops!,
  encode(encoder, { inputs: [x], outputs: [y], attributes, address }) {
    const operands = { ...maxPoolOperands(x!, attributes, address), propagates: 1 };
    encodeMaxPool(encoder, Op.MaxPool, { out: address(y!), places: 0, ...operands });
  },
};

/**
 * Only the largest value in each window, without positions and without a gradient. NaNs are ignored. Windows must not
 * be dilated.
 */
export const maxPoolValuesDefinition: OpDefinition<MaxPoolAttributes> = {
  code: maxPoolDefinition.code,
  cost: 0.1,
  name: "maxPoolValues",
  infer: (inputs, attributes) => [maxPoolDefinition.infer(inputs, attributes)[0]!],
  encode: (encoder, { inputs, outputs: [y], attributes, address }) =>
    encodeMaxPool(encoder, Op.MaxPool, {
      out: address(y!),
      places: 0,
      ...maxPoolOperands(inputs[0]!, attributes, address),
    }),
};

export interface AvgPoolAttributes extends Omit<MaxPoolAttributes, "dilation"> {
  readonly inputSize: Pair;
  readonly countIncludePad: boolean;
}

const encodeAs: (code: AvgPoolCode) => OpDefinition<AvgPoolAttributes>["encode"] =
  (code) =>
  (encoder, { inputs: [x], outputs: [out], attributes, address }) =>
    encodeAvgPool(encoder, code, {
      out: address(out!),
      x: address(x!),
      ...windows(x!, attributes.inputSize, attributes),
      countPad: Number(attributes.countIncludePad),
    });

/** The mean of each window, with channels last and sums in float64. dx: avgPoolGrad. */
export const avgPoolDefinition: OpDefinition<AvgPoolAttributes> = {
  code: Op.AvgPool,
  cost: 0.2,
  name: "avgPool",
  infer([x], { outputSize }) {
    requireType("avgPool", x!, "float32");
    return [{ shape: [x!.shape[0]!, ...outputSize, x!.shape[3]!], dtype: "float32" }];
  },
  flops: (_, [y], { kernelSize }) => y!.size * sizeOf(kernelSize),
  encode: encodeAs(Op.AvgPool),
  vjp: (dy, { attributes }) => [apply(avgPoolGradDefinition, [dy], attributes)],
};

/**
 * avgPool's gradient: Σ dy/n, summed over the windows that read a pixel, where n is the number of values in a window's
 * mean. d dy: avgPool.
 */
export const avgPoolGradDefinition: OpDefinition<AvgPoolAttributes> = {
  code: Op.AvgPoolGrad,
  cost: 0.2,
  name: "avgPoolGrad",
  infer: ([dy], { inputSize }) => [{ shape: [dy!.shape[0]!, ...inputSize, dy!.shape[3]!], dtype: "float32" }],
  flops: ([dy], _, { kernelSize }) => dy!.size * sizeOf(kernelSize),
  encode: encodeAs(Op.AvgPoolGrad),
  vjp: (g, { attributes }) => [apply(avgPoolDefinition, [g], attributes)],
};

export interface MaxPool2dOptions {
  /** The distance between neighbouring windows, in pixels. Default: the window's size. */
  readonly stride?: Size2d;
  /**
   * The width of the border around the image, in pixels, at most half the window's size. The border counts as −∞ in max
   * pooling and as 0 in average pooling. Default 0.
   */
  readonly padding?: Size2d;
  /** The distance between neighbouring elements of a window, in pixels. Default 1. */
  readonly dilation?: Size2d;
  /** Include windows that begin inside the image but end outside it. Default false. */
  readonly ceilMode?: boolean;
}

/** Checks a pool's options and computes the size of its result. @throws RangeError, ShapeError */
function poolSizes(
  name: string,
  x: Value,
  kernelSize: Size2d,
  { stride, padding = 0, dilation = 1, ceilMode = false }: MaxPool2dOptions,
): MaxPoolAttributes {
  if (x.shape.length !== 4)
    throw new ShapeError(`${name}: x must be [batch, height, width, channels], got ${show(x.shape)}.`);
  const kernel = pair(name, "kernelSize", kernelSize, 1);
  const steps = pair(name, "stride", stride ?? kernelSize, 1);
  const pad = pair(name, "padding", padding, 0);
  const spread = pair(name, "dilation", dilation, 1);
  const along = (i: 0 | 1): number => {
    if (2 * pad[i] > kernel[i])
      throw new RangeError(`${name}: padding must be at most half the window of ${kernel[i]}, got ${pad[i]}.`);
    const size = x.shape[i + 1]!;
    const room = size + 2 * pad[i] - spread[i] * (kernel[i] - 1) - 1;
    if (room < 0)
      throw new ShapeError(
        `${name}: the window ${kernel.join("×")} does not fit ${show(x.shape)} along ${i ? "its width" : "its height"}. Pad it, or use a smaller window.`,
      );
    // Whether window `at` reads any pixel. If windows are dilated, all elements of a window can be in the padding.
    const reads = (at: number): boolean =>
      Array.from({ length: kernel[i] }, (_, q) => at * steps[i] - pad[i] + q * spread[i]).some(
        (p) => p >= 0 && p < size,
      );
    const windows = (ceilMode ? Math.ceil(room / steps[i]) : Math.floor(room / steps[i])) + 1;
    // The last window must begin in the image or in the padding before it.
    const count = ceilMode && (windows - 1) * steps[i] >= size + pad[i] ? windows - 1 : windows;
    for (let at = 0; at < count; at++)
      if (!reads(at))
        throw new RangeError(
          `${name}: window ${at}, with size ${kernel[i]} and dilation ${spread[i]}, covers only padding. Reduce the padding, which is ${pad[i]}, or the dilation.`,
        );
    return count;
  };
  return { kernelSize: kernel, stride: steps, pad, dilation: spread, outputSize: [along(0), along(1)] };
}

/**
 * The largest value in each window, and its position in the image, row·width + column. The gradient goes to that
 * position.
 *
 * x: [batch, height, width, channels] → [values, indices], both [batch, outHeight, outWidth, channels]: values
 * float32, indices int32.
 *
 * @param kernelSize The window's size: one number, or [height, width].
 * @throws ShapeError if the window does not fit the image
 * @throws RangeError if an option is out of range
 * @example
 * ```ts
 * const x = arange(16).reshape(1, 4, 4, 1);
 * maxPool2dWithIndices(x, 2)[1]!.flatten().toArray(); // [5, 7, 13, 15]
 * ```
 * @op function
 */
export function maxPool2dWithIndices(x: Operand, kernelSize: Size2d, options: MaxPool2dOptions = {}): Value[] {
  const images = float(x, "maxPool2d");
  return applyAll(maxPoolDefinition, [images], poolSizes("maxPool2d", images, kernelSize, options));
}

/**
 * The largest value in each window, with channels last. The gradient goes to the position of that value.
 *
 * x: [batch, height, width, channels] or [height, width, channels] → [batch, outHeight, outWidth, channels], float32.
 * Other types are converted first, so int32 values beyond ±2²⁴ may be rounded.
 *
 * @param kernelSize The window's size: one number, or [height, width].
 * @throws ShapeError if the window does not fit the image
 * @throws RangeError if an option is out of range
 * @example
 * ```ts
 * const x = arange(16).reshape(1, 4, 4, 1);
 * maxPool2d(x, 2).flatten().toArray(); // [5, 7, 13, 15]
 * ```
 * @op function
 */
export function maxPool2d(x: Operand, kernelSize: Size2d, options: MaxPool2dOptions = {}): Value {
  return batched(float(x, "maxPool2d"), (images) => maxPool2dWithIndices(images, kernelSize, options)[0]!);
}

export interface AvgPool2dOptions extends Omit<MaxPool2dOptions, "dilation" | "ceilMode"> {
  /** Include the zeros of the padding in the mean. Default true. */
  readonly countIncludePad?: boolean;
}

/**
 * The mean of each window, with channels last and sums in float64. The gradient is spread evenly over the window.
 *
 * x: [batch, height, width, channels] or [height, width, channels] → [batch, outHeight, outWidth, channels], float32.
 *
 * @param kernelSize The window's size: one number, or [height, width].
 * @throws ShapeError if the window does not fit the image
 * @throws RangeError if an option is out of range
 * @example
 * ```ts
 * const x = arange(16).reshape(1, 4, 4, 1);
 * avgPool2d(x, 2).flatten().toArray(); // [2.5, 4.5, 10.5, 12.5]
 * ```
 * @op function
 */
export function avgPool2d(x: Operand, kernelSize: Size2d, options: AvgPool2dOptions = {}): Value {
  const { countIncludePad = true, ...rest } = options;
  return batched(float(x, "avgPool2d"), (images) => {
    const { dilation: _, ...sizes } = poolSizes("avgPool2d", images, kernelSize, rest);
    const inputSize: Pair = [images.shape[1]!, images.shape[2]!];
    return apply(avgPoolDefinition, [images], { ...sizes, inputSize, countIncludePad });
  });
}

/**
 * The mean of each channel over all pixels.
 *
 * x: [batch, height, width, channels] → [batch, channels], float32.
 *
 * @throws ShapeError if x has fewer than 3 dims
 * @example
 * ```ts
 * const x = arange(8).reshape(1, 2, 2, 2);
 * globalAvgPool2d(x).toArray(); // [[3, 4]]
 * ```
 * @op function
 */
export const globalAvgPool2d = (x: Operand): Value => mean(float(x, "globalAvgPool2d"), [-3, -2]);
