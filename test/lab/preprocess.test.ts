/** The playground converts drawings to the format of MNIST's digits. */
import { expect, test } from "vitest";
import { preprocess } from "../../lab/page/playground/preprocess.ts";

/** A drawing of a filled rectangle of width × height pixels whose upper left corner is (left, top). */
function rectangle(size: number, left: number, top: number, width: number, height: number) {
  const values = Float32Array.from({ length: size * size }, (_, i) => {
    const [x, y] = [i % size, Math.floor(i / size)];
    return Number(x >= left && x < left + width && y >= top && y < top + height);
  });
  return { width: size, height: size, values };
}

/** The ink's bounding box ([left, top, right, bottom], in pixels), its mass and its centre of mass. */
function measure(pixels: Float32Array) {
  const inked = [...pixels.entries()].filter(([, value]) => value > 1e-3);
  const [xs, ys] = [inked.map(([i]) => i % 28), inked.map(([i]) => Math.floor(i / 28))];
  const mass = inked.reduce((sum, [, value]) => sum + value, 0);
  const mean = (of: number[]): number => inked.reduce((sum, [, value], k) => sum + value * (of[k]! + 0.5), 0) / mass;
  return {
    box: [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)],
    mass,
    centre: [mean(xs), mean(ys)],
  };
}

test("an empty drawing is not a digit", () => {
  expect(preprocess(rectangle(280, 0, 0, 0, 0))).toBeUndefined();
});

test("a drawing at any position is scaled to 20 pixels on its longer side, and centred in 28 × 28 pixels", () => {
  for (const [left, top, scale] of [
    [0, 0, 1],
    [130, 60, 5],
    [200, 10, 1],
  ] as const) {
    const { box, mass, centre } = measure(preprocess(rectangle(280, left, top, 20 * scale, 40 * scale))!);
    expect(box).toEqual([9, 4, 18, 23]);
    expect(mass).toBeCloseTo(10 * 20, 3);
    expect(centre).toEqual([expect.closeTo(14, 3), expect.closeTo(14, 3)]);
  }
});

test("the centre of mass is within half a pixel of the middle", () => {
  const ink = rectangle(280, 40, 40, 200, 200);
  // Keep only a triangle, which has more ink at the bottom.
  ink.values.forEach((value, i) => {
    if (value && (i % 280) - 40 > Math.floor(i / 280) - 40) ink.values[i] = 0;
  });
  const { centre, box } = measure(preprocess(ink)!);
  for (const place of centre) expect(Math.abs(place - 14)).toBeLessThanOrEqual(0.5);
  expect(box[3]! - box[1]!).toBe(19);
});

test("half-covered pixels are half grey", () => {
  // A drawing of 200 × 195 pixels is scaled by 0.1 to a height of 19.5.
  const pixels = preprocess(rectangle(280, 10, 20, 200, 195))!;
  expect(measure(pixels).mass).toBeCloseTo(20 * 19.5, 2);
  expect(Math.min(...pixels.filter((v) => v > 1e-3))).toBeLessThan(0.9);
});
