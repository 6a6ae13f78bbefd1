/** FormatError, and a function that quotes names in its messages. */
import { Error } from "../runtime/errors.ts";

/**
 * Thrown if a file is malformed, damaged or in another format. Functions that throw it create and change no tensors.
 */
export class FormatError extends Error {
  override name = "FormatError";
}

/** A name in quotes, shortened to about 80 characters. */
export function quote(name: string): string {
  const quoted = JSON.stringify(name);
  return quoted.length > 80 ? `${quoted.slice(0, 80)}…"` : quoted;
}
