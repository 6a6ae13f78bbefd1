/** nodeListener with node:http and real sockets. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { losses, memory, type Tensor } from "nabla";
import { combine, inferenceHandler, nodeListener, trainingHandler } from "nabla/serverless";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { allEvents, learner, network, problem, xor } from "./requests.ts";

const unexpected: unknown[] = [];
afterEach(() => expect(unexpected.splice(0)).toEqual([]));
const onError = (error: unknown) => unexpected.push(error);

const counted = { steps: 0, saved: 0 };
const model = network();
const infer = inferenceHandler({ load: () => model, input: { shape: [null, 4] }, limits: { bytes: 10_000 }, onError });
const train = trainingHandler({
  create: () => ({
    ...learner(),
    compiled: false,
    loss(output: Tensor, target: Tensor) {
      const until = performance.now() + 5;
      while (performance.now() < until);
      counted.steps++;
      return losses.mse(output, target);
    },
  }),
  input: { shape: [null, 2] },
  target: { shape: [null, 1] },
  store: { load: async () => undefined, save: async () => void counted.saved++ },
  onError,
});

const servers: Server[] = [];
const places: Record<string, string> = {};
beforeAll(async () => {
  for (const [name, handler] of Object.entries({ infer, train })) {
    const server = createServer(nodeListener(handler)).listen(0, "127.0.0.1");
    await once(server, "listening");
    servers.push(server);
    places[name] = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  }
});
afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  model.dispose();
});
const send = (place: string, body: unknown, init: RequestInit = {}) =>
  fetch(places[place]!, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...init,
  });

/** Sends text over a socket and returns everything that the server sends back. */
async function raw(place: string, text: string): Promise<string> {
  const socket = connect(Number(new URL(places[place]!).port), "127.0.0.1");
  socket.write(text);
  let answer = "";
  socket.on("data", (piece) => (answer += piece));
  await once(socket, "close");
  return answer;
}

