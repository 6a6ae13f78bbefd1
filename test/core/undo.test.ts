/** When linear memory runs short, failed steps are undone and tensors can be read, even tensors that have moved to JavaScript's memory. */
import { compile, detectAnomaly, dispose, full, info, init, manualSeed, nn, optim, rand, type Tensor, tensor, tidy, zeros } from "nabla"; // biome-ignore format: one line
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { randomState } from "../../src/runtime/engine.ts";
import { NonFiniteError, OutOfMemoryError } from "../../src/runtime/errors.ts";

const build = info().build as "simd" | "relaxed";

async function limitTo(memoryLimit: number): Promise<void> {
  await dispose();
  await init({ memoryLimit, build });
}
beforeEach(() => void vi.spyOn(console, "warn").mockImplementation(() => {}));
afterEach(async () => {
  vi.restoreAllMocks();
  await dispose();
  await init({ build });
});

/** Makes so many tensors outside a scope that older ones move to JavaScript's memory. */
const crowd = (): Tensor[] => Array.from({ length: 2000 }, (_, i) => full([4], i));
const intact = (all: readonly Tensor[]): boolean => all.every((x, i) => x.data.every((v) => v === i));
const fail = (): Tensor => tensor([0]).log();

describe("detectAnomaly undoes writes to state that has moved to JavaScript's memory", () => {
  const writes: Record<string, (w: Tensor) => void> = {
    "copyFrom of a tensor": (w) => w.copyFrom(full([4], 9)),
    "copyFrom of an array": (w) => w.copyFrom([9, 9, 9, 9]),
    "two writes": (w) => w.copyFrom(full([4], 8)).copyFrom([9, 9, 9, 9]),
    "a write to an alias": (w) => w.reshape([2, 2]).copyFrom([9, 9, 9, 9]),
  };
  for (const [name, write] of Object.entries(writes))
    test(name, () => {
      const w = tensor([1, 2, 3, 4]);
      const others: Tensor[] = [];
      const step = () => {
        write(w);
        others.push(...crowd());
        return fail();
      };
      expect(() => detectAnomaly(step)).toThrow(NonFiniteError);
      expect(w.toArray()).toEqual([1, 2, 3, 4]);
      expect(intact(others)).toBe(true);
    });
});

test("minimize({ finite: true }) undoes a write in the loss function", () => {
  const [p, seen, others] = [tensor([-1], { requiresGrad: true }), tensor([1, 2]), [] as Tensor[]];
  const optimizer = new optim.SGD([p], { lr: 1 });
  const loss = () => {
    seen.copyFrom([7, 9]);
    others.push(...crowd());
    return p.log().sum();
  };
  expect(() => optimizer.minimize(loss, { finite: true })).toThrow(NonFiniteError);
  expect([p.toArray(), seen.toArray()]).toEqual([[-1], [1, 2]]);
});

