/** Authorization with tokens and with a function, which admits a client only if it returns true. */
import type { Tensor } from "nabla";
import { type InferenceOptions, inferenceHandler, isSameToken, trainingHandler } from "nabla/serverless";
import { describe, expect, test, vi } from "vitest";
import { serveNetwork, x } from "./inference.ts";
import { get, learner, post, problem } from "./requests.ts";

const handlerOf = (options: Partial<InferenceOptions>) =>
  inferenceHandler({ load: () => (x: Tensor) => x, input: { shape: [null, 2] }, ...options });
const body = { inputs: [[1, 2]] };
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

describe("token", () => {
  const own = handlerOf({ token: "open+sesame/1=" });
  test("only the right token is accepted, and /health needs none", async () => {
    const response = await post(own, body);
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="nabla"');
    await problem(response, 401);
    for (const wrong of [
      "open+sesame/1",
      "open+sesame/1==",
      "Open+sesame/1=",
      "open+sesame/2=",
      "o",
      "open+sesame/1=x",
    ])
      expect([401, 403]).toContain((await post(own, body, bearer(wrong))).status);
    expect((await post(own, body, bearer("open+sesame/1="))).status).toBe(200);
    await problem(await get(own, "/metadata"), 401);
    expect((await get(own, "/health")).status).toBe(200);
  });
  test("any of several tokens is accepted, so that tokens can be rotated", async () => {
    const both = handlerOf({ token: ["old", "new"] });
    expect((await post(both, body, bearer("old"))).status).toBe(200);
    expect((await post(both, body, bearer("new"))).status).toBe(200);
    await problem(await post(both, body, bearer("ol")), 403);
  });
  test.each<[unknown, string]>([
    [undefined, "token must be a string, got undefined. Set it, or remove the option to admit everyone."],
    ["", "token must not be empty. Set it, or remove the option to admit everyone."],
    [[], "token must be a string or a list of strings, got []."],
    [["a", undefined], "token must be a string, got undefined."],
    [null, "token must be a string, got object."],
    [12, "token must be a string, got number."],
    ["two words", "token must not contain characters that an Authorization header cannot carry."],
    ["line\n", "token must not contain characters that an Authorization header cannot carry."],
  ])("%j is rejected when the handler is created", (token, message) => {
    const options = { token } as Partial<InferenceOptions>;
    expect(() => handlerOf(options)).toThrow(`inferenceHandler: ${message}`);
    const specs = { input: { shape: [null, 2] }, target: { shape: [null, 1] } };
    expect(() => trainingHandler({ create: learner, ...specs, ...(options as object) })).toThrow(
      `trainingHandler: ${message}`,
    );
  });
  test("cannot be combined with authorize", () => {
    expect(() => handlerOf({ token: "a", authorize: () => true })).toThrow("token and authorize cannot be combined");
    expect(() => handlerOf({ authorize: "a" as never })).toThrow('authorize must be a function, got "a"');
  });
});

describe("isSameToken", () => {
  test.each([
    ["abc", "abc", true],
    ["abc", "abd", false],
    ["abcabc", "abc", false],
    ["ab", "abc", false],
    ["", "", false],
    [undefined, undefined, false],
    [undefined, "abc", false],
    ["undefined", undefined, false],
    ["ä", "ä", true],
    ["a\u0000", "a", false],
    ["5", 5, false],
    [5, "5", false],
    [["abc"], "abc", false],
    ["abc", null, false],
    ["abc", {}, false],
  ])("%j, %j: %j", (given, expected, same) => expect(isSameToken(given as string, expected as string)).toBe(same));
  test("used in authorize, rejects every client if the expected token is not a string", async () => {
    const tell = vi.fn();
    const own = handlerOf({ authorize: (token) => isSameToken(token, 5 as never), onError: tell });
    await problem(await post(own, body, bearer("5")), 403);
    expect(tell).not.toHaveBeenCalled();
  });
  test("compares all characters, even after a difference", () => {
    const looks = vi.spyOn(String.prototype, "charCodeAt");
    const counts = ["xbcdef", "abcdex", "abcdef"].map((given) => {
      looks.mockClear();
      isSameToken(given, "abcdef");
      return looks.mock.calls.length;
    });
    looks.mockRestore();
    expect(counts).toEqual([12, 12, 12]);
  });
});

describe("authorize receives the request if it is declared with", () => {
  const seen = vi.fn();
  const may = (token: unknown, request: Request) => {
    seen(token, request instanceof Request, request.headers.get("x-user"));
    return token === "t" && request.headers.get("x-user") === "me";
  };
  test.each<[string, InferenceOptions["authorize"]]>([
    ["two parameters", (token, request) => may(token, request)],
    ["rest parameters", (...all) => may(...all)],
    ["a default", (token, request = new Request("http://none/")) => may(token, request)],
    ["a bound function", may.bind(null)],
    ["a mock", vi.fn(may)],
  ])("%s", async (_, authorize) => {
    seen.mockClear();
    const own = handlerOf({ authorize: authorize! });
    expect((await post(own, body, { headers: { authorization: "Bearer t", "x-user": "me" } })).status).toBe(200);
    await problem(await post(own, body, bearer("t")), 403);
    expect(seen.mock.calls).toEqual([
      ["t", true, "me"],
      ["t", true, null],
    ]);
  });
});

