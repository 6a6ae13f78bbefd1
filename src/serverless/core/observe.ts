/** Optional layers around a handler: CORS, request ids, an access log, metrics, and a hook for refused requests. All are off by default. */
import { check, checkOptions } from "../../runtime/arguments.ts";
import { type Cors, crossOrigin } from "./cors.ts";
import { type Handler, handlerOf, type Responder, responderOf, routesOf } from "./handler.ts";
import { Metrics } from "./metrics.ts";
import { notifier } from "./notify.ts";
import { Problem, problemOf } from "./problems.ts";
import { type Answer, detailOf, Reply } from "./reply.ts";
import type { HandlerRequest } from "./request.ts";

/** One completed request, for an access log. */
export interface Access {
  /** The time at which the request arrived, in ISO 8601. */
  readonly time: string;
  /** The request id. Present if `requestIds` is on. */
  readonly id?: string;
  /** The HTTP method. */
  readonly method: string;
  /** The path, without the query, which may contain secrets. */
  readonly path: string;
  /** The HTTP status of the response. */
  readonly status: number;
  /** The time until the whole response was sent or the client disconnected, in milliseconds. */
  readonly milliseconds: number;
  /** The size of the request's body in bytes, according to its Content-Length; 0 without one. */
  readonly bytesIn: number;
  /** The size of the response's body in bytes. */
  readonly bytesOut: number;
}

/** One request that was answered with an error. */
export interface Refusal extends Pick<Access, "id" | "method" | "path" | "status"> {
  /** The problem detail that the client received; empty if the response does not come from nabla. */
  readonly detail: string;
}

/** Options for observe. inferenceHandler and trainingHandler take them too. */
export interface ObserveOptions {
  /** Lets web pages from other origins call the handler. Default: they cannot. */
  readonly cors?: Cors;
  /** Serves counts and latencies in Prometheus's text format at GET /metrics, below the handler's path. Default false. */
  readonly metrics?: boolean;
  /**
   * Adds X-Request-Id to responses: the client's id if it consists of at most 128 letters, digits and `_.:+/=-`,
   * otherwise a random id. Default false.
   */
  readonly requestIds?: boolean;
  /** Called for every request when its response has ended. Default: no log. */
  readonly accessLog?: (access: Access) => void;
  /** Called for every request whose response has a status of 400 or more. Default: no hook. */
  readonly onRefused?: (refusal: Refusal) => void;
}

export const isObserved = ({ cors, metrics, requestIds, accessLog, onRefused }: ObserveOptions): boolean =>
  Boolean(cors || metrics || requestIds || accessLog || onRefused);

/** The options of observe, as a signature for `checkOptions` without its braces. */
export const OBSERVE = "cors:object metrics:boolean requestIds:boolean accessLog:function onRefused:function";

interface Inner {
  readonly respond: Responder;
  /** The paths that the handler serves. */
  readonly routes: readonly string[];
}

interface MetricsRoute {
  readonly metricsPath: string;
  /** Rejects clients that may not read the metrics. */
  readonly requireAuthorized: (request: HandlerRequest) => Promise<void>;
}

const ID = /^[\w.:+/=-]{1,128}$/;
const utf8 = new TextEncoder();

