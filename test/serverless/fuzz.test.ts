/**
 * Mutated bodies, headers, methods and paths: every answer is a result or a 4xx problem, and no request throws, hangs or leaks memory.
 * The seed is fixed. `npm run test:deep` sends more requests.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import fc from "fast-check";
import { memory, type Tensor } from "nabla";
import { combine, inferenceHandler, nodeListener, trainingHandler } from "nabla/serverless";
import { expect, test } from "vitest";
import { runs } from "../support/runs.ts";
import { file, JSON_TYPE, learner, network, SAFETENSORS } from "./requests.ts";

const requests = runs(5000);
/** Options that make a property fail if its runs take too long. */
const timeLimit = { interruptAfterTimeLimit: 3_000_000, markInterruptAsFailure: true };

const errors: unknown[] = [];
const onError = (error: unknown) => errors.push(error);
const model = network();
const limits = { bytes: 20_000, batch: 16, milliseconds: 2000 };
/** Functions that accept any numbers, so every failure is the request's fault. */
const handler = combine({
  "/": inferenceHandler({
    load: () => model,
    input: { shape: [null, 4] },
    output: { shape: [null, 2] },
    limits,
    onError,
  }),
  "/tokens": inferenceHandler({
    load: () => (ids: Tensor) => ids.to("float32").add(1),
    input: { shape: [null, null], dtype: "int32", min: 0, max: 99 },
    limits,
    onError,
    authorize: (token, request) => token === "a" && request.body === null,
  }),
  "/train": trainingHandler({
    create: learner,
    input: { shape: [null, 2] },
    target: { shape: [null, 1] },
    // A client that disconnects may still hold a slot when the next request arrives, so provide many slots.
    limits: { ...limits, epochs: 3, concurrency: 64 },
    onError,
  }),
});

const pick = <T>(...values: readonly T[]) => fc.constantFrom(...values);
const utf8 = new TextEncoder();

