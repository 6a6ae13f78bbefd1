/** Axis ticks are round numbers, neither too few nor too many, and their labels do not touch. */
import { expect, test } from "vitest";
import { horizontalTicks, integerTicks, linearTicks, logTicks, showTick, typeset } from "../../lab/scale.ts";

test.each([
  [2.3, 4],
  [2.3, 2.4],
  [0.9, 1.1],
  [3e-7, 5e-7],
  [1, 10],
  [1, 1e12],
  [4e-9, 7e3],
  [1000, 1001],
  [1, 64],
  [0.35, 1.4],
  [0.15, 300],
  [1.01, 999],
  [1e-3, 1e20],
])("logTicks: the axis from %d to %d has three to eight ticks, or at most four if it is short", (low, high) => {
  const few = logTicks(low, high, 4);
  expect(few.length).toBeGreaterThanOrEqual(3);
  expect(few.length).toBeLessThanOrEqual(4);
  const ticks = logTicks(low, high, 8);
  expect(ticks.length).toBeGreaterThanOrEqual(3);
  expect(ticks.length).toBeLessThanOrEqual(8);
  for (const tick of ticks) {
    expect(tick).toBeGreaterThanOrEqual(low * 0.999);
    expect(tick).toBeLessThanOrEqual(high * 1.001);
  }
  expect([...ticks].sort((a, b) => a - b)).toEqual(ticks);
});

test.each([
  ["-12", "−12"],
  ["1.544e-11 at layer 1", "1.544×10⁻¹¹ at layer 1"],
  ["-2e6 to 1e-7", "−2×10⁶ to 10⁻⁷"],
  ["11e3", "11×10³"],
  ["K-FAC, 3-4, type2e", "K-FAC, 3-4, type2e"],
])("typeset: %j becomes %j", (text, printed) => expect(typeset(text)).toBe(printed));

test("logTicks: powers of 10 times 1, 2 and 5, or times 1 and 3, or only powers, as finely as the count allows", () => {
  expect(logTicks(1, 64, 9)).toEqual([1, 2, 5, 10, 20, 50]);
  expect(logTicks(1, 64, 4)).toEqual([1, 3, 10, 30]);
  expect(logTicks(0.15, 300, 8)).toEqual([0.3, 1, 3, 10, 30, 100, 300]);
  expect(logTicks(0.15, 300, 4)).toEqual([1, 10, 100]);
  expect(logTicks(1, 1e20, 4)).toEqual([1, 1e6, 1e12, 1e18]);
});

test("linearTicks: round numbers from the first to the last", () => {
  expect(linearTicks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(linearTicks(3, 3, 5)).toEqual([3]);
});

test("integerTicks: only integers, however short the axis", () => {
  expect(integerTicks(1, 4, 12)).toEqual([1, 2, 3, 4]);
  expect(integerTicks(0, 130, 6)).toEqual([0, 50, 100]);
  expect(integerTicks(1, 1, 6)).toEqual([1]);
  expect(integerTicks(0.4, 1.6, 6)).toEqual([1]);
});

test.each([
  [-0.009, 0.009, 360],
  [-3, 5, 560],
  [0, 1e6, 290],
  [0.02, 0.98, 290],
  [0, 130, 290],
])("horizontalTicks: the labels from %d to %d do not touch on %d pixels", (low, high, room) => {
  const ticks = horizontalTicks([low, high], room, { label: "x" });
  expect(ticks.length).toBeGreaterThanOrEqual(3);
  const places = ticks.map((tick) => ((tick - low) / (high - low)) * room);
  const widths = ticks.map((tick) => 7.6 * showTick(tick).length);
  for (const [i, place] of places.slice(1).entries())
    expect(place - widths[i + 1]! / 2 - (places[i]! + widths[i]! / 2)).toBeGreaterThan(10);
});
