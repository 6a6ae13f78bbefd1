/**
 * Grayscale dilation and its gradients. In each window, dilation adds the filter's elements to the pixels and keeps the
 * largest sum.
 */
import { backend_util } from "@tensorflow/tfjs-core";
import { apply, applyAll } from "../../ops/definition/op.ts";
import type { Value } from "../../ops/definition/value.ts";
import { dilationDefinition, dilationValuesDefinition, toTaps } from "../../ops/image/dilation.ts";
import { type MaxPoolAttributes, toPlaces } from "../../ops/image/pool.ts";
import { isSized } from "./image.ts";
import { type Attributes, type Inputs, isFilled, type NativeKernel } from "./kernel.ts";

function windowsOf({ x, filter }: Inputs, { strides, pad, dilations }: Attributes): MaxPoolAttributes {
  const [shape, window] = [x!.shape as never, filter!.shape as never];
  const info = backend_util.computeDilation2DInfo(shape, window, strides, pad, "NHWC", dilations);
  return {
    kernelSize: [info.filterHeight, info.filterWidth],
    stride: [info.strideHeight, info.strideWidth],
    pad: [info.padInfo.top, info.padInfo.left],
    dilation: [info.dilationHeight, info.dilationWidth],
    outputSize: [info.outHeight, info.outWidth],
  };
}

/**
 * The gradient with respect to the image or the filter. In each window, the largest sum comes from one pixel and one
 * filter element; the window's element of dy is added to the gradient of that pixel or filter element. Among equal
 * sums, the first wins.
 */
function gradient({ x, filter, dy }: Inputs, windows: MaxPoolAttributes, of: "x" | "filter"): Value | null {
  const { outputSize, stride, pad } = windows;
  if (`${dy!.shape}` !== `${[x!.shape[0], ...outputSize, x!.shape[3]]}`) return null;
  // A window that begins below or to the right of the image contains no pixel. Leave such calls to the CPU kernel,
  // which throws an error.
  if ([0, 1].some((i) => (outputSize[i]! - 1) * stride[i]! - pad[i]! >= x!.shape[i + 1]!)) return null;
  const [, places, taps] = applyAll(dilationDefinition, [x!, filter!], windows);
  return of === "x" ? toPlaces(dy!, places!, x!.shape, windows) : toTaps(dy!, taps!, filter!.shape);
}

const dilation = (of?: "x" | "filter"): NativeKernel => ({
  accepts: (inputs) =>
    inputs.x!.shape.length === 4 &&
    inputs.filter!.shape.length === 3 &&
    inputs.x!.shape[3] === inputs.filter!.shape[2] &&
    isFilled(inputs),
  run(inputs, attributes) {
    const windows = windowsOf(inputs, attributes);
    if (!isSized(windows.outputSize)) return null;
    return of ? gradient(inputs, windows, of) : apply(dilationValuesDefinition, [inputs.x!, inputs.filter!], windows);
  },
});

export const dilationKernels: Readonly<Record<string, NativeKernel>> = {
  Dilation2D: dilation(),
  Dilation2DBackpropInput: dilation("x"),
  Dilation2DBackpropFilter: dilation("filter"),
};
