/** trainingHandler: progress, storing, disconnects, errors and limits. */
import { losses, manualSeed, memory, nn, optim, type Tensor, tensor, tidy } from "nabla";
import { loadState, readSafetensors } from "nabla/formats";
import { type Learner, type Store, type TrainingOptions, trainingHandler } from "nabla/serverless";
import { afterEach, describe, expect, test, vi } from "vitest";
import { allEvents, events, file, get, learner, post, problem, xor } from "./requests.ts";

/** Errors that a handler reported and no test expected. */
const unexpected: unknown[] = [];
afterEach(() => expect(unexpected.splice(0)).toEqual([]));

/** A store that keeps every saved state. */
class Shelf implements Store {
  readonly saved: Uint8Array[] = [];
  async load() {
    return this.saved.at(-1);
  }
  async save(state: Uint8Array) {
    this.saved.push(state);
  }
}

const handlerOf = (options: Partial<TrainingOptions> = {}) =>
  trainingHandler({
    create: learner,
    input: { shape: [null, 2] },
    target: { shape: [null, 1] },
    onError: (error) => unexpected.push(error),
    ...options,
  });

/** A training whose steps take about `milliseconds` each, and are counted. */
function slow(milliseconds: number) {
  const counted = { steps: 0, disposed: 0 };
  const create = () => ({
    ...learner(),
    compiled: false,
    loss(output: Tensor, target: Tensor) {
      const until = performance.now() + milliseconds;
      while (performance.now() < until);
      counted.steps++;
      return losses.mse(output, target);
    },
    dispose: () => void counted.disposed++,
  });
  return { counted, create };
}
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe("a training", () => {
  test("trains, reports progress, and stores the result", async () => {
    const shelf = new Shelf();
    const all = await allEvents(await post(handlerOf({ store: shelf }), { ...xor, epochs: 1000, batchSize: 4 }));
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
    expect(shelf.saved.length).toBe(1);
    tidy(() => {
      const { model, optimizer } = learner();
      expect(loadState(shelf.saved[0]!, { model, optimizer })).toMatchObject({ step: 1000 });
      const read = model.forward(tensor(xor.inputs)).sigmoid().round().toArray();
      expect(read).toEqual(xor.targets);
      optimizer.dispose();
      model.dispose();
    });
  });
  test("continues from the stored state as an uninterrupted training would", async () => {
    const course = { ...xor, batchSize: 3, shuffle: false };
    const [once, twice] = [new Shelf(), new Shelf()];
    const initial = new Shelf();
    await allEvents(await post(handlerOf({ store: initial }), { ...course, epochs: 1 }));
    for (const shelf of [once, twice]) shelf.saved.push(initial.saved[0]!);
    await allEvents(await post(handlerOf({ store: once }), { ...course, epochs: 6 }));
    for (const epochs of [2, 4]) await allEvents(await post(handlerOf({ store: twice }), { ...course, epochs }));
    const [a, b] = [once, twice].map((shelf) => new TextDecoder("latin1").decode(shelf.saved.at(-1)));
    expect(a).toContain('\\"step\\":14');
    // Other tests change the generator's state, which is in the file, and so in its checksum.
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
  test("accepts labels, and checks their range", async () => {
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
  test("uses the lr of a request for this request only", async () => {
    const [slow, fast] = [new Shelf(), new Shelf()];
    const course = { ...xor, epochs: 3, shuffle: false };
    const weights: number[] = [];
    for (const [shelf, lr] of [
      [slow, 1e-9],
      [fast, 0.5],
    ] as const) {
      manualSeed(5);
      await allEvents(await post(handlerOf({ store: shelf }), { ...course, lr }));
      expect(new TextDecoder("latin1").decode(shelf.saved[0])).toContain('\\"lr\\":0.02,');
      weights.push(tidy(() => readSafetensors(shelf.saved[0]!).tensors["model.0.weight"]!.data[0]!));
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
  test("serves other requests between its slices", async () => {
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

describe("a client that disconnects", () => {
  /** Lets a training of at least ten seconds run for half of one, leaves, and sees what happens. */
  async function leaving(leave: (request: AbortController, reader: ReadableStreamDefaultReader<Uint8Array>) => void) {
    const { counted, create } = slow(5);
    const shelf = new Shelf();
    shelf.saved.push(new Uint8Array());
    shelf.load = async () => undefined;
    const before = memory();
    const handler = handlerOf({ create, store: shelf });
    const request = new AbortController();
    const response = await post(handler, { ...xor, epochs: 1000, batchSize: 2 }, { signal: request.signal });
    const reader = response.body!.getReader();
    const began = performance.now();
    while (performance.now() - began < 500) expect((await reader.read()).done).toBe(false);
    const then = counted.steps;
    leave(request, reader);
    reader.read().catch(() => {});
    await pause(300);
    const { steps } = counted;
    expect(then).toBeGreaterThan(5);
    expect(5 * (steps - then), "milliseconds of training after leaving").toBeLessThanOrEqual(100);
    expect(counted.disposed).toBe(1);
    expect(shelf.saved.length, "stored weights stay as they were").toBe(1);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    // Its place is free again.
    const again = await post(handlerOf({ create: learner }), xor);
    expect((await allEvents(again)).at(-1)).toMatchObject({ event: "done" });
    await pause(100);
    expect(counted.steps).toBe(steps);
  }
  test("aborts the request: no step after 100 ms", () => leaving((request) => request.abort()));
  test("closes the stream: no step after 100 ms", () => leaving((_, reader) => void reader.cancel()));

  test("before the training starts: nothing is allocated", async () => {
    const { counted, create } = slow(1);
    const request = new AbortController();
    const store: Store = {
      async load() {
        request.abort();
        return undefined;
      },
      save: async () => unexpected.push("saved") as unknown as undefined,
    };
    const response = await post(handlerOf({ create, store }), { ...xor, epochs: 100 }, { signal: request.signal });
    expect((await problem(response, 400)).detail).toBe("The client disconnected.");
    expect(counted, "nothing was made").toEqual({ steps: 0, disposed: 0 });
  });
  test.each<[string, (settle: () => Promise<void>) => Partial<TrainingOptions>]>([
    [
      "the store is read",
      (settle) => ({ store: { load: () => settle().then(() => undefined), save: async () => {} } }),
    ],
    ["a learner is made", (settle) => ({ create: () => settle().then(learner) })],
  ])("while %s: its slot is free at once, and late results are freed", async (_, options) => {
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
  test("during its body: its slot is free at once", async () => {
    const handler = handlerOf();
    const request = new AbortController();
    const headers = { "content-type": "application/json" };
    // A body that does not hear of it.
    const init = { method: "POST", headers, body: new ReadableStream(), duplex: "half" } as RequestInit;
    const sent = new Request("http://localhost/", init);
    Object.defineProperty(sent, "signal", { value: request.signal });
    const response = handler(sent);
    await pause(5);
    request.abort();
    await problem(await response, 400);
    expect((await allEvents(await post(handler, xor))).at(-1)).toMatchObject({ event: "done" });
  });
  test("in a runtime that stops its code: its slot is free after the time limit, and nothing leaks", async () => {
    const before = memory();
    const handler = handlerOf({ limits: { milliseconds: 200 } });
    // The event loop never goes round for it again.
    const turn = vi.spyOn(globalThis, "setImmediate").mockImplementation(() => undefined as never);
    const response = await post(handler, { ...xor, epochs: 1000 });
    expect(response.status).toBe(200);
    turn.mockRestore();
    await problem(await post(handler, xor), 503);
    await pause(420);
    expect((await allEvents(await post(handler, xor))).at(-1)).toMatchObject({ event: "done" });
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("a client that reads late still gets the last event", async () => {
    const response = await post(handlerOf(), { ...xor, epochs: 1000, batchSize: 1 });
    await pause(1500);
    expect((await allEvents(response)).at(-1)).toMatchObject({ event: "done", data: { steps: 4000 } });
  });
});

describe("ends with an error and stores nothing", () => {
  test("after the time limit", async () => {
    const { counted, create } = slow(5);
    const shelf = new Shelf();
    const handler = handlerOf({ create, store: shelf, limits: { milliseconds: 100 } });
    const last = (await allEvents(await post(handler, { ...xor, epochs: 1000 }))).at(-1)!;
    expect(last.event).toBe("error");
    expect(last.data).toMatchObject({ status: 422, title: "Unprocessable Content" });
    expect(last.data.detail).toMatch(
      /^Training reached the time limit of 100 ms at step \d+ of 1000\. Nothing was saved\. Use fewer/,
    );
    expect(shelf.saved).toEqual([]);
    expect(counted.disposed).toBe(1);
  });
  test("if the loss is not finite", async () => {
    const shelf = new Shelf();
    const loss = (output: Tensor, target: Tensor) => losses.mse(output, target).mul(1e30);
    const handler = handlerOf({ create: () => ({ ...learner(), loss }), store: shelf });
    const last = (await allEvents(await post(handler, { inputs: [[1e38, 1e38]], targets: [[-1e38]] }))).at(-1)!;
    expect(last.data.detail).toMatch(
      /^The loss became (Infinity|NaN) at step 1\. Nothing was saved\. Use a smaller lr/,
    );
    expect(shelf.saved).toEqual([]);
  });
  test("if the model throws, which only onError sees", async () => {
    const onError = vi.fn();
    const loss = () => {
      throw new Error("secret");
    };
    const before = memory();
    const last = (await allEvents(await post(handlerOf({ create: () => ({ ...learner(), loss }), onError }), xor))).at(
      -1,
    )!;
    expect(last).toEqual({
      event: "error",
      data: {
        type: "about:blank",
        title: "Internal Server Error",
        status: 500,
        detail: "Training failed. See the function's log.",
      },
    });
    expect(String(onError.mock.calls)).toContain("secret");
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("for sizes and labels that the specs leave open, with a fix", async () => {
    const last = async (options: Partial<TrainingOptions>, body: object) =>
      (await allEvents(await post(handlerOf(options), body))).at(-1)!.data;
    const open = { input: { shape: [null, null] } };
    for (const compiled of [true, false])
      expect(
        await last({ ...open, create: () => ({ ...learner(), compiled }) }, { inputs: [[1, 2, 3]], targets: [[1]] }),
      ).toMatchObject({ status: 422, detail: 'The model does not accept this shape of "inputs". Send another shape.' });
    const classes = (compiled: boolean) => ({
      create() {
        const model = new nn.Linear(2, 3);
        const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
        return { model, optimizer, loss: losses.crossEntropy, compiled };
      },
      target: { shape: [null], dtype: "int32" as const },
    });
    const body = { inputs: xor.inputs, targets: [0, 1, 3, 0] };
    for (const compiled of [true, false])
      expect(await last(classes(compiled), body)).toMatchObject({
        status: 422,
        detail: '"targets" contains a number that is negative or too large for the model. Send other numbers.',
      });
  });
  test.each<[string, () => object]>([
    ["model", () => ({ model: Object.assign(new nn.Tanh(), { forward: async () => Promise.reject(new Error("a")) }) })],
    ["loss", () => ({ loss: async () => Promise.reject(new Error("b")) })],
  ])("if the %s returns a promise, without an unhandled rejection", async (part, options) => {
    const rejected = vi.fn();
    process.on("unhandledRejection", rejected);
    const onError = vi.fn();
    const create = () => ({ ...learner(), ...options() }) as Learner;
    expect((await allEvents(await post(handlerOf({ create, onError }), xor))).at(-1)!.data.status).toBe(500);
    await pause(5);
    process.off("unhandledRejection", rejected);
    expect(rejected).not.toHaveBeenCalled();
    expect(String(onError.mock.calls)).toContain(`the ${part} returned a promise. Make it synchronous.`);
  });
  test("if the whole request takes too long, although no part does", async () => {
    const limits = { milliseconds: 1800 };
    const load = () => pause(1050).then(() => undefined);
    const late = { create: () => pause(1050).then(learner), store: { load, save: async () => {} }, limits };
    expect((await problem(await post(handlerOf(late), xor), 503)).detail).toContain("did not start in time");
    const saving = { store: { load, save: () => pause(1050).then(() => {}) }, limits };
    const last = (await allEvents(await post(handlerOf(saving), xor))).at(-1)!;
    expect(last.data.detail).toContain("storing the state timed out");
    await pause(1080);
  });
  test("if storing takes too long", async () => {
    const store = { load: async () => undefined, save: () => new Promise<void>(() => {}) };
    const last = (await allEvents(await post(handlerOf({ store, limits: { milliseconds: 200 } }), xor))).at(-1)!;
    expect(last.data.detail).toBe(
      "Training finished, but storing the state timed out. Check the stored state before you try again.",
    );
  });
  test("if storing fails", async () => {
    const onError = vi.fn();
    const store = { load: async () => undefined, save: () => Promise.reject(new Error("disk is full")) };
    const last = (await allEvents(await post(handlerOf({ store, onError }), xor))).at(-1)!;
    expect(last).toMatchObject({
      event: "error",
      data: { status: 503, detail: "Training finished, but the state could not be stored. Try again later." },
    });
    expect(String(onError.mock.calls)).toContain("disk is full");
  });
});

describe("does not start", () => {
  test.each([
    ["no targets", { inputs: xor.inputs }, 422, '"targets" is missing. Add it.'],
    [
      "one target too few",
      { ...xor, targets: [[0]] },
      422,
      '"inputs" has 4 examples, but "targets" has 1. Send one target for each input.',
    ],
    [
      "one example",
      { inputs: [0, 1], targets: [1] },
      422,
      '"inputs" must be an array of examples, got a single example.',
    ],
    ["no epochs", { ...xor, epochs: 0 }, 422, '"epochs" must be an integer from 1 to 1000, got 0.'],
    ["too many epochs", { ...xor, epochs: 1001 }, 422, '"epochs" must be an integer from 1 to 1000, got 1001.'],
    ["half a batch", { ...xor, batchSize: 0.5 }, 422, '"batchSize" must be an integer from 1 to 256, got 0.5.'],
    ["a rate below 0", { ...xor, lr: -1 }, 422, '"lr" must be a number above 0 and at most 1000, got -1.'],
    ["a word", { ...xor, shuffle: "yes" }, 422, '"shuffle" must be true or false, got "yes".'],
    [
      "what is not known",
      { ...xor, momentum: 1 },
      422,
      'The name "momentum" is unknown. Valid names: inputs, targets, epochs, batchSize, shuffle, lr.',
    ],
    ["an array", [xor], 422, 'The body must be a JSON object with "inputs" and "targets".'],
    [
      "options of a file",
      file(xor, { metadata: { epochs: "many" } }),
      422,
      '"epochs" must be an integer from 1 to 1000, got "many".',
    ],
  ])("%s", async (_, body, status, detail) => {
    expect((await problem(await post(handlerOf(), body), status)).detail).toBe(detail);
  });
  test("for a client that does not accept events", async () => {
    const { detail } = await problem(await post(handlerOf(), xor, { headers: { accept: "application/json" } }), 406);
    expect(detail).toBe("None of the accepted types is available. Accept text/event-stream.");
  });
  test("without a token", async () => {
    await problem(await post(handlerOf({ authorize: () => false }), xor), 401);
  });
  test("from an invalid stored state", async () => {
    const onError = vi.fn();
    const before = memory();
    const store = { load: async () => new Uint8Array([1, 2, 3]), save: async () => {} };
    await problem(await post(handlerOf({ store, onError }), xor), 500);
    expect(String(onError.mock.calls)).toContain("FormatError");
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("if starting takes too long; a late learner is freed", async () => {
    const before = memory();
    let made!: (made: Learner) => void;
    const create = () => new Promise<Learner>((resolve) => (made = resolve));
    const response = await post(handlerOf({ create, limits: { milliseconds: 20 } }), xor);
    expect((await problem(response, 503)).detail).toBe("Training did not start in time. Try again.");
    made(learner());
    await pause(1);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test.each(["model", "optimizer", "loss"])(
    "if create returns no %s: onError names it, and the rest is freed",
    async (part) => {
      const before = memory();
      const onError = vi.fn();
      const dispose = vi.fn();
      const create = () => {
        const whole = learner();
        if (part === "optimizer") whole.optimizer.dispose();
        if (part === "model") whole.model.dispose();
        return { ...whole, dispose, [part]: undefined } as unknown as Learner;
      };
      await problem(await post(handlerOf({ create, onError }), xor), 500);
      expect(String(onError.mock.calls[0])).toBe(
        `TypeError: trainingHandler: create must return { model, optimizer, loss }, got no ${part}.`,
      );
      expect(onError).toHaveBeenCalledOnce();
      expect(dispose).toHaveBeenCalledOnce();
      expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
      await problem(await post(handlerOf({ create: () => undefined as never, onError }), xor), 500);
    },
  );
  test("a part that cannot be freed does not keep the other parts", async () => {
    const before = memory();
    const onError = vi.fn();
    const create = () => {
      const whole = learner();
      const { optimizer } = whole;
      const dispose = optimizer.dispose.bind(optimizer);
      optimizer.dispose = () => {
        dispose();
        throw new Error("stuck");
      };
      return whole;
    };
    expect((await allEvents(await post(handlerOf({ create, onError }), xor))).at(-1)!.event).toBe("done");
    expect(String(onError.mock.calls)).toBe("Error: stuck");
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
  test("if the store fails", async () => {
    const onError = vi.fn();
    const store = { load: () => Promise.reject(new Error("no such bucket")), save: async () => {} };
    await problem(await post(handlerOf({ store, onError }), xor), 503);
    expect(String(onError.mock.calls)).toContain("no such bucket");
  });
});

describe("trainings at the same time", () => {
  test("one at a time by default: another gets 503", async () => {
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
  test("do not mix: each trains its own model and stores its whole state", async () => {
    const shelf = new Shelf();
    const handler = handlerOf({ store: shelf, limits: { concurrency: 8 } });
    const before = memory();
    const course = { epochs: 400, batchSize: 4, inputs: xor.inputs };
    const truths = [
      [0, 1, 1, 0],
      [1, 1, 1, 0],
      [0, 0, 0, 1],
      [1, 0, 0, 1],
    ].map((row) => row.map((bit) => [bit]));
    shelf.load = async () => undefined;
    const all = await Promise.all(
      truths.map(async (targets) => allEvents(await post(handler, { ...course, targets }))),
    );
    for (const list of all) {
      expect(list.at(-1)!.data.steps).toBe(400);
      expect(list.at(-1)!.data.loss).toBeLessThan(0.35);
    }
    expect(shelf.saved.length).toBe(4);
    const learnt = shelf.saved.map((state) =>
      tidy(() => {
        const { model, optimizer } = learner();
        loadState(state, { model, optimizer });
        const bits = model.forward(tensor(xor.inputs)).sigmoid().round().toArray();
        optimizer.dispose();
        model.dispose();
        return JSON.stringify(bits);
      }),
    );
    expect(learnt.sort()).toEqual(truths.map((bits) => JSON.stringify(bits)).sort());
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
});

describe("routes and options", () => {
  test("metadata", async () => {
    expect(await (await get(handlerOf(), "/metadata")).json()).toMatchObject({
      input: { shape: [null, 2], dtype: "float32" },
      target: { shape: [null, 1], dtype: "float32" },
      limits: { batch: 65536, batchSize: 256, milliseconds: 60000, concurrency: 1, epochs: 1000 },
    });
  });
  test("invalid options are rejected at once", () => {
    expect(() => handlerOf({ input: { shape: [2] } })).toThrow(
      "trainingHandler: input.shape[0] must be null, for the examples, got 2.",
    );
    expect(() => handlerOf({ create: undefined as never })).toThrow("trainingHandler: option create is required.");
    expect(() => handlerOf({ limits: { epochs: 1.5 } })).toThrow("trainingHandler: limits.epochs must be an integer");
  });
});
