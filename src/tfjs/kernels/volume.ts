/**
 * Convolutions and pools of volumes, [batch, depth, height, width, channels], computed from convolutions and pools of images, whose results
 * are summed or pooled along the depth.
 */
import { backend_util } from "@tensorflow/tfjs-core";
import { Activation } from "../../../assembly/opcodes.ts";
import { apply, type OpDefinition } from "../../ops/definition/op.ts";
import { type Shape, sameShape, type Value } from "../../ops/definition/value.ts";
import {
  type ConvAttributes,
  convDefinition,
  convInputDefinition,
  convWeightDefinition,
} from "../../ops/image/conv.ts";
import { avgPoolDefinition, avgPoolGradDefinition, maxPoolValuesDefinition } from "../../ops/image/pool.ts";
import { add } from "../../ops/pointwise/arithmetic.ts";
import { cut, unslice } from "../../ops/shape/box.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { concat, t } from "../../ops/shape/shape.ts";
import { newView } from "../view.ts";
import { hasPixels, isSized, type Windows } from "./image.ts";
import { type Attributes, haveRank, type Inputs, isFilled, type NativeKernel, requireChannels } from "./kernel.ts";

type Volume = [number, number, number, number, number];
type Geometry = backend_util.Conv3DInfo;

function geometry(inShape: Shape, filterShape: Shape, { strides, pad, dilations }: Attributes): Geometry {
  requireChannels(inShape[4]!, filterShape[3]!);
  return backend_util.computeConv3DInfo(inShape as Volume, filterShape as Volume, strides, dilations ?? 1, pad);
}

/** The attributes for the convolution of frames with one slice of the filter. */
const ofFrames = (info: Geometry): ConvAttributes => ({
  stride: [info.strideHeight, info.strideWidth],
  pad: [info.padInfo.top, info.padInfo.left],
  dilation: [info.dilationHeight, info.dilationWidth],
  groups: 1,
  activation: Activation.None,
  inputSize: [info.inHeight, info.inWidth],
  outputSize: [info.outHeight, info.outWidth],
  kernelSize: [info.filterHeight, info.filterWidth],
});

const frames = (x: Value): Value => reshape(x, [x.shape[0]! * x.shape[1]!, ...x.shape.slice(2)]);
const volumes = (x: Value, depth: number): Value => reshape(x, [x.shape[0]! / depth, depth, ...x.shape.slice(1)]);

/** The box of frames that slice `tap` of the filter reads, in a volume that is padded along its depth. */
function framesOf(tap: number, info: Geometry, shape: Shape) {
  const starts = [0, tap * info.dilationDepth, 0, 0, 0];
  return { starts, sizes: [shape[0]!, info.outDepth, ...shape.slice(2)], steps: [1, info.strideDepth, 1, 1, 1] };
}

/** The depth of a padded volume, which contains the whole input and all frames that the filter reads. */
const paddedDepth = (info: Geometry): number =>
  Math.max(
    info.padInfo.front + info.inDepth,
    (info.outDepth - 1) * info.strideDepth + (info.filterDepth - 1) * info.dilationDepth + 1,
  );

function padDepth(x: Value, info: Geometry): Value {
  const shape = [x.shape[0]!, paddedDepth(info), ...x.shape.slice(2)];
  const box = { starts: [0, info.padInfo.front, 0, 0, 0], sizes: x.shape, steps: [1, 1, 1, 1, 1] };
  return sameShape(shape, x.shape) ? x : unslice(x, shape, box, 0);
}

/** One slice of a filter [depth, height, width, in, out], as [out, height, width, in]. */
function sliceOf(filter: Value, tap: number): Value {
  const [, height, width, inputs, out] = filter.shape as Volume;
  const size = height * width * inputs;
  const rows = reshape(filter, [filter.shape[0]! * size, out]);
  const slice = cut(rows, { starts: [tap * size, 0], sizes: [size, out], steps: [1, 1] });
  return reshape(t(slice), [out, height, width, inputs]);
}

