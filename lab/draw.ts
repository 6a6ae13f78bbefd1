/**
 * Draws a Plot as SVG with Observable Plot, in a browser's document or in linkedom's. Axes use the text colour. The
 * page's style sheet sets series colours for each theme. Outside the page, drawings use the colours in scale.ts, which
 * work on any background.
 */
import * as marks from "@observablehq/plot";
import type { Axis, Plot, Series } from "./experiment.ts";
import { drawField, drawShades, type Field, sameField } from "./field.ts";
import {
  type BarPlace,
  barPlace,
  barTicks,
  canShow,
  drawingOrder,
  extent,
  horizontalTicks,
  integerTicks,
  logTicks,
  paintOf,
  showTick,
  typeset,
} from "./scale.ts";
import { addSvg } from "./svg.ts";

type Mark = marks.Markish;
type Point = Series["points"][number];

export interface DrawOptions {
  readonly width: number;
  /** The height, including the legend. Plots with equal axes may be smaller. */
  readonly height: number;
  /** The number of points to draw of each growing series. Default: all. The axes always fit all points. */
  readonly upTo?: number;
  /**
   * The latest drawing, if it is no longer needed. If the axes and the field have not changed, it is updated in place
   * and returned.
   */
  readonly latest?: Drawing | undefined;
}
const ROW = 20;
/**
 * The marks of series i have the description `series i`. After Plot has drawn the marks, the attribute data-series
 * replaces this description.
 */
const SERIES = "series ";

/** A drawn plot, and its scales from data to pixels and back. */
export type Drawing = SVGSVGElement & Pick<marks.Plot, "scale">;

/** The margins around a plot, which hold the axes, in pixels. */
const MARGIN = { top: 28, right: 20, bottom: 44, left: 58 };
/**
 * The distance between the horizontal axis and its title, chosen so that the title's descenders are inside the picture.
 */
const TITLE = MARGIN.bottom - 7;
/** The smallest distance between the numbers on an axis, in pixels. */
const TICK = { x: 66, y: 30 };

/**
 * The plot's height and side margins, and the domains of the axes; a domain is undefined if it follows from the series.
 */
function frameOf(plot: Plot, width: number, height: number) {
  const { left, right } = MARGIN;
  if (!plot.equal) return { height, marginLeft: left, marginRight: right, x: plot.field?.x, y: plot.field?.y };
  const x = plot.field?.x ?? padded(extent(plot.series, 0));
  const y = plot.field?.y ?? padded(extent(plot.series, 1));
  const [wide, high] = [width - left - right, height - MARGIN.top - MARGIN.bottom];
  /** The length of one pixel in units of the axes. */
  const unit = Math.max((x[1] - x[0]) / wide, (y[1] - y[0]) / high);
  const spare = wide - (x[1] - x[0]) / unit;
  return {
    height: MARGIN.top + MARGIN.bottom + (y[1] - y[0]) / unit,
    marginLeft: left + spare / 2,
    marginRight: right + spare / 2,
    x,
    y,
  };
}

/** Extends the range by a twentieth on each side. */
function padded(range: readonly [number, number] | undefined): readonly [number, number] {
  const [low, high] = range ?? [0, 1];
  const more = (high - low) / 20 || 0.5;
  return [low - more, high + more];
}

