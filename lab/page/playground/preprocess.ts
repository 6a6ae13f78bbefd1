/**
 * Pure functions that prepare a drawing like an MNIST digit: crop it, scale it to 20 × 20, and put its centre of mass
 * at the centre of 28 × 28.
 */
import { SIDE } from "../../../cli/mnist/packed.ts";

/** The longer side of a digit. */
const DIGIT = 20;

/** The values in rows of `width`, from 0 (paper) to 1 (ink). */
export interface Ink {
  readonly width: number;
  readonly height: number;
  readonly values: Float32Array;
}

/** The 28 × 28 values; undefined if nothing is drawn. */
export function preprocess(ink: Ink): Float32Array | undefined {
  const box = boundsOf(ink);
  if (!box) return undefined;
  const scale = DIGIT / Math.max(box.right - box.left, box.bottom - box.top);
  // Scale around the middle of the box to find the centre of mass, then around that centre.
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

/** 28 × 28 pixels around a point. Each is the mean of the square that it covers. */
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

/** For each of the 28 pixels along a side, the source pixels that it covers, with weights. */
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
