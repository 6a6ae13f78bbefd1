/** Copy and fill instructions, which implement all ops that move elements. */
import { bitsOf, type Encoder } from "../../runtime/encoder.ts";
import { encodeFill, encodeStridedCopy, type StridedCopyCode } from "../../runtime/instructions.ts";
import {
  bytesPerElement,
  collapse,
  contiguousStrides,
  type DType,
  type Shape,
  sizeOf,
  toDType,
  type Value,
} from "../definition/value.ts";

/** Writes the instruction for a strided copy of an array of shape `shape`. Offsets and strides are in elements. */
export function copyElements(
  encoder: Encoder,
  code: StridedCopyCode,
  dtype: DType,
  shape: Shape,
  to: { address: number; offset: number; strides: readonly number[] },
  from: { address: number; offset: number; strides: readonly number[] },
): void {
  const bytes = bytesPerElement[dtype];
  const dims = collapse(shape, to.strides, from.strides);
  if (!dims.length) dims.push({ size: sizeOf(shape), first: 1, second: 1 });
  encodeStridedCopy(encoder, code, {
    out: to.address + to.offset * bytes,
    x: from.address + from.offset * bytes,
    elementBytes: bytes,
    dims: dims.map(({ size, first, second }) => ({ size, first: first * bytes, second: second * bytes })),
  });
}

/** The bit pattern of one element, repeated to fill 32 bits. */
export const patternOf = (value: number, dtype: DType): number =>
  dtype === "float32" ? bitsOf(value) : toDType(value, dtype) * (dtype === "int32" ? 1 : 0x01010101);

/** Writes an instruction that fills a value with a single number. */
export function fillWith(encoder: Encoder, address: number, x: Value, value: number): void {
  const bytes = x.size * bytesPerElement[x.dtype];
  encodeFill(encoder, { out: address, bytes, value: patternOf(value, x.dtype) });
}

/** Describes a contiguous operand of a copy. */
export function whole(address: number, shape: Shape): { address: number; offset: number; strides: number[] } {
  return { address, offset: 0, strides: contiguousStrides(shape) };
}
