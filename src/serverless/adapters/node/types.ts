/**
 * The parts of Node's requests and responses that nodeListener uses, declared here so that nabla's types do not need
 * @types/node.
 */
import type { Sink } from "./sink.ts";

/** The part of node:http's IncomingMessage, and of node:http2's Http2ServerRequest, that nabla uses. */
export interface NodeRequest {
  /** The HTTP method. */
  readonly method?: string | undefined;
  /** The request's target: a path, or a whole URL. */
  readonly url?: string | undefined;
  /** 2 for HTTP/2. */
  readonly httpVersionMajor?: number;
  /** Alternating names and values, as they were sent. */
  readonly rawHeaders: readonly string[];
  /** The header values, by lower-case name. */
  readonly headers: { readonly [name: string]: string | string[] | undefined; readonly host?: string | undefined };
  /** Whether the whole request has arrived. */
  readonly complete: boolean;
  /** The connection, which is secure if it has `encrypted: true`. */
  readonly socket?: object;
  /** Adds a listener. */
  // biome-ignore lint/suspicious/noExplicitAny: as Node declares it
  on(event: string, listener: (...args: any[]) => void): unknown;
  /** Removes a listener. */
  // biome-ignore lint/suspicious/noExplicitAny: as Node declares it
  off(event: string, listener: (...args: any[]) => void): unknown;
  /** Stops reading the body. */
  pause(): unknown;
  /** Continues to read the body. */
  resume(): unknown;
}

/** The part of node:http's ServerResponse, and of node:http2's Http2ServerResponse, that nabla uses. */
export interface NodeResponse extends Sink {
  /** The number of bytes that have not been sent yet. */
  readonly writableLength: number;
  /** The HTTP/2 stream. */
  readonly stream?: { close(code: number): unknown };
  /** Sends status and headers. */
  // biome-ignore lint/suspicious/noExplicitAny: http takes a flat list, http2 an object
  writeHead(status: number, headers: any): unknown;
  /** Calls `listener` after this many milliseconds without activity. */
  setTimeout(milliseconds: number, listener: () => void): unknown;
}