/** Unusual values in place of valid ones. */
const oddities = [0, -1, 1, 0.5, 1e38, 1e39, -1e308, 2 ** 31, 2 ** 53, 99, 100, true, null, "1", "", [], {}, [[]], [1]];
const odd = fc.oneof(
  { weight: 3, arbitrary: pick<unknown>(...oddities) },
  { weight: 1, arbitrary: fc.double({ noNaN: true }) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
);
const real = fc.double({ min: -9, max: 9, noNaN: true });
const exactly = (length: number) => ({ minLength: length, maxLength: length });
const rows = (n: number, width: number, element: fc.Arbitrary<unknown>) =>
  fc.array(fc.array(element, exactly(width)), exactly(n));
/** Bodies that one of the functions accepts. */
const valid = fc.integer({ min: 1, max: 16 }).chain((n) =>
  fc.oneof(
    fc.record({ inputs: rows(n, 4, real) }),
    fc.record({ inputs: rows(n, (n * 7) % 5 || 1, fc.nat({ max: 99 })) }),
    fc.record(
      {
        inputs: rows(n, 2, real),
        targets: rows(n, 1, real),
        epochs: fc.integer({ min: 1, max: 3 }),
        batchSize: fc.integer({ min: 1, max: 16 }),
        lr: fc.double({ min: 0.001, max: 2, noNaN: true }),
        shuffle: fc.boolean(),
      },
      { requiredKeys: ["inputs", "targets"] },
    ),
  ),
);
/** Bodies with correct names, but some invalid values. */
const invalid = fc.record(
  {
    inputs: fc.oneof(rows(2, 4, fc.oneof(real, odd)), odd),
    targets: fc.oneof(rows(2, 1, fc.oneof(real, odd)), odd),
    epochs: fc.oneof(fc.integer({ min: 0, max: 4 }), odd),
    batchSize: fc.oneof(fc.integer({ min: 0, max: 17 }), odd),
    lr: fc.oneof(fc.double({ min: 0, max: 2 }), odd),
    shuffle: fc.oneof(fc.boolean(), odd),
    constructor: odd,
    "": odd,
  },
  { requiredKeys: [] },
);
const json = fc
  .oneof({ weight: 3, arbitrary: valid }, { weight: 1, arbitrary: invalid })
  .map((value) => JSON.stringify(value));
const hostile = fc.oneof(
  pick(
    '{"__proto__":{"inputs":[1,2,3,4]}}',
    '{"inputs":[1,2,3,4],"__proto__":{"polluted":1}}',
    '{"constructor":{"prototype":{"polluted":1}},"inputs":[1,2,3,4]}',
    '{"inputs":{"length":4,"0":1}}',
    '{"inputs":[1e400,-1e400,1e-400,-0]}',
    '{"inputs":[1,2,3,4],"inputs":[5]}',
    '\ufeff{"inputs":[1,2,3,4]}',
    "",
    "null",
    "[]",
    '"inputs"',
    "{",
  ),
  fc.nat({ max: 9000 }).map((depth) => `{"inputs":${"[".repeat(depth)}${"]".repeat(depth)}}`),
  fc.nat({ max: 2000 }).map((depth) => `${'{"inputs":'.repeat(depth)}1${"}".repeat(depth)}`),
  fc
    .tuple(fc.nat({ max: 3000 }), fc.nat({ max: 3000 }))
    .map(([m, n]) => `{"inputs":[[${"0,".repeat(n)}0]${",[]".repeat(m)}]}`),
  fc.nat({ max: 30_000 }).map((length) => `{"inputs":[${"1,".repeat(length / 2)}1]}`),
  fc.string({ unit: "binary", maxLength: 50 }),
);
const safetensors = fc
  .tuple(
    pick(1, 2, 4),
    pick(1, 3, 17),
    pick<"float32" | "int32" | "uint8" | "bool">("float32", "float32", "int32", "uint8", "bool"),
    json,
  )
  .map(([width, batch, dtype, text]) => {
    const rows = (columns: number) =>
      Array.from({ length: batch }, (_, i) => Array.from({ length: columns }, (_, j) => (i + j) % 5));
    const metadata = Object.fromEntries(
      Object.entries(JSON.parse(text) as object).map(([key, value]) => [key, JSON.stringify(value)]),
    );
    return file({ inputs: rows(width), targets: rows(1) }, { dtype, metadata });
  });

/** Leaves bytes unchanged, or changes, removes or repeats a few of them, or truncates them. */
const mutate = (bytes: fc.Arbitrary<Uint8Array>) => {
  const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }), pick("set", "flip", "drop", "cut", "repeat"));
  const changes = fc.oneof(fc.constant([]), fc.array(change, { minLength: 1, maxLength: 4 }));
  return fc.tuple(bytes, changes).map(([whole, list]) => {
    let bytes = [...whole];
    for (const [at, value, how] of list) {
      if (!bytes.length) break;
      const i = at % bytes.length;
      if (how === "set") bytes[i] = value;
      else if (how === "flip") bytes[i]! ^= 1 << (value & 7);
      else if (how === "drop") bytes.splice(i, 1 + (value & 7));
      else if (how === "repeat") bytes.splice(i, 0, ...bytes.slice(i, i + value));
      else if (value < 64) bytes = bytes.slice(0, i);
    }
    return Uint8Array.from(bytes);
  });
};

