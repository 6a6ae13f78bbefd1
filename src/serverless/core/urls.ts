/** Builds URLs from the path and the host that a client sent. Other files must not build URLs from them. */
import { Problem } from "./problems.ts";
import type { HandlerRequest } from "./request.ts";

export const invalidTarget = (): Problem =>
  new Problem(400, "The request's method, URL or Host header is invalid. Correct it.");

/**
 * Parses a URL.
 * @throws Problem 400 if the URL is invalid, or contains a user name or a password, which a web Request cannot have
 */
export function readUrl(text: () => string): URL {
  let url: URL | undefined;
  try {
    url = new URL(text());
  } catch {}
  if (!url || url.username || url.password) throw invalidTarget();
  return url;
}

/**
 * A host name or an address, with an optional port. None of the allowed characters can end the host and start a path.
 */
const HOST = /^[\w.:[\]-]+$/;

/**
 * Checks the Host header, and returns the URL of a request. Runtimes build the URL from the Host header even if the
 * header is invalid, and some do so only when the URL is read.
 * @throws Problem 400
 */
export function urlOf(request: HandlerRequest): URL {
  const host = request.header("host");
  if (host && !HOST.test(host)) throw invalidTarget();
  return readUrl(() => request.url);
}

/** The URL of a path with its query, on the host that the client sent. @throws Problem 400 */
export function urlAt(protocol: "http" | "https", host: string, path: string): URL {
  if (!HOST.test(host)) throw invalidTarget();
  return readUrl(() => `${protocol}://${host}${path}`);
}
