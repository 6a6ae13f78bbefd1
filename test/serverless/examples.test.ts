/** examples/serverless: only clients with the token may train, and the example does not start without a token. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Handler } from "nabla/serverless";
import { afterEach, describe, expect, test, vi } from "vitest";
import { allEvents, post, problem, xor } from "./requests.ts";

afterEach(() => vi.unstubAllEnvs());
/** Imports one of the example's files with the given environment, as a new process would. */
async function load(file: string, env: Record<string, string> = {}): Promise<{ default: Handler }> {
  vi.resetModules();
  vi.stubEnv("TRAIN_TOKEN", undefined);
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
  return (await import(/* @vite-ignore */ `../../examples/serverless/${file}`)) as { default: Handler };
}
const bearer = (token: string) => ({ path: "/train", headers: { authorization: `Bearer ${token}` } });

test("clients with the token may train", async () => {
  const { default: handler } = await load("handler.mjs", { TRAIN_TOKEN: "let-me-teach" });
  await problem(await post(handler, xor, { path: "/train" }), 401);
  await problem(await post(handler, xor, bearer("guess")), 403);
  const course = { ...xor, epochs: 600, batchSize: 4 };
  expect((await allEvents(await post(handler, course, bearer("let-me-teach")))).at(-1)!.event).toBe("done");
  const { outputs } = (await (await post(handler, { inputs: xor.inputs })).json()) as { outputs: number[][] };
  expect(outputs.map(([logit]) => [Number(logit! > 0)])).toEqual(xor.targets);
});

describe("the example does not start without a token", () => {
  test.each([[{}], [{ TRAIN_TOKEN: "" }]])("%j", async (env) => {
    await expect(load("handler.mjs", env)).rejects.toThrow("TRAIN_TOKEN is not set. Set it to the token");
  });
  test("with an empty token file", async () => {
    await withFile("\n", async (file) => {
      await expect(load("handler.mjs", { TRAIN_TOKEN_FILE: file })).rejects.toThrow("TRAIN_TOKEN is not set");
    });
  });
  test("as a Worker without its secret", async () => {
    type Worker = { fetch(request: Request, env: object): Promise<Response> };
    const { default: worker } = (await load("worker.mjs")) as unknown as { default: Worker };
    expect(() => worker.fetch(new Request("http://localhost/train", { method: "POST" }), {})).toThrow(
      "trainingHandler: token must be a string, got undefined. Set it, or remove the option to admit everyone.",
    );
  });
});

test("the token may come from a file, and a line break at its end is ignored", async () => {
  await withFile("from-a-file\n", async (file) => {
    const { default: handler } = await load("handler.mjs", { TRAIN_TOKEN_FILE: file });
    await problem(await post(handler, xor, bearer("from-a-file\n".trim().slice(1))), 403);
    expect((await allEvents(await post(handler, xor, bearer("from-a-file")))).at(-1)!.event).toBe("done");
  });
});

async function withFile(text: string, use: (file: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "nabla-token-"));
  const file = join(folder, "token");
  writeFileSync(file, text);
  try {
    await use(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
