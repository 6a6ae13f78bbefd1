/** The hash of the address, `#name?key=value&…`: the view, and the parameters that differ from their defaults. Pure functions. */
import type { Parameters } from "../experiment.ts";

export interface Address {
  readonly name: string;
  readonly given: Readonly<Record<string, string>>;
}

/** Parses a hash. Invalid percent encodings stay as they are. */
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
