/** trainingHandler: progress, storing, concurrency, metadata and options. */
import { losses, manualSeed, memory, nn, optim, tensor, tidy } from "nabla";
import { loadState, readSafetensors } from "nabla/formats";
import { describe, expect, test } from "vitest";
import { allEvents, events, file, get, learner, post, problem, xor } from "./requests.ts";
import { MemoryStore, pause, serveTraining, slow } from "./training.ts";

const handlerOf = serveTraining();

describe("a training request", () => {
  test("trains, reports progress, and stores the result", async () => {
    const memoryStore = new MemoryStore();
    const all = await allEvents(await post(handlerOf({ store: memoryStore }), { ...xor, epochs: 1000, batchSize: 4 }));
    const [first] = all;
    expect(first).toEqual({
      event: "progress",
      data: { epoch: expect.any(Number), step: expect.any(Number), steps: 1000, loss: expect.any(Number) },
    });
    expect(all.slice(0, -1).every(({ event }) => event === "progress")).toBe(true);
    expect(all.at(-2)!.data).toMatchObject({ epoch: 1000, step: 1000 });
    expect(all.at(-1)).toEqual({
      event: "done",
      data: { loss: expect.any(Number), steps: 1000, milliseconds: expect.any(Number) },
    });
    expect(all.at(-1)!.data.loss).toBeLessThan(0.05);
    expect(memoryStore.saved.length).toBe(1);
    tidy(() => {
      const { model, optimizer } = learner();
      expect(loadState(memoryStore.saved[0]!, { model, optimizer })).toMatchObject({ step: 1000 });
      const read = model.forward(tensor(xor.inputs)).sigmoid().round().toArray();
      expect(read).toEqual(xor.targets);
      optimizer.dispose();
      model.dispose();
    });
  });
  test("continues from the stored state like an uninterrupted run", async () => {
    const course = { ...xor, batchSize: 3, shuffle: false };
    const [once, twice] = [new MemoryStore(), new MemoryStore()];
    const initial = new MemoryStore();
    await allEvents(await post(handlerOf({ store: initial }), { ...course, epochs: 1 }));
    for (const memoryStore of [once, twice]) memoryStore.saved.push(initial.saved[0]!);
    await allEvents(await post(handlerOf({ store: once }), { ...course, epochs: 6 }));
    for (const epochs of [2, 4]) await allEvents(await post(handlerOf({ store: twice }), { ...course, epochs }));
    const [a, b] = [once, twice].map((memoryStore) => new TextDecoder("latin1").decode(memoryStore.saved.at(-1)));
    expect(a).toContain('\\"step\\":14');
    // Remove the generator's state, which other tests change, and the checksum, which depends on it.
    const random = /\\"random\\":\[[^\]]*\] *|"nabla.checksum":"[\w:]+"/g;
    expect(a!.replace(random, "").trimEnd()).toBe(b!.replace(random, "").trimEnd());
  });
  test("accepts a safetensors file with options in its metadata", async () => {
    const body = file(xor, { metadata: { epochs: "3", batchSize: "2", shuffle: "false", lr: "0.1", format: "pt" } });
    expect((await allEvents(await post(handlerOf(), body))).at(-1)).toMatchObject({
      event: "done",
      data: { steps: 6 },
    });
  });
  test("accepts labels and checks their range", async () => {
    const handler = handlerOf({
      create() {
        const model = new nn.Linear(2, 3);
        return { model, optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }), loss: losses.crossEntropy };
      },
      target: { shape: [null], dtype: "int32", min: 0, max: 2 },
    });
    expect((await allEvents(await post(handler, { inputs: xor.inputs, targets: [0, 1, 2, 0] }))).at(-1)).toMatchObject({
      event: "done",
    });
    const { detail } = await problem(await post(handler, { inputs: xor.inputs, targets: [0, 1, 3, 0] }), 422);
    expect(detail).toBe('"targets" must contain numbers from 0 to 2, got 3.');
  });
  test("uses a request's lr only for that request", async () => {
    const [slow, fast] = [new MemoryStore(), new MemoryStore()];
    const course = { ...xor, epochs: 3, shuffle: false };
    const weights: number[] = [];
    for (const [memoryStore, lr] of [
      [slow, 1e-9],
      [fast, 0.5],
    ] as const) {
      manualSeed(5);
      await allEvents(await post(handlerOf({ store: memoryStore }), { ...course, lr }));
      expect(new TextDecoder("latin1").decode(memoryStore.saved[0])).toContain('\\"lr\\":0.02,');
      weights.push(tidy(() => readSafetensors(memoryStore.saved[0]!).tensors["model.0.weight"]!.data[0]!));
    }
    expect(Math.abs(weights[0]! - weights[1]!)).toBeGreaterThan(0.1);
  });
  test("reports progress at least once and at most twenty times a second", async () => {
    const { create } = slow(5);
    const times: number[] = [];
    const response = await post(handlerOf({ create }), { ...xor, epochs: 240, batchSize: 4 });
    for await (const { event } of events(response)) if (event === "progress") times.push(performance.now());
    const gaps = times.slice(1).map((time, i) => time - times[i]!);
    const seconds = (times.at(-1)! - times[0]!) / 1000;
    expect(times.length).toBeLessThanOrEqual(20 * seconds + 2);
    expect(Math.max(...gaps)).toBeLessThan(1000);
  });
  test("serves other requests between slices of steps", async () => {
    const { create } = slow(5);
    const handler = handlerOf({ create });
    const response = await post(handler, { ...xor, epochs: 100, batchSize: 4 });
    let answered = 0;
    const done = allEvents(response).then(() => true);
    for (let ended = false; !ended; ) {
      expect((await get(handler, "/health")).status).toBe(200);
      ended = await Promise.race([done, pause(0).then(() => false)]);
      answered++;
    }
    expect(answered, "about one for each slice of four steps").toBeGreaterThan(10);
  });
});

