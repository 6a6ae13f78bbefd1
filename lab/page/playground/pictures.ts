/** Draws 28 × 28 pixels on small canvases, in the colours of the lab's pictures, on white paper in both themes. */
import { SIDE } from "../../../cli/mnist/packed.ts";
import { maker } from "../../view/dom.ts";
import { coloursOf, type Rgb } from "../../view/picture.ts";

const make = maker(document);
/** The darkness of ink under an attribution, from 0 to 1. */
const SHADE = 0.35;

export interface Pixels {
  readonly element: HTMLElement;
  /** Draws the pixels, and describes them to screen readers. */
  paint(colours: readonly Rgb[], description: string): void;
  clear(): void;
}

/** Creates a canvas with a caption. */
export function newPixels(caption: string): Pixels {
  const canvas = make("canvas", { width: SIDE, height: SIDE, role: "img", "aria-label": caption });
  const context = canvas.getContext("2d")!; // browsers without canvas cannot show the pad either
  return {
    element: make("figure", {}, canvas, make("figcaption", {}, caption)),
    paint(colours, description) {
      const image = new ImageData(SIDE, SIDE);
      colours.forEach(([red, green, blue], i) => image.data.set([red, green, blue, 255], 4 * i));
      context.putImageData(image, 0, 0);
      canvas.setAttribute("aria-label", description);
    },
    clear() {
      context.clearRect(0, 0, SIDE, SIDE);
      canvas.setAttribute("aria-label", caption);
    },
  };
}

export const grey = (pixels: Float32Array): Rgb[] => picture(pixels, "grey");
export const diverging = (pixels: Float32Array): Rgb[] => picture(pixels, "diverging");

/** The colours of attributions, blue below 0 and orange above 0, multiplied by the ink in grey. */
export function overInk(attribution: Float32Array, ink: Float32Array): Rgb[] {
  return diverging(attribution).map((colour, i) => {
    const light = 1 - SHADE * ink[i]!;
    return colour.map((part) => light * part) as unknown as Rgb; // three parts
  });
}

const picture = (pixels: Float32Array, colours: "grey" | "diverging"): Rgb[] =>
  coloursOf({ title: "", width: SIDE, height: SIDE, values: Array.from(pixels), colours });

/** Creates a legend: a bar from blue through white to orange, with a text at each end. */
export function newLegend(low: string, high: string): HTMLElement {
  const stops = coloursOf({ title: "", width: 3, height: 1, values: [-1, 0, 1], colours: "diverging" });
  const bar = make("span", { class: "pg-scale" });
  bar.style.background = `linear-gradient(to right, ${stops.map((rgb) => `rgb(${rgb.join(" ")})`).join(", ")})`;
  return make("p", { class: "pg-legend" }, make("span", {}, low), bar, make("span", {}, high));
}
