/** Options that several commands take. */
import { InvalidArgumentError, Option } from "commander";

/** Parses a whole number in a range. */
export const whole =
  (low: number, high: number) =>
  (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high)
      throw new InvalidArgumentError(`It must be a whole number from ${low} to ${high}.`);
    return value;
  };

/** `--threads <n>`: what init takes. */
export const threadsOption = (): Option =>
  new Option("--threads <n>", 'threads to run on: a number, or "auto" for as many as there are cores')
    .default(1)
    .argParser((text) => (text === "auto" ? text : whole(1, 64)(text)));
