/** Computes the colours of a Picture, and encodes it as a bitmap in a data URL, which needs no canvas and no file. */
import type { Picture } from "../experiment.ts";

export type Rgb = readonly [red: number, green: number, blue: number];

const mix = (from: Rgb, to: Rgb, part: number): Rgb =>
  [0, 1, 2].map((i) => from[i]! + part * (to[i]! - from[i]!)) as unknown as Rgb; // three elements
const [PAPER, INK]: Rgb[] = [
  [255, 255, 255],
  [16, 20, 28],
];
const [NEGATIVE, MIDDLE, POSITIVE]: Rgb[] = [
  [5, 78, 150],
  [247, 247, 245],
  [178, 60, 0],
];

/**
 * The colour of each value: from paper (0) to ink (1), or from blue through white (0) to vermilion, scaled to the
 * largest magnitude.
 */
export function coloursOf({ values, colours }: Picture): Rgb[] {
  const finite = values.map((v) => (Number.isFinite(v) ? v : 0));
  if (colours === "grey") return finite.map((v) => mix(PAPER!, INK!, Math.min(1, Math.max(0, v))));
  const most = finite.reduce((top, v) => Math.max(top, Math.abs(v)), 0) || 1;
  return finite.map((v) => mix(MIDDLE!, v < 0 ? NEGATIVE! : POSITIVE!, Math.abs(v) / most));
}

/**
 * Encodes the picture as a `data:image/bmp` URL: 24 bits per pixel, rows from bottom to top, each padded to a multiple
 * of four bytes.
 */
export function imageOf(picture: Picture): string {
  const { width, height } = picture;
  const stride = (3 * width + 3) & ~3;
  const size = 54 + stride * height;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0x424d);
  const words: [at: number, value: number][] = [
    [2, size],
    [10, 54],
    [14, 40],
    [18, width],
    [22, height],
    [26, 1 | (24 << 16)],
  ];
  for (const [at, value] of words) view.setUint32(at, value, true);
  coloursOf(picture).forEach(([red, green, blue], i) => {
    const row = height - 1 - Math.floor(i / width);
    bytes.set([blue, green, red].map(Math.round), 54 + row * stride + 3 * (i % width));
  });
  return `data:image/bmp;base64,${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}`;
}
