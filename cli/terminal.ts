/** The terminal styles of mnist/style.ts, plus colours for series and pictures. */

import type { Rgb } from "../lab/view/picture.ts";
import { type Style, styleOf } from "./mnist/style.ts";

export interface Pixel {
  readonly colour: Rgb;
  /** The brightness of a pixel in a terminal without colours, from 0 (background) to 1 (full). */
  readonly strength: number;
}

export interface Terminal extends Pick<Style, "bold" | "dim" | "good" | "bad"> {
  readonly columns: number;
  /** Text in the colour of series i. */
  series(i: number, text: string): string;
  /** One character that shows two pixels, one above the other. */
  halves(upper: Pixel, lower: Pixel): string;
}

/** The colours of the series, from the 256-colour palette. */
const SERIES = [33, 166, 36, 169, 136, 99];
const cube = (rgb: Rgb): number => rgb.reduce((code, v) => 6 * code + Math.round((v / 255) * 5), 0) + 16;
const ink = ({ strength }: Pixel): number => (strength >= 0.5 ? 255 : 0);

/** Uses colours only if the stream is a terminal with 256 colours and NO_COLOR is not set. */
export function terminalOf(stream: NodeJS.WriteStream): Terminal {
  const style = styleOf(stream);
  const columns = stream.columns || 80;
  const coloured = stream.isTTY && stream.hasColors(256);
  return {
    ...style,
    columns,
    series: (i, text) => (coloured ? `\x1b[38;5;${SERIES[i % SERIES.length]}m${text}\x1b[39m` : text),
    halves: (upper, lower) =>
      coloured
        ? `\x1b[38;5;${cube(upper.colour)};48;5;${cube(lower.colour)}m▀\x1b[0m`
        : style.halves(ink(upper), ink(lower)),
  };
}

/** Prints a line to stdout. */
export const print = (text: string): void => void process.stdout.write(`${text}\n`);
