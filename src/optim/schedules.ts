/**
 * Schedules with a formula for the learning rate. Names, arguments and values are PyTorch's, except that a schedule sets the rate
 * instead of scaling it: if an optimizer has two schedules, the one that steps last determines the rate. Use SequentialLR to run
 * schedules one after another. Call `step()` per batch or per epoch, as you like.
 */
import { check } from "../runtime/arguments.ts";
import { RangeError, requireFraction, requireRange, requireWhole } from "../runtime/errors.ts";
import { requireKind } from "../runtime/kinds.ts";
import { requireChoice } from "../runtime/names.ts";
import { withoutUndefined } from "../runtime/options.ts";
import { type AnyOptimizer, LRScheduler } from "./scheduler.ts";

/**
 * base·lambda(t) for any function of the step, such as `(t) => 1 / (1 + t)`.
 * @throws TypeError if lambda does not return a number
 */
export class LambdaLR extends LRScheduler {
  static override readonly kind: string = "LambdaLR";
  /** @param lambda the factor at step t */
  constructor(
    optimizer: AnyOptimizer,
    private readonly lambda: (t: number) => number,
  ) {
    super(optimizer);
    check("LambdaLR", arguments, "optimizer:any lambda:function");
    this.apply();
  }
  rate(base: number, t: number): number {
    const factor = this.lambda(t);
    requireKind("LambdaLR", "lambda's result", "number", factor);
    return base * factor;
  }
}

/**
 * base·gamma^⌊t/stepSize⌋: multiplies the rate by gamma every stepSize steps.
 * @throws RangeError if stepSize is not a whole number above 0
 */
export class StepLR extends LRScheduler {
  static override readonly kind: string = "StepLR";
  /** @param stepSize the number of steps between changes @param gamma the factor, default 0.1 */
  constructor(
    optimizer: AnyOptimizer,
    private readonly stepSize: number,
    private readonly gamma = 0.1,
  ) {
    super(optimizer);
    check("StepLR", arguments, "optimizer:any stepSize:number gamma?:number");
    requireWhole("StepLR", { stepSize });
  }
  rate(base: number, t: number): number {
    return base * this.gamma ** Math.floor(t / this.stepSize);
  }
}

/** base·gammaᵗ: multiplies the rate by gamma with every step. */
export class ExponentialLR extends LRScheduler {
  static override readonly kind: string = "ExponentialLR";
  /** @param gamma the factor per step */
  constructor(
    optimizer: AnyOptimizer,
    private readonly gamma: number,
  ) {
    super(optimizer);
    check("ExponentialLR", arguments, "optimizer:any gamma:number");
  }
  rate(base: number, t: number): number {
    return base * this.gamma ** t;
  }
}

/**
 * Linear warm-up or decay: from base·startFactor to base·endFactor over totalIters steps, then constant.
 * @throws RangeError if totalIters is not a whole number above 0
 */
export class LinearLR extends LRScheduler {
  static override readonly kind: string = "LinearLR";
  /**
   * @param startFactor the initial factor, default 1/3
   * @param endFactor the final factor, default 1
   * @param totalIters the number of steps, default 5
   */
  constructor(
    optimizer: AnyOptimizer,
    private readonly startFactor = 1 / 3,
    private readonly endFactor = 1,
    private readonly totalIters = 5,
  ) {
    super(optimizer);
    check("LinearLR", arguments, "optimizer:any startFactor?:number endFactor?:number totalIters?:number");
    requireWhole("LinearLR", { totalIters });
    this.apply();
  }
  rate(base: number, t: number): number {
    if (t >= this.totalIters) return base * this.endFactor;
    return base * (this.startFactor + (this.endFactor - this.startFactor) * (t / this.totalIters));
  }
}

/** η_min + (base − η_min)·(1 + cos πt/T)/2. */
const cosine = (base: number, etaMin: number, fraction: number): number =>
  etaMin + ((base - etaMin) * (1 + Math.cos(Math.PI * fraction))) / 2;

/**
 * Cosine annealing from base to etaMin over tMax steps: etaMin + (base − etaMin)·(1 + cos(π·t/tMax))/2 (Loshchilov and
 * Hutter 2017, eq. 5).
 * @throws RangeError if tMax is not a whole number above 0
 */
export class CosineAnnealingLR extends LRScheduler {
  static override readonly kind: string = "CosineAnnealingLR";
  /** @param tMax the number of steps until the minimum @param etaMin the smallest rate, default 0 */
  constructor(
    optimizer: AnyOptimizer,
    private readonly tMax: number,
    private readonly etaMin = 0,
  ) {
    super(optimizer);
    check("CosineAnnealingLR", arguments, "optimizer:any tMax:number etaMin?:number");
    requireWhole("CosineAnnealingLR", { tMax });
  }
  rate(base: number, t: number): number {
    return cosine(base, this.etaMin, t / this.tMax);
  }
}