describe("concurrent training requests", () => {
  test("by default, a second training request gets a 503", async () => {
    const { create } = slow(2);
    const handler = handlerOf({ create });
    const first = await post(handler, { ...xor, epochs: 50 });
    const response = await post(handler, xor);
    expect(response.headers.get("retry-after")).toBe("1");
    expect((await problem(response, 503)).detail).toBe(
      "The limit of concurrent requests (1) has been reached. Try again later.",
    );
    await allEvents(first);
    await allEvents(await post(handler, xor));
  });
  test("each train their own model and store their own state", async () => {
    const memoryStore = new MemoryStore();
    const handler = handlerOf({ store: memoryStore, limits: { concurrency: 8 } });
    const before = memory();
    const course = { epochs: 400, batchSize: 4, inputs: xor.inputs };
    const truths = [
      [0, 1, 1, 0],
      [1, 1, 1, 0],
      [0, 0, 0, 1],
      [1, 0, 0, 1],
    ].map((row) => row.map((bit) => [bit]));
    memoryStore.load = async () => undefined;
    const all = await Promise.all(
      truths.map(async (targets) => allEvents(await post(handler, { ...course, targets }))),
    );
    for (const list of all) {
      expect(list.at(-1)!.data.steps).toBe(400);
      expect(list.at(-1)!.data.loss).toBeLessThan(0.35);
    }
    expect(memoryStore.saved.length).toBe(4);
    const trained = memoryStore.saved.map((state) =>
      tidy(() => {
        const { model, optimizer } = learner();
        loadState(state, { model, optimizer });
        const bits = model.forward(tensor(xor.inputs)).sigmoid().round().toArray();
        optimizer.dispose();
        model.dispose();
        return JSON.stringify(bits);
      }),
    );
    expect(trained.sort()).toEqual(truths.map((bits) => JSON.stringify(bits)).sort());
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
});

describe("routes and options", () => {
  test("metadata describes input, target and limits", async () => {
    expect(await (await get(handlerOf(), "/metadata")).json()).toMatchObject({
      input: { shape: [null, 2], dtype: "float32" },
      target: { shape: [null, 1], dtype: "float32" },
      limits: { batch: 65536, batchSize: 256, milliseconds: 60000, concurrency: 1, epochs: 1000 },
    });
  });
  test("invalid options are rejected immediately", () => {
    expect(() => handlerOf({ input: { shape: [2] } })).toThrow(
      "trainingHandler: input.shape[0] must be null, for any number of examples, got 2.",
    );
    expect(() => handlerOf({ create: undefined as never })).toThrow("trainingHandler: option create is required.");
    expect(() => handlerOf({ limits: { epochs: 1.5 } })).toThrow("trainingHandler: limits.epochs must be an integer");
  });
});
