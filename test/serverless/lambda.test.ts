/** lambdaHandler and lambdaStream: events and results in the formats that AWS documents. */
import { PassThrough } from "node:stream";
import type { Tensor } from "nabla";
import { readSafetensors } from "nabla/formats";
import { inferenceHandler, type LambdaStreamer, lambdaHandler, lambdaStream, trainingHandler } from "nabla/serverless";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { albEvent, functionUrlEvent, restApiEvent } from "./lambda-events.ts";
import { file, learner, SAFETENSORS, xor } from "./requests.ts";

const handle = lambdaHandler(
  inferenceHandler({
    load: () => (x: Tensor) => x.mul(2),
    input: { shape: [null, 2] },
    authorize: (token) => token === "a",
  }),
);
const body = JSON.stringify({ inputs: [[1, 2]] });
const headers = { "content-type": "application/json", authorization: "Bearer a" };

test.each([
  ["a function URL", functionUrlEvent],
  ["a REST API", restApiEvent],
  ["a load balancer", albEvent],
])("%s serves inference, health and authorization", async (_, event) => {
  const result = await handle(event({ method: "POST", path: "/", headers, body }));
  expect(result).toMatchObject({ statusCode: 200, isBase64Encoded: false });
  expect(result.headers["content-type"]).toBe("application/json");
  expect(JSON.parse(result.body)).toEqual({ outputs: [[2, 4]], shape: [1, 2] });
  const health = await handle(event({ method: "GET", path: "/health", headers: {}, query: { ready: "" } }));
  expect(JSON.parse(health.body)).toEqual({ status: "ok", ready: true });
  expect((await handle(event({ method: "POST", path: "/", headers: {}, body }))).statusCode).toBe(401);
});
test("binary bodies are base64 in events and results", async () => {
  const bytes = Buffer.from(file({ inputs: [[1, 2]] })).toString("base64");
  const event = functionUrlEvent({
    method: "POST",
    path: "/",
    headers: { ...headers, "content-type": SAFETENSORS },
    body: bytes,
  });
  const result = await handle({ ...event, isBase64Encoded: true });
  expect(result.isBase64Encoded).toBe(true);
  const { outputs } = readSafetensors(Buffer.from(result.body, "base64")).tensors;
  expect(outputs!.toArray()).toEqual([[2, 4]]);
});
test("lambdaHandler returns the events of a training request together", async () => {
  const train = lambdaHandler(
    trainingHandler({ create: learner, input: { shape: [null, 2] }, target: { shape: [null, 1] } }),
  );
  const result = await train(
    functionUrlEvent({ method: "POST", path: "/", headers, body: JSON.stringify({ ...xor, epochs: 50 }) }),
  );
  expect(result.headers["content-type"]).toBe("text/event-stream");
  expect(result.body).toMatch(/event: done\ndata: \{.*"steps":50,.*\}\n\n$/);
});
describe("events that a web Request cannot represent get a 400", () => {
  const detail = "The request's method, URL or Host header is invalid. Correct it.";
  test.each([
    ["a method", restApiEvent({ method: "TRACE", path: "/", headers: {} }), detail],
    [
      "a host with a user name",
      { ...albEvent({ method: "POST", path: "/", headers, body }), headers: { ...headers, host: "u:p@h" } },
      detail,
    ],
    [
      "a host with a path",
      { ...albEvent({ method: "GET", path: "/nothing", headers }), headers: { host: "a/health?" } },
      detail,
    ],
    ["a header", functionUrlEvent({ method: "GET", path: "/", headers: { "a b": "c" } }), detail],
    [
      "invalid base64",
      { ...functionUrlEvent({ method: "POST", path: "/", headers, body: "%" }), isBase64Encoded: true },
      "The body is not valid base64. Encode it again.",
    ],
  ])("%s", async (_, event, detail) => {
    const result = await handle(event);
    expect(result).toMatchObject({ statusCode: 400, headers: { "content-type": "application/problem+json" } });
    expect(JSON.parse(result.body)).toMatchObject({ status: 400, detail });
  });
});
describe("cookies and queries in events and results", () => {
  const echo = lambdaHandler(async (request) => {
    const answer = Response.json([request.headers.get("cookie"), new URL(request.url).search], {
      headers: { "x-y": "z" },
    });
    for (const cookie of ["a=1; Path=/", "b=2"]) answer.headers.append("set-cookie", cookie);
    return answer;
  });
  const call = { method: "GET", path: "/", headers: { cookie: "c=3; d=4" } };
  const both = ["a=1; Path=/", "b=2"];
  test("a function URL puts cookies in their own field", async () => {
    const { cookies, headers, multiValueHeaders, body } = await echo(
      functionUrlEvent({ ...call, headers: {}, query: { e: "f g" } }),
    );
    expect({ cookies, multiValueHeaders }).toEqual({ cookies: both });
    expect(headers).toEqual({ "content-type": "application/json", "x-y": "z" });
    expect(JSON.parse(body)).toEqual(["cookie1; cookie2", "?e=f+g"]);
  });
  test("a REST API sends lists of header values, and decodes queries", async () => {
    const { cookies, headers, multiValueHeaders, body } = await echo(restApiEvent({ ...call, query: { e: "f g&" } }));
    expect(cookies).toBeUndefined();
    expect(multiValueHeaders).toEqual({ "content-type": ["application/json"], "x-y": ["z"], "set-cookie": both });
    expect(headers["set-cookie"]).toBe("b=2");
    expect(JSON.parse(body)).toEqual(["c=3; d=4", "?e=f+g%26"]);
  });
  test("a load balancer does not decode queries", async () => {
    const { multiValueHeaders, body } = await echo(albEvent({ ...call, query: { e: "f%20g%26", h: "" } }));
    expect(multiValueHeaders!["set-cookie"]).toEqual(both);
    expect(JSON.parse(body)).toEqual(["c=3; d=4", "?e=f%20g%26&h="]);
  });
});
test("an event that is not a web request is rejected", async () => {
  await expect(handle({ Records: [] } as never)).rejects.toThrow(
    "lambdaHandler: the event is not a web request. Call the function through its URL or through API Gateway.",
  );
});

