/** Converts Lambda's events to web Requests, and web Responses to Lambda's results. */
import { TypeError } from "../../../runtime/errors.ts";
import { Problem } from "../../core/problems.ts";
import { invalidTarget, urlAt } from "../../core/urls.ts";
import type { LambdaEvent, LambdaResult } from "./types.ts";

/** The status and headers of a result, in the form that the source of the event expects. */
export function headOf(
  { status, headers }: Response,
  event: LambdaEvent,
): Omit<LambdaResult, "body" | "isBase64Encoded"> {
  const cookies = headers.getSetCookie();
  const { "set-cookie": _, ...plain } = Object.fromEntries(headers);
  if (event.requestContext?.http) return { statusCode: status, headers: plain, ...(cookies.length && { cookies }) };
  const lists = Object.entries(plain).map(([name, value]) => [name, [value]] as const);
  return {
    statusCode: status,
    // `headers` can hold only one cookie, the last one; `multiValueHeaders` holds all of them.
    headers: { ...plain, ...(cookies.length && { "set-cookie": cookies.at(-1)! }) },
    multiValueHeaders: { ...Object.fromEntries(lists), ...(cookies.length && { "set-cookie": cookies }) },
  };
}

/** Converts a response to a result, with its whole body. */
export async function resultOf(response: Response, event: LambdaEvent): Promise<LambdaResult> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  const isText = /^text\/|[/+]json\b/.test(response.headers.get("content-type") ?? "text/plain");
  return {
    ...headOf(response, event),
    body: isText ? new TextDecoder().decode(bytes) : toBase64(bytes),
    isBase64Encoded: !isText,
  };
}

/**
 * Converts an event to a web Request.
 * @throws TypeError if the event is not a web request; Problem 400 if a web Request cannot represent it
 */
export function requestOf(event: LambdaEvent): Request {
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
    throw new Problem(400, "The body is not valid base64. Encode it again.");
  }
  const query = event.rawQueryString ?? queryOf(event);
  try {
    const headers = headersOf(event);
    const host = event.requestContext?.domainName ?? (headers.get("host") || "lambda");
    const url = urlAt("https", host, `${path}${query ? `?${query}` : ""}`);
    return new Request(url, { method, headers, ...(body && { body }) });
  } catch {
    throw invalidTarget();
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
  // Load balancers pass the query still encoded, so do not encode it again.
  if (requestContext?.elb) return pairs.map((pair) => pair.join("=")).join("&");
  return new URLSearchParams(pairs).toString();
}

/** The number of bytes to convert per call to String.fromCharCode. */
const CHUNK = 2 ** 15;

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(text);
}

const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
