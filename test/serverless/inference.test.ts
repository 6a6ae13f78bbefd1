/** inferenceHandler: responses to valid and invalid requests, memory, and options. */
import { compile, memory, noGrad, type Tensor, tensor, tidy } from "nabla";
import { readSafetensors } from "nabla/formats";
import type { InferenceOptions } from "nabla/serverless";
import { describe, expect, test } from "vitest";
import { serveNetwork, x } from "./inference.ts";
import { file, JSON_TYPE, post, problem, SAFETENSORS } from "./requests.ts";

const { model, expected, handlerOf, handler } = serveNetwork();

describe("answers", () => {
  test("a batch in JSON", async () => {
    const response = await post(handler, { inputs: x });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(JSON_TYPE);
    expect(await response.json()).toEqual({ outputs: expected, shape: [2, 2] });
  });
  test("a single sample returns a single output", async () => {
    expect(await (await post(handler, { inputs: x[1] })).json()).toEqual({ outputs: expected[1], shape: [2] });
  });
  test.each([SAFETENSORS, "application/octet-stream"])("a batch in %s", async (type) => {
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
    // 1, 2, 3, 4 in float16
    file.set(new Uint8Array(new Uint16Array([0x3c00, 0x4000, 0x4200, 0x4400]).buffer), 8 + json.length);
    const response = await post(handler, file, { headers: { accept: JSON_TYPE } });
    expect(await response.json()).toEqual({ outputs: expected[0], shape: [2] });
  });
  test.each([
    ["application/vnd.safetensors", SAFETENSORS],
    ["text/html, application/octet-stream;q=0.2, application/*;q=0.1", "application/octet-stream"],
    ["*/*;q=0.1, application/json;q=0", SAFETENSORS],
    ["text/html, */*;q=0.5", JSON_TYPE],
  ])("Accept: %s gets %s", async (accept, type) => {
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
  test("int32, bool and uint8 inputs keep their element type", async () => {
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
  test("the client chooses open sizes, and a shape may have no batch dimension", async () => {
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
    expect(model.training, "the model is in its own mode after the request").toBe(true);
    // Only the inner modules are in training mode.
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
    ["a nested sample", { inputs: [[[1, 2, 3, 4]]] }, 422, "sample, got [1, 1, 4]."],
    ["a number for inputs", { inputs: 1 }, 422, "for one sample, got []."],
    ["an empty batch", { inputs: [] }, 422, "for one sample, got [0]."],
    [
      "rows of different lengths",
      { inputs: [[1, 2, 3, 4], [1]] },
      422,
      '"inputs[1]" must have length 4, like the first row, got 1.',
    ],
    ["a row that is a number", { inputs: [[1, 2, 3, 4], 5] }, 422, '"inputs[1]" must be an array of length 4, got 5.'],
    ["a string", { inputs: [[1, 2, "3", 4]] }, 422, '"inputs[0][2]" must be a number in float32\'s range, got "3".'],
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
    ["an array as the body", [1], 422, 'The body must be a JSON object with "inputs".'],
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
      "a file with a wrong element type",
      file({ inputs: x }, { dtype: "int32" }),
      422,
      '"inputs" must be float32, got I32, which is read as int32. Convert it.',
    ],
    [
      "a file with a wrong shape",
      file({ inputs: [1] }),
      422,
      '"inputs" must have shape [batch, 4], or [4] for one sample, got [1].',
    ],
  ])("%s", async (_, body, status, detail) => {
    expect((await problem(await post(handler, body), status)).detail).toContain(detail);
  });
  test("deep nesting is rejected by the shape check in a small body, and before parsing in a large one", async () => {
    const nested = (depth: number) => post(handler, `{"inputs":${"[".repeat(depth)}${"]".repeat(depth)}}`);
    expect((await problem(await nested(2 ** 14), 422)).detail).toBe(
      '"inputs" must have shape [batch, 4], or [4] for one sample, got [1, 1, 1].',
    );
    expect((await problem(await nested(2 ** 16), 422)).detail).toBe(
      "The body is nested deeper than the input's shape. Send the arrays that /metadata describes.",
    );
  });
  test("numbers outside the dtype or outside min and max", async () => {
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
      "an unknown Content-Type",
      { "content-type": "text/csv" },
      415,
      'Content-Type "text/csv" is not supported. Send Content-Type:',
    ],
    [
      "an unsupported charset",
      { "content-type": "application/json;charset=latin1" },
      415,
      'The charset "latin1" is not supported. Send the body as UTF-8.',
    ],
    [
      "a Content-Encoding",
      { "content-encoding": "gzip" },
      415,
      "Encoded bodies are not supported. Send the body without Content-Encoding.",
    ],
    [
      "an Accept header without a supported type",
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

test("500 concurrent requests get their own answers and leak nothing", async () => {
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

describe("invalid options are rejected immediately", () => {
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