/** The path of a request, found without parsing the URL, which would take longer. */
const pathOf = ({ url }: HandlerRequest): string => /^(?:[a-z]+:\/\/[^/?#]*)?([^?#]*)/i.exec(url)?.[1] || "/";

/**
 * Adds CORS, metrics, request ids, an access log or a hook for refused requests to any handler, such as one that `combine` returns.
 * inferenceHandler and trainingHandler take the same options themselves.
 *
 * ```ts
 * const handler = observe(combine({ "/digits": digits, "/train": train }), { metrics: true, accessLog: console.log });
 * ```
 * @param handler the handler to wrap. If it throws, the response is 500, and the error goes to console.error
 * @throws TypeError if an option is unknown or invalid
 */
export function observe(handler: Handler, options: ObserveOptions): Handler {
  check("observe", arguments, "handler:function options:object");
  checkOptions("observe", options, `{${OBSERVE}}`);
  const inner = { respond: responderOf(handler), routes: routesOf(handler) };
  return observeResponder("observe", inner, options, { metricsPath: "/metrics", requireAuthorized: async () => {} });
}

/** Like observe, for a responder. @param what the handler's name in error messages */
export function observeResponder(
  what: string,
  { respond, routes: inner }: Inner,
  options: ObserveOptions,
  { metricsPath, requireAuthorized }: MetricsRoute,
): Handler {
  const corsOf = options.cors && crossOrigin(what, options.cors);
  const metrics = options.metrics ? new Metrics() : undefined;
  const log = options.accessLog && notifier(options.accessLog);
  const refused = options.onRefused && notifier(options.onRefused);
  const routes = new Set([...inner, metricsPath]);

  const answer = async (request: HandlerRequest, path: string): Promise<Answer> => {
    if (!metrics || path !== metricsPath) return respond(request);
    await requireAuthorized(request);
    if (request.method !== "GET" && request.method !== "HEAD")
      throw new Problem(405, "Method not allowed. Use GET.", { allow: "GET, HEAD" });
    return new Reply(metrics.write(), { "content-type": Metrics.type, "cache-control": "no-store" });
  };

  return handlerOf(
    async (request) => {
      const started = performance.now();
      const time = new Date().toISOString();
      const { method } = request;
      const path = pathOf(request);
      const sent = request.header("x-request-id") ?? "";
      const id = options.requestIds ? (ID.test(sent) ? sent : crypto.randomUUID()) : undefined;
      const { headers = {}, isPreflight = false } = corsOf?.(request) ?? {};
      metrics?.begin();
      const answered = isPreflight
        ? new Response(null, { status: 204 })
        : await answer(request, path).catch((error: unknown) => problemOf(error, console.error).reply());
      const { status } = answered;
      const about = { ...(id !== undefined && { id }), method, path, status };
      if (status >= 400) refused?.({ ...about, detail: detailOf(answered) ?? "" });
      const end = (bytesOut: number): void => {
        const milliseconds = performance.now() - started;
        const bytesIn = Number(request.header("content-length")) || 0;
        const route = routes.has(path) ? path : "other";
        metrics?.end({ method, route, status, seconds: milliseconds / 1000, bytesIn, bytesOut });
        log?.({ time, ...about, milliseconds: Math.round(1000 * milliseconds) / 1000, bytesIn, bytesOut });
      };
      const complete = withHeaders(answered, { ...headers, ...(id !== undefined && { "x-request-id": id }) });
      return metrics || log ? countBytes(complete, end) : complete;
    },
    [...routes],
  );
}

/** Adds headers to an answer. Extends an existing Vary header, and replaces other headers. */
function withHeaders(answer: Answer, added: Readonly<Record<string, string>>): Answer {
  if (!Object.keys(added).length) return answer;
  if (answer instanceof Reply)
    return new Reply(answer.body, { ...answer.headers, ...added }, answer.status, answer.detail);
  const { status, statusText, body } = answer;
  const headers = new Headers(answer.headers);
  for (const [name, value] of Object.entries(added)) {
    if (name === "vary") headers.append(name, value);
    else headers.set(name, value);
  }
  return new Response(body, { status, statusText, headers });
}

/** Counts the bytes of an answer. Calls `end` once with the bytes sent, when the response has ended or the client has disconnected. */
function countBytes(answer: Answer, end: (bytes: number) => void): Answer {
  if (answer instanceof Reply) {
    const bytes = typeof answer.body === "string" ? utf8.encode(answer.body) : answer.body;
    end(bytes.length);
    return new Reply(bytes, answer.headers, answer.status, answer.detail);
  }
  if (!answer.body) {
    end(0);
    return answer;
  }
  const reader = answer.body.getReader();
  let bytes = 0;
  let isEnded = false;
  const finish = (): void => {
    if (!isEnded) end(bytes);
    isEnded = true;
  };
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) {
            finish();
            controller.close();
          } else {
            bytes += value.length;
            controller.enqueue(value);
          }
        } catch (error) {
          finish();
          controller.error(error);
        }
      },
      cancel(reason) {
        finish();
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, answer);
}
