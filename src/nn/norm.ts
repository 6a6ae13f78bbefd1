/** Normalization layers. Names, arguments and defaults are PyTorch's; channels come last. */

import { noGrad } from "../autograd/backward.ts";
import { ones, zeros } from "../core/creation.ts";
import { flushDenormals } from "../core/denormals.ts";
import * as ops from "../core/functions.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { withUndo } from "../core/undo.ts";
import type { Shape } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, ShapeError } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import { inputOf, Module, parameter } from "./module.ts";

/** Options for the normalizing layers. */
export interface NormOptions {
  /** The number, at least 0, added to the variance. Default 1e-5; RMSNorm: 2⁻²³, float32's precision. */
  readonly eps?: number;
}

/** Options for RMSNorm. */
export interface RMSNormOptions extends NormOptions {
  /** Whether to learn a weight, initially 1. Default true. */
  readonly elementwiseAffine?: boolean;
}

/** Options for LayerNorm. */
export interface LayerNormOptions extends NormOptions {
  /** Whether to learn a weight, initially 1, and a bias, initially 0. Default true. */
  readonly elementwiseAffine?: boolean;
  /** Whether to learn a bias, initially 0; requires elementwiseAffine. Default true. */
  readonly bias?: boolean;
}

/** Options for GroupNorm. */
export interface GroupNormOptions extends NormOptions {
  /** Whether to learn a weight, initially 1, and a bias, initially 0. Default true. */
  readonly affine?: boolean;
}

function requireSizes(name: string, sizes: readonly number[]): void {
  if (!sizes.length || sizes.some((n) => !Number.isInteger(n) || n < 1))
    throw new RangeError(`${name}: sizes must be whole numbers above 0, got [${sizes.join(", ")}].`);
}

/**
 * Layer normalization over the last dimensions, [..., …normalizedShape]: (x − μ)/√(σ² + ε)·weight + bias (Ba et al. 2016). Keeps the
 * shape.
 * @throws RangeError if a size is not a whole number above 0
 */
export class LayerNorm extends Module {
  static override readonly kind: string = "LayerNorm";
  /** The sizes of the last dims, which are normalized together. */
  readonly normalizedShape: Shape;
  /** The scale of the normalized values, of shape normalizedShape; null if there is none. */
  readonly weight: Tensor | null;
  /** The shift of the scaled values, of shape normalizedShape; null if there is none. */
  readonly bias: Tensor | null;
  /** The option eps, which is added to the variance. */
  readonly options: NormOptions;

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    super();
    check("LayerNorm", arguments, "normalizedShape:number|numbers {eps:number elementwiseAffine:boolean bias:boolean}");
    const { elementwiseAffine = true, bias = true, ...opOptions } = options;
    this.normalizedShape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
    requireSizes("LayerNorm", this.normalizedShape);
    this.weight = elementwiseAffine ? parameter(ones(this.normalizedShape), this) : null;
    this.bias = elementwiseAffine && bias ? parameter(zeros(this.normalizedShape), this) : null;
    this.options = opOptions;
  }
  /** x: [..., …normalizedShape] → the same shape. @throws ShapeError */
  forward(x: Tensor): Tensor {
    return ops.layerNorm(inputOf(this, x, arguments), this.normalizedShape, this.weight, this.bias, this.options);
  }
  protected override describe(): string {
    return `[${this.normalizedShape.join(", ")}], elementwiseAffine=${this.weight !== null}`;
  }
}

/**
 * Root-mean-square normalization over the last dimensions, [..., …normalizedShape]: x/√(mean(x²) + ε)·weight (Zhang and Sennrich 2019).
 * Keeps the shape.
 * @throws RangeError if a size is not a whole number above 0
 */
export class RMSNorm extends Module {
  static override readonly kind: string = "RMSNorm";
  /** The sizes of the last dims, which share one root mean square. */
  readonly normalizedShape: Shape;
  /** The scale of x/rms(x), of shape normalizedShape; null if there is none. */
  readonly weight: Tensor | null;
  /** The option eps, which is added to the mean square. */
  readonly options: NormOptions;

