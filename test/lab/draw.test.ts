/** Plots: axes, drawing order, equal axes, arrows, shades, growing series, and drawings that are reused. */
import { readFileSync } from "node:fs";
import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { drawPlot } from "../../lab/draw.ts";
import type { Plot, Series } from "../../lab/experiment.ts";
import { COLOURS, colourOf, drawingOrder, fieldLevels } from "../../lab/scale.ts";

const { document } = parseHTML("<!doctype html><html><body></body></html>") as unknown as { document: Document }; // linkedom declares only part of Document
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

test("a logarithmic axis has a number at every tick", () => {
  const svg = draw(
    plot({
      x: { label: "x", scale: "log" },
      y: { label: "y", scale: "log" },
      series: [
        {
          name: "a",
          points: [
            [1, 0.01],
            [64, 300],
          ],
        },
      ],
    }),
  );
  const numbers = [...svg.querySelectorAll("text")].map(({ textContent }) => textContent);
  for (const number of ["1", "2", "5", "10", "20", "50", "0.01", "0.03", "100"]) expect(numbers).toContain(number);
});

test("an integer axis shows only integers, whether it is linear or logarithmic", () => {
  const points = [
    [1, 2],
    [2, 3],
    [4, 9],
  ] as const;
  for (const scale of ["linear", "log"] as const) {
    const svg = draw(plot({ x: { label: "epoch", scale, integer: true }, series: [{ name: "a", points }] }));
    const onX = [...svg.querySelectorAll("text")].filter((text) => !text.closest("[text-anchor=end]"));
    const labels = onX.map(({ textContent }) => Number(textContent)).filter(Number.isFinite);
    expect(labels.filter(Number.isInteger)).toEqual(labels);
    expect(labels).toEqual(expect.arrayContaining([1, 2, 4]));
  }
});

test("an axis with zero starts at zero, even if the series grows", () => {
  const points = [
    [1, 0.2],
    [2, 0.5],
  ] as const;
  for (const grows of [false, true]) {
    const svg = draw(plot({ y: { label: "fraction", zero: true }, series: [{ name: "a", points, grows }] }));
    expect([...svg.scale("y")!.domain!][0]).toBe(0);
  }
});

test("theory is drawn over the curve that it predicts, and below dots and arrows", () => {
  const styles = ["arrow", "theory", undefined, "dots", "bars", "reference"] as const;
  const order = drawingOrder(styles.map((style) => ({ name: "", points: [], ...(style && { style }) })));
  expect(order.map((i) => styles[i] ?? "line")).toEqual(["bars", "reference", "line", "theory", "dots", "arrow"]);
});

test("a series with sameAs has the colour of that series, and an entry in the legend only if it is dashed", () => {
  const series = [
    { name: "first", points: line },
    { name: "first, again", points: line, sameAs: 0 },
    { name: "first, predicted", points: line, sameAs: 0, style: "theory" as const },
    { name: "second", points: line },
  ];
  expect(colourOf(series, 1)).toBe(colourOf(series, 0));
  expect(colourOf(series, 3)).not.toBe(colourOf(series, 0));
  const legend = draw(plot({ series })).textContent;
  expect(legend).toContain("second");
  expect(legend).not.toContain("again");
  expect(legend).toContain("predicted");
});

describe("the colours of series on the page", () => {
  const sheet = readFileSync(new URL("../../lab/view/view.css", import.meta.url), "utf8");
  const pairOf = (name: string): string[] =>
    new RegExp(`--${name}: light-dark\\((#\\w{6}), (#\\w{6})\\);`).exec(sheet)!.slice(1);
  const channels = (colour: string): number[] => [1, 3, 5].map((i) => Number.parseInt(colour.slice(i, i + 2), 16));
  /** The relative luminance as WCAG 2 defines it. */
  const luminance = (rgb: readonly number[]): number =>
    rgb
      .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i]!, 0);
  const contrast = (a: readonly number[], b: readonly number[]): number => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light! + 0.05) / (dark! + 0.05);
  };

  test("in the light theme, they are the colours of drawings outside the page", () => {
    expect(COLOURS.map((_, i) => pairOf(`series-${i + 1}`)[0])).toEqual([...COLOURS]);
  });

  test.each(["light", "dark"])("they stand out from the background in the %s theme", (theme) => {
    const of = (name: string): number[] => channels(pairOf(name)[theme === "dark" ? 1 : 0]!);
    for (const i of COLOURS.keys()) expect(contrast(of(`series-${i + 1}`), of("surface"))).toBeGreaterThanOrEqual(3);
  });

  test("on a dark page, they stand out from all shades of a field", () => {
    const [surface, shade] = [channels(pairOf("surface")[1]!), channels(pairOf("shade")[1]!)];
    const drawn = draw(plot({ field: { x: [0, 1], y: [0, 1], columns: 2, values: [0, 1, 2, 3] } }));
    const darkest = Math.max(
      ...[...drawn.querySelectorAll("rect[opacity]")].map((one) => Number(one.getAttribute("opacity"))),
    );
    expect(darkest).toBeGreaterThan(0.3);
    const mixed = surface.map((c, i) => c + darkest * (shade[i]! - c));
    for (const i of COLOURS.keys())
      expect(contrast(channels(pairOf(`series-${i + 1}`)[1]!), mixed)).toBeGreaterThanOrEqual(3);
  });

  test("a drawing uses them for curves and the legend, with a fallback outside the page", () => {
    const two = [
      { name: "a", points: line },
      { name: "b", points: line },
    ];
    const colours = [...draw(plot({ series: two })).querySelectorAll("[stroke^=var]")].map((one) =>
      one.getAttribute("stroke"),
    );
    const [first, second] = [`var(--series-1, ${COLOURS[0]})`, `var(--series-2, ${COLOURS[1]})`];
    expect(colours).toEqual([first, second, first, second]);
  });
});

