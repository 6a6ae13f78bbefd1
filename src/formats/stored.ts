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

/** float32 of IEEE half precision: the exponent is moved, and what was too small to be normal is made so. */
function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * (1 + fraction / 1024) * 2 ** (exponent - 15) : sign * fraction * 2 ** -24;
}

function fromBrain(bytes: Uint8Array): Float32Array {
  const bits = Uint32Array.from(elementsOf(Uint16Array, bytes), (half) => half << 16);
  return new Float32Array(bits.buffer);
}

/** @throws FormatError */
function toInt32<T extends number | bigint>(elements: ArrayLike<T>): Int32Array {
  return Int32Array.from(elements as ArrayLike<number | bigint>, (element) => {
    const value = Number(element);
    if (value !== (value | 0))
      throw new FormatError(`safetensors: ${element} does not fit into int32, which nabla has.`);
    return value;
  });
}

export const stored: Readonly<Record<Stored, StoredType>> = {
  F32: { bytes: 4, dtype: "float32" },
  I32: { bytes: 4, dtype: "int32" },
  U8: { bytes: 1, dtype: "uint8" },
  BOOL: { bytes: 1, dtype: "bool", convert: (bytes) => bytes.map((byte) => Number(byte !== 0)) },
  F64: { bytes: 8, dtype: "float32", convert: (bytes) => Float32Array.from(elementsOf(Float64Array, bytes)) },
  F16: { bytes: 2, dtype: "float32", convert: (bytes) => Float32Array.from(elementsOf(Uint16Array, bytes), fromHalf) },
  BF16: { bytes: 2, dtype: "float32", convert: fromBrain },
  I64: { bytes: 8, dtype: "int32", convert: (bytes) => toInt32(elementsOf(BigInt64Array, bytes)) },
  U32: { bytes: 4, dtype: "int32", convert: (bytes) => toInt32(elementsOf(Uint32Array, bytes)) },
  I16: { bytes: 2, dtype: "int32", convert: (bytes) => Int32Array.from(elementsOf(Int16Array, bytes)) },
  U16: { bytes: 2, dtype: "int32", convert: (bytes) => Int32Array.from(elementsOf(Uint16Array, bytes)) },
  I8: { bytes: 1, dtype: "int32", convert: (bytes) => Int32Array.from(elementsOf(Int8Array, bytes)) },
};

/** As what nabla's types are written. */
export const storedAs: Readonly<Record<DType, Stored>> = { float32: "F32", int32: "I32", uint8: "U8", bool: "BOOL" };

/** Elements of a stored type as tensors hold them: a view of `bytes` where nothing is to be done. @throws FormatError */
export function decode(type: Stored, bytes: Uint8Array): TypedArray {
  const { convert, dtype } = stored[type];
  if (convert) return convert(bytes);
  return dtype === "float32"
    ? elementsOf(Float32Array, bytes)
    : dtype === "int32"
      ? elementsOf(Int32Array, bytes)
      : bytes;
}
