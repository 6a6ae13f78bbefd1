/**
 * Learning rates over time. Names, arguments and values are PyTorch's, but each schedule says what the rate *is*: two on one optimizer
 * do not multiply, the last to step counts (SequentialLR puts them one after the other). A step is whatever the caller counts.
 */
import { check, checkNone } from "../runtime/arguments.ts";
import { Error, RangeError, requireFraction, requireRange, requireWhole } from "../runtime/errors.ts";
import { kindOf, requireKind } from "../runtime/kinds.ts";
import { requireChoice } from "../runtime/names.ts";
import { checked } from "./loadable.ts";
import { checkRate, given, type Optimizer } from "./optimizer.ts";

// biome-ignore lint/suspicious/noExplicitAny: any optimizer has rates
type AnyOptimizer = Optimizer<any, any>;

/** What stateDict returns: numbers alone. */
export type SchedulerState = Readonly<Record<string, number | readonly number[]>>;

const isNumber = (v: unknown): v is number => typeof v === "number" && !Number.isNaN(v);
const isCount = (v: unknown): v is number => Number.isInteger(v) && (v as number) >= 0;

/** Rates that groups had before any schedule. */
const initial = new WeakMap<object, number>();

/**
 * The base of schedules: a rate for each step, from each group's rate before its first schedule. Call `step()` after the optimizer's. Rates live
 * in memory, so that compiled steps are not recorded anew.
 */
export abstract class LRScheduler {
  /** What it is, whatever a minifier makes of the class's name. */
  static readonly kind: string = "LRScheduler";
  /** Steps taken. */
  lastEpoch = 0;
  private bases: readonly number[];

  constructor(protected readonly optimizer: AnyOptimizer) {
    check(kindOf(this), arguments, "optimizer:optimizer");
    this.bases = optimizer.paramGroups.map((group) => {
      const base = initial.get(group) ?? group.lr;
      initial.set(group, base);
      return base;
    });
  }

  /** The rate at step t of a group whose rate at the start was `base`. */
  abstract rate(base: number, t: number): number;

  /** Sets the rates of the next step. */
  step(): void {
    checkNone(`${kindOf(this)}.step`, arguments);
    // A group that was added later joins with the rate it has now as its base.
    const bases = this.optimizer.paramGroups.map((group, i) => this.bases[i] ?? group.lr);
    this.planned(this.lastEpoch + 1, bases)();
  }
  protected apply(): void {
    this.planned(this.lastEpoch, this.bases)();
  }
  /** The rates of step t, of the groups whose bases are given. @returns what sets them */
  private planned(t: number, bases: readonly number[]): () => void {
    const rates = bases.map((base) => this.rate(base, t));
    for (const rate of rates) checkRate(kindOf(this), rate);
    return () => {
      this.bases = bases;
      this.lastEpoch = t;
      rates.forEach((rate, i) => {
        this.optimizer.paramGroups[i]!.lr = rate;
      });
    };
  }
  /** The rates now. */
  getLastLr(): number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }
  /** The number of steps taken, for loadStateDict. */
  stateDict(): SchedulerState {
    return { lastEpoch: this.lastEpoch, bases: this.bases };
  }
  /** Loads a state, and sets the rates. Everything is checked before anything is changed. @throws Error where it does not fit */
  loadStateDict(state: SchedulerState): void {
    this.checkState(state)();
  }
  /** Checks a state. @returns what takes it over, and cannot fail @internal */
  checkState(state: SchedulerState): () => void {
    const { lastEpoch, bases } = state ?? {};
    const groups = this.optimizer.paramGroups.length;
    const isWhole = isCount(lastEpoch) && Array.isArray(bases) && bases.length > 0 && bases.length <= groups;
    if (!isWhole || !bases.every(isNumber))
      throw new Error(`${kindOf(this)}: the state is not that of a schedule with ${groups} groups.`);
    return this.planned(lastEpoch, bases);
  }
}

