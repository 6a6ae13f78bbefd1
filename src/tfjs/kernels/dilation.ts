/** Grayscale dilation: the largest sum of a window of an image and a filter, and its gradients. */
import { backend_util } from "@tensorflow/tfjs-core";
import { newView, type View } from "../view.ts";
import { type Attributes, type Inputs, isFilled, type NativeKernel } from "./kernel.ts";

/** The value of a window without a larger sum, as in the CPU kernel. */
const LEAST = Number.MIN_SAFE_INTEGER;

/**
 * Finds the largest sum in each window. Without `gradientOf`, the result is these sums. With it, each element of dy is added where the
 * summand came from, in the image or in the filter: to the first of equal sums.
 */
function dilate({ x, filter, dy }: Inputs, attributes: Attributes, gradientOf?: "x" | "filter"): View | null {
  const { strides, pad, dilations } = attributes;
  const info = backend_util.computeDilation2DInfo(
    x!.shape as never,
    filter!.shape as never,
    strides,
    pad,
    "NHWC",
    dilations,
  );
  const { batchSize, inHeight, inWidth, inChannels: depth, outHeight, outWidth, outShape, padInfo } = info;
  const { strideHeight, strideWidth, filterHeight, filterWidth, dilationHeight, dilationWidth } = info;
  if (dy && `${dy.shape}` !== `${outShape}`) return null;
  const out = newView(gradientOf === "x" ? x!.shape : gradientOf ? filter!.shape : outShape, "float32");
  const pixels = x!.live();
  const weights = filter!.live();
  const results = out.live();
  const gradient = dy ? dy.live() : results;
  if (dy) results.fill(0);
  const rowStep = inWidth * depth * dilationHeight;
  const columnStep = depth * dilationWidth;
  let to = 0;
  for (let batch = 0; batch < batchSize; batch++)
    for (let row = 0; row < outHeight; row++)
      for (let column = 0; column < outWidth; column++) {
        const top = row * strideHeight - padInfo.top;
        const left = column * strideWidth - padInfo.left;
        // Where the CPU kernel adds the gradient of a window without a larger sum.
        if (dy && (top >= inHeight || left >= inWidth)) return null;
        const first = ((batch * inHeight + Math.max(0, top)) * inWidth + Math.max(0, left)) * depth;
        // The taps inside the image.
        const h0 = top < 0 ? Math.ceil(-top / dilationHeight) : 0;
        const h1 = Math.min(filterHeight, Math.ceil((inHeight - top) / dilationHeight));
        const w0 = left < 0 ? Math.ceil(-left / dilationWidth) : 0;
        const w1 = Math.min(filterWidth, Math.ceil((inWidth - left) / dilationWidth));
        const start = ((batch * inHeight + top + h0 * dilationHeight) * inWidth + left + w0 * dilationWidth) * depth;
        for (let d = 0; d < depth; d++, to++) {
          let best = LEAST;
          let pixel = first + d;
          let weight = d;
          for (let h = h0, line = start + d; h < h1; h++, line += rowStep)
            for (
              let w = w0, at = line, tap = (h * filterWidth + w0) * depth + d;
              w < w1;
              w++, at += columnStep, tap += depth
            ) {
              const sum = pixels[at]! + weights[tap]!;
              if (sum > best) {
                best = sum;
                pixel = at;
                weight = tap;
              }
            }
          if (dy) results[gradientOf === "x" ? pixel : weight]! += gradient[to]!;
          else results[to] = best;
        }
      }
  return out;
}

const dilation = (gradientOf?: "x" | "filter"): NativeKernel => ({
  accepts: (inputs) =>
    inputs.x!.shape.length === 4 &&
    inputs.filter!.shape.length === 3 &&
    inputs.x!.shape[3] === inputs.filter!.shape[2] &&
    isFilled(inputs),
  run: (inputs, attributes) => dilate(inputs, attributes, gradientOf),
});

export const dilationKernels: Readonly<Record<string, NativeKernel>> = {
  Dilation2D: dilation(),
  Dilation2DBackpropInput: dilation("x"),
  Dilation2DBackpropFilter: dilation("filter"),
};