  constructor(normalizedShape: number | Shape, options: RMSNormOptions = {}) {
    super();
    check("RMSNorm", arguments, "normalizedShape:number|numbers {eps:number elementwiseAffine:boolean}");
    const { elementwiseAffine = true, ...opOptions } = options;
    this.normalizedShape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
    requireSizes("RMSNorm", this.normalizedShape);
    this.weight = elementwiseAffine ? parameter(ones(this.normalizedShape), this) : null;
    this.options = opOptions;
  }
  /** x: [..., …normalizedShape] → the same shape. @throws ShapeError */
  forward(x: Tensor): Tensor {
    return ops.rmsNorm(inputOf(this, x, arguments), this.normalizedShape, this.weight, this.options);
  }
  protected override describe(): string {
    return `[${this.normalizedShape.join(", ")}], elementwiseAffine=${this.weight !== null}`;
  }
}

/** Options for BatchNorm. */
export interface BatchNormOptions extends NormOptions {
  /**
   * The weight of each batch in the running statistics, between 0 and 1; null weights all batches equally. Default 0.1.
   */
  readonly momentum?: number | null;
  /** Whether to learn a weight, initially 1, and a bias, initially 0. Default true. */
  readonly affine?: boolean;
  /**
   * Whether to keep running statistics for evaluation. If false, evaluation mode normalizes with the batch's statistics, like
   * training. Default true.
   */
  readonly trackRunningStats?: boolean;
}

/**
 * Batch normalization over all dimensions except the channels (Ioffe and Szegedy 2015): [batch, …, channels] → the same
 * shape. Training uses the batch's mean and variance and updates the running statistics (with the unbiased variance, as
 * in PyTorch); evaluation uses the running statistics. An empty batch leaves the running statistics unchanged.
 * @throws RangeError if numFeatures is not a whole number above 0
 */
export class BatchNorm extends Module {
  static override readonly kind: string = "BatchNorm";
  /** The scale of each channel, [numFeatures]; null if affine is false. */
  readonly weight: Tensor | null;
  /** The shift of each channel, [numFeatures]; null if affine is false. */
  readonly bias: Tensor | null;
  /** The running mean of each channel, used in evaluation; null if it is not tracked. */
  readonly runningMean: Tensor | null;
  /** The running variance of each channel, used in evaluation; null if it is not tracked. */
  readonly runningVar: Tensor | null;
  /** The number of batches that the running statistics include: float32 []. */
  readonly numBatchesTracked: Tensor | null;
  private readonly momentum: number | null;
  /** The option eps, which is added to the variance. */
  readonly options: NormOptions;

  /** @param numFeatures the number of channels */
  constructor(
    /** The number of channels, the size of the input's last dim. */
    readonly numFeatures: number,
    options: BatchNormOptions = {},
  ) {
    super();
    check(
      kindOf(this),
      arguments,
      "numFeatures:number {eps:number momentum:number|null affine:boolean trackRunningStats:boolean}",
    );
    const { momentum = 0.1, affine = true, trackRunningStats = true, ...opOptions } = options;
    requireSizes(kindOf(this), [numFeatures]);
    this.weight = affine ? parameter(ones([numFeatures]), this) : null;
    this.bias = affine ? parameter(zeros([numFeatures]), this) : null;
    this.runningMean = trackRunningStats ? zeros([numFeatures]).keep() : null;
    this.runningVar = trackRunningStats ? ones([numFeatures]).keep() : null;
    this.numBatchesTracked = trackRunningStats ? zeros([]).keep() : null;
    this.momentum = momentum;
    this.options = opOptions;
  }
  /** The permitted numbers of dimensions of inputs; empty if any number is permitted. */
  protected readonly ranks: readonly number[] = [];

