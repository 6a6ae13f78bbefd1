/** The picture at the top of the page: its race is computed, and the picture is small enough to inline into the HTML. */
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { drawTeaser, landscape, race } from "../../lab/page/teaser.ts";

const racers = race();
const html = drawTeaser();
const { value, gradient } = landscape();

test("all racers start at one point, descend, and end at different points", () => {
  const [start, ...others] = racers.map(({ path }) => path[0]!);
  for (const other of others) expect(other).toEqual(start);
  const ends = racers.map(({ path }) => value(path.at(-1)!));
  for (const end of ends) expect(end).toBeLessThan(value(start!) / 2);
  expect(new Set(ends.map((end) => end.toFixed(2))).size).toBe(racers.length);
});

test("the gradient is that of the formula", () => {
  for (const [x, y] of [
    [-3, 1],
    [0.5, -2],
  ] as const) {
    const across = 2 * (y - Math.sin(x));
    const [gx, gy] = gradient([x, y]);
    expect(gx).toBeCloseTo(0.1 * (x - 3) - across * Math.cos(x), 5);
    expect(gy).toBeCloseTo(across, 5);
  }
});

describe.each(["wide", "narrow"])("the %s drawing", (name) => {
  const svg = new RegExp(`<svg class="${name}".*?</svg>`, "s").exec(html)![0];
  const [left, top, width, height] = /viewBox="([^"]*)"/.exec(svg)![1]!.split(" ").map(Number) as number[];
  const pointsOf = (d: string): [number, number][] =>
    [...d.matchAll(/(-?[\d.]+),(-?[\d.]+)/g)].map((match) => [Number(match[1]), Number(match[2])]);
  const isInside = ([x, y]: readonly [number, number]): boolean =>
    x >= left! && x <= left! + width! && y >= top! && y <= top! + height!;

  test("shows every racer's whole path, and times each of its steps", () => {
    const trails = [...svg.matchAll(/linear\(([^)]*)\)[^>]*><path class="trail" pathLength="1" d="([^"]*)"/g)];
    expect(trails.length).toBe(racers.length);
    for (const [i, [, pace, d]] of trails.entries()) {
      const points = pointsOf(d!);
      expect(points.length).toBe(racers[i]!.path.length);
      expect(points.every(isInside)).toBe(true);
      const shares = pace!.split(",").map(Number);
      expect(shares.length).toBe(points.length);
      expect([shares[0], shares.at(-1)]).toEqual([0, 1]);
      expect([...shares].sort((a, b) => a - b)).toEqual(shares);
    }
  });

  test("has arrows that point downhill", () => {
    const slopes = /class="slopes" d="([^"]*)"/.exec(svg)![1]!;
    // An arrow is a line from its tail to its tip, and a second line for the head.
    const arrows = [...slopes.matchAll(/M([^M]*)M[^M]*/g)].map(([, shaft]) => shaft!);
    expect(arrows.length).toBeGreaterThan(40);
    const [, d] = /class="trail" pathLength="1" d="([^"]*)"/.exec(svg)!;
    // The first racer's path gives the scale from parameters to pixels, which is the same on both axes. (0, 0) is in the middle.
    const [[x0, y0], [x1, y1]] = [pointsOf(d!)[0]!, pointsOf(d!).at(-1)!];
    const [a, b] = [racers[0]!.path[0]!, racers[0]!.path.at(-1)!];
    const unit = Math.hypot(x1 - x0, y1 - y0) / Math.hypot(b[0] - a[0], b[1] - a[1]);
    const at = ([x, y]: readonly [number, number]): [number, number] => [
      (x - left! - width! / 2) / unit,
      -(y - top! - height! / 2) / unit,
    ];
    for (const one of arrows) {
      const [tail, tip] = pointsOf(one) as [[number, number], [number, number]];
      const middle = at([(tail[0] + tip[0]) / 2, (tail[1] + tip[1]) / 2]);
      const [gx, gy] = gradient(middle);
      const [p, q] = [at(tail), at(tip)];
      const cosine =
        (gx * (q[0] - p[0]) + gy * (q[1] - p[1])) / Math.hypot(gx, gy) / Math.hypot(q[0] - p[0], q[1] - p[1]);
      // Coordinates are rounded to tenths of a pixel.
      expect(cosine).toBeLessThan(-0.98);
    }
  });
});

test("the teaser takes at most 25 KB of the document", () => expect(gzipSync(html).length).toBeLessThan(25_000));
