/** If training makes a parameter, a buffer or the optimizer's state non-finite, nothing is stored. */
import { losses, memory, nn, ones, optim, type Tensor, tensor, tidy } from "nabla";
import { saveState } from "nabla/formats";
import { type Learner, type Store, type TrainingOptions, trainingHandler } from "nabla/serverless";
import { describe, expect, test, vi } from "vitest";
import { allEvents, file, post, problem } from "./requests.ts";

class MemoryStore implements Store {
  readonly saved: Uint8Array[] = [];
  load = async () => this.saved.at(-1);
  save = async (state: Uint8Array) => void this.saved.push(state);
}

function handlerOf(create: () => Learner, options: Partial<TrainingOptions> = {}) {
  const memoryStore = new MemoryStore();
  const onError = vi.fn();
  const handler = trainingHandler({
    create,
    input: { shape: [null, 2] },
    target: { shape: [null, 1] },
    store: memoryStore,
    onError,
    ...options,
  });
  return { handler, memoryStore, onError };
}

/** A learner with one linear layer and a loss that is finite for outputs of any size. */
const learner =
  (
    optimizerOf: (model: nn.Module) => Learner["optimizer"],
    { model = () => new nn.Linear(2, 1) as nn.Module, compiled = true } = {},
  ) =>
  (): Learner => {
    const made = model();
    // log(1 + |y − t|) stays small for large outputs.
    const loss = (y: Tensor, t: Tensor) => y.sub(t).abs().add(1).log().mean();
    return { model: made, optimizer: optimizerOf(made), loss, compiled };
  };
const huge = { inputs: [[1e18, -1e18]], targets: [[0]] };
const square = (y: Tensor, t: Tensor) => losses.mse(y, t);

describe("a diverging run stores nothing, and the error names what diverged", () => {
  for (const compiled of [true, false]) {
    const kind = compiled ? "compiled" : "eager";
    test(`parameters after the last step, although its loss was finite (${kind})`, async () => {
      const create = () => ({
        ...learner((m) => new optim.SGD(m.parameters(), { lr: 1 }), { compiled })(),
        // The gradient is 1e18·1e18 = 1e36. Multiplied by lr, it exceeds float32's largest number, but the loss does
        // not.
        loss: (y: Tensor, t: Tensor) => y.sub(t).abs().mul(1e18).mean(),
      });
      const { handler, memoryStore, onError } = handlerOf(create);
      const last = (await allEvents(await post(handler, { ...huge, lr: 1000 }))).at(-1)!;
      expect(last.event).toBe("error");
      expect(last.data).toMatchObject({ status: 422 });
      expect(last.data.detail).toMatch(
        /^Training diverged: model\.weight\[0\] became -?Infinity\. Nothing was saved\. Use a smaller lr, or scale the inputs\.$/,
      );
      expect(memoryStore.saved).toEqual([]);
      expect(onError).not.toHaveBeenCalled();
    });
    test(`Adam's second moment (${kind})`, async () => {
      const create = () => ({
        ...learner((m) => new optim.Adam(m.parameters(), { lr: 0.01 }), { compiled })(),
        loss: (y: Tensor, t: Tensor) => y.sub(t).abs().mul(1e10).mean(),
      });
      const { handler, memoryStore } = handlerOf(create);
      const last = (await allEvents(await post(handler, { ...huge, lr: 1000 }))).at(-1)!;
      expect(last.data.detail).toBe(
        "Training diverged: optimizer.0.expAvgSq[0] became Infinity. Nothing was saved. Use a smaller lr, or scale the inputs.",
      );
      expect(memoryStore.saved).toEqual([]);
    });
  }
  test.each<[string, (params: Iterable<Tensor>) => Learner["optimizer"]]>([
    ["Adam with amsgrad", (params) => new optim.Adam(params, { lr: 0.01, amsgrad: true })],
    ["RMSProp", (params) => new optim.RMSProp(params, { lr: 0.01 })],
    ["AdamW", (params) => new optim.AdamW(params, { lr: 0.01 })],
  ])("the state of %s", async (_, optimizerOf) => {
    const create = () => ({
      ...learner((m) => optimizerOf(m.parameters()))(),
      loss: (y: Tensor, t: Tensor) => y.sub(t).abs().mul(1e12).mean().mul(1e6),
    });
    const { handler, memoryStore } = handlerOf(create);
    const last = (await allEvents(await post(handler, { ...huge, epochs: 3 }))).at(-1)!;
    expect(last.event).toBe("error");
    expect(memoryStore.saved).toEqual([]);
  });
  test("running statistics of BatchNorm", async () => {
    const model = () => new nn.Sequential(new nn.BatchNorm1d(2), new nn.Linear(2, 1));
    const create = learner((m) => new optim.SGD(m.parameters(), { lr: 0.001 }), { model });
    const { handler, memoryStore } = handlerOf(create);
    const inputs = [
      [3e19, 1],
      [-3e19, 2],
      [3e19, 3],
    ];
    const last = (await allEvents(await post(handler, { inputs, targets: [[0], [0], [0]] }))).at(-1)!;
    expect(last.event).toBe("error");
    expect(last.data.detail).toMatch(
      /^Training diverged: model\.0\.running\w+\[0\] became (Infinity|NaN)\. Nothing was saved\./,
    );
    expect(memoryStore.saved).toEqual([]);
  });
  test("the stored state stays unchanged, and the next training run starts from it", async () => {
    const create = learner((m) => new optim.Adam(m.parameters(), { lr: 0.01 }));
    const { handler, memoryStore } = handlerOf(() => ({ ...create(), loss: square }));
    const good = { inputs: [[1, 2]], targets: [[1]] };
    expect((await allEvents(await post(handler, good))).at(-1)!.event).toBe("done");
    const before = memory();
    for (let i = 0; i < 3; i++) {
      const body = { inputs: [[1e19, 1e19]], targets: [[0]], lr: 1000, epochs: 2 };
      expect((await allEvents(await post(handler, body))).at(-1)!.event).toBe("error");
    }
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    expect(memoryStore.saved).toHaveLength(1);
    expect((await allEvents(await post(handler, good))).at(-1)!.event).toBe("done");
    expect(memoryStore.saved).toHaveLength(2);
  });
});

