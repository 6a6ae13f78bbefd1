/** Warms up a function: calls it until the JavaScript engine has optimized its kernels. */

import { check } from "../runtime/arguments.ts";
import { TypeError } from "../runtime/errors.ts";
import { tidy } from "./scope.ts";

/**
 * The number of calls in a group. Warm-up compares groups by their fastest call. The first group runs in the baseline
 * tier.
 */
const GROUP = 8;
/** Warm-up ends when a group's improvement over the best group so far is below this fraction. */
const GAIN = 0.1;

/**
 * Calls f until it stops getting faster, and lets the runtime compile between calls. The first calls to a kernel run in
 * the engine's baseline tier and take five to ten times as long as later ones. A server that warms up before it listens
 * serves its first requests at full speed.
 *
 * ```ts
 * await warmUp(() => model.forward(zeros([1, 784])));
 * ```
 * @param f the function to warm up; tensors that it makes are freed
 * @param options milliseconds: the time after which no more calls start (default 500)
 * @throws TypeError if f is asynchronous; rethrows f's errors
 * @returns the number of calls, and the times of the first and the fastest call in milliseconds
 */
export async function warmUp(
  f: () => unknown,
  options: {
    /** The time after which no more calls start, in milliseconds. Default 500. */
    readonly milliseconds?: number;
  } = {},
): Promise<{
  /** The number of calls. */
  calls: number;
  /** The time of the first call, in milliseconds. */
  first: number;
  /** The time of the fastest call, in milliseconds. */
  fastest: number;
}> {
  check("warmUp", arguments, "f:function {milliseconds:number}");
  const { milliseconds = 500 } = options;
  const end = performance.now() + milliseconds;
  const times: number[] = [];
  let best = Number.POSITIVE_INFINITY;
  do {
    const before = times.length;
    do {
      const start = performance.now();
      tidy(() => requireSettled(f()));
      times.push(performance.now() - start);
    } while (times.length < before + GROUP && performance.now() < end);
    // Let the event loop turn once, so that the engine can install code that it compiled in the background.
    await new Promise((resolve) => setTimeout(resolve));
    const least = Math.min(...times.slice(before));
    if (times.length > 4 * GROUP && least > best * (1 - GAIN)) break;
    best = Math.min(best, least);
  } while (performance.now() < end);
  return { calls: times.length, first: times[0]!, fastest: Math.min(...times) };
}

/** @throws TypeError if the result is a promise, because its work could not be timed */
function requireSettled(result: unknown): void {
  if (typeof (result as PromiseLike<unknown> | undefined)?.then === "function")
    throw new TypeError(
      "warmUp: f must be synchronous. Await its inputs first, and pass a function that only calls the model.",
    );
}