/** Any function of the step, times each group's rate: `(t) => 1 / (1 + t)`. */
export class LambdaLR extends LRScheduler {
  static override readonly kind: string = "LambdaLR";
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

/** Times gamma every stepSize steps. */
export class StepLR extends LRScheduler {
  static override readonly kind: string = "StepLR";
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

/** Times gamma at every step. */
export class ExponentialLR extends LRScheduler {
  static override readonly kind: string = "ExponentialLR";
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

/** Warm-up: from startFactor of the rate to endFactor of it within totalIters steps, then constant. */
export class LinearLR extends LRScheduler {
  static override readonly kind: string = "LinearLR";
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
const cosine = (base: number, least: number, part: number): number =>
  least + ((base - least) * (1 + Math.cos(Math.PI * part))) / 2;

/** Down to etaMin along half a cosine within tMax steps (Loshchilov and Hutter 2017, without restarts). */
export class CosineAnnealingLR extends LRScheduler {
  static override readonly kind: string = "CosineAnnealingLR";
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

/** Down along half a cosine within t0 steps, then anew within tMult times as many, and so on (Loshchilov and Hutter 2017). */
export class CosineAnnealingWarmRestarts extends LRScheduler {
  static override readonly kind: string = "CosineAnnealingWarmRestarts";
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

/** Options of OneCycleLR. */
export interface OneCycleOptions {
  /** The number of steps in the cycle. */
  readonly totalSteps: number;
  /** Part of the steps in which the rate rises. Default 0.3. */
  readonly pctStart?: number;
  /** How the rate goes from one value to the next. Default "cos". */
  readonly annealStrategy?: "cos" | "linear";
  /** The rate starts at maxLr/divFactor. Default 25. */
  readonly divFactor?: number;
  /** And ends at that, divided by finalDivFactor. Default 1e4. */
  readonly finalDivFactor?: number;
}

/**
 * Up to maxLr, then down far below the start (Smith and Topin 2018), where it is for the last of totalSteps. The call of `step()` after
 * that one keeps this rate; the next throws. Momentum stays as it is (PyTorch cycles it by default): it is part of what compile
 * records.
 */
export class OneCycleLR extends LRScheduler {
  static override readonly kind: string = "OneCycleLR";
  private readonly options: Required<OneCycleOptions>;

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
    this.options = { pctStart: 0.3, annealStrategy: "cos", divFactor: 25, finalDivFactor: 1e4, ...given(options) };
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
      throw new RangeError(`OneCycleLR: step ${t} of ${totalSteps}. Give it as many totalSteps as there are.`);
    const last = totalSteps - 1;
    const top = pctStart * totalSteps - 1;
    const now = Math.min(t, last);
    const start = this.maxLr / divFactor;
    const between = (from: number, to: number, part: number): number =>
      annealStrategy === "cos" ? cosine(from, to, part) : from + (to - from) * part;
    if (now <= top && top > 0) return between(start, this.maxLr, now / top);
    if (top >= last) return this.maxLr;
    // Exactly there at the end, which sums of rounded parts would miss.
    return now === last
      ? start / finalDivFactor
      : between(this.maxLr, start / finalDivFactor, (now - top) / (last - top));
  }
}

/** One schedule after the other: the next begins, at its own step 0, at each milestone. */
export class SequentialLR {
  static readonly kind: string = "SequentialLR";
  /** Steps taken so far, over all schedules. */
  lastEpoch = 0;
  constructor(
    private readonly schedulers: readonly LRScheduler[],
    private readonly milestones: readonly number[],
  ) {
    check("SequentialLR", arguments, "schedulers:array milestones:numbers");
    if (milestones.some((at, i) => !Number.isInteger(at) || at <= (milestones[i - 1] ?? 0)))
      throw new RangeError(
        `SequentialLR: milestones are [${milestones.join(", ")}], but must be rising whole numbers above 0.`,
      );
    if (schedulers.length !== milestones.length + 1)
      throw new RangeError(
        `SequentialLR: ${schedulers.length} schedules need ${schedulers.length - 1} milestones, but there are ${milestones.length}.`,
      );
    this.begin(0);
  }
  /** Every schedule takes its first step when its time comes. */
  private begin(which: number): void {
    const scheduler = this.schedulers[which]!;
    scheduler.loadStateDict({ ...scheduler.stateDict(), lastEpoch: 0 });
  }
  /** Moves the schedule whose turn it is by one step. */
  step(): void {
    checkNone(`${kindOf(this)}.step`, arguments);
    const next = this.lastEpoch + 1;
    const which = this.milestones.filter((at) => at <= next).length;
    if (which && this.milestones[which - 1] === next) this.begin(which);
    else this.schedulers[which]!.step();
    this.lastEpoch = next;
  }
  /** The number of steps taken and the state of each schedule, for loadStateDict. */
  stateDict(): {
    /** Steps taken, over all schedules. */
    readonly lastEpoch: number;
    /** The state of each schedule. */
    readonly schedulers: readonly SchedulerState[];
  } {
    return { lastEpoch: this.lastEpoch, schedulers: this.schedulers.map((scheduler) => scheduler.stateDict()) };
  }
  /** Loads a state, and sets the rates. Everything is checked before anything is changed. @throws Error where it does not fit */
  loadStateDict(state: ReturnType<SequentialLR["stateDict"]>): void {
    this.checkState(state)();
  }
  /** @internal */
  checkState(state: ReturnType<SequentialLR["stateDict"]>): () => void {
    const { lastEpoch, schedulers } = state ?? {};
    if (!isCount(lastEpoch) || !Array.isArray(schedulers) || schedulers.length !== this.schedulers.length)
      throw new Error(`SequentialLR: the state is not that of ${this.schedulers.length} schedules.`);
    const takes = this.schedulers.map((scheduler, i) => checked(scheduler, schedulers[i]!));
    const which = this.milestones.filter((at) => at <= lastEpoch).length;
    return () => {
      this.lastEpoch = lastEpoch;
      for (const take of takes) take();
      // The one at work last: its rates hold.
      takes[which]!();
    };
  }
}

/** Options of ReduceLROnPlateau. */
export interface PlateauOptions {
  /** Whether the value is to fall ("min", default) or rise. */
  readonly mode?: "min" | "max";
  /** What rates are multiplied by. Default 0.1. */
  readonly factor?: number;
  /** Steps without improvement that are borne. Default 10. */
  readonly patience?: number;
  /** How much better counts: relatively ("rel", default) or by itself. Default 1e-4. */
  readonly threshold?: number;
  /** Whether threshold is a share of the best value ("rel") or a distance from it ("abs"). Default "rel". */
  readonly thresholdMode?: "rel" | "abs";
  /** Steps after a reduction that count for nothing. Default 0. */
  readonly cooldown?: number;
  /** The rate does not fall below this. Default 0. */
  readonly minLr?: number;
  /** Smaller changes of a rate are not made. Default 1e-8. */
  readonly eps?: number;
}

/** Reduces the rates when a value, given to `step`, has stopped improving. */
export class ReduceLROnPlateau {
  static readonly kind: string = "ReduceLROnPlateau";
  private readonly options: Required<PlateauOptions>;
  /** None before the first value. */
  private best: number | null = null;
  private bad = 0;
  private cooling = 0;

