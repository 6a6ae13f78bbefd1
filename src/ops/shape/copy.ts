/** Copy and fill instructions, which implement all ops that move elements, and their oracle. */
import { Dim, Fill, Op, StridedCopy } from "../../../assembly/opcodes.ts";
import type { Encoder } from "../../runtime/engine.ts";
import type { Reference } from "../definition/op.ts";
import {
  bytesPerElement,
  collapse,
  contiguousStrides,
  type DType,
  held,
  type Shape,
  sizeOf,
  type Value,
} from "../definition/value.ts";

/** Writes a strided copy of `shape` elements; offsets and strides in elements. */
export function encodeCopy(
  encoder: Encoder,
  code: Op,
  dtype: DType,
  shape: Shape,
  to: { address: number; offset: number; strides: readonly number[] },
  from: { address: number; offset: number; strides: readonly number[] },
): void {
  const bytes = bytesPerElement[dtype];
  const { sizes, strides } = collapse(shape, [to.strides, from.strides]);
  if (!sizes.length) {
    sizes.push(sizeOf(shape));
    for (const own of strides) own.push(1);
  }
  encoder.begin(code, StridedCopy.words + sizes.length * Dim.words);
  encoder.set(StridedCopy.out, to.address + to.offset * bytes);
  encoder.set(StridedCopy.x, from.address + from.offset * bytes);
  encoder.set(StridedCopy.elementBytes, bytes);
  encoder.set(StridedCopy.rank, sizes.length);
  for (let i = 0, at: number = StridedCopy.words; i < sizes.length; i++, at += Dim.words) {
    encoder.set(at + Dim.size, sizes[i]!);
    encoder.set(at + Dim.first, strides[0]![i]! * bytes);
    encoder.set(at + Dim.second, strides[1]![i]! * bytes);
  }
  encoder.end();
}

/** Writes a fill of a whole value with one number. */
export function encodeFill(encoder: Encoder, address: number, x: Value, value: number): void {
  encoder.begin(Op.Fill, Fill.words);
  encoder.set(Fill.out, address);
  encoder.set(Fill.bytes, x.size * bytesPerElement[x.dtype]);
  if (x.dtype === "float32") encoder.setFloat(Fill.value, value);
  else encoder.set(Fill.value, held(value, x.dtype) * (x.dtype === "int32" ? 1 : 0x01010101));
  encoder.end();
}

/** The oracle of a strided read: element k of `shape` is x[offset + Σ index·stride]. */
export function strided(x: Reference, shape: Shape, offset: number, strides: readonly number[]): Reference {
  const data: number[] = [];
  const visit = (dim: number, at: number): void => {
    if (dim === shape.length) data.push(x.data[at]!);
    else for (let i = 0; i < shape[dim]!; i++) visit(dim + 1, at + i * strides[dim]!);
  };
  visit(0, offset);
  return { shape, data };
}

/** A contiguous operand of a copy. */
export function whole(address: number, shape: Shape): { address: number; offset: number; strides: number[] } {
  return { address, offset: 0, strides: contiguousStrides(shape) };
}
