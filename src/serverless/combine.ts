/** Several functions behind one: by the beginning of the path. */
import { answerTo, at, reading, readsLittle, whole } from "./asked.ts";
import { Problem } from "./problems.ts";
import type { Handler } from "./routes.ts";
import { readPath } from "./schema.ts";

/**
 * One handler of several, each below its path, which it does not see.
 *
 * ```ts
 * const handler = combine({ "/digits": inferenceHandler({ … }), "/train": trainingHandler({ … }) });
 * ```
 * @throws TypeError where a path does not begin with "/" or ends with one
 */
export function combine(handlers: Readonly<Record<string, Handler>>): Handler {
  const below = Object.entries(handlers)
    .map(([path, handler]) => ({ path: readPath("combine", path).replace(/^\/$/, ""), handler }))
    .sort((a, b) => b.path.length - a.path.length);
  return reading(async (request: Request) => {
    const url = new URL(request.url);
    const { pathname } = url;
    const found = below.find(({ path }) => pathname === path || pathname.startsWith(`${path}/`));
    if (!found)
      return answerTo(request, new Problem(404, "There is nothing here. Ask at the path of a function.").reply());
    const { path, handler } = found;
    url.pathname = pathname.slice(path.length) || "/";
    const inner = path ? at(request, url) : request;
    return handler(readsLittle(handler) ? (inner as Request) : whole(inner));
  });
}