describe("lambdaStream", () => {
  /** Stands in for Lambda's Node runtime, which writes the head, eight zero bytes and the body. */
  const runtime = {
    streamifyResponse: (f: LambdaStreamer) => f,
    HttpResponseStream: {
      from(stream: PassThrough, head: object) {
        stream.write(`${JSON.stringify(head)}${"\0".repeat(8)}`);
        return stream;
      },
    },
  };
  beforeEach(() => vi.stubGlobal("awslambda", runtime));
  afterEach(() => vi.unstubAllGlobals());
  const train = () =>
    lambdaStream(trainingHandler({ create: learner, input: { shape: [null, 2] }, target: { shape: [null, 1] } }));
  const event = (course: object) =>
    functionUrlEvent({ method: "POST", path: "/", headers, body: JSON.stringify({ ...xor, ...course }) });

  test("sends events as they occur", async () => {
    const stream = new PassThrough();
    const pieces: string[] = [];
    stream.on("data", (piece) => pieces.push(String(piece)));
    await train()(event({ epochs: 1000, batchSize: 1 }), stream);
    const [head, body] = pieces.join("").split("\0".repeat(8));
    expect(JSON.parse(head!)).toMatchObject({ statusCode: 200, headers: { "content-type": "text/event-stream" } });
    expect(body).toMatch(/^event: progress[\s\S]*event: done\ndata: .*\n\n$/);
    expect(pieces.length).toBeGreaterThan(2);
    expect(stream.writableEnded).toBe(true);
  });
  test("a closed stream ends the training run", async () => {
    const stream = new PassThrough();
    stream.once("data", () => stream.destroy());
    const began = performance.now();
    const course = { inputs: Array(5000).fill([0, 1]), targets: Array(5000).fill([1]), epochs: 1000, batchSize: 1 };
    await train()(event(course), stream);
    expect(performance.now() - began).toBeLessThan(5000);
  });
  test("throws outside of Lambda", () => {
    vi.unstubAllGlobals();
    expect(train).toThrow("lambdaStream: only Lambda's Node runtime can stream. Use lambdaHandler.");
  });
});
