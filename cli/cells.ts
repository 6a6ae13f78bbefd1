/** Places a plot's points, lines and bars on a grid of character cells. Pure functions. */
import type { Plot, Series } from "../lab/experiment.ts";
import { barPlace, barTicks, canShow, extent, linearTicks, logTicks, showTick } from "../lab/scale.ts";

/** An axis of a plot, measured in cells. */
export interface Cells {
  readonly low: number;
  readonly high: number;
  /** The position of a value in cells, which need not be a whole number. */
  cell(value: number): number;
  /** The labels of the ticks, keyed by cell. */
  readonly ticks: ReadonlyMap<number, string>;
}

/** An axis of `count` cells with about `wanted` ticks. */
export function cellsOf(plot: Plot, dimension: 0 | 1, count: number, wanted: number): Cells {
  const log = (dimension ? plot.y : plot.x).scale === "log";
  const [low, high] = rangeOf(plot, dimension, log);
  const to = (v: number): number => (log ? Math.log10(v) : v);
  const cell = (v: number): number => ((to(v) - to(low)) / (to(high) - to(low))) * (count - 1);
  const own = dimension === 0 ? barTicks(plot.series) : undefined;
  const ticks = own ?? (log ? logTicks(low, high, wanted) : linearTicks(low, high, wanted));
  return { low, high, cell, ticks: new Map(ticks.map((v) => [Math.round(cell(v)), showTick(v)])) };
}

/**
 * The range of an axis, which covers all points that can be shown. In a plot with bars, the y axis includes zero, and
 * the x axis has a margin on both sides.
 */
function rangeOf(plot: Plot, dimension: 0 | 1, log: boolean): [number, number] {
  const shown = plot.series.map((series) => ({ ...series, points: series.points.filter((p) => canShow(p, plot)) }));
  const [low, high] = (dimension ? plot.field?.y : plot.field?.x) ?? extent(shown, dimension) ?? [1, 10];
  const bars = !log && plot.series.some(({ style }) => style === "bars");
  if (bars && dimension === 1) return [Math.min(0, low), Math.max(0, high) || 1];
  // Center a single value.
  if (low === high) {
    const half = (Math.abs(low) || 1) / 2;
    return log ? [low / 2, high * 2] : [low - half, high + half];
  }
  const room = bars ? (high - low) / 20 : 0;
  return [low - room, high + room];
}

/**
 * The cells that series i covers: the cells of its points. A curve also covers the cells between its points, and a bar
 * also covers the cells down to zero.
 */
export function* cellsTaken(plot: Plot, i: number, x: Cells, y: Cells): Generator<[column: number, row: number]> {
  const { points, style } = plot.series[i]!;
  const shown = points.filter((p) => canShow(p, plot)).map(([a, b]) => [x.cell(a), y.cell(b)] as const);
  if (style === "dots") for (const [column, row] of shown) yield [column, row];
  else if (style === "bars") yield* bars(shown, plot.series, i, y.low > 0 ? 0 : y.cell(0));
  else for (const [at, point] of shown.entries()) yield* line(shown[at - 1] ?? point, point);
}

type Place = readonly [column: number, row: number];

function* line([column, row]: Place, [toColumn, toRow]: Place): Generator<[number, number]> {
  const steps = Math.max(1, Math.ceil(Math.max(Math.abs(toColumn - column), Math.abs(toRow - row))));
  for (let step = 0; step <= steps; step++)
    yield [column + (step / steps) * (toColumn - column), row + (step / steps) * (toRow - row)];
}

/**
 * The cells that the bars of series i cover. Each bar is two cells wide; bars of different series at the same position
 * stand side by side.
 */
function* bars(
  places: readonly Place[],
  series: readonly Series[],
  i: number,
  floor: number,
): Generator<[number, number]> {
  const { index, count } = barPlace(series, i);
  for (const [column, row] of places)
    for (const side of [0, 1]) {
      const at = Math.round(column) - count + 2 * index + side;
      yield* line([at, floor], [at, row]);
    }
}
