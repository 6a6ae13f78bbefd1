/** Calling a function until the engine has compiled what it runs. */

import { check } from "../runtime/arguments.ts";
import { TypeError } from "../runtime/errors.ts";
import { tidy } from "./scope.ts";

/** Calls that are looked at together: the first of them all run in the baseline tier. */
const SERIES = 8;
/** A series that is not faster than the last by this part has arrived. */
const GAIN = 0.1;

/**
 * Calls f until it no longer gets faster, and lets the runtime compile in between. A kernel's first calls run in the engine's baseline tier,
 * five to ten times as slow as the later ones: a server that warms up before it listens spares its first clients that.
 *
 * ```ts
 * await warmUp(() => model.forward(zeros([1, 784])));
 * ```
 * @param f what is to be fast; tensors that it makes are freed
 * @param options milliseconds: after how long no further call begins (default 500)
 * @throws TypeError where f is asynchronous, and whatever it throws
 * @returns how many calls there were, and what the first and the fastest took, in milliseconds
 */
export async function warmUp(
  f: () => unknown,
  options: {
    /** How long to call the function at most, in milliseconds. Default 500. */
    readonly milliseconds?: number;
  } = {},
): Promise<{
  /** How often the function was called. */
  calls: number /** The time of the first call, in milliseconds. */;
  first: number /** The time of the fastest call, in milliseconds. */;
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
      tidy(() => requireResult(f()));
      times.push(performance.now() - start);
    } while (times.length < before + SERIES && performance.now() < end);
    // A turn of the event loop, in which what was compiled in the background arrives.
    await new Promise((resolve) => setTimeout(resolve));
    const least = Math.min(...times.slice(before));
    if (times.length > 4 * SERIES && least > best * (1 - GAIN)) break;
    best = Math.min(best, least);
  } while (performance.now() < end);
  return { calls: times.length, first: times[0]!, fastest: Math.min(...times) };
}

/** Promises would go on where nobody looks. @throws TypeError */
function requireResult(result: unknown): void {
  if (typeof (result as PromiseLike<unknown> | undefined)?.then === "function")
    throw new TypeError(
      "warmUp: the function is asynchronous. Await what it needs before, and give one that calls the model alone.",
    );
}
