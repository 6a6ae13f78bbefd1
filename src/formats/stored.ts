/** Element types of safetensors files, and their conversion to float32, int32, uint8 or bool. */

import type { TypedArray } from "../core/elements.ts";
import type { DType } from "../ops/definition/value.ts";
import { TypeError } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";
import { FormatError, quote } from "./errors.ts";

/** The element types that nabla reads, under the names that files use. */
export type Stored = "F32" | "I32" | "U8" | "BOOL" | "F64" | "F16" | "BF16" | "I64" | "U32" | "I16" | "U16" | "I8";

/**
 * What to do with numbers outside the range of float32 or int32: "error" throws, "saturate" reads ±Infinity or the
 * nearest int32.
 */
export type Overflow = "error" | "saturate";

/** Called with the index and the value of a number that does not fit. Throws if the option `overflow` is "error". */
type OnOverflow = (index: number, value: number | bigint) => void;

interface StoredType {
  /** Bytes per element. */
  readonly bytes: number;
  /** The element type of the tensor that nabla creates. */
  readonly dtype: DType;
  /** Converts bytes to elements of that tensor; absent if no conversion is needed. */
  readonly convert?: (bytes: Uint8Array, onOverflow: OnOverflow) => TypedArray;
}

type Constructor<T> = {
  new (buffer: ArrayBufferLike, offset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
};

/** Bytes as typed elements: a view if they are aligned, otherwise a copy. */
export function elementsOf<T>(Type: Constructor<T>, bytes: Uint8Array): T {
  const { BYTES_PER_ELEMENT: width } = Type;
  const { buffer, byteOffset, length } = bytes.byteOffset % width ? bytes.slice() : bytes;
  return new Type(buffer, byteOffset, length / width);
}

/** Converts a float16 that is not a normal number: zero, subnormal, infinite or NaN. */
function specialHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const fraction = half & 1023;
  if (half & 0x7c00) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * fraction * 2 ** -24;
}

function fromHalf(bytes: Uint8Array): Float32Array {
  const halves = elementsOf(Uint16Array, bytes);
  const values = new Float32Array(halves.length);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i]!;
    const exponent = half & 0x7c00;
    // Normal numbers: change the exponent's bias and extend the fraction.
    if (exponent && exponent !== 0x7c00) bits[i] = ((half & 0x8000) << 16) | (((half & 0x7fff) << 13) + (112 << 23));
    else values[i] = specialHalf(half);
  }
  return values;
}

