/** Specifications for random tensors: their shapes, element types and ranges. */
import { uniform } from "../../dist/bench/values.js";

/** Uniform float32 numbers. */
export const floats = (shape, low = -2, high = 2) => ({ shape, dtype: "float32", low, high });
/** Uniform integers from low to high - 1. */
export const ints = (shape, low, high) => ({ shape, dtype: "int32", low, high });
export const bools = (shape) => ({ shape, dtype: "bool", low: 0, high: 2 });
export const exactly = (values, dtype, shape = [values.length]) => ({ values, dtype, shape });

/** The elements of the tensor that a specification describes. */
export function valuesOf({ shape, dtype, low, high, values }, seed) {
  if (values) return values;
  const all = uniform(
    shape.reduce((a, b) => a * b, 1),
    low,
    high,
    seed,
  );
  return dtype === "float32" ? all : (dtype === "bool" ? Uint8Array : Int32Array).from(all, Math.floor);
}

export const square = (n) => Math.max(2, Math.round(Math.sqrt(n)));
/** The shape of one NHWC image with about n elements. */
export const image = (n, channels = 16, side = Math.max(8, square(n / channels))) => [1, side, side, channels];
export const volume = (n, side = Math.max(6, Math.round(Math.cbrt(n / 8)))) => [1, side, side, side, 8];
export const rows = (n) => [Math.max(1, Math.round(n / 256)), 256];
