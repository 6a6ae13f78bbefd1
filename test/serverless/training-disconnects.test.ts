/** trainingHandler: clients that disconnect stop their training runs, free the slots and leak nothing. */
import { memory } from "nabla";
import type { Store, TrainingOptions } from "nabla/serverless";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { collectGarbage } from "../support/gc.ts";
import { allEvents, learner, post, problem, xor } from "./requests.ts";
import { MemoryStore, pause, serveTraining, slow } from "./training.ts";

const handlerOf = serveTraining();

// The first training run in each mode allocates workspace and constants that stay in memory.
beforeAll(async () => {
  for (const create of [learner, slow(0).create]) await allEvents(await post(handlerOf({ create }), xor));
});

describe("a client that disconnects", () => {
  /**
   * Starts a training run that would take at least ten seconds, disconnects after half a second, and checks that the training run stops.
   */
  async function disconnects(
    disconnect: (request: AbortController, reader: ReadableStreamDefaultReader<Uint8Array>) => void,
  ) {
    const { counted, create } = slow(5);
    const memoryStore = new MemoryStore();
    memoryStore.saved.push(new Uint8Array());
    memoryStore.load = async () => undefined;
    const before = memory();
    const handler = handlerOf({ create, store: memoryStore });
    const request = new AbortController();
    const response = await post(handler, { ...xor, epochs: 1000, batchSize: 2 }, { signal: request.signal });
    const reader = response.body!.getReader();
    const began = performance.now();
    while (performance.now() - began < 500) expect((await reader.read()).done).toBe(false);
    const then = counted.steps;
    disconnect(request, reader);
    reader.read().catch(() => {});
    await pause(300);
    const { steps } = counted;
    expect(then).toBeGreaterThan(5);
    expect(5 * (steps - then), "milliseconds of training after the disconnect").toBeLessThanOrEqual(100);
    expect(counted.disposed).toBe(1);
    expect(memoryStore.saved.length, "the stored weights do not change").toBe(1);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    await pause(100);
    expect(counted.steps).toBe(steps);
    // The slot of the disconnected client is free again.
    const again = await post(handler, { ...xor, epochs: 1 });
    expect((await allEvents(again)).at(-1)).toMatchObject({ event: "done" });
  }
  test("by aborting the request stops the training within 100 ms", () => disconnects((request) => request.abort()));
  test("by aborting the request stops the training if the garbage collector ran first", () =>
    disconnects((request) => {
      collectGarbage();
      request.abort();
    }));
  test("by closing the stream stops the training within 100 ms", () =>
    disconnects((_, reader) => void reader.cancel()));

  test("before the training starts allocates nothing", async () => {
    const { counted, create } = slow(1);
    const request = new AbortController();
    const store: Store = {
      async load() {
        request.abort();
        return undefined;
      },
      save: async () => expect.unreachable("saved"),
    };
    const response = await post(handlerOf({ create, store }), { ...xor, epochs: 100 }, { signal: request.signal });
    expect((await problem(response, 400)).detail).toBe("The client disconnected.");
    expect(counted, "no learner was created").toEqual({ steps: 0, disposed: 0 });
  });
  test.each<[string, (settle: () => Promise<void>) => Partial<TrainingOptions>]>([
    [
      "the store is read",
      (settle) => ({ store: { load: () => settle().then(() => undefined), save: async () => {} } }),
    ],
    ["a learner is created", (settle) => ({ create: () => settle().then(learner) })],
  ])("while %s frees its slot immediately, and late results are freed", async (_, options) => {
    const before = memory();
    let settle!: () => void;
    let isFirst = true;
    const settling = () => (isFirst ? new Promise<void>((resolve) => (settle = resolve)) : Promise.resolve());
    const handler = handlerOf(options(settling));
    const request = new AbortController();
    const response = post(handler, xor, { signal: request.signal });
    await pause(20);
    await problem(await post(handler, xor), 503);
    isFirst = false;
    request.abort();
    await problem(await response, 400);
    expect((await allEvents(await post(handler, xor))).at(-1)).toMatchObject({ event: "done" });
    settle();
    await pause(5);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("during its body frees its slot immediately", async () => {
    const handler = handlerOf();
    const request = new AbortController();
    const headers = { "content-type": "application/json" };
    // A body that never ends, even if the request is aborted.
    const init = { method: "POST", headers, body: new ReadableStream(), duplex: "half" } as RequestInit;
    const sent = new Request("http://localhost/", init);
    Object.defineProperty(sent, "signal", { value: request.signal });
    const response = handler(sent);
    await pause(5);
    request.abort();
    await problem(await response, 400);
    expect((await allEvents(await post(handler, xor))).at(-1)).toMatchObject({ event: "done" });
  });
  test("in a runtime that stops running its code frees its slot after the time limit", async () => {
    const before = memory();
    const handler = handlerOf({ limits: { milliseconds: 1000 } });
    // Simulate such a runtime: callbacks of setImmediate, which continue the training run, are never called.
    const turn = vi.spyOn(globalThis, "setImmediate").mockImplementation(() => undefined as never);
    const response = await post(handler, { ...xor, epochs: 1000 });
    expect(response.status).toBe(200);
    turn.mockRestore();
    await problem(await post(handler, xor), 503);
    const again = await vi.waitUntil(
      async () => {
        const answer = await post(handler, xor);
        return answer.status === 200 && answer;
      },
      { timeout: 10000, interval: 100 },
    );
    expect((await allEvents(again)).at(-1)).toMatchObject({ event: "done" });
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("a client that reads late receives the last event", async () => {
    const response = await post(handlerOf(), { ...xor, epochs: 1000, batchSize: 1 });
    await pause(1500);
    expect((await allEvents(response)).at(-1)).toMatchObject({ event: "done", data: { steps: 4000 } });
  });
});
