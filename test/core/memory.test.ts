/** The allocator, scopes, disposal, and constant memory use in long training runs. */
import { grad, losses, manualSeed, memory, nn, noGrad, optim, randn, type Tensor, tensor, tidy, zeros } from "nabla";
import { describe, expect, test } from "vitest";
import { OutOfMemoryError } from "../../src/runtime/errors.ts";
import { Heap } from "../../src/runtime/heap.ts";
import { collectGarbage } from "../support/gc.ts";
import { seeded } from "../support/oracle.ts";

const MB = 1 << 20;

describe("the allocator", () => {
  test("in 20,000 random calls, blocks are 64-byte aligned, never overlap, and never touch address 0 or the last 64 bytes", () => {
    const heap = new Heap({ memoryLimit: 64 * MB });
    const random = seeded(1);
    const live: [number, number][] = [];
    const owner = new Map<number, number>(); // the block that owns each 64-byte line
    for (let i = 0; i < 20_000; i++) {
      if (live.length > 50 || (live.length && random() < 0.5)) {
        const [address, bytes] = live.splice(Math.floor(random() * live.length), 1)[0]!;
        for (let line = address; line < address + bytes; line += 64) owner.delete(line);
        heap.release(address, bytes);
      } else {
        const bytes = Math.floor(random() ** 4 * 200_000);
        const address = heap.allocate(bytes);
        const sound = address % 64 === 0 && address > 0 && address + bytes <= heap.capacity - 64;
        expect(sound, `${bytes} bytes at ${address} of ${heap.capacity}`).toBe(true);
        for (let line = address; line < address + bytes; line += 64) {
          if (owner.has(line)) expect.fail(`line ${line} is allocated twice`);
          owner.set(line, address);
        }
        live.push([address, bytes]);
      }
    }
    for (const [address, bytes] of live) heap.release(address, bytes);
    expect(heap.inUse).toBe(0);
  });

  test("repeatedly allocating the same sizes does not use more memory", () => {
    const heap = new Heap();
    const round = () => {
      const blocks = [100, 5000, 70_000, 300_000].map((bytes) => [heap.allocate(bytes), bytes] as const);
      for (const [address, bytes] of blocks) heap.release(address, bytes);
    };
    round();
    const { capacity, highWater } = heap;
    for (let i = 0; i < 1000; i++) round();
    expect([heap.capacity, heap.highWater]).toEqual([capacity, highWater]);
  });

  test("small freed blocks are merged into a large one before memory grows", () => {
    const heap = new Heap({ memoryLimit: 8 * MB });
    const small = Array.from({ length: 100 }, () => heap.allocate(60_000));
    for (const address of small) heap.release(address, 60_000);
    expect(() => heap.release(heap.allocate(5 * MB), 5 * MB)).not.toThrow();
  });

  test("if memory cannot grow, an OutOfMemoryError states the sizes and nothing changes", () => {
    const heap = new Heap({ memoryLimit: 2 * MB });
    const first = heap.allocate(MB);
    heap.u8.fill(7, first, first + MB);
    const before = heap.inUse;
    let error: unknown;
    try {
      heap.allocate(4 * MB);
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect((error as OutOfMemoryError).message).toBe(
      `out of memory: requested ${4 * MB} bytes with ${before} in use; the limit is ${2 * MB}. ` +
        "Free tensors with tidy(() => …) or dispose(), use smaller batches, or raise init({ memoryLimit }).",
    );
    expect((error as OutOfMemoryError).limit).toBe(2 * MB);
    expect(heap.inUse).toBe(before);
    expect(heap.u8.subarray(first, first + MB).every((v) => v === 7)).toBe(true);
    const second = heap.allocate(MB / 2);
    expect(second).toBeGreaterThanOrEqual(first + MB);
  });

  test("views stay valid when memory grows", () => {
    const before = tensor([1, 2, 3]);
    const large = zeros([6 * MB]);
    expect(before.toArray()).toEqual([1, 2, 3]);
    large.dispose();
  });
});

describe("scopes", () => {
  test("tidy frees everything except results, nested or not, and tensors marked with keep()", () => {
    const before = memory().tensors;
    let inner!: Tensor;
    let kept!: Tensor;
    const { a, list } = tidy(() => {
      inner = tensor([1]);
      kept = tensor([2]).keep();
      return { a: tensor([3]), list: [tensor([4])] };
    });
    expect(inner.isDisposed).toBe(true);
    expect(kept.isDisposed || a.isDisposed || list[0]!.isDisposed).toBe(false);
    expect(memory().tensors).toBe(before + 3);
    for (const x of [kept, a, list[0]!]) x.dispose();
    expect(memory().tensors).toBe(before);
  });

  test("the outer scope owns the result of an inner scope", () => {
    let inner!: Tensor;
    tidy(() => {
      inner = tidy(() => tensor([1]));
      expect(inner.isDisposed).toBe(false);
    });
    expect(inner.isDisposed).toBe(true);
  });

  test("a scope that throws frees everything", () => {
    const before = memory().tensors;
    expect(() =>
      tidy(() => {
        tensor([1]);
        throw new Error("stop");
      }),
    ).toThrow("stop");
    expect(memory().tensors).toBe(before);
  });

  test("tidy rejects a promise, because the scope would end before the promise settles", () => {
    expect(() => tidy(async () => tensor([1]))).toThrow("tidy: f returned a promise, but tidy ends when f returns.");
  });

  test("the graph of a returned loss survives the scope and is freed with the loss", () => {
    tidy(() => tensor([1]).mul(3).square().mul(2)); // the first call caches constants
    const before = memory().bytes;
    const w = tensor([2], { requiresGrad: true });
    const loss = tidy(() => w.mul(3).square().sum());
    loss.backward();
    expect(w.grad!.item()).toBe(36);
    loss.dispose();
    w.grad!.dispose();
    w.dispose();
    expect(memory().bytes).toBe(before);
  });

  test("a long graph without a backward pass is freed with its result", () => {
    const w = tensor([1], { requiresGrad: true });
    const before = memory().bytes;
    const y = tidy(() => {
      let x: Tensor = w;
      for (let i = 0; i < 20_000; i++) x = x.tanh();
      return x;
    });
    expect(memory().bytes).toBeGreaterThanOrEqual(before + 20_000 * 64);
    y.dispose();
    expect(memory().bytes).toBe(before);
  });

  test("disposing a tensor twice is allowed", () => {
    const x = tensor([1]);
    x.dispose();
    x[Symbol.dispose]();
    expect(x.isDisposed).toBe(true);
  });

  test("the garbage collector frees unreferenced tensors", async () => {
    const before = memory().tensors;
    (() => {
      for (let i = 0; i < 100; i++) tensor([i]).mul(2);
    })();
    for (let i = 0; i < 20 && memory().tensors > before + 5; i++) {
      collectGarbage();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(memory().tensors).toBeLessThanOrEqual(before + 5);
  });
});

describe("long-running loops do not leak", () => {
  const network = () => new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Dropout(0.1), new nn.Linear(8, 1));

  test("10,000 eager training steps learn XOR in constant memory", () => {
    manualSeed(3);
    const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
    const optimizer = new optim.Adam(model.parameters(), { lr: 1e-2 });
    const x = tensor([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]);
    const y = tensor([[0], [1], [1], [0]]);
    const step = () => optimizer.minimize(() => losses.bceWithLogits(model.forward(x), y));
    let loss = step();
    for (let i = 0; i < 10; i++) {
      loss.dispose();
      loss = step();
    }
    const { bytes, tensors, highWater, capacity } = memory();
    for (let i = 0; i < 10_000; i++) {
      loss.dispose();
      loss = step();
    }
    expect(memory()).toEqual({ bytes, tensors, highWater, capacity });
    expect(loss.item()).toBeLessThan(0.01);
  });

  test("gradients, clipping, evaluation and double backward free everything that they allocate", () => {
    const model = network();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const x = randn([4, 2]);
    const work = () => {
      tidy(() => {
        const loss = model.forward(x).square().mean();
        loss.backward();
        optim.clipGradNorm(model.parameters(), 1);
        optim.clipGradValue(model.parameters(), 0.5);
        optimizer.step();
        optimizer.zeroGrad();
        noGrad(() => model.eval().forward(x));
        model.train();
        const penalty = grad((z: Tensor) => model.forward(z).sum())(x)
          .square()
          .sum();
        penalty.backward();
        optimizer.zeroGrad();
      });
    };
    for (let i = 0; i < 3; i++) work();
    const { bytes, tensors } = memory();
    for (let i = 0; i < 200; i++) work();
    expect(memory().bytes).toBe(bytes);
    expect(memory().tensors).toBe(tensors);
  });
});
