/** observe: CORS, request ids, an access log, metrics, and a hook for refused requests. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Tensor } from "nabla";
import {
  type Access,
  combine,
  type InferenceOptions,
  inferenceHandler,
  nodeListener,
  observe,
  type Refusal,
  trainingHandler,
} from "nabla/serverless";
import { describe, expect, test, vi } from "vitest";
import { allEvents, get, learner, post, problem, xor } from "./requests.ts";

/** Reads a whole response. */
const all = async (answer: Promise<Response>): Promise<string> => (await answer).text();

const handlerOf = (options: Partial<InferenceOptions> = {}) =>
  inferenceHandler({ load: () => (x: Tensor) => x.mul(2), input: { shape: [null, 2] }, ...options });
const body = { inputs: [[1, 2]] };
const specs = { create: learner, input: { shape: [null, 2] }, target: { shape: [null, 1] } };
const origin = "https://a.example";
const plain = async (): Promise<Response> => new Response("x");

test("all layers are off by default", async () => {
  const response = await post(handlerOf(), body, { headers: { origin, "x-request-id": "mine" } });
  expect([...response.headers.keys()].sort()).toEqual(["cache-control", "content-type"]);
  await problem(await get(handlerOf(), "/metrics"), 404);
  const preflight = await get(handlerOf(), "/", { origin, "access-control-request-method": "POST" }, "OPTIONS");
  expect(preflight.headers.get("access-control-allow-origin")).toBeNull();
});

