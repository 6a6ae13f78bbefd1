/**
 * Pure functions that read and write the address's hash, `#name?key=value&…`: the name of a part of the page, and the
 * parameters that differ from their defaults.
 */
import type { Parameters } from "../experiment.ts";

export interface Address {
  readonly name: string;
  readonly given: Readonly<Record<string, string>>;
}

/** Parses a hash. Leaves a name with an invalid percent encoding undecoded. */
export function readHash(hash: string): Address {
  const [name = "", ...query] = hash.replace(/^#/, "").split("?");
  return { name: decode(name), given: Object.fromEntries(new URLSearchParams(query.join("?"))) };
}

/** Writes a hash that `readHash` can read. */
export function hashOf(
  name: string,
  parameters: Parameters,
  values: Readonly<Record<string, string | number>>,
): string {
  const changed = Object.entries(values).filter(([key, value]) => value !== parameters[key]?.default);
  const query = new URLSearchParams(changed.map(([key, value]) => [key, String(value)])).toString();
  return `#${encodeURIComponent(name)}${query && `?${query}`}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
