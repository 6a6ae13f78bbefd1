/** Decides which clients may use a handler, by a token or by the user's own function. */
import { TypeError } from "../../runtime/errors.ts";
import { Problem, quote, unavailable } from "./problems.ts";
import type { HandlerRequest } from "./request.ts";
import type { Slots } from "./slots.ts";
import { withTimeout } from "./timeout.ts";

interface AuthOptions {
  readonly token?: string | readonly string[];
  readonly authorize?: (token: string | undefined, request: Request) => boolean | Promise<boolean>;
}

interface AuthContext {
  /** The slots for requests that wait for the user's function. */
  readonly slots: Slots;
  readonly notify: (error: unknown) => void;
  readonly milliseconds: number;
}

/** A token that an Authorization header can carry (RFC 6750, section 2.1). */
const TOKEN = /^[\w~+/.-]+=*$/;

/** The token of `Authorization: Bearer token`. */
const tokenOf = (request: HandlerRequest): string | undefined =>
  /^Bearer +([\w~+/.-]+=*) *$/i.exec(request.header("authorization") ?? "")?.[1];

/**
 * Whether two tokens are equal. The time that the comparison takes depends only on the length of the first token, which
 * the client knows.
 *
 * ```ts
 * authorize: (token) => isSameToken(token, tokens.get(user))
 * ```
 * @param given the client's token
 * @param expected the correct token
 * @returns false if either is not a string, or is empty
 */
export function isSameToken(given: string | undefined, expected: string | undefined): boolean {
  if (typeof given !== "string" || typeof expected !== "string" || !given || !expected) return false;
  let difference = given.length ^ expected.length;
  for (let i = 0; i < given.length; i++) difference |= given.charCodeAt(i) ^ expected.charCodeAt(i % expected.length);
  return difference === 0;
}

/** @throws TypeError for a token that is missing, or that an Authorization header cannot carry */
function readTokens(what: string, given: unknown): readonly string[] {
  const tokens: unknown[] = Array.isArray(given) ? given : [given];
  const remedy = "Set it, or remove the option to admit everyone.";
  if (!tokens.length) throw new TypeError(`${what}: token must be a string or a list of strings, got []. ${remedy}`);
  return tokens.map((token) => {
    if (typeof token !== "string")
      throw new TypeError(`${what}: token must be a string, got ${typeof token}. ${remedy}`);
    if (!token) throw new TypeError(`${what}: token must not be empty. ${remedy}`);
    if (!TOKEN.test(token))
      throw new TypeError(
        `${what}: token must not contain characters that an Authorization header cannot carry. Use letters, digits and -._~+/, and = only at the end.`,
      );
    return token;
  });
}

/** A result of the user's function, formatted for messages. */
const show = (result: unknown): string =>
  typeof result === "string" ? quote(result) : result === null || result === undefined ? String(result) : typeof result;

/** Returns a function that rejects unauthorized requests. @throws TypeError for invalid options */
export function authorization(
  what: string,
  options: AuthOptions,
  { slots, notify, milliseconds }: AuthContext,
): (request: HandlerRequest) => Promise<void> {
  const { authorize } = options;
  const tokens = Object.hasOwn(options, "token") ? readTokens(what, options.token) : undefined;
  if (tokens && authorize) throw new TypeError(`${what}: token and authorize cannot be combined. Remove one of them.`);
  if (authorize !== undefined && typeof authorize !== "function")
    throw new TypeError(`${what}: authorize must be a function, got ${typeof authorize}.`);

  const isAdmitted = async (request: HandlerRequest, token: string | undefined): Promise<boolean> => {
    // Compare with every token, so that the time taken does not reveal which one matches.
    if (tokens) return tokens.filter((accepted) => isSameToken(token, accepted)).length > 0;
    const result: unknown = await authorize!(token, request.toHead());
    if (typeof result !== "boolean")
      notify(
        new TypeError(`${what}: authorize must return true or false, got ${show(result)}. The request was refused.`),
      );
    return result === true;
  };
  const timeoutError = (): Problem => unavailable("Authorization timed out. Try again.", 5);

  return async (request) => {
    if (!tokens && !authorize) return;
    const token = tokenOf(request);
    const admitted = tokens
      ? await isAdmitted(request, token)
      : await slots.run(() => withTimeout(isAdmitted(request, token), { milliseconds, timeoutError }));
    if (admitted) return;
    if (token !== undefined) throw new Problem(403, "This token does not have permission. Use another token.");
    const challenge = { "www-authenticate": 'Bearer realm="nabla"' };
    throw new Problem(401, "A token is required. Send the header Authorization: Bearer <token>.", challenge);
  };
}
