/** Limits how many requests are processed at once: each request takes a slot. */
import { unavailable } from "./problems.ts";

/** The slot of one request. It is released once, together with everything that was allocated for the request. */
export class Slot {
  #free: (() => void) | undefined;
  #isReleased = false;
  readonly #onRelease: (slot: Slot) => void;
  constructor(
    /** The time by which the request must have ended, in milliseconds like Date.now(). */
    readonly deadline: number,
    onRelease: (slot: Slot) => void,
  ) {
    this.#onRelease = onRelease;
  }
  get isReleased(): boolean {
    return this.#isReleased;
  }
  /**
   * Called when the slot is released, to free everything that was allocated for the request; called immediately if the
   * slot has already been released.
   */
  set onRelease(free: () => void) {
    if (this.#isReleased) free();
    else this.#free = free;
  }
  /** Releases the slot. Further calls have no effect. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#onRelease(this);
    this.#free?.();
  }
}

/**
 * A fixed number of slots. Slots past their deadline are reclaimed, because if a client disconnects, Workers stop the
 * request without running the code that releases its slot.
 */
export class Slots {
  readonly #taken = new Set<Slot>();
  readonly #count: number;
  readonly #milliseconds: number;
  constructor({ concurrency, milliseconds }: { readonly concurrency: number; readonly milliseconds: number }) {
    this.#count = concurrency;
    this.#milliseconds = milliseconds;
  }

  /** @throws Problem 503 if all slots are taken */
  requireFree(): void {
    const now = Date.now();
    for (const slot of this.#taken) if (now > slot.deadline) slot.release();
    if (this.#taken.size >= this.#count)
      throw unavailable(`The limit of concurrent requests (${this.#count}) has been reached. Try again later.`);
  }

  /** @throws Problem 503 if all slots are taken */
  take(): Slot {
    this.requireFree();
    // Loading and computing may each take the full time limit.
    const slot = new Slot(Date.now() + 2 * this.#milliseconds, (released) => this.#taken.delete(released));
    this.#taken.add(slot);
    return slot;
  }

  /** Runs `work` in a slot. @throws Problem 503 if all slots are taken */
  async run<T>(work: () => T | Promise<T>): Promise<T> {
    const slot = this.take();
    try {
      return await work();
    } finally {
      slot.release();
    }
  }
}
