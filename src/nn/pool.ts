/** Pooling layers, for images with channels last. Names, arguments and defaults are PyTorch's. */
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Size2d } from "../ops/image/convolve.ts";
import type { AvgPool2dOptions, MaxPool2dOptions } from "../ops/image/pool.ts";
import { check } from "../runtime/arguments.ts";
import { inputOf, Module } from "./module.ts";

/** The largest value of each window: [batch, height, width, channels] → [batch, outHeight, outWidth, channels]. */
export class MaxPool2d extends Module {
  static override readonly kind: string = "MaxPool2d";
  constructor(
    /** The size of the windows whose largest value is taken. */
    readonly kernelSize: Size2d,
    /** Stride, padding, dilation and ceilMode, as they were given. */
    readonly options: MaxPool2dOptions = {},
  ) {
    super();
    check(
      "MaxPool2d",
      arguments,
      "kernelSize:number|pair {stride:number|pair padding:number|pair dilation:number|pair ceilMode:boolean}",
    );
  }
  /**
   * The largest value of each window. x: [batch, height, width, channels] → [batch, outHeight, outWidth, channels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.maxPool2d(inputOf(this, x, arguments), this.kernelSize, this.options);
  }
}

/** The mean of each window: [batch, height, width, channels] → [batch, outHeight, outWidth, channels]. */
export class AvgPool2d extends Module {
  static override readonly kind: string = "AvgPool2d";
  constructor(
    /** The size of the windows whose mean is taken. */
    readonly kernelSize: Size2d,
    /** Stride, padding and countIncludePad, as they were given. */
    readonly options: AvgPool2dOptions = {},
  ) {
    super();
    check(
      "AvgPool2d",
      arguments,
      "kernelSize:number|pair {stride:number|pair padding:number|pair countIncludePad:boolean}",
    );
  }
  /**
   * The mean of each window. x: [batch, height, width, channels] → [batch, outHeight, outWidth, channels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.avgPool2d(inputOf(this, x, arguments), this.kernelSize, this.options);
  }
}

/** Options of a pool along one dimension. */
type Along<O> = { readonly [K in keyof O]: K extends "stride" | "padding" | "dilation" ? number : O[K] };

/** Options for a row of pixels, one high. */
function alongWidth(options: object): object {
  const widths = Object.entries(options).map(([key, v]) => [
    key,
    typeof v === "number" ? [key === "padding" ? 0 : 1, v] : v,
  ]);
  return Object.fromEntries(widths);
}

/** The largest value of each window: [batch, length, channels] → [batch, outLength, channels]. */
export class MaxPool1d extends Module {
  static override readonly kind: string = "MaxPool1d";
  constructor(
    /** The length of the windows whose largest value is taken. */
    readonly kernelSize: number,
    private readonly options: Along<MaxPool2dOptions> = {},
  ) {
    super();
    check("MaxPool1d", arguments, "kernelSize:number {stride:number padding:number dilation:number ceilMode:boolean}");
  }
  /**
   * The largest value of each window. x: [batch, length, channels] → [batch, outLength, channels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops
      .maxPool2d(inputOf(this, x, arguments).unsqueeze(-3), [1, this.kernelSize], alongWidth(this.options))
      .squeeze(-3);
  }
}

/** The mean of each window: [batch, length, channels] → [batch, outLength, channels]. */
export class AvgPool1d extends Module {
  static override readonly kind: string = "AvgPool1d";
  constructor(
    /** The length of the windows whose mean is taken. */
    readonly kernelSize: number,
    private readonly options: Along<AvgPool2dOptions> = {},
  ) {
    super();
    check("AvgPool1d", arguments, "kernelSize:number {stride:number padding:number countIncludePad:boolean}");
  }
  /**
   * The mean of each window. x: [batch, length, channels] → [batch, outLength, channels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops
      .avgPool2d(inputOf(this, x, arguments).unsqueeze(-3), [1, this.kernelSize], alongWidth(this.options))
      .squeeze(-3);
  }
}

/** The mean of all pixels: [batch, height, width, channels] → [batch, channels]. */
export class GlobalAvgPool2d extends Module {
  static override readonly kind: string = "GlobalAvgPool2d";
  /**
   * The mean of all pixels of each channel. x: [batch, height, width, channels] → [batch, channels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.globalAvgPool2d(inputOf(this, x, arguments));
  }
}