describe("cors", () => {
  const own = handlerOf({ cors: { origins: [origin, "http://localhost:5173"], headers: ["x-user"] }, token: "t" });
  const ask = { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" };
  test("a preflight from a listed origin needs no token", async () => {
    const response = await get(own, "/", ask, "OPTIONS");
    expect(response.status).toBe(204);
    expect(Object.fromEntries(response.headers)).toEqual({
      "access-control-allow-origin": origin,
      "access-control-allow-methods": "GET, HEAD, POST",
      "access-control-allow-headers": "content-type, authorization, x-request-id, x-user",
      "access-control-max-age": "600",
      vary: "origin",
    });
  });
  test("responses and errors allow the origin, but never credentials", async () => {
    for (const [headers, status] of [
      [{ authorization: "Bearer t" }, 200],
      [{ authorization: "Bearer x" }, 403],
      [{}, 401],
    ] as const) {
      const response = await post(own, body, { headers: { origin, ...headers } });
      expect(response.status).toBe(status);
      expect(response.headers.get("access-control-allow-origin")).toBe(origin);
      expect(response.headers.get("access-control-expose-headers")).toContain("retry-after");
      expect(response.headers.get("access-control-allow-credentials")).toBeNull();
      expect(response.headers.get("vary")).toBe("origin");
    }
  });
  test.each(["https://b.example", "http://a.example", "https://a.example.b.example", "https://a.example:8443", "null"])(
    "%s is not allowed, and Vary is set",
    async (other) => {
      const response = await get(own, "/", { ...ask, origin: other }, "OPTIONS");
      expect(response.headers.get("access-control-allow-origin")).toBeNull();
      expect(response.headers.get("access-control-allow-methods")).toBeNull();
      expect(response.headers.get("vary")).toBe("origin");
    },
  );
  test("* * allows all origins without Vary, even for the events of a training request", async () => {
    const open = trainingHandler({ ...specs, cors: { origins: "*" } });
    const response = await post(open, xor, { headers: { origin } });
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    expect(response.headers.get("vary")).toBeNull();
    expect((await allEvents(response)).at(-1)!.event).toBe("done");
  });
  test("an OPTIONS request that is not a preflight reaches the handler", async () => {
    const response = await get(own, "/", { origin }, "OPTIONS");
    expect(response.headers.get("allow")).toBe("POST, OPTIONS");
    expect(response.headers.get("access-control-allow-origin")).toBe(origin);
  });
  test.each([
    [{ origins: ["https://a.example/"] }, 'without a path, got "https://a.example/".'],
    [
      { origins: ["a.example"] },
      'cors.origins must contain origins such as "https://example.com", without a path, got "a.example".',
    ],
    [{ origins: ["*"] }, 'without a path, got "*".'],
    [{ origins: "https://a.example" }, 'cors.origins must be "*" or an array of origins, got "https://a.example".'],
    [{ origins: "*", maxAge: -1 }, "cors.maxAge must be a whole number of seconds, got -1."],
    [true, "cors must be an object, got true."],
  ])("%j is rejected", (cors, message) => {
    expect(() => handlerOf({ cors: cors as never })).toThrow(message);
  });
});

describe("request ids", () => {
  const own = handlerOf({ requestIds: true });
  const idOf = async (id?: string) =>
    (await post(own, body, { headers: id === undefined ? {} : { "x-request-id": id } })).headers.get("x-request-id")!;
  test("a valid id from the client is kept, and any other id is replaced with a random one", async () => {
    expect(await idOf("a1-b2_c3.d4:e5")).toBe("a1-b2_c3.d4:e5");
    const random = /^[0-9a-f]{8}-[0-9a-f-]{27}$/;
    for (const id of [undefined, "", "two words", 'a"b', "x".repeat(129), "<script>"])
      expect(await idOf(id)).toMatch(random);
    expect(await idOf()).not.toBe(await idOf());
  });
  test("errors have an id", async () => {
    const response = await post(own, "no JSON", { headers: { "x-request-id": "mine" } });
    expect([response.status, response.headers.get("x-request-id")]).toEqual([400, "mine"]);
  });
});

describe("access log", () => {
  test("has an entry per request, with its id and without its query", async () => {
    const accessLog = vi.fn<(access: Access) => void>();
    const own = handlerOf({ accessLog, requestIds: true });
    await all(post(own, body, { headers: { "x-request-id": "a", "content-length": "18" } }));
    await all(get(own, "/health?ready&token=secret", { "x-request-id": "b" }));
    await all(get(own, "/nothing", { "x-request-id": "c" }));
    expect(accessLog.mock.calls.map(([entry]) => entry)).toEqual([
      {
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        id: "a",
        method: "POST",
        path: "/",
        status: 200,
        milliseconds: expect.any(Number),
        bytesIn: 18,
        bytesOut: '{"outputs":[[2,4]],"shape":[1,2]}'.length,
      },
      {
        time: expect.any(String),
        id: "b",
        method: "GET",
        path: "/health",
        status: 200,
        milliseconds: expect.any(Number),
        bytesIn: 0,
        bytesOut: expect.any(Number),
      },
      {
        time: expect.any(String),
        id: "c",
        method: "GET",
        path: "/nothing",
        status: 404,
        milliseconds: expect.any(Number),
        bytesIn: 0,
        bytesOut: expect.any(Number),
      },
    ]);
  });
  test("a training request is logged at its end or after a disconnect, with the bytes of its events", async () => {
    const accessLog = vi.fn<(access: Access) => void>();
    const own = trainingHandler({ ...specs, accessLog });
    const response = await post(own, { ...xor, epochs: 3 });
    expect(accessLog).not.toHaveBeenCalled();
    const text = await response.text();
    expect(accessLog.mock.calls[0]![0]).toMatchObject({ status: 200, bytesOut: text.length });
    const left = await post(own, { ...xor, epochs: 1000, batchSize: 1 });
    await left.body!.cancel();
    expect(accessLog).toHaveBeenCalledTimes(2);
  });
  test("a log that throws or rejects has no effect", async () => {
    const throwing = () => {
      throw new Error("disk is full");
    };
    expect((await post(handlerOf({ accessLog: throwing, onRefused: throwing }), body)).status).toBe(200);
    const rejecting = async () => Promise.reject(new Error("disk is full"));
    await problem(await post(handlerOf({ accessLog: rejecting, onRefused: rejecting }), {}), 422);
  });
});

test("onRefused receives every error, with the detail that the client received", async () => {
  const onRefused = vi.fn<(refusal: Refusal) => void>();
  const own = handlerOf({ onRefused, token: "t", limits: { bytes: 100 } });
  const bearer = { authorization: "Bearer t" };
  expect((await post(own, body, { headers: bearer })).status).toBe(200);
  await post(own, body);
  await post(own, body, { headers: { authorization: "Bearer u" } });
  await post(own, {}, { headers: bearer });
  await post(own, "x".repeat(200), { headers: bearer });
  await get(own, "/nothing");
  expect(onRefused.mock.calls.map(([{ method, path, status, detail }]) => [method, path, status, detail])).toEqual([
    ["POST", "/", 401, "A token is required. Send the header Authorization: Bearer <token>."],
    ["POST", "/", 403, "This token does not have permission. Use another token."],
    ["POST", "/", 422, '"inputs" is missing. Add it.'],
    ["POST", "/", 413, "The body exceeds the limit of 100 bytes. Send less per request."],
    ["GET", "/nothing", 404, expect.stringContaining("Nothing is served at this path.")],
  ]);
});

describe("metrics", () => {
  const read = async (handler: Parameters<typeof get>[0], path = "/metrics", headers = {}) => {
    const response = await get(handler, path, headers);
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    return response.text();
  };
  test("count requests, bytes and latencies by route, method and status", async () => {
    const own = handlerOf({ metrics: true });
    for (let i = 0; i < 3; i++) await all(post(own, body, { headers: { "content-length": "18" } }));
    await all(post(own, {}));
    for (let i = 0; i < 50; i++) await all(get(own, `/guess/${i}`));
    await all(get(own, "/health", {}, "BREW"));
    const text = await read(own);
    expect(text).toContain('nabla_requests_total{route="/",method="POST",status="200"} 3\n');
    expect(text).toContain('nabla_requests_total{route="/",method="POST",status="422"} 1\n');
    expect(text, "guessed paths add no labels").toContain(
      'nabla_requests_total{route="other",method="GET",status="404"} 50\n',
    );
    expect(text).toContain('nabla_requests_total{route="/health",method="other",status="405"} 1\n');
    expect(text).toContain('nabla_request_bytes_total{route="/",method="POST",status="200"} 54\n');
    expect(text).toContain('nabla_response_bytes_total{route="/",method="POST",status="200"} 99\n');
    expect(text).toContain("nabla_requests_in_flight 1\n");
    expect(text).toContain('nabla_request_duration_seconds_bucket{route="/",le="+Inf"} 4\n');
    expect(text).toContain('nabla_request_duration_seconds_count{route="/"} 4\n');
    for (const line of text.trimEnd().split("\n"))
      expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [\d.e+-]+)$/);
    const buckets = [...text.matchAll(/bucket\{route="\/",le="([^"]+)"\} (\d+)/g)].map(([, , count]) => Number(count));
    expect(buckets).toEqual([...buckets].sort((a, b) => a - b));
    expect(await read(own)).toContain('nabla_requests_total{route="/metrics",method="GET",status="200"} 1\n');
  });
  test("are served below the path with GET and need the token", async () => {
    const own = handlerOf({ metrics: true, token: "t", path: "/v1" });
    await problem(await get(own, "/v1/metrics"), 401);
    expect(await read(own, "/v1/metrics", { authorization: "Bearer t" })).toContain(
      'route="/v1/metrics",method="GET",status="401"} 1',
    );
    await problem(await get(own, "/v1/metrics", { authorization: "Bearer t" }, "POST"), 405);
    await problem(await get(own, "/metrics"), 404);
  });
  test("work with combine and with other handlers", async () => {
    const own = observe(combine({ "/a": handlerOf(), "/": handlerOf(), "/plain": plain }), { metrics: true });
    await all(post(own, body, { path: "/a" }));
    await all(post(own, body));
    await all(get(own, "/plain/1"));
    const text = await read(own);
    for (const route of ["/a", "/", "other"]) expect(text).toContain(`{route="${route}",`);
  });
  test("a request is no longer in progress after a disconnect", async () => {
    const own = trainingHandler({ ...specs, metrics: true });
    const left = await post(own, { ...xor, epochs: 1000, batchSize: 1 });
    expect(await read(own)).toContain("nabla_requests_in_flight 2\n");
    await left.body!.cancel();
    expect(await read(own)).toContain("nabla_requests_in_flight 1\n");
  });
});

