/** The allocator: all free memory can be allocated again, after any sequence of calls. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { OutOfMemoryError } from "../../src/runtime/errors.ts";
import { Heap } from "../../src/runtime/heap.ts";
import { runs } from "../support/runs.ts";

const MB = 1 << 20;
const BASE = 4096;
const LAST = 64;

test("a free block is merged with the unused memory after it", () => {
  const heap = new Heap({ memoryLimit: 100e6 });
  heap.release(heap.allocate(60e6), 60e6);
  heap.release(heap.allocate(68e6), 68e6);
  heap.release(heap.allocate(99.9e6), 99.9e6);
  expect(heap.inUse).toBe(0);
});

test("a freed block is merged with free blocks below and above it", () => {
  const sizes = [3 * MB, 2 * MB, 4 * MB];
  // After their release, in any order, the three blocks form one free block, although the block after them is in use.
  for (const order of [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ]) {
    // biome-ignore format: a table
    const heap = new Heap({ memoryLimit: 16 * MB });
    const addresses = sizes.map((bytes) => heap.allocate(bytes));
    heap.allocate(6 * MB);
    for (const i of order) heap.release(addresses[i]!, sizes[i]!);
    expect(heap.allocate(9 * MB), String(order)).toBe(addresses[0]);
  }
});

test("small free blocks merge into a large one, and a large block is split into small ones", () => {
  const heap = new Heap({ memoryLimit: 2 * MB });
  for (const bytes of [10, 700, 5000, 30_000, 2 * MB - BASE - LAST]) {
    const addresses: number[] = [];
    try {
      for (;;) addresses.push(heap.allocate(bytes));
    } catch (error) {
      expect(error).toBeInstanceOf(OutOfMemoryError);
    }
    // Less than one block of the 2 MiB is unused.
    expect(heap.inUse + bytes * 1.125 + 64).toBeGreaterThan(2 * MB - BASE - LAST);
    for (const address of addresses) heap.release(address, bytes);
  }
  expect(heap.inUse).toBe(0);
});

test("with the default limit, blocks of up to 3.99 GiB can be allocated in sequence", () => {
  // Only addresses matter, so simulate a memory that grows instead of allocating 4 GiB.
  const heap = new Heap();
  let bytes = heap.capacity;
  Object.defineProperty(heap, "capacity", { get: () => bytes });
  heap.memory = { grow: (pages: number) => void (bytes += pages * 65536), buffer: new ArrayBuffer(0) } as never;
  const GiB = 2 ** 30;
  for (const size of [1, 1.5, 1.99, 2.01, 2.5, 3, 3.5, 3.75, 3.99]) {
    const address = heap.allocate(size * GiB);
    expect(address + size * GiB).toBeLessThanOrEqual(4 * GiB);
    heap.release(address, size * GiB);
  }
});

test("after any calls, a request succeeds if and only if enough contiguous memory is free", () => {
  const limit = 4 * MB;
  const size = fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 1, max: 2000 }) },
    { weight: 2, arbitrary: fc.integer({ min: 2000, max: 40_000 }) },
    { weight: 3, arbitrary: fc.integer({ min: 40_000, max: 1_500_000 }) },
  );
  const step = fc.record({ release: fc.boolean(), pick: fc.nat(), bytes: size });
  const property = fc.property(fc.array(step, { minLength: 1, maxLength: 120 }), (steps) => {
    const heap = new Heap({ memoryLimit: limit });
    const blocks: { address: number; bytes: number; taken: number }[] = [];
    /** The longest free range, computed from the used blocks. */
    const longest = (): number => {
      let [from, most] = [BASE, 0];
      for (const { address, taken } of [...blocks].sort((a, b) => a.address - b.address)) {
        expect(address, "blocks overlap").toBeGreaterThanOrEqual(from);
        most = Math.max(most, address - from);
        from = address + taken;
      }
      return Math.max(most, limit - LAST - from);
    };
    for (const { release, pick, bytes } of steps) {
      if (release && blocks.length) {
        const [block] = blocks.splice(pick % blocks.length, 1);
        heap.release(block!.address, block!.bytes);
        continue;
      }
      const before = heap.inUse;
      const free = longest();
      try {
        const address = heap.allocate(bytes);
        const taken = heap.inUse - before;
        expect(taken).toBeGreaterThanOrEqual(bytes);
        expect(taken).toBeLessThanOrEqual(Math.max(64, bytes * 1.125 + 64));
        blocks.push({ address, bytes, taken });
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        expect(heap.inUse).toBe(before);
        // The size of a small block is rounded up by at most an eighth.
        expect(bytes < 32768 ? Math.max(64, bytes * 1.125 + 64) : Math.ceil(bytes / 64) * 64).toBeGreaterThan(free);
      }
    }
    for (const { address, bytes } of blocks.splice(0)) heap.release(address, bytes);
    expect(heap.inUse).toBe(0);
    expect(heap.allocate(limit - BASE - LAST)).toBe(BASE);
  });
  fc.assert(property, { numRuns: runs(150), seed: 15 });
});

test("repeated allocation and release of the same sizes needs no more memory", () => {
  const heap = new Heap();
  const sizes = [64, 3000, 31_000, 33_000, 400_000, 1_600_000];
  const capacities: number[] = [];
  for (let i = 0; i < 3000; i++) {
    const order = sizes.map((_, k) => sizes[(k * (1 + (i % 5)) + i) % sizes.length]!);
    const blocks = order.map((bytes) => [heap.allocate(bytes), bytes] as const);
    for (const [address, bytes] of i % 2 ? blocks : blocks.reverse()) heap.release(address, bytes);
    capacities.push(heap.capacity);
  }
  expect(heap.capacity).toBe(capacities[600]);
  expect(heap.capacity).toBeLessThan(1.5 * heap.highWater);
});

test("the error shows the limit as it was passed", () => {
  for (const limit of [100e6, 3_000_001, 65_536 * 70]) {
    const heap = new Heap({ memoryLimit: limit });
    expect(() => heap.allocate(2 * limit)).toThrow(
      `requested ${2 * limit} bytes with 0 in use; the limit is ${limit}.`,
    );
    expect(heap.limit).toBe(limit);
  }
});

test("the error recommends a higher limit only if that is possible", () => {
  const small = new Heap({ memoryLimit: MB });
  expect(() => small.allocate(2 * MB)).toThrow("use smaller batches, or raise init({ memoryLimit }).");
  const whole = new Heap();
  expect(() => whole.allocate(2 ** 32)).toThrow(/use smaller batches\. WebAssembly cannot address more\.$/);
});
