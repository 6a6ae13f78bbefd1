/**
 * Random generators for training runs that take turns or pause. Each generator continues where it stopped, even if
 * other code has drawn random numbers in between.
 */
import { manualSeed, randomState, setRandomState } from "nabla";

/** Runs a function with a random generator of its own. */
export type Generator = <T>(run: () => T) => T;

/** A generator that starts from a seed, or from a state that `randomState` returned. */
export function generator(start: number | Uint32Array): Generator {
  let state = start;
  return (run) => {
    if (typeof state === "number") manualSeed(state);
    else setRandomState(state);
    const result = run();
    state = randomState();
    return result;
  };
}

/** A generator that continues from the state of another generator, which does not advance. */
export const fork = (random: Generator): Generator => generator(random(randomState));