const overTaps = <T>({ filterDepth }: Geometry, f: (tap: number) => T): T[] =>
  Array.from({ length: filterDepth }, (_, tap) => f(tap));
const total = (values: readonly Value[]): Value => values.reduce((sum, value) => add(sum, value));

function convolve({ x, filter }: Inputs, attributes: Attributes): Value | null {
  const info = geometry(x!.shape, filter!.shape, attributes);
  if (!isSized([info.outDepth, info.outHeight, info.outWidth])) return null;
  const padded = padDepth(x!, info);
  const parts = overTaps(info, (tap) => {
    const read = frames(cut(padded, framesOf(tap, info, padded.shape)));
    return apply(convDefinition, [read, sliceOf(filter!, tap)], ofFrames(info));
  });
  return volumes(total(parts), info.outDepth);
}

function inputGradient({ dy, filter }: Inputs, attributes: Attributes): Value | null {
  const info = geometry(attributes.inputShape, filter!.shape, attributes);
  if (!sameShape(dy!.shape, info.outShape)) return null;
  const shape = [info.batchSize, paddedDepth(info), ...info.inShape.slice(2)];
  const parts = overTaps(info, (tap) => {
    const d = apply(convInputDefinition, [frames(dy!), sliceOf(filter!, tap)], ofFrames(info));
    return unslice(volumes(d, info.outDepth), shape, framesOf(tap, info, shape), 0);
  });
  const box = { starts: [0, info.padInfo.front, 0, 0, 0], sizes: info.inShape, steps: [1, 1, 1, 1, 1] };
  return cut(total(parts), box);
}

function filterGradient({ x, dy }: Inputs, attributes: Attributes): Value | null {
  const info = geometry(x!.shape, attributes.filterShape, attributes);
  if (!sameShape(dy!.shape, info.outShape)) return null;
  const padded = padDepth(x!, info);
  const parts = overTaps(info, (tap) => {
    const read = frames(cut(padded, framesOf(tap, info, padded.shape)));
    const dw = apply(convWeightDefinition, [read, frames(dy!)], ofFrames(info));
    return t(reshape(dw, [dw.shape[0]!, dw.size / dw.shape[0]!]));
  });
  return reshape(parts.length > 1 ? concat(parts, 0) : parts[0]!, attributes.filterShape);
}

/**
 * The windows of the two pools that make up a volume's pool: `across` pools each frame, and `along` pools along the
 * depth, with whole frames as pixels. Null if a window contains no element.
 */
function windowsOf(
  shape: Shape,
  { filterSize, strides, pad, dimRoundingMode }: Attributes,
): { info: Geometry; across: Windows; along: Windows } | null {
  const info = backend_util.computePool3DInfo(shape as Volume, filterSize, strides, 1, pad, dimRoundingMode);
  const across: Windows = {
    kernelSize: [info.filterHeight, info.filterWidth],
    stride: [info.strideHeight, info.strideWidth],
    pad: [info.padInfo.top, info.padInfo.left],
    dilation: [1, 1],
    inputSize: [info.inHeight, info.inWidth],
    outputSize: [info.outHeight, info.outWidth],
  };
  const along: Windows = {
    kernelSize: [info.filterDepth, 1],
    stride: [info.strideDepth, 1],
    pad: [info.padInfo.front, 0],
    dilation: [1, 1],
    inputSize: [info.inDepth, 1],
    outputSize: [info.outDepth, 1],
  };
  return hasPixels(across) && hasPixels(along) ? { info, across, along } : null;
}

/** Reshapes each frame to a pixel with one channel per element. */
const columns = (x: Value, depth: number): Value => {
  const batch = x.shape[0]! / depth;
  return reshape(x, [batch, depth, 1, x.size / batch / depth]);
};

