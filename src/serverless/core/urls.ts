/** Where requests go. The one place where a client's path and host become a URL. */
import type { Asked } from "./asked.ts";
import { Problem } from "./problems.ts";

export const unserved = (): Problem =>
  new Problem(400, "The request's method, path or host is none that can be served.");

/** What `text` gives, as a URL. @throws Problem 400 where it is none, or has a user's name in it, which no Request may have */
export function readUrl(text: () => string): URL {
  let url: URL | undefined;
  try {
    url = new URL(text());
  } catch {}
  if (!url || url.username || url.password) throw unserved();
  return url;
}

/** Names and addresses, with a port perhaps: nothing that ends the host and begins a path. */
const HOST = /^[\w.:[\]-]+$/;

/** Runtimes form a request's URL of whatever host was sent, some of them only when it is asked for. @throws Problem 400 */
export function urlOf(request: Asked): URL {
  const host = request.headers.get("host");
  if (host && !HOST.test(host)) throw unserved();
  return readUrl(() => request.url);
}

/** The URL of a path, or more, at the host that a client named. @throws Problem 400 */
export function urlAt(protocol: "http" | "https", host: string, path: string): URL {
  if (!HOST.test(host)) throw unserved();
  return readUrl(() => `${protocol}://${host}${path}`);
}
