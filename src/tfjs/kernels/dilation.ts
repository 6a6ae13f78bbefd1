/** Grayscale dilation: the largest sum of a window of an image and a filter, and its gradients. */
import { backend_util } from "@tensorflow/tfjs-core";
import type { Value } from "../../ops/definition/value.ts";
import { add } from "../../ops/pointwise/arithmetic.ts";
import { maximum } from "../../ops/pointwise/extremes.ts";
import { max } from "../../ops/reduce/reduce.ts";
import { cut, unslice } from "../../ops/shape/box.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { newView, type View } from "../view.ts";
import { type Inputs, isFilled, type NativeKernel } from "./kernel.ts";

/** The value of a window without a larger sum, as in the CPU kernel. */
const LEAST = Number.MIN_SAFE_INTEGER;

type Info = ReturnType<typeof backend_util.computeDilation2DInfo>;

/** The largest sum of each window; null if one is NaN, which the CPU kernel ignores. */
function dilate(x: View, filter: View, info: Info): Value | null {
  const { batchSize, inHeight, inWidth, inChannels: depth, outHeight, outWidth, outShape, padInfo } = info;
  const { strideHeight, strideWidth, filterHeight, filterWidth, dilationHeight, dilationWidth } = info;
  const height = Math.max(
    padInfo.top + inHeight,
    (outHeight - 1) * strideHeight + (filterHeight - 1) * dilationHeight + 1,
  );
  const width = Math.max(padInfo.left + inWidth, (outWidth - 1) * strideWidth + (filterWidth - 1) * dilationWidth + 1);
  const box = { starts: [0, padInfo.top, padInfo.left, 0], sizes: x.shape, steps: [1, 1, 1, 1] };
  const padded = unslice(x, [batchSize, height, width, depth], box, Number.NEGATIVE_INFINITY);
  const steps = [1, strideHeight, strideWidth, 1];
  let best: Value | undefined;
  for (let h = 0; h < filterHeight; h++)
    for (let w = 0; w < filterWidth; w++) {
      const pixels = cut(padded, { starts: [0, h * dilationHeight, w * dilationWidth, 0], sizes: outShape, steps });
      const weights = cut(filter, { starts: [h, w, 0], sizes: [1, 1, depth], steps: [1, 1, 1] });
      const sums = add(pixels, reshape(weights, [depth]));
      best = best ? maximum(best, sums) : sums;
    }
  const out = maximum(best!, LEAST);
  return Number.isNaN((max(out) as View).live()[0]!) ? null : out;
}

/** Adds each element of dy where the largest sum came from, in the image or in the filter: to the first of equal sums. */
function gradient({ x, filter, dy }: Inputs, info: Info, of: "x" | "filter"): View | null {
  const { batchSize, inHeight, inWidth, inChannels: depth, outHeight, outWidth, outShape, padInfo } = info;
  const { strideHeight, strideWidth, filterHeight, filterWidth, dilationHeight, dilationWidth } = info;
  if (`${dy!.shape}` !== `${outShape}`) return null;
  const out = newView(of === "x" ? x!.shape : filter!.shape, "float32");
  const pixels = x!.live();
  const weights = filter!.live();
  const terms = dy!.live();
  const sums = out.live().fill(0);
  const rowStep = inWidth * depth * dilationHeight;
  const columnStep = depth * dilationWidth;
  let to = 0;
  for (let batch = 0; batch < batchSize; batch++)
    for (let row = 0; row < outHeight; row++)
      for (let column = 0; column < outWidth; column++) {
        const top = row * strideHeight - padInfo.top;
        const left = column * strideWidth - padInfo.left;
        // Where the CPU kernel adds the gradient of a window without a larger sum.
        if (top >= inHeight || left >= inWidth) return null;
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
          sums[of === "x" ? pixel : weight]! += terms[to]!;
        }
      }
  return out;
}

const dilation = (of?: "x" | "filter"): NativeKernel => ({
  accepts: (inputs) =>
    inputs.x!.shape.length === 4 &&
    inputs.filter!.shape.length === 3 &&
    inputs.x!.shape[3] === inputs.filter!.shape[2] &&
    isFilled(inputs),
  run(inputs, { strides, pad, dilations }) {
    const [x, filter] = [inputs.x!, inputs.filter!];
    const [shape, window] = [x.shape as never, filter.shape as never];
    const info = backend_util.computeDilation2DInfo(shape, window, strides, pad, "NHWC", dilations);
    return of ? gradient(inputs, info, of) : dilate(x, filter, info);
  },
});

export const dilationKernels: Readonly<Record<string, NativeKernel>> = {
  Dilation2D: dilation(),
  Dilation2DBackpropInput: dilation("x"),
  Dilation2DBackpropFilter: dilation("filter"),
};
