/**
 * Draws digits as text, with half blocks that show two pixels per character, in shades of grey if the terminal has
 * colours. Pure functions.
 */
import { PIXELS, SIDE } from "./data.ts";
import type { Style } from "./style.ts";

/** The side, in pixels, of the square that is drawn. Every MNIST digit fits in this square. */
export const DRAWN = 20;

/** The upper left corner of the window that centers the ink of a digit. */
function corner(pixels: Uint8Array): { left: number; top: number } {
  let [left, right, top, bottom] = [SIDE, -1, SIDE, -1];
  pixels.forEach((ink, i) => {
    if (!ink) return;
    const [x, y] = [i % SIDE, Math.floor(i / SIDE)];
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  });
  const start = (low: number, high: number): number => Math.round((low + high + 1 - DRAWN) / 2);
  return { left: start(left, right), top: start(top, bottom) };
}

/**
 * A digit as DRAWN / 2 lines of DRAWN characters, centered. Without shades of grey, pixels of at least half the full
 * darkness are drawn as ink.
 */
export function drawDigit(pixels: Uint8Array, style: Style): string[] {
  if (pixels.length !== PIXELS)
    throw new RangeError(`drawDigit: pixels must have ${PIXELS} values, got ${pixels.length}.`);
  const { left, top } = corner(pixels);
  const ink = (x: number, y: number): number => (x >= 0 && x < SIDE && y >= 0 && y < SIDE ? pixels[y * SIDE + x]! : 0);
  return Array.from({ length: DRAWN / 2 }, (_, row) => {
    const cells = Array.from({ length: DRAWN }, (_, column) => {
      const [x, y] = [left + column, top + 2 * row];
      return style.halves(ink(x, y), ink(x, y + 1));
    });
    return cells.join("");
  });
}

/**
 * Places blocks of text side by side, each `cell` characters wide, with as many per row as fit in `width`. `visible`
 * measures a text without its colour codes.
 */
export function sideBySide(
  blocks: readonly (readonly string[])[],
  cell: number,
  width: number,
  visible: (text: string) => number,
): string {
  const gap = 4;
  const perRow = Math.max(1, Math.floor((width + gap) / (cell + gap)));
  const rows: string[] = [];
  for (let at = 0; at < blocks.length; at += perRow) {
    const row = blocks.slice(at, at + perRow);
    const height = Math.max(...row.map((block) => block.length));
    const lines = Array.from({ length: height }, (_, line) =>
      row
        .map((block) => (block[line] ?? "") + " ".repeat(Math.max(0, cell + gap - visible(block[line] ?? ""))))
        .join("")
        .trimEnd(),
    );
    rows.push(lines.join("\n"));
  }
  return rows.join("\n\n");
}