/** Pools each frame, then pools along the depth. */
const pool = <A>(definition: OpDefinition<A>, of: (windows: Windows) => A): NativeKernel => ({
  accepts: (inputs, { dataFormat }) => isFilled(inputs) && haveRank(inputs, 5) && dataFormat !== "NCDHW",
  run({ x }, attributes) {
    const found = windowsOf(x!.shape, attributes);
    if (!found) return null;
    const { info, across, along } = found;
    const pooled = apply(definition, [frames(x!)], of(across));
    return reshape(apply(definition, [columns(pooled, info.inDepth)], of(along)), info.outShape);
  },
});

/**
 * The gradient of average pooling. Like TensorFlow.js, divides by the window's size, even if the window overlaps the
 * padding.
 */
function averageGradient({ dy, input }: Inputs, attributes: Attributes): Value | null {
  const found = windowsOf(input!.shape, attributes);
  if (!found || !sameShape(dy!.shape, found.info.outShape)) return null;
  const { info, across, along } = found;
  const spread = apply(avgPoolGradDefinition, [columns(frames(dy!), info.outDepth)], {
    ...along,
    countIncludePad: true,
  });
  const maps = reshape(spread, [info.batchSize * info.inDepth, info.outHeight, info.outWidth, info.outChannels]);
  return reshape(apply(avgPoolGradDefinition, [maps], { ...across, countIncludePad: true }), info.inShape);
}

/**
 * The gradient of max pooling: adds each element of dy to the gradient of the largest element in its window. Among
 * equal elements, the last one wins, as in TensorFlow.js.
 */
function maximumGradient({ dy, input }: Inputs, attributes: Attributes): Value | null {
  const found = windowsOf(input!.shape, attributes);
  // The CPU kernel numbers the positions in a window as if its width and height were equal. If they are not, leave the
  // call to that kernel, so that the results match.
  if (!found || found.info.filterHeight !== found.info.filterWidth || !sameShape(dy!.shape, found.info.outShape))
    return null;
  const { info } = found;
  const { inDepth, inHeight, inWidth, inChannels: channels, padInfo } = info;
  const out = newView(input!.shape, "float32");
  const [x, d, dx] = [input!.live(), dy!.live(), out.live()];
  dx.fill(0);
  const clip = (corner: number, window: number, size: number): [number, number] => [
    Math.max(0, corner),
    Math.min(size, corner + window),
  ];
  let at = 0;
  for (let n = 0; n < info.batchSize; n++)
    for (let i = 0; i < info.outDepth; i++) {
      const [d0, d1] = clip(i * info.strideDepth - padInfo.front, info.filterDepth, inDepth);
      for (let j = 0; j < info.outHeight; j++) {
        const [h0, h1] = clip(j * info.strideHeight - padInfo.top, info.filterHeight, inHeight);
        for (let k = 0; k < info.outWidth; k++) {
          const [w0, w1] = clip(k * info.strideWidth - padInfo.left, info.filterWidth, inWidth);
          for (let c = 0; c < channels; c++, at++) {
            let [most, place] = [Number.NEGATIVE_INFINITY, -1];
            for (let f = d0; f < d1; f++)
              for (let h = h0; h < h1; h++) {
                const row = ((n * inDepth + f) * inHeight + h) * inWidth;
                for (let w = w0; w < w1; w++) {
                  const p = (row + w) * channels + c;
                  if (x[p]! >= most) {
                    most = x[p]!;
                    place = p;
                  }
                }
              }
            if (place >= 0) dx[place]! += d[at]!;
          }
        }
      }
    }
  return out;
}

const filled = (run: NativeKernel["run"]): NativeKernel => ({
  accepts: (inputs) => isFilled(inputs) && haveRank(inputs, 5),
  run,
});

export const volumeKernels: Readonly<Record<string, NativeKernel>> = {
  Conv3D: filled(convolve),
  Conv3DBackpropInputV2: filled(inputGradient),
  Conv3DBackpropFilterV2: filled(filterGradient),
  MaxPool3D: pool(maxPoolValuesDefinition, (windows) => windows),
  MaxPool3DGrad: filled(maximumGradient),
  AvgPool3D: pool(avgPoolDefinition, (windows) => ({ ...windows, countIncludePad: false })),
  AvgPool3DGrad: filled(averageGradient),
};
