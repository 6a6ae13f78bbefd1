/** Runs handlers under Node's http, https and http2: requests and answers in the web's form, streams both ways, clients that leave. */
import { check } from "../../runtime/arguments.ts";
import { TypeError } from "../../runtime/errors.ts";
import { type Answer, type Arriving, type Asked, Reply, readsLittle } from "../core/asked.ts";
import { Outbox, onLeaving, pipe, type Sink } from "../core/pipe.ts";
import { Problem, unavailable } from "../core/problems.ts";
import type { Handler } from "../core/routes.ts";
import { readNodeOptions } from "../core/schema.ts";
import { readUrl, unserved, urlAt } from "../core/urls.ts";

/** What is used of the IncomingMessage of node:http, and of the Http2ServerRequest of node:http2. */
export interface NodeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersionMajor?: number;
  readonly rawHeaders: readonly string[];
  readonly headers: { readonly [name: string]: string | string[] | undefined; readonly host?: string | undefined };
  readonly complete: boolean;
  readonly socket?: object;
  // biome-ignore lint/suspicious/noExplicitAny: as Node declares it
  on(event: string, listener: (...args: any[]) => void): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as Node declares it
  off(event: string, listener: (...args: any[]) => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

/** What is used of the ServerResponse of node:http, and of the Http2ServerResponse of node:http2. */
export interface NodeResponse extends Sink {
  readonly writableLength: number;
  /** Of HTTP/2. */
  readonly stream?: { close(code: number): unknown };
  // biome-ignore lint/suspicious/noExplicitAny: http takes a flat list, http2 an object
  writeHead(status: number, headers: any): unknown;
  setTimeout(milliseconds: number, late: () => void): unknown;
}

/** What answers may cost that clients do not read. */
export interface NodeOptions {
  /** Milliseconds for which a client may read nothing of its answer. Then the connection is closed. Default 10,000. */
  readonly writeTimeout?: number;
  /**
   * Bytes of answers above 64 KiB that clients have not read yet, all connections together. Beyond that, clients that read nothing
   * for a second are cut off, and then requests are answered 503. One answer alone may be larger. Default 64 MiB.
   */
  readonly unsent?: number;
}

/**
 * A handler as node:http calls it, and node:http2 with its compatibility API.
 *
 * ```ts
 * createServer(nodeListener(handler)).listen(8080);
 * ```
 * Node's own limits stand before it: set the server's headersTimeout, requestTimeout and maxConnections.
 * @throws TypeError if an option is not a whole number above 0, or is unknown
 */
export function nodeListener(
  handler: Handler,
  options: NodeOptions = {},
): (request: NodeRequest, response: NodeResponse) => void {
  check("nodeListener", arguments, "handler:function {writeTimeout unsent}");
  const { writeTimeout, unsent } = readNodeOptions("nodeListener", options);
  const outbox = new Outbox(unsent, writeTimeout);
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
      .then((response) => send(response, incoming, outgoing, { outbox, writeTimeout }))
      // Half an answer must not look like a whole one.
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
    const valueOf = (name: string): string | string[] =>
      headers[name] ?? ((name === "host" && headers[":authority"]) || []);
    this.headers = { get: (name) => [valueOf(name.toLowerCase())].flat().join(", ") || null };
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
  /** Not if the body is a stream already. */
  get pieces(): Asked["pieces"] {
    return this.#hasBody && !this.#body ? (hear) => piecesOf(this.#incoming, hear) : undefined;
  }
  get #allHeaders(): Headers {
    const headers = new Headers();
    const { rawHeaders } = this.#incoming;
    // HTTP/2 has pseudo-headers, such as :path, which the web's requests cannot have.
    for (let i = 0; i < rawHeaders.length; i += 2)
      if (!rawHeaders[i]!.startsWith(":")) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
    const host = this.headers.get("host");
    if (host && !headers.has("host")) headers.set("host", host);
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
function targetOf({ url = "/", headers, socket }: NodeRequest): string {
  const isSecure = headers[":scheme"] === "https" || (socket && "encrypted" in socket && socket.encrypted === true);
  const host = String(headers[":authority"] || headers.host || "localhost");
  if (url.startsWith("/")) return urlAt(isSecure ? "https" : "http", host, url).href;
  // What proxies are asked for.
  if (!/^https?:\/\/[^/]/i.test(url)) throw unserved();
  return readUrl(() => url).href;
}

/** A body's pieces as they arrive, without a stream. */
function piecesOf(incoming: NodeRequest, hear: (piece: Uint8Array) => void): Arriving {
  let stop = (): void => {};
  const complete = new Promise<void>((resolve, reject) => {
    const take = (piece: Uint8Array): void => {
      try {
        hear(piece);
      } catch (error) {
        stop();
        reject(error);
      }
    };
    const breakOff = (): void => reject(new TypeError("the client broke off"));
    stop = () => {
      incoming.off("data", take);
      incoming.pause();
    };
    incoming.on("data", take);
    incoming.on("end", resolve);
    incoming.on("error", breakOff);
    incoming.on("close", breakOff);
  });
  return { complete, stop };
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

interface Sending {
  readonly outbox: Outbox;
  readonly writeTimeout: number;
}

async function send(
  answer: Answer,
  incoming: NodeRequest,
  outgoing: NodeResponse,
  { outbox, writeTimeout }: Sending,
): Promise<void> {
  if (answer instanceof Reply) {
    if (!outbox.admits(answer.body.length)) {
      const busy = unavailable("Too many answers wait for clients that do not read them. Try again.");
      return send(busy.reply(), incoming, outgoing, { outbox, writeTimeout });
    }
    const bytes = typeof answer.body === "string" ? utf8.encode(answer.body) : answer.body;
    const isEnough = begin(
      answer.status,
      { ...answer.headers, "content-length": String(bytes.length) },
      incoming,
      outgoing,
    );
    if (!isEnough) linger(bytes, incoming, outgoing);
    else await outbox.send(bytes, outgoing);
  } else {
    begin(answer.status, answer.headers, incoming, outgoing);
    await pipe(answer.body, outgoing, writeTimeout);
  }
  // What is still being sent over HTTP/2 is refused once the answer has gone: 0 is NO_ERROR. The connection goes on.
  if (!incoming.complete) outgoing.stream?.close(0);
  // Little is left, but a client that never reads it must not keep the connection.
  if (outgoing.writableLength > 0) outgoing.setTimeout(writeTimeout, () => outgoing.destroy());
}

/** Headers of a connection, which HTTP/2 forbids. */
const OF_CONNECTIONS = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/** Writes an answer's head. @returns whether the rest of the request is little enough to be passed over */
function begin(
  status: number,
  headers: Headers | Readonly<Record<string, string>>,
  incoming: NodeRequest,
  outgoing: NodeResponse,
): boolean {
  const pairs = headers instanceof Headers ? [...headers] : Object.entries(headers);
  if (incoming.httpVersionMajor === 2) {
    const allowed: Record<string, string | string[]> = {};
    for (const [name, value] of pairs)
      if (!OF_CONNECTIONS.includes(name))
        allowed[name] = name === "set-cookie" ? [...(allowed[name] ?? []), value] : value;
    outgoing.writeHead(status, allowed);
    return true;
  }
  // Of what is still on its way, little is passed over by Node, and the connection goes on; for much it is not worth it.
  const isLittle = Number(incoming.headers["content-length"]) <= PASSED_OVER && status !== 408;
  const isEnough = incoming.complete || isLittle;
  if (isEnough && !incoming.complete) outgoing.once("finish", () => incoming.resume());
  outgoing.writeHead(status, isEnough ? pairs.flat() : [...pairs.flat(), "connection", "close"]);
  return isEnough;
}
