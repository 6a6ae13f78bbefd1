/** Places: given back once, with what was made for a request, whenever that comes. */
import { expect, test, vi } from "vitest";
import { Places } from "../../src/serverless/core/limits.ts";

test("what is made after its place was taken away is freed at once; else when it is given back, once", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const places = new Places({ concurrency: 1, milliseconds: 10 });
  const late = places.take();
  expect(() => places.take()).toThrow("1 requests are under way");
  vi.setSystemTime(Date.now() + 21);
  const place = places.take();
  vi.useRealTimers();
  expect([late.isLeft, place.isLeft]).toEqual([true, false]);
  const [first, second] = [vi.fn(), vi.fn()];
  late.onLeave = first;
  expect(first).toHaveBeenCalledOnce();
  place.onLeave = second;
  expect(second).not.toHaveBeenCalled();
  for (const own of [late, place, place]) own.leave();
  expect(first).toHaveBeenCalledOnce();
  expect(second).toHaveBeenCalledOnce();
});