describe("observe", () => {
  test("a handler that throws leads to a 500 without the error's message", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    const own = observe(() => Promise.reject(new Error("secret")), { requestIds: true });
    await problem(await get(own, "/"), 500);
    expect(String(log.mock.calls)).toContain("secret");
    log.mockRestore();
    expect(() => observe({} as never, {})).toThrow("observe: handler must be a function, got the object {}.");
  });
  test("keeps status, headers, cookies and streams, even over a socket", async () => {
    const headers = new Headers({ vary: "accept" });
    for (const cookie of ["a=1", "b=2"]) headers.append("set-cookie", cookie);
    const plain = async (request: Request) => new Response(`${await request.text()}!`, { status: 201, headers });
    const own = observe(plain, { cors: { origins: [origin] }, metrics: true, accessLog: () => {}, requestIds: true });
    const server = createServer(nodeListener(own)).listen(0, "127.0.0.1");
    await new Promise((done) => server.once("listening", done));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const response = await fetch(url, { method: "POST", body: "hello", headers: { origin } });
    expect([response.status, await response.text()]).toEqual([201, "hello!"]);
    expect(response.headers.get("vary")).toBe("accept, origin");
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    server.closeAllConnections();
    server.close();
  });
  test.each<[unknown[], string]>([
    [[], "observe: handler must be a function, got undefined"],
    [[plain], "observe: options must be an object, got undefined"],
    [[plain, "x"], 'observe: options must be an object, got "x"'],
    [[plain, { bogus: 1 }], 'observe: unknown option "bogus". Valid options: cors, metrics, requestIds, accessLog'],
    [[plain, { metric: true }], 'observe: unknown option "metric". Did you mean "metrics"?'],
    [[plain, {}, "x"], "observe: takes 2 arguments (handler, options), got 3"],
  ])("%j is rejected", (args, message) =>
    expect(() => (observe as (...all: unknown[]) => unknown)(...args)).toThrow(message),
  );
});

