/** AWS Lambda for handlers: events of function URLs and of API Gateway (both payload versions) in, their results out. */
import { check } from "../../runtime/arguments.ts";
import { Error, TypeError } from "../../runtime/errors.ts";
import { responseOf } from "../core/asked.ts";
import { pipe, type Sink } from "../core/pipe.ts";
import { Problem } from "../core/problems.ts";
import type { Handler } from "../core/routes.ts";
import { unserved, urlAt } from "../core/urls.ts";

/** What is used of an event. Version 2 (function URLs, HTTP APIs) has requestContext.http, version 1 (REST APIs) httpMethod. */
export interface LambdaEvent {
  readonly [key: string]: unknown;
  readonly rawPath?: string;
  readonly rawQueryString?: string;
  /** Version 2 takes them out of the headers. */
  readonly cookies?: readonly string[] | null;
  readonly requestContext?: {
    readonly [key: string]: unknown;
    readonly domainName?: string;
    /** Of an application load balancer. */
    readonly elb?: unknown;
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
  /** The same, for version 1 and for load balancers that are set to have several of a name. */
  readonly multiValueHeaders?: Record<string, string[]>;
  /** For version 2: what Set-Cookie has. */
  readonly cookies?: string[];
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
 * @throws TypeError for an event that is not a web request
 */
export function lambdaHandler(handler: Handler): (event: LambdaEvent) => Promise<LambdaResult> {
  check("lambdaHandler", arguments, "handler:function");
  return async (event) => {
    const response = await answer(handler, event);
    const bytes = new Uint8Array(await response.arrayBuffer());
    const isText = /^text\/|[/+]json\b/.test(response.headers.get("content-type") ?? "text/plain");
    return {
      ...headOf(response, event),
      body: isText ? new TextDecoder().decode(bytes) : toBase64(bytes),
      isBase64Encoded: !isText,
    };
  };
}

/** What Lambda's Node runtime gives those who answer bit by bit. */
interface Streaming {
  streamifyResponse(f: (event: LambdaEvent, stream: Sink) => Promise<void>): LambdaStreamer;
  readonly HttpResponseStream: {
    from(stream: Sink, head: Omit<LambdaResult, "body" | "isBase64Encoded">): Sink;
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
  check("lambdaStream", arguments, "handler:function");
  const { awslambda } = globalThis as { awslambda?: Streaming };
  if (!awslambda) throw new Error("lambdaStream: this is not Lambda's Node runtime. Use lambdaHandler.");
  return awslambda.streamifyResponse(async (event, stream) => {
    const response = await answer(handler, event);
    await pipe(response.body, awslambda.HttpResponseStream.from(stream, headOf(response, event)));
  });
}

/** @throws TypeError for an event that is not a web request */
async function answer(handler: Handler, event: LambdaEvent): Promise<Response> {
  let request: Request;
  try {
    request = requestOf(event);
  } catch (error) {
    if (error instanceof Problem) return responseOf(error.reply());
    throw error;
  }
  return handler(request);
}

/** A response's status and headers, in the form of who asked. */
function headOf({ status, headers }: Response, event: LambdaEvent): Omit<LambdaResult, "body" | "isBase64Encoded"> {
  const cookies = headers.getSetCookie();
  const { "set-cookie": _, ...plain } = Object.fromEntries(headers);
  if (event.requestContext?.http) return { statusCode: status, headers: plain, ...(cookies.length && { cookies }) };
  const several = Object.entries(plain).map(([name, value]) => [name, [value]] as const);
  return {
    statusCode: status,
    // One is all that fits.
    headers: { ...plain, ...(cookies.length && { "set-cookie": cookies.at(-1)! }) },
    multiValueHeaders: { ...Object.fromEntries(several), ...(cookies.length && { "set-cookie": cookies }) },
  };
}

/** @throws TypeError for an event that is not a web request; Problem 400 for a request that the web does not have */
function requestOf(event: LambdaEvent): Request {
  const method = event.requestContext?.http?.method ?? event.httpMethod;
  const path = event.rawPath ?? event.path;
  if (!method || !path?.startsWith("/"))
    throw new TypeError(
      "lambdaHandler: the event is not a web request. Call the function through its URL or through API Gateway.",
    );
  const hasBody = typeof event.body === "string" && method !== "GET" && method !== "HEAD";
  let body: Uint8Array<ArrayBuffer> | undefined;
  try {
    if (hasBody) body = event.isBase64Encoded ? fromBase64(event.body!) : new TextEncoder().encode(event.body!);
  } catch {
    throw new Problem(400, "The body is not the base64 that it is said to be. Send it anew.");
  }
  const query = event.rawQueryString ?? queryOf(event);
  try {
    const headers = headersOf(event);
    const host = event.requestContext?.domainName ?? (headers.get("host") || "lambda");
    const url = urlAt("https", host, `${path}${query ? `?${query}` : ""}`);
    return new Request(url, { method, headers, ...(body && { body }) });
  } catch {
    throw unserved();
  }
}

function headersOf(event: LambdaEvent): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(event.headers ?? {})) if (value !== undefined) headers.set(name, value);
  for (const [name, values] of Object.entries(event.multiValueHeaders ?? {})) {
    headers.delete(name);
    for (const value of values ?? []) headers.append(name, value);
  }
  if (event.cookies?.length) headers.set("cookie", event.cookies.join("; "));
  return headers;
}

function queryOf({
  multiValueQueryStringParameters: several,
  queryStringParameters: one,
  requestContext,
}: LambdaEvent): string {
  const pairs = Object.entries(several ?? one ?? {}).flatMap(([name, values]) =>
    [values ?? []].flat().map((value) => [name, value as string]),
  );
  // Load balancers leave it as it came.
  if (requestContext?.elb) return pairs.map((pair) => pair.join("=")).join("&");
  return new URLSearchParams(pairs).toString();
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
