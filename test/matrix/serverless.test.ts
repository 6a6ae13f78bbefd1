/**
 * Runs each program from examples/serverless in its runtime, with the installed tarball: it trains, predicts, and handles a disconnect
 * during training.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { LambdaEvent, LambdaResult } from "nabla/serverless";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { functionUrlEvent, restApiEvent } from "../serverless/lambda-events.ts";
import { allEvents, events, xor } from "../serverless/requests.ts";
import { binaryOf, TOOLS } from "./project.ts";

const { project: cwd, nodes } = inject("matrix");
const examples = join(cwd, "serverless");
beforeAll(() => cpSync("examples/serverless", examples, { recursive: true }));

process.env.TRAIN_TOKEN = "let-me-train";
const trainingRequest = { ...xor, epochs: 600, batchSize: 4 };
const headers = { "content-type": "application/json", authorization: "Bearer let-me-train" };
const labels = xor.targets.flat();

/** A free port. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Starts a server and waits until it is ready. */
async function start(command: string, args: readonly string[]): Promise<{ url: string; stop: () => Promise<void> }> {
  const port = await freePort();
  const env = { ...process.env, PORT: String(port), NO_COLOR: "1" };
  const child: ChildProcess = spawn(
    command,
    args.map((arg) => arg.replace("$PORT", String(port))),
    { cwd: examples, env },
  );
  let output = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (piece) => (output += piece));
  const ended = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await ended;
  };
  const url = `http://127.0.0.1:${port}`;
  for (const began = Date.now(); ; await new Promise((resolve) => setTimeout(resolve, 50))) {
    const response = await fetch(`${url}/health?ready`).catch(() => undefined);
    if (response?.ok) return { url, stop };
    if (child.exitCode === null && Date.now() - began < 60_000) continue;
    await stop();
    throw new Error(`${command} ${args.join(" ")} does not serve requests:\n${output}`);
  }
}

/**
 * Sends only the headers of a request, and returns the status of the response. If the client sent the body too, the server
 * could close the connection before the client has read the response.
 */
async function statusOfHeaders(url: string, bytes: number): Promise<number | undefined> {
  const sent = request(url, { method: "POST", headers: { ...headers, "content-length": bytes } });
  sent.flushHeaders();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  sent.destroy();
  return response.statusCode;
}

/** The path to a Node executable that is new enough for miniflare, which needs a newer version than nabla does. */
const newerNode = (): string => {
  const node = nodes[24]!;
  if (node.missing !== undefined) throw new Error(`The tests of Workers need Node 24: ${node.missing}`);
  return node.path;
};

const PLATFORMS: Record<string, () => [command: string, args: string[]]> = {
  Node: () => [process.execPath, ["node.mjs"]],
  Deno: () => [
    binaryOf("@deno", "deno"),
    ["run", "--no-prompt", "--allow-net", "--allow-env=PORT,TRAIN_TOKEN,TRAIN_TOKEN_FILE", "deno.mjs"],
  ],
  Bun: () => [binaryOf("@oven", "bin/bun"), ["bun.mjs"]],
  Workers: () => [newerNode(), [join(TOOLS, "hosts/worker.mjs"), examples, "worker.mjs", "$PORT"]],
};

describe.each(Object.entries(PLATFORMS))("%s", (_, command) => {
  let url: string;
  let stop: (() => Promise<void>) | undefined;
  beforeAll(async () => ({ url, stop } = await start(...command())));
  afterAll(() => stop?.());

  const post = (path: string, body: unknown, signal?: AbortSignal): Promise<Response> =>
    fetch(url + path, { method: "POST", headers, body: JSON.stringify(body), ...(signal && { signal }) });
  const predict = async (): Promise<number[]> => {
    const response = await post("/", { inputs: xor.inputs });
    expect(response.status).toBe(200);
    return ((await response.json()) as { outputs: number[][] }).outputs.flat();
  };

  test("learns from a training request, and predicts the right labels", async () => {
    const unauthorized = await fetch(`${url}/train`, { method: "POST", body: JSON.stringify(trainingRequest) });
    expect(unauthorized.status).toBe(401);
    const all = await allEvents(await post("/train", trainingRequest));
    expect(all.length).toBeGreaterThan(1);
    expect(all.at(-1)).toMatchObject({ event: "done", data: { steps: 600 } });
    expect((await predict()).map((logit) => Number(logit > 0))).toEqual(labels);
  });
  test("returns its metadata, and describes the error in an invalid request", async () => {
    const metadata = await (await fetch(`${url}/metadata`)).json();
    expect(metadata).toMatchObject({ name: "xor", nabla: { version: "0.1.0", threads: 1 } });
    const response = await post("/", { inputs: [[1]] });
    expect(response.status).toBe(422);
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(await statusOfHeaders(url, 5_000_000)).toBe(413);
  });
  test("a disconnect ends a long training run, and the model does not change", async () => {
    const before = await predict();
    const controller = new AbortController();
    const inputs = Array.from({ length: 1000 }, () => xor.inputs).flat();
    const long = { inputs, targets: inputs.map(() => [1]), epochs: 1000, batchSize: 1 };
    const response = await post("/train", long, controller.signal);
    // Do not use `for await`: leaving its loop would cancel the response.
    const stream = events(response);
    for (let i = 0; i < 10; i++) expect((await stream.next()).value).toMatchObject({ event: "progress" });
    expect((await post("/train", {})).status, "only one training runs at a time").toBe(503);
    expect((await fetch(`${url}/health`)).status, "other requests are answered during training").toBe(200);
    controller.abort();
    const aborted = performance.now();
    // When the training run has ended, the server no longer responds with 503, but reports the error in the request.
    while ((await post("/train", {})).status === 503) expect(performance.now() - aborted).toBeLessThan(5000);
    console.log(
      `the next training can start ${(performance.now() - aborted).toFixed(0)} ms after the client disconnected`,
    );
    expect(await predict()).toEqual(before);
  });
});

test.each([
  ["a function URL", functionUrlEvent],
  ["a REST API", restApiEvent],
])("Lambda, called through %s, trains and predicts", async (name, event) => {
  const file = `${pathToFileURL(join(examples, "lambda.mjs")).href}?${encodeURIComponent(name)}`;
  const { handler } = (await import(/* @vite-ignore */ file)) as { handler: (e: LambdaEvent) => Promise<LambdaResult> };
  const call = (path: string, body: unknown) =>
    handler(event({ method: "POST", path, headers, body: JSON.stringify(body) }));
  const trained = await call("/train", trainingRequest);
  expect(trained.statusCode).toBe(200);
  expect(trained.body).toMatch(/event: done\n/);
  const { outputs } = JSON.parse((await call("/", { inputs: xor.inputs })).body) as { outputs: number[][] };
  expect(outputs.flat().map((logit) => Number(logit > 0))).toEqual(labels);
});
