/** Plots: ticks, drawing order, equal axes, arrows, shades and growing series. */
import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { drawPlot } from "../../lab/draw.ts";
import type { Plot } from "../../lab/experiment.ts";
import { colourOf, drawingOrder, fieldLevels, linearTicks, logTicks } from "../../lab/scale.ts";

const { document } = parseHTML("<!doctype html><html><body></body></html>") as unknown as { document: Document }; // linkedom's own types are a subset
const line = [
  [0, 0],
  [1, 2],
  [2, 1],
] as const;
const plot = (more: Partial<Plot>): Plot => ({
  title: "a plot",
  x: { label: "x" },
  y: { label: "y" },
  series: [],
  ...more,
});
const draw = (of: Plot, more = {}) => drawPlot(document, of, { width: 600, height: 400, ...more });

test.each([
  [2.3, 4],
  [2.3, 2.4],
  [0.9, 1.1],
  [3e-7, 5e-7],
  [1, 10],
  [1, 1e12],
  [4e-9, 7e3],
  [1000, 1001],
])("logTicks: the axis from %d to %d has two to nine numbers inside it", (low, high) => {
  const ticks = logTicks(low, high, 6);
  expect(ticks.length).toBeGreaterThanOrEqual(2);
  expect(ticks.length).toBeLessThanOrEqual(9);
  for (const tick of ticks) {
    expect(tick).toBeGreaterThanOrEqual(low * 0.999);
    expect(tick).toBeLessThanOrEqual(high * 1.001);
  }
  expect([...ticks].sort((a, b) => a - b)).toEqual(ticks);
});

test("linearTicks: round numbers from the first to the last", () => {
  expect(linearTicks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(linearTicks(3, 3, 5)).toEqual([3]);
});

test("theory is drawn over the curve that it predicts, and below dots and arrows", () => {
  const styles = ["arrow", "theory", undefined, "dots", "bars", "reference"] as const;
  const order = drawingOrder(styles.map((style) => ({ name: "", points: [], ...(style && { style }) })));
  expect(order.map((i) => styles[i] ?? "line")).toEqual(["bars", "reference", "line", "theory", "dots", "arrow"]);
});

test("a series has the colour of the series to which it belongs, and no entry in the legend", () => {
  const series = [
    { name: "first", points: line },
    { name: "first, again", points: line, sameAs: 0 },
    { name: "second", points: line },
  ];
  expect(colourOf(series, 1)).toBe(colourOf(series, 0));
  expect(colourOf(series, 2)).not.toBe(colourOf(series, 0));
  const legend = draw(plot({ series })).textContent;
  expect(legend).toContain("second");
  expect(legend).not.toContain("again");
});

describe("equal axes", () => {
  test.each([
    [400, 300],
    [900, 250],
  ])("one unit has the same length on both axes in %d × %d pixels", (width, height) => {
    const drawing = draw(
      plot({
        equal: true,
        series: [
          {
            name: "s",
            points: [
              [0, 0],
              [1, 5],
            ],
          },
        ],
      }),
      { width, height },
    );
    const [x, y] = [drawing.scale("x")!, drawing.scale("y")!];
    const across = (x.apply(1) as number) - (x.apply(0) as number);
    const up = (y.apply(0) as number) - (y.apply(1) as number);
    expect(across / up).toBeCloseTo(1, 6);
    expect(Number(drawing.getAttribute("height"))).toBeLessThanOrEqual(height);
  });

  test("without them, the plot fills its size, with its legend", () => {
    const two = [
      { name: "a", points: line },
      { name: "b", points: line },
    ];
    expect(draw(plot({ series: two })).getAttribute("height")).toBe("400");
  });
});

test("an arrow has its head at the second point", () => {
  const drawing = draw(
    plot({
      equal: true,
      series: [
        {
          name: "∇L",
          style: "arrow",
          points: [
            [0, 0],
            [1, 1],
          ],
        },
      ],
    }),
  );
  const path = drawing.querySelector('[data-series="0"] path')!.getAttribute("d")!;
  const [x, y] = [drawing.scale("x")!.apply(1) as number, drawing.scale("y")!.apply(1) as number];
  const points = [...path.matchAll(/(-?[\d.]+),(-?[\d.]+)/g)].map((match) => [Number(match[1]), Number(match[2])]);
  expect(Math.min(...points.map(([a, b]) => Math.hypot(a! - x, b! - y)))).toBeLessThan(1);
});

test("a series of arrows has one arrow per pair of points", () => {
  const points = [
    [0, 0],
    [1, 1],
    [2, 2],
    [2, 1],
  ] as const;
  const drawing = draw(plot({ series: [{ name: "pulls", style: "arrow", points }] }));
  const arrows = [...drawing.querySelectorAll('[data-series="0"] path')].map((path) => path.getAttribute("d")!);
  expect(arrows.length).toBe(2);
  const [x, y] = [drawing.scale("x")!.apply(2) as number, drawing.scale("y")!.apply(2) as number];
  const [, startX, startY] = /M(-?[\d.]+),(-?[\d.]+)/.exec(arrows[1]!)!;
  expect(Math.hypot(Number(startX) - x, Number(startY) - y)).toBeLessThan(1);
});

test("a growing series is drawn up to a point, on the axes of the whole series", () => {
  const of = plot({ series: [{ name: "loss", points: line, grows: true }] });
  const [whole, part] = [draw(of), draw(of, { upTo: 2 })];
  const count = (drawing: Element): number =>
    drawing.querySelector('[data-series="0"]')!.innerHTML.match(/-?[\d.]+,-?[\d.]+/g)!.length;
  expect([count(whole), count(part)]).toEqual([3, 2]);
  expect(part.scale("y")!.domain).toEqual(whole.scale("y")!.domain);
});

test("the shades of a field are equally spaced, and plots to compare can share their range", () => {
  const field = { x: [0, 1], y: [0, 1], columns: 2, values: [0, 1, 2, 8] } as const;
  expect(fieldLevels(field, 4)).toEqual([1, 3, 5, 7]);
  expect(fieldLevels({ ...field, range: [0, 80] }, 4)).toEqual([10, 30, 50, 70]);
  expect(draw(plot({ field: { ...field, label: "energy" } })).textContent).toContain("energy: 0.29");
});
