/** Resizing of images [batch, height, width, channels]: nearest and bilinear interpolation, adaptive average pooling. */

import { tensor } from "../core/creation.ts";
import { concat } from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { type Shape, show } from "../ops/definition/value.ts";
import type { Size2d } from "../ops/image/convolve.ts";
import { interpolatePlane, interpolate as interpolateSlices, type Taps } from "../ops/index/interpolate.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, ShapeError } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import { inputOf, Module } from "./module.ts";

/** Options for interpolate and Upsample. */
export interface InterpolateOptions {
  /** The height and width of the result in pixels. Pass either size or scaleFactor; there is no default. */
  readonly size?: Size2d;
  /**
   * The factor for height and width; the resulting sizes are rounded down. Pass either size or scaleFactor; there is no
   * default.
   */
  readonly scaleFactor?: Size2d;
  /** The interpolation method. Default "nearest". */
  readonly mode?: "nearest" | "bilinear";
  /** For "bilinear": whether to align the centers of the corner pixels instead of the image's edges. Default false. */
  readonly alignCorners?: boolean;
}

const INTERPOLATE = "{size:number|pair scaleFactor:number|pair mode:string alignCorners:boolean}";

const both = (v: Size2d): readonly [number, number] => (typeof v === "number" ? [v, v] : v);

function requireImages(name: string, { shape }: { shape: Shape }): void {
  if (shape.length !== 4)
    throw new ShapeError(`${name}: x must be [batch, height, width, channels], got ${show(shape)}.`);
}

/** @throws RangeError */
function requireSize(name: string, size: readonly number[]): void {
  if (size.length !== 2 || !size.every((n) => Number.isInteger(n) && n > 0))
    throw new RangeError(`${name}: size must be [height, width], whole numbers above 0, got [${size.join(", ")}].`);
}

/** For each of `size` positions along a dimension, selects the nearest slice of x. */
function nearestAlong(x: Tensor, dim: number, size: number, scale: number): Tensor {
  const n = x.shape[dim]!;
  if (n === size && scale === 1) return x;
  const index = Int32Array.from({ length: size }, (_, i) => Math.min(Math.floor(i * scale), n - 1));
  return x.indexSelect(dim, tensor(index));
}

/**
 * For each of `size` positions, the slices before and after it, and the weight of the second slice, computed as in PyTorch.
 */
function neighbors(n: number, size: number, scale: number, alignCorners: boolean): Taps {
  const position = (i: number): number =>
    alignCorners ? (size > 1 ? (i * (n - 1)) / (size - 1) : 0) : Math.max(0, (i + 0.5) * scale - 0.5);
  const pairs = new Int32Array(2 * size);
  const weights = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const low = Math.floor(position(i));
    pairs.set([low, Math.min(low + 1, n - 1)], 2 * i);
    weights[i] = position(i) - low;
  }
  return [tensor(pairs, [size, 2]), tensor(weights, [size, 1])];
}

/**
 * Resizes images [batch, height, width, channels], as PyTorch's interpolate does.
 *
 * ```ts
 * nn.interpolate(images, { scaleFactor: 2, mode: "bilinear" });
 * ```
 * @throws ShapeError if x is not a batch of images; RangeError for invalid options
 */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  check("interpolate", arguments, `x:tensor ${INTERPOLATE}`);
  return resize("interpolate", x, options);
}

/** @param caller the name for error messages */
function resize(caller: string, x: Tensor, options: InterpolateOptions): Tensor {
  const { size, scaleFactor, mode = "nearest", alignCorners = false } = options ?? {};
  requireImages(caller, x);
  if ((size === undefined) === (scaleFactor === undefined))
    throw new RangeError(`${caller}: pass either size or scaleFactor.`);
  requireChoice(caller, "mode", mode, ["nearest", "bilinear"]);
  if (alignCorners && mode === "nearest") throw new RangeError(`${caller}: alignCorners requires mode "bilinear".`);
  const factors = scaleFactor === undefined ? undefined : both(scaleFactor);
  const sizes = factors ? factors.map((f, i) => Math.floor(x.shape[i + 1]! * f)) : both(size!);
  requireSize(caller, sizes);
  const scales = factors ? factors.map((factor) => 1 / factor) : sizes.map((n, i) => x.shape[i + 1]! / n);
  return mode === "nearest" ? nearest(x, sizes, scales) : bilinear(x, sizes, scales, alignCorners);
}

function nearest(x: Tensor, sizes: readonly number[], scales: readonly number[]): Tensor {
  const along = (image: Tensor, i: 0 | 1): Tensor => nearestAlong(image, i + 1, sizes[i]!, scales[i]!);
  // Resize the height first if it shrinks, otherwise the width first: resizing the width is slower, so it should run on as few rows as
  // possible.
  return sizes[0]! < x.shape[1]! ? along(along(x, 0), 1) : along(along(x, 1), 0);
}

function bilinear(x: Tensor, sizes: readonly number[], scales: readonly number[], alignCorners: boolean): Tensor {
  const [rows, columns] = sizes.map((n, i) => {
    const from = x.shape[i + 1]!;
    return from === n && (scales[i] === 1 || alignCorners) ? null : neighbors(from, n, scales[i]!, alignCorners);
  });
  if (!rows && !columns) return x;
  const image = x.to("float32");
  if (rows && columns) return interpolatePlane(image, 1, rows, columns) as Tensor;
  return (rows ? interpolateSlices(image, 1, rows) : interpolateSlices(image, 2, columns!)) as Tensor;
}

/**
 * `interpolate` as a layer: [batch, height, width, channels] → [batch, outHeight, outWidth, channels]. It throws the errors of
 * `interpolate`.
 */
export class Upsample extends Module {
  static override readonly kind: string = "Upsample";
  constructor(private readonly options: InterpolateOptions) {
    super();
    check("Upsample", arguments, INTERPOLATE);
  }
  /**
   * Resizes images. x: [batch, height, width, channels] → [batch, outHeight, outWidth, channels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return resize("Upsample", inputOf(this, x, arguments), this.options);
  }
}

/**
 * Averages windows that divide an image into outputSize parts: [batch, height, width, channels] → [batch, outHeight, outWidth,
 * channels].
 * @throws ShapeError, RangeError
 */
export class AdaptiveAvgPool2d extends Module {
  static override readonly kind: string = "AdaptiveAvgPool2d";
  private readonly outputSize: readonly [number, number];
  /** @param outputSize height and width of the result in pixels; a single number for a square */
  constructor(outputSize: Size2d) {
    super();
    check("AdaptiveAvgPool2d", arguments, "outputSize:number|pair");
    this.outputSize = both(outputSize);
    requireSize("AdaptiveAvgPool2d", this.outputSize);
  }
  /**
   * Averages one window per output pixel. x: [batch, height, width, channels] → [batch, outHeight,
   * outWidth, channels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    requireImages("AdaptiveAvgPool2d", inputOf(this, x, arguments));
    return this.outputSize.reduce((y, parts, i) => averageParts(y, i + 1, parts), x);
  }
}

/** Averages parts of a dimension of length n: part i spans ⌊i·n/parts⌋ … ⌈(i + 1)·n/parts⌉. */
function averageParts(x: Tensor, dim: number, parts: number): Tensor {
  const n = x.shape[dim]!;
  const slices = Array.from({ length: parts }, (_, i) => {
    const [begin, end] = [Math.floor((i * n) / parts), Math.ceil(((i + 1) * n) / parts)];
    return x.narrow(dim, begin, end - begin).mean(dim, { keepdim: true });
  });
  return concat(slices, dim);
}
