/** Content negotiation: finds the content type of a request's body, and the content type of the response. */
import { Problem, quote } from "./problems.ts";
import type { HandlerRequest } from "./request.ts";

export const JSON_TYPE = "application/json";
export const BINARY_TYPES = ["application/vnd.safetensors", "application/octet-stream"] as const;
const TYPES = [JSON_TYPE, ...BINARY_TYPES] as const;
export type BodyType = (typeof TYPES)[number];

/** The type of a request's body. @throws Problem 415 if the type is not supported */
export function bodyType(request: HandlerRequest): BodyType {
  const [type, ...parameters] = (request.header("content-type") ?? "")
    .split(";")
    .map((part) => part.trim().toLowerCase());
  const remedy = `Send Content-Type: ${JSON_TYPE} or ${BINARY_TYPES[0]}.`;
  const accepted = { "accept-post": TYPES.join(", ") };
  const known = TYPES.find((supported) => supported === type);
  if (!known)
    throw new Problem(
      415,
      type ? `Content-Type ${quote(type)} is not supported. ${remedy}` : `Content-Type is missing. ${remedy}`,
      accepted,
    );
  const charset = parameters
    .find((parameter) => parameter.startsWith("charset="))
    ?.slice(8)
    .replaceAll('"', "");
  if (charset !== undefined && !["utf-8", "utf8", "us-ascii"].includes(charset))
    throw new Problem(415, `The charset ${quote(charset)} is not supported. Send the body as UTF-8.`, accepted);
  const encoding = request.header("content-encoding") ?? "identity";
  if (encoding.toLowerCase() !== "identity")
    throw new Problem(415, "Encoded bodies are not supported. Send the body without Content-Encoding.", {
      "accept-encoding": "identity",
    });
  return known;
}

/**
 * The weight that an Accept header gives a type, 0 … 1. If several media ranges match, the most specific one decides.
 */
function quality(accept: string, type: string): number {
  let [best, q] = [-1, 0];
  for (const part of accept.toLowerCase().split(",")) {
    const [range, ...parameters] = part.split(";").map((piece) => piece.trim());
    const rank = ["*/*", `${type.split("/")[0]}/*`, type].indexOf(range!);
    if (rank <= best) continue;
    const weight = Number(parameters.find((parameter) => parameter.startsWith("q="))?.slice(2) ?? 1);
    [best, q] = [rank, weight >= 0 ? Math.min(weight, 1) : 0];
  }
  return q;
}

/**
 * The offered type that the client prefers; the first one if the client has no preference.
 * @throws Problem 406 if the client accepts none of them
 */
export function negotiate<T extends string>(request: HandlerRequest, offered: readonly T[]): T {
  const accept = request.header("accept");
  if (accept === null || accept === "*/*") return offered[0]!;
  const [best] = offered
    .map((type) => ({ type, q: quality(accept, type) }))
    .filter(({ q }) => q > 0)
    .sort((a, b) => b.q - a.q);
  if (!best) throw new Problem(406, `None of the accepted types is available. Accept ${offered.join(" or ")}.`);
  return best.type;
}

/** The content type of the response: that of the request's body, unless the client prefers another. */
export const answerType = (request: HandlerRequest, requestType: BodyType): BodyType =>
  negotiate(request, [requestType, ...TYPES.filter((type) => type !== requestType)]);
