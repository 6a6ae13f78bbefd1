/**
 * What every function answers besides its own work: who may, health, metadata, what there is not. The only place that knows the
 * router. Nothing that goes wrong leaves here but as a problem.
 */

import { Hono } from "hono/tiny";
import { info } from "nabla";
import { type Answer, type Asked, answerTo, Reply, reading, whole } from "./asked.ts";
import { Problem } from "./problems.ts";
import { readPath } from "./schema.ts";

/** The web's own form of a server: what Workers, Deno and Bun call, and adapters bring to Node and Lambda. Never rejects. */
export type Handler = (request: Request) => Promise<Response>;

/** What all handlers take. */
export interface HandlerOptions {
  /** What /metadata calls the function. Default "nabla". */
  readonly name?: string;
  /** Where it answers: a path without a slash at its end. Its routes lie below. Default "/". */
  readonly path?: string;
  /**
   * Whether the bearer of a token may: called with what follows `Authorization: Bearer`, undefined where there is none. Refused are
   * answered 401 without a token, 403 with one. /health is open to all. Default: everyone may.
   */
  readonly authorize?: (token: string | undefined, request: Request) => boolean | Promise<boolean>;
  /** Hears of what clients are not told: why a model did not load, what was thrown. Default: console.error. */
  readonly onError?: (error: unknown) => void;
}

interface Routes extends HandlerOptions {
  /** POST to the path. */
  readonly work: (request: Asked) => Promise<Answer>;
  /** Makes ready whatever is made once. */
  readonly ready: () => Promise<unknown>;
  readonly isReady: () => boolean;
  /** What /metadata says of the function. */
  readonly metadata: object;
}

/** Set where the package is built. */
declare const NABLA_VERSION: string | undefined;
const version = typeof NABLA_VERSION === "string" ? NABLA_VERSION : "development";

/** What is told of an error that is not the client's. */
const FAILED = "The function failed. Its log says why.";

const json = (value: object): Reply =>
  new Reply(JSON.stringify(value), { "content-type": "application/json", "cache-control": "no-store" });

/** The token of `Authorization: Bearer token`. */
const tokenOf = (request: Asked): string | undefined =>
  /^Bearer +([\w~+/.-]+=*) *$/i.exec(request.headers.get("authorization") ?? "")?.[1];

/** Calls what the user gave to hear of errors; its own are nobody's business. */
export function telling(onError: (error: unknown) => void = console.error): (error: unknown) => void {
  return (error) => {
    try {
      onError(error);
    } catch {}
  };
}

/** A handler with these routes. `what` names it in errors. @throws TypeError where the path is none */
export function routes(what: string, options: Routes): Handler {
  const { name = "nabla", authorize, work, ready, isReady, metadata } = options;
  const path = readPath(what, options.path);
  const below = path === "/" ? "" : path;
  const tell = telling(options.onError);

  const requireAuthorized = async (request: Asked): Promise<void> => {
    if (!authorize) return;
    const token = tokenOf(request);
    if (await authorize(token, whole(request))) return;
    if (token !== undefined) throw new Problem(403, "This token may not do that. Use another.");
    const challenge = { "www-authenticate": 'Bearer realm="nabla"' };
    throw new Problem(401, "A token is needed. Send Authorization: Bearer, and the token.", challenge);
  };
  const table: Record<string, { method: "GET" | "POST"; allow: string; answer: (request: Asked) => Promise<Answer> }> =
    {
      [path]: {
        method: "POST",
        allow: "POST, OPTIONS",
        async answer(request) {
          await requireAuthorized(request);
          return work(request);
        },
      },
      [`${below}/health`]: {
        method: "GET",
        allow: "GET, HEAD, OPTIONS",
        async answer(request) {
          if (new URL(request.url).searchParams.has("ready")) await ready();
          return json({ status: "ok", ready: isReady() });
        },
      },
      [`${below}/metadata`]: {
        method: "GET",
        allow: "GET, HEAD, OPTIONS",
        async answer(request) {
          await requireAuthorized(request);
          const { build, threads } = info();
          return json({ name, ...metadata, nabla: { version, build, threads } });
        },
      },
    };

  // The router hands answers on as they are, and makes those to HEAD of their status and headers.
  const app = new Hono();
  for (const [at, { method, answer }] of Object.entries(table))
    app.on(method, at, (c) => answer(c.req.raw) as Promise<Response>);
  app.notFound((c) => {
    // It takes a slash at the end for none.
    const at = c.req.path.replace(/(?<=.)\/$/, "");
    const route = Object.hasOwn(table, at) && table[at];
    if (!route) throw new Problem(404, `There is nothing here. POST to ${path}, or GET ${below}/health.`);
    const { allow, method } = route;
    if (c.req.method === "OPTIONS") return new Response(null, { status: 204, headers: { allow } });
    throw new Problem(405, `This is asked for with ${method}.`, { allow });
  });
  app.onError((error) => {
    if (!(error instanceof Problem)) tell(error);
    const problem = error instanceof Problem ? error : new Problem(500, FAILED);
    return problem.reply() as object as Response;
  });
  return reading(async (request: Request) => {
    try {
      return answerTo(request, await app.fetch(request));
    } catch (error) {
      tell(error);
      return answerTo(request, new Problem(500, FAILED).reply());
    }
  });
}
