/**
 * A request in the form that nabla's handlers read. Each platform implements this interface on top of its own request
 * object, so that web objects are built only if a handler needs them. Building a web Request and its streams takes as
 * long as running a small network.
 */

/** A body that is being received. */
export interface Receiving {
  /** Resolves at the end of the body. Rejects if the client disconnects, or with the error that `onChunk` throws. */
  readonly complete: Promise<void>;
  /** Stops receiving: `onChunk` is not called again. */
  stop(): void;
}

export interface HandlerRequest {
  readonly method: string;
  /** The absolute URL. Reading this property may throw: Deno builds the URL from the Host header, which may be invalid. */
  readonly url: string;
  /** Aborted if the client disconnects before it has received the whole response. */
  readonly signal: AbortSignal;
  /** The value of a header, by its lower-case name; null if the request has no such header. */
  header(name: string): string | null;
  /** Starts reading the body, and calls `onChunk` for each chunk. Returns undefined if there is no body. Call it only once. */
  receive(onChunk: (chunk: Uint8Array) => void): Receiving | undefined;
  /** The whole request as a web Request, for handlers that were not made by nabla. */
  toRequest(): Request;
  /** The method, URL and headers as a web Request without a body, for the user's own functions. */
  toHead(): Request;
  /** The same request with a different URL. */
  at(url: URL): HandlerRequest;
}

/**
 * In Node, a signal never aborts once its Request has been garbage collected. While a signal is in use, this map keeps
 * its Request alive.
 */
const requests = new WeakMap<AbortSignal, Request>();

/** Wraps a web Request, which Workers, Deno, Bun and tests pass. */
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
    const { signal } = this.#request;
    requests.set(signal, this.#request);
    return signal;
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