describe("requests", () => {
  test("are served in sequence", async () => {
    for (let i = 0; i < 20; i++) {
      const response = await send("infer", { inputs: [[1, 2, 3, i]] });
      expect(response.status).toBe(200);
      expect(((await response.json()) as { shape: number[] }).shape).toEqual([1, 2]);
    }
  });
  test("a chunked body that is too large gets a 413, and the connection closes", async () => {
    const chunk = `1000\r\n${" ".repeat(4096)}\r\n`;
    const answer = await raw(
      "infer",
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(4)}`,
    );
    expect(answer).toContain("HTTP/1.1 413 ");
    expect(answer).toContain("connection: close");
    expect(answer).toContain("The body exceeds the limit of 10000 bytes");
  });
  test("the connection stays open after a small rejected body", async () => {
    const body = "x".repeat(20_000);
    const head = `Host: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
    const refused = `POST / HTTP/1.1\r\n${head}\r\n\r\n${body}`;
    const last = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    const answer = await raw("infer", refused + refused + last);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 413", "HTTP/1.1 413", "HTTP/1.1 200"]);
  });
  test("a client that is still sending an oversized body receives the 413", async () => {
    for (let i = 0; i < 20; i++) {
      const response = await send("infer", undefined, { body: "x".repeat(5_000_000) });
      await problem(response, 413);
    }
    const pieces = () =>
      new ReadableStream({
        start(controller) {
          for (let i = 0; i < 50; i++) controller.enqueue(new Uint8Array(100_000));
          controller.close();
        },
      });
    for (let i = 0; i < 20; i++)
      await problem(await send("infer", undefined, { body: pieces(), duplex: "half" } as RequestInit), 413);
  });
  test("a Content-Length that is too large is rejected before the body arrives", async () => {
    const answer = await raw(
      "infer",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n",
    );
    expect(answer).toContain("HTTP/1.1 413 ");
  });
  test.each([
    ["an invalid host", "GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 "],
    ["a forbidden method", "TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 "],
    ["two slashes", "GET //health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 404 "],
    ["an absolute URL", "GET http://b/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "],
    [
      "a URL with a scheme that is not supported",
      "GET ftp://b/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
      "HTTP/1.1 400 ",
    ],
    [
      "a URL with a user name",
      "GET http://u:p@b/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
      "HTTP/1.1 400 ",
    ],
    ["a host with a user name", "GET /health HTTP/1.1\r\nHost: u@h\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 "],
    ["a host with a path", "GET /nothing HTTP/1.1\r\nHost: a/health?\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 "],
    ["an empty host", "GET /health HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "],
    [
      "an IP address as the host",
      "GET /health HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
      "HTTP/1.1 200 ",
    ],
    ["no host", "GET /health HTTP/1.0\r\n\r\n", "HTTP/1.1 200 "],
    ["OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 400 "],
    [
      "a body with GET",
      "GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
      "HTTP/1.1 200 ",
    ],
    ["HEAD", "HEAD /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "],
    [
      "a body with HEAD",
      "HEAD /health HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\na",
      "HTTP/1.1 200 ",
    ],
  ])("%s", async (_, request, status) => {
    expect(await raw("infer", request)).toContain(status);
  });
  test("a client that disconnects during its body leaks nothing", async () => {
    await send("infer", { inputs: [1, 2, 3, 4] });
    const before = memory();
    for (let i = 0; i < 20; i++) {
      const socket = connect(Number(new URL(places.infer!).port), "127.0.0.1");
      socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"inp');
      await new Promise((resolve) => setTimeout(resolve, 5));
      socket.destroy();
    }
    expect((await send("infer", { inputs: [1, 2, 3, 4] })).status).toBe(200);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("invalid inputs get a problem response", async () => {
    await problem(await send("infer", { inputs: [1] }), 422);
  });
});

describe("a training request that takes ten seconds", () => {
  const course = { ...xor, epochs: 1000, batchSize: 2 };
  test("the result of a short training run is stored", async () => {
    expect((await allEvents(await send("train", { ...course, epochs: 5 }))).at(-1)).toMatchObject({ event: "done" });
    expect(counted.saved).toBe(1);
  });
  test("streams progress, and stops within 100 ms after a disconnect, without storing", async () => {
    Object.assign(counted, { steps: 0, saved: 0 });
    const before = memory();
    const leaving = new AbortController();
    const response = await send("train", course, { signal: leaving.signal });
    const reader = response.body!.getReader();
    const began = performance.now();
    let pieces = 0;
    for (; performance.now() - began < 1000; pieces++) await reader.read();
    expect(pieces).toBeGreaterThan(3);
    const then = counted.steps;
    leaving.abort();
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(5 * (counted.steps - then), "milliseconds of training after the disconnect").toBeLessThanOrEqual(100);
    expect(counted.saved).toBe(0);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("frees its slot after a disconnect", async () => {
    expect((await allEvents(await send("train", { ...course, epochs: 5 }))).at(-1)).toMatchObject({ event: "done" });
    expect(counted.saved).toBe(1);
  });
});

describe("any handler", () => {
  /** Serves the handler and sends one request. */
  async function ask(handler: (request: Request) => Promise<Response>, init: RequestInit = {}): Promise<Response> {
    const server = createServer(nodeListener(handler)).listen(0, "127.0.0.1");
    await once(server, "listening");
    servers.push(server);
    return fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/a?b=c`, init);
  }
  test("receives a web Request", async () => {
    const response = await ask(
      async (request) => {
        expect(request).toBeInstanceOf(Request);
        const { pathname, search } = new URL(request.url);
        return Response.json([pathname, search, request.headers.get("x-y"), await request.clone().text()], {
          status: 201,
        });
      },
      { method: "PUT", body: "hello", headers: { "X-Y": "z" } },
    );
    expect(response.status).toBe(201);
    expect(await response.json()).toEqual(["/a", "?b=c", "z", "hello"]);
  });
  test("may return a stream or no body", async () => {
    const pieces = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 100; i++) controller.enqueue(new Uint8Array(10_000).fill(i));
        controller.close();
      },
    });
    expect((await (await ask(async () => new Response(pieces))).arrayBuffer()).byteLength).toBe(1_000_000);
    expect((await ask(async () => new Response(null, { status: 204 }))).status).toBe(204);
    expect(await (await ask(async () => new Response("x"), { method: "HEAD" })).text()).toBe("");
  });
  test("a response that fails halfway closes the connection, so that it does not look complete", async () => {
    const broken = new ReadableStream({
      start: (controller) => controller.enqueue(new Uint8Array(10)),
      pull: (controller) => controller.error(new Error("no more")),
    });
    await expect(ask(async () => new Response(broken)).then((answer) => answer.text())).rejects.toThrow();
  });
  test("that rejects leads to a 500", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    await problem(await ask(() => Promise.reject(new Error("secret"))), 500);
    expect(String(log.mock.calls)).toContain("secret");
    log.mockRestore();
  });
  test("authorize may read its request, and the body is still available", async () => {
    const handler = inferenceHandler({
      load: () => model,
      input: { shape: [null, 4] },
      onError,
      path: "/a",
      authorize: async (_, request) => (await request.clone().text()) === "" && (await request.text()) === "",
    });
    const headers = { "content-type": "application/json" };
    const response = await ask(handler, { method: "POST", headers, body: '{"inputs":[1,2,3,4]}' });
    expect(response.status).toBe(200);
  });
  test("authorize receives a web Request", async () => {
    const handler = combine({
      "/a": inferenceHandler({
        load: () => model,
        input: { shape: [null, 4] },
        onError,
        authorize(token, request) {
          expect(request).toBeInstanceOf(Request);
          return token === request.headers.get("x-token") && new URL(request.url).pathname === "/";
        },
      }),
    });
    const headers = { authorization: "Bearer t", "x-token": "t", "content-type": "application/json" };
    const response = await ask(handler, { method: "POST", headers, body: '{"inputs":[1,2,3,4]}' });
    expect(response.status).toBe(200);
  });
});
