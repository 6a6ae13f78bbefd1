/** AWS Lambda for handlers: events of function URLs and of API Gateway (both payload versions) in, their results out. */
import { pipe, type Sink } from "./pipe.ts";
import type { Handler } from "./routes.ts";

/** What is used of an event. Version 2 (function URLs, HTTP APIs) has requestContext.http, version 1 (REST APIs) httpMethod. */
export interface LambdaEvent {
  readonly [key: string]: unknown;
  readonly rawPath?: string;
  readonly rawQueryString?: string;
  readonly requestContext?: {
    readonly [key: string]: unknown;
    readonly domainName?: string;
    readonly http?: { readonly [key: string]: unknown; readonly method: string };
  };
  readonly httpMethod?: string;
  readonly path?: string;
  readonly queryStringParameters?: Readonly<Record<string, string | undefined>> | null;
  readonly multiValueQueryStringParameters?: Readonly<Record<string, readonly string[] | undefined>> | null;
  readonly headers?: Readonly<Record<string, string | undefined>> | null;
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[] | undefined>> | null;
  readonly body?: string | null;
  readonly isBase64Encoded?: boolean;
}

/** What Lambda makes a response of. */
export interface LambdaResult {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

/**
 * A handler as Lambda calls it. Answers are whole when they are sent: events of a training arrive together, at its end, unless
 * lambdaStream sends them.
 *
 * ```ts
 * export const handle = lambdaHandler(handler);
 * ```
 * @throws TypeError for an event that is no web request
 */
export function lambdaHandler(handler: Handler): (event: LambdaEvent) => Promise<LambdaResult> {
  return async (event) => {
    const response = await handler(requestOf(event));
    const bytes = new Uint8Array(await response.arrayBuffer());
    const isText = /^text\/|[/+]json\b/.test(response.headers.get("content-type") ?? "text/plain");
    return {
      statusCode: response.status,
      headers: Object.fromEntries(response.headers),
      body: isText ? new TextDecoder().decode(bytes) : toBase64(bytes),
      isBase64Encoded: !isText,
    };
  };
}

/** What Lambda's Node runtime gives those who answer bit by bit. */
interface Streaming {
  streamifyResponse(f: (event: LambdaEvent, stream: Sink) => Promise<void>): LambdaStreamer;
  readonly HttpResponseStream: {
    from(stream: Sink, head: { statusCode: number; headers: Record<string, string> }): Sink;
  };
}
export type LambdaStreamer = (event: LambdaEvent, stream: Sink, context?: unknown) => Promise<void>;

/**
 * A handler as Lambda calls it behind a function URL whose invoke mode is RESPONSE_STREAM: answers go out as they come, events of a
 * training among them.
 *
 * ```ts
 * export const handle = lambdaStream(handler);
 * ```
 * @throws Error outside of Lambda's Node runtime, which alone can do that
 */
export function lambdaStream(handler: Handler): LambdaStreamer {
  const { awslambda } = globalThis as { awslambda?: Streaming };
  if (!awslambda) throw new Error("lambdaStream: this is not Lambda's Node runtime. Use lambdaHandler.");
  return awslambda.streamifyResponse(async (event, stream) => {
    const response = await handler(requestOf(event));
    const head = { statusCode: response.status, headers: Object.fromEntries(response.headers) };
    await pipe(response.body, awslambda.HttpResponseStream.from(stream, head));
  });
}

/** @throws TypeError for an event that is no web request */
function requestOf(event: LambdaEvent): Request {
  const method = event.requestContext?.http?.method ?? event.httpMethod;
  const path = event.rawPath ?? event.path;
  if (!method || !path?.startsWith("/"))
    throw new TypeError(
      "lambdaHandler: the event is no web request. Call the function through its URL or through API Gateway.",
    );
  const headers = new Headers();
  for (const [name, value] of Object.entries(event.headers ?? {})) if (value !== undefined) headers.set(name, value);
  for (const [name, values] of Object.entries(event.multiValueHeaders ?? {})) {
    headers.delete(name);
    for (const value of values ?? []) headers.append(name, value);
  }
  const query = event.rawQueryString ?? queryOf(event).toString();
  const host = event.requestContext?.domainName ?? headers.get("host") ?? "lambda";
  const hasBody = typeof event.body === "string" && method !== "GET" && method !== "HEAD";
  const body = hasBody && (event.isBase64Encoded ? fromBase64(event.body!) : new TextEncoder().encode(event.body!));
  return new Request(`https://${host}${path}${query ? `?${query}` : ""}`, { method, headers, ...(body && { body }) });
}

function queryOf({
  multiValueQueryStringParameters: several,
  queryStringParameters: one,
}: LambdaEvent): URLSearchParams {
  const pairs = Object.entries(several ?? one ?? {}).flatMap(([name, values]) =>
    [values ?? []].flat().map((value) => [name, value as string]),
  );
  return new URLSearchParams(pairs);
}

/** Characters of a text that are made at once. */
const PIECE = 2 ** 15;

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return btoa(text);
}

const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
