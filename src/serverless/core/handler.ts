/**
 * The two forms of a handler. Users and platforms call a web Handler. Each of nabla's own handlers wraps a Responder,
 * which adapters and wrappers call directly, so that parts of nabla can call each other without building a web Request
 * and Response.
 */
import { type Answer, responseOf } from "./reply.ts";
import { type HandlerRequest, WebRequest } from "./request.ts";

/**
 * A web function: takes a Request and returns a Response. Workers, Deno and Bun call it directly; `nodeListener` and
 * `lambdaHandler` adapt it to Node and AWS Lambda. Handlers made by nabla never reject.
 */
export type Handler = (request: Request) => Promise<Response>;

/** The internal form of a handler, which needs no web Request or Response. */
export type Responder = (request: HandlerRequest) => Promise<Answer>;

/** The internal forms of the handlers that nabla made. */
const internals = new WeakMap<Handler, { readonly respond: Responder; readonly routes: readonly string[] }>();

/** Wraps a responder in a web Handler. `routes` are the paths that it serves. */
export function handlerOf(respond: Responder, routes: readonly string[]): Handler {
  const handler: Handler = async (request) => responseOf(await respond(new WebRequest(request)));
  internals.set(handler, { respond, routes });
  return handler;
}

/** The responder of any handler. The responder may throw if nabla did not make the handler. */
export const responderOf = (handler: Handler): Responder =>
  internals.get(handler)?.respond ?? (async (request) => handler(request.toRequest()));

/** The paths that a handler serves; empty if nabla did not make the handler. */
export const routesOf = (handler: Handler): readonly string[] => internals.get(handler)?.routes ?? [];
