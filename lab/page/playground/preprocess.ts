/**
 * Pure functions that prepare a drawing in the way that MNIST's digits were prepared: they crop it, scale its longer
 * side to 20 pixels, and move its centre of mass to the centre of 28 × 28 pixels.
 */
import { SIDE } from "../../../cli/mnist/packed.ts";

/** The length of a digit's longer side, in pixels. */
const DIGIT = 20;

/** A drawing: `values` holds the pixels row by row, from 0 (paper) to 1 (ink). */
export interface Ink {
  readonly width: number;
  readonly height: number;
  readonly values: Float32Array;
}

/** The drawing as 28 × 28 values; undefined if nothing is drawn. */
export function preprocess(ink: Ink): Float32Array | undefined {
  const box = boundsOf(ink);
  if (!box) return undefined;
  const scale = DIGIT / Math.max(box.right - box.left, box.bottom - box.top);
  // Scale around the middle of the box to find the centre of mass, then scale around the centre of mass.
  const middle = [(box.left + box.right) / 2, (box.top + box.bottom) / 2] as const;
  const [x, y] = centreOf(resample(ink, scale, middle));
  const half = SIDE / 2;
  return resample(ink, scale, [middle[0] + (Math.round(x) - half) / scale, middle[1] + (Math.round(y) - half) / scale]);
}

function boundsOf({
  width,
  height,
  values,
}: Ink): { left: number; right: number; top: number; bottom: number } | undefined {
  let [left, right, top, bottom] = [width, -1, height, -1];
  values.forEach((value, i) => {
    if (value < 0.1) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    left = Math.min(left, x);
    right = Math.max(right, x + 1);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y + 1);
  });
  return right > left ? { left, right, top, bottom } : undefined;
}

/**
 * Scales a drawing to 28 × 28 pixels around a point. Each pixel is the mean over the square that it covers in the
 * drawing.
 */
function resample({ width, height, values }: Ink, scale: number, [x, y]: readonly [number, number]): Float32Array {
  const half = SIDE / 2;
  const [columns, rows] = [weights(width, scale, x - half / scale), weights(height, scale, y - half / scale)];
  return Float32Array.from({ length: SIDE * SIDE }, (_, i) => {
    let total = 0;
    for (const [row, down] of rows[Math.floor(i / SIDE)]!)
      for (const [column, across] of columns[i % SIDE]!) total += down * across * values[row * width + column]!;
    return Math.min(1, total * scale * scale);
  });
}

/** For each of the 28 pixels along a side, the drawing's pixels that it covers, and the covered part of each. */
function weights(size: number, scale: number, from: number): (readonly [index: number, part: number])[][] {
  return Array.from({ length: SIDE }, (_, i) => {
    const [low, high] = [Math.max(0, from + i / scale), Math.min(size, from + (i + 1) / scale)];
    const covered: (readonly [number, number])[] = [];
    for (let at = Math.floor(low); at < high; at++) covered.push([at, Math.min(high, at + 1) - Math.max(low, at)]);
    return covered;
  });
}

/** The centre of mass, in pixels from the left and from the top. */
function centreOf(pixels: Float32Array): [number, number] {
  let [mass, x, y] = [0, 0, 0];
  pixels.forEach((value, i) => {
    mass += value;
    x += value * ((i % SIDE) + 0.5);
    y += value * (Math.floor(i / SIDE) + 0.5);
  });
  return [x / mass, y / mass];
}
