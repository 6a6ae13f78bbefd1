/** Convolution layers. Names, arguments, defaults and initialization are PyTorch's; images and weights have channels last. */

import { zeros } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import type {
  Conv1dOptions,
  Conv2dOptions,
  ConvTranspose1dOptions,
  ConvTranspose2dOptions,
  Size2d,
} from "../ops/image/convolve.ts";
import {
  CONV_TRANSPOSE1D_OPTIONS,
  CONV_TRANSPOSE2D_OPTIONS,
  CONV1D_OPTIONS,
  CONV2D_OPTIONS,
} from "../ops/signatures.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, requireWhole } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import { requireChoice } from "../runtime/names.ts";
import * as init from "./init.ts";
import { inputOf, Module, parameter } from "./module.ts";

/** The option that convolution layers have in addition to the ops' options. */
interface BiasOption {
  /** Whether to add a learnable bias to each output channel. Default true. */
  readonly bias?: boolean;
}

const CHANNELS = "inChannels:number outChannels:number";

/**
 * Base class of the four convolution layers. It holds the op's options, and a weight and a bias that are initially uniform in
 * ±1/√fanIn.
 */
abstract class Convolution<O extends { readonly groups?: number | undefined }> extends Module {
  /** [outChannels, …kernel, inChannels/groups]; transposed: [inChannels, …kernel, outChannels/groups]. */
  readonly weight: Tensor;
  /** The bias, [outChannels]; null if there is none. */
  readonly bias: Tensor | null;
  /** The op's options: stride, padding, dilation, groups. */
  readonly options: O;

  constructor(
    /** The number of input channels, which is the size of the input's last dim. */
    readonly inChannels: number,
    /** The number of output channels, one per kernel. */
    readonly outChannels: number,
    /** The kernel's sizes, [height, width], or [length]. */
    readonly kernelSize: readonly number[],
    allOptions: O & BiasOption,
    transposed: boolean,
    dimensions: number,
  ) {
    super();
    const name = kindOf(this);
    const { bias = true, ...options } = allOptions;
    const { groups = 1 } = options;
    if (kernelSize.length !== dimensions)
      throw new RangeError(
        `${name}: kernelSize must have ${dimensions} size${dimensions > 1 ? "s" : ""}, got [${kernelSize.join(", ")}].`,
      );
    requireWhole(name, { inChannels, outChannels, groups });
    const { padding } = options as { readonly padding?: unknown };
    if (typeof padding === "string") requireChoice(name, "padding", padding, ["same", "valid"]);
    for (const size of kernelSize) requireWhole(name, { kernelSize: size });
    if (inChannels % groups || outChannels % groups)
      throw new RangeError(
        `${name}: groups must divide inChannels (${inChannels}) and outChannels (${outChannels}), got ${groups}.`,
      );
    const [first, last] = transposed ? [inChannels, outChannels / groups] : [outChannels, inChannels / groups];
    const bound = 1 / Math.sqrt(last * kernelSize.reduce((a, b) => a * b, 1));
    this.weight = parameter(init.uniform(zeros([first, ...kernelSize, last]), -bound, bound), this);
    this.bias = bias ? parameter(init.uniform(zeros([outChannels]), -bound, bound), this) : null;
    this.options = options as unknown as O; // O & BiasOption without bias
  }
  protected override describe(): string {
    const options = Object.entries(this.options).flatMap(([key, v]) =>
      v === undefined ? [] : `${key}=${JSON.stringify(v)}`,
    );
    return [
      `${this.inChannels}, ${this.outChannels}, kernelSize=${this.kernelSize.join("×")}`,
      ...options,
      `bias=${this.bias !== null}`,
    ].join(", ");
  }
}

const sizes2d = (kernel: Size2d): readonly number[] => (typeof kernel === "number" ? [kernel, kernel] : kernel);

/**
 * 2-D convolution with a learnable weight [outChannels, kernelHeight, kernelWidth, inChannels/groups].
 *
 * ```ts
 * new nn.Conv2d(1, 8, 3, { padding: "same" }).forward(randn([32, 28, 28, 1])).shape; // [32, 28, 28, 8]
 * ```
 * @throws RangeError if sizes are not whole numbers above 0, or groups do not divide the channels
 */