function fromBrain(bytes: Uint8Array): Float32Array {
  const halves = elementsOf(Uint16Array, bytes);
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

const INT32 = { min: -(2 ** 31), max: 2 ** 31 - 1 };

/** Rounds float64 to float32. Only finite numbers that become infinite count as overflows. */
function fromDouble(bytes: Uint8Array, onOverflow: OnOverflow): Float32Array {
  const doubles = elementsOf(Float64Array, bytes);
  const values = new Float32Array(doubles);
  for (let i = 0; i < values.length; i++)
    if (Math.abs(values[i]!) === Number.POSITIVE_INFINITY && Number.isFinite(doubles[i]!)) onOverflow(i, doubles[i]!);
  return values;
}

/** Reads int64 as pairs of int32. A value fits if the high word is just the sign extension of the low word. */
function fromLong(bytes: Uint8Array, onOverflow: OnOverflow): Int32Array {
  const words = elementsOf(Int32Array, bytes);
  const values = new Int32Array(words.length / 2);
  for (let i = 0; i < values.length; i++) {
    const [low, high] = [words[2 * i]!, words[2 * i + 1]!];
    if (high !== low >> 31) onOverflow(i, (BigInt(high) << 32n) | BigInt(low >>> 0));
    values[i] = high === low >> 31 ? low : high < 0 ? INT32.min : INT32.max;
  }
  return values;
}

function fromUnsigned(bytes: Uint8Array, onOverflow: OnOverflow): Int32Array {
  const values = elementsOf(Int32Array, bytes);
  if (!values.some((value) => value < 0)) return values;
  return values.map((value, i) => {
    if (value < 0) onOverflow(i, value >>> 0);
    return value < 0 ? INT32.max : value;
  });
}

export const stored: Readonly<Record<Stored, StoredType>> = {
  F32: { bytes: 4, dtype: "float32" },
  I32: { bytes: 4, dtype: "int32" },
  U8: { bytes: 1, dtype: "uint8" },
  BOOL: { bytes: 1, dtype: "bool", convert: (bytes) => bytes.map((byte) => Number(byte !== 0)) },
  F64: { bytes: 8, dtype: "float32", convert: fromDouble },
  F16: { bytes: 2, dtype: "float32", convert: fromHalf },
  BF16: { bytes: 2, dtype: "float32", convert: fromBrain },
  I64: { bytes: 8, dtype: "int32", convert: fromLong },
  U32: { bytes: 4, dtype: "int32", convert: fromUnsigned },
  I16: { bytes: 2, dtype: "int32", convert: (bytes) => new Int32Array(elementsOf(Int16Array, bytes)) },
  U16: { bytes: 2, dtype: "int32", convert: (bytes) => new Int32Array(elementsOf(Uint16Array, bytes)) },
  I8: { bytes: 1, dtype: "int32", convert: (bytes) => new Int32Array(elementsOf(Int8Array, bytes)) },
};

/** The stored type of each tensor type. */
export const storedAs: Readonly<Record<DType, Stored>> = { float32: "F32", int32: "I32", uint8: "U8", bool: "BOOL" };

/** The stored type of float32 tensors that are written as 16-bit numbers. */
export const storedHalf = { float16: "F16", bfloat16: "BF16" } as const;

export const isStored = (dtype: string): dtype is Stored => Object.hasOwn(stored, dtype);

/**
 * The number of bits per element of any type; undefined if it is unknown. The names of types that nabla cannot read (U64, F8_E4M3, F4)
 * contain this number.
 */
export function bitsOf(dtype: string): number | undefined {
  if (isStored(dtype)) return 8 * stored[dtype].bytes;
  const bits = /^[A-Z]{1,4}(\d{1,3})(_[A-Z0-9]+)?$/.exec(dtype)?.[1];
  return bits === undefined ? undefined : Number(bits);
}

/** @throws FormatError if nabla cannot read this type */
export function requireStored(op: string, name: string, dtype: string): Stored {
  if (isStored(dtype)) return dtype;
  throw new FormatError(
    `${op}: ${quote(name)} is ${dtype}, which nabla does not read. Read the other tensors with { names: [...] }, ` +
      `or save it as one of ${Object.keys(stored).join(", ")}.`,
  );
}

/** A flat index as one index per dimension, such as "[1, 2]". */
function showIndex(index: number, shape: readonly number[]): string {
  const indices: number[] = [];
  for (let dim = shape.length; dim-- > 0; index = Math.floor(index / shape[dim]!)) indices.unshift(index % shape[dim]!);
  return shape.length ? `[${indices.join(", ")}]` : "";
}

/**
 * Decodes elements of a stored type. Returns a view of `bytes` if they need no conversion.
 * @param name the tensor's name, for errors
 * @throws FormatError if a number does not fit, or nabla does not read the type
 */
export function decode(
  op: string,
  name: string,
  { dtype, shape }: { readonly dtype: string; readonly shape: readonly number[] },
  bytes: Uint8Array,
  overflow: Overflow = "error",
): TypedArray {
  const type = stored[requireStored(op, name, dtype)];
  if (overflow !== "error" && overflow !== "saturate")
    throw new TypeError(`${op}: overflow must be "error" or "saturate", got ${describe(overflow)}.`);
  const onOverflow: OnOverflow = (index, value) => {
    if (overflow === "error")
      throw new FormatError(
        `${op}: ${quote(name)}${showIndex(index, shape)} is ${value}, which ${type.dtype} cannot hold. ` +
          `Pass { overflow: "saturate" } to read it as ${type.dtype === "float32" ? "an infinity" : "the nearest int32"}.`,
      );
  };
  if (type.convert) return type.convert(bytes, onOverflow);
  if (type.dtype === "float32") return elementsOf(Float32Array, bytes);
  return type.dtype === "int32" ? elementsOf(Int32Array, bytes) : bytes;
}
