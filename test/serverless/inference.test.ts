/** inferenceHandler: responses to valid and invalid requests, limits, loading, and memory. */
import { compile, memory, nn, noGrad, type Tensor, tensor, tidy } from "nabla";
import { readSafetensors } from "nabla/formats";
import { combine, type InferenceOptions, inferenceHandler } from "nabla/serverless";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { file, get, JSON_TYPE, network, post, problem, SAFETENSORS } from "./requests.ts";

const model = network();
afterAll(() => model.dispose());
const x = [
  [1, 2, 3, 4],
  [0, -1, 0.5, 2],
];
/** The network's outputs in evaluation mode. */
const expected = tidy(() => noGrad(() => model.eval().forward(tensor(x)).toArray())) as number[][];

/** Errors that a handler reported and no test expected. */
const unexpected: unknown[] = [];
afterEach(() => expect(unexpected.splice(0)).toEqual([]));

const handlerOf = (options: Partial<InferenceOptions> = {}) =>
  inferenceHandler({
    load: () => model,
    input: { shape: [null, 4] },
    output: { shape: [null, 2] },
    onError: (error) => unexpected.push(error),
    ...options,
  });
const handler = handlerOf();
/** An onError that expects a message. */
const expectError = (message: RegExp) => ({
  onError: vi.fn((error: unknown) => {
    if (!message.test(String(error))) unexpected.push(error);
  }),
});

test("warm: the model is ready only after its warm-up; open sizes are not warmed up", async () => {
  let calls = 0;
  const load = () => (x: Tensor) => {
    calls++;
    return x.add(x);
  };
  const { tensors } = memory();
  const warm = inferenceHandler({ load, warm: true, input: { shape: [null, 3], dtype: "int32", min: 2 } });
  expect((await get(warm, "/health?ready")).status).toBe(200);
  expect(calls).toBeGreaterThan(8);
  expect(memory().tensors).toBe(tensors);
  calls = 0;
  const open = inferenceHandler({ load, warm: true, input: { shape: [null, null] } });
  expect((await get(open, "/health?ready")).status).toBe(200);
  expect(calls).toBe(0);
  const { onError } = expectError(/must return float32 \[batch, 5\]/);
  const wrong = inferenceHandler({
    load,
    warm: true,
    input: { shape: [null, 3] },
    output: { shape: [null, 5] },
    onError,
  });
  expect((await get(wrong, "/health?ready")).status).toBe(503);
  expect(onError).toHaveBeenCalledOnce();
});

