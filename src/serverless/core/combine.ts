/** Several functions behind one: by the beginning of the path. */
import { check } from "../../runtime/arguments.ts";
import { TypeError } from "../../runtime/errors.ts";
import { describe } from "../../runtime/kinds.ts";
import { at, reading, readsLittle, routesOf, whole } from "./asked.ts";
import { Problem, quote } from "./problems.ts";
import { answering, type Handler } from "./routes.ts";
import { readPath } from "./schema.ts";
import { telling } from "./telling.ts";

/**
 * One handler of several, each below its path, which it does not see.
 *
 * ```ts
 * const handler = combine({ "/digits": inferenceHandler({ … }), "/train": trainingHandler({ … }) });
 * ```
 * What a handler throws is answered 500, and told to console.error.
 * @throws TypeError where a path does not begin with "/" or ends with one, or if a handler is not a function
 */
export function combine(handlers: Readonly<Record<string, Handler>>): Handler {
  if (typeof handlers === "function")
    throw new TypeError(`combine: handlers must be an object of paths, got a function. Pass { "/path": handler }.`);
  check("combine", arguments, "handlers:object");
  const below = Object.entries(handlers)
    .map(([path, handler]) => {
      if (typeof handler !== "function")
        throw new TypeError(
          `combine: at ${quote(path)} must be a handler, a function that answers a Request, got ${describe(handler)}.`,
        );
      return { path: readPath("combine", path).replace(/^\/$/, ""), handler };
    })
    .sort((a, b) => b.path.length - a.path.length);
  const answer = (request: Request): Promise<Response> =>
    answering(request, telling(), async (url) => {
      const { pathname } = url;
      const found = below.find(({ path }) => pathname === path || pathname.startsWith(`${path}/`));
      if (!found) throw new Problem(404, "There is nothing here. Ask at the path of a function.");
      const { path, handler } = found;
      url.pathname = pathname.slice(path.length) || "/";
      const inner = path ? at(request, url) : request;
      return handler(readsLittle(handler) ? (inner as Request) : whole(inner));
    });
  const routes = below.flatMap(({ path, handler }) =>
    routesOf(handler).map((route) => (route === "/" && path ? path : path + route)),
  );
  return reading(answer, routes);
}
