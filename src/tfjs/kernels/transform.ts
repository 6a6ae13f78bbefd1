/** Rotations and projective transforms of images. */
import { backend_util } from "@tensorflow/tfjs-core";
import type { Value } from "../../ops/definition/value.ts";
import { indexSelect } from "../../ops/index/gather.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { newView, type View } from "../view.ts";
import { ALL, type Attributes, isFilled, type NativeKernel } from "./kernel.ts";

/** Rotates an image about a center: copies each pixel from its position before the rotation. */
function rotate(image: View, { radians, fillValue, center }: Attributes): Value {
  const [batch, height, width, depth] = image.shape as [number, number, number, number];
  const [centerX, centerY] = backend_util.getImageCenter(center, height, width);
  const [sin, cos] = [Math.sin(radians), Math.cos(radians)];
  const places = newView([batch * height * width], "int32");
  const from = places.live();
  const outside: number[] = [];
  for (let start = 0, at = 0; at < from.length; start += height * width)
    for (let row = 0; row < height; row++) {
      const [down, across] = [(row - centerY) * cos, (row - centerY) * sin];
      for (let column = 0; column < width; column++, at++) {
        const x = Math.round((column - centerX) * cos - across + centerX);
        const y = Math.round((column - centerX) * sin + down + centerY);
        from[at] = start + y * width + x;
        if (x >= 0 && x < width && y >= 0 && y < height) continue;
        from[at] = 0;
        outside.push(at);
      }
    }
  const out = indexSelect(reshape(image, [from.length, depth]), 0, places) as View;
  const to = out.live();
  // The fourth channel is the opacity: unless fillValue is a number, fill it with 255.
  const fill = (d: number) => (typeof fillValue === "number" ? fillValue : d === 3 ? 255 : fillValue[d]);
  const fills = Array.from({ length: depth }, (_, d) => fill(d));
  for (let i = 0; i < outside.length; i++) for (let d = 0; d < depth; d++) to[outside[i]! * depth + d] = fills[d];
  return reshape(out, image.shape);
}

/**
 * Maps a coordinate outside an image of `size` pixels to one inside, according to the fill mode; "constant" leaves it
 * unchanged.
 */
function inside(at: number, size: number, mode: string): number {
  if (mode !== "reflect" && mode !== "wrap") return mode === "nearest" ? clamp(at, size) : at;
  if (at >= 0 && at <= size - 1) return at;
  if (size <= 1) return Number.isNaN(at) ? at : 0;
  let x = at;
  if (mode === "wrap") {
    if (at < 0) x += size * (Math.trunc(-at / (size - 1)) + 1);
    else if (at > size - 1) x -= size * Math.trunc(at / (size - 1));
  } else if (at < 0) {
    x += 2 * size * Math.trunc(-at / (2 * size));
    x = x < -size ? x + 2 * size : -x - 1;
  } else if (at > size - 1) {
    x -= 2 * size * Math.trunc(at / (2 * size));
    if (x >= size) x = 2 * size - x - 1;
  }
  return clamp(x, size);
}
const clamp = (at: number, size: number): number => Math.max(0, Math.min(at, size - 1));

/** Reads each pixel of the result from a projected position in the image. */
function project(image: View, transforms: View, attributes: Attributes): View {
  const { interpolation, fillMode, fillValue, outputShape } = attributes;
  const [batch, height, width, depth] = image.shape as [number, number, number, number];
  const [outHeight, outWidth] = outputShape ?? [height, width];
  const out = newView([batch, outHeight, outWidth, depth], "float32");
  const [from, to] = [image.live(), out.live()];
  const [a0, a1, a2, b0, b1, b2, c0, c1] = transforms.live() as unknown as Eight;
  for (let row = 0, at = 0; row < outHeight; row++)
    for (let column = 0; column < outWidth; column++, at += depth) {
      const scale = c0 * column + c1 * row + 1;
      if (scale === 0) {
        to.fill(fillValue, at, at + depth);
        continue;
      }
      const x = inside((a0 * column + a1 * row + a2) / scale, width, fillMode);
      const y = inside((b0 * column + b1 * row + b2) / scale, height, fillMode);
      if (interpolation === "nearest") {
        const [left, top] = [Math.round(x), Math.round(y)];
        const isInside = left >= 0 && left < width && top >= 0 && top < height;
        const pixel = ((top * width + left) * depth) | 0;
        for (let d = 0; d < depth; d++) to[at + d] = isInside ? from[pixel + d]! : fillValue;
        continue;
      }
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [right, bottom] = [left + 1, top + 1];
      const [hasLeft, hasRight] = [left >= 0 && left < width, right >= 0 && right < width];
      const [hasTop, hasBottom] = [top >= 0 && top < height, bottom >= 0 && bottom < height];
      const pixel = ((top * width + left) * depth) | 0;
      const below = pixel + width * depth;
      const [toRight, toLeft, toBottom, toTop] = [right - x, x - left, bottom - y, y - top];
      for (let d = 0; d < depth; d++) {
        const a = hasTop && hasLeft ? from[pixel + d]! : fillValue;
        const b = hasTop && hasRight ? from[pixel + depth + d]! : fillValue;
        const c = hasBottom && hasLeft ? from[below + d]! : fillValue;
        const e = hasBottom && hasRight ? from[below + depth + d]! : fillValue;
        to[at + d] = toBottom * (toRight * a + toLeft * b) + toTop * (toRight * c + toLeft * e);
      }
    }
  return out;
}
type Eight = [number, number, number, number, number, number, number, number];

export const transformKernels: Readonly<Record<string, NativeKernel>> = {
  RotateWithOffset: {
    types: ALL,
    accepts: ({ image }) => image!.shape.length === 4 && isFilled({ image: image! }),
    run: ({ image }, attributes) => rotate(image!, attributes),
  },
  Transform: {
    // The CPU kernel transforms only the first image of a batch. Leave batches of more than one image to that kernel,
    // so that the results match.
    accepts: (inputs, { interpolation }) =>
      inputs.image!.shape.length === 4 &&
      inputs.image!.shape[0] === 1 &&
      inputs.transforms!.shape[1] === 8 &&
      (interpolation === "nearest" || interpolation === "bilinear") &&
      isFilled(inputs),
    run: ({ image, transforms }, attributes) => project(image!, transforms!, attributes),
  },
};