describe("answers", () => {
  test("a batch as JSON", async () => {
    const response = await post(handler, { inputs: x });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(JSON_TYPE);
    expect(await response.json()).toEqual({ outputs: expected, shape: [2, 2] });
  });
  test("a single sample returns a single output", async () => {
    expect(await (await post(handler, { inputs: x[1] })).json()).toEqual({ outputs: expected[1], shape: [2] });
  });
  test.each([SAFETENSORS, "application/octet-stream"])("a batch as %s", async (type) => {
    const response = await post(handler, file({ inputs: x }), {
      headers: { "content-type": type },
    });
    expect(response.headers.get("content-type")).toBe(type);
    const { outputs } = readSafetensors(await response.arrayBuffer()).tensors;
    expect(outputs!.toArray()).toEqual(expected);
  });
  test("float16 is read as float32", async () => {
    const json = `{"inputs":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}`;
    const file = new Uint8Array(8 + json.length + 8);
    file[0] = json.length;
    file.set(new TextEncoder().encode(json), 8);
    // 1, 2, 3, 4 in half precision
    file.set(new Uint8Array(new Uint16Array([0x3c00, 0x4000, 0x4200, 0x4400]).buffer), 8 + json.length);
    const response = await post(handler, file, { headers: { accept: JSON_TYPE } });
    expect(await response.json()).toEqual({ outputs: expected[0], shape: [2] });
  });
  test.each([
    ["application/vnd.safetensors", SAFETENSORS],
    ["text/html, application/octet-stream;q=0.2, application/*;q=0.1", "application/octet-stream"],
    ["*/*;q=0.1, application/json;q=0", SAFETENSORS],
    ["text/html, */*;q=0.5", JSON_TYPE],
  ])("Accept: %s is answered with %s", async (accept, type) => {
    const response = await post(handler, { inputs: x }, { headers: { accept } });
    expect(response.headers.get("content-type")).toBe(type);
  });
  test("the charset UTF-8 is accepted", async () => {
    expect(
      (await post(handler, { inputs: x }, { headers: { "content-type": 'application/json; charset="UTF-8"' } })).status,
    ).toBe(200);
  });
  test("a body in chunks, without Content-Length", async () => {
    const bytes = new TextEncoder().encode(JSON.stringify({ inputs: x }));
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += 5) controller.enqueue(bytes.subarray(at, at + 5));
        controller.close();
      },
    });
    const response = await handler(
      new Request("http://localhost/", {
        method: "POST",
        body,
        duplex: "half",
        headers: { "content-type": JSON_TYPE },
      } as RequestInit),
    );
    expect(await response.json()).toEqual({ outputs: expected, shape: [2, 2] });
  });
  test("int32, bool and uint8 keep their types", async () => {
    for (const [dtype, inputs, sum] of [
      ["int32", [-7, 9], 2],
      ["uint8", [255, 1], 256],
      ["bool", [true, 1], 2],
    ] as const) {
      const load = () => (t: Tensor) => {
        expect(t.dtype).toBe(dtype);
        return t.to("float32").sum(1, { keepdim: true });
      };
      const own = handlerOf({ load, input: { shape: [null, 2], dtype }, output: { shape: [null, 1] } });
      expect(await (await post(own, { inputs })).json()).toEqual({ outputs: [sum], shape: [1] });
    }
  });
  test("the client chooses open sizes; a shape may have no batch dimension", async () => {
    const sums = handlerOf({
      load: () => (t: Tensor) => t.sum(1),
      input: { shape: [null, null] },
      output: { shape: [null] },
    });
    expect(await (await post(sums, { inputs: [[1, 2, 3]] })).json()).toEqual({ outputs: [6], shape: [1] });
    expect(await (await post(sums, { inputs: [1, 2] })).json()).toEqual({ outputs: 3, shape: [] });
    const whole = handlerOf({ load: () => (t: Tensor) => t.mul(2), input: { shape: [2] }, output: { shape: [2] } });
    expect(await (await post(whole, { inputs: [1, 2] })).json()).toEqual({ outputs: [2, 4], shape: [2] });
  });
  test("a compiled function works as a model", async () => {
    const program = compile((t: Tensor) => model.eval().forward(t) as Tensor);
    const compiled = handlerOf({ load: () => program });
    for (let i = 0; i < 3; i++)
      expect(await (await post(compiled, { inputs: x })).json()).toEqual({ outputs: expected, shape: [2, 2] });
    program.dispose();
  });
  test("the model runs in evaluation mode and keeps its own mode", async () => {
    model.train();
    expect(await (await post(handler, { inputs: x })).json()).toEqual({ outputs: expected, shape: [2, 2] });
    expect(model.training, "and in its own afterwards").toBe(true);
    // A part of it alone, with dropout.
    model.eval();
    const parts = [...model.namedModules()].map(([, part]) => part);
    for (const part of parts.slice(1)) part.train();
    for (let i = 0; i < 3; i++)
      expect(await (await post(handler, { inputs: x })).json()).toEqual({ outputs: expected, shape: [2, 2] });
    expect(parts.map(({ training }) => training)).toEqual([false, true, true, true, true]);
  });
});

