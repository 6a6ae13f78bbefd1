/**
 * The routes of a function (its own path, /health and /metadata), with authorization, limits and 404 responses. Only
 * this file uses the router. Every error response is in the format of problems.ts.
 */

import { PatternRouter } from "hono/router/pattern-router";
import { info } from "nabla";
import { authorization } from "./auth.ts";
import { type Handler, handlerOf, type Responder } from "./handler.ts";
import { type Notify, notifier } from "./notify.ts";
import { isObserved, OBSERVE, type ObserveOptions, observeResponder } from "./observe.ts";
import { Problem, problemOf } from "./problems.ts";
import { type Answer, Reply } from "./reply.ts";
import type { HandlerRequest } from "./request.ts";
import { type Limits, readPath } from "./schema.ts";
import { type Slot, Slots } from "./slots.ts";
import { urlOf } from "./urls.ts";

/** Options that inferenceHandler and trainingHandler share. */
export interface HandlerOptions extends ObserveOptions {
  /** The function's name in /metadata. Default "nabla". */
  readonly name?: string;
  /** The path of the function, without a trailing slash. /health, /metadata and /metrics are below it. Default "/". */
  readonly path?: string;
  /**
   * The token that clients must send as `Authorization: Bearer`, or a list of accepted tokens. Tokens are compared in
   * constant time. A request without a token gets a 401, and a request with a wrong token gets a 403; /health needs no
   * token. Default: everyone is admitted. If the option is present but undefined or empty, for example because an
   * environment variable is not set, creating the handler throws.
   */
  readonly token?: string | readonly string[];
  /**
   * A function to use instead of `token`. It receives the token in `Authorization: Bearer`, or undefined if there is
   * none, and a request with the method, URL and headers, but without the body. Only the result `true` admits the
   * client. A result that is not a boolean is also reported to onError. Default: everyone is admitted.
   */
  readonly authorize?: (token: string | undefined, request: Request) => boolean | Promise<boolean>;
  /**
   * Receives the errors that clients do not see, such as the error that kept a model from loading. Default:
   * console.error.
   */
  readonly onError?: (error: unknown) => void;
}

/** The options of HandlerOptions, as a signature for `check` without its braces. */
export const HANDLER = `name:string path:string token:any authorize:function onError:function ${OBSERVE}`;

/** The parts that differ between inference and training. */
export interface Service<B> {
  /** Reads the body of a POST. Reading takes no slot, so slow clients do not block others. */
  readonly read: (request: HandlerRequest) => Promise<B>;
  /** Answers the request. Must release the slot at the end; if it throws, the router releases the slot. */
  readonly respond: (body: B, slot: Slot, request: HandlerRequest) => Promise<Answer>;
  /** Prepares the function for its first request. */
  readonly load: () => Promise<unknown>;
  readonly isReady: () => boolean;
  readonly limits: Limits;
  /** The properties that /metadata reports in addition to `name` and `nabla`. */
  readonly metadata: object;
}

/** The package's version. The build replaces this name with a string. */
declare const NABLA_VERSION: string | undefined;
const version = typeof NABLA_VERSION === "string" ? NABLA_VERSION : "development";

const json = (value: object): Reply =>
  new Reply(JSON.stringify(value), { "content-type": "application/json", "cache-control": "no-store" });

/**
 * The number of requests that may wait for authorization or loading at the same time. They take no slots from requests
 * that are being processed.
 */
const WAITING = 64;

interface Route {
  readonly method: "GET" | "POST";
  readonly respond: Responder;
}

/**
 * Creates the handler of a service.
 * @param what the handler's name in error messages
 * @throws TypeError for an invalid path or token
 */
export function serve<B>(what: string, options: HandlerOptions, service: Service<B>): Handler {
  const { limits } = service;
  const notify = notifier(options.onError);
  const waiting = new Slots({ ...limits, concurrency: Math.max(WAITING, limits.concurrency) });
  const context = { slots: waiting, notify, milliseconds: limits.milliseconds };
  const requireAuthorized = authorization(what, options, context);
  const path = readPath(what, options.path);
  const below = path === "/" ? "" : path;
  const routes: Record<string, Route> = {
    [path]: { method: "POST", respond: main(service, requireAuthorized) },
    [`${below}/health`]: { method: "GET", respond: health(service, waiting) },
    [`${below}/metadata`]: { method: "GET", respond: metadata(service, options, requireAuthorized) },
  };
  const respond = dispatch(routes, `POST to ${path}, or GET ${below}/health.`, notify);
  const paths = Object.keys(routes);
  if (!isObserved(options)) return handlerOf(respond, paths);
  const metricsRoute = { metricsPath: `${below}/metrics`, requireAuthorized };
  return observeResponder(what, { respond, routes: paths }, options, metricsRoute);
}

type RequireAuthorized = (request: HandlerRequest) => Promise<void>;

function main<B>({ read, respond, limits }: Service<B>, requireAuthorized: RequireAuthorized): Responder {
  const slots = new Slots(limits);
  return async (request) => {
    await requireAuthorized(request);
    slots.requireFree();
    const body = await read(request);
    const slot = slots.take();
    try {
      return await respond(body, slot, request);
    } catch (error) {
      slot.release();
      throw error;
    }
  };
}

function health<B>({ load, isReady }: Service<B>, waiting: Slots): Responder {
  return async (request) => {
    if (urlOf(request).searchParams.has("ready") && !isReady()) await waiting.run(load);
    return json({ status: "ok", ready: isReady() });
  };
}

function metadata<B>(
  { metadata }: Service<B>,
  { name = "nabla" }: HandlerOptions,
  requireAuthorized: RequireAuthorized,
): Responder {
  return async (request) => {
    await requireAuthorized(request);
    const { build, threads } = info();
    return json({ name, ...metadata, nabla: { version, build, threads } });
  };
}

/** Sends each request to its route. If there is none, `hint` tells the client which routes exist. */
function dispatch(routes: Readonly<Record<string, Route>>, hint: string, notify: Notify): Responder {
  const router = new PatternRouter<Route>();
  for (const [path, route] of Object.entries(routes)) router.add("ALL", path, route);

  const respond = async (request: HandlerRequest): Promise<Answer> => {
    const route = router.match("ALL", decodePath(urlOf(request).pathname))[0][0]?.[0];
    if (!route) throw new Problem(404, `Nothing is served at this path. ${hint}`);
    const allow = route.method === "GET" ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
    if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: { allow } });
    const isHead = request.method === "HEAD" && route.method === "GET";
    if (request.method !== route.method && !isHead)
      throw new Problem(405, `Method not allowed. Use ${route.method}.`, { allow });
    const answer = await route.respond(request);
    return isHead ? new Response(null, { status: answer.status, headers: answer.headers }) : answer;
  };
  return async (request) => {
    try {
      return await respond(request);
    } catch (error) {
      return problemOf(error, notify).reply();
    }
  };
}

function decodePath(pathname: string): string {
  try {
    return decodeURI(pathname);
  } catch {
    return pathname;
  }
}
