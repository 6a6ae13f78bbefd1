/** Shows the values of the point next to the pointer. */
import type { Drawing } from "../draw.ts";
import { type Plot, showNumber } from "../experiment.ts";
import { canShow, typeset } from "../scale.ts";
import { maker } from "../view/dom.ts";

const make = maker(document);
/** The largest distance from the pointer at which a point's values are shown, in pixels. */
const REACH = 28;

export interface Readout {
  /** @param upTo the number of points drawn of each growing series */
  show(plot: Plot | undefined, drawing?: Drawing, upTo?: number): void;
}

export function newReadout(frame: HTMLElement): Readout {
  // Hidden from screen readers, which find values in tables and findings.
  const box = make("div", { class: "readout", "aria-hidden": "true" });
  box.hidden = true;
  frame.append(box);
  let current: { readonly plot: Plot; readonly drawing: Drawing; readonly upTo: number } | undefined;
  frame.addEventListener("pointermove", (event) => {
    if (!current) return;
    // During a drag, the controls show the values. A read-out would measure the frame on every move, which would force
    // a layout of the page.
    if (event.buttons && (event.target as Element).closest(".handle")) return void (box.hidden = true);
    const { plot, drawing, upTo } = current;
    const area = frame.getBoundingClientRect();
    const [left, top] = [event.clientX - area.left, event.clientY - area.top];
    const text = describe(plot, drawing, upTo, [left, top + drawing.viewBox.baseVal.y]);
    box.hidden = text === undefined;
    box.textContent = typeset(text ?? "");
    // Place the box beside the pointer, towards the middle of the frame.
    box.style.translate = `${left > area.width / 2 ? `calc(${left - 12}px - 100%)` : `${left + 12}px`} ${top + 12}px`;
  });
  frame.addEventListener("pointerleave", () => void (box.hidden = true));
  return {
    show(plot, drawing, upTo = Number.POSITIVE_INFINITY) {
      current = plot && drawing ? { plot, drawing, upTo } : undefined;
      if (!current) box.hidden = true;
    },
  };
}

/**
 * The values of the nearest point of all series, or the value of the field at the pointer; undefined if there is
 * neither.
 */
function describe(plot: Plot, drawing: Drawing, upTo: number, [x, y]: readonly [number, number]): string | undefined {
  const [scaleX, scaleY] = [drawing.scale("x")!, drawing.scale("y")!];
  let best: { readonly distance: number; readonly text: string } | undefined;
  for (const { name, points, style, grows } of plot.series)
    for (const [i, point] of points.entries()) {
      if (!canShow(point, plot) || (grows && i >= upTo)) continue;
      const across = (scaleX.apply(point[0]) as number) - x;
      const distance = Math.hypot(across, style === "bars" ? across : (scaleY.apply(point[1]) as number) - y);
      if (distance < (best?.distance ?? REACH))
        best = { distance, text: `${name}: ${showNumber(point[0])}, ${showNumber(point[1])}` };
    }
  if (best || !plot.field) return best?.text;
  const { field } = plot;
  const rows = field.values.length / field.columns;
  const column = cell(scaleX.invert!(x) as number, field.x, field.columns);
  const row = cell(scaleY.invert!(y) as number, field.y, rows);
  if (column === undefined || row === undefined) return undefined;
  return `${field.label ?? "loss"}: ${showNumber(Number(field.values[row * field.columns + column]!.toPrecision(3)))}`;
}

function cell(value: number, [from, to]: readonly [number, number], count: number): number | undefined {
  const index = Math.round(((value - from) / (to - from)) * (count - 1));
  return index >= 0 && index < count ? index : undefined;
}
