/** A slot and the resources of its request are released exactly once. */
import { expect, test, vi } from "vitest";
import { Slots } from "../../src/serverless/core/slots.ts";

test("a slot frees the request's resources once, on release, or immediately if the slot was reclaimed", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const slots = new Slots({ concurrency: 1, milliseconds: 10 });
  const late = slots.take();
  expect(() => slots.take()).toThrow("The limit of concurrent requests (1)");
  vi.setSystemTime(Date.now() + 21);
  const slot = slots.take();
  vi.useRealTimers();
  expect([late.isReleased, slot.isReleased]).toEqual([true, false]);
  const [first, second] = [vi.fn(), vi.fn()];
  late.onRelease = first;
  expect(first).toHaveBeenCalledOnce();
  slot.onRelease = second;
  expect(second).not.toHaveBeenCalled();
  for (const own of [late, slot, slot]) own.release();
  expect(first).toHaveBeenCalledOnce();
  expect(second).toHaveBeenCalledOnce();
});
