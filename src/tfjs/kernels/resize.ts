/** Resizing of images: along the height, then along the width. */
import type { Value } from "../../ops/definition/value.ts";
import { indexSelect } from "../../ops/index/gather.ts";
import { add, mul, sub } from "../../ops/pointwise/arithmetic.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { cast } from "../../ops/shape/shape.ts";
import { vector } from "../view.ts";
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
  const weights = vector(
    at.map((position, i) => position - floors[i]!),
    "float32",
  );
  return add(low, mul(sub(high, low), reshape(weights, dim === 1 ? [resized, 1, 1] : [resized, 1])));
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
    along(along(cast(images!, "float32"), 1, attributes.size[0], attributes), 2, attributes.size[1], attributes),
});

export const resizeKernels: Readonly<Record<string, NativeKernel>> = {
  ResizeBilinear: resize(bilinear, ["float32", "int32"]),
  ResizeNearestNeighbor: resize(nearest),
};
