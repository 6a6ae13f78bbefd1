/** Normalization layers. Names, arguments and defaults are PyTorch's; channels are last. */
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

/** Options of the normalizing layers. */
export interface NormOptions {
  /** Added to the variance. Default 1e-5; RMSNorm: 2⁻²³, float32's precision. */
  readonly eps?: number;
}

function requireSizes(name: string, sizes: readonly number[]): void {
  if (!sizes.length || sizes.some((n) => !Number.isInteger(n) || n < 1))
    throw new RangeError(`${name}: the normalized sizes are [${sizes.join(", ")}], but must be whole numbers above 0.`);
}

/** (x − μ)/√(σ² + ε)·weight + bias over the last dimensions (Ba et al. 2016). Starts with weight 1 and bias 0. */
export class LayerNorm extends Module {
  static override readonly kind: string = "LayerNorm";
  /** The sizes of the last dims, which are normalized together. */
  readonly normalizedShape: Shape;
  /** What normalized values are multiplied by, of normalizedShape; null without it. */
  readonly weight: Tensor | null;
  /** What is added after that, of normalizedShape; null without it. */
  readonly bias: Tensor | null;
  /** ε, as it was given. */
  readonly options: NormOptions;

  constructor(
    normalizedShape: number | Shape,
    given: NormOptions & {
      /** Train a weight and a bias. Default true. */
      readonly elementwiseAffine?: boolean;
      /** Train a bias beside the weight. Default true. */
      readonly bias?: boolean;
    } = {},
  ) {
    super();
    check("LayerNorm", arguments, "normalizedShape:number|numbers {eps:number elementwiseAffine:boolean bias:boolean}");
    const { elementwiseAffine = true, bias = true, ...options } = given;
    this.normalizedShape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
    requireSizes("LayerNorm", this.normalizedShape);
    this.weight = elementwiseAffine ? parameter(ones(this.normalizedShape), this) : null;
    this.bias = elementwiseAffine && bias ? parameter(zeros(this.normalizedShape), this) : null;
    this.options = options;
  }
  /**
   * (x − μ)/√(σ² + ε)·weight + bias over the last dims. x: [..., ...normalizedShape] → the same shape.
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.layerNorm(inputOf(this, x, arguments), this.normalizedShape, this.weight, this.bias, this.options);
  }
  protected override describe(): string {
    return `[${this.normalizedShape.join(", ")}], elementwiseAffine=${this.weight !== null}`;
  }
}

/** x/√(mean(x²) + ε)·weight over the last dimensions (Zhang and Sennrich 2019). Starts with weight 1. */
export class RMSNorm extends Module {
  static override readonly kind: string = "RMSNorm";
  /** The sizes of the last dims, whose root mean square is taken together. */
  readonly normalizedShape: Shape;
  /** What x/rms(x) is multiplied by, of normalizedShape; null without it. */
  readonly weight: Tensor | null;
  /** The ε under the root, as it was given. */
  readonly options: NormOptions;

  constructor(
    normalizedShape: number | Shape,
    given: NormOptions & {
      /** Train a weight. Default true. */
      readonly elementwiseAffine?: boolean;
    } = {},
  ) {
    super();
    check("RMSNorm", arguments, "normalizedShape:number|numbers {eps:number elementwiseAffine:boolean}");
    const { elementwiseAffine = true, ...options } = given;
    this.normalizedShape = typeof normalizedShape === "number" ? [normalizedShape] : normalizedShape;
    requireSizes("RMSNorm", this.normalizedShape);
    this.weight = elementwiseAffine ? parameter(ones(this.normalizedShape), this) : null;
    this.options = options;
  }
  /**
   * x/√(mean(x²) + ε)·weight over the last dims. x: [..., ...normalizedShape] → the same shape.
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.rmsNorm(inputOf(this, x, arguments), this.normalizedShape, this.weight, this.options);
  }
  protected override describe(): string {
    return `[${this.normalizedShape.join(", ")}], elementwiseAffine=${this.weight !== null}`;
  }
}

/** Options of BatchNorm. */
export interface BatchNormOptions extends NormOptions {
  /** How much of a batch's statistics the running ones take over; null: all batches count alike. Default 0.1. */
  readonly momentum?: number | null;
  /** Whether there are a weight and a bias. Default true. */
  readonly affine?: boolean;
  /** Whether running statistics are kept, for eval(). Without them a batch's own are always used. Default true. */
  readonly trackRunningStats?: boolean;
}

/**
 * Batch normalization (Ioffe and Szegedy 2015) of [batch, …, channels] along all but the channels. In training by the batch's
 * own mean and variance, of which running means are kept (the variance unbiased, as PyTorch keeps it); in eval() by those. An empty
 * batch leaves the running means and the count of batches as they are.
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
  /** float32 [] */
  readonly numBatchesTracked: Tensor | null;
  private readonly momentum: number | null;
  /** The ε beside the variance, as it was given. */
  readonly options: NormOptions;