describe("rejects, and says how to fix the request", () => {
  test.each([
    [
      "a wrong size",
      { inputs: [[1, 2, 3]] },
      422,
      '"inputs" must have shape [batch, 4], or [4] for one sample, got [1, 3].',
    ],
    ["too deep", { inputs: [[[1, 2, 3, 4]]] }, 422, "sample, got [1, 1, 4]."],
    ["a number", { inputs: 1 }, 422, "for one sample, got []."],
    ["an empty batch", { inputs: [] }, 422, "for one sample, got [0]."],
    [
      "rows of two lengths",
      { inputs: [[1, 2, 3, 4], [1]] },
      422,
      '"inputs[1]" must have length 4, like the first row, got 1.',
    ],
    ["a row that is a number", { inputs: [[1, 2, 3, 4], 5] }, 422, '"inputs[1]" must be an array of length 4, got 5.'],
    ["a text", { inputs: [[1, 2, "3", 4]] }, 422, '"inputs[0][2]" must be a number in float32\'s range, got "3".'],
    ["null", { inputs: [1, null, 3, 4] }, 422, '"inputs[1]" must be a number in float32\'s range, got null.'],
    [
      "a number beyond float32",
      { inputs: [1, 2, 3, 1e39] },
      422,
      '"inputs[3]" must be a number in float32\'s range, got 1e+39.',
    ],
    [
      "a number beyond float64",
      '{"inputs":[1,2,3,1e999]}',
      422,
      '"inputs[3]" must be a number in float32\'s range, got Infinity.',
    ],
    ["no inputs", {}, 422, '"inputs" is missing. Add it.'],
    ["an unknown name", { inputs: x, instances: 1 }, 422, 'The name "instances" is unknown. Valid names: inputs.'],
    ["__proto__", '{"inputs":[1,2,3,4],"__proto__":{"a":1},"b":1}', 422, "is unknown. Valid names: inputs."],
    ["an array", [1], 422, 'The body must be a JSON object with "inputs".'],
    ["invalid JSON", "{inputs:1}", 400, "The body is not valid JSON. Send a JSON object in UTF-8."],
    ["an empty body", "", 400, "The body is not valid JSON."],
    [
      "too many samples",
      { inputs: Array(1025).fill(x[0]) },
      413,
      '"inputs" has 1025 samples, but the limit is 1024. Send fewer',
    ],
    ["an invalid file", new Uint8Array([1, 2, 3]), 400, "The body is not a valid safetensors file:"],
    ["a file without inputs", file({ x: x }), 422, 'The file has no tensor named "inputs". Add it.'],
    [
      "a file of a wrong type",
      file({ inputs: x }, { dtype: "int32" }),
      422,
      '"inputs" must be float32, got I32, which is read as int32. Convert it.',
    ],
    [
      "a file of a wrong shape",
      file({ inputs: [1] }),
      422,
      '"inputs" must have shape [batch, 4], or [4] for one sample, got [1].',
    ],
  ])("%s", async (_, body, status, detail) => {
    expect((await problem(await post(handler, body), status)).detail).toContain(detail);
  });
  test("deep nesting: a small body is rejected by shape, a large one before it is parsed", async () => {
    const nested = (depth: number) => post(handler, `{"inputs":${"[".repeat(depth)}${"]".repeat(depth)}}`);
    expect((await problem(await nested(2 ** 14), 422)).detail).toBe(
      '"inputs" must have shape [batch, 4], or [4] for one sample, got [1, 1, 1].',
    );
    expect((await problem(await nested(2 ** 16), 422)).detail).toBe(
      "The body is nested deeper than the input's shape. Send the arrays that /metadata describes.",
    );
  });
  test("numbers outside of the dtype or of min and max", async () => {
    const load = () => (t: Tensor) => t;
    const labels = handlerOf({
      load,
      input: { shape: [null], dtype: "int32", min: 0, max: 9 },
      output: { shape: [null], dtype: "int32" },
    });
    expect((await problem(await post(labels, { inputs: [1, 1.5] }), 422)).detail).toBe(
      '"inputs[1]" must be an integer in int32\'s range, got 1.5.',
    );
    expect((await problem(await post(labels, { inputs: [1, 10] }), 422)).detail).toBe(
      '"inputs" must contain numbers from 0 to 9, got 10.',
    );
    const body = file({ inputs: [-1] }, { dtype: "int32" });
    expect((await problem(await post(labels, body), 422)).detail).toContain("must contain numbers from 0 to 9, got");
    const bytes = handlerOf({
      load,
      input: { shape: [null], dtype: "uint8" },
      output: { shape: [null], dtype: "uint8" },
    });
    expect((await problem(await post(bytes, { inputs: [256] }), 422)).detail).toBe(
      '"inputs[0]" must be an integer from 0 to 255, got 256.',
    );
    const bits = handlerOf({ load, input: { shape: [null], dtype: "bool" }, output: { shape: [null], dtype: "bool" } });
    expect((await problem(await post(bits, { inputs: [true, 2] }), 422)).detail).toBe(
      '"inputs[1]" must be true or false, got 2.',
    );
  });
  test.each([
    [
      "no Content-Type",
      { "content-type": "" },
      415,
      "Content-Type is missing. Send Content-Type: application/json or application/vnd.safetensors.",
    ],
    [
      "an unknown one",
      { "content-type": "text/csv" },
      415,
      'Content-Type "text/csv" is not supported. Send Content-Type:',
    ],
    [
      "another charset",
      { "content-type": "application/json;charset=latin1" },
      415,
      'The charset "latin1" is not supported. Send the body as UTF-8.',
    ],
    [
      "an encoding",
      { "content-encoding": "gzip" },
      415,
      "Encoded bodies are not supported. Send the body without Content-Encoding.",
    ],
    [
      "Accept that cannot be met",
      { accept: "text/html" },
      406,
      "None of the accepted types is available. Accept application/json or",
    ],
  ])("%s", async (_, headers, status, detail) => {
    expect((await problem(await post(handler, { inputs: x }, { headers }), status)).detail).toContain(detail);
  });
  test("415 lists the supported types", async () => {
    const response = await post(handler, "a", { headers: { "content-type": "text/plain" } });
    expect(response.headers.get("accept-post")).toBe(
      "application/json, application/vnd.safetensors, application/octet-stream",
    );
  });
});

