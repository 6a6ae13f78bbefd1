/** warmUp: the number of calls, memory, the time limit, and errors. */
import { memory, nn, type Tensor, warmUp, zeros } from "nabla";
import { expect, test } from "vitest";

test("calls the function until it no longer gets faster, and frees the tensors that it creates", async () => {
  const model = new nn.Linear(64, 64);
  let results: Tensor[] = [];
  const { tensors } = memory();
  let calls = 0;
  const warmed = await warmUp(
    () => {
      calls++;
      results = [model.forward(zeros([1, 64]))];
    },
    { milliseconds: 2000 },
  );
  expect(calls).toBe(warmed.calls);
  expect(calls).toBeGreaterThan(16);
  expect(warmed.fastest).toBeLessThanOrEqual(warmed.first);
  expect(memory().tensors).toBe(tensors);
  expect(results[0]!.isDisposed).toBe(true);
  model.dispose();
});

test("makes no more calls after the time limit", async () => {
  let calls = 0;
  const spin = (): void => {
    calls++;
    for (const end = performance.now() + 2; performance.now() < end; );
  };
  expect(await warmUp(spin, { milliseconds: 0 })).toMatchObject({ calls: 1 });
  expect(calls).toBe(1);
});

test("rethrows the function's error", async () => {
  await expect(
    warmUp(() => {
      throw new Error("no weights");
    }),
  ).rejects.toThrow("no weights");
});

test("rejects an asynchronous function", async () => {
  await expect(warmUp(async () => 1)).rejects.toThrow(/^warmUp: f must be synchronous\. Await/);
});
