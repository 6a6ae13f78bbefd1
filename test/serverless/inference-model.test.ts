/** inferenceHandler: loading, warm-up and failures of the model. */
import { memory, nn, type Tensor } from "nabla";
import { readSafetensors } from "nabla/formats";
import { inferenceHandler } from "nabla/serverless";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { serveNetwork, x } from "./inference.ts";
import { get, network, post, problem, SAFETENSORS } from "./requests.ts";

const { model, handlerOf, expectError } = serveNetwork();

test("warm runs the model for every batch size before it is ready, unless a size is open", async () => {
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
  test("that fails leads to a 503, is reported only to onError, and is retried after a second", async () => {
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
    expect(onError, "called once per load").toHaveBeenCalledOnce();
    expect(load).toHaveBeenCalledOnce();
    pass(1000);
    expect((await post(own, { inputs: x })).status).toBe(200);
    expect(load).toHaveBeenCalledTimes(2);
  });
  test("that is slow leads to a 503, but continues", async () => {
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
  test("that never settles is restarted after 60 s, and only one of two models is kept", async () => {
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
  test("that never settles is restarted after 60 s, even after failures", async () => {
    const load = vi.fn<() => Promise<nn.Module>>(() => new Promise(() => {}));
    for (let i = 0; i < 5; i++) load.mockRejectedValueOnce(new Error("no such bucket"));
    const own = handlerOf({ load, ...expectError(/no such bucket/), limits: { milliseconds: 5 } });
    for (let i = 0; i < 6; i++, pass(1000)) await problem(await get(own, "/health?ready"), 503);
    expect(load).toHaveBeenCalledTimes(6);
    pass(60_000);
    await problem(await get(own, "/health?ready"), 503);
    expect(load).toHaveBeenCalledTimes(7);
  });
  test("of a module whose warm-up fails frees the module", async () => {
    const { tensors } = memory();
    const { onError } = expectError(/must return float32 \[batch, 5\]/);
    const own = handlerOf({ load: network, warm: true, output: { shape: [null, 5] }, onError });
    await problem(await get(own, "/health?ready"), 503);
    expect(memory().tensors).toBe(tensors);
  });
  test("of a module from another copy of nabla leads to a 503, and onError says to use one copy", async () => {
    const other = { forward: (t: Tensor) => t, namedModules: () => [] } as object as nn.Module;
    const { onError } = expectError(/load returned a module from another copy of nabla, .*npm ls nabla/);
    await problem(await post(handlerOf({ load: () => other, onError }), { inputs: x }), 503);
  });
  test("of a value that is not a model leads to a 503", async () => {
    const { onError } = expectError(/load must return a module or a function, got the object \{\}/);
    await problem(await post(handlerOf({ load: () => ({}) as nn.Module, onError }), { inputs: x }), 503);
  });
});

describe("a model that fails leads to a 500 without details", () => {
  test.each([
    ["throws", () => expect.unreachable("secret"), /secret/, "The model failed on these inputs."],
    [
      "returns a different shape",
      (t: Tensor) => t,
      /the model must return float32 \[batch, 2\], got float32 \[2, 4\]\.$/,
      "do not have the declared shape and type",
    ],
    [
      "drops the batch dimension",
      (t: Tensor) => t.narrow(0, 0, 1).narrow(1, 0, 2),
      /must return .*, got float32 \[1, 2\]\.$/,
      "do not have the declared shape",
    ],
    [
      "returns a different element type",
      (t: Tensor) => t.narrow(1, 0, 2).to("int32"),
      /must return .*, got int32/,
      "do not have the declared shape",
    ],
    [
      "returns nothing",
      () => undefined as unknown as Tensor,
      /must return a tensor, got undefined/,
      "The model failed",
    ],
    [
      "returns a promise",
      (async (t: Tensor) => t) as unknown as (t: Tensor) => Tensor,
      /the model returned a promise\. Make it synchronous/,
      "The model failed",
    ],
  ])("because it %s", async (_, forward, message, detail) => {
    const { onError } = expectError(message as RegExp);
    const before = memory().tensors;
    const own = handlerOf({ load: () => forward as (t: Tensor) => Tensor, onError });
    expect((await problem(await post(own, { inputs: x }), 500)).detail).toContain(detail);
    expect(onError).toHaveBeenCalledOnce();
    expect(memory().tensors).toBe(before);
  });
  test("outputs that JSON cannot represent lead to a 422 in JSON, and are sent in safetensors", async () => {
    const own = handlerOf({ load: () => (t: Tensor) => t.log(), input: { shape: [null] }, output: { shape: [null] } });
    const { detail } = await problem(await post(own, { inputs: [1, -1] }), 422);
    expect(detail).toBe(
      "The outputs contain NaN, which JSON cannot represent. Send different inputs, or send the header Accept: application/vnd.safetensors.",
    );
    const response = await post(own, { inputs: [0, -1] }, { headers: { accept: SAFETENSORS } });
    const { outputs } = readSafetensors(await response.arrayBuffer()).tensors;
    expect([...outputs!.data]).toEqual([Number.NEGATIVE_INFINITY, Number.NaN]);
  });
  test("sizes that the model rejects lead to a 422 if the spec leaves them open", async () => {
    const own = handlerOf({ load: () => model, input: { shape: [null, null] } });
    expect((await problem(await post(own, { inputs: [1, 2, 3] }), 422)).detail).toBe(
      'The model does not accept this shape of "inputs". Send a different shape.',
    );
  });
  test("indices out of range lead to a 422 if the spec leaves the range open", async () => {
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
      '"inputs" contains a number that is negative or too large for the model. Send numbers that the model accepts.',
    );
    await problem(await post(own(9), { inputs: [5] }), 500);
    words.dispose();
  });
  test("a model that returns a rejected promise does not cause an unhandled rejection", async () => {
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
