/** Images in other sizes: nearest and bilinear interpolation, adaptive averages. Images are [batch, height, width, channels]. */
import { tensor } from "../core/creation.ts";
import { concat } from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { type Shape, show } from "../ops/definition/value.ts";
import type { Size2d } from "../ops/image/convolve.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, ShapeError } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import { inputOf, Module } from "./module.ts";

/** Options of interpolate and Upsample. */
export interface InterpolateOptions {
  /** Height and width of the result; this or scaleFactor. */
  readonly size?: Size2d;
  /** Times height and width, rounded down; this or size. */
  readonly scaleFactor?: Size2d;
  /** How pixels between the given ones are computed. Default "nearest". */
  readonly mode?: "nearest" | "bilinear";
  /** bilinear: whether the corners' centres stay where they are, instead of the images' edges. Default false. */
  readonly alignCorners?: boolean;
}

const INTERPOLATE = "{size:number|pair scaleFactor:number|pair mode:string alignCorners:boolean}";

const both = (v: Size2d): readonly [number, number] => (typeof v === "number" ? [v, v] : v);

function requireImages(name: string, { shape }: { shape: Shape }): void {
  if (shape.length !== 4)
    throw new ShapeError(`${name}: images are [batch, height, width, channels], but this is ${show(shape)}.`);
}

/** @throws RangeError */
function requireSize(name: string, size: readonly number[]): void {
  if (size.length !== 2 || !size.every((n) => Number.isInteger(n) && n > 0))
    throw new RangeError(
      `${name}: the size is [${size.join(", ")}], but must be [height, width], whole numbers above 0.`,
    );
}

/** x read at `size` places along a dimension; `at(i)` says where, in pixels, by PyTorch's rules. */
function resizeAlong(
  x: Tensor,
  dim: number,
  size: number,
  scale: number,
  bilinear: boolean,
  alignCorners: boolean,
): Tensor {
  const from = x.shape[dim]!;
  const select = (index: (i: number) => number): Tensor =>
    x.indexSelect(dim, tensor(Int32Array.from({ length: size }, (_, i) => Math.min(index(i), from - 1))));
  if (from === size && (scale === 1 || alignCorners)) return x;
  if (!bilinear) return select((i) => Math.floor(i * scale));
  const place = (i: number): number =>
    alignCorners ? (size > 1 ? (i * (from - 1)) / (size - 1) : 0) : Math.max(0, (i + 0.5) * scale - 0.5);
  const low = select((i) => Math.floor(place(i)));
  const high = select((i) => Math.floor(place(i)) + 1);
  const shape = x.shape.map((_, d) => (d === dim ? size : 1));
  const part = tensor(
    Float32Array.from({ length: size }, (_, i) => place(i) - Math.floor(place(i))),
    shape,
  );
  return low.add(high.sub(low).mul(part));
}

/**
 * Images in another size: PyTorch's interpolate.
 *
 * ```ts
 * nn.interpolate(images, { scaleFactor: 2, mode: "bilinear" });
 * ```
 * @throws ShapeError, RangeError
 */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  check("interpolate", arguments, `x:tensor ${INTERPOLATE}`);
  return resized("interpolate", x, options);
}

/** interpolate for a caller of this name. */
function resized(caller: string, x: Tensor, options: InterpolateOptions): Tensor {
  const { size, scaleFactor, mode = "nearest", alignCorners = false } = options ?? {};
  requireImages(caller, x);
  if ((size === undefined) === (scaleFactor === undefined))
    throw new RangeError(`${caller}: give either size or scaleFactor.`);
  requireChoice(caller, "mode", mode, ["nearest", "bilinear"]);
  if (alignCorners && mode === "nearest") throw new RangeError(`${caller}: alignCorners is for mode "bilinear".`);
  const factors = scaleFactor === undefined ? undefined : both(scaleFactor);
  const sizes = factors ? factors.map((f, i) => Math.floor(x.shape[i + 1]! * f)) : both(size!);
  requireSize(caller, sizes);
  const along = (image: Tensor, i: 0 | 1): Tensor => {
    const scale = factors ? 1 / factors[i] : x.shape[i + 1]! / sizes[i]!;
    return resizeAlong(image, i + 1, sizes[i]!, scale, mode === "bilinear", alignCorners);
  };
  return along(along(x, 0), 1);
}

/** interpolate as a layer. */
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
    return resized("Upsample", inputOf(this, x, arguments), this.options);
  }
}

/** Means over windows that cut the image into height × width parts of nearly one size: [batch, height, width, channels]. */
export class AdaptiveAvgPool2d extends Module {
  static override readonly kind: string = "AdaptiveAvgPool2d";
  private readonly outputSize: readonly [number, number];
  constructor(outputSize: Size2d) {
    super();
    check("AdaptiveAvgPool2d", arguments, "outputSize:number|pair");
    this.outputSize = both(outputSize);
    requireSize("AdaptiveAvgPool2d", this.outputSize);
  }
  /**
   * The means of as many windows as the output has pixels. x: [batch, height, width, channels] → [batch, outHeight,
   * outWidth, channels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    requireImages("AdaptiveAvgPool2d", inputOf(this, x, arguments));
    return this.outputSize.reduce((y, parts, i) => means(y, i + 1, parts), x);
  }
}

/** Means along a dimension of n: part i from ⌊i·n/parts⌋ to ⌈(i + 1)·n/parts⌉. */
function means(x: Tensor, dim: number, parts: number): Tensor {
  const n = x.shape[dim]!;
  const slices = Array.from({ length: parts }, (_, i) => {
    const [begin, end] = [Math.floor((i * n) / parts), Math.ceil(((i + 1) * n) / parts)];
    return x.narrow(dim, begin, end - begin).mean(dim, { keepdim: true });
  });
  return concat(slices, dim);
}
