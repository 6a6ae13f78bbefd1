/** Cross-origin requests from browsers (https://fetch.spec.whatwg.org/#http-cors-protocol). Credentials stay off: tokens are headers. */
import { checkOptions } from "../../runtime/arguments.ts";
import { TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import type { Asked } from "./asked.ts";

/** Which pages may ask. */
export interface Cors {
  /** Origins such as "https://example.com", or "*" for all. */
  readonly origins: "*" | readonly string[];
  /** Request headers beyond Content-Type, Authorization and X-Request-Id. */
  readonly headers?: readonly string[];
  /** Seconds for which a browser may keep a preflight's answer. Default 600. */
  readonly maxAge?: number;
}

const OWN_HEADERS = ["content-type", "authorization", "x-request-id"];
const EXPOSED = "retry-after, www-authenticate, x-request-id";

/** Headers for a request, and whether it is a preflight, which is answered with them alone. */
export type CrossOrigin = (request: Asked) => {
  readonly headers: Record<string, string>;
  readonly isPreflight: boolean;
};

/** What a header's name consists of (RFC 9110, section 5.6.2). */
const HEADER = /^[\w!#$%&'*+.^`|~-]+$/;

/** @throws TypeError for an origin that no browser sends, a name that no header has, or an unknown option */
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
        `${what}: cors.origins has ${describe(wrong)}, which is not an origin. Write it as "https://example.com", without a path.`,
      );
  }
  if (!(Number.isInteger(maxAge) && maxAge >= 0))
    throw new TypeError(`${what}: cors.maxAge must be a whole number of seconds, got ${maxAge}. Use 600, for example.`);
  const unsendable = headers.find((name) => !HEADER.test(name));
  if (unsendable !== undefined)
    throw new TypeError(
      `${what}: cors.headers has ${describe(unsendable)}, which is not the name of a header. Write it as "x-user".`,
    );
  const allowed = [...OWN_HEADERS, ...headers].join(", ");

  return (request) => {
    const origin = request.headers.get("origin");
    const vary: Record<string, string> = origins === "*" ? {} : { vary: "origin" };
    if (origin === null || (origins !== "*" && !origins.includes(origin))) return { headers: vary, isPreflight: false };
    const own = { ...vary, "access-control-allow-origin": origins === "*" ? "*" : origin };
    if (request.method !== "OPTIONS" || request.headers.get("access-control-request-method") === null)
      return { headers: { ...own, "access-control-expose-headers": EXPOSED }, isPreflight: false };
    const preflight = {
      ...own,
      "access-control-allow-methods": "GET, HEAD, POST",
      "access-control-allow-headers": allowed,
      "access-control-max-age": String(maxAge),
    };
    return { headers: preflight, isPreflight: true };
  };
}
