/** examples/serverless/handler.mjs: it learns from who has the token, and from nobody else. */
import type { Handler } from "nabla/serverless";
import { expect, test } from "vitest";
import { allEvents, post, problem, xor } from "./requests.ts";

const example: string = "../../examples/serverless/handler.mjs";

test("the example is taught by who has the token", async () => {
  const { default: handler } = (await import(/* @vite-ignore */ example)) as { default: Handler };
  const bearer = (token: string) => ({ path: "/train", headers: { authorization: `Bearer ${token}` } });
  await problem(await post(handler, xor, { path: "/train" }), 401);
  await problem(await post(handler, xor, bearer("guess")), 403);
  const course = { ...xor, epochs: 600, batchSize: 4 };
  expect((await allEvents(await post(handler, course, bearer("let-me-teach")))).at(-1)!.event).toBe("done");
  const { outputs } = (await (await post(handler, { inputs: xor.inputs })).json()) as { outputs: number[][] };
  expect(outputs.map(([logit]) => [Number(logit! > 0)])).toEqual(xor.targets);
});
