/**
 * Batching: requests are combined into one call to the model, each request gets its own rows, and a failing request
 * does not affect others.
 */
import { compile, manualSeed, memory, nn, noGrad, type Tensor, tensor, tidy } from "nabla";
import { readSafetensors } from "nabla/formats";
import { type InferenceOptions, inferenceHandler } from "nabla/serverless";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Batcher, batchSizes } from "../../src/serverless/inference/batching.ts";
import { file, get, post, problem, SAFETENSORS } from "./requests.ts";

const unexpected: unknown[] = [];
afterEach(() => expect(unexpected.splice(0)).toEqual([]));

/** A model that records the number of samples in each call. */
function counted(forward: (x: Tensor) => Tensor = (x) => x.mul(2)) {
  const sizes: number[] = [];
  return {
    sizes,
    load: () => (x: Tensor) => {
      sizes.push(x.shape[0]!);
      return forward(x);
    },
  };
}
const handlerOf = (options: Partial<InferenceOptions>) =>
  inferenceHandler({
    load: () => (x: Tensor) => x,
    input: { shape: [null, 2] },
    batching: true,
    limits: { concurrency: 1000 },
    onError: (error) => unexpected.push(error),
    ...options,
  });
const outputsOf = async (response: Promise<Response>): Promise<unknown> =>
  ((await (await response).json()) as { outputs: unknown }).outputs;
const many = <T>(count: number, ask: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => ask(i)));

