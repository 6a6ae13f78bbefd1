/** The terminal styles of mnist/style.ts, plus colours. */

import type { Rgb } from "../lab/view/picture.ts";
import { type Style, styleOf } from "./mnist/style.ts";

export interface Pixel {
  readonly colour: Rgb;
  /** The brightness of a pixel in a terminal without colours, from 0 (background) to 1 (full). */
  readonly strength: number;
}

export interface Terminal extends Pick<Style, "bold" | "dim" | "good" | "bad"> {
  readonly columns: number;
  /** The text in a colour such as "#1f7fc4", if the terminal has colours. */
  paint(colour: string, text: string): string;
  /** One character that shows two pixels, one above the other. */
  halves(upper: Pixel, lower: Pixel): string;
}

/**
 * The index of the nearest of the levels 0, 95, 135, 175, 215 and 255, from which the 256-colour palette mixes its
 * colours.
 */
const level = (v: number): number => (v < 48 ? 0 : v < 115 ? 1 : Math.round((v - 55) / 40));
const cube = (rgb: Rgb): number => rgb.reduce((code, v) => 6 * code + level(v), 0) + 16;
const rgbOf = (colour: string): Rgb =>
  [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16)) as unknown as Rgb; // three elements
const ink = ({ strength }: Pixel): number => (strength >= 0.5 ? 255 : 0);

/** Uses colours only if the stream is a terminal with at least 256 colours and NO_COLOR is not set. */
export function terminalOf(stream: NodeJS.WriteStream): Terminal {
  const style = styleOf(stream);
  const columns = stream.columns || 80;
  const coloured = stream.isTTY && stream.hasColors(256);
  return {
    ...style,
    columns,
    paint: (colour, text) => (coloured ? `\x1b[38;5;${cube(rgbOf(colour))}m${text}\x1b[39m` : text),
    halves: (upper, lower) =>
      coloured
        ? `\x1b[38;5;${cube(upper.colour)};48;5;${cube(lower.colour)}m▀\x1b[0m`
        : style.halves(ink(upper), ink(lower)),
  };
}

/** Prints a line to stdout. */
export const print = (text: string): void => void process.stdout.write(`${text}\n`);
