/**
 * Convolutions and pools. Images are NHWC; NCHW is permuted. Filters are HWIO; the data of each filter caches a copy in
 * nabla's layout, OHWI.
 */
import { backend_util } from "@tensorflow/tfjs-core";
import { Activation } from "../../../assembly/opcodes.ts";
import { apply, applyAll } from "../../ops/definition/op.ts";
import { type Shape, sameShape, type Value } from "../../ops/definition/value.ts";
import {
  type ConvAttributes,
  convDefinition,
  convInputDefinition,
  convWeightDefinition,
} from "../../ops/image/conv.ts";
import {
  avgPoolDefinition,
  avgPoolGradDefinition,
  type MaxPoolAttributes,
  maxPoolDefinition,
  maxPoolValuesDefinition,
} from "../../ops/image/pool.ts";
import { matmulDefinition, PLAIN_PRODUCT } from "../../ops/matrix/matmul.ts";
import { add, mul } from "../../ops/pointwise/arithmetic.ts";
import { max, min } from "../../ops/reduce/reduce.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { permute, t } from "../../ops/shape/shape.ts";
import { type View, vector } from "../view.ts";
import { finish } from "./activation.ts";
import { type Attributes, haveRank, type Inputs, isFilled, type NativeKernel, requireChannels } from "./kernel.ts";

/** The geometry of a convolution, from TensorFlow.js's attributes. */
function geometry(
  xShape: Shape,
  filterShape: Shape,
  { strides, pad, dilations, dimRoundingMode, dataFormat = "NHWC" }: Attributes,
  depthwise: boolean,
): backend_util.Conv2DInfo {
  const channels = xShape[dataFormat === "NCHW" ? 1 : 3];
  requireChannels(channels!, filterShape[2]!);
  return backend_util.computeConv2DInfo(
    xShape as [number, number, number, number],
    filterShape as [number, number, number, number],
    strides,
    dilations ?? 1,
    pad,
    dimRoundingMode,
    depthwise,
    backend_util.convertConv2DDataFormat(dataFormat),
  );
}

const attributesOf = (info: backend_util.Conv2DInfo, groups: number): ConvAttributes => ({
  stride: [info.strideHeight, info.strideWidth],
  pad: [info.padInfo.top, info.padInfo.left],
  dilation: [info.dilationHeight, info.dilationWidth],
  groups,
  activation: Activation.None,
  inputSize: [info.inHeight, info.inWidth],
  outputSize: [info.outHeight, info.outWidth],
  kernelSize: [info.filterHeight, info.filterWidth],
});

/**
 * Whether the result has pixels. If a window is larger than the padded image, the result has no pixels, and TensorFlow.js computes a size
 * of 0 or less.
 */
export const isSized = (outputSize: readonly number[]): boolean => outputSize.every((size) => size > 0);

/**
 * Whether a convolution is a matrix product of the pixels with the filter: the filter is 1 × 1, the stride is 1, and
 * there is no padding.
 */
const isProduct = (info: backend_util.Conv2DInfo): boolean =>
  info.filterHeight * info.filterWidth * info.strideHeight * info.strideWidth === 1 &&
  info.inHeight === info.outHeight &&
  info.inWidth === info.outWidth;

/** Reshapes images to a matrix with one row per pixel. */
const rows = (x: Value): Value => reshape(x, [x.size / x.shape[3]!, x.shape[3]!]);

/** The filter as [out, height, width, in/groups], from [height, width, in, out] or, if depthwise, [height, width, in, multiplier]. */
function ohwi(filter: View, depthwise: boolean): Value {
  const [height, width, inputs, last] = filter.shape as [number, number, number, number];
  const [taps, out] = depthwise ? [height * width, inputs * last] : [height * width * inputs, last];
  // A filter and its reshaped views share cached layouts, so the layout's name includes the number of rows.
  const rows = filter.inLayout(`transposed, ${out} rows`, () => t(reshape(filter, [taps, out])));
  return reshape(rows, [out, height, width, depthwise ? 1 : inputs]);
}

const isChannelsFirst = ({ dataFormat }: Attributes): boolean => dataFormat === "NCHW";
const toNhwc = (x: Value, attributes: Attributes): Value => (isChannelsFirst(attributes) ? permute(x, 0, 2, 3, 1) : x);
const fromNhwc = (x: Value, attributes: Attributes): Value =>
  isChannelsFirst(attributes) ? permute(x, 0, 3, 1, 2) : x;

