/**
 * Functions that the checks share: they draw random inputs, read the results of the reader's functions, and compare the
 * results with theory.
 */
import { Tensor, uniform } from "nabla";
import { showNumber } from "../experiment.ts";

/** Thrown if a check fails. The message gives the code's result, the likely mistake, and how to fix it. */
export class Hint extends Error {}

/** @throws Hint */
export function fail(message: string): never {
  throw new Hint(message);
}

/** n random numbers from low to high, which float32 represents exactly. */
export const draw = (n: number, low = -2, high = 2): number[] => [...uniform([n], low, high).data];

/** n random numbers with random signs, whose magnitudes are between low and high. */
export const drawAwayFromZero = (n: number, low = 0.5, high = 2): number[] =>
  draw(n, low, high).map((value, i) => (draw(1)[0]! < 0 !== (i % 2 === 0) ? -value : value));

/** A number as text with the minus sign −. For numbers in code, use `showNumber`. */
export const format = (value: number): string => showNumber(value).replace(/^-/, "−");

/** A matrix as code: `[[1, 2], [3, 4]]`. */
export const matrixText = (rows: readonly (readonly number[])[]): string =>
  `[${rows.map((row) => `[${row.map(showNumber).join(", ")}]`).join(", ")}]`;

/** Numbers as text, such as `(1, −2.5)`, cut off after six numbers. */
export const show = (values: readonly number[]): string =>
  values.length === 1
    ? format(values[0]!)
    : `(${values.slice(0, 6).map(format).join(", ")}${values.length > 6 ? ", …" : ""})`;

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const describeShape = (shape: readonly number[], isTensor: boolean): string => {
  if (isTensor) return `a tensor of shape [${shape.join(", ")}]`;
  if (shape.length === 0) return "a number";
  return shape.length === 1
    ? `an array of ${shape[0]} ${shape[0] === 1 ? "number" : "numbers"}`
    : `${shape[0]} rows of ${shape.slice(1).join(" × ")} numbers`;
};

/** The shape of nested arrays, from the lengths of each level's first array. */
function shapeOf(value: unknown): number[] {
  const isList = Array.isArray(value) || ArrayBuffer.isView(value);
  return isList ? [(value as ArrayLike<unknown>).length, ...shapeOf((value as ArrayLike<unknown>)[0])] : [];
}

const flatten = (value: unknown): unknown[] =>
  Array.isArray(value) || ArrayBuffer.isView(value)
    ? Array.from(value as ArrayLike<unknown>).flatMap(flatten)
    : [value];

/**
 * The numbers in a function's result, which must be a number, nested arrays or a tensor of the given shape.
 * @throws Hint if the result is something else, or contains a number that is not finite
 */
export function read(value: unknown, shape: readonly number[], what: string): number[] {
  if (value === undefined) fail(`${what} returned nothing. Does every path of the function end with \`return\`?`);
  if (value instanceof Promise) fail(`${what} returned a promise. Remove \`async\`: the checks call it directly.`);
  const isTensor = value instanceof Tensor;
  const found = isTensor ? [...value.shape] : shapeOf(value);
  const numbers = isTensor ? [...value.data] : flatten(value);
  const odd = numbers.find((one) => typeof one !== "number");
  if (odd !== undefined || numbers.length === 0)
    fail(
      `${what} must be ${describeShape(shape, false)}, got ${odd instanceof Tensor ? "tensors in an array" : nameOf(numbers.length ? odd : [])}.`,
    );
  const fits = found.length === shape.length && found.every((size, i) => size === shape[i]);
  if (!fits && !(sizeOf(shape) === 1 && numbers.length === 1))
    fail(`${what} must be ${describeShape(shape, isTensor)}, got ${describeShape(found, isTensor)}.`);
  if (numbers.length !== sizeOf(shape)) fail(`${what} has rows of different lengths.`);
  const bad = numbers.findIndex((one) => !Number.isFinite(one));
  if (bad >= 0)
    fail(
      `${what} ${shape.length ? `contains ${numbers[bad]}, at index ${bad}` : `is ${numbers[bad]}`}. Look for a division by zero, an overflow, or an array that is read past its end.`,
    );
  return numbers as number[];
}

const nameOf = (value: unknown): string => {
  if (Array.isArray(value)) return "an empty array";
  if (value === null) return "null";
  return typeof value === "object" ? "an object" : typeof value === "string" ? JSON.stringify(value) : typeof value;
};

export interface Expected {
  /** The name of the result, such as "`gradient` at θ = (1, 2)". */
  readonly what: string;
  readonly want: readonly number[];
  /** The allowed difference, relative to the largest expected number. */
  readonly within: number;
  /**
   * Likely mistakes: a hint for each, and the values that code with this mistake returns. The reader gets the hint for
   * the first mistake whose values match.
   */
  readonly slips?: readonly (readonly [hint: string, values: readonly number[]])[];
}

/** The largest absolute value. */
export const largest = (values: readonly number[]): number => Math.max(0, ...values.map(Math.abs));

/** Whether all differences are at most `within` times the largest expected number. */
export const close = (got: readonly number[], want: readonly number[], within: number): boolean =>
  got.every((value, i) => Math.abs(value - want[i]!) <= within * Math.max(largest(want), 1e-12));

/** @throws Hint if the numbers differ from the expected ones */
export function agree(got: readonly number[], { what, want, within, slips = [] }: Expected): void {
  if (close(got, want, within)) return;
  // Skip mistakes that give almost the right values: they cannot be told from rounding errors.
  const slip = slips.find(([, values]) => close(got, values, within) && !close(values, want, within));
  const at = got.findIndex((value, i) => Math.abs(value - want[i]!) > within * Math.max(largest(want), 1e-12));
  const [is, should] = got.length <= 4 ? [got, want] : [got.slice(at, at + 1), want.slice(at, at + 1)];
  const where = got.length <= 4 ? "" : `, element ${at},`;
  fail(
    `${what}${where} is ${show(is)}, but should be ${show(should)}. ${slip?.[0] ?? proportion(got, want, within)}`.trim(),
  );
}

/** A hint if all numbers are wrong by the same factor; otherwise empty. */
function proportion(got: readonly number[], want: readonly number[], within: number): string {
  const at = want.findIndex((value) => Math.abs(value) === largest(want));
  const factor = got[at]! / want[at]!;
  if (
    largest(want) === 0 ||
    factor === 0 ||
    !close(
      got,
      want.map((value) => factor * value),
      within,
    )
  )
    return "";
  if (Math.abs(factor + 1) <= within) return "The sign is wrong.";
  return got.length > 1 ? `Every element is ${format(factor)} times the right value: a factor is wrong.` : "";
}
