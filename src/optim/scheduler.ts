/** The base class of learning-rate schedules. */
import { check, checkNone } from "../runtime/arguments.ts";
import { Error } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import type { Optimizer } from "./optimizer.ts";
import { checkRate } from "./paramGroup.ts";

// biome-ignore lint/suspicious/noExplicitAny: schedules accept an optimizer with any options
export type AnyOptimizer = Optimizer<any, any>;

/** The state of a schedule, as `stateDict` returns it. */
export type SchedulerState = Readonly<Record<string, number | readonly number[]>>;

export const isNumber = (v: unknown): v is number => typeof v === "number" && !Number.isNaN(v);
export const isCount = (v: unknown): v is number => Number.isInteger(v) && (v as number) >= 0;

/** The learning rate of each group before its first schedule. */
const initialRates = new WeakMap<object, number>();

/**
 * Base class of schedules, which compute a learning rate for each step from the rate that each group had before its first schedule.
 * Call `step()` after the optimizer's step. Compiled steps read the rate from memory, so they are not recorded again.
 */
export abstract class LRScheduler {
  /** The class's name for errors, which minifiers do not change. */
  static readonly kind: string = "LRScheduler";
  /** The number of steps taken. */
  lastEpoch = 0;
  private bases: readonly number[];

  constructor(protected readonly optimizer: AnyOptimizer) {
    check(kindOf(this), arguments, "optimizer:optimizer");
    this.bases = optimizer.paramGroups.map((group) => {
      const base = initialRates.get(group) ?? group.lr;
      initialRates.set(group, base);
      return base;
    });
  }

  /** The learning rate at step t ≥ 0 of a group with the initial rate `base`. */
  abstract rate(base: number, t: number): number;

  /** Advances by one step and sets every group's learning rate. @throws RangeError if a rate is negative or not finite */
  step(): void {
    checkNone(`${kindOf(this)}.step`, arguments);
    // For a group that was added after the schedule was created, the base rate is the group's current rate.
    const bases = this.optimizer.paramGroups.map((group, i) => this.bases[i] ?? group.lr);
    this.plan(this.lastEpoch + 1, bases)();
  }
  /** Sets the rates of the current step. */
  protected apply(): void {
    this.plan(this.lastEpoch, this.bases)();
  }
  /** Computes the rates of step t from each group's base. @returns a function that sets the rates and cannot fail */
  private plan(t: number, bases: readonly number[]): () => void {
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
  /** Each group's current learning rate. */
  getLastLr(): number[] {
    return this.optimizer.paramGroups.map(({ lr }) => lr);
  }
  /** The step and base rates, for saving. */
  stateDict(): SchedulerState {
    return { lastEpoch: this.lastEpoch, bases: this.bases };
  }
  /**
   * Loads a state and sets the rates. Checks everything first, so an error changes nothing.
   * @throws Error if the state does not fit the schedule
   */
  loadStateDict(state: SchedulerState): void {
    this.checkState(state)();
  }
  /** Checks a saved state. @returns a function that loads the state and cannot fail @internal */
  checkState(state: SchedulerState): () => void {
    const { lastEpoch, bases } = state ?? {};
    const groups = this.optimizer.paramGroups.length;
    const isComplete = isCount(lastEpoch) && Array.isArray(bases) && bases.length > 0 && bases.length <= groups;
    if (!isComplete || !bases.every(isNumber))
      throw new Error(
        `${kindOf(this)}: the saved state does not fit this schedule. Was it saved by this schedule, for this optimizer?`,
      );
    return this.plan(lastEpoch, bases);
  }
}
