/** Creates a square to draw in with a mouse, a finger or a pen, with dark ink on white in both themes. */
import { SIDE } from "../../../cli/mnist/packed.ts";
import { maker } from "../../view/dom.ts";
import type { Ink } from "./preprocess.ts";

const SIZE = 280;
const PEN = 22;

export interface Pad {
  readonly element: HTMLCanvasElement;
  ink(): Ink;
  clear(): void;
  /** Shows a digit of 28 × 28 values as if the user had drawn it. */
  show(digit: Float32Array): void;
}

/** Creates the pad, which calls `onDraw` after each segment of a stroke. */
export function newPad(onDraw: () => void): Pad {
  const label = "A square to draw a digit in. Without a pointer, choose a test digit with the buttons below.";
  const element = maker(document)("canvas", {
    class: "pg-pad",
    width: SIZE,
    height: SIZE,
    role: "img",
    "aria-label": label,
  });
  const context = element.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser does not support canvas.");
  Object.assign(context, { lineWidth: PEN, lineCap: "round", lineJoin: "round", strokeStyle: "#10141c" });
  let last: readonly [number, number] | undefined;
  /** Whether the pad shows an example, which the next stroke replaces. */
  let isExample = false;
  const place = ({ clientX, clientY }: PointerEvent): readonly [number, number] => {
    const box = element.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * SIZE, ((clientY - box.top) / box.height) * SIZE];
  };
  const clear = (): void => {
    isExample = false;
    context.clearRect(0, 0, SIZE, SIZE);
  };
  const lineTo = (to: readonly [number, number]): void => {
    context.beginPath();
    context.moveTo(...(last ?? to));
    context.lineTo(...to);
    context.stroke();
    last = to;
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    element.setPointerCapture(event.pointerId);
    last = undefined;
    if (isExample) clear();
    lineTo(place(event));
    onDraw();
  });
  element.addEventListener("pointermove", (event) => {
    if (!last || !element.hasPointerCapture(event.pointerId)) return;
    // In a fast stroke, the pointer passes several points per frame.
    for (const point of event.getCoalescedEvents?.() ?? []) lineTo(place(point));
    lineTo(place(event));
    onDraw();
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => void (last = undefined));
  return {
    element,
    ink() {
      const { data } = context.getImageData(0, 0, SIZE, SIZE);
      return {
        width: SIZE,
        height: SIZE,
        values: Float32Array.from({ length: SIZE * SIZE }, (_, i) => data[4 * i + 3]! / 255),
      };
    },
    clear,
    show(digit) {
      const small = new ImageData(SIDE, SIDE);
      digit.forEach((value, i) => small.data.set([16, 20, 28, 255 * value], 4 * i));
      const drawn = maker(document)("canvas", { width: SIDE, height: SIDE });
      drawn.getContext("2d")?.putImageData(small, 0, 0);
      clear();
      isExample = true;
      context.drawImage(drawn, 0, 0, SIZE, SIZE);
    },
  };
}
