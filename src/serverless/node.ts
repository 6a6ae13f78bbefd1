/** Node's http for handlers: requests and responses in the web's form, streams both ways, and word of clients that leave. */
import { Problem } from "./problems.ts";
import type { Handler } from "./routes.ts";

/** What is used of node:http's IncomingMessage. */
export interface NodeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly rawHeaders: readonly string[];
  readonly headers: { readonly host?: string | undefined };
  readonly complete: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: as Node declares it
  on(event: string, listener: (...args: any[]) => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

/** What is used of node:http's ServerResponse. */
export interface NodeResponse {
  readonly writableFinished: boolean;
  writeHead(status: number, headers: string[]): unknown;
  write(piece: Uint8Array): boolean;
  end(piece?: Uint8Array): unknown;
  once(event: string, listener: () => void): unknown;
}

/**
 * A handler as node:http calls it.
 *
 * ```ts
 * createServer(nodeListener(handler)).listen(8080);
 * ```
 */
export function nodeListener(handler: Handler): (request: NodeRequest, response: NodeResponse) => void {
  return (incoming, outgoing) => {
    const left = new AbortController();
    outgoing.once("close", () => {
      if (!outgoing.writableFinished) left.abort();
    });
    void answer(handler, incoming, left.signal)
      .then((response) => send(response, incoming, outgoing, left.signal))
      .catch(() => outgoing.end());
  };
}

async function answer(handler: Handler, incoming: NodeRequest, signal: AbortSignal): Promise<Response> {
  let request: Request;
  try {
    request = requestOf(incoming, signal);
  } catch {
    return new Problem(400, "The request's method, path or host is none that can be served.").response();
  }
  return handler(request);
}

/** @throws TypeError where the method, the path or a header is none that the web has */
function requestOf(incoming: NodeRequest, signal: AbortSignal): Request {
  const { method = "GET", url = "/", rawHeaders } = incoming;
  const headers = new Headers();
  for (let i = 0; i < rawHeaders.length; i += 2) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
  const base = `http://${incoming.headers.host ?? "localhost"}`;
  const init: RequestInit & { duplex?: "half" } = { method, headers, signal };
  if (method !== "GET" && method !== "HEAD") {
    init.body = bodyOf(incoming);
    init.duplex = "half";
  }
  // Not new URL(url, base): a path that begins with two slashes is no host.
  return new Request(url.startsWith("/") ? base + url : new URL(url), init);
}

/** The body as it arrives, no faster than it is read. */
function bodyOf(incoming: NodeRequest): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        let ended = false;
        const end = (finish: () => void) => (): void => {
          if (!ended) finish();
          ended = true;
        };
        const breakOff = end(() => controller.error(new TypeError("the client broke off")));
        incoming.on("data", (piece: Uint8Array) => {
          if (ended) return;
          controller.enqueue(piece);
          if (controller.desiredSize! <= 0) incoming.pause();
        });
        incoming.on(
          "end",
          end(() => controller.close()),
        );
        incoming.on("error", breakOff);
        incoming.on("close", breakOff);
      },
      pull() {
        incoming.resume();
      },
      cancel() {
        incoming.pause();
      },
    },
    { highWaterMark: 4 },
  );
}

async function send(response: Response, incoming: NodeRequest, outgoing: NodeResponse, signal: AbortSignal) {
  const headers = [...response.headers].flat();
  // What is still on its way is not waited for.
  if (!incoming.complete) headers.push("connection", "close");
  const body = incoming.method === "HEAD" ? null : response.body;
  if (!body || signal.aborted) {
    await response.body?.cancel();
    outgoing.writeHead(response.status, headers);
    outgoing.end();
    return;
  }
  const reader = body.getReader();
  const leave = (): void => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", leave);
  outgoing.writeHead(response.status, headers);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (!outgoing.write(value))
      await new Promise<void>((resolve) => {
        outgoing.once("drain", resolve);
        outgoing.once("close", resolve);
      });
  }
  outgoing.end();
}