  /**
   * x: [batch, …, channels] → the same shape.
   * @throws ShapeError if x does not have the right rank and channels; RangeError in training if a channel has only one
   * value
   */
  forward(x: Tensor): Tensor {
    inputOf(this, x, arguments);
    const { runningMean, runningVar, weight, bias, options, ranks, numFeatures } = this;
    if ((ranks.length && !ranks.includes(x.shape.length)) || x.shape.at(-1) !== numFeatures)
      throw new ShapeError(
        `${kindOf(this)}: x must have ${ranks.join(" or ") || "1 or more"} dimensions, ` +
          `with ${numFeatures} channels last, got [${x.shape.join(", ")}]. Use x.permute([0, 2, 3, 1]) for PyTorch's images.`,
      );
    if (!this.training && runningMean && runningVar)
      return ops.batchNorm(x, runningMean, runningVar, weight, bias, options);
    const pixels = x.size / this.numFeatures;
    if (pixels === 1)
      throw new RangeError(
        `${kindOf(this)}: the batch [${x.shape.join(", ")}] has one value per channel, so it has no variance. Use larger batches, or eval().`,
      );
    return withUndo(() => {
      const [y, stats] = ops.batchNormTrain(x, weight, bias, options) as [Tensor, Tensor];
      // An empty batch has no statistics to include.
      if (this.training && runningMean && runningVar && pixels) this.track(stats, pixels);
      stats.dispose();
      return y;
    });
  }

  private track(stats: Tensor, pixels: number): void {
    noGrad(() =>
      tidy(() => {
        const { runningMean, runningVar, numBatchesTracked, numFeatures } = this;
        const count = numBatchesTracked!.add(1);
        numBatchesTracked!.copyFrom(count);
        const part = this.momentum ?? count.reciprocal();
        const batch = stats.detach();
        const mean = batch.narrow(0, 0, 1).reshape([numFeatures]);
        const variance = batch
          .narrow(0, 1, 1)
          .reshape([numFeatures])
          .mul(pixels / (pixels - 1));
        // r ← r + part·(batch − r)
        for (const [running, now] of [
          [runningMean!, mean],
          [runningVar!, variance],
        ] as const)
          running.copyFrom(flushDenormals(running.add(now.sub(running).mul(part))));
      }),
    );
  }
  protected override describe(): string {
    return `${this.numFeatures}, affine=${this.weight !== null}, trackRunningStats=${this.runningMean !== null}`;
  }
}

/** Batch normalization of [batch, channels] or [batch, length, channels]. See `BatchNorm` for options and errors. */
export class BatchNorm1d extends BatchNorm {
  static override readonly kind: string = "BatchNorm1d";
  protected override readonly ranks = [2, 3];
}

/** Batch normalization of images [batch, height, width, channels]. See `BatchNorm` for options and errors. */
export class BatchNorm2d extends BatchNorm {
  static override readonly kind: string = "BatchNorm2d";
  protected override readonly ranks = [4];
}

/**
 * Group normalization (Wu and He 2018): normalizes each sample of [batch, …, channels] over its pixels and the channels of one group.
 * Keeps the shape.
 * @throws RangeError if numGroups does not divide numChannels
 */
export class GroupNorm extends Module {
  static override readonly kind: string = "GroupNorm";
  /** The scale applied to each channel after normalization, [numChannels]; null if affine is false. */
  readonly weight: Tensor | null;
  /** The shift applied to each channel after normalization, [numChannels]; null if affine is false. */
  readonly bias: Tensor | null;
  /** The option eps, which is added to each group's variance. */
  readonly options: NormOptions;

  constructor(
    /** The number of groups, a divisor of numChannels. */
    readonly numGroups: number,
    /** The number of channels, the size of the input's last dim. */
    readonly numChannels: number,
    options: GroupNormOptions = {},
  ) {
    super();
    check("GroupNorm", arguments, "numGroups:number numChannels:number {eps:number affine:boolean}");
    const { affine = true, ...opOptions } = options;
    requireSizes("GroupNorm", [numGroups, numChannels]);
    if (numChannels % numGroups)
      throw new RangeError(`GroupNorm: numGroups must divide numChannels (${numChannels}), got ${numGroups}.`);
    this.weight = affine ? parameter(ones([numChannels]), this) : null;
    this.bias = affine ? parameter(zeros([numChannels]), this) : null;
    this.options = opOptions;
  }
  /** x: [batch, …, channels] → the same shape. @throws ShapeError */
  forward(x: Tensor): Tensor {
    return ops.groupNorm(inputOf(this, x, arguments), this.numGroups, this.weight, this.bias, this.options);
  }
  protected override describe(): string {
    return `${this.numGroups}, ${this.numChannels}, affine=${this.weight !== null}`;
  }
}