describe("only true admits the client", () => {
  test.each<[unknown, string]>([
    ["yes", '"yes"'],
    [1, "number"],
    [{ user: "me" }, "object"],
    [[], "object"],
    [undefined, "undefined"],
    [null, "null"],
    [Promise.resolve("yes"), '"yes"'],
    [Promise.resolve({}), "object"],
    [Object(true), "object"],
    [() => true, "function"],
  ])("%j rejects the client, and onError is called", async (answer, shown) => {
    const onError = vi.fn();
    const own = handlerOf({ authorize: () => answer as boolean, onError });
    await problem(await post(own, body, bearer("t")), 403);
    expect(onError).toHaveBeenCalledOnce();
    expect(String(onError.mock.calls[0])).toBe(
      `TypeError: inferenceHandler: authorize must return true or false, got ${shown}. The request was refused.`,
    );
  });
  test("false rejects the client without calling onError, and true admits it, directly or in a promise", async () => {
    const onError = vi.fn();
    for (const answer of [false, Promise.resolve(false)])
      await problem(await post(handlerOf({ authorize: () => answer, onError }), body), 401);
    for (const answer of [true, Promise.resolve(true)])
      expect((await post(handlerOf({ authorize: () => answer, onError }), body)).status).toBe(200);
    expect(onError).not.toHaveBeenCalled();
  });
});

describe("authorize", () => {
  const { handlerOf, expectError } = serveNetwork();
  const own = handlerOf({ authorize: async (token) => token === "open+sesame/1=" });
  test("a request without a token gets a 401 with WWW-Authenticate", async () => {
    const response = await post(own, { inputs: x });
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="nabla"');
    expect((await problem(response, 401)).detail).toBe(
      "A token is required. Send the header Authorization: Bearer <token>.",
    );
    await problem(await post(own, { inputs: x }, { headers: { authorization: "Basic b3Blbg==" } }), 401);
    await problem(await get(own, "/metadata"), 401);
  });
  test("a wrong token gets a 403 before the body is read", async () => {
    await problem(await post(own, "invalid JSON", bearer("guess")), 403);
  });
  test("the right token is accepted", async () => {
    expect((await post(own, { inputs: x }, bearer("open+sesame/1="))).status).toBe(200);
    expect((await get(own, "/metadata", bearer("open+sesame/1=").headers)).status).toBe(200);
  });
  test("/health needs no token", async () => {
    expect((await get(own, "/health")).status).toBe(200);
  });
  test("authorize receives the request without its body", async () => {
    const authorize = vi.fn(async (_: unknown, request: Request) => {
      expect(request).toBeInstanceOf(Request);
      expect([request.method, new URL(request.url).pathname, request.headers.get("x-user")]).toEqual([
        "POST",
        "/",
        "me",
      ]);
      return (await request.text()) === "";
    });
    const response = await post(handlerOf({ authorize }), { inputs: x }, { headers: { "x-user": "me" } });
    expect(response.status).toBe(200);
    expect(authorize).toHaveBeenCalledOnce();
  });
  test("an authorize that hangs leads to a 503, and the number of waiting requests is limited", async () => {
    const hanging = handlerOf({ authorize: () => new Promise(() => {}), limits: { milliseconds: 500 } });
    const answers = await Promise.all(Array.from({ length: 70 }, () => post(hanging, { inputs: x })));
    const details = await Promise.all(answers.map(async (answer) => (await problem(answer, 503)).detail));
    expect(details.filter((detail) => detail.startsWith("Authorization timed out"))).toHaveLength(64);
    expect(details.filter((detail) => detail.startsWith("The limit of concurrent requests (64)"))).toHaveLength(6);
  });
  test("requests that wait for authorize take no slots", async () => {
    let open!: (may: boolean) => void;
    const slow = handlerOf({
      authorize: (token) => (token ? true : new Promise((resolve) => (open = resolve))),
      limits: { concurrency: 1 },
    });
    const waiting = post(slow, { inputs: x });
    expect((await post(slow, { inputs: x }, bearer("a"))).status).toBe(200);
    open(false);
    await problem(await waiting, 401);
  });
  test("an authorize that throws leads to a 500", async () => {
    const { onError } = expectError(/no database/);
    const broken = handlerOf({ onError, authorize: () => Promise.reject(new Error("no database")) });
    await problem(await post(broken, { inputs: x }, bearer("a")), 500);
    expect(onError).toHaveBeenCalledOnce();
  });
});
