/** Kernels that resize images, and their gradients. */
import type { Value } from "../../ops/definition/value.ts";
import { indexSelect } from "../../ops/index/gather.ts";
import { interpolateGrad, interpolatePlane } from "../../ops/index/interpolate.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { cast } from "../../ops/shape/shape.ts";
import { newView, type View, vector } from "../view.ts";
import { type Attributes, isFilled, type NativeKernel } from "./kernel.ts";

/** The number of old pixels per new pixel along a dim. */
const ratio = (size: number, resized: number, alignCorners: boolean): number =>
  alignCorners && resized > 1 ? (size - 1) / (resized - 1) : size / resized;

/** For each new pixel along a dim, the two nearest old pixels, and the weight of the second of them. */
function neighbors(size: number, resized: number, { alignCorners, halfPixelCenters }: Attributes) {
  const scale = ratio(size, resized, alignCorners);
  const pairs: number[] = [];
  const weights: number[] = [];
  for (let i = 0; i < resized; i++) {
    const at = halfPixelCenters ? scale * (i + 0.5) - 0.5 : scale * i;
    const low = Math.max(0, Math.floor(at));
    pairs.push(low, Math.min(size - 1, Math.ceil(at)));
    weights.push(at - low);
  }
  return { index: reshape(vector(pairs, "int32"), [resized, 2]), weights };
}

/** Resizes along a dim: each new pixel is a copy of the nearest old one. */
const nearestAlong = (x: Value, dim: 1 | 2, resized: number, { alignCorners, halfPixelCenters }: Attributes): Value => {
  const size = x.shape[dim]!;
  const scale = ratio(size, resized, alignCorners);
  const indices = Array.from({ length: resized }, (_, i) => {
    const position = halfPixelCenters ? scale * (i + 0.5) : scale * i;
    return Math.max(0, Math.min(size - 1, alignCorners ? Math.round(position) : Math.floor(position)));
  });
  return indexSelect(x, dim, vector(indices, "int32"));
};

const bilinear: NativeKernel = {
  types: ["float32", "int32"],
  accepts: isFilled,
  run({ images }, attributes) {
    const [rows, columns] = [1, 2].map((dim) => {
      const { index, weights } = neighbors(images!.shape[dim]!, attributes.size[dim - 1], attributes);
      return [index, vector(weights, "float32")] as const;
    });
    return interpolatePlane(cast(images!, "float32"), 1, rows!, columns!);
  },
};

const nearest: NativeKernel = {
  accepts: isFilled,
  run({ images }, attributes) {
    // Resize the height first if it shrinks, otherwise the width first: resizing the width is slower, so it should run on as few rows as
    // possible.
    const order = attributes.size[0] < images!.shape[1]! ? ([1, 2] as const) : ([2, 1] as const);
    return order.reduce((x: Value, dim) => nearestAlong(x, dim, attributes.size[dim - 1], attributes), images!);
  },
};

/** The gradient of bilinear interpolation. Like the CPU kernel, it ignores halfPixelCenters. */
function bilinearGradient(images: View, dy: View, alignCorners: boolean): Value {
  const [batch, height, width, depth] = images.shape as Image;
  const along = (d: Value, dim: 1 | 2): Value => {
    const size = images.shape[dim]!;
    const { index, weights } = neighbors(size, d.shape[dim]!, { alignCorners });
    const both = weights.flatMap((weight) => [1 - weight, weight]);
    return interpolateGrad(d, dim, index, reshape(vector(both, "float32"), index.shape), size);
  };
  // The CPU kernel exchanges the height and width of its result, so this kernel does too.
  return reshape(along(along(dy, 1), 2), [batch, width, height, depth]);
}

/**
 * For each pixel along a dim, the first position of dy whose nearest pixel is this pixel or a later one. An extra entry
 * at the end holds the number of positions.
 */
function firstNearest(size: number, resized: number, alignCorners: boolean): Int32Array {
  const scale = ratio(size, resized, alignCorners);
  const first = new Int32Array(size + 1).fill(resized);
  for (let i = resized - 1; i >= 0; i--)
    first[Math.min(size - 1, alignCorners ? Math.round(i * scale) : Math.floor(i * scale))] = i;
  for (let i = size - 1; i >= 0; i--) first[i] = Math.min(first[i]!, first[i + 1]!);
  return first;
}

/**
 * The gradient of nearest-neighbor resizing: for each pixel, the sum of dy over the positions that copied the pixel.
 */
function nearestGradient(images: View, dy: View, alignCorners: boolean): View {
  const [, height, width, depth] = images.shape as Image;
  const [, rows, columns] = dy.shape as Image;
  const out = newView(images.shape, "float32");
  const [gradient, sums] = [dy.live(), out.live()];
  const [tops, lefts] = [firstNearest(height, rows, alignCorners), firstNearest(width, columns, alignCorners)];
  for (let start = 0, to = 0; to < sums.length; start += rows * columns * depth)
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++)
        for (let d = 0; d < depth; d++) {
          let sum = 0;
          for (let y = tops[row]!; y < tops[row + 1]!; y++)
            for (let x = lefts[column]!; x < lefts[column + 1]!; x++)
              sum += gradient[start + (y * columns + x) * depth + d]!;
          sums[to++] = sum;
        }
  return out;
}

type Image = [number, number, number, number];
const gradient = (f: (images: View, dy: View, alignCorners: boolean) => Value, most: number): NativeKernel => ({
  accepts: (inputs) =>
    inputs.images!.shape.length === 4 &&
    inputs.images!.shape[0]! <= most &&
    inputs.images!.shape[0] === inputs.dy!.shape[0] &&
    inputs.images!.shape[3] === inputs.dy!.shape[3] &&
    isFilled(inputs),
  run: ({ images, dy }, { alignCorners }) => f(images!, dy!, alignCorners),
});

export const resizeKernels: Readonly<Record<string, NativeKernel>> = {
  ResizeBilinear: bilinear,
  ResizeBilinearGrad: gradient(bilinearGradient, Number.POSITIVE_INFINITY),
  ResizeNearestNeighbor: nearest,
  // The CPU kernel reads the images of dy at the result's offsets, which is wrong for all images except the first.
  // Leave batches of more than one image to that kernel, so that the results match.
  ResizeNearestNeighborGrad: gradient(nearestGradient, 1),
};
