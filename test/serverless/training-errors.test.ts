/** trainingHandler: training runs that do not start, or that end with an error. */
import { losses, memory, nn, optim, type Tensor } from "nabla";
import type { Learner, TrainingOptions } from "nabla/serverless";
import { describe, expect, test, vi } from "vitest";
import { allEvents, file, learner, post, problem, xor } from "./requests.ts";
import { MemoryStore, pause, serveTraining, slow } from "./training.ts";

const handlerOf = serveTraining();

describe("a training run ends with an error and stores nothing", () => {
  test("after the time limit", async () => {
    const { counted, create } = slow(5);
    const memoryStore = new MemoryStore();
    const handler = handlerOf({ create, store: memoryStore, limits: { milliseconds: 100 } });
    const last = (await allEvents(await post(handler, { ...xor, epochs: 1000 }))).at(-1)!;
    expect(last.event).toBe("error");
    expect(last.data).toMatchObject({ status: 422, title: "Unprocessable Content" });
    expect(last.data.detail).toMatch(
      /^Training reached the time limit of 100 ms at step \d+ of 1000\. Nothing was saved\. Use fewer/,
    );
    expect(memoryStore.saved).toEqual([]);
    expect(counted.disposed).toBe(1);
  });
  test("if the loss is not finite", async () => {
    const memoryStore = new MemoryStore();
    const loss = (output: Tensor, target: Tensor) => losses.mse(output, target).mul(1e30);
    const handler = handlerOf({ create: () => ({ ...learner(), loss }), store: memoryStore });
    const last = (await allEvents(await post(handler, { inputs: [[1e38, 1e38]], targets: [[-1e38]] }))).at(-1)!;
    expect(last.data.detail).toMatch(
      /^The loss became (Infinity|NaN) at step 1\. Nothing was saved\. Use a smaller lr/,
    );
    expect(memoryStore.saved).toEqual([]);
  });
  test("if the loss throws, and only onError receives the message", async () => {
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
  test("for sizes and labels that the model rejects, and the error says how to fix them", async () => {
    const last = async (options: Partial<TrainingOptions>, body: object) =>
      (await allEvents(await post(handlerOf(options), body))).at(-1)!.data;
    const open = { input: { shape: [null, null] } };
    for (const compiled of [true, false])
      expect(
        await last({ ...open, create: () => ({ ...learner(), compiled }) }, { inputs: [[1, 2, 3]], targets: [[1]] }),
      ).toMatchObject({
        status: 422,
        detail: 'The model does not accept this shape of "inputs". Send a different shape.',
      });
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
        detail:
          '"targets" contains a number that is negative or too large for the model. Send numbers that the model accepts.',
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
  test("if the whole request takes too long, even if no part does", async () => {
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

describe("a training run does not start", () => {
  test.each([
    ["without targets", { inputs: xor.inputs }, 422, '"targets" is missing. Add it.'],
    [
      "with fewer targets than inputs",
      { ...xor, targets: [[0]] },
      422,
      '"inputs" has 4 examples, but "targets" has 1. Send one target for each input.',
    ],
    [
      "with a single example",
      { inputs: [0, 1], targets: [1] },
      422,
      '"inputs" must be an array of examples, got a single example.',
    ],
    ["with zero epochs", { ...xor, epochs: 0 }, 422, '"epochs" must be an integer from 1 to 1000, got 0.'],
    ["with too many epochs", { ...xor, epochs: 1001 }, 422, '"epochs" must be an integer from 1 to 1000, got 1001.'],
    [
      "with a fractional batchSize",
      { ...xor, batchSize: 0.5 },
      422,
      '"batchSize" must be an integer from 1 to 256, got 0.5.',
    ],
    ["with a negative lr", { ...xor, lr: -1 }, 422, '"lr" must be a number above 0 and at most 1000, got -1.'],
    [
      "with a shuffle that is not a boolean",
      { ...xor, shuffle: "yes" },
      422,
      '"shuffle" must be true or false, got "yes".',
    ],
    [
      "with an unknown name",
      { ...xor, momentum: 1 },
      422,
      'The name "momentum" is unknown. Valid names: inputs, targets, epochs, batchSize, shuffle, lr.',
    ],
    ["with an array as the body", [xor], 422, 'The body must be a JSON object with "inputs" and "targets".'],
    [
      "with invalid options in a file",
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
  test("if starting takes too long, and a late learner is freed", async () => {
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
    "if create returns no %s, which onError names, and the rest is freed",
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
  test("a training run whose optimizer cannot be disposed frees the other parts", async () => {
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