test("a model may contain infinite constants, such as a causal mask", async () => {
  class Masked extends nn.Module {
    readonly inner = new nn.Linear(2, 1);
    readonly mask = tensor([0, Number.NEGATIVE_INFINITY]).keep();
    override forward(x: Tensor): Tensor {
      return this.inner.forward(x.add(this.mask).softmax(-1));
    }
  }
  const { handler, memoryStore } = handlerOf(() => {
    const model = new Masked();
    return { model, optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }), loss: square };
  });
  for (let i = 1; i <= 2; i++) {
    expect((await allEvents(await post(handler, { inputs: [[1, 2]], targets: [[1]] }))).at(-1)!.event).toBe("done");
    expect(memoryStore.saved).toHaveLength(i);
  }
});

describe("training does not start from a stored state with non-finite", () => {
  const create = (): Learner => {
    const model = new nn.Linear(2, 1);
    return { model, optimizer: new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 }), loss: square };
  };
  const stored = (change: (learner: Learner) => void): Uint8Array =>
    tidy(() => {
      const own = create();
      own.optimizer.minimize(() => square(own.model.forward(ones([1, 2])) as Tensor, ones([1, 1])));
      change(own);
      const state = saveState({ model: own.model, optimizer: own.optimizer });
      own.optimizer.dispose();
      own.model.dispose();
      return state;
    });
  test.each<[string, (learner: Learner) => void, RegExp]>([
    [
      "weights",
      ({ model }) => void model.parameters()[0]!.copyFrom([1, Number.NEGATIVE_INFINITY]),
      /-Infinity in model\.weight\[1\]/,
    ],
    ["a bias", ({ model }) => void model.parameters()[1]!.copyFrom([Number.NaN]), /NaN in model\.bias\[0\]/],
    [
      "momentum",
      ({ optimizer }) =>
        void Object.values(optimizer.stateDict().state[0]!).at(-1)!.copyFrom([Number.POSITIVE_INFINITY, 0]),
      /Infinity in optimizer\.0\.\w+\[0\]/,
    ],
  ])("%s", async (_, change, place) => {
    const { handler, memoryStore, onError } = handlerOf(create);
    memoryStore.saved.push(stored(change));
    const before = memory();
    const { detail } = await problem(await post(handler, { inputs: [[1, 2]], targets: [[1]] }), 500);
    expect(detail).toBe("The initial weights are not finite. See the function's log.");
    expect(String(onError.mock.calls)).toMatch(place);
    expect(memoryStore.saved).toHaveLength(1);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });
});

describe("non-finite examples in a file and invalid learning rates are rejected", () => {
  test.each([
    [
      "inputs",
      {
        inputs: [
          [1, 2],
          [Number.NaN, 0],
        ],
        targets: [[0], [1]],
      },
      '"inputs[1]" must contain finite numbers, got NaN.',
    ],
    [
      "inputs",
      { inputs: [[Number.POSITIVE_INFINITY, 2]], targets: [[0]] },
      '"inputs[0]" must contain finite numbers, got Infinity.',
    ],
    [
      "targets",
      {
        inputs: [
          [1, 2],
          [3, 4],
        ],
        targets: [[0], [Number.NEGATIVE_INFINITY]],
      },
      '"targets[1]" must contain finite numbers, got -Infinity.',
    ],
  ])("%s", async (_, arrays, detail) => {
    const { handler, memoryStore } = handlerOf(learner((m) => new optim.SGD(m.parameters(), { lr: 0.1 })));
    expect((await problem(await post(handler, file(arrays)), 422)).detail).toBe(detail);
    expect(memoryStore.saved).toEqual([]);
  });
  test.each([0, -1, 1001, "1e400"])("lr %j", async (lr) => {
    const { handler } = handlerOf(learner((m) => new optim.SGD(m.parameters(), { lr: 0.1 })));
    const body = `{"inputs":[[1,2]],"targets":[[1]],"lr":${lr}}`;
    expect((await problem(await post(handler, body), 422)).detail).toBe(
      `"lr" must be a number above 0 and at most 1000, got ${Number(lr)}.`,
    );
  });
});