/** act(conv(x, filter) + bias); null if the result is empty. */
function convolve(inputs: Inputs, attributes: Attributes, depthwise: boolean): Value | null {
  const { x, filter, bias } = inputs;
  const info = geometry(x!.shape, filter!.shape, attributes, depthwise);
  if (!isSized([info.outHeight, info.outWidth])) return null;
  const groups = depthwise ? info.inChannels : 1;
  const out = info.outChannels;
  const row = bias && bias.size === out ? reshape(bias, [out]) : undefined;
  const images = toNhwc(x!, attributes);
  const result = finish(inputs, attributes, bias !== undefined && !row, (activation) => {
    const third = row ? [row] : [];
    if (!depthwise && isProduct(info)) {
      const matrix = reshape(filter!, [info.inChannels, out]);
      const y = apply(matmulDefinition, [rows(images), matrix, ...third], { ...PLAIN_PRODUCT, activation });
      return reshape(y, [info.batchSize, info.outHeight, info.outWidth, out]);
    }
    const w = ohwi(filter!, depthwise);
    return apply(convDefinition, [images, w, ...third], { ...attributesOf(info, groups), activation });
  });
  return fromNhwc(result, attributes);
}

/** The gradient with respect to x; null if dy does not have the result's shape, which TensorFlow.js does not check. */
function convolveBack({ dy, filter }: Inputs, attributes: Attributes, depthwise: boolean): Value | null {
  const info = geometry(attributes.inputShape, filter!.shape, attributes, depthwise);
  if (!sameShape(dy!.shape, info.outShape)) return null;
  const d = toNhwc(dy!, attributes);
  if (!depthwise && isProduct(info)) {
    const matrix = reshape(filter!, [info.inChannels, info.outChannels]);
    const dx = apply(matmulDefinition, [rows(d), matrix], { ...PLAIN_PRODUCT, transB: true });
    return fromNhwc(reshape(dx, [info.batchSize, info.inHeight, info.inWidth, info.inChannels]), attributes);
  }
  const groups = depthwise ? info.inChannels : 1;
  return fromNhwc(apply(convInputDefinition, [d, ohwi(filter!, depthwise)], attributesOf(info, groups)), attributes);
}

/** The gradient with respect to the filter; null if dy does not have the result's shape. */
function filterGradient({ x, dy }: Inputs, attributes: Attributes, depthwise: boolean): Value | null {
  const { filterShape } = attributes;
  const info = geometry(x!.shape, filterShape, attributes, depthwise);
  if (!sameShape(dy!.shape, info.outShape)) return null;
  const [images, d] = [toNhwc(x!, attributes), toNhwc(dy!, attributes)];
  if (!depthwise && isProduct(info))
    return reshape(apply(matmulDefinition, [rows(images), rows(d)], { ...PLAIN_PRODUCT, transA: true }), filterShape);
  const groups = depthwise ? info.inChannels : 1;
  const dw = apply(convWeightDefinition, [images, d], attributesOf(info, groups));
  return reshape(t(reshape(dw, [dw.shape[0]!, dw.size / dw.shape[0]!])), filterShape);
}

const conv = (
  run: (inputs: Inputs, attributes: Attributes, depthwise: boolean) => Value | null,
  depthwise = false,
) => ({
  // PReLU on NCHW images is left to the CPU kernel, because the weights are NCHW too, but the activation runs before
  // the result is permuted.
  accepts: (inputs: Parameters<NonNullable<NativeKernel["accepts"]>>[0], attributes: Attributes) =>
    isFilled(inputs) &&
    haveRank(inputs, 4) &&
    !(isChannelsFirst(attributes) && (depthwise || attributes.activation === "prelu")),
  run: (inputs: Inputs, attributes: Attributes) => run(inputs, attributes, depthwise),
});

/** The attributes that define the windows of a pool. */
type PoolAttributes = Pick<Attributes, "filterSize" | "strides" | "pad" | "dimRoundingMode">;
export interface Windows extends MaxPoolAttributes {
  readonly inputSize: [number, number];
}

/** Whether there are windows, and each contains at least one pixel. */
export const hasPixels = ({ kernelSize, stride, pad, inputSize, outputSize }: Windows): boolean =>
  isSized(outputSize) &&
  [0, 1].every((i) => pad[i]! < kernelSize[i]! && (outputSize[i]! - 1) * stride[i]! - pad[i]! < inputSize[i]!);

/**
 * Describes the windows of a pool. Returns "identity" if each window is one pixel and the result has the input's height
 * and width, whatever the stride, because the CPU kernel does the same. Returns null if the pool has no windows, or if
 * a window lies entirely in the padding.
 */
