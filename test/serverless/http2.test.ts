/** nodeListener with node:http2: pseudo-headers, headers that HTTP/2 forbids, streams, and clients that disconnect. */
import { once } from "node:events";
import { type ClientHttp2Session, connect, createServer, type Http2Server, type OutgoingHttpHeaders } from "node:http2";
import type { AddressInfo } from "node:net";
import type { Tensor } from "nabla";
import { combine, type Handler, inferenceHandler, nodeListener, trainingHandler } from "nabla/serverless";
import { afterAll, describe, expect, test, vi } from "vitest";
import { learner, xor } from "./requests.ts";

const servers: Http2Server[] = [];
const sessions: ClientHttp2Session[] = [];
afterAll(() => {
  for (const session of sessions) session.destroy();
  for (const server of servers) server.close();
});
async function serve(handler: Handler): Promise<ClientHttp2Session> {
  const server = createServer(nodeListener(handler)).listen(0, "127.0.0.1");
  await once(server, "listening");
  servers.push(server);
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  session.on("error", () => {});
  sessions.push(session);
  return session;
}
async function ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: string | Buffer,
): Promise<{ status: number; headers: Record<string, unknown>; text: string }> {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  const [head] = (await once(stream, "response")) as [Record<string, unknown>];
  let text = "";
  stream.setEncoding("utf8");
  for await (const piece of stream) text += piece;
  return { status: Number(head[":status"]), headers: head, text };
}
const json = { ":method": "POST", ":path": "/", "content-type": "application/json" };
const twice = (options = {}) =>
  inferenceHandler({ load: () => (x: Tensor) => x.mul(2), input: { shape: [null, 2] }, ...options });

describe("over HTTP/2", () => {
  test("serves a model with and without Content-Length, health and metadata", async () => {
    const session = await serve(twice());
    const body = '{"inputs":[[1,2]]}';
    for (const length of [{}, { "content-length": String(body.length) }]) {
      const { status, text } = await ask(session, { ...json, ...length }, body);
      expect([status, JSON.parse(text)]).toEqual([200, { outputs: [[2, 4]], shape: [1, 2] }]);
    }
    expect((await ask(session, { ":path": "/health" })).status).toBe(200);
    expect((await ask(session, { ":path": "/metadata" })).status).toBe(200);
    expect((await ask(session, { ":method": "HEAD", ":path": "/health" })).text).toBe("");
    expect((await ask(session, { ":path": "/nothing" })).status).toBe(404);
  });
  test("authorize receives method, URL and headers, without pseudo-headers", async () => {
    const authorize = vi.fn((token: string | undefined, request: Request) => {
      expect(new URL(request.url).pathname).toMatch(/^\/v1/);
      expect([...request.headers.keys()].filter((name) => name.startsWith(":"))).toEqual([]);
      expect(request.headers.get("host")).toBe(new URL(request.url).host);
      return token === "t" && request.headers.get("x-user") === "me";
    });
    const session = await serve(twice({ path: "/v1", authorize }));
    const headers = { ...json, ":path": "/v1", authorization: "Bearer t" };
    expect((await ask(session, { ...headers, "x-user": "me" }, '{"inputs":[[1,2]]}')).status).toBe(200);
    expect((await ask(session, headers, '{"inputs":[[1,2]]}')).status).toBe(403);
    expect((await ask(session, { ":path": "/v1/metadata" })).status).toBe(401);
    expect(authorize).toHaveBeenCalledTimes(3);
  });
  test("any handler receives a web Request, forbidden headers are removed, and cookies stay separate", async () => {
    const session = await serve(async (request) => {
      const headers = new Headers({ connection: "close", "keep-alive": "timeout=5", "x-own": "1" });
      headers.append("set-cookie", "a=1");
      headers.append("set-cookie", "b=2");
      return new Response(`${request.method} ${new URL(request.url).pathname} ${await request.text()}`, {
        status: 201,
        headers,
      });
    });
    const { status, headers, text } = await ask(session, { ...json, ":method": "PUT", ":path": "/a?b" }, "hello");
    expect([status, text]).toEqual([201, "PUT /a hello"]);
    expect(headers).toMatchObject({ "x-own": "1", "set-cookie": ["a=1", "b=2"] });
    expect(headers.connection).toBeUndefined();
  });
  test("combine works with nabla's and with other handlers", async () => {
    const session = await serve(combine({ "/model": twice(), "/plain": async (request) => new Response(request.url) }));
    expect((await ask(session, { ...json, ":path": "/model" }, '{"inputs":[[1,2]]}')).status).toBe(200);
    expect((await ask(session, { ":path": "/plain/x" })).text).toMatch(/\/x$/);
  });
  test("a training request streams its events", async () => {
    const specs = { input: { shape: [null, 2] }, target: { shape: [null, 1] } };
    const session = await serve(trainingHandler({ create: learner, ...specs }));
    const { status, text } = await ask(session, json, JSON.stringify({ ...xor, epochs: 3 }));
    expect(status).toBe(200);
    expect(text).toMatch(/event: progress[\s\S]*event: done/);
  });
  test("a body that is too large is rejected, and the connection stays open", async () => {
    const session = await serve(twice({ limits: { bytes: 1000 } }));
    expect((await ask(session, json, Buffer.alloc(5000, " "))).status).toBe(413);
    const endless = session.request(json);
    endless.on("error", () => {});
    endless.write(Buffer.alloc(5000, " "));
    const [head] = (await once(endless, "response")) as [Record<string, unknown>];
    expect(head[":status"]).toBe(413);
    endless.resume();
    if (!endless.closed) await once(endless, "close");
    expect((await ask(session, json, '{"inputs":[[1,2]]}')).status).toBe(200);
  });
  test("a client that resets its stream during the body frees its slot", async () => {
    const session = await serve(twice({ limits: { concurrency: 1 } }));
    for (let i = 0; i < 5; i++) {
      const stream = session.request(json);
      stream.on("error", () => {});
      stream.write('{"inp');
      await new Promise((resolve) => setTimeout(resolve, 5));
      stream.close(8);
    }
    expect((await ask(session, json, '{"inputs":[[1,2]]}')).status).toBe(200);
  });
  test("a host with a user name gets a 400", async () => {
    const session = await serve(twice());
    expect((await ask(session, { ":path": "/health", ":authority": "u@h" })).status).toBe(400);
  });
  test("serves 200 concurrent requests on one connection", async () => {
    const session = await serve(twice({ limits: { concurrency: 200 } }));
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) => ask(session, json, JSON.stringify({ inputs: [[i, 1]] }))),
    );
    answers.forEach(({ text }, i) => expect(JSON.parse(text).outputs).toEqual([[2 * i, 2]]));
  });
});