describe.each<[string, (options: object) => unknown]>([
  ["observe", (options) => observe(plain, options)],
  ["inferenceHandler", (options) => handlerOf(options)],
  ["trainingHandler", (options) => trainingHandler({ ...specs, ...options })],
])("%s rejects invalid options when the handler is created", (name, make) => {
  test.each<[object, string]>([
    [{ metrics: "yes" }, 'metrics must be true or false, got "yes"'],
    [{ requestIds: 1 }, "requestIds must be true or false, got 1"],
    [{ accessLog: true }, "accessLog must be a function, got true"],
    [{ onRefused: 1 }, "onRefused must be a function, got 1"],
    [{ cors: null }, "cors must be an object, got null"],
    [{ cors: "*" }, 'cors must be an object, got "*"'],
    [{ cors: true }, "cors must be an object, got true"],
  ])("%j", (options, message) => expect(() => make(options)).toThrow(new RegExp(`^${name}: ${message}`)));
  test.each<[object, string]>([
    [{}, 'cors.origins must be "*" or an array of origins, got undefined.'],
    [
      { origins: "*", credentials: true },
      'cors: unknown option "credentials". Valid options: origins, headers, maxAge.',
    ],
    [{ origins: "*", headers: "x" }, 'cors: headers must be an array of strings, got "x".'],
    [{ origins: "*", headers: [1] }, "cors: headers must be an array of strings, got the array [1]."],
    [
      { origins: "*", headers: ["a\r\nb: c"] },
      'cors.headers must contain header names such as "x-user", got "a\\r\\nb: c".',
    ],
    [{ origins: "*", headers: ["a, b"] }, 'cors.headers must contain header names such as "x-user", got "a, b".'],
    [{ origins: "*", headers: [""] }, 'cors.headers must contain header names such as "x-user", got "".'],
    [{ origins: "*", maxAge: "60" }, 'cors: maxAge must be a number, got "60".'],
    [{ origins: [7] }, 'cors.origins must contain origins such as "https://example.com", without a path, got 7.'],
  ])("cors: %j", (cors, message) => expect(() => make({ cors })).toThrow(`${name}: ${message}`));
});

test.each<[unknown[], string]>([
  [[], "combine: handlers must be an object, got undefined"],
  [[plain], 'combine: handlers must be an object, got a function. Pass { "/path": handler }.'],
  [[[plain]], "combine: handlers must be an object, got the array"],
  [[{ "/a": 1 }], 'combine: the handler at "/a" must be a function of a Request, got 1.'],
  [
    [{ a: plain }],
    'combine: path must start with "/", not end with "/", and contain only letters, digits and _ ~ . - /, got "a".',
  ],
])("combine: %j is rejected", (args, message) =>
  expect(() => (combine as (...all: unknown[]) => unknown)(...args)).toThrow(message),
);

test.each([
  ["inferenceHandler", () => inferenceHandler(undefined as never), "load"],
  ["inferenceHandler", () => (inferenceHandler as (...all: unknown[]) => unknown)(), "load"],
  ["trainingHandler", () => (trainingHandler as (...all: unknown[]) => unknown)(), "create"],
  ["trainingHandler", () => trainingHandler({ input: { shape: [null] } } as never), "create"],
])("%s: the error names a missing option", (name, make, option) =>
  expect(make).toThrow(`${name}: option ${option} is required. Pass { ${option}: … }, a function.`),
);