test("the dots of a series are one path in its colour, even over a field", () => {
  const series: Series[] = [{ name: "s", points: line, style: "dots" }];
  const field = { x: [0, 2], y: [0, 2], columns: 2, values: [0, 1, 2, 3] } as const;
  for (const drawing of [draw(plot({ series })), draw(plot({ series, field }))]) {
    const paths = [...drawing.querySelectorAll("[data-series] path")];
    expect(paths.map((path) => path.getAttribute("fill"))).toEqual([`var(--series-1, ${COLOURS[0]})`]);
    expect(paths[0]!.getAttribute("d")!.split("M").length - 1).toBe(line.length);
  }
});

test("the title of the horizontal axis ends above the edge of the picture", () => {
  const drawing = draw(plot({ x: { label: "gjpqy" }, series: [{ name: "s", points: line }] }));
  const title = [...drawing.querySelectorAll("text")].find((one) => one.textContent!.startsWith("gjpqy"))!;
  let baseline = 0;
  for (let part: Element | null = title; part; part = part.parentElement)
    baseline += Number(/translate\([^,]*,([^)]*)\)/.exec(part.getAttribute("transform") ?? "")?.[1] ?? 0);
  // Descenders of 12-pixel text reach 3 to 4 pixels below the baseline.
  expect(baseline).toBeGreaterThan(380);
  expect(baseline).toBeLessThanOrEqual(400 - 5);
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

  test("without equal axes, the plot and its legend together have the given size", () => {
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
  const legend = draw(plot({ field: { ...field, label: "energy" } })).textContent;
  expect(legend).toContain("energy: 0");
  expect(legend).toMatch(/8$/);
});

describe("a drawing that is reused", () => {
  const field = { x: [0, 2], y: [0, 2], columns: 3, values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] } as const;
  const of = (more: Partial<Plot> = {}, end = 1): Plot =>
    plot({
      field,
      series: [
        {
          name: "path",
          style: "path",
          points: [
            [0, 0],
            [1, end],
          ],
        },
      ],
      ...more,
    });
  const first = () => draw(of());
  /** What a drawing shows, without ids that differ between drawings. */
  const shown = (drawing: Element): string => drawing.outerHTML.replaceAll(/ ?(id|clip-path)="[^"]*"/g, "");

  test("keeps its field if only the series change", () => {
    const latest = first();
    const [contours, before] = [latest.querySelector(".field")!, shown(latest)];
    const changed = draw(of({}, 2), { latest });
    expect(changed).toBe(latest);
    expect(changed.querySelector(".field")).toBe(contours);
    expect(shown(changed)).not.toBe(before);
    expect(shown(changed)).toBe(shown(draw(of({}, 2))));
  });

  test("changes its legend with the names of the series", () => {
    const renamed = of({ series: [{ name: "another", points: line }] });
    const latest = first();
    const changed = draw(renamed, { latest });
    expect(changed).toBe(latest);
    expect(shown(changed)).toBe(shown(draw(renamed)));
    expect(changed.textContent).not.toContain("path");
  });

  test.each<[string, Partial<Plot>, object]>([
    ["one value of the field", { field: { ...field, values: [...field.values.slice(0, 11), 11.001] } }, {}],
    [
      "a value that is no longer a number",
      { field: { ...field, values: [...field.values.slice(0, 11), Number.NaN] } },
      {},
    ],
    ["the shape of the grid", { field: { ...field, columns: 4 } }, {}],
    ["the range of the shades", { field: { ...field, range: [0, 80] } }, {}],
    ["the label of the field", { field: { ...field, label: "energy" } }, {}],
    ["the ends of an axis", { field: { ...field, x: [0, 3] } }, {}],
    ["the label of an axis", { x: { label: "θ" } }, {}],
    ["the size", {}, { width: 500 }],
    ["the height", {}, { height: 300 }],
    ["equal axes", { equal: true }, {}],
  ])("is replaced if %s changes", (_, more, size) => {
    const latest = first();
    const before = shown(latest);
    const changed = draw(of(more), { latest, ...size });
    expect(changed).not.toBe(latest);
    expect(shown(changed)).toBe(shown(draw(of(more), size)));
    expect(shown(changed)).not.toBe(before);
    expect(shown(latest)).toBe(before);
  });

  test("is replaced if it has no field", () => {
    const latest = draw(of({ field: undefined as never }));
    expect(draw(of(), { latest })).not.toBe(latest);
  });
});
