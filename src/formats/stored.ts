/** Element types of safetensors files, and what they become: float32, int32, uint8 or bool. */
import type { DType } from "../ops/value.ts";
import type { TypedArray } from "../tensor.ts";
import { FormatError } from "./errors.ts";

/** A type as files name it. */
export type Stored = "F32" | "I32" | "U8" | "BOOL" | "F64" | "F16" | "BF16" | "I64" | "U32" | "I16" | "U16" | "I8";

interface StoredType {
  /** Bytes of an element. */
  readonly bytes: number;
  /** What tensors of it become. */
  readonly dtype: DType;
  /** Elements as that type has them; absent where bytes are the same. @throws FormatError where one does not fit */
  readonly convert?: (bytes: Uint8Array) => TypedArray;
}

type Constructor<T> = {
  new (buffer: ArrayBufferLike, offset: number, length: number): T;
  readonly BYTES_PER_ELEMENT: number;
};

/** Bytes as elements: a view where they are aligned, else a copy. */
export function elementsOf<T>(Type: Constructor<T>, bytes: Uint8Array): T {
  const { BYTES_PER_ELEMENT: width } = Type;
  const { buffer, byteOffset, length } = bytes.byteOffset % width ? bytes.slice() : bytes;
  return new Type(buffer, byteOffset, length / width);
}

/** float32 of IEEE half precision that is no normal number: zero, subnormal, infinite, or none. */
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
    // Normal numbers: another bias of the exponent, and a longer fraction.
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

function refuse(value: bigint | number): never {
  throw new FormatError(`does not fit: ${value} is no int32, which nabla has.`);
}

/** int64, as pairs of int32: the higher one only carries on the lower one's sign. @throws FormatError */
function fromLong(bytes: Uint8Array): Int32Array {
  const words = elementsOf(Int32Array, bytes);
  const values = new Int32Array(words.length / 2);
  for (let i = 0; i < values.length; i++) {
    const low = words[2 * i]!;
    if (words[2 * i + 1] !== low >> 31) refuse(elementsOf(BigInt64Array, bytes)[i]!);
    values[i] = low;
  }
  return values;
}

/** @throws FormatError */
function fromUnsigned(bytes: Uint8Array): Int32Array {
  const values = elementsOf(Int32Array, bytes);
  for (const value of values) if (value < 0) refuse(value >>> 0);
  return values;
}

export const stored: Readonly<Record<Stored, StoredType>> = {
  F32: { bytes: 4, dtype: "float32" },
  I32: { bytes: 4, dtype: "int32" },
  U8: { bytes: 1, dtype: "uint8" },
  BOOL: { bytes: 1, dtype: "bool", convert: (bytes) => bytes.map((byte) => Number(byte !== 0)) },
  F64: { bytes: 8, dtype: "float32", convert: (bytes) => new Float32Array(elementsOf(Float64Array, bytes)) },
  F16: { bytes: 2, dtype: "float32", convert: fromHalf },
  BF16: { bytes: 2, dtype: "float32", convert: fromBrain },
  I64: { bytes: 8, dtype: "int32", convert: fromLong },
  U32: { bytes: 4, dtype: "int32", convert: fromUnsigned },
  I16: { bytes: 2, dtype: "int32", convert: (bytes) => new Int32Array(elementsOf(Int16Array, bytes)) },
  U16: { bytes: 2, dtype: "int32", convert: (bytes) => new Int32Array(elementsOf(Uint16Array, bytes)) },
  I8: { bytes: 1, dtype: "int32", convert: (bytes) => new Int32Array(elementsOf(Int8Array, bytes)) },
};

/** As what nabla's types are written. */
export const storedAs: Readonly<Record<DType, Stored>> = { float32: "F32", int32: "I32", uint8: "U8", bool: "BOOL" };

/**
 * Elements of a stored type as tensors hold them: a view of `bytes` where nothing is to be done. @param name for messages
 * @throws FormatError where one does not fit
 */
export function decode(name: string, type: Stored, bytes: Uint8Array): TypedArray {
  const { convert, dtype } = stored[type];
  try {
    if (convert) return convert(bytes);
  } catch (error) {
    if (error instanceof FormatError) error.message = `safetensors: ${JSON.stringify(name)} ${error.message}`;
    throw error;
  }
  return dtype === "float32"
    ? elementsOf(Float32Array, bytes)
    : dtype === "int32"
      ? elementsOf(Int32Array, bytes)
      : bytes;
}
