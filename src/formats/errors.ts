/** The error of this folder, and how its messages quote. */
import { Error } from "../runtime/errors.ts";

/** A file that is malformed, damaged, hostile, or of another kind. Nothing was changed, and nothing is held. */
export class FormatError extends Error {
  override name = "FormatError";
}

/** A name in quotes, as messages show it. */
export function quote(name: string): string {
  const quoted = JSON.stringify(name);
  return quoted.length > 80 ? `${quoted.slice(0, 80)}…"` : quoted;
}