const body = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      bytes: mutate(json.map((text) => utf8.encode(text))),
      type: fc.constant<string>(JSON_TYPE),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ bytes: hostile.map((text) => utf8.encode(text)), type: fc.constant<string>(JSON_TYPE) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ bytes: mutate(safetensors), type: pick<string>(SAFETENSORS, "application/octet-stream") }),
  },
);
const text = fc.string({ maxLength: 17 }).map((value) => value.replace(/[^\x20-\x7e]/g, ""));
const headers = fc.record(
  {
    "content-type": fc.oneof(
      pick(
        "application/json; charset=utf-8",
        'application/json;charset="',
        "text/plain",
        ";",
        "",
        "application/jsonx",
        SAFETENSORS,
      ),
      text,
    ),
    accept: fc.oneof(
      pick("*/*", "application/json", SAFETENSORS, "text/event-stream", "*/*;q=0", ";;;,,,q=", "a/b;q=x, */*;q=-1"),
      text,
    ),
    "content-encoding": pick("identity", "gzip", "", "x".repeat(500)),
    "content-length": pick("0", "-1", "1e9", "NaN", "5", "99999999999999999999", ""),
    authorization: fc.oneof(
      pick("Bearer a", "bearer  a ", "Bearer", "Bearer a b", "Basic YTpi", `Bearer ${"a".repeat(5000)}`),
      text,
    ),
    "x-anything": text,
  },
  { requiredKeys: [] },
);
const plain = fc.record({ authorization: fc.constant("Bearer a") }, { requiredKeys: [] });
const request = fc.record({
  body,
  method: fc.oneof(
    { weight: 12, arbitrary: fc.constant("POST") },
    { weight: 1, arbitrary: pick("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "post", "PROPFIND") },
  ),
  path: fc.oneof(
    { weight: 12, arbitrary: pick("/", "/tokens", "/train") },
    {
      weight: 1,
      arbitrary: pick(
        "/health",
        "/health?ready",
        "/metadata",
        "/train/health",
        "//",
        "/%00",
        "/%ff%fe",
        "/..",
        "/train/../tokens",
        "/tokens/",
        "/TRAIN",
        "/?a=%",
        "/__proto__",
        "/constructor",
      ),
    },
    { weight: 1, arbitrary: fc.webPath() },
  ),
  headers: fc.oneof({ weight: 4, arbitrary: plain }, { weight: 1, arbitrary: headers }),
  /** The size of chunks if the body is streamed without a length, else null. */
  chunkSize: fc.option(fc.integer({ min: 1, max: 5000 }), { freq: 3 }),
});
type Sent = typeof request extends fc.Arbitrary<infer T> ? T : never;

function build({ body: { bytes, type }, method, path, headers: given, chunkSize }: Sent): Request {
  const all = { "content-type": type, ...given };
  if (method === "GET" || method === "HEAD") return new Request(`http://localhost${path}`, { method, headers: all });
  const stream = () => {
    let at = 0;
    return new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at >= bytes.length) return controller.close();
        controller.enqueue(bytes.slice(at, (at += chunkSize!)));
      },
    });
  };
  const init = { method, headers: all, body: chunkSize ? stream() : (bytes as BodyInit), duplex: "half" };
  return new Request(`http://localhost${path}`, init as RequestInit);
}

const seen = new Map<number, number>();
async function check(sent: Sent): Promise<void> {
  const response = await handler(build(sent));
  const { status } = response;
  seen.set(status, (seen.get(status) ?? 0) + 1);
  const type = response.headers.get("content-type");
  const bytes = await response.text();
  expect(status, bytes).toBeLessThan(500);
  if (status >= 400) {
    if (sent.method === "HEAD") return;
    expect(type).toBe("application/problem+json");
    const problem = JSON.parse(bytes) as object;
    expect(problem).toEqual({ type: "about:blank", title: expect.any(String), status, detail: expect.any(String) });
    expect(bytes.length, bytes).toBeLessThan(1000);
  } else if (type === JSON_TYPE && sent.method !== "HEAD") JSON.parse(bytes);
  else if (type === "text/event-stream") {
    const last = /event: (done|error)\ndata: (.*)\n\n$/.exec(bytes);
    expect(last, bytes).not.toBeNull();
    if (last![1] === "error") expect((JSON.parse(last![2]!) as { status: number }).status, bytes).toBe(422);
  }
}

