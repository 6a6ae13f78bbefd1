/**
 * Allows cross-origin requests from browsers (https://fetch.spec.whatwg.org/#http-cors-protocol). Pages cannot send
 * cookies, but they can send tokens in a header.
 */
import { checkOptions } from "../../runtime/arguments.ts";
import { TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import type { HandlerRequest } from "./request.ts";

/** The web pages that may call the function from a browser. */
export interface Cors {
  /** The allowed origins, such as `["https://example.com"]`, or "*" for all. Required. */
  readonly origins: "*" | readonly string[];
  /** Request headers that pages may send in addition to Content-Type, Authorization and X-Request-Id. Default none. */
  readonly headers?: readonly string[];
  /** How long a browser may cache the response to a preflight request, in seconds. Default 600. */
  readonly maxAge?: number;
}

const OWN_HEADERS = ["content-type", "authorization", "x-request-id"];
const EXPOSED = "retry-after, www-authenticate, x-request-id";

/** Finds the headers to add to a response, and whether the request is a preflight. The response to a preflight has no body. */
export type CrossOrigin = (request: HandlerRequest) => {
  readonly headers: Record<string, string>;
  readonly isPreflight: boolean;
};

/** A valid header name (RFC 9110, section 5.6.2). */
const HEADER = /^[\w!#$%&'*+.^`|~-]+$/;

/** @throws TypeError if browsers cannot send an origin or a header, or if an option is unknown */
export function crossOrigin(what: string, cors: Cors): CrossOrigin {
  checkOptions(`${what}: cors`, cors, "{origins:any headers:strings maxAge:number}");
  const { origins, headers = [], maxAge = 600 } = cors;
  const isOrigin = (origin: unknown): boolean => {
    try {
      return typeof origin === "string" && new URL(origin).origin === origin;
    } catch {
      return false;
    }
  };
  if (origins !== "*") {
    if (!Array.isArray(origins))
      throw new TypeError(`${what}: cors.origins must be "*" or an array of origins, got ${describe(origins)}.`);
    const wrong = origins.find((origin) => !isOrigin(origin));
    if (wrong !== undefined)
      throw new TypeError(
        `${what}: cors.origins must contain origins such as "https://example.com", without a path, got ${describe(wrong)}.`,
      );
  }
  if (!(Number.isInteger(maxAge) && maxAge >= 0))
    throw new TypeError(`${what}: cors.maxAge must be a whole number of seconds, got ${maxAge}. Use 600, for example.`);
  const unsendable = headers.find((name) => !HEADER.test(name));
  if (unsendable !== undefined)
    throw new TypeError(
      `${what}: cors.headers must contain header names such as "x-user", got ${describe(unsendable)}.`,
    );
  const allowed = [...OWN_HEADERS, ...headers].join(", ");

  return (request) => {
    const origin = request.header("origin");
    const vary: Record<string, string> = origins === "*" ? {} : { vary: "origin" };
    if (origin === null || (origins !== "*" && !origins.includes(origin))) return { headers: vary, isPreflight: false };
    const common = { ...vary, "access-control-allow-origin": origins === "*" ? "*" : origin };
    if (request.method !== "OPTIONS" || request.header("access-control-request-method") === null)
      return { headers: { ...common, "access-control-expose-headers": EXPOSED }, isPreflight: false };
    const preflight = {
      ...common,
      "access-control-allow-methods": "GET, HEAD, POST",
      "access-control-allow-headers": allowed,
      "access-control-max-age": String(maxAge),
    };
    return { headers: preflight, isPreflight: true };
  };
}
