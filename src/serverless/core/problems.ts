/** Errors as clients see them: application/problem+json (RFC 9457). The detail names the remedy; no stack, no path, nothing internal. */

import { Error } from "../../runtime/errors.ts";
import { Reply } from "./asked.ts";

const titles = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  408: "Request Timeout",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  500: "Internal Server Error",
  503: "Service Unavailable",
} as const;

/** What is answered instead of a result. Thrown wherever it is noticed, answered by the router. */
export class Problem extends Error {
  override name = "Problem";
  constructor(
    readonly status: keyof typeof titles,
    /** One or two sentences for whoever sent the request. */
    readonly detail: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail);
  }

  toJSON(): object {
    const { status, detail } = this;
    return { type: "about:blank", title: titles[status], status, detail };
  }

  reply(): Reply {
    const headers = { ...this.headers, "content-type": "application/problem+json", "cache-control": "no-store" };
    return new Reply(JSON.stringify(this), headers, this.status, this.detail);
  }
}

/** Too much to do, or something that is needed is not there now: another try may succeed. */
export const unavailable = (detail: string, seconds = 1): Problem =>
  new Problem(503, detail, { "retry-after": String(seconds) });

/** A piece of what was sent, short enough to be repeated. */
export const quote = (text: string): string => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
