/** Pooling layers, channels last. Names, arguments and defaults are PyTorch's. */

import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Size2d } from "../ops/image/convolve.ts";
import type { AvgPool2dOptions, MaxPool2dOptions } from "../ops/image/pool.ts";
import { check } from "../runtime/arguments.ts";
import { inputOf, Module } from "./module.ts";

/** Takes the maximum of each window in an image. */
export class MaxPool2d extends Module {
  static override readonly kind: string = "MaxPool2d";
  /** @param kernelSize height and width of the window in pixels; a single number for a square */
  constructor(
    /** The size of each window. */
    readonly kernelSize: Size2d,
    /** Stride, padding, dilation and ceilMode. */
    readonly options: MaxPool2dOptions = {},
  ) {
    super();
    check(
      "MaxPool2d",
      arguments,
      "kernelSize:number|pair {stride:number|pair padding:number|pair dilation:number|pair ceilMode:boolean}",
    );
  }
  /** x: [batch, height, width, channels] → [batch, outHeight, outWidth, channels]. @throws ShapeError, RangeError */
  forward(x: Tensor): Tensor {
    return ops.maxPool2d(inputOf(this, x, arguments), this.kernelSize, this.options);
  }
}

/** Takes the mean of each window in an image. */
export class AvgPool2d extends Module {
  static override readonly kind: string = "AvgPool2d";
  /** @param kernelSize height and width of the window in pixels; a single number for a square */
  constructor(
    /** The size of each window. */
    readonly kernelSize: Size2d,
    /** Stride, padding and countIncludePad. */
    readonly options: AvgPool2dOptions = {},
  ) {
    super();
    check(
      "AvgPool2d",
      arguments,
      "kernelSize:number|pair {stride:number|pair padding:number|pair countIncludePad:boolean}",
    );
  }
  /** x: [batch, height, width, channels] → [batch, outHeight, outWidth, channels]. @throws ShapeError, RangeError */
  forward(x: Tensor): Tensor {
    return ops.avgPool2d(inputOf(this, x, arguments), this.kernelSize, this.options);
  }
}

/** The options of a 1-D pool: those of a 2-D pool, with one number for each pair. */
type Pool1dOptions<O> = { readonly [K in keyof O]: K extends "stride" | "padding" | "dilation" ? number : O[K] };

/** The corresponding options of a 2-D pool on an image of height 1. */
function to2d(options: object): object {
  const widths = Object.entries(options).map(([key, v]) => [
    key,
    typeof v === "number" ? [key === "padding" ? 0 : 1, v] : v,
  ]);
  return Object.fromEntries(widths);
}

/** Takes the maximum of each window in a sequence. */
export class MaxPool1d extends Module {
  static override readonly kind: string = "MaxPool1d";
  /** @param kernelSize length of the window in steps */
  constructor(
    /** The length of each window. */
    readonly kernelSize: number,
    private readonly options: Pool1dOptions<MaxPool2dOptions> = {},
  ) {
    super();
    check("MaxPool1d", arguments, "kernelSize:number {stride:number padding:number dilation:number ceilMode:boolean}");
  }
  /** x: [batch, length, channels] → [batch, outLength, channels]. @throws ShapeError, RangeError */
  forward(x: Tensor): Tensor {
    return ops
      .maxPool2d(inputOf(this, x, arguments).unsqueeze(-3), [1, this.kernelSize], to2d(this.options))
      .squeeze(-3);
  }
}

/** Takes the mean of each window in a sequence. */
export class AvgPool1d extends Module {
  static override readonly kind: string = "AvgPool1d";
  /** @param kernelSize length of the window in steps */
  constructor(
    /** The length of each window. */
    readonly kernelSize: number,
    private readonly options: Pool1dOptions<AvgPool2dOptions> = {},
  ) {
    super();
    check("AvgPool1d", arguments, "kernelSize:number {stride:number padding:number countIncludePad:boolean}");
  }
  /** x: [batch, length, channels] → [batch, outLength, channels]. @throws ShapeError, RangeError */
  forward(x: Tensor): Tensor {
    return ops
      .avgPool2d(inputOf(this, x, arguments).unsqueeze(-3), [1, this.kernelSize], to2d(this.options))
      .squeeze(-3);
  }
}

/** Takes the mean over all pixels: [batch, height, width, channels] → [batch, channels]. */
export class GlobalAvgPool2d extends Module {
  static override readonly kind: string = "GlobalAvgPool2d";
  /**
   * The mean of all pixels in each channel. x: [batch, height, width, channels] → [batch, channels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.globalAvgPool2d(inputOf(this, x, arguments));
  }
}
