/** Node's http for handlers: requests and responses in the web's form, streams both ways, and word of clients that leave. */
import { type Answer, type Asked, Reply, readsLittle } from "./asked.ts";
import { joined } from "./limits.ts";
import { onLeaving, pipe, type Sink } from "./pipe.ts";
import { Problem } from "./problems.ts";
import type { Handler } from "./routes.ts";
import { readUrl, unserved, urlAt } from "./urls.ts";

/** What is used of node:http's IncomingMessage. */
export interface NodeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly rawHeaders: readonly string[];
  readonly headers: { readonly [name: string]: string | string[] | undefined; readonly host?: string | undefined };
  readonly complete: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: as Node declares it
  on(event: string, listener: (...args: any[]) => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

/** What is used of node:http's ServerResponse. */
export interface NodeResponse extends Sink {
  writeHead(status: number, headers: string[]): unknown;
}

/**
 * A handler as node:http calls it.
 *
 * ```ts
 * createServer(nodeListener(handler)).listen(8080);
 * ```
 */
export function nodeListener(handler: Handler): (request: NodeRequest, response: NodeResponse) => void {
  const readsAll = !readsLittle(handler);
  const answer = async (incoming: NodeRequest, outgoing: NodeResponse): Promise<Answer> => {
    let request: Asked;
    try {
      request = new Arrived(incoming, outgoing);
      if (readsAll) request = request.whole!();
    } catch {
      return unserved().reply();
    }
    try {
      return await handler(request as Request);
    } catch (error) {
      console.error(error);
      return new Problem(500, "The function failed. Its log says why.").reply();
    }
  };
  return (incoming, outgoing) => {
    answer(incoming, outgoing)
      .then((response) => send(response, incoming, outgoing))
      // Half an answer must not look like one.
      .catch(() => outgoing.destroy());
  };
}

/** Methods that the web's requests cannot have. */
const FORBIDDEN = ["CONNECT", "TRACE", "TRACK"];

/** A request that has arrived: its parts are made when they are asked for. */
class Arrived implements Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: Asked["headers"];
  readonly #incoming: NodeRequest;
  readonly #outgoing: NodeResponse;
  #body: ReadableStream<Uint8Array> | undefined;
  #left: AbortController | undefined;

  /** @throws Problem 400 where the method or the URL is none that the web has */
  constructor(incoming: NodeRequest, outgoing: NodeResponse, url = targetOf(incoming)) {
    const { method = "GET", headers } = incoming;
    if (FORBIDDEN.includes(method)) throw unserved();
    [this.method, this.url, this.#incoming, this.#outgoing] = [method, url, incoming, outgoing];
    this.headers = { get: (name) => [headers[name.toLowerCase()] ?? []].flat().join(", ") || null };
  }

  get #hasBody(): boolean {
    return this.method !== "GET" && this.method !== "HEAD";
  }
  get body(): ReadableStream<Uint8Array> | null {
    if (!this.#hasBody) return null;
    this.#body ??= streamOf(this.#incoming);
    return this.#body;
  }
  /** Aborted when the client leaves before it has the answer. */
  get signal(): AbortSignal {
    if (!this.#left) {
      const left = new AbortController();
      onLeaving(this.#outgoing, () => left.abort());
      this.#left = left;
    }
    return this.#left.signal;
  }
  arrayBuffer(): Promise<ArrayBuffer> {
    return this.#body ? new Response(this.#body).arrayBuffer() : gather(this.#incoming);
  }
  get #allHeaders(): Headers {
    const headers = new Headers();
    const { rawHeaders } = this.#incoming;
    for (let i = 0; i < rawHeaders.length; i += 2) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
    return headers;
  }
  whole(): Request {
    const { method, url, body, signal } = this;
    const headers = this.#allHeaders;
    const init: RequestInit & { duplex?: "half" } = { method, headers, signal, ...(body && { body, duplex: "half" }) };
    return new Request(url, init);
  }
  head(): Request {
    return new Request(this.url, { method: this.method, headers: this.#allHeaders });
  }
  at(url: URL): Asked {
    return new Arrived(this.#incoming, this.#outgoing, url.href);
  }
}

/** Not new URL(url, base): a path that begins with two slashes is no host. @throws Problem 400 where there is none */
function targetOf({ url = "/", headers }: NodeRequest): string {
  if (url.startsWith("/")) return urlAt("http", headers.host || "localhost", url).href;
  // What proxies are asked for.
  if (!/^https?:\/\/[^/]/i.test(url)) throw unserved();
  return readUrl(() => url).href;
}

/** All of a body. Only for one that says how long it is, which Node then sees to. */
function gather(incoming: NodeRequest): Promise<ArrayBuffer> {
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = [];
    let length = 0;
    incoming.on("data", (piece: Uint8Array) => {
      pieces.push(piece);
      length += piece.length;
    });
    incoming.on("end", () => resolve(joined(pieces, length).buffer));
    const breakOff = (): void => reject(new TypeError("the client broke off"));
    incoming.on("error", breakOff);
    incoming.on("close", breakOff);
  });
}

/** A body as it arrives, no faster than it is read. */
function streamOf(incoming: NodeRequest): ReadableStream<Uint8Array> {
  let ended = false;
  /** Finishes the stream, unless it was finished or cancelled before. */
  const end = (finish: () => void) => (): void => {
    if (!ended) finish();
    ended = true;
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const close = end(() => controller.close());
        const breakOff = end(() => controller.error(new TypeError("the client broke off")));
        incoming.on("data", (piece: Uint8Array) => {
          if (ended) return;
          controller.enqueue(piece);
          if (controller.desiredSize! <= 0) incoming.pause();
        });
        incoming.on("end", close);
        incoming.on("error", breakOff);
        incoming.on("close", breakOff);
      },
      pull() {
        incoming.resume();
      },
      cancel: end(() => incoming.pause()),
    },
    { highWaterMark: 4 },
  );
}

const utf8 = new TextEncoder();

/** Bytes that are passed over rather than the connection closed. */
const PASSED_OVER = 2 ** 16;

/** Milliseconds for which what is not wanted may still arrive. */
const LINGER = 1000;

/** Answers a client that is still sending, and lets it: one that is cut off while it writes does not come to read. */
function linger(answer: Uint8Array, incoming: NodeRequest, outgoing: NodeResponse): void {
  outgoing.write(answer);
  const end = (): void => {
    clearTimeout(timer);
    outgoing.end();
  };
  const timer = setTimeout(end, LINGER);
  incoming.on("end", end);
  incoming.on("close", end);
  incoming.resume();
}

async function send(answer: Answer, incoming: NodeRequest, outgoing: NodeResponse): Promise<void> {
  const headers = (answer instanceof Reply ? Object.entries(answer.headers) : [...answer.headers]).flat();
  // Of what is still on its way, little is passed over by Node, and the connection goes on; for much it is not worth it.
  const isEnough = incoming.complete || Number(incoming.headers["content-length"]) <= PASSED_OVER;
  if (!isEnough) headers.push("connection", "close");
  if (answer instanceof Reply) {
    const bytes = typeof answer.body === "string" ? utf8.encode(answer.body) : answer.body;
    outgoing.writeHead(answer.status, [...headers, "content-length", String(bytes.length)]);
    if (isEnough) outgoing.end(bytes);
    else linger(bytes, incoming, outgoing);
    return;
  }
  outgoing.writeHead(answer.status, headers);
  await pipe(answer.body, outgoing);
}
