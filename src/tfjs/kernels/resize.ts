/** Resizing of images: along the width, then along the height. */
import type { Value } from "../../ops/definition/value.ts";
import { indexSelect } from "../../ops/index/gather.ts";
import { add, mul, sub } from "../../ops/pointwise/arithmetic.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { cast } from "../../ops/shape/shape.ts";
import { newView, type View, vector } from "../view.ts";
import { type Attributes, isFilled, type NativeKernel } from "./kernel.ts";

/** The number of old pixels per new pixel, along a dim. */
const ratio = (size: number, resized: number, alignCorners: boolean): number =>
  alignCorners && resized > 1 ? (size - 1) / (resized - 1) : size / resized;

/** Interpolates between the two nearest pixels along a dim. */
function bilinear(x: Value, dim: 1 | 2, resized: number, { alignCorners, halfPixelCenters }: Attributes): Value {
  const size = x.shape[dim]!;
  const scale = ratio(size, resized, alignCorners);
  const at = Array.from({ length: resized }, (_, i) => (halfPixelCenters ? scale * (i + 0.5) - 0.5 : scale * i));
  const floors = at.map((position) => Math.max(0, Math.floor(position)));
  const ceils = at.map((position) => Math.min(size - 1, Math.ceil(position)));
  const low = indexSelect(x, dim, vector(floors, "int32"));
  const high = indexSelect(x, dim, vector(ceils, "int32"));
  const fractions = at.map((position, i) => position - floors[i]!);
  // Along the width, a weight for each channel: long rows broadcast faster.
  const each = dim === 1 ? 1 : x.shape[3]!;
  const weights = vector(
    fractions.flatMap((weight) => new Array<number>(each).fill(weight)),
    "float32",
  );
  const [outer, inner] =
    dim === 1 ? [low.shape[0]!, low.shape[2]! * low.shape[3]!] : [low.shape[0]! * low.shape[1]!, 1];
  const rows = [outer, resized * each, inner];
  const difference = sub(reshape(high, rows), reshape(low, rows));
  return reshape(add(reshape(low, rows), mul(difference, reshape(weights, [resized * each, 1]))), low.shape);
}

/** Takes the nearest pixel along a dim. */
function nearest(x: Value, dim: 1 | 2, resized: number, { alignCorners, halfPixelCenters }: Attributes): Value {
  const size = x.shape[dim]!;
  const scale = ratio(size, resized, alignCorners);
  const indices = Array.from({ length: resized }, (_, i) => {
    const position = halfPixelCenters ? scale * (i + 0.5) : scale * i;
    return Math.max(0, Math.min(size - 1, alignCorners ? Math.round(position) : Math.floor(position)));
  });
  return indexSelect(x, dim, vector(indices, "int32"));
}

type Along = (x: Value, dim: 1 | 2, resized: number, attributes: Attributes) => Value;
const resize = (along: Along, types?: NativeKernel["types"]): NativeKernel => ({
  ...(types && { types }),
  accepts: isFilled,
  run: ({ images }, attributes) =>
    along(along(cast(images!, "float32"), 2, attributes.size[1], attributes), 1, attributes.size[0], attributes),
});

/** The gradient of bilinear interpolation: each element of dy is added to the four pixels that it was interpolated from. */
function bilinearGradient(images: View, dy: View, alignCorners: boolean): View {
  const [batch, height, width, depth] = images.shape as Image;
  const [, rows, columns] = dy.shape as Image;
  // As in the CPU kernel, whose result has its height and width exchanged.
  const out = newView([batch, width, height, depth], "float32");
  const [gradient, sums] = [dy.live(), out.live()];
  sums.fill(0);
  const [vertical, horizontal] = [ratio(height, rows, alignCorners), ratio(width, columns, alignCorners)];
  for (let start = 0, from = 0; from < gradient.length; start += height * width * depth)
    for (let row = 0; row < rows; row++) {
      const y = row * vertical;
      const top = Math.floor(y);
      const above = start + top * width * depth;
      const below = start + Math.min(Math.ceil(y), height - 1) * width * depth;
      for (let column = 0; column < columns; column++) {
        const x = column * horizontal;
        const left = Math.floor(x);
        const right = Math.min(Math.ceil(x), width - 1);
        const weightA = (1 - (y - top)) * (1 - (x - left));
        const weightB = (1 - (y - top)) * (x - left);
        const weightC = (y - top) * (1 - (x - left));
        const weightD = (y - top) * (x - left);
        let a = (above + left * depth) | 0;
        let b = (above + right * depth) | 0;
        let c = (below + left * depth) | 0;
        let d = (below + right * depth) | 0;
        for (const end = from + depth; from < end; from++) {
          const value = gradient[from]!;
          sums[a++]! += value * weightA;
          sums[b++]! += value * weightB;
          sums[c++]! += value * weightC;
          sums[d++]! += value * weightD;
        }
      }
    }
  return out;
}

/** For each pixel along a dim, the first position of dy whose nearest pixel it is; and one more entry, the number of positions. */
function firstNearest(size: number, resized: number, alignCorners: boolean): Int32Array {
  const scale = ratio(size, resized, alignCorners);
  const first = new Int32Array(size + 1).fill(resized);
  for (let i = resized - 1; i >= 0; i--)
    first[Math.min(size - 1, alignCorners ? Math.round(i * scale) : Math.floor(i * scale))] = i;
  for (let i = size - 1; i >= 0; i--) first[i] = Math.min(first[i]!, first[i + 1]!);
  return first;
}

/** The gradient of taking the nearest pixels: the sum of dy over the positions that took each pixel. */
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
const gradient = (f: (images: View, dy: View, alignCorners: boolean) => View, most: number): NativeKernel => ({
  accepts: (inputs) =>
    inputs.images!.shape.length === 4 &&
    inputs.images!.shape[0]! <= most &&
    inputs.images!.shape[0] === inputs.dy!.shape[0] &&
    inputs.images!.shape[3] === inputs.dy!.shape[3] &&
    isFilled(inputs),
  run: ({ images, dy }, { alignCorners }) => f(images!, dy!, alignCorners),
});

export const resizeKernels: Readonly<Record<string, NativeKernel>> = {
  ResizeBilinear: resize(bilinear, ["float32", "int32"]),
  ResizeBilinearGrad: gradient(bilinearGradient, Number.POSITIVE_INFINITY),
  ResizeNearestNeighbor: resize(nearest),
  // The CPU kernel reads images of dy after the first at the places of images of the result.
  ResizeNearestNeighborGrad: gradient(nearestGradient, 1),
};
