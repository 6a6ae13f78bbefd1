/** Cuts long work into short slices, between which the event loop runs: other requests are answered, and clients that leave are noticed. */

/** Milliseconds of a slice, where steps are not longer. */
const SLICE = 10;
/** Steps in a slice, at most: clocks of Workers stand still while they compute. */
const MOST = 256;
/** As many where the clock says nothing. */
const MOST_UNTIMED = 16;

/** Settles after the event loop has gone round: timers, sockets and messages were looked at. */
export const turn: () => Promise<void> =
  typeof setImmediate === "function"
    ? () => new Promise((resolve) => setImmediate(resolve))
    : () => new Promise((resolve) => setTimeout(resolve, 0));

/** Finds how many steps make a slice. */
export class Pace {
  #steps = 1;

  /** Steps until there is no more or the slice is full, then lets the event loop run. `step` tells whether there is more. */
  async slice(step: () => boolean): Promise<void> {
    const began = performance.now();
    let taken = 0;
    while (taken < this.#steps) {
      taken++;
      if (!step() || performance.now() - began >= SLICE) break;
    }
    await turn();
    // Where the clock moves between slices only, it has moved by now.
    const elapsed = performance.now() - began;
    const most = elapsed > 0 ? MOST : MOST_UNTIMED;
    const fitting = elapsed > 0 ? Math.floor((taken * SLICE) / elapsed) : most;
    this.#steps = Math.max(1, Math.min(2 * this.#steps, fitting, most));
  }
}