  constructor(
    private readonly optimizer: AnyOptimizer,
    options: PlateauOptions = {},
  ) {
    check(
      "ReduceLROnPlateau",
      arguments,
      "optimizer:optimizer {mode:string factor:number patience:number threshold:number thresholdMode:string cooldown:number minLr:number eps:number}",
    );
    this.options = {
      ...{
        mode: "min",
        factor: 0.1,
        patience: 10,
        threshold: 1e-4,
        thresholdMode: "rel",
        cooldown: 0,
        minLr: 0,
        eps: 1e-8,
      },
      ...given(options),
    };
    const { mode, thresholdMode } = this.options;
    requireChoice("ReduceLROnPlateau", "mode", mode, ["min", "max"]);
    requireChoice("ReduceLROnPlateau", "thresholdMode", thresholdMode, ["rel", "abs"]);
    requireRange("ReduceLROnPlateau", { factor: this.options.factor }, (v) => v < 1, "below 1");
  }
  private isBetter(value: number): boolean {
    const { mode, threshold, thresholdMode } = this.options;
    const { best } = this;
    if (best === null) return !Number.isNaN(value);
    if (mode === "min") return value < (thresholdMode === "rel" ? best * (1 - threshold) : best - threshold);
    return value > (thresholdMode === "rel" ? best * (1 + threshold) : best + threshold);
  }
  /** Takes the watched value of an epoch, and lowers the rate if it has not improved for `patience` epochs. */
  step(value: number): void {
    check("ReduceLROnPlateau.step", arguments, "value:number");
    const { factor, patience, cooldown, minLr, eps } = this.options;
    if (this.isBetter(value)) {
      this.best = value;
      this.bad = 0;
    } else this.bad++;
    if (this.cooling > 0) {
      this.cooling--;
      this.bad = 0;
    }
    if (this.bad <= patience) return;
    for (const group of this.optimizer.paramGroups) {
      const next = Math.max(group.lr * factor, minLr);
      if (group.lr - next > eps) group.lr = next;
    }
    this.cooling = cooldown;
    this.bad = 0;
  }
  /** The best value and the counts of epochs, for loadStateDict. */
  stateDict(): Readonly<Record<"bad" | "cooling", number>> & {
    /** The best value so far; null before the first step. */
    readonly best: number | null;
  } {
    return { best: this.best, bad: this.bad, cooling: this.cooling };
  }
  /** Loads a state; rates are the optimizer's to save. @throws Error where it does not fit */
  loadStateDict(state: ReturnType<ReduceLROnPlateau["stateDict"]>): void {
    this.checkState(state)();
  }
  /** @internal */
  checkState(state: ReturnType<ReduceLROnPlateau["stateDict"]>): () => void {
    const { best, bad, cooling } = state ?? {};
    if (!(best === null || isNumber(best)) || !isNumber(bad) || !isNumber(cooling))
      throw new Error("ReduceLROnPlateau: the state is another schedule's.");
    return () => Object.assign(this, { best, bad, cooling });
  }
}
