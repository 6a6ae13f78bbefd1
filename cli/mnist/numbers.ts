/** Parses numbers in command-line options. */
import { InvalidArgumentError } from "commander";

/** A parser for integers in a range. @throws InvalidArgumentError */
export function whole(low: number, high = Number.MAX_SAFE_INTEGER): (text: string) => number {
  const range = high === Number.MAX_SAFE_INTEGER ? `of at least ${low}` : `from ${low} to ${high}`;
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high)
      throw new InvalidArgumentError(`Expected an integer ${range}.`);
    return value;
  };
}
