/** A Node request in the form that nabla's handlers read. Web objects are built only when a handler needs them. */
import { TypeError } from "../../../runtime/errors.ts";
import type { HandlerRequest, Receiving } from "../../core/request.ts";
import { invalidTarget, readUrl, urlAt } from "../../core/urls.ts";
import { onAbort } from "./sink.ts";
import type { NodeRequest, NodeResponse } from "./types.ts";

/** Methods that a web Request cannot have. */
const FORBIDDEN = ["CONNECT", "TRACE", "TRACK"];

const disconnectError = (): Error => new TypeError("the client disconnected");

export class IncomingRequest implements HandlerRequest {
  readonly method: string;
  readonly url: string;
  readonly #incoming: NodeRequest;
  readonly #outgoing: NodeResponse;
  #signal: AbortSignal | undefined;

  /** @throws Problem 400 if a web Request cannot have the method or the URL */
  constructor(incoming: NodeRequest, outgoing: NodeResponse, url = targetOf(incoming)) {
    const { method = "GET" } = incoming;
    if (FORBIDDEN.includes(method)) throw invalidTarget();
    this.method = method;
    this.url = url;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  get signal(): AbortSignal {
    if (!this.#signal) {
      const controller = new AbortController();
      onAbort(this.#outgoing, () => controller.abort());
      this.#signal = controller.signal;
    }
    return this.#signal;
  }
  header(name: string): string | null {
    const { headers } = this.#incoming;
    const value = headers[name] ?? (name === "host" ? headers[":authority"] : undefined);
    return (Array.isArray(value) ? value.join(", ") : value) || null;
  }
  receive(onChunk: (chunk: Uint8Array) => void): Receiving | undefined {
    return this.#hasBody ? receive(this.#incoming, onChunk) : undefined;
  }
  toRequest(): Request {
    const { method, signal } = this;
    const body = this.#hasBody ? streamOf(this.#incoming) : undefined;
    // TypeScript's RequestInit lacks `duplex`, which a streamed body needs.
    const init: RequestInit & { duplex?: "half" } = {
      method,
      signal,
      headers: this.#allHeaders(),
      ...(body && { body, duplex: "half" }),
    };
    return new Request(this.url, init);
  }
  toHead(): Request {
    return new Request(this.url, { method: this.method, headers: this.#allHeaders() });
  }
  at(url: URL): HandlerRequest {
    return new IncomingRequest(this.#incoming, this.#outgoing, url.href);
  }

  get #hasBody(): boolean {
    return this.method !== "GET" && this.method !== "HEAD";
  }
  /** @throws Problem 400 if a web Request cannot have one of the headers */
  #allHeaders(): Headers {
    const headers = new Headers();
    const { rawHeaders } = this.#incoming;
    try {
      // Skip HTTP/2's pseudo-headers, such as :path, which a web Request cannot have.
      for (let i = 0; i < rawHeaders.length; i += 2)
        if (!rawHeaders[i]!.startsWith(":")) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
      const host = this.header("host");
      if (host && !headers.has("host")) headers.set("host", host);
    } catch {
      throw invalidTarget();
    }
    return headers;
  }
}

/**
 * The URL of a request, built without new URL(path, base), which would read the start of a path such as //a as a host.
 * @throws Problem 400
 */
function targetOf({ url = "/", headers, socket }: NodeRequest): string {
  const isSecure = headers[":scheme"] === "https" || (socket && "encrypted" in socket && socket.encrypted === true);
  const host = String(headers[":authority"] || headers.host || "localhost");
  if (url.startsWith("/")) return urlAt(isSecure ? "https" : "http", host, url).href;
  // The target of a request to a proxy is a whole URL.
  if (!/^https?:\/\/[^/]/i.test(url)) throw invalidTarget();
  return readUrl(() => url).href;
}

/** Passes the chunks of a body to `onChunk` as they arrive, without a web stream. */
function receive(incoming: NodeRequest, onChunk: (chunk: Uint8Array) => void): Receiving {
  let stop = (): void => {};
  const complete = new Promise<void>((resolve, reject) => {
    const take = (chunk: Uint8Array): void => {
      try {
        onChunk(chunk);
      } catch (error) {
        stop();
        reject(error);
      }
    };
    const abort = (): void => reject(disconnectError());
    stop = () => {
      incoming.off("data", take);
      incoming.pause();
    };
    incoming.on("data", take);
    incoming.on("end", resolve);
    incoming.on("error", abort);
    incoming.on("close", abort);
  });
  return { complete, stop };
}

/** Turns a body into a web stream. The body is received no faster than the stream is read. */
function streamOf(incoming: NodeRequest): ReadableStream<Uint8Array> {
  let ended = false;
  /** Runs `finish` unless the stream has already ended, failed or been cancelled. */
  const once = (finish: () => void) => (): void => {
    if (!ended) finish();
    ended = true;
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const abort = once(() => controller.error(disconnectError()));
        incoming.on("data", (chunk: Uint8Array) => {
          if (ended) return;
          controller.enqueue(chunk);
          if (controller.desiredSize! <= 0) incoming.pause();
        });
        incoming.on(
          "end",
          once(() => controller.close()),
        );
        incoming.on("error", abort);
        incoming.on("close", abort);
      },
      pull() {
        incoming.resume();
      },
      cancel: once(() => incoming.pause()),
    },
    { highWaterMark: 4 },
  );
}
