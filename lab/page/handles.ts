/** Shows handles over a plot: buttons that the reader drags, or moves with the arrow keys, to set parameters. */
import type { Drawing } from "../draw.ts";
import type { Handle, NumberParameter, Parameters } from "../experiment.ts";
import { maker } from "../view/dom.ts";

const make = maker(document);
/** The distance by which an arrow key moves a handle, in pixels. */
const KEY_STEP = 6;
const KEYS: Readonly<Record<string, readonly [x: number, y: number]>> = {
  ArrowLeft: [-KEY_STEP, 0],
  ArrowRight: [KEY_STEP, 0],
  ArrowUp: [0, -KEY_STEP],
  ArrowDown: [0, KEY_STEP],
};

export interface Handles {
  show(handles: readonly Handle[], drawing?: Drawing): void;
}

/** @param onMove receives the parameters that the handle sets */
export function newHandles(
  frame: HTMLElement,
  parameters: Parameters,
  onMove: (changed: Record<string, number>) => void,
): Handles {
  const layer = make("div", { class: "handles" });
  frame.append(layer);
  let shown: readonly Handle[] = [];
  let drawing: Drawing | undefined;
  let buttons: HTMLButtonElement[] = [];
  /**
   * The index of the dragged handle, and the drawing at the start of the drag. Until the drag ends, the axes of that
   * drawing convert pixels to values.
   */
  let drag: { readonly index: number; readonly drawing: Drawing } | undefined;

  /** Moves a handle to a position in pixels of the drawing. */
  const move = (index: number, to: readonly [number, number], on: Drawing): void => {
    const handle = shown[index];
    if (!handle) return;
    const [x, y] = [on.scale("x")!.invert!(to[0]) as number, on.scale("y")!.invert!(to[1]) as number];
    onMove(changesOf(handle, [x, y], parameters));
  };
  const pixels = (handle: Handle, on: Drawing): [number, number] => [
    on.scale("x")!.apply(handle.at[0]) as number,
    on.scale("y")!.apply(handle.at[1]) as number,
  ];
  /**
   * Puts a handle on its point. During a drag, the point may be away from the pointer, because the parameters' ranges
   * limit it.
   */
  const putInPlace = (index: number): void => {
    const [button, handle] = [buttons[index], shown[index]];
    if (!button || !handle || !drawing) return;
    const [x, y] = pixels(handle, drawing);
    button.style.translate = `${x}px ${y - drawing.viewBox.baseVal.y}px`;
  };
  /**
   * The position of a pointer in the drawing's pixels. Above the plot, the legend has negative y coordinates, so add
   * the top of the viewBox.
   */
  const pointer = (event: PointerEvent, on: Drawing): [number, number] => {
    const box = layer.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top + on.viewBox.baseVal.y];
  };
  const newButton = (index: number): HTMLButtonElement => {
    const button = make("button", { type: "button", class: "handle" });
    button.addEventListener("pointerdown", (event) => {
      if (!drawing) return;
      drag = { index, drawing };
      button.setPointerCapture(event.pointerId);
    });
    button.addEventListener("pointermove", (event) => {
      if (!drag || drag.index !== index) return;
      move(index, pointer(event, drag.drawing), drag.drawing);
    });
    button.addEventListener("lostpointercapture", () => {
      if (drag?.index === index) drag = undefined;
    });
    button.addEventListener("keydown", (event) => {
      const by = KEYS[event.key];
      if (!by || !drawing || !shown[index]) return;
      event.preventDefault();
      const [x, y] = pixels(shown[index], drawing);
      move(index, [x + by[0], y + by[1]], drawing);
    });
    return button;
  };
  return {
    show(handles, on) {
      shown = handles;
      drawing = on;
      if (buttons.length !== handles.length) {
        drag = undefined;
        buttons = handles.map((_, i) => newButton(i));
        layer.replaceChildren(...buttons);
      }
      for (const [i, handle] of handles.entries()) {
        buttons[i]!.setAttribute("aria-label", `${handle.name}: drag it, or use the arrow keys`);
        buttons[i]!.title = handle.name;
        putInPlace(i);
      }
    },
  };
}

/** The parameters that a handle sets when it is moved to a point, clamped to their ranges. */
export function changesOf(
  { sets }: Pick<Handle, "sets">,
  [x, y]: readonly [number, number],
  parameters: Parameters,
): Record<string, number> {
  if ("angle" in sets) {
    const turned = (Math.atan2(y - sets.around[1], x - sets.around[0]) * 180) / Math.PI;
    const parameter = parameters[sets.angle] as NumberParameter;
    // Choose the angle in the parameter's range among those with the same direction, if there is one.
    const angle = [turned, turned + 360, turned - 360].find((one) => one >= parameter.min && one <= parameter.max);
    return { [sets.angle]: within(parameter, angle ?? turned) };
  }
  const changed: Record<string, number> = {};
  if (sets.x) changed[sets.x] = within(parameters[sets.x] as NumberParameter, x);
  if (sets.y) changed[sets.y] = within(parameters[sets.y] as NumberParameter, y);
  return changed;
}

/** The value, rounded to three significant digits or to an integer, and clamped to the parameter's range. */
function within({ min, max, integer }: NumberParameter, value: number): number {
  const rounded = integer ? Math.round(value) : Number(value.toPrecision(3));
  return Math.min(max, Math.max(min, rounded));
}
