/** The address's hash: `#name?key=value&…`, which view it asks for, and the parameters that are not as by default. Pure. */
import type { Parameters } from "../experiment.ts";

export interface Address {
  readonly name: string;
  readonly given: Readonly<Record<string, string>>;
}

/** What a hash asks for; what is no percent encoding stands for itself. */
export function readHash(hash: string): Address {
  const [name = "", ...query] = hash.replace(/^#/, "").split("?");
  return { name: decoded(name), given: Object.fromEntries(new URLSearchParams(query.join("?"))) };
}

/** The hash that `readHash` reads. */
export function hashOf(
  name: string,
  parameters: Parameters,
  values: Readonly<Record<string, string | number>>,
): string {
  const turned = Object.entries(values).filter(([key, value]) => value !== parameters[key]?.default);
  const query = new URLSearchParams(turned.map(([key, value]) => [key, String(value)])).toString();
  return `#${encodeURIComponent(name)}${query && `?${query}`}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
