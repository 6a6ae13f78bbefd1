/** Contours of a grid of values: their position and direction, and grids with values that are not finite. */
import { describe, expect, test } from "vitest";
import { contourPaths } from "../../lab/contours.ts";

describe("contours", () => {
  const places = [-2, -1, 0, 1, 2].flatMap((b) => [-2, -1, 0, 1, 2].map((a): [number, number] => [a, b]));
  const grid = (values: number[]) => ({ columns: 5, values, x: [0, 400], y: [400, 0] }) as const;
  /** The points of each closed curve in a path, in grid units. */
  const curves = (path = ""): [number, number][][] =>
    path
      .split("Z")
      .slice(0, -1)
      .map((curve) =>
        curve
          .slice(1)
          .split("L")
          .map((point) => point.split(",").map(Number))
          .map(([a, b]) => [a! / 100 - 2, 2 - b! / 100]),
      );

  test("they are interpolated linearly between neighbours", () => {
    const [inner, outer] = contourPaths(grid(places.map(([a, b]) => -Math.abs(a) - Math.abs(b))), [-0.5, -1.25]);
    expect(curves(inner).length).toBe(1);
    expect(curves(inner)[0]!.map(String).sort()).toEqual(["-0.5,0", "0,-0.5", "0,0.5", "0.5,0"]);
    for (const [a, b] of curves(outer)[0]!) expect(Math.abs(a) + Math.abs(b)).toBeCloseTo(1.25, 10);
  });

  test("a hole has the opposite direction, so that it is not filled", () => {
    const [path] = contourPaths(grid(places.map(([a, b]) => Math.hypot(a, b))), [0.5]);
    const areas = curves(path).map((curve) =>
      curve.reduce((sum, [a, b], i) => {
        const [c, d] = curve[(i + 1) % curve.length]!;
        return sum + (a * d - b * c) / 2;
      }, 0),
    );
    // One contour runs half a cell outside the border of the grid, and cuts off its corners. The other is a square with
    // diagonals of length 1.
    expect(areas.map((area) => Math.abs(area)).sort()).toEqual([0.5, 24.5]);
    expect(areas[0]! * areas[1]!).toBeLessThan(0);
  });

  test("opposite corners of a cell are connected if their mean is above the level", () => {
    const saddle = { columns: 2, values: [1, 0, 0, 1], x: [0, 1], y: [0, 1] } as const;
    expect(contourPaths(saddle, [0.4, 0.6]).map((path) => curves(path).length)).toEqual([1, 2]);
  });

  test("NaN and −∞ are outside, and ∞ is inside", () => {
    const values = places.map(([a, b]) => (a || b ? Number.NaN : Number.POSITIVE_INFINITY));
    const [path] = contourPaths(grid(values), [1]);
    expect(curves(path)[0]!.map(String).sort()).toEqual(["-0.5,0", "0,-0.5", "0,0.5", "0.5,0"]);
    expect(contourPaths(grid(values.map(() => Number.NEGATIVE_INFINITY)), [1])).toEqual([""]);
  });
});
