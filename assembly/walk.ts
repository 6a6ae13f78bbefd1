/** Offsets of operands in a nest of loops over several dimensions (layouts.ts: Dim). */
import { Dim } from "./layouts";

/**
 * The offset of an operand (Dim.first or Dim.second) at step `index` of the dimensions whose words are in [dims, end),
 * outermost first: the digits of `index` in the mixed radix of the sizes, times the operand's strides.
 */
export function offsetAt(index: u32, dims: usize, end: usize, operand: usize): isize {
  let offset: isize = 0;
  for (let dim = end; dim > dims;) {
    dim -= Dim.words << 2;
    const size = load<u32>(dim, Dim.size << 2);
    const quotient = index / size;
    offset += <isize>(index - quotient * size) * load<i32>(dim + (operand << 2));
    index = quotient;
  }
  return offset;
}

/** Multiplies the sizes of the dimensions whose words are in [dims, end). */
export function stepsOf(dims: usize, end: usize): u32 {
  let steps: u32 = 1;
  for (let dim = dims; dim < end; dim += Dim.words << 2) steps *= load<u32>(dim, Dim.size << 2);
  return steps;
}