/** Draws a plot, with its legend above the axes, and a name for screen readers. */
export function drawPlot(document: Document, plot: Plot, options: DrawOptions): Drawing {
  const { width, upTo, latest } = options;
  const all = plot.series.map((series) => ({ ...series, points: series.points.filter((p) => canShow(p, plot)) }));
  const shown =
    upTo === undefined ? all : all.map((one) => (one.grows ? { ...one, points: one.points.slice(0, upTo) } : one));
  const legend = layOut(plot, width);
  const { x, y, ...size } = frameOf({ ...plot, series: all }, width, options.height - legend.height);
  const [wide, high] = [width - size.marginLeft - size.marginRight, size.height - MARGIN.top - MARGIN.bottom];
  const frame: marks.PlotOptions = {
    width,
    ...size,
    marginTop: MARGIN.top,
    marginBottom: MARGIN.bottom,
    style: { fontSize: "12px", fontFamily: "system-ui, sans-serif", overflow: "visible" },
    x: { ...scale(plot.x, all, 0, wide, x), labelOffset: TITLE },
    y: scale(plot.y, all, 1, high, y),
  };
  const series = drawingOrder(shown).flatMap((i) =>
    drawSeries(shown[i]!, i, paintOf(shown, i), barPlace(shown, i), plot, width),
  );
  let svg: Drawing;
  if (plot.field) svg = drawLayers(document, frame, plot, plot.field, series, legend, latest);
  else {
    const isEmpty = !all.some(({ points }) => points.length);
    const note = marks.text(["These axes cannot show any of the points"], { frameAnchor: "middle" });
    svg = draw({ ...frame, document, marks: isEmpty ? [...series, note] : series });
    drawLegend(svg, plot, legend);
  }
  const attributes = {
    role: "img",
    "aria-label": plot.title,
    "aria-description": `${plot.y.label} by ${plot.x.label}: ${plot.series.map(({ name }) => name).join(", ")}`,
    "data-drawn": [...shown.keys()].filter((i) => shown[i]!.points.length).join(" "),
    height: size.height + legend.height,
    viewBox: `0 ${-legend.height} ${width} ${size.height + legend.height}`,
  };
  for (const [name, value] of Object.entries(attributes)) svg.setAttribute(name, String(value));
  return svg;
}

/** A drawing's parts, and the inputs that they were drawn from. */
interface Layers {
  readonly axes: string;
  readonly field: Field;
  readonly series: Element;
  readonly names: string;
  readonly legend: Element;
}
const layersOf = new WeakMap<Drawing, Layers>();

/**
 * Draws series over a field. Redraws only the parts whose inputs differ from the latest drawing's, because axes and
 * contours take the most time.
 */
function drawLayers(
  document: Document,
  frame: marks.PlotOptions,
  plot: Plot,
  field: Field,
  series: readonly Mark[],
  legend: Legend,
  latest: Drawing | undefined,
): Drawing {
  const axes = JSON.stringify([frame, legend.height]);
  const names = JSON.stringify(legend.entries.map(({ series: { name, style } }) => [name, style]));
  let layers = latest && layersOf.get(latest);
  let svg = latest;
  if (!svg || layers?.axes !== axes || !sameField(layers.field, field)) {
    const { width, height, marginLeft, marginRight } = frame as Required<marks.PlotOptions>;
    const sides = {
      left: marginLeft,
      right: width - marginRight,
      top: MARGIN.top,
      bottom: height - MARGIN.bottom,
    };
    svg = draw({ ...frame, document, marks: [() => drawField(document, field, sides)] });
    layers = {
      axes,
      field,
      series: addSvg(svg, "g", { class: "series" }),
      names,
      legend: drawLegend(svg, plot, legend),
    };
  } else if (layers.names !== names) {
    layers.legend.remove();
    layers = { ...layers, names, legend: drawLegend(svg, plot, legend) };
  }
  layersOf.set(svg, layers);
  const hidden = { axis: null, grid: false } as const;
  const [x, y] = [
    { ...frame.x, ...hidden },
    { ...frame.y, ...hidden },
  ];
  const drawn = draw({ ...frame, document, x, y, marks: [...series] });
  layers.series.replaceChildren(...drawn.childNodes);
  return svg;
}

/**
 * Draws with Plot, then removes the accessible names that Plot adds, and its style sheet, which would also affect the
 * page.
 */
