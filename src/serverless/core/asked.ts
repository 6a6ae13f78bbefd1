/**
 * The little that handlers read of a request and servers of a response. Where both ends are nabla's own, that little goes from one to
 * the other as it is: the web's Request and Response, and their streams, take as long to make as a small network to answer.
 */

/** A request, as handlers read it. The web's is one. */
export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: { get(name: string): string | null };
  readonly body: ReadableStream<Uint8Array> | null;
  readonly signal: AbortSignal;
  /** The body's pieces as they arrive, without a stream. */
  readonly pieces?: ((hear: (piece: Uint8Array) => void) => Arriving) | undefined;
  /** The web's, made of it: for whoever may read more. */
  whole?(): Request;
  /** The web's, of its method, URL and headers. */
  head?(): Request;
  /** The same at another place. */
  at?(url: URL): Asked;
}

/** A body that is arriving. */
export interface Arriving {
  /** Settles at the end of the body. Rejects if the client breaks off, and with what `hear` throws. */
  readonly complete: Promise<void>;
  /** No piece is heard after this. */
  stop(): void;
}

/** The routes of handlers that read no more than that. */
const frugal = new WeakMap<object, readonly string[]>();

/** Marks a handler as one that reads no more, and tells its routes. */
export function reading<T extends object>(handler: T, routes: readonly string[]): T {
  frugal.set(handler, routes);
  return handler;
}
export const readsLittle = (handler: object): boolean => frugal.has(handler);
/** The paths that a handler answers, if it is nabla's. */
export const routesOf = (handler: object): readonly string[] => frugal.get(handler) ?? [];

export const whole = (request: Asked): Request => request.whole?.() ?? (request as Request);
/** A request of the same method, URL and headers: whoever is given it can do nothing to the body. */
export const headOf = (request: Asked): Request =>
  request.head?.() ?? new Request(request.url, { method: request.method, headers: (request as Request).headers });
export const at = (request: Asked, url: URL): Asked => request.at?.(url) ?? new Request(url, request as Request);

/** An answer that is there as a whole. */
export class Reply {
  constructor(
    readonly body: string | Uint8Array<ArrayBuffer>,
    readonly headers: Readonly<Record<string, string>>,
    readonly status = 200,
    /** Of a problem: what the client is told. */
    readonly detail?: string,
  ) {}
}
export type Answer = Response | Reply;

/** An answer in the form that whoever asked takes: the web's, unless the request came from nabla's own server. */
export function answerTo(request: Asked, answer: Answer): Response {
  // Nabla's own server takes either.
  return request.whole ? (answer as object as Response) : responseOf(answer);
}
/** What problems told their clients, by the response that tells it. */
const details = new WeakMap<Response, string>();

export function responseOf(answer: Answer): Response {
  if (answer instanceof Response) return answer;
  const response = new Response(answer.body, answer);
  if (answer.detail !== undefined) details.set(response, answer.detail);
  return response;
}
/** What the client is told, if the answer is a problem. */
export const detailOf = (answer: Answer): string | undefined =>
  answer instanceof Response ? details.get(answer) : answer.detail;
