/** Numbers on command lines. */
import { InvalidArgumentError } from "commander";

/** A parser of whole numbers in a range. @throws InvalidArgumentError */
export function whole(low: number, high = Number.MAX_SAFE_INTEGER): (text: string) => number {
  const range = high === Number.MAX_SAFE_INTEGER ? `of ${low} or more` : `from ${low} to ${high}`;
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < low || value > high)
      throw new InvalidArgumentError(`It must be a whole number ${range}.`);
    return value;
  };
}