test("non-finite values from JavaScript are not written to state", () => {
  const [w, kept] = [tensor([1, 2]), zeros([1]).keep()];
  const writes: [RegExp, () => unknown][] = [
    [/a tensor from outside contains NaN \(element 1 .* which reaches a write/, () => w.copyFrom([1, Number.NaN])],
    [
      /a tensor from outside contains Infinity .* which reaches a write/,
      () => kept.copyFrom([Number.POSITIVE_INFINITY]),
    ],
    [/a tensor from outside contains NaN .* which reaches a result/, () => zeros([1]).copyFrom([Number.NaN]).mul(2)],
  ];
  for (const [message, write] of writes) expect(() => detectAnomaly(write as () => Tensor)).toThrow(message);
  expect([w.toArray(), kept.toArray()]).toEqual([[1, 2], [0]]);
  detectAnomaly(() => w.copyFrom([3, 4]));
  expect(w.toArray()).toEqual([3, 4]);
});

test("backward rejects a graph that used a value that was undone, and is correct for an older graph", () => {
  const [p, s] = [tensor([2], { requiresGrad: true }), tensor([3])];
  const older = p.mul(s).sum();
  let newer: Tensor | undefined;
  const step = () => {
    s.copyFrom([5]);
    newer = p.mul(s).sum();
    return fail();
  };
  expect(() => detectAnomaly(step)).toThrow(NonFiniteError);
  older.backward();
  expect(p.grad!.toArray()).toEqual([3]);
  s.copyFrom([3]);
  expect(() => newer!.backward()).toThrow(/in place|changed|overwritten/);
});

describe("a step that runs out of memory undoes its writes to state, even if the state has moved to JavaScript's memory", () => {
  const model = { forward: (s: Tensor) => s.add(1) };
  const steps: Record<string, (loss: () => Tensor, p: Tensor) => unknown> = {
    minimize: (loss, p) => new optim.SGD([p], { lr: 0.1 }).minimize(loss),
    "L-BFGS": (loss, p) => new optim.LBFGS([p]).minimize(loss),
    Sequential: (loss) => {
      class Step extends nn.Module {
        forward(): Tensor {
          return loss();
        }
      }
      return new nn.Sequential(new Step()).forward(tensor([0]));
    },
  };
  for (const [name, step] of Object.entries(steps))
    for (const moves of [true, false])
      test(`${name}, ${moves ? "after it moved" : "in place"}`, async () => {
        await limitTo(8 * 2 ** 20);
        manualSeed(3);
        const [s, p] = [full([1000], 1), tensor([1], { requiresGrad: true }).keep()];
        if (!moves) s.keep();
        const random = [...randomState()];
        const loss = (): Tensor => {
          s.copyFrom(model.forward(s));
          rand([3]);
          const all = Array.from({ length: 20 }, () => full([300_000], 1).keep());
          return all.reduce((sum, x) => sum.add(x), p).sum();
        };
        expect(() => step(loss, p)).toThrow(OutOfMemoryError);
        expect(s.data.every((v) => v === 1)).toBe(true);
        expect([...randomState()]).toEqual(random);
      });

  test("a step undoes what a compiled function wrote to state", () => {
    const [s, p] = [zeros([3]).keep(), tensor([1], { requiresGrad: true }).keep()];
    const advance = compile(() => s.copyFrom(s.add(1)).sum());
    tidy(() => void advance());
    expect(s.toArray()).toEqual([1, 1, 1]);
    const loss = (): Tensor => {
      advance();
      throw new OutOfMemoryError(1, 1, 1);
    };
    expect(() => new optim.SGD([p], { lr: 0.1 }).minimize(loss)).toThrow(OutOfMemoryError);
    expect(s.toArray()).toEqual([1, 1, 1]);
    advance.dispose();
  });
});

describe("a loop can read more tensors than fit into linear memory", () => {
  const reads: Record<string, (x: Tensor) => unknown> = {
    data: (x) => x.data[1],
    toArray: (x) => (x.toArray() as number[])[1],
    toString: (x: Tensor) => x.toString(),
    toJSON: (x) => (x.toJSON() as number[])[1],
    copyFrom: (x) => x.copyFrom(new Float32Array(x.size)),
    detach: (x) => x.detach(),
    reshape: (x) => x.reshape([50, 100]),
    "item() of a result": (x) => x.sum().item(),
  };
  for (const [name, read] of Object.entries(reads))
    test(name, async () => {
      await limitTo(20 * 2 ** 20);
      const all: Tensor[] = [];
      for (let i = 0; i < 1500; i++) all.push(full([5000], i));
      for (const x of all) read(x);
      for (const x of all) read(x);
      if (name === "data") expect(all.every((x, i) => x.data[4999] === i)).toBe(true);
      expect(all[0]!.isDisposed).toBe(false);
    });

  test("item() works for every element type", async () => {
    await limitTo(2 ** 20);
    for (const dtype of ["float32", "int32", "bool", "uint8"] as const) {
      const all = Array.from({ length: 20_000 }, (_, i) => tensor([i % 2], { dtype }));
      for (const [i, x] of all.entries()) expect(x.item()).toBe(i % 2);
    }
  });

  test("disposed tensors are still rejected", () => {
    const all = crowd();
    all[0]!.dispose();
    expect(() => all[0]!.data).toThrow("data: the float32 tensor [4] made by full was disposed by dispose().");
  });
});

test("tensor(values) in a loop stays within the memory limit", async () => {
  await limitTo(4 * 2 ** 20);
  const values = new Float32Array(5000).fill(1);
  const all = Array.from({ length: 500 }, () => tensor(values));
  expect(all.every((x) => x.data[0] === 1)).toBe(true);
});