test(`${requests} mutated requests cause no exception, no 5xx, no hang and no leak`, async () => {
  // The first requests allocate memory that nabla keeps: workspace, and scalar operands such as batch sizes.
  const settle = { numRuns: 300, seed: 1 };
  await fc.assert(fc.asyncProperty(request, check), settle);
  const before = memory();
  const began = performance.now();
  await fc.assert(fc.asyncProperty(request, check), { numRuns: requests, seed: 7, ...timeLimit });
  const seconds = (performance.now() - began) / 1000;
  const statuses = [...seen].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`);
  console.log(`${requests} requests in ${seconds.toFixed(1)} s, by status ${statuses.join(", ")}`);
  expect(errors).toEqual([]);
  const { tensors, bytes } = memory();
  expect(tensors - before.tensors).toBeLessThanOrEqual(limits.batch);
  expect(bytes - before.bytes).toBeLessThanOrEqual(64 * limits.batch);
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
  for (const status of [200, 400, 401, 403, 404, 405, 406, 413, 415, 422])
    expect(seen.get(status), String(status)).toBeGreaterThan(0);
}, 3_600_000);

/** Invalid and foreign hosts and targets, and hosts that contain a path. */
const hosts = pick(
  "",
  "u@h",
  "u:p@h",
  "a/train?",
  "a\\train",
  "a#",
  "a?",
  "a b",
  "[::1]",
  "[",
  ":",
  ":80",
  "a:99999",
  "%00",
  ".",
  "ä",
);
const targets = pick(
  ...["http://b/tokens", "http://u:p@h/tokens", "http://u@h", "https://a", "http:///tokens", "http:tokens", "http://"],
  ...[
    "ftp://a/",
    "file:///etc/passwd",
    "javascript:1",
    "data:,",
    "*",
    "//a/train",
    "//u@h/",
    "/\\a",
    "/a@b:80/",
    "tokens",
  ],
);

/** A request on a socket: mutated or not, written in one or several chunks, and read to its end or abandoned. */
const written = fc.record({
  head: mutate(
    fc
      .tuple(
        pick("POST", "GET", "PUT"),
        fc.oneof(
          { weight: 3, arbitrary: pick("/", "/tokens", "/train", "/health", "/nothing") },
          { weight: 1, arbitrary: targets },
        ),
        pick(...[0, 1, 2, 50, 500, 30_000]),
        fc.boolean(),
        fc.oneof({ weight: 3, arbitrary: fc.constant("a") }, { weight: 1, arbitrary: hosts }),
      )
      .map(([method, path, length, chunked, host]) =>
        utf8.encode(
          `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer a\r\nContent-Type: application/json\r\n` +
            `${chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`}\r\nConnection: close\r\n\r\n`,
        ),
      ),
  ),
  body: mutate(
    fc
      .tuple(json, fc.boolean())
      .map(([text, chunked]) => utf8.encode(chunked ? `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n` : text)),
  ),
  piece: fc.integer({ min: 20, max: 2000 }),
  leaves: fc.boolean(),
});

const sockets = runs(500);
test(`${sockets} mutated writes to a socket cause no 5xx, no exception and no leak`, async () => {
  const server = createServer(nodeListener(handler)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const answered = new Set<number>();
  const write = fc.asyncProperty(written, async ({ head, body, piece, leaves }) => {
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    socket.on("data", (bytes) => (answer += bytes));
    // The server may close the connection first.
    socket.on("error", () => {});
    const closed = once(socket, "close");
    const all = Buffer.concat([head, body]);
    for (let at = 0; at < all.length; at += piece) socket.write(all.subarray(at, at + piece));
    if (leaves) setImmediate(() => socket.destroy());
    else socket.end();
    await closed;
    for (const [, status] of answer.matchAll(/HTTP\/1\.1 (\d+)/g)) {
      expect(Number(status), answer).toBeLessThan(500);
      answered.add(Number(status));
    }
  });
  await fc.assert(fc.asyncProperty(request, check), { numRuns: 300, seed: 1 });
  const before = memory();
  await fc.assert(write, { numRuns: sockets, seed: 7, ...timeLimit });
  const response = await fetch(`http://127.0.0.1:${port}/health`);
  expect(response.status).toBe(200);
  for (const status of [200, 400, 404, 405, 413, 422]) expect(answered).toContain(status);
  server.closeAllConnections();
  server.close();
  await once(server, "close");
  expect(errors).toEqual([]);
  const { tensors, bytes } = memory();
  expect(tensors - before.tensors).toBeLessThanOrEqual(limits.batch);
  expect(bytes - before.bytes).toBeLessThanOrEqual(64 * limits.batch);
}, 3_600_000);
