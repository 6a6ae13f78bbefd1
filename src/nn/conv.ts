/** Convolution layers. Names, arguments, defaults and first weights are PyTorch's; images and weights have channels last. */

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
import * as init from "./init.ts";
import { inputOf, Module, parameter } from "./module.ts";

interface WithBias {
  /** Whether a number is added to each channel. Default true. */
  readonly bias?: boolean;
}

const CHANNELS = "inChannels:number outChannels:number";

/** What the four layers share: a weight and a bias, uniform in ±1/√fanIn at first, and the options of the op. */
abstract class Convolution<O extends { readonly groups?: number | undefined }> extends Module {
  /** [outChannels, …kernel, inChannels/groups]; transposed [inChannels, …kernel, outChannels/groups]. */
  readonly weight: Tensor;
  /** [outChannels] */
  readonly bias: Tensor | null;
  /** The op's: stride, padding, dilation, groups. */
  readonly options: O;

  constructor(
    /** Channels of the input, its last dim. */
    readonly inChannels: number,
    /** Channels of the result: the number of kernels. */
    readonly outChannels: number,
    /** The kernel's sizes, [height, width], or [length]. */
    readonly kernelSize: readonly number[],
    given: O & WithBias,
    transposed: boolean,
    dimensions: number,
  ) {
    super();
    const name = kindOf(this);
    const { bias = true, ...options } = given;
    const { groups = 1 } = options;
    if (kernelSize.length !== dimensions)
      throw new RangeError(`${name}: the kernel is [${kernelSize.join(", ")}], but has ${dimensions} dimension(s).`);
    requireWhole(name, { inChannels, outChannels, groups });
    for (const size of kernelSize) requireWhole(name, { kernelSize: size });
    if (inChannels % groups || outChannels % groups)
      throw new RangeError(`${name}: ${inChannels} → ${outChannels} channels cannot be cut into ${groups} groups.`);
    const [first, last] = transposed ? [inChannels, outChannels / groups] : [outChannels, inChannels / groups];
    const bound = 1 / Math.sqrt(last * kernelSize.reduce((a, b) => a * b, 1));
    this.weight = parameter(init.uniform(zeros([first, ...kernelSize, last]), -bound, bound), this);
    this.bias = bias ? parameter(init.uniform(zeros([outChannels]), -bound, bound), this) : null;
    this.options = options as unknown as O; // what is left of O & WithBias without bias
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
 * conv2d with a weight of its own: [batch, height, width, inChannels] → [batch, outHeight, outWidth, outChannels].
 *
 * ```ts
 * new nn.Conv2d(1, 8, 3, { padding: "same" }).forward(randn([32, 28, 28, 1])).shape; // [32, 28, 28, 8]
 * ```
 */
export class Conv2d extends Convolution<Conv2dOptions> {
  static override readonly kind: string = "Conv2d";
  constructor(inChannels: number, outChannels: number, kernelSize: Size2d, options: Conv2dOptions & WithBias = {}) {
    check("Conv2d", arguments, `${CHANNELS} kernelSize:number|numbers {bias:boolean ${CONV2D_OPTIONS}}`);
    super(inChannels, outChannels, sizes2d(kernelSize), options, false, 2);
  }
  /**
   * x: [batch, height, width, inChannels] → [batch, outHeight, outWidth, outChannels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.conv2d(inputOf(this, x, arguments), this.weight, this.bias, this.options);
  }
}

/** conv1d with a weight of its own: [batch, length, inChannels] → [batch, outLength, outChannels]. */
export class Conv1d extends Convolution<Conv1dOptions> {
  static override readonly kind: string = "Conv1d";
  constructor(inChannels: number, outChannels: number, kernelSize: number, options: Conv1dOptions & WithBias = {}) {
    check("Conv1d", arguments, `${CHANNELS} kernelSize:number {bias:boolean ${CONV1D_OPTIONS}}`);
    super(inChannels, outChannels, [kernelSize], options, false, 1);
  }
  /**
   * x: [batch, length, inChannels] → [batch, outLength, outChannels].
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.conv1d(inputOf(this, x, arguments), this.weight, this.bias, this.options);
  }
}

/** convTranspose2d with a weight of its own: [batch, height, width, inChannels] → [batch, outHeight, outWidth, outChannels]. */
export class ConvTranspose2d extends Convolution<ConvTranspose2dOptions> {
  static override readonly kind: string = "ConvTranspose2d";
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Size2d,
    options: ConvTranspose2dOptions & WithBias = {},
  ) {
    check(
      "ConvTranspose2d",
      arguments,
      `${CHANNELS} kernelSize:number|numbers {bias:boolean ${CONV_TRANSPOSE2D_OPTIONS}}`,
    );
    super(inChannels, outChannels, sizes2d(kernelSize), options, true, 2);
  }
  /**
   * x: [batch, height, width, inChannels] → [batch, outHeight, outWidth, outChannels], larger by the stride.
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.convTranspose2d(inputOf(this, x, arguments), this.weight, this.bias, this.options);
  }
}

/** convTranspose1d with a weight of its own: [batch, length, inChannels] → [batch, outLength, outChannels]. */
export class ConvTranspose1d extends Convolution<ConvTranspose1dOptions> {
  static override readonly kind: string = "ConvTranspose1d";
  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number,
    options: ConvTranspose1dOptions & WithBias = {},
  ) {
    check("ConvTranspose1d", arguments, `${CHANNELS} kernelSize:number {bias:boolean ${CONV_TRANSPOSE1D_OPTIONS}}`);
    super(inChannels, outChannels, [kernelSize], options, true, 1);
  }
  /**
   * x: [batch, length, inChannels] → [batch, outLength, outChannels], longer by the stride.
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.convTranspose1d(inputOf(this, x, arguments), this.weight, this.bias, this.options);
  }
}