export class Conv2d extends Convolution<Conv2dOptions> {
  static override readonly kind: string = "Conv2d";
  /** @param kernelSize height and width in pixels; a single number for a square */
  constructor(inChannels: number, outChannels: number, kernelSize: Size2d, options: Conv2dOptions & BiasOption = {}) {
    check("Conv2d", arguments, `${CHANNELS} kernelSize:number|numbers {bias:boolean ${CONV2D_OPTIONS}}`);
    super(inChannels, outChannels, sizes2d(kernelSize), options, false, 2);
  }
  /** x: [batch, height, width, inChannels] → [batch, outHeight, outWidth, outChannels]. @throws ShapeError */
  forward(x: Tensor): Tensor {
    return ops.conv2d(inputOf(this, x, arguments), this.weight, this.bias, this.options);
  }
}

/**
 * 1-D convolution with a learnable weight [outChannels, kernelSize, inChannels/groups].
 * @throws RangeError if sizes are not whole numbers above 0, or groups do not divide the channels
 */
export class Conv1d extends Convolution<Conv1dOptions> {
  static override readonly kind: string = "Conv1d";
  /** @param kernelSize length of the kernel in steps */
  constructor(inChannels: number, outChannels: number, kernelSize: number, options: Conv1dOptions & BiasOption = {}) {
    check("Conv1d", arguments, `${CHANNELS} kernelSize:number {bias:boolean ${CONV1D_OPTIONS}}`);
    super(inChannels, outChannels, [kernelSize], options, false, 1);
  }
  /** x: [batch, length, inChannels] → [batch, outLength, outChannels]. @throws ShapeError */
  forward(x: Tensor): Tensor {
    return ops.conv1d(inputOf(this, x, arguments), this.weight, this.bias, this.options);
  }
}

/**
 * Transposed 2-D convolution with a learnable weight [inChannels, kernelHeight, kernelWidth, outChannels/groups].
 * @throws RangeError if sizes are not whole numbers above 0, or groups do not divide the channels
 */
export class ConvTranspose2d extends Convolution<ConvTranspose2dOptions> {
  static override readonly kind: string = "ConvTranspose2d";
  /** @param kernelSize height and width in pixels; a single number for a square */
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Size2d,
    options: ConvTranspose2dOptions & BiasOption = {},
  ) {
    check(
      "ConvTranspose2d",
      arguments,
      `${CHANNELS} kernelSize:number|numbers {bias:boolean ${CONV_TRANSPOSE2D_OPTIONS}}`,
    );
    super(inChannels, outChannels, sizes2d(kernelSize), options, true, 2);
  }
  /** x: [batch, height, width, inChannels] → [batch, outHeight, outWidth, outChannels]. @throws ShapeError */
  forward(x: Tensor): Tensor {
    return ops.convTranspose2d(inputOf(this, x, arguments), this.weight, this.bias, this.options);
  }
}

/**
 * Transposed 1-D convolution with a learnable weight [inChannels, kernelSize, outChannels/groups].
 * @throws RangeError if sizes are not whole numbers above 0, or groups do not divide the channels
 */
export class ConvTranspose1d extends Convolution<ConvTranspose1dOptions> {
  static override readonly kind: string = "ConvTranspose1d";
  /** @param kernelSize length of the kernel in steps */
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number,
    options: ConvTranspose1dOptions & BiasOption = {},
  ) {
    check("ConvTranspose1d", arguments, `${CHANNELS} kernelSize:number {bias:boolean ${CONV_TRANSPOSE1D_OPTIONS}}`);
    super(inChannels, outChannels, [kernelSize], options, true, 1);
  }
  /** x: [batch, length, inChannels] → [batch, outLength, outChannels]. @throws ShapeError */
  forward(x: Tensor): Tensor {
    return ops.convTranspose1d(inputOf(this, x, arguments), this.weight, this.bias, this.options);
  }
}
