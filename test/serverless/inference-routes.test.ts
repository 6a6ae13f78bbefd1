/** inferenceHandler: routes, and limits for bytes, time and concurrent requests. */
import type { nn, Tensor } from "nabla";
import { combine } from "nabla/serverless";
import { describe, expect, test, vi } from "vitest";
import { serveNetwork, x } from "./inference.ts";
import { get, JSON_TYPE, post, problem } from "./requests.ts";

const { model, expected, handlerOf, handler } = serveNetwork();

describe("routes", () => {
  test("/health says whether the model is loaded, and ?ready loads it", async () => {
    const load = vi.fn(() => model);
    const own = handlerOf({ load });
    expect(await (await get(own, "/health")).json()).toEqual({ status: "ok", ready: false });
    expect(load).not.toHaveBeenCalled();
    expect(await (await get(own, "/health?ready")).json()).toEqual({ status: "ok", ready: true });
    expect(await (await get(own, "/health")).json()).toEqual({ status: "ok", ready: true });
  });
  test("/metadata describes the function", async () => {
    const own = handlerOf({ name: "digits", input: { shape: [null, 4], min: 0 }, limits: { batch: 7 } });
    expect(await (await get(own, "/metadata")).json()).toEqual({
      name: "digits",
      input: { shape: [null, 4], dtype: "float32", min: 0 },
      output: { shape: [null, 2], dtype: "float32" },
      limits: { bytes: 65536, batch: 7, milliseconds: 10000, concurrency: 64, unfinished: 67108864 },
      nabla: { version: expect.any(String), build: expect.any(String), threads: 1 },
    });
  });
  test.each([
    ["GET", "/", 405, "POST, OPTIONS"],
    ["PUT", "/", 405, "POST, OPTIONS"],
    ["POST", "/health", 405, "GET, HEAD, OPTIONS"],
    ["OPTIONS", "/", 204, "POST, OPTIONS"],
    ["OPTIONS", "/metadata", 204, "GET, HEAD, OPTIONS"],
    ["HEAD", "/health", 200, null],
    ["HEAD", "/", 405, "POST, OPTIONS"],
    ["GET", "/nothing", 404, null],
    ["GET", "/__proto__", 404, null],
    ["GET", "/health/", 200, null],
    ["PUT", "/health/", 405, "GET, HEAD, OPTIONS"],
    ["GET", "/%00%ff", 404, null],
  ])("%s %s gets a %d", async (method, path, status, allow) => {
    const response = await get(handler, path, {}, method);
    expect(response.status).toBe(status);
    expect(response.headers.get("allow")).toBe(allow);
  });
  test("the option path is the prefix of all routes", async () => {
    const own = handlerOf({ path: "/v1/digits" });
    expect((await post(own, { inputs: x }, { path: "/v1/digits" })).status).toBe(200);
    expect((await get(own, "/v1/digits/health")).status).toBe(200);
    await problem(await get(own, "/health"), 404);
  });
  test("combine serves several functions", async () => {
    const twice = handlerOf({
      load: () => (t: Tensor) => t.mul(2),
      input: { shape: [null] },
      output: { shape: [null] },
    });
    const both = combine({ "/digits": handler, "/digits/twice": twice });
    expect(await (await post(both, { inputs: x }, { path: "/digits" })).json()).toEqual({
      outputs: expected,
      shape: [2, 2],
    });
    expect(await (await post(both, { inputs: [2] }, { path: "/digits/twice" })).json()).toEqual({
      outputs: [4],
      shape: [1],
    });
    expect((await get(both, "/digits/health?ready")).status).toBe(200);
    await problem(await get(both, "/digitsx"), 404);
    await problem(await get(both, "/"), 404);
  });
  test("combine responds with 500 if a handler throws", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    const broken = combine({
      "/a": () => Promise.reject(new Error("secret")),
      "/b": () => expect.unreachable("secret"),
    });
    for (const path of ["/a", "/b"]) await problem(await get(broken, path), 500);
    expect(log).toHaveBeenCalledTimes(2);
    log.mockRestore();
    expect(() => combine({ "/a": handler, "/b": { fetch: handler } as never })).toThrow(
      new TypeError('combine: the handler at "/b" must be a function of a Request, got the object { fetch }.'),
    );
  });
  test.each<[string, PropertyDescriptor, Record<string, string>?]>([
    ["with a path in the host, as in Deno", { value: "http://a/health?/" }, { host: "a/health?" }],
    ["without a host, as in Bun without a Host header", { value: "/health" }],
    ["that throws when it is read, as in Deno", { get: () => new URL("http://").href }],
    ["with a user name", { value: "http://u:p@h/health" }],
  ])("a URL %s: 400", async (_, url, headers = {}) => {
    for (const own of [handler, combine({ "/": handler }), combine({ "/v1": handler })]) {
      const request = Object.defineProperty(new Request("http://localhost/health", { headers }), "url", url);
      expect((await problem(await own(request), 400)).detail).toBe(
        "The request's method, URL or Host header is invalid. Correct it.",
      );
    }
  });
});

