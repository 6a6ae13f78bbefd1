/** Decides who may ask: by a token, or by the user's own function. */
import { TypeError } from "../../runtime/errors.ts";
import { type Asked, headOf } from "./asked.ts";
import { type Places, within } from "./limits.ts";
import { Problem, quote, unavailable } from "./problems.ts";

/** What decides. */
interface Rules {
  readonly token?: string | readonly string[];
  readonly authorize?: (token: string | undefined, request: Request) => boolean | Promise<boolean>;
}

interface Guarding {
  /** Places for requests that wait for the user's function. */
  readonly asking: Places;
  readonly tell: (error: unknown) => void;
  readonly milliseconds: number;
}

/** What an Authorization header can carry (RFC 6750, section 2.1). */
const TOKEN = /^[\w~+/.-]+=*$/;

/** The token of `Authorization: Bearer token`. */
const tokenOf = (request: Asked): string | undefined =>
  /^Bearer +([\w~+/.-]+=*) *$/i.exec(request.headers.get("authorization") ?? "")?.[1];

/**
 * Whether two tokens are equal. The time it takes depends on the length of the first alone, which the client knows.
 * Anything but a string, and an empty string, equals nothing.
 *
 * ```ts
 * authorize: (given) => isSameToken(given, tokens.get(user))
 * ```
 */
export function isSameToken(given: string | undefined, expected: string | undefined): boolean {
  if (typeof given !== "string" || typeof expected !== "string" || !given || !expected) return false;
  let difference = given.length ^ expected.length;
  for (let i = 0; i < given.length; i++) difference |= given.charCodeAt(i) ^ expected.charCodeAt(i % expected.length);
  return difference === 0;
}

/** @throws TypeError for a token that is missing, or that no header can carry */
function readTokens(what: string, given: unknown): readonly string[] {
  const tokens: unknown[] = Array.isArray(given) ? given : [given];
  const remedy = "Set it, or leave the option out to admit everyone.";
  if (!tokens.length) throw new TypeError(`${what}: token is an empty list. ${remedy}`);
  for (const token of tokens) {
    if (typeof token !== "string")
      throw new TypeError(`${what}: token must be a string, got ${typeof token}. ${remedy}`);
    if (!token) throw new TypeError(`${what}: token is empty. ${remedy}`);
    if (!TOKEN.test(token))
      throw new TypeError(
        `${what}: token has characters that no Authorization header carries. Use letters, digits and -._~+/, then = at most.`,
      );
  }
  return tokens as string[];
}

/** What a user's function returned, for its author. */
const show = (answer: unknown): string =>
  typeof answer === "string" ? quote(answer) : answer === null || answer === undefined ? String(answer) : typeof answer;

/** @returns what refuses a request that may not. @throws TypeError for options that cannot be used */
export function guard(
  what: string,
  options: Rules,
  { asking, tell, milliseconds }: Guarding,
): (request: Asked) => Promise<void> {
  const { authorize } = options;
  const tokens = Object.hasOwn(options, "token") ? readTokens(what, options.token) : undefined;
  if (tokens && authorize)
    throw new TypeError(`${what}: token and authorize exclude each other. Leave one of them out.`);
  if (authorize !== undefined && typeof authorize !== "function")
    throw new TypeError(`${what}: authorize must be a function, got ${typeof authorize}.`);

  const mayAsk = async (request: Asked, token: string | undefined): Promise<boolean> => {
    // All of them are compared: which one it is must not show.
    if (tokens) return tokens.filter((own) => isSameToken(token, own)).length > 0;
    const answer: unknown = await authorize!(token, headOf(request));
    if (typeof answer !== "boolean")
      tell(
        new TypeError(`${what}: authorize returned ${show(answer)}, which is refused. Return true to admit a client.`),
      );
    return answer === true;
  };
  const late = (): Problem => unavailable("Authorization timed out. Try again.", 5);

  return async (request) => {
    if (!tokens && !authorize) return;
    const token = tokenOf(request);
    const isAdmitted = tokens
      ? await mayAsk(request, token)
      : await asking.holding(() => within(mayAsk(request, token), milliseconds, late));
    if (isAdmitted) return;
    if (token !== undefined) throw new Problem(403, "This token does not have permission. Use another one.");
    const challenge = { "www-authenticate": 'Bearer realm="nabla"' };
    throw new Problem(401, "A token is needed. Send Authorization: Bearer, and the token.", challenge);
  };
}
