/** Random settings for an experiment, the same on every run: values within the parameters' ranges, the ends of ranges, and 0. */
import type { AnyExperiment, Parameter } from "../../lab/experiment.ts";

/** A generator of numbers in [0, 1): a linear congruential generator (Numerical Recipes). */
export function uniform(seed: number): () => number {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/**
 * A random value of a parameter: 0 with a probability of 1/10 if the range contains it, and otherwise an end of the range with a
 * probability of 1/5.
 */
function draw(parameter: Parameter, random: () => number): string | number {
  if (parameter.kind === "choice") return parameter.options[Math.floor(random() * parameter.options.length)]!;
  const { min, max, integer, scale } = parameter;
  if (random() < 0.1 && min <= 0 && max >= 0) return 0;
  const share = random() < 0.2 ? Math.round(random()) : random();
  // On a logarithmic scale, rounding can move a value slightly outside the range.
  const value = Math.min(max, Math.max(min, scale === "log" ? min * (max / min) ** share : min + share * (max - min)));
  return integer ? Math.round(value) : value;
}

/** The first `count` of an experiment's random settings. */
export function settings({ parameters }: AnyExperiment, count: number): Record<string, string | number>[] {
  const random = uniform(17);
  return Array.from({ length: count }, () =>
    Object.fromEntries(Object.entries(parameters).map(([name, parameter]) => [name, draw(parameter, random)])),
  );
}