describe("limits", () => {
  test("a body that exceeds limits.bytes is rejected, with and without Content-Length", async () => {
    const own = handlerOf({ limits: { bytes: 100 } });
    const detail = "The body exceeds the limit of 100 bytes. Send less per request.";
    expect((await problem(await post(own, { inputs: Array(30).fill(x[0]) }), 413)).detail).toBe(detail);
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        sent += 50;
        controller.enqueue(new Uint8Array(50).fill(32));
      },
    });
    const init = { method: "POST", body, duplex: "half", headers: { "content-type": JSON_TYPE } } as RequestInit;
    expect((await problem(await own(new Request("http://localhost/", init)), 413)).detail).toBe(detail);
    expect(sent, "reading stops").toBeLessThan(500);
  });
  test("a body that is larger than its Content-Length is rejected", async () => {
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        if ((sent += 50) > 10_000) return controller.close();
        controller.enqueue(new Uint8Array(50).fill(32));
      },
    });
    const headers = { "content-type": JSON_TYPE, "content-length": "0" };
    const init = { method: "POST", body, duplex: "half", headers } as RequestInit;
    await problem(await handlerOf({ limits: { bytes: 100 } })(new Request("http://localhost/", init)), 413);
    expect(sent, "reading stops").toBeLessThan(500);
  });
  test("the number of requests for ?ready is limited", async () => {
    const own = handlerOf({ load: () => new Promise<nn.Module>(() => {}), limits: { milliseconds: 500 } });
    const answers = await Promise.all(Array.from({ length: 70 }, () => get(own, "/health?ready")));
    const details = await Promise.all(answers.map(async (answer) => (await problem(answer, 503)).detail));
    expect(details.filter((detail) => detail.startsWith("The limit of concurrent requests (64)"))).toHaveLength(6);
    expect((await get(own, "/health")).status).toBe(200);
  });
  test("a body that does not arrive gets a 408, and an aborted one gets a 400", async () => {
    const own = handlerOf({ limits: { milliseconds: 20 } });
    const init = (body: ReadableStream) =>
      ({ method: "POST", body, duplex: "half", headers: { "content-type": JSON_TYPE } }) as RequestInit;
    const slow = await own(new Request("http://localhost/", init(new ReadableStream())));
    expect((await problem(slow, 408)).detail).toBe("The body did not arrive within 20 ms. Send it faster.");
    const broken = new ReadableStream({ pull: (controller) => controller.error(new Error("gone")) });
    expect((await problem(await own(new Request("http://localhost/", init(broken))), 400)).detail).toBe(
      "The body is incomplete. Send all of it.",
    );
  });
  test("requests beyond limits.concurrency get a 503 with Retry-After", async () => {
    let load!: (m: nn.Module) => void;
    const own = handlerOf({
      load: () => new Promise<nn.Module>((resolve) => (load = resolve)),
      limits: { concurrency: 2 },
    });
    const waiting = [post(own, { inputs: x }), post(own, { inputs: x })];
    await new Promise((resolve) => setTimeout(resolve, 5));
    const refused = await post(own, { inputs: x });
    expect(refused.headers.get("retry-after")).toBe("1");
    expect((await problem(refused, 503)).detail).toContain("The limit of concurrent requests (2)");
    load(model);
    for (const response of await Promise.all(waiting)) expect(response.status).toBe(200);
    expect((await post(own, { inputs: x })).status).toBe(200);
  });
});
