/** Draws a plot's field: contours at equally spaced values, in transparent layers that are darker for higher values. */
import { contourPaths } from "./contours.ts";
import type { Plot } from "./experiment.ts";
import { fieldLevels, fieldRange, showTick } from "./scale.ts";
import { addSvg, newSvg } from "./svg.ts";

export type Field = NonNullable<Plot["field"]>;
/** The positions of a rectangle's sides, in pixels. */
interface Sides {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const SHADES = 14;
/** The opacity of each layer. */
const SHADE = 0.035;
/** The colour of the layers: the page's --shade, or the text colour outside the page. */
const SHADE_COLOUR = "var(--shade, currentColor)";
/** Plot moves curves by half a pixel on screens with one device pixel per CSS pixel, so that thin lines are sharp. */
const OFFSET = typeof window !== "undefined" && window.devicePixelRatio <= 1 ? 0.5 : 0;
let drawn = 0;

/** Draws the field in the rectangle between the ends of the axes. */
export function drawField(document: Document, field: Field, { left, right, top, bottom }: Sides): SVGGElement {
  const { columns, values } = field;
  const id = `field-${++drawn}`;
  // Contours can run half a cell outside the grid, so clip them to the rectangle.
  const rectangle = newSvg(document, "rect", { x: left, y: top, width: right - left, height: bottom - top });
  const grid = { columns, values, x: [left + OFFSET, right + OFFSET], y: [bottom + OFFSET, top + OFFSET] } as const;
  const paths = contourPaths(grid, fieldLevels(field, SHADES)).map((d) => newSvg(document, "path", { d }));
  return newSvg(
    document,
    "g",
    {
      class: "field",
      fill: SHADE_COLOUR,
      "fill-opacity": SHADE,
      stroke: SHADE_COLOUR,
      "stroke-opacity": 0.28,
      "stroke-miterlimit": 1,
    },
    newSvg(document, "clipPath", { id }, rectangle),
    newSvg(document, "g", { "clip-path": `url(#${id})` }, ...paths),
  );
}

/** Draws a field's legend: its shades, from none for the smallest value to the darkest for the largest. */
export function drawShades(parent: Element, field: Field, middle: number): void {
  const [low, high] = fieldRange(field);
  const text = (at: number, content: string): void => {
    addSvg(parent, "text", { x: at, y: middle, dy: "0.32em", fill: "currentColor" }, content);
  };
  // Round to about a hundredth of the range: if losses range from 3e-4 to 14, the legend shows 0 and 14.
  const unit = 10 ** Math.floor(Math.log10((high - low) / 100 || 1));
  const shown = (value: number): string => showTick(Number((Math.round(value / unit) * unit).toPrecision(2)));
  const label = `${field.label ?? "loss"}: ${shown(low)}`;
  const left = 12 + 6.6 * label.length;
  text(4, label);
  for (let i = 0; i <= SHADES; i++) {
    const opacity = 1 - (1 - SHADE) ** i;
    addSvg(parent, "rect", { x: left + 6 * i, y: middle - 6, width: 6, height: 12, fill: SHADE_COLOUR, opacity });
  }
  text(left + 6 * SHADES + 12, shown(high));
}

/** Whether two fields look the same on the same axes. */
export const sameField = (a: Field, b: Field): boolean =>
  a.label === b.label &&
  a.columns === b.columns &&
  [...a.x, ...a.y, ...(a.range ?? [])].join() === [...b.x, ...b.y, ...(b.range ?? [])].join() &&
  a.values.length === b.values.length &&
  a.values.every((value, i) => Object.is(value, b.values[i]));
