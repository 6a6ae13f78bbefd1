/**
 * Cuts long work into short slices. The event loop runs between slices, so other requests are served and disconnects
 * are noticed.
 */

/** The length of a slice in milliseconds, unless one step takes longer. */
const SLICE = 10;
/** The maximum number of steps in a slice. */
const MAX_STEPS = 256;
/** The maximum number of steps if the clock does not advance: in Workers, the clock stands still during computation. */
const MAX_STEPS_UNTIMED = 16;

/** Resolves after one turn of the event loop, which processes timers, sockets and messages. */
export const nextTurn: () => Promise<void> =
  typeof setImmediate === "function"
    ? () => new Promise((resolve) => setImmediate(resolve))
    : () => new Promise((resolve) => setTimeout(resolve, 0));

/** Runs steps in slices, and adapts the number of steps per slice to the time that they take. */
export class Slicer {
  #steps = 1;

  /** Runs steps until `step` returns false or the slice is full, then lets the event loop run. */
  async slice(step: () => boolean): Promise<void> {
    const started = performance.now();
    let taken = 0;
    while (taken < this.#steps) {
      taken++;
      if (!step() || performance.now() - started >= SLICE) break;
    }
    await nextTurn();
    // By now, even a clock that stands still during computation has advanced.
    const elapsed = performance.now() - started;
    const maxSteps = elapsed > 0 ? MAX_STEPS : MAX_STEPS_UNTIMED;
    const fitting = elapsed > 0 ? Math.floor((taken * SLICE) / elapsed) : maxSteps;
    this.#steps = Math.max(1, Math.min(2 * this.#steps, fitting, maxSteps));
  }
}
