/** Pooling layers, for images with channels last. Names, arguments and defaults are PyTorch's. */
import * as ops from "../functions.ts";
import type { Size2d } from "../ops/convolve.ts";
import type { AvgPool2dOptions, MaxPool2dOptions } from "../ops/pool.ts";
import type { Tensor } from "../tensor.ts";
import { Module } from "./module.ts";

/** The largest value of each window: [batch, height, width, channels] → [batch, outHeight, outWidth, channels]. */
export class MaxPool2d extends Module {
  constructor(
    readonly kernelSize: Size2d,
    private readonly options: MaxPool2dOptions = {},
  ) {
    super();
  }
  forward(x: Tensor): Tensor {
    return ops.maxPool2d(x, this.kernelSize, this.options);
  }
}

/** The mean of each window: [batch, height, width, channels] → [batch, outHeight, outWidth, channels]. */
export class AvgPool2d extends Module {
  constructor(
    readonly kernelSize: Size2d,
    private readonly options: AvgPool2dOptions = {},
  ) {
    super();
  }
  forward(x: Tensor): Tensor {
    return ops.avgPool2d(x, this.kernelSize, this.options);
  }
}

/** The mean of all pixels: [batch, height, width, channels] → [batch, channels]. */
export class GlobalAvgPool2d extends Module {
  forward(x: Tensor): Tensor {
    return ops.globalAvgPool2d(x);
  }
}
