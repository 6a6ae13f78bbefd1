/** ReduceLROnPlateau: lowers the learning rate when a metric stops improving. */
import { check } from "../runtime/arguments.ts";
import { Error, requireRange } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import { withoutUndefined } from "../runtime/options.ts";
import { type AnyOptimizer, isNumber } from "./scheduler.ts";

/** Options for ReduceLROnPlateau. */
export interface PlateauOptions {
  /** "min" if smaller metrics are better, "max" if larger ones are. Default "min". */
  readonly mode?: "min" | "max";
  /** The factor by which the rates are multiplied, below 1. Default 0.1. */
  readonly factor?: number;
  /** The number of successive steps without improvement to tolerate. The next such step reduces the rates. Default 10. */
  readonly patience?: number;
  /** The smallest change that counts as an improvement. Default 1e-4. */
  readonly threshold?: number;
  /** "rel" if `threshold` is relative to the best metric, "abs" if it is absolute. Default "rel". */
  readonly thresholdMode?: "rel" | "abs";
  /** The number of steps after a reduction during which metrics do not count against `patience`. Default 0. */
  readonly cooldown?: number;
  /** The lower bound for the rates. Default 0. */
  readonly minLr?: number;
  /** Reductions of a rate by at most this amount are skipped. Default 1e-8. */
  readonly eps?: number;
}

/** The state of a ReduceLROnPlateau, as `stateDict` returns it. */
export interface PlateauState {
  /** The best metric so far; null before the first. */
  readonly best: number | null;
  /** The number of steps since the last improvement. */
  readonly bad: number;
  /** The number of steps left in the cooldown. */
  readonly cooling: number;
}

/**
 * Reduces the learning rates when a metric has stopped improving. Pass the metric to each `step()`.
 * @throws RangeError for an invalid option
 */
export class ReduceLROnPlateau {
  static readonly kind: string = "ReduceLROnPlateau";
  private readonly options: Required<PlateauOptions>;
  /** null before the first metric. */
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
      ...withoutUndefined(options),
    };
    const { mode, thresholdMode } = this.options;
    requireChoice("ReduceLROnPlateau", "mode", mode, ["min", "max"]);
    requireChoice("ReduceLROnPlateau", "thresholdMode", thresholdMode, ["rel", "abs"]);
    requireRange("ReduceLROnPlateau", { factor: this.options.factor }, (v) => v < 1, "below 1");
  }
  private isBetter(metric: number): boolean {
    const { mode, threshold, thresholdMode } = this.options;
    const { best } = this;
    if (best === null) return !Number.isNaN(metric);
    if (mode === "min") return metric < (thresholdMode === "rel" ? best * (1 - threshold) : best - threshold);
    return metric > (thresholdMode === "rel" ? best * (1 + threshold) : best + threshold);
  }
  /** Records a metric, and reduces the rates if the metric has not improved for more than `patience` steps. */
  step(metric: number): void {
    check("ReduceLROnPlateau.step", arguments, "metric:number");
    const { factor, patience, cooldown, minLr, eps } = this.options;
    if (this.isBetter(metric)) {
      this.best = metric;
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
  /** The best metric and counters, for saving. The optimizer saves the rates. */
  stateDict(): PlateauState {
    return { best: this.best, bad: this.bad, cooling: this.cooling };
  }
  /**
   * Loads a state. Does not set the rates, because loading the optimizer's state sets them.
   * @throws Error if the state is not that of a ReduceLROnPlateau
   */
  loadStateDict(state: PlateauState): void {
    this.checkState(state)();
  }
  /** Checks a saved state. @returns a function that loads the state and cannot fail @internal */
  checkState(state: PlateauState): () => void {
    const { best, bad, cooling } = state ?? {};
    if (!(best === null || isNumber(best)) || !isNumber(bad) || !isNumber(cooling))
      throw new Error("ReduceLROnPlateau: the saved state does not fit this schedule. Was it saved by this schedule?");
    return () => Object.assign(this, { best, bad, cooling });
  }
}
