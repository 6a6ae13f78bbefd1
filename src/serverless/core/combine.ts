/** Combines several handlers into one, which chooses a handler by the start of the path. */
import { check } from "../../runtime/arguments.ts";
import { TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { type Handler, handlerOf, responderOf, routesOf } from "./handler.ts";
import { notifier } from "./notify.ts";
import { Problem, problemOf, quote } from "./problems.ts";
import { readPath } from "./schema.ts";
import { urlOf } from "./urls.ts";

/**
 * Combines several handlers into one. Each handler serves the requests below its own path, and sees URLs without that
 * prefix. The longest matching path wins. If a handler throws, the response is 500, and the error goes to
 * console.error.
 *
 * ```ts
 * const handler = combine({ "/digits": inferenceHandler({ … }), "/train": trainingHandler({ … }) });
 * ```
 * @param handlers handlers by path, such as `{ "/digits": handler }`; "/" serves all other paths
 * @throws TypeError if a path does not start with "/" or has a trailing slash, or if a handler is not a function
 */
export function combine(handlers: Readonly<Record<string, Handler>>): Handler {
  if (typeof handlers === "function")
    throw new TypeError(`combine: handlers must be an object, got a function. Pass { "/path": handler }.`);
  check("combine", arguments, "handlers:object");
  const mounts = Object.entries(handlers)
    .map(([path, handler]) => {
      if (typeof handler !== "function")
        throw new TypeError(
          `combine: the handler at ${quote(path)} must be a function of a Request, got ${describe(handler)}.`,
        );
      const prefix = readPath("combine", path).replace(/^\/$/, "");
      return { prefix, respond: responderOf(handler), routes: routesOf(handler) };
    })
    .sort((a, b) => b.prefix.length - a.prefix.length);
  const notify = notifier();
  const routes = mounts.flatMap(({ prefix, routes }) =>
    routes.map((route) => (route === "/" && prefix ? prefix : prefix + route)),
  );
  return handlerOf(async (request) => {
    try {
      const url = urlOf(request);
      const { pathname } = url;
      const mount = mounts.find(({ prefix }) => pathname === prefix || pathname.startsWith(`${prefix}/`));
      if (!mount) throw new Problem(404, "No function is served at this path. Check the URL.");
      const { prefix, respond } = mount;
      url.pathname = pathname.slice(prefix.length) || "/";
      return await respond(prefix ? request.at(url) : request);
    } catch (error) {
      return problemOf(error, notify).reply();
    }
  }, routes);
}