/**
 * Cosine annealing with warm restarts (Loshchilov and Hutter 2017): anneals over t0 steps, restarts, and makes each
 * further cycle tMult times as long as the one before.
 * @throws RangeError if t0 or tMult is not a whole number above 0
 */
export class CosineAnnealingWarmRestarts extends LRScheduler {
  static override readonly kind: string = "CosineAnnealingWarmRestarts";
  /**
   * @param t0 the number of steps in the first cycle
   * @param tMult the growth factor of the cycles, default 1
   * @param etaMin the smallest rate, default 0
   */
  constructor(
    optimizer: AnyOptimizer,
    private readonly t0: number,
    private readonly tMult = 1,
    private readonly etaMin = 0,
  ) {
    super(optimizer);
    check("CosineAnnealingWarmRestarts", arguments, "optimizer:any t0:number tMult?:number etaMin?:number");
    requireWhole("CosineAnnealingWarmRestarts", { t0, tMult });
  }
  rate(base: number, t: number): number {
    let [at, length] = [this.tMult === 1 ? t % this.t0 : t, this.t0];
    while (at >= length) {
      at -= length;
      length *= this.tMult;
    }
    return cosine(base, this.etaMin, at / length);
  }
}

/** Options for OneCycleLR. */
export interface OneCycleOptions {
  /** The number of steps in the cycle. Required, and must be above 0. */
  readonly totalSteps: number;
  /** The fraction of the steps during which the rate rises, between 0 and 1. Default 0.3. */
  readonly pctStart?: number;
  /** The shape of the curve in both phases. Default "cos". */
  readonly annealStrategy?: "cos" | "linear";
  /** The rate starts at maxLr/divFactor. The factor must be above 0. Default 25. */
  readonly divFactor?: number;
  /** The rate ends at maxLr/divFactor/finalDivFactor. The factor must be above 0. Default 1e4. */
  readonly finalDivFactor?: number;
}

/**
 * One cycle (Smith and Topin 2018): raises the rate to maxLr, then lowers it until the last of totalSteps steps, whose
 * rate is far below the initial rate. One more `step()` keeps that rate; the next one throws. Unlike PyTorch's default,
 * OneCycleLR does not change the momentum, because a new momentum would make compiled functions record again.
 * @throws RangeError for an invalid option, and if `step()` is called more than totalSteps times
 */
export class OneCycleLR extends LRScheduler {
  static override readonly kind: string = "OneCycleLR";
  private readonly options: Required<OneCycleOptions>;

  /** @param maxLr the highest rate, ≥ 0 */

  constructor(
    optimizer: AnyOptimizer,
    private readonly maxLr: number,
    options: OneCycleOptions,
  ) {
    super(optimizer);
    check(
      "OneCycleLR",
      arguments,
      "optimizer:any maxLr:number {totalSteps!:number pctStart:number annealStrategy:string divFactor:number finalDivFactor:number}",
    );
    this.options = {
      pctStart: 0.3,
      annealStrategy: "cos",
      divFactor: 25,
      finalDivFactor: 1e4,
      ...withoutUndefined(options),
    };
    requireWhole("OneCycleLR", { totalSteps: this.options.totalSteps });
    requireFraction("OneCycleLR", { pctStart: this.options.pctStart });
    requireRange("OneCycleLR", { maxLr }, (v) => v >= 0 && v < Infinity, "a number ≥ 0");
    const { annealStrategy, divFactor, finalDivFactor } = this.options;
    requireRange("OneCycleLR", { divFactor, finalDivFactor }, (v) => v > 0, "above 0");
    requireChoice("OneCycleLR", "annealStrategy", annealStrategy, ["cos", "linear"]);
    this.apply();
  }
  rate(_: number, t: number): number {
    const { totalSteps, pctStart, annealStrategy, divFactor, finalDivFactor } = this.options;
    if (t > totalSteps)
      throw new RangeError(`OneCycleLR: step ${t} is beyond totalSteps ${totalSteps}. Pass a larger totalSteps.`);
    const last = totalSteps - 1;
    const top = pctStart * totalSteps - 1;
    const now = Math.min(t, last);
    const start = this.maxLr / divFactor;
    const anneal = (from: number, to: number, fraction: number): number =>
      annealStrategy === "cos" ? cosine(from, to, fraction) : from + (to - from) * fraction;
    if (now <= top && top > 0) return anneal(start, this.maxLr, now / top);
    if (top >= last) return this.maxLr;
    // Return the exact last rate; the formula would round it.
    return now === last
      ? start / finalDivFactor
      : anneal(this.maxLr, start / finalDivFactor, (now - top) / (last - top));
  }
}
