/** SequentialLR: runs several schedules one after another. */
import { check, checkNone } from "../runtime/arguments.ts";
import { Error, RangeError } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import { checkLoad } from "./loadable.ts";
import { isCount, type LRScheduler, type SchedulerState } from "./scheduler.ts";

/** The state of a SequentialLR, as `stateDict` returns it. */
export interface SequentialState {
  /** The number of steps taken. */
  readonly lastEpoch: number;
  /** The state of each schedule. */
  readonly schedulers: readonly SchedulerState[];
}

/**
 * Runs schedules one after another: at each milestone, which is a number of steps, the next schedule begins at its own
 * step 0.
 * @throws RangeError unless milestones are increasing whole numbers above 0, with one fewer milestone than schedules
 */
export class SequentialLR {
  static readonly kind: string = "SequentialLR";
  /** The number of steps taken. */
  lastEpoch = 0;
  constructor(
    private readonly schedulers: readonly LRScheduler[],
    private readonly milestones: readonly number[],
  ) {
    check("SequentialLR", arguments, "schedulers:array milestones:numbers");
    if (milestones.some((at, i) => !Number.isInteger(at) || at <= (milestones[i - 1] ?? 0)))
      throw new RangeError(
        `SequentialLR: milestones must be increasing whole numbers above 0, got [${milestones.join(", ")}].`,
      );
    if (schedulers.length !== milestones.length + 1)
      throw new RangeError(
        `SequentialLR: ${schedulers.length} schedules need ${schedulers.length - 1} milestones, got ${milestones.length}.`,
      );
    this.begin(0);
  }
  /** Starts a schedule at its step 0. */
  private begin(index: number): void {
    const scheduler = this.schedulers[index]!;
    scheduler.loadStateDict({ ...scheduler.stateDict(), lastEpoch: 0 });
  }
  /** The index of the schedule that is active at a step. */
  private indexAt(step: number): number {
    return this.milestones.filter((at) => at <= step).length;
  }
  /** Advances by one step and sets every group's learning rate. */
  step(): void {
    checkNone(`${kindOf(this)}.step`, arguments);
    const next = this.lastEpoch + 1;
    const index = this.indexAt(next);
    if (index && this.milestones[index - 1] === next) this.begin(index);
    else this.schedulers[index]!.step();
    this.lastEpoch = next;
  }
  /** The step and the state of each schedule, for saving. */
  stateDict(): SequentialState {
    return { lastEpoch: this.lastEpoch, schedulers: this.schedulers.map((scheduler) => scheduler.stateDict()) };
  }
  /**
   * Loads a state and sets the rates. Checks everything first, so an error changes nothing.
   * @throws Error if the state does not fit the schedules
   */
  loadStateDict(state: SequentialState): void {
    this.checkState(state)();
  }
  /** Checks a saved state. @returns a function that loads the state and cannot fail @internal */
  checkState(state: SequentialState): () => void {
    const { lastEpoch, schedulers } = state ?? {};
    if (!isCount(lastEpoch) || !Array.isArray(schedulers) || schedulers.length !== this.schedulers.length)
      throw new Error(
        `SequentialLR: the saved state does not fit this schedule. Was it saved by a SequentialLR with ${this.schedulers.length} schedules?`,
      );
    const loads = this.schedulers.map((scheduler, i) => checkLoad(scheduler, schedulers[i]!));
    return () => {
      this.lastEpoch = lastEpoch;
      for (const load of loads) load();
      // Load the active schedule last, because each load sets the rates.
      loads[this.indexAt(lastEpoch)]!();
    };
  }
}