export function pooling(
  shape: Shape,
  { filterSize, strides, pad, dimRoundingMode }: PoolAttributes,
): Windows | "identity" | null {
  const xShape = shape as [number, number, number, number];
  const info = backend_util.computePool2DInfo(xShape, filterSize, strides, 1, pad, dimRoundingMode);
  const { filterHeight, filterWidth, strideHeight, strideWidth, inHeight, inWidth, outHeight, outWidth, padInfo } =
    info;
  if (filterHeight * filterWidth === 1 && inHeight === outHeight && inWidth === outWidth) return "identity";
  const windows: Windows = {
    kernelSize: [filterHeight, filterWidth],
    stride: [strideHeight, strideWidth],
    pad: [padInfo.top, padInfo.left],
    dilation: [1, 1],
    inputSize: [inHeight, inWidth],
    outputSize: [outHeight, outWidth],
  };
  return hasPixels(windows) ? windows : null;
}

/**
 * A kernel for a pool or its gradient; `input` is the name of the pooled tensor. Windows that nabla does not support
 * are left to the CPU kernel.
 */
const pool = (input: string, run: (inputs: Inputs, windows: Windows) => Value | null): NativeKernel => ({
  accepts: (inputs) => isFilled(inputs) && haveRank(inputs, 4),
  run(inputs, attributes) {
    const windows = pooling(inputs[input]!.shape, attributes);
    if (windows === "identity") return input === "x" ? inputs.x! : null;
    if (!windows) return null;
    const { dy } = inputs;
    const [batch, , , channels] = inputs[input]!.shape;
    // TensorFlow.js does not check the shape of dy.
    if (dy && !sameShape(dy.shape, [batch!, ...windows.outputSize, channels!])) return null;
    return run(inputs, windows);
  },
});

/**
 * The maxima and their positions; null if any maximum is NaN, because TensorFlow.js ignores NaNs and nabla does not.
 */
function maxima(x: Value, windows: Windows): [values: Value, places: Value] | null {
  const [values, places] = applyAll(maxPoolDefinition, [x], windows);
  const largest = max(values!, [0, 1, 2, 3]) as View;
  return Number.isNaN(largest.live()[0]!) ? null : [values!, places!];
}

/** The largest values, and their positions in the flat array of one image or of the whole batch. */
function maximaInArray({ x }: Inputs, attributes: Attributes): [values: Value, positions: Value] | null {
  const windows = pooling(x!.shape, attributes);
  if (!windows || windows === "identity") return null;
  const [values, places] = maxima(x!, windows) ?? [];
  // If a window contains only −∞, leave the pool to the CPU kernel, which returns no position for such a window.
  if (!values || (min(values, [0, 1, 2, 3]) as View).live()[0] === Number.NEGATIVE_INFINITY) return null;
  const [batch, height, width, channels] = x!.shape as [number, number, number, number];
  const multiples = (n: number, step: number): View =>
    vector(
      Array.from({ length: n }, (_, i) => i * step),
      "int32",
    );
  const inImage = add(mul(places!, channels), multiples(channels, 1));
  if (!attributes.includeBatchInIndex) return [values, inImage];
  return [values, add(inImage, reshape(multiples(batch, height * width * channels), [batch, 1, 1, 1]))];
}

export const imageKernels: Readonly<Record<string, NativeKernel>> = {
  Conv2D: conv(convolve),
  FusedConv2D: conv(convolve),
  Conv2DBackpropInput: conv(convolveBack),
  Conv2DBackpropFilter: conv(filterGradient),
  DepthwiseConv2dNative: conv(convolve, true),
  FusedDepthwiseConv2D: conv(convolve, true),
  DepthwiseConv2dNativeBackpropInput: conv(convolveBack, true),
  DepthwiseConv2dNativeBackpropFilter: conv(filterGradient, true),
  MaxPool: pool("x", ({ x }, windows) => apply(maxPoolValuesDefinition, [x!], windows)),
  MaxPoolWithArgmax: { accepts: (inputs) => isFilled(inputs) && haveRank(inputs, 4), run: maximaInArray },
  MaxPoolGrad: pool("input", ({ dy, input }, windows) => {
    const found = maxima(input!, windows);
    if (!found) return null;
    const context = { inputs: [input!], outputs: found, attributes: windows, needs: [true], more: [] };
    return maxPoolDefinition.vjp!(dy!, context)[0]!;
  }),
  AvgPool: pool("x", ({ x }, windows) => apply(avgPoolDefinition, [x!], { ...windows, countIncludePad: false })),
  // Like TensorFlow.js, divide by the window's size, even if the window overlaps the padding.
  AvgPoolGrad: pool("input", ({ dy }, windows) =>
    apply(avgPoolGradDefinition, [dy!], { ...windows, countIncludePad: true }),
  ),
};
