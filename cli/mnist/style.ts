/** Styles text for a terminal with colours, or for plain output (NO_COLOR, files, pipes). */

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  /** One character that shows two pixels, one above the other. Pixels range from 0 (paper) to 255 (ink). */
  halves(upper: number, lower: number): string;
}

const paint =
  (on: number, off: number) =>
  (text: string): string =>
    `\x1b[${on}m${text}\x1b[${off}m`;
/** The nearest of the 256-colour palette's 24 greys. */
const grey = (ink: number): number => 232 + Math.round((ink / 255) * 23);

const coloured: Style = {
  bold: paint(1, 22),
  dim: paint(2, 22),
  good: paint(32, 39),
  bad: paint(31, 39),
  halves: (upper, lower) => `\x1b[38;5;${grey(upper)};48;5;${grey(lower)}m▀\x1b[0m`,
};

const unstyled = (text: string): string => text;
/** Indexed first by whether the upper pixel is ink, then by whether the lower one is. */
const BLOCKS = [
  [" ", "▄"],
  ["▀", "█"],
] as const;
const half = (ink: number): 0 | 1 => (ink >= 128 ? 1 : 0);

/** Plain text, without escape codes. */
export const plain: Style = {
  bold: unstyled,
  dim: unstyled,
  good: unstyled,
  bad: unstyled,
  halves: (upper, lower) => BLOCKS[half(upper)][half(lower)],
};

/**
 * The style of a stream. Uses colours only if the stream is a terminal with at least 256 colours and NO_COLOR is not
 * set.
 */
export function styleOf(stream: NodeJS.WriteStream): Style {
  return stream.isTTY && stream.hasColors(256) ? coloured : plain;
}

/** The number of characters that a text occupies on the screen. */
export function visible(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes that `paint` writes
  return [...text.replace(/\x1b\[[\d;]*m/g, "")].length;
}
