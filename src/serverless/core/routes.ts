/**
 * What every function answers besides its own work: who may, health, metadata, what there is not. The only place that knows the
 * router. Nothing that goes wrong leaves here but as a problem.
 */

import { Hono } from "hono/tiny";
import { info } from "nabla";
import { type Answer, type Asked, answerTo, Reply, reading } from "./asked.ts";
import { guard } from "./guard.ts";
import { type Place, Places } from "./limits.ts";
import { around, OBSERVE, OBSERVED, type ObserveOptions } from "./observe.ts";
import { Problem } from "./problems.ts";
import { type Limits, readPath } from "./schema.ts";
import { type Tell, telling } from "./telling.ts";
import { urlOf } from "./urls.ts";

/** The web's own form of a server: what Workers, Deno and Bun call, and adapters bring to Node and Lambda. Never rejects. */
export type Handler = (request: Request) => Promise<Response>;

/** What all handlers take. */
export interface HandlerOptions extends ObserveOptions {
  /** What /metadata calls the function. Default "nabla". */
  readonly name?: string;
  /** Where it answers: a path without a slash at its end. Its routes lie below. Default "/". */
  readonly path?: string;
  /**
   * The token that a client must send as `Authorization: Bearer`, or several of which any will do. Compared in constant time. Without
   * a token the answer is 401, with another one 403. /health is open to all. Default: everyone may; but an undefined or empty token,
   * as from an environment variable that is not set, is an error.
   */
  readonly token?: string | readonly string[];
  /**
   * Decides instead of `token`. It is given what follows `Authorization: Bearer`, undefined without a token, and the request: its
   * method, URL and headers, without its body. Only `true` admits. Anything but a boolean is refused, and onError is told.
   */
  readonly authorize?: (token: string | undefined, request: Request) => boolean | Promise<boolean>;
  /** Is told what clients are not: why a model did not load, what was thrown. Default: console.error. */
  readonly onError?: (error: unknown) => void;
}

/** The same, as arguments are checked. */
export const HANDLER = `name:string path:string token:any authorize:function onError:function ${OBSERVE}`;

interface Routes<B> extends HandlerOptions {
  /** Reads the body of a POST to the path. Slow clients take no place. */
  readonly read: (request: Asked) => Promise<B>;
  /** Answers it. It leaves the place when it has ended; if it throws, that is done for it. */
  readonly work: (body: B, place: Place, request: Asked) => Promise<Answer>;
  readonly limits: Limits;
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

/** What `answer` gives, which is given where the request goes. Nothing that goes wrong leaves here but as a problem. */
export async function answering(
  request: Asked,
  tell: Tell,
  answer: (url: URL) => Answer | Promise<Answer>,
): Promise<Response> {
  try {
    return answerTo(request, await answer(urlOf(request)));
  } catch (error) {
    if (!(error instanceof Problem)) tell(error);
    return answerTo(request, (error instanceof Problem ? error : new Problem(500, FAILED)).reply());
  }
}

/** Requests at once that may ask whether they may, or wait for what is made once: those that only ask take no places from work. */
const ASKING = 64;

/** A handler with these routes. `what` names it in errors. @throws TypeError for a path or a token that cannot be used */
export function routes<B>(what: string, options: Routes<B>): Handler {
  const { name = "nabla", read, work, ready, isReady, metadata, limits } = options;
  const places = new Places(limits);
  const asking = new Places({ ...limits, concurrency: Math.max(ASKING, limits.concurrency) });
  const path = readPath(what, options.path);
  const below = path === "/" ? "" : path;
  const tell = telling(options.onError);
  const requireAuthorized = guard(what, options, { asking, tell, milliseconds: limits.milliseconds });
  const table: Record<string, { method: "GET" | "POST"; allow: string; answer: (request: Asked) => Promise<Answer> }> =
    {
      [path]: {
        method: "POST",
        allow: "POST, OPTIONS",
        async answer(request) {
          await requireAuthorized(request);
          places.requireFree();
          const body = await read(request);
          const place = places.take();
          try {
            return await work(body, place, request);
          } catch (error) {
            place.leave();
            throw error;
          }
        },
      },
      [`${below}/health`]: {
        method: "GET",
        allow: "GET, HEAD, OPTIONS",
        async answer(request) {
          if (urlOf(request).searchParams.has("ready") && !isReady()) await asking.holding(ready);
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
    throw new Problem(405, `Method not allowed. Use ${method}.`, { allow });
  });
  app.onError((error) => {
    if (!(error instanceof Problem)) tell(error);
    const problem = error instanceof Problem ? error : new Problem(500, FAILED);
    return problem.reply() as object as Response;
  });
  const handler = reading((request: Request) => answering(request, tell, () => app.fetch(request)), Object.keys(table));
  const isObserved = OBSERVED.some((option) => options[option]);
  return isObserved ? around(what, handler, options, { metricsPath: `${below}/metrics`, requireAuthorized }) : handler;
}
