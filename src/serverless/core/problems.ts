/** Errors as clients see them: application/problem+json (RFC 9457). The detail says how to fix the request and reveals nothing internal. */

import { Error } from "../../runtime/errors.ts";
import { Reply } from "./reply.ts";

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

/** An error response. Any code may throw a Problem; the router then sends it as the response. */
export class Problem extends Error {
  override name = "Problem";
  constructor(
    readonly status: keyof typeof titles,
    /** One or two sentences for the client. */
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

/** 503 with Retry-After: a later request may succeed. */
export const unavailable = (detail: string, seconds = 1): Problem =>
  new Problem(503, detail, { "retry-after": String(seconds) });

/** 500: the error is in the function's log, not in the response. */
export const internalError = (): Problem => new Problem(500, "The function failed. See its log.");

/** The problem to report for an error. `notify` receives errors that are not problems. */
export function problemOf(error: unknown, notify: (error: unknown) => void): Problem {
  if (error instanceof Problem) return error;
  notify(error);
  return internalError();
}

/** Text from the client, quoted and shortened for a message. */
export const quote = (text: string): string => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