describe("routes", () => {
  test("/health is open and says whether the model is loaded; ?ready loads it", async () => {
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
  ])("%s %s is answered %d", async (method, path, status, allow) => {
    const response = await get(handler, path, {}, method);
    expect(response.status).toBe(status);
    expect(response.headers.get("allow")).toBe(allow);
  });
  test("routes lie below the option path", async () => {
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
  test("combine: a handler that throws gives 500", async () => {
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
    ["of a host with a path, as Deno has it", { value: "http://a/health?/" }, { host: "a/health?" }],
    ["without a host, as Bun has it without Host", { value: "/health" }],
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

describe("authorize", () => {
  const own = handlerOf({ authorize: async (token) => token === "open+sesame/1=" });
  const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
  test("no token: 401 with WWW-Authenticate", async () => {
    const response = await post(own, { inputs: x });
    expect(response.headers.get("www-authenticate")).toBe('Bearer realm="nabla"');
    expect((await problem(response, 401)).detail).toBe(
      "A token is required. Send the header Authorization: Bearer <token>.",
    );
    await problem(await post(own, { inputs: x }, { headers: { authorization: "Basic b3Blbg==" } }), 401);
    await problem(await get(own, "/metadata"), 401);
  });
  test("another token: 403, before the body is read", async () => {
    await problem(await post(own, "invalid JSON", bearer("guess")), 403);
  });
  test("the right token: 200", async () => {
    expect((await post(own, { inputs: x }, bearer("open+sesame/1="))).status).toBe(200);
    expect((await get(own, "/metadata", bearer("open+sesame/1=").headers)).status).toBe(200);
  });
  test("/health needs no token", async () => {
    expect((await get(own, "/health")).status).toBe(200);
  });
  test("authorize receives the request without its body", async () => {
    const authorize = vi.fn(async (_: unknown, request: Request) => {
      expect(request).toBeInstanceOf(Request);
      expect([request.method, new URL(request.url).pathname, request.headers.get("x-user")]).toEqual([
        "POST",
        "/",
        "me",
      ]);
      return (await request.text()) === "";
    });
    const response = await post(handlerOf({ authorize }), { inputs: x }, { headers: { "x-user": "me" } });
    expect(response.status).toBe(200);
    expect(authorize).toHaveBeenCalledOnce();
  });
  test("authorize that hangs: 503, and the number of waiting requests is limited", async () => {
    const hanging = handlerOf({ authorize: () => new Promise(() => {}), limits: { milliseconds: 500 } });
    const answers = await Promise.all(Array.from({ length: 70 }, () => post(hanging, { inputs: x })));
    const details = await Promise.all(answers.map(async (answer) => (await problem(answer, 503)).detail));
    expect(details.filter((detail) => detail.startsWith("Authorization timed out"))).toHaveLength(64);
    expect(details.filter((detail) => detail.startsWith("The limit of concurrent requests (64)"))).toHaveLength(6);
  });
  test("requests that wait for authorize take no slots from others", async () => {
    let open!: (may: boolean) => void;
    const slow = handlerOf({
      authorize: (token) => (token ? true : new Promise((resolve) => (open = resolve))),
      limits: { concurrency: 1 },
    });
    const waiting = post(slow, { inputs: x });
    expect((await post(slow, { inputs: x }, bearer("a"))).status).toBe(200);
    open(false);
    await problem(await waiting, 401);
  });
  test("authorize that throws: 500", async () => {
    const { onError } = expectError(/no database/);
    const broken = handlerOf({ onError, authorize: () => Promise.reject(new Error("no database")) });
    await problem(await post(broken, { inputs: x }, bearer("a")), 500);
    expect(onError).toHaveBeenCalledOnce();
  });
});

describe("limits", () => {
  test("bytes: with and without Content-Length", async () => {
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
  test("bytes: more than Content-Length declares", async () => {
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
  test("requests for ?ready are limited too", async () => {
    const own = handlerOf({ load: () => new Promise<nn.Module>(() => {}), limits: { milliseconds: 500 } });
    const answers = await Promise.all(Array.from({ length: 70 }, () => get(own, "/health?ready")));
    const details = await Promise.all(answers.map(async (answer) => (await problem(answer, 503)).detail));
    expect(details.filter((detail) => detail.startsWith("The limit of concurrent requests (64)"))).toHaveLength(6);
    expect((await get(own, "/health")).status).toBe(200);
  });
  test("a body that does not arrive: 408; one that is aborted: 400", async () => {
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
  test("concurrency: further requests get 503 with Retry-After", async () => {
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

describe("loading", () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ["Date"] }));
  afterEach(() => vi.useRealTimers());
  const pass = (milliseconds: number) => vi.setSystemTime(Date.now() + milliseconds);

  test("happens once for all waiting requests", async () => {
    const load = vi.fn(async () => model);
    const own = handlerOf({ load });
    await Promise.all(Array.from({ length: 20 }, () => post(own, { inputs: x })));
    expect(load).toHaveBeenCalledOnce();
  });
  test("that fails: 503, reported only to onError, and retried after a second", async () => {
    const load = vi
      .fn<() => Promise<nn.Module>>()
      .mockRejectedValueOnce(new Error("secret bucket"))
      .mockResolvedValue(model);
    const { onError } = expectError(/secret bucket/);
    const own = handlerOf({ load, onError });
    const response = await post(own, { inputs: x });
    expect(response.headers.get("retry-after")).toBe("5");
    expect((await problem(response, 503)).detail).toBe("The model could not be loaded. Try again later.");
    for (let i = 0; i < 9; i++) await problem(await get(own, "/health?ready"), 503);
    await problem(await post(own, { inputs: x }), 503);
    expect(onError, "told once for each load").toHaveBeenCalledOnce();
    expect(load).toHaveBeenCalledOnce();
    pass(1000);
    expect((await post(own, { inputs: x })).status).toBe(200);
    expect(load).toHaveBeenCalledTimes(2);
  });
  test("that is slow: 503, but loading continues, and the model is used later", async () => {
    let late!: (m: nn.Module) => void;
    const load = vi.fn(() => new Promise<nn.Module>((resolve) => (late ??= resolve)));
    const own = handlerOf({ load, limits: { milliseconds: 20 } });
    expect((await problem(await post(own, { inputs: x }), 503)).detail).toBe("The model is still loading. Try again.");
    await problem(await get(own, "/health?ready"), 503);
    await Promise.all(Array.from({ length: 9 }, async () => problem(await post(own, { inputs: x }), 503)));
    expect(load).toHaveBeenCalledOnce();
    late(model);
    expect((await post(own, { inputs: x })).status).toBe(200);
  });
  test("that is dead, as in Workers, starts again; of two models the second is freed", async () => {
    const before = memory();
    const coming: ((m: nn.Module) => void)[] = [];
    const load = vi.fn(() => new Promise<nn.Module>((resolve) => coming.push(resolve)));
    const own = handlerOf({ load, limits: { milliseconds: 5 } });
    await problem(await post(own, { inputs: x }), 503);
    pass(59_000);
    await problem(await post(own, { inputs: x }), 503);
    expect(load).toHaveBeenCalledOnce();
    pass(1000);
    await problem(await post(own, { inputs: x }), 503);
    expect(load).toHaveBeenCalledTimes(2);
    const [first, second] = [network(), network()];
    coming[1]!(second);
    expect((await post(own, { inputs: x })).status).toBe(200);
    coming[0]!(first);
    await new Promise((resolve) => setTimeout(resolve, 1));
    expect((await post(own, { inputs: x })).status).toBe(200);
    second.dispose();
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("that failed often counts as dead as soon as any other", async () => {
    const load = vi.fn<() => Promise<nn.Module>>(() => new Promise(() => {}));
    for (let i = 0; i < 5; i++) load.mockRejectedValueOnce(new Error("no such bucket"));
    const own = handlerOf({ load, ...expectError(/no such bucket/), limits: { milliseconds: 5 } });
    for (let i = 0; i < 6; i++, pass(1000)) await problem(await get(own, "/health?ready"), 503);
    expect(load).toHaveBeenCalledTimes(6);
    pass(60_000);
    await problem(await get(own, "/health?ready"), 503);
    expect(load).toHaveBeenCalledTimes(7);
  });
  test("a module whose warm-up fails is freed", async () => {
    const { tensors } = memory();
    const { onError } = expectError(/must return float32 \[batch, 5\]/);
    const own = handlerOf({ load: network, warm: true, output: { shape: [null, 5] }, onError });
    await problem(await get(own, "/health?ready"), 503);
    expect(memory().tensors).toBe(tensors);
  });
  test("a module of another copy of nabla: 503, and onError says to use one copy", async () => {
    const other = { forward: (t: Tensor) => t, namedModules: () => [] } as object as nn.Module;
    const { onError } = expectError(/load returned a module of another copy of nabla, .*npm ls nabla/);
    await problem(await post(handlerOf({ load: () => other, onError }), { inputs: x }), 503);
  });
  test("a value that is not a model: 503", async () => {
    const { onError } = expectError(/load must return a module or a function, got the object \{\}/);
    await problem(await post(handlerOf({ load: () => ({}) as nn.Module, onError }), { inputs: x }), 503);
  });
});

describe("a model that fails: 500, without details", () => {
  test.each([
    ["throws", () => expect.unreachable("secret"), /secret/, "The model failed on these inputs."],
    [
      "gives another shape",
      (t: Tensor) => t,
      /the model must return float32 \[batch, 2\], got float32 \[2, 4\]\.$/,
      "do not have the declared shape and type",
    ],
    [
      "loses the batch",
      (t: Tensor) => t.narrow(0, 0, 1).narrow(1, 0, 2),
      /must return .*, got float32 \[1, 2\]\.$/,
      "do not have the declared shape",
    ],
    [
      "gives another type",
      (t: Tensor) => t.narrow(1, 0, 2).to("int32"),
      /must return .*, got int32/,
      "do not have the declared shape",
    ],
    ["gives nothing", () => undefined as unknown as Tensor, /must return a tensor, got undefined/, "The model failed"],
    [
      "gives a promise",
      (async (t: Tensor) => t) as unknown as (t: Tensor) => Tensor,
      /the model returned a promise\. Make it synchronous/,
      "The model failed",
    ],
  ])("one that %s", async (_, forward, message, detail) => {
    const { onError } = expectError(message as RegExp);
    const before = memory().tensors;
    const own = handlerOf({ load: () => forward as (t: Tensor) => Tensor, onError });
    expect((await problem(await post(own, { inputs: x }), 500)).detail).toContain(detail);
    expect(onError).toHaveBeenCalledOnce();
    expect(memory().tensors).toBe(before);
  });
  test("outputs that JSON cannot represent: 422, but safetensors can", async () => {
    const own = handlerOf({ load: () => (t: Tensor) => t.log(), input: { shape: [null] }, output: { shape: [null] } });
    const { detail } = await problem(await post(own, { inputs: [1, -1] }), 422);
    expect(detail).toBe(
      "The outputs contain NaN, which JSON cannot represent. Send other inputs, or the header Accept: application/vnd.safetensors.",
    );
    const response = await post(own, { inputs: [0, -1] }, { headers: { accept: SAFETENSORS } });
    const { outputs } = readSafetensors(await response.arrayBuffer()).tensors;
    expect([...outputs!.data]).toEqual([Number.NEGATIVE_INFINITY, Number.NaN]);
  });
  test("sizes that the model rejects: 422 if the spec leaves them open", async () => {
    const own = handlerOf({ load: () => model, input: { shape: [null, null] } });
    expect((await problem(await post(own, { inputs: [1, 2, 3] }), 422)).detail).toBe(
      'The model does not accept this shape of "inputs". Send another shape.',
    );
  });
  test("indices out of range: 422 if the spec leaves the range open", async () => {
    const words = new nn.Embedding(5, 2);
    const own = (max?: number) =>
      handlerOf({
        load: () => words,
        input: { shape: [null, 1], dtype: "int32", min: 0, ...(max && { max }) },
        output: { shape: [null, 1, 2] },
        ...(max && expectError(/RangeError/)),
      });
    expect((await post(own(), { inputs: [4] })).status).toBe(200);
    expect((await problem(await post(own(), { inputs: [5] }), 422)).detail).toBe(
      '"inputs" contains a number that is negative or too large for the model. Send other numbers.',
    );
    await problem(await post(own(9), { inputs: [5] }), 500);
    words.dispose();
  });
  test("a rejected promise of a model is not unhandled", async () => {
    const rejected = vi.fn();
    process.on("unhandledRejection", rejected);
    const { onError } = expectError(/returned a promise/);
    const forward = (async () => expect.unreachable("later")) as unknown as (t: Tensor) => Tensor;
    await problem(await post(handlerOf({ load: () => forward, onError }), { inputs: x }), 500);
    const failing = async () => Promise.reject(new Error("log is full"));
    await problem(await post(handlerOf({ load: () => forward, onError: failing }), { inputs: x }), 500);
    await new Promise((resolve) => setTimeout(resolve, 5));
    process.off("unhandledRejection", rejected);
    expect(rejected).not.toHaveBeenCalled();
    expect(onError).toHaveBeenCalledOnce();
  });
  test("an onError that throws has no effect", async () => {
    const onError = () => {
      throw new Error("log is full");
    };
    await problem(await post(handlerOf({ load: () => expect.unreachable("no"), onError }), { inputs: x }), 503);
  });
});

test("500 requests at once do not mix, and leak nothing", async () => {
  await post(handler, { inputs: x });
  const before = memory();
  const own = handlerOf({ load: () => model, limits: { concurrency: 500 } });
  await Promise.all(
    Array.from({ length: 500 }, async (_, i) => {
      const inputs = x.map((row) => row.map((value) => value + (i % 7)));
      const { outputs } = (await (await post(own, { inputs })).json()) as { outputs: number[][] };
      tidy(() => noGrad(() => expect(outputs).toEqual(model.eval().forward(tensor(inputs)).toArray())));
    }),
  );
  expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
});

describe("invalid options are rejected at once", () => {
  test.each([
    [{ load: undefined }, "inferenceHandler: option load is required. Pass { load: … }, a function."],
    [
      { input: { shape: [null, 0] } },
      "inferenceHandler: input.shape[1] must be an integer from 1 to 2147483647, got 0.",
    ],
    [
      { input: { shape: [] } },
      "inferenceHandler: input.shape must have at least one dimension, such as null for the batch, got the array [].",
    ],
    [{ input: {} }, "inferenceHandler: input.shape is missing. Add it."],
    [{ input: undefined }, "inferenceHandler: input must be an object, got undefined."],
    [
      { input: { shape: [1], dtype: "float64" } },
      'inferenceHandler: input.dtype must be "float32", "int32", "bool" or "uint8", got "float64".',
    ],
    [
      { output: { shape: [null], size: 1 } },
      'inferenceHandler: output: unknown option "size". Valid options: shape, dtype, min, max.',
    ],
    [{ limits: { batch: 0 } }, "inferenceHandler: limits.batch must be an integer of at least 1, got 0."],
    [
      { limits: { seconds: 1 } },
      'inferenceHandler: limits: unknown option "seconds". Valid options: bytes, batch, milliseconds, concurrency, unfinished.',
    ],
    [
      { path: "digits" },
      'inferenceHandler: path must start with "/", not end with "/", and contain only letters, digits and _ ~ . - /, got "digits".',
    ],
  ])("%j", (options, message) => {
    expect(() => handlerOf(options as unknown as InferenceOptions)).toThrow(new TypeError(message));
  });
});
