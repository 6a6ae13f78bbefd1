/**
 * The values that ops take, and shape arithmetic: broadcasting, dimensions, strides. All functions are pure and do not
 * access linear memory.
 */
import { Type } from "../../../assembly/opcodes.ts";
import { DTypeError, listed, RangeError, ShapeError } from "../../runtime/errors.ts";
import { describe, pairwise } from "../../runtime/kinds.ts";

/** The sizes of a tensor's dims, such as [32, 784]. */
export type Shape = readonly number[];

/** An element type: `float32` for computing, `int32` for indices and labels, `bool` for masks, `uint8` for pixels. */
export type DType = "float32" | "int32" | "bool" | "uint8";

/** A contiguous, row-major array in linear memory. Tensor is the only implementation. */
export interface Value {
  readonly shape: Shape;
  readonly dtype: DType;
  /** The number of elements. */
  readonly size: number;
}

/** The shape and type of an op's result. */
export interface Spec {
  /** The size of each dim; [] for a single number. */
  readonly shape: Shape;
  /** The element type. */
  readonly dtype: DType;
}

export const bytesPerElement: Record<DType, number> = {
  float32: 4,
  int32: 4,
  bool: 1,
  uint8: 1,
};

export const typeCode: Record<DType, Type> = {
  float32: Type.Float32,
  int32: Type.Int32,
  bool: Type.Bool,
  uint8: Type.Uint8,
};

/** The smallest and the largest int32. */
export const [INT32_MIN, INT32_MAX] = [-(2 ** 31), 2 ** 31 - 1];

/** Whether int32 can represent a number exactly. */
export const isInt32 = (value: number): boolean => value === (value | 0);

/**
 * Converts a number to an element type by the rules of the Cast kernel. For int32, the number is truncated and
 * saturated, and NaN becomes 0. For uint8, the low eight bits of the int32 result are kept. For bool, only 0 becomes
 * false, so NaN becomes true.
 */
export function toDType(value: number, dtype: DType): number {
  if (dtype === "float32") return value;
  if (dtype === "bool") return value === 0 ? 0 : 1;
  const whole = Math.min(INT32_MAX, Math.max(INT32_MIN, value)) | 0;
  return dtype === "int32" ? whole : whole & 255;
}

/** @throws RangeError if an element type cannot represent the integer part of a number */
export function requireInDType(op: string, value: number, dtype: DType): void {
  if (dtype !== "int32" && dtype !== "uint8") return;
  const [low, high] = dtype === "int32" ? [INT32_MIN, INT32_MAX] : [0, 255];
  const whole = Math.trunc(value);
  if (whole < low || whole > high)
    throw new RangeError(
      `${op}: ${value} is outside ${dtype}'s range, ${low} … ${high}. Use different bounds or a different dtype.`,
    );
}

/** Converts each element with toDType. Returns `values` itself if no element needs to be converted. */
export function allToDType(values: ArrayLike<number>, dtype: DType): ArrayLike<number> {
  const fits =
    dtype === "float32" ||
    (dtype === "int32"
      ? values instanceof Int32Array
      : dtype === "uint8" && (values instanceof Uint8Array || values instanceof Uint8ClampedArray));
  return fits ? values : Array.from(values, (v) => toDType(Number(v), dtype));
}

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const dim of shape) size *= dim;
  return size;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * A hash of a shape, to detect whether a caller changed a tensor's shape array. Freezing the arrays instead would
 * double the cost of a small op.
 */
export function fingerprint(shape: Shape): number {
  let hash = shape.length;
  for (let i = 0; i < shape.length; i++) hash = (31 * hash + shape[i]!) | 0;
  return hash;
}

/** Formats a shape for messages, such as `[2, 3]`. */
export function show(shape: Shape): string {
  return `[${listed(shape)}]`;
}

/** The shape to which a and b broadcast by NumPy's rules. @throws ShapeError */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const x = a[a.length - i] ?? 1;
    const y = b[b.length - i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(
        `${op}: ${show(a)} and ${show(b)} do not broadcast: sizes ${x} and ${y} at dim ${-i} differ and neither is 1. ` +
          "Reshape or unsqueeze one of them.",
      );
    }
    out[rank - i] = x === 1 ? y : x;
  }
  return out;
}

