/** What a handler may have around it: CORS, request ids, an access log, counts, a hook for refusals. All of it is off by default. */
import { check, checkOptions } from "../../runtime/arguments.ts";
import { type Answer, type Asked, answerTo, detailOf, Reply, reading, readsLittle, routesOf, whole } from "./asked.ts";
import { type Cors, crossOrigin } from "./cors.ts";
import { Metrics } from "./metrics.ts";
import { Problem } from "./problems.ts";
import { telling } from "./telling.ts";

/** A request that was answered, for an access log. */
export interface Access {
  /** When it came, as ISO 8601. */
  readonly time: string;
  /** With `requestIds`. */
  readonly id?: string;
  readonly method: string;
  /** Without its query, which may hold secrets. */
  readonly path: string;
  readonly status: number;
  /** Until its answer was read, or the client left. */
  readonly milliseconds: number;
  /** Of the request's body, as its Content-Length says. */
  readonly bytesIn: number;
  /** Of the answer's body. */
  readonly bytesOut: number;
}

/** A request that was answered with an error. */
export interface Refusal extends Pick<Access, "id" | "method" | "path" | "status"> {
  /** What the client was told; empty if the answer is not one of nabla's. */
  readonly detail: string;
}

export interface ObserveOptions {
  /** Lets pages of other origins ask. */
  readonly cors?: Cors;
  /** Answers GET /metrics, below the handler's path, with counts and latencies in Prometheus's text format. */
  readonly metrics?: boolean;
  /** Answers with X-Request-Id: the client's if it is up to 128 plain characters, else a random one. */
  readonly requestIds?: boolean;
  /** Is told of every request when its answer has ended. */
  readonly accessLog?: (access: Access) => void;
  /** Is told of every request that is answered with a status of 400 or more. */
  readonly onRefused?: (refusal: Refusal) => void;
}

/** The options that observe takes. */
export const OBSERVED = ["cors", "metrics", "requestIds", "accessLog", "onRefused"] as const;

/** The same, as arguments are checked. */
export const OBSERVE = "cors:object metrics:boolean requestIds:boolean accessLog:function onRefused:function";

type Handler = (request: Request) => Promise<Response>;

interface Inside {
  /** Where the counts are answered. */
  readonly metricsPath: string;
  /** Refuses those who may not read them. */
  readonly requireAuthorized: (request: Asked) => Promise<void>;
}

const ID = /^[\w.:+/=-]{1,128}$/;
const utf8 = new TextEncoder();

/** The path of a URL, without making one of it. */
const pathOf = ({ url }: Asked): string => /^(?:[a-z]+:\/\/[^/?#]*)?([^?#]*)/i.exec(url)?.[1] || "/";

/**
 * A handler with CORS, metrics, request ids, an access log or a hook for refusals around it. Handlers of nabla take these as options
 * of their own; this is for others, and for what `combine` gives.
 *
 * ```ts
 * const handler = observe(combine({ "/digits": digits, "/train": train }), { metrics: true, accessLog: console.log });
 * ```
 * @throws TypeError for options that cannot be used
 */
export function observe(handler: Handler, options: ObserveOptions): Handler {
  check("observe", arguments, "handler:function options:object");
  checkOptions("observe", options, `{${OBSERVE}}`);
  return around("observe", handler, options, { metricsPath: "/metrics", requireAuthorized: async () => {} });
}

/** observe for a handler that has its own paths. `what` names it in errors. */
export function around(
  what: string,
  handler: Handler,
  options: ObserveOptions,
  { metricsPath, requireAuthorized }: Inside,
): Handler {
  const crossing = options.cors && crossOrigin(what, options.cors);
  const metrics = options.metrics ? new Metrics() : undefined;
  const log = options.accessLog && telling(options.accessLog);
  const refused = options.onRefused && telling(options.onRefused);
  const routes = new Set([...routesOf(handler), metricsPath]);

  const answer = async (request: Asked, path: string): Promise<Answer> => {
    if (metrics && path === metricsPath) {
      await requireAuthorized(request);
      if (request.method !== "GET" && request.method !== "HEAD")
        throw new Problem(405, "Method not allowed. Use GET.", { allow: "GET, HEAD" });
      return new Reply(metrics.write(), { "content-type": Metrics.type, "cache-control": "no-store" });
    }
    return handler(readsLittle(handler) ? (request as Request) : whole(request));
  };

  return reading(
    async (request: Request) => {
      const began = performance.now();
      const time = new Date().toISOString();
      const { method } = request;
      const path = pathOf(request);
      const given = request.headers.get("x-request-id") ?? "";
      const id = options.requestIds ? (ID.test(given) ? given : crypto.randomUUID()) : undefined;
      const { headers = {}, isPreflight = false } = crossing?.(request) ?? {};
      metrics?.begin();
      const answered = await (isPreflight
        ? new Response(null, { status: 204 })
        : answer(request, path).catch((error: unknown) => {
            if (error instanceof Problem) return error.reply();
            console.error(error);
            return new Problem(500, "The function failed. Its log says why.").reply();
          }));
      const { status } = answered;
      const about = { ...(id !== undefined && { id }), method, path, status };
      if (status >= 400) refused?.({ ...about, detail: detailOf(answered) ?? "" });
      const end = (bytesOut: number): void => {
        const milliseconds = performance.now() - began;
        const bytesIn = Number(request.headers.get("content-length")) || 0;
        const route = routes.has(path) ? path : "other";
        metrics?.end({ method, route, status, seconds: milliseconds / 1000, bytesIn, bytesOut });
        log?.({ time, ...about, milliseconds: Math.round(1000 * milliseconds) / 1000, bytesIn, bytesOut });
      };
      const added = { ...headers, ...(id !== undefined && { "x-request-id": id }) };
      return answerTo(
        request,
        metrics || log ? counted(withHeaders(answered, added), end) : withHeaders(answered, added),
      );
    },
    [...routes],
  );
}

/** The same answer with more headers. A Vary that is there stays. */
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

/** The same answer. `end` is told once how many bytes of it were sent, when it has ended or the client has left. */
function counted(answer: Answer, end: (bytes: number) => void): Answer {
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
