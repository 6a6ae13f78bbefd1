/** lambdaHandler: events as AWS documents them, and what Lambda takes for an answer. */
import type { Tensor } from "nabla";
import { readSafetensors } from "nabla/formats";
import { inferenceHandler, lambdaHandler, trainingHandler } from "nabla/serverless";
import { expect, test } from "vitest";
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
])("%s", async (_, event) => {
  const result = await handle(event({ method: "POST", path: "/", headers, body }));
  expect(result).toMatchObject({ statusCode: 200, isBase64Encoded: false });
  expect(result.headers["content-type"]).toBe("application/json");
  expect(JSON.parse(result.body)).toEqual({ outputs: [[2, 4]], shape: [1, 2] });
  const health = await handle(event({ method: "GET", path: "/health", headers: {}, query: { ready: "" } }));
  expect(JSON.parse(health.body)).toEqual({ status: "ok", ready: true });
  expect((await handle(event({ method: "POST", path: "/", headers: {}, body }))).statusCode).toBe(401);
});
test("bytes, in base64 both ways", async () => {
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
test("a training's events arrive together", async () => {
  const train = lambdaHandler(
    trainingHandler({ create: learner, input: { shape: [null, 2] }, target: { shape: [null, 1] } }),
  );
  const result = await train(
    functionUrlEvent({ method: "POST", path: "/", headers, body: JSON.stringify({ ...xor, epochs: 50 }) }),
  );
  expect(result.headers["content-type"]).toBe("text/event-stream");
  expect(result.body).toMatch(/event: done\ndata: \{.*"steps":50,.*\}\n\n$/);
});
test("an event that is no web request is refused", async () => {
  await expect(handle({ Records: [] } as never)).rejects.toThrow(
    "lambdaHandler: the event is no web request. Call the function through its URL or through API Gateway.",
  );
});