/** Converts a dim to a non-negative index. Negative dims count from the end. @throws ShapeError */
export function normalizeDim(op: string, dim: number, rank: number): number {
  const at = dim < 0 ? dim + rank : dim;
  if (!Number.isInteger(dim) || at < 0 || at >= rank) {
    if (!rank) {
      const instead = pairwise[op] ? `For two numbers, use ${pairwise[op]}(a, b).` : "Pass a tensor with dimensions.";
      throw new ShapeError(`${op}: x must have at least one dimension, got a number or a tensor []. ${instead}`);
    }
    throw new ShapeError(`${op}: dim must be in ${-rank} … ${rank - 1}, got ${dim}.`);
  }
  return at;
}

/**
 * Converts dims to non-negative indices in ascending order. If `dims` is undefined, returns all indices. @throws
 * ShapeError
 */
export function normalizeDims(op: string, dims: number | readonly number[] | undefined, rank: number): number[] {
  if (dims === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof dims === "number" ? [dims] : dims).map((dim) => normalizeDim(op, dim, rank));
  const distinct = [...new Set(list)].sort((a, b) => a - b);
  if (distinct.length !== list.length)
    throw new ShapeError(`${op}: dims ${show(list)} repeat a dimension. List each dimension once.`);
  return distinct;
}

/** Row-major strides, in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

/** The strides for reading an operand of shape `from` as if it had shape `to`. They are 0 along broadcast dims. */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const own = contiguousStrides(from);
  const offset = to.length - from.length;
  return to.map((_, i) => (i < offset || from[i - offset] === 1 ? 0 : own[i - offset]!));
}

/** One dimension of a loop nest over two operands: its size, and the stride of each operand. */
export interface Dimension {
  size: number;
  first: number;
  second: number;
}

/**
 * A loop nest over `sizes` with as few dimensions as possible: dims of size 1 are dropped, and neighbouring dims with
 * matching strides are merged.
 */
export function collapse(sizes: Shape, first: readonly number[], second: readonly number[]): Dimension[] {
  const dims: Dimension[] = [];
  for (let i = 0; i < sizes.length; i++) {
    const own = { size: sizes[i]!, first: first[i]!, second: second[i]! };
    if (own.size === 1) continue;
    const last = dims.at(-1);
    if (last && last.first === own.first * own.size && last.second === own.second * own.size) {
      dims[dims.length - 1] = { ...own, size: last.size * own.size };
    } else dims.push(own);
  }
  return dims;
}

/** @throws DTypeError unless `dtype` is an element type */
export function requireDType(op: string, dtype: DType): void {
  if (!Object.hasOwn(bytesPerElement, dtype))
    throw new DTypeError(`${op}: "${dtype}" is not a dtype. Use float32, int32, bool or uint8.`);
}

/** @throws DTypeError unless x has the element type `dtype` */
export function requireType(op: string, x: Value, dtype: DType, role = "input"): void {
  if (x.dtype !== dtype) {
    throw new DTypeError(`${op}: the ${role} must be ${dtype}, got ${x.dtype}. Convert it with .to("${dtype}").`);
  }
}

/** @throws ShapeError unless every size is a whole number ≥ 0. */
export function requireShape(op: string, shape: Shape): void {
  if (
    !Array.isArray(shape) ||
    shape.some((dim) => !Number.isInteger(dim) || dim < 0) ||
    !Number.isSafeInteger(4 * sizeOf(shape))
  ) {
    throw new ShapeError(
      `${op}: ${Array.isArray(shape) ? show(shape) : describe(shape)} is not a shape. Pass an array of whole numbers, such as [2, 3].`,
    );
  }
}

/** The list of numbers that a caller passed as separate arguments or as one array: reshape(2, 3) or reshape([2, 3]). */
export function listOf(op: string, numbers: readonly unknown[]): readonly number[] {
  const list: readonly unknown[] = Array.isArray(numbers[0]) ? numbers[0] : numbers;
  if (list !== numbers && numbers.length > 1)
    throw new ShapeError(
      `${op}: got an array and ${numbers.length - 1} more arguments. Pass either one array or separate numbers.`,
    );
  if (list.every((n) => typeof n === "number")) return list as readonly number[];
  throw new ShapeError(
    `${op}: ${describe(list)} is not a list of numbers. Pass either separate numbers or one array of numbers.`,
  );
}
