/** A program that imports a part of the kernels after nabla has started, as pages with several chunks do, can use it at once. */
import { expect, test, vi } from "vitest";

const PARTS = ["image", "norm", "quantized", "sequence"];

test.each([1, 2])("kernels imported after the start run on the same tensors, with %i threads", async (threads) => {
  vi.resetModules();
  for (const part of PARTS) vi.doMock(`../../src/runtime/parts/${part}.ts`, () => ({}));
  const { conv2d, dispose, info, init, layerNorm, ones } = await import("../../src/index.ts");
  await init({ threads });
  expect(info().threads).toBe(threads);
  const [x, w] = [ones([1, 3, 3, 2]), ones([1, 2, 2, 2])];
  expect(x.sum().item()).toBe(18);
  expect(() => conv2d(x, w)).toThrow(WebAssembly.RuntimeError);

  for (const part of PARTS) {
    vi.doUnmock(`../../src/runtime/parts/${part}.ts`);
    await import(`../../src/runtime/parts/${part}.ts`);
  }
  expect(conv2d(x, w).toArray()).toEqual([
    [
      [[8], [8]],
      [[8], [8]],
    ],
  ]);
  expect(layerNorm(x, 2).sum().item()).toBe(0);
  expect(info().threads).toBe(threads);
  const large = ones([256, 256]);
  expect(large.matmul(large).mean().item()).toBe(256);
  const [images, kernel] = [ones([4, 32, 32, 16]), ones([16, 3, 3, 16])];
  expect(conv2d(images, kernel).mean().item()).toBe(144);
  await dispose();
});

test("parts that are imported shortly after each other compile once each and leave all workers alive", async () => {
  vi.resetModules();
  for (const part of PARTS) vi.doMock(`../../src/runtime/parts/${part}.ts`, () => ({}));
  const { dispose, info, init, layerNorm, ones, scaledDotProductAttention } = await import("../../src/index.ts");
  await init({ threads: 3 });
  const { reason } = info();
  const x = ones([1, 1, 4, 8]);
  const { Module } = WebAssembly;
  let compiled = 0;
  WebAssembly.Module = class extends Module {
    constructor(bytes: BufferSource) {
      super(bytes);
      compiled++;
    }
  };
  const load = async (part: string): Promise<void> => {
    vi.doUnmock(`../../src/runtime/parts/${part}.ts`);
    await import(`../../src/runtime/parts/${part}.ts`);
  };
  try {
    await load("norm");
    expect(layerNorm(x, 8).sum().item()).toBe(0);
    await load("sequence");
    expect(scaledDotProductAttention(x, x, x).sum().item()).toBe(32);
  } finally {
    WebAssembly.Module = Module;
  }
  expect(compiled).toBe(2);
  // Workers take up to a second to start, and as long to report that they were stopped.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  expect(info()).toMatchObject({ threads: 3, reason });
  await dispose();
});