  constructor(
    /** The number of channels, the last dim of the input. */
    readonly numFeatures: number,
    given: BatchNormOptions = {},
  ) {
    super();
    check(
      kindOf(this),
      arguments,
      "numFeatures:number {eps:number momentum:number|null affine:boolean trackRunningStats:boolean}",
    );
    const { momentum = 0.1, affine = true, trackRunningStats = true, ...options } = given;
    requireSizes(kindOf(this), [numFeatures]);
    this.weight = affine ? parameter(ones([numFeatures]), this) : null;
    this.bias = affine ? parameter(zeros([numFeatures]), this) : null;
    this.runningMean = trackRunningStats ? zeros([numFeatures]).keep() : null;
    this.runningVar = trackRunningStats ? ones([numFeatures]).keep() : null;
    this.numBatchesTracked = trackRunningStats ? zeros([]).keep() : null;
    this.momentum = momentum;
    this.options = options;
  }
  /** How many dimensions inputs may have. */
  protected readonly ranks: readonly number[] = [];

  /**
   * Normalizes each channel: by the batch's statistics in training, by the running ones in evaluation. x: [batch,
   * ..., numFeatures] → the same shape.
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    inputOf(this, x, arguments);
    const { runningMean, runningVar, weight, bias, options, ranks, numFeatures } = this;
    if ((ranks.length && !ranks.includes(x.shape.length)) || x.shape.at(-1) !== numFeatures)
      throw new ShapeError(
        `${kindOf(this)}: the input is [${x.shape.join(", ")}], but must have ${ranks.join(" or ") || "some"} dimensions, ` +
          `the last of them ${numFeatures} channels. Channels are last: x.permute([0, 2, 3, 1]) turns PyTorch's images.`,
      );
    if (!this.training && runningMean && runningVar)
      return ops.batchNorm(x, runningMean, runningVar, weight, bias, options);
    const pixels = x.size / this.numFeatures;
    if (pixels === 1)
      throw new RangeError(
        `${kindOf(this)}: a batch [${x.shape.join(", ")}] has one value a channel, whose variance says nothing. Use larger batches, or eval().`,
      );
    return withUndo(() => {
      const [y, stats] = ops.batchNormTrain(x, weight, bias, options) as [Tensor, Tensor];
      // An empty batch has no statistics.
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

/** BatchNorm of [batch, channels] or [batch, length, channels]. */
export class BatchNorm1d extends BatchNorm {
  static override readonly kind: string = "BatchNorm1d";
  protected override readonly ranks = [2, 3];
}

/** BatchNorm of images [batch, height, width, channels]. */
export class BatchNorm2d extends BatchNorm {
  static override readonly kind: string = "BatchNorm2d";
  protected override readonly ranks = [4];
}

/** Normalization of each image along its pixels and a group's channels (Wu and He 2018): [batch, …, channels]. */
export class GroupNorm extends Module {
  static override readonly kind: string = "GroupNorm";
  /** The scale of each channel after the groups are normalized, [numChannels]; null if affine is false. */
  readonly weight: Tensor | null;
  /** The shift of each channel after the groups are normalized, [numChannels]; null if affine is false. */
  readonly bias: Tensor | null;
  /** The ε beside each group's variance, as it was given. */
  readonly options: NormOptions;

  constructor(
    /** The number of groups, a divisor of numChannels. */
    readonly numGroups: number,
    /** The number of channels that the groups share, the last dim of the input. */
    readonly numChannels: number,
    given: NormOptions & {
      /** Train a scale and a shift for each channel. Default true. */
      readonly affine?: boolean;
    } = {},
  ) {
    super();
    check("GroupNorm", arguments, "numGroups:number numChannels:number {eps:number affine:boolean}");
    const { affine = true, ...options } = given;
    requireSizes("GroupNorm", [numGroups, numChannels]);
    if (numChannels % numGroups)
      throw new RangeError(`GroupNorm: ${numChannels} channels cannot be cut into ${numGroups} groups.`);
    this.weight = affine ? parameter(ones([numChannels]), this) : null;
    this.bias = affine ? parameter(zeros([numChannels]), this) : null;
    this.options = options;
  }
  /**
   * Normalizes each image over its pixels and a group's channels. x: [batch, ..., numChannels] → the same shape.
   * @throws ShapeError
   */
  forward(x: Tensor): Tensor {
    return ops.groupNorm(inputOf(this, x, arguments), this.numGroups, this.weight, this.bias, this.options);
  }
  protected override describe(): string {
    return `${this.numGroups}, ${this.numChannels}, affine=${this.weight !== null}`;
  }
}