function draw(options: marks.PlotOptions): Drawing {
  const svg = marks.plot({ ...options, marks: [...logAxes(options), ...options.marks!] }) as Drawing; // Plot returns a figure only if it draws titles or legends
  svg.querySelector("style")?.remove();
  // The parts of an image must not have accessible names of their own. Screen readers would ignore them anyway.
  for (const part of svg.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
  for (const part of svg.querySelectorAll("[aria-description]")) {
    const name = part.getAttribute("aria-description")!;
    if (name.startsWith(SERIES)) part.setAttribute("data-series", name.slice(SERIES.length));
    part.removeAttribute("aria-description");
  }
  return svg;
}

/**
 * Creates logarithmic axes with a number at every tick. Plot's own axes leave out most numbers that are not powers of
 * ten.
 */
function logAxes({ x, y }: marks.PlotOptions): Mark[] {
  const isOwn = (axis: marks.ScaleOptions | undefined) => axis?.type === "log" && axis.axis !== null;
  return [
    isOwn(x) && marks.axisX(x!.ticks as number[], { text: showTick, labelOffset: TITLE }),
    isOwn(y) && marks.axisY(y!.ticks as number[], { text: showTick }),
  ].filter((axis) => axis !== false);
}

/**
 * The options of an axis's scale, for all points of the series.
 * @param room the length of the axis, in pixels
 * @param domain the two ends of the axis; if omitted, they follow from the series
 */
function scale(
  axis: Axis,
  series: readonly Series[],
  dimension: 0 | 1,
  room: number,
  domain?: readonly [number, number],
): marks.ScaleOptions {
  const isLog = axis.scale === "log";
  const range = extent(series, dimension, isLog) ?? (isLog ? [1, 10] : [0, 1]);
  if (axis.zero) range[0] = Math.min(0, range[0]);
  const fixed = domain ?? (series.some(({ grows }) => grows) ? range : undefined);
  const common = { label: axis.label, grid: true, tickFormat: showTick, ...(fixed && { domain: fixed }) };
  const count = room / (dimension === 0 ? TICK.x : TICK.y);
  if (isLog) {
    const ticks = logTicks(...range, count).filter((tick) => !axis.integer || Number.isInteger(tick));
    return { ...common, type: "log", ticks: ticks.length < 2 ? integerTicks(...range, count) : ticks };
  }
  if (dimension === 0)
    return { ...common, ticks: barTicks(series) ?? horizontalTicks(domain ?? range, room, axis), nice: false };
  const isBars = series.some(({ style }) => style === "bars");
  const ticks = Math.max(2, Math.floor(Math.min(6, count)));
  return { ...common, ticks, nice: !domain, zero: isBars || axis.zero === true };
}

const x = ([value]: Point): number => value;
const y = ([, value]: Point): number => value;

/** The stroke of a series that is shown for comparison. */
const REFERENCE = { strokeWidth: 1.5 } as const;

/** The radius of dots, larger if there are fewer dots. */
const radius = (count: number, width: number): number =>
  Math.min(count > 5 ? 3 : 5, Math.max(1.6, width / (3 * count)));

/** Draws all dots of a mark as one path, because hundreds of elements would cost more time than the rest of a drawing. */
const inOnePath =
  (r: number, fill: string): marks.RenderFunction =>
  (index, scales, values, dimensions, context, next) => {
    const group = next!([], scales, values, dimensions, context)!;
    const place = (i: number): string =>
      `M${round(values.x![i]! - r)},${round(values.y![i]!)}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`;
    addSvg(group, "path", { d: Array.from(index, place).join(""), fill }); // the group has no fill if it is clipped, so set the fill here
    return group;
  };
const round = (value: number): number => Math.round(100 * value) / 100;

function drawSeries(
  { points, style }: Series,
  i: number,
  colour: string,
  bars: BarPlace,
  plot: Plot,
  width: number,
): Mark[] {
  const ariaDescription = `${SERIES}${i}`;
  const clip = plot.field !== undefined;
  const line = (options: marks.LineOptions): Mark =>
    marks.line(points, { ariaDescription, x, y, stroke: colour, strokeWidth: 2, clip, ...options });
  const dot = (at: readonly Point[], options: marks.DotOptions): Mark =>
    marks.dot(at, { ariaDescription, x, y, fill: colour, clip, ...options });
  switch (style) {
    case "dots":
      return [dot(points, { render: inOnePath(radius(points.length, width), colour) })];
    case "theory":
      return [line({ strokeDasharray: "6 4" })];
    case "reference":
      return [line(REFERENCE)];
    case "bars":
      return [drawBars(points, ariaDescription, colour, bars, plot)];
    case "arrow": {
      const tails = Array.from({ length: points.length >> 1 }, (_, k) => 2 * k);
      const ends = {
        x1: (k: number) => points[k]![0],
        y1: (k: number) => points[k]![1],
        x2: (k: number) => points[k + 1]![0],
        y2: (k: number) => points[k + 1]![1],
      };
      const strokeWidth = tails.length > 8 ? 1.5 : 2.5;
      return [marks.arrow(tails, { ariaDescription, ...ends, stroke: colour, strokeWidth, headLength: 10, clip })];
    }
    case "path":
      return [
        line({ strokeLinejoin: "round" }),
        dot(points.slice(0, 1), { r: 4, fill: "none", stroke: colour, strokeWidth: 2 }),
        dot(points.slice(-1), { r: 4 }),
      ];
    default:
      return [line({}), ...(points.length === 1 ? [dot(points, {})] : [])];
  }
}

/** Draws bars next to the bars of the other series. The smallest distance between two points limits the width of the bars. */
function drawBars(
  points: readonly Point[],
  ariaDescription: string,
  colour: string,
  { index, count }: BarPlace,
  plot: Plot,
): Mark {
  const log = plot.x.scale === "log";
  const to = (v: number): number => (log ? Math.log10(v) : v);
  const from = (v: number): number => (log ? 10 ** v : v);
  const places = points.map(([v]) => to(v)).sort((a, b) => a - b);
  const gaps = places.slice(1).map((v, i) => v - places[i]!);
  const nearest = Math.min(...gaps.filter((gap) => gap > 0));
  const room = 0.8 * (Number.isFinite(nearest) ? nearest : 1);
  const edge = (v: number, side: number): number => from(to(v) + room * ((index + side) / count - 0.5));
  const floor = plot.y.scale === "log" ? (extent(plot.series, 1, true)?.[0] ?? 1) / 2 : 0;
  return marks.rectY(points, {
    ariaDescription,
    x1: ([v]: Point) => edge(v, 0),
    x2: ([v]: Point) => edge(v, 1),
    y1: floor,
    y2: y,
    fill: colour,
    insetLeft: 0.5,
    insetRight: 0.5,
  });
}

/** The series that the legend shows, and the legend's height. */
interface Legend {
  readonly entries: readonly { readonly series: Series; readonly x: number; readonly row: number }[];
  readonly height: number;
}

/**
 * Arranges the legend's entries in rows. The widths of entries are estimates, because not every document can measure
 * text. A series that shares another series' colour has an entry only if its line is dashed.
 */
function layOut({ series, field }: Plot, width: number): Legend {
  const named = series.filter(({ sameAs, style }) => sameAs === undefined || style === "theory");
  if (named.length < 2 && !field) return { entries: [], height: 0 };
  let [at, row] = [4, 0];
  const entries = named.map((entry) => {
    const wide = 50 + 6.8 * entry.name.length;
    if (at > 4 && at + wide > width) [at, row] = [4, row + 1];
    const placed = { series: entry, x: at, row };
    at += wide;
    return placed;
  });
  const rows = entries.length ? row + 1 : 0;
  return { entries, height: (field ? rows + 1 : rows) * ROW };
}

function drawLegend(svg: Element, { series, field }: Plot, { entries, height }: Legend): Element {
  const group = addSvg(svg, "g", { "text-anchor": "start", transform: `translate(0,${-height})` });
  for (const entry of entries)
    drawEntry(group, entry.series, paintOf(series, series.indexOf(entry.series)), entry.x, entry.row);
  if (field) drawShades(group, field, height - ROW / 2);
  return group;
}

function drawEntry(parent: Element, { name, style }: Series, colour: string, at: number, row: number): void {
  const middle = 10 + row * ROW;
  if (style === "arrow") {
    addSvg(parent, "path", {
      d: `M${at},${middle}h16m-6,-5l6,5l-6,5`,
      fill: "none",
      stroke: colour,
      "stroke-width": 2.5,
    });
  } else if (style === "dots") addSvg(parent, "circle", { cx: at + 11, cy: middle, r: 4, fill: colour });
  else if (style === "bars")
    addSvg(parent, "rect", { x: at + 4, y: middle - 6, width: 12, height: 12, fill: colour, rx: 2 });
  else {
    const dash = style === "theory" ? { "stroke-dasharray": "6 4" } : {};
    const stroke = style === "reference" ? { "stroke-width": REFERENCE.strokeWidth } : { "stroke-width": 2.5 };
    addSvg(parent, "path", { d: `M${at},${middle}h22`, stroke: colour, ...stroke, ...dash });
  }
  addSvg(parent, "text", { x: at + 28, y: middle, dy: "0.32em", fill: "currentColor" }, typeset(name));
}
