/**
 * A request as nabla's handlers read it. Each platform implements it over its own request object, so that nothing is built that no
 * handler reads: a web Request and its streams take as long to construct as a small network takes to run.
 */

/** A body that is being received. */
export interface Receiving {
  /** Resolves at the end of the body. Rejects if the client disconnects, and with whatever `onChunk` throws. */
  readonly complete: Promise<void>;
  /** Stops receiving: `onChunk` is not called again. */
  stop(): void;
}

export interface HandlerRequest {
  readonly method: string;
  /** The absolute URL. Reading it may throw: Deno builds it from whatever Host header was sent. */
  readonly url: string;
  /** Aborted if the client disconnects before it has the whole response. */
  readonly signal: AbortSignal;
  /** The value of a header, by its lower-case name; null if the request does not have it. */
  header(name: string): string | null;
  /** Starts to read the body, and calls `onChunk` for each chunk. Returns undefined if there is no body. Call it once. */
  receive(onChunk: (chunk: Uint8Array) => void): Receiving | undefined;
  /** The whole request as a web Request, for handlers that are not nabla's. */
  toRequest(): Request;
  /** The method, URL and headers as a web Request without a body, for the user's own functions. */
  toHead(): Request;
  /** The same request at another URL. */
  at(url: URL): HandlerRequest;
}

/** A web Request, as Workers, Deno, Bun and tests pass it. */
export class WebRequest implements HandlerRequest {
  readonly #request: Request;
  readonly #url: URL | undefined;

  constructor(request: Request, url?: URL) {
    this.#request = request;
    this.#url = url;
  }
  get method(): string {
    return this.#request.method;
  }
  get url(): string {
    return this.#url?.href ?? this.#request.url;
  }
  get signal(): AbortSignal {
    return this.#request.signal;
  }
  header(name: string): string | null {
    return this.#request.headers.get(name);
  }
  receive(onChunk: (chunk: Uint8Array) => void): Receiving | undefined {
    const reader = this.#request.body?.getReader();
    if (!reader) return undefined;
    const read = async (): Promise<void> => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        onChunk(value);
      }
    };
    return { complete: read(), stop: () => void reader.cancel().catch(() => {}) };
  }
  toRequest(): Request {
    return this.#url ? new Request(this.#url, this.#request) : this.#request;
  }
  toHead(): Request {
    return new Request(this.url, { method: this.method, headers: this.#request.headers });
  }
  at(url: URL): HandlerRequest {
    return new WebRequest(this.#request, url);
  }
}
