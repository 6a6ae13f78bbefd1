/** Calling a function until the engine has compiled what it runs. */
import { tidy } from "./tensor.ts";

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
 * @param options milliseconds: when to stop in any case (default 500)
 * @returns how many calls there were, and what the first and the fastest took, in milliseconds
 */
export async function warmUp(
  f: () => unknown,
  { milliseconds = 500 }: { readonly milliseconds?: number } = {},
): Promise<{ calls: number; first: number; fastest: number }> {
  const end = performance.now() + milliseconds;
  const times: number[] = [];
  let best = Number.POSITIVE_INFINITY;
  do {
    const series: number[] = [];
    const isFirst = !times.length;
    for (let i = 0; i < SERIES && (isFirst || performance.now() < end); i++) {
      const start = performance.now();
      // Results are nobody's; a promise would outlive the scope.
      tidy(() => void f());
      series.push(performance.now() - start);
      times.push(series.at(-1)!);
    }
    // A turn of the event loop, in which what was compiled in the background arrives.
    await new Promise((resolve) => setTimeout(resolve));
    const least = Math.min(...series);
    if (times.length > 4 * SERIES && least > best * (1 - GAIN)) break;
    best = Math.min(best, least);
  } while (performance.now() < end);
  return { calls: times.length, first: times[0]!, fastest: Math.min(...times) };
}
