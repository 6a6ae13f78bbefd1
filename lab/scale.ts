/** Pure functions shared by everything that draws a Plot: colours, which points an axis can show, ticks and labels. */
import { type Axis, type Plot, type Series, showNumber } from "./experiment.ts";

/**
 * The colours of series, in order: blue, vermilion, green, violet, magenta, mauve, rose, brick. Each has a contrast
 * ratio of at least 3.2 against the background of either theme. The distance between any two colours is at least 0.12
 * in OKLab, and at least 0.06 as protanopes, deuteranopes and tritanopes see them (Machado et al. 2009, severity 1).
 */
export const COLOURS = [
  "#1f7fc4",
  "#d55e00",
  "#6c9054",
  "#9060f0",
  "#cc3cb4",
  "#9c849c",
  "#fc486c",
  "#a85460",
] as const;

/** The colour of series i: a colour of its own, or the colour of the series that `sameAs` names. */
export const colourOf = (series: readonly Series[], i: number): string => COLOURS[colourIndex(series, i)]!;

/** The colour of series i on the page, where the style sheet can override it for each theme. */
export const paintOf = (series: readonly Series[], i: number): string => paint(colourIndex(series, i));

/** A CSS colour: the page's --series-1, --series-2, …, or the colour in COLOURS if the page sets none. */
export const paint = (index: number): string => `var(--series-${index + 1}, ${COLOURS[index]})`;

function colourIndex(series: readonly Series[], i: number): number {
  const own = series[i]!.sameAs ?? i;
  return series.slice(0, own).filter(({ sameAs }) => sameAs === undefined).length % COLOURS.length;
}

const fits = (value: number, { scale }: Axis): boolean => Number.isFinite(value) && (scale !== "log" || value > 0);

/** Whether the plot's axes can show a point. */
export const canShow = ([x, y]: Series["points"][number], plot: Plot): boolean => fits(x, plot.x) && fits(y, plot.y);

/** The positions of all bars, as ticks; undefined if there are too many to label each one. */
export function barTicks(series: readonly Series[]): number[] | undefined {
  const places = series.filter(({ style }) => style === "bars").flatMap(({ points }) => points.map(([x]) => x));
  const distinct = [...new Set(places)].filter(Number.isFinite).sort((a, b) => a - b);
  return distinct.length > 0 && distinct.length <= 12 ? distinct : undefined;
}

/** The index of a series among all series with bars, and the number of these series. */
export interface BarPlace {
  readonly index: number;
  readonly count: number;
}
export function barPlace(series: readonly Series[], i: number): BarPlace {
  const isBars = ({ style }: Series): boolean => style === "bars";
  return { index: series.slice(0, i).filter(isBars).length, count: series.filter(isBars).length };
}

const LAYERS = { bars: 0, reference: 1, line: 2, path: 2, theory: 3, dots: 4, arrow: 5 } as const;

/**
 * The order in which series are drawn: theory above the curves and bars that it predicts, and below dots and arrows.
 */
export const drawingOrder = (series: readonly Series[]): number[] =>
  [...series.keys()].sort((a, b) => LAYERS[series[a]!.style ?? "line"] - LAYERS[series[b]!.style ?? "line"]);

/**
 * The smallest and the largest finite coordinate; undefined if there is none. If `positive` is true, only coordinates
 * above 0 are considered.
 */
export function extent(series: readonly Series[], dimension: 0 | 1, positive = false): [number, number] | undefined {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const { points } of series)
    for (const point of points) {
      const value = point[dimension];
      if (!Number.isFinite(value) || (positive && value <= 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  return low <= high ? [low, high] : undefined;
}

/** The smallest and the largest value that a field shows. */
export const fieldRange = ({ values, range }: NonNullable<Plot["field"]>): readonly [low: number, high: number] =>
  range ?? extent([{ name: "", points: values.map((value) => [value, 0]) }], 0) ?? [0, 1];

/** `count` equally spaced values inside the range of a field: the borders between its shades. */
export function fieldLevels(field: NonNullable<Plot["field"]>, count: number): number[] {
  const [low, high] = fieldRange(field);
  return Array.from({ length: count }, (_, i) => low + ((i + 0.5) / count) * (high - low));
}

/** About `count` round numbers from low to high. */
export function linearTicks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const length = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Equally spaced integers from low to high, at most about `count` of them. */
export const integerTicks = (low: number, high: number, count: number): number[] =>
  linearTicks(low, high, Math.min(count, high - low)).filter(Number.isInteger);

/**
 * The estimated width of a tick's label and the gap to the next label, in pixels. Not every document can measure text.
 */
const roomOf = (tick: number): number => 7.6 * showTick(tick).length + 16;

/** The ticks of a horizontal linear axis that is `room` pixels long: as many as fit with their labels, at most one per 44 pixels. */
export function horizontalTicks([low, high]: readonly [number, number], room: number, { integer }: Axis): number[] {
  const ticksOf = integer ? integerTicks : linearTicks;
  for (let count = Math.floor(room / 44); count > 2; count--) {
    const ticks = ticksOf(low, high, count);
    const spacing = (room * (ticks[1]! - ticks[0]!)) / (high - low);
    if (ticks.length < 3 || Math.max(...ticks.map(roomOf)) <= spacing) return ticks;
  }
  return ticksOf(low, high, 2);
}

/**
 * The ticks of a log axis: three to about `count` numbers from low to high, or at least four if they fit. The numbers
 * are powers of ten times 1, 2 and 5, or times 1 and 3, or powers of ten alone. If there are too many such numbers,
 * some are skipped. If an axis is too short for three of these numbers, the ticks are equally spaced round numbers, or
 * the axis's two ends.
 */
export function logTicks(low: number, high: number, count: number): number[] {
  const most = Math.max(4, Math.floor(count));
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const inside = (factors: readonly number[]): number[] =>
    Array.from({ length: last - first + 1 }, (_, i) => factors.map((factor) => Number(`${factor}e${first + i}`)))
      .flat()
      .filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  const [fine, coarse, powers] = [inside([1, 2, 5]), inside([1, 3]), inside([1])];
  const fitting = [fine, coarse].find(({ length }) => length >= 3 && length <= most);
  if (fitting) return fitting;
  const even = [4, 5, 6, 7, 8].map((steps) => linearTicks(low, high, steps));
  const many = [powers, coarse, ...even].find(({ length }) => length >= 3);
  return many?.filter((_, i) => i % Math.ceil(many.length / most) === 0) ?? [...new Set([low, high])];
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** Typesets the numbers in a text: -1.5e-7 becomes −1.5×10⁻⁷. */
export const typeset = (text: string): string =>
  text
    .replace(/(?<![\w.)])-(?=\d)/g, "−")
    .replace(/(?<=\d)e(-?)(\d+)\b/g, (_, sign, digits: string) => `×10${sign && "⁻"}${raised(digits)}`)
    .replace(/(?<![\d.])1×10/g, "10");

const raised = (digits: string): string => [...digits].map((digit) => SUPERSCRIPTS[Number(digit)]).join("");

/** The label of a tick: a short number, with a power of ten if it is very small or large. */
export function showTick(value: number): string {
  const size = Math.abs(value);
  if (size === 0 || (size >= 1e-3 && size < 1e5)) return typeset(showNumber(value));
  return typeset(Number(value.toPrecision(3)).toExponential().replace("+", ""));
}