describe("waiting requests are combined", () => {
  test("100 requests need few calls, and each gets its own rows", async () => {
    const { sizes, load } = counted();
    const own = handlerOf({ load });
    await get(own, "/health?ready");
    const all = await many(100, (i) => outputsOf(post(own, { inputs: [[i, 1]] })));
    expect(all).toEqual(Array.from({ length: 100 }, (_, i) => [[2 * i, 2]]));
    expect(sizes.length).toBeLessThanOrEqual(4);
    expect(sizes[0]).toBe(64);
  });
  test("requests with several samples, with a single sample, and with safetensors", async () => {
    const { sizes, load } = counted();
    const own = handlerOf({ load });
    await get(own, "/health?ready");
    const [one, three, binary, asJson] = await Promise.all([
      post(own, { inputs: [1, 2] }),
      post(own, {
        inputs: [
          [3, 4],
          [5, 6],
          [7, 8],
        ],
      }),
      post(
        own,
        file({
          inputs: [
            [9, 10],
            [11, 12],
          ],
        }),
      ),
      post(own, { inputs: [[13, 14]] }, { headers: { accept: SAFETENSORS } }),
    ]);
    expect(await one.json()).toEqual({ outputs: [2, 4], shape: [2] });
    expect(await three.json()).toEqual({
      outputs: [
        [6, 8],
        [10, 12],
        [14, 16],
      ],
      shape: [3, 2],
    });
    const tensors = [await binary.arrayBuffer(), await asJson.arrayBuffer()].map((bytes) =>
      tidy(() => readSafetensors(bytes).tensors.outputs!.toArray()),
    );
    expect(tensors).toEqual([
      [
        [18, 20],
        [22, 24],
      ],
      [[26, 28]],
    ]);
    expect(sizes).toEqual([8]);
  });
  test("batches have at most `size` samples; a larger request runs alone", async () => {
    const { sizes, load } = counted();
    const own = handlerOf({ load, batching: { size: 4 } });
    await get(own, "/health?ready");
    const rows = (count: number) => Array.from({ length: count }, (_, i) => [i, i]);
    const all = await Promise.all([1, 2, 3, 5, 4, 1].map((count) => outputsOf(post(own, { inputs: rows(count) }))));
    expect(all.map((outputs) => (outputs as unknown[]).length)).toEqual([1, 2, 3, 5, 4, 1]);
    expect(Math.max(...sizes)).toBe(5);
    expect(sizes.filter((size) => size > 4)).toEqual([5]);
  });
  test("requests wait for `wait` milliseconds", async () => {
    const { sizes, load } = counted();
    const own = handlerOf({ load, batching: { wait: 100 } });
    await get(own, "/health?ready");
    const first = outputsOf(post(own, { inputs: [[1, 1]] }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const second = outputsOf(post(own, { inputs: [[2, 2]] }));
    expect(await Promise.all([first, second])).toEqual([[[2, 2]], [[4, 4]]]);
    expect(sizes).toEqual([2]);
  });
  test("samples of different shapes are not combined", async () => {
    const { sizes, load } = counted((x) => x.sum(1));
    const own = handlerOf({ load, input: { shape: [null, null] } });
    await get(own, "/health?ready");
    const all = await many(12, (i) => outputsOf(post(own, { inputs: [Array(1 + (i % 3)).fill(1)] })));
    expect(all).toEqual(Array.from({ length: 12 }, (_, i) => [1 + (i % 3)]));
    expect(sizes).toEqual([4, 4, 4]);
  });
  test("padding respects the input's min", async () => {
    const seen: number[] = [];
    const { load } = counted((x) => {
      seen.push(...x.data);
      return x.to("float32");
    });
    const own = handlerOf({ load, input: { shape: [null, 1], dtype: "int32", min: 5, max: 9 } });
    await get(own, "/health?ready");
    await many(5, (i) => outputsOf(post(own, { inputs: [[5 + i]] })));
    expect(seen).toHaveLength(8);
    expect(seen.every((id) => id >= 5 && id <= 9)).toBe(true);
  });
  test("batching is off by default", async () => {
    const { sizes, load } = counted();
    const own = handlerOf({ load, batching: false });
    await get(own, "/health?ready");
    await many(10, (i) => outputsOf(post(own, { inputs: [[i, 1]] })));
    expect(sizes).toEqual(new Array(10).fill(1));
  });
});

describe("a request that fails does not affect others", () => {
  test("a malformed request is not added to a batch", async () => {
    const { sizes, load } = counted();
    const own = handlerOf({ load });
    await get(own, "/health?ready");
    const all = await many(9, (i) => post(own, { inputs: i === 4 ? [[1, "2"]] : [[i, 1]] }));
    expect(all.map(({ status }) => status)).toEqual([200, 200, 200, 200, 422, 200, 200, 200, 200]);
    expect(sizes).toEqual([8]);
  });
  test.each<[string, (x: Tensor) => Tensor, number]>([
    ["an index out of range for an embedding", embedding(), 422],
    ["a model that throws", throwing, 500],
  ])("a request fails because of %s", async (_, forward, status) => {
    const onError = vi.fn();
    const own = handlerOf({ load: () => forward, input: { shape: [null, 1], dtype: "int32" }, onError });
    await get(own, "/health?ready");
    const before = memory();
    const all = await many(33, (i) => post(own, { inputs: [[i === 20 || i === 7 ? 99 : i % 5]] }));
    expect(all.map((response) => response.status)).toEqual(
      Array.from({ length: 33 }, (_, i) => (i === 20 || i === 7 ? status : 200)),
    );
    expect(onError).toHaveBeenCalledTimes(status === 500 ? 2 : 0);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("a request for JSON whose outputs are not finite", async () => {
    const { sizes, load } = counted((x) => x.log());
    const own = handlerOf({ load });
    await get(own, "/health?ready");
    const all = await many(4, (i) => post(own, { inputs: [[i === 2 ? -1 : 1, 1]] }));
    expect(all.map(({ status }) => status)).toEqual([200, 200, 422, 200]);
    expect((await problem(all[2]!, 422)).detail).toContain("The outputs contain NaN");
    expect(sizes).toEqual([4]);
  });
  test("all requests fail if the model loses the batch dimension", async () => {
    const onError = vi.fn();
    const own = handlerOf({ load: () => (x: Tensor) => x.sum(), onError });
    const all = await many(4, (i) => post(own, { inputs: [[i, 1]] }));
    expect(all.map(({ status }) => status)).toEqual([500, 500, 500, 500]);
    expect(onError).toHaveBeenCalledTimes(4);
  });
});
function embedding(): (x: Tensor) => Tensor {
  const words = new nn.Embedding(5, 2);
  return (x) => words.forward(x) as Tensor;
}
function throwing(x: Tensor): Tensor {
  if (x.data.includes(99)) throw new Error("99 is not supported");
  return x.to("float32");
}

describe("a compiled model", () => {
  test("is recorded for at most 8 sizes, and warm records all of them before the first request", async () => {
    let recordings = 0;
    const load = () =>
      compile((x: Tensor) => {
        recordings++;
        return x.mul(3);
      });
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const own = handlerOf({ load, warm: true, batching: { size: 128 } });
    await get(own, "/health?ready");
    expect(recordings).toBe(8);
    for (let count = 1; count <= 130; count += 3) {
      const all = await many(count, (i) => outputsOf(post(own, { inputs: [[i, 1]] })));
      expect(all).toEqual(Array.from({ length: count }, (_, i) => [[3 * i, 3]]));
    }
    expect(recordings).toBe(8);
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });
  test.each([
    [1, [1]],
    [2, [2, 1]],
    [24, [24, 16, 8, 4, 2, 1]],
    [64, [64, 32, 16, 8, 4, 2, 1]],
    [128, [128, 64, 32, 16, 8, 4, 2, 1]],
    [1000, [1000, 512, 256, 128, 64, 32, 16, 8]],
    [4096, [4096, 2048, 1024, 512, 256, 128, 64, 32]],
  ])("batches of up to %d samples: sizes %j", (size, sizes) => expect(batchSizes(size)).toEqual(sizes));
});

describe("the other requests in a batch", () => {
  const layers = () => {
    manualSeed(5);
    return new nn.Sequential(new nn.Linear(6, 40), new nn.BatchNorm1d(40), new nn.Tanh(), new nn.Linear(40, 3)).eval();
  };
  const sample = (i: number) => Array.from({ length: 6 }, (_, j) => Math.sin(7 * i + j));
  test("change the answer by less than 1e-6", async () => {
    const model = layers();
    const own = handlerOf({ load: () => model, input: { shape: [null, 6] } });
    await get(own, "/health?ready");
    const all = (await many(40, (i) => outputsOf(post(own, { inputs: sample(i) })))) as number[][];
    tidy(() =>
      noGrad(() =>
        all.forEach((outputs, i) => {
          const alone = (model.forward(tensor([sample(i)])) as Tensor).data;
          outputs.forEach((value, j) => expect(Math.abs(value - alone[j]!)).toBeLessThan(1e-6));
        }),
      ),
    );
    model.dispose();
  });
  test("do not affect the answer of a model in training mode", async () => {
    const model = layers().train();
    const own = handlerOf({ load: () => model, input: { shape: [null, 6] } });
    const [one] = (await many(8, (i) => outputsOf(post(own, { inputs: sample(i) })))) as number[][];
    const [alone] = (await outputsOf(post(own, { inputs: [sample(0)] }))) as number[][];
    one!.forEach((value, j) => expect(Math.abs(value - alone![j]!)).toBeLessThan(1e-6));
    expect(model.training).toBe(true);
    model.dispose();
  });
});

test("no tensors leak, and limits.concurrency still holds", async () => {
  const own = handlerOf({ limits: { concurrency: 10 } });
  await get(own, "/health?ready");
  const before = memory();
  const all = await many(50, (i) => post(own, { inputs: [[i, 1]] }));
  expect(all.filter(({ status }) => status === 200).length).toBe(10);
  expect(all.filter(({ status }) => status === 503).length).toBe(40);
  expect((await many(10, (i) => post(own, { inputs: [[i, 1]] }))).every(({ status }) => status === 200)).toBe(true);
  expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
});

test("Batcher: each caller gets its own result or its own error", async () => {
  const calls: number[][] = [];
  const batcher = new Batcher<number[], string>({ size: 4, wait: 0 }, ({ values }, use) => {
    calls.push([...values]);
    use([...values]);
  });
  const elements = (...values: number[]) => ({
    values: Float32Array.from(values),
    shape: [values.length, 1],
    dtype: "float32" as const,
  });
  const read = (y: number[], from: number, count: number) => {
    if (y[from] === 13) throw new Error("unreadable");
    return y.slice(from, from + count).join();
  };
  const all = await Promise.allSettled(
    [elements(1, 2), elements(13), elements(3)].map((own) => batcher.add(own, read)),
  );
  expect(all.map((one) => (one.status === "fulfilled" ? one.value : String(one.reason)))).toEqual([
    "1,2",
    "Error: unreadable",
    "3",
  ]);
  expect(calls).toEqual([[1, 2, 13, 3]]);
});

describe("options", () => {
  test.each<[Partial<InferenceOptions>, string]>([
    [{ batching: { size: 0 } }, "inferenceHandler: batching.size must be an integer of at least 1, got 0."],
    [{ batching: { wait: -1 } }, "inferenceHandler: batching.wait must be an integer from 0 to 2147483647, got -1."],
    [
      { batching: { milliseconds: 1 } as never },
      'inferenceHandler: batching: unknown option "milliseconds". Valid options: size, wait',
    ],
    [{ batching: "yes" as never }, 'inferenceHandler: batching must be true, false or { size, wait }, got "yes".'],
    [
      { batching: { size: 65 }, limits: { batch: 64 } },
      "batching.size must be at most limits.batch, which is 64, got 65. Raise the limit.",
    ],
    [
      { input: { shape: [3] } },
      "inferenceHandler: batching needs a batch dimension. Set the first size of input.shape to null.",
    ],
  ])("%j is rejected", (options, message) => expect(() => handlerOf(options)).toThrow(message));
  test("the default size does not exceed limits.batch", async () => {
    const { sizes, load } = counted();
    const own = handlerOf({ load, limits: { batch: 3, concurrency: 100 } });
    await get(own, "/health?ready");
    await many(9, (i) => outputsOf(post(own, { inputs: [[i, 1]] })));
    expect(Math.max(...sizes)).toBe(3);
  });
});
