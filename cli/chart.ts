/** Draws a Plot or a Picture as text. This file places the curves in character cells; simple-ascii-chart draws the axes around them. */
import asciiChart from "simple-ascii-chart";
import type { Picture, Plot, Series } from "../lab/experiment.ts";
import { barPlace, canShow, colourOf, drawingOrder, fieldLevels } from "../lab/scale.ts";
import { coloursOf } from "../lab/view/picture.ts";
import { cellsOf, cellsTaken } from "./cells.ts";
import { sideBySide } from "./mnist/draw.ts";
import { visible } from "./mnist/style.ts";
import type { Terminal } from "./terminal.ts";

/** One symbol per series, so that readers can tell series apart without colours. */
const SYMBOLS = ["●", "○", "▲", "△", "■", "□", "◆", "◇"];
/** One symbol per series of bars. */
const BARS = ["█", "▒", "░", "▓"];
/** One symbol per series that shows theory. */
const THEORIES = ["·", "∘", "×", "+", "~", "^", "=", "*"];
/** The shades of a field, from the lowest value to the highest. */
const SHADES = [" ", " ", " ", "░", "░", "▒", "▒", "▓"];

/** The symbol of series i. */
function symbolOf({ series }: Plot, i: number, style: Series["style"]): string {
  if (style === "bars") return BARS[barPlace(series, i).index % BARS.length]!;
  const before = series.slice(0, i).filter((other) => (other.style === "theory") === (style === "theory")).length;
  const symbols = style === "theory" ? THEORIES : SYMBOLS;
  return symbols[before % symbols.length]!;
}

/** The plot with its title, axes, curves and legend, at most `columns` wide. */
export function chart(plot: Plot, columns: number, terminal: Terminal): string {
  if (!plot.field && !plot.series.some(({ points }) => points.some((p) => canShow(p, plot))))
    return `${terminal.bold(plot.title)}\nThese axes cannot show any of the points.`;
  const width = Math.max(20, Math.min(90, columns - 14));
  const height = 16;
  const [x, y] = [cellsOf(plot, 0, width, width / 14), cellsOf(plot, 1, height, 4)];
  // Points in two corners make the axes span all cells.
  const symbols = new Map<string, string>([
    ["0,0", " "],
    [`${width - 1},${height - 1}`, " "],
  ]);
  const put = (column: number, row: number, symbol: string): void => {
    const [c, r] = [Math.round(column), Math.round(row)];
    if (c >= 0 && c < width && r >= 0 && r < height) symbols.set(`${c},${r}`, symbol);
  };
  for (const [column, row, symbol] of fieldCells(plot, width, height)) put(column, row, terminal.dim(symbol));
  const painted = plot.series.map(({ sameAs }, i) => {
    const own = sameAs ?? i;
    return terminal.paint(colourOf(plot.series, i), symbolOf(plot, own, plot.series[own]!.style));
  });
  for (const i of drawingOrder(plot.series))
    for (const [column, row] of cellsTaken(plot, i, x, y)) put(column, row, painted[i]!);
  const axes = asciiChart(
    [...symbols.keys()].map((key) => key.split(",").map(Number) as [number, number]),
    {
      width,
      height,
      customXAxisTicks: [...x.ticks.keys()],
      customYAxisTicks: [...y.ticks.keys()],
      showTickLabel: true,
      formatter: (cell, { axis }) => (axis === "x" ? x : y).ticks.get(Math.round(cell)) ?? "",
      lineFormatter: (at) => ({ x: at.plotX, y: at.plotY, symbol: symbols.get(`${at.x},${at.y}`) ?? " " }),
    },
  );
  const legend = sideBySide(
    plot.series.flatMap(({ name, sameAs }, i) => (sameAs === undefined ? [[`${painted[i]} ${name}`]] : [])),
    Math.max(...plot.series.map(({ name }) => name.length + 2)),
    columns,
    visible,
  ).replaceAll("\n\n", "\n");
  const lines = axes.split("\n").map((line) => line.trimEnd());
  return [
    terminal.bold(plot.title),
    terminal.dim(plot.y.label),
    ...lines.filter((line) => line !== ""),
    terminal.dim(`${plot.x.label} →`.padStart(width + 8)),
    legend,
  ].join("\n");
}

/** The shades of the field behind the curves. */
function* fieldCells({ field }: Plot, width: number, height: number): Generator<[number, number, string]> {
  if (!field) return;
  const { columns, values } = field;
  const rows = values.length / columns;
  const levels = fieldLevels(field, SHADES.length - 1);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const i = Math.round((row / (height - 1)) * (rows - 1)) * columns;
      const value = values[i + Math.round((column / (width - 1)) * (columns - 1))]!;
      const level = levels.findLastIndex((least) => value >= least);
      yield [column, row, SHADES[level + 1]!];
    }
}

/** The picture with its title below, two pixels per character. */
export function drawPicture(picture: Picture, terminal: Terminal): string[] {
  const { title, width, height, values } = picture;
  const colours = coloursOf(picture);
  const lines = Array.from({ length: Math.ceil(height / 2) }, (_, half) =>
    Array.from({ length: width }, (_, column) => {
      const [upper, lower] = [2 * half * width + column, (2 * half + 1) * width + column];
      return terminal.halves(
        { colour: colours[upper]!, strength: strength(values[upper], picture) },
        { colour: colours[lower] ?? [255, 255, 255], strength: strength(values[lower], picture) },
      );
    }).join(""),
  );
  return [...lines, title];
}

/** The brightness of a pixel, 0 … 1, for terminals without colours. */
function strength(value: number | undefined, { colours, values }: Picture): number {
  if (value === undefined || colours === "grey") return value ?? 0;
  return Math.abs(value) / (Math.max(...values.map(Math.abs)) || 1);
}
