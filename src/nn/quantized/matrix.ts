/** Weights of low precision, and their conversion from and to float32. */
import { WeightFormat } from "../../../assembly/opcodes.ts";
import { roundEven, toHalves } from "../../core/half.ts";
import { asInternal } from "../../core/owners.ts";
import { tidy } from "../../core/scope.ts";
import { fromElements, type Tensor } from "../../core/tensor.ts";
import { type NarrowMatrix, widen } from "../../ops/matrix/widen.ts";
import { Error, quote } from "../../runtime/errors.ts";

/** The formats of quantized weights. */
export const kinds = {
  int8: WeightFormat.Int8,
  int4: WeightFormat.Int4,
  float16: WeightFormat.Float16,
  bfloat16: WeightFormat.BFloat16,
} as const;

/** The name of a format of quantized weights. */
export type QuantizedType = keyof typeof kinds;

/** A quantized weight. */
export interface NarrowWeight {
  readonly dtype: QuantizedType;
  /** The shape in float32: [rows, ...]. */
  readonly shape: readonly number[];
  /** The numbers as bytes, uint8 [rows, ...]. */
  readonly weight: Tensor;
  /** int8: the scale of each row, float32 [rows]. int4: the scale of each group, float32 [rows, groups]. Otherwise null. */
  readonly scale: Tensor | null;
  /** The sum of each row's numbers, for products in int8; otherwise null. */
  readonly sums: Int32Array | null;
}

/** The length of the groups of int4 numbers. */
const GROUP = 32;

/** Whether rows of k numbers take less memory in int4, whose last group is padded, than in int8. Both have float32 scales. */
export const isSmallerInInt4 = (k: number): boolean => Math.ceil(k / GROUP) * (GROUP / 2 + 4) < k + 4;

/**
 * Quantizes rows of k numbers. int8: w ≈ (byte − 128)·scale, where the scale of a row is max |w| / 127. int4: w ≈ (half − 8)·scale, where
 * the scale of a group is −w/8 for its largest number w, so that all 16 values are used (llama.cpp's Q4_0).
 */
function toWhole(data: ArrayLike<number>, rows: number, k: number, isInt4: boolean) {
  const size = isInt4 ? GROUP : k;
  const groups = Math.ceil(k / size);
  const bytes = new Uint8Array(isInt4 ? (rows * groups * GROUP) / 2 : data.length);
  const scales = new Float32Array(rows * groups);
  const sums = new Int32Array(rows);
  for (let g = 0; g < scales.length; g++) {
    const row = Math.floor(g / groups);
    const from = row * k + (g % groups) * size;
    const end = Math.min(from + size, (row + 1) * k);
    let most = 0;
    for (let i = from; i < end; i++) if (Math.abs(data[i]!) > Math.abs(most)) most = data[i]!;
    let scale = Math.fround(isInt4 ? most / -8 : Math.abs(most) / 127);
    // If the scale was rounded up, 127 times the scale can be infinite. Take the next smaller float32.
    if (!isInt4 && Math.fround(127 * scale) === Infinity) scale = Math.fround(scale * (1 - 2 ** -24));
    scales[g] = scale;
    for (let i = from; i < end; i++) {
      const q = scale ? roundEven(data[i]! / scale) : 0;
      if (isInt4) {
        const at = (i - from) % 16;
        bytes[16 * g + at]! |= (Math.max(-8, Math.min(7, q)) + 8) << (i - from >= 16 ? 4 : 0);
      } else {
        const whole = Math.max(-127, Math.min(127, q));
        bytes[i] = whole + 128;
        sums[row]! += whole;
      }
    }
  }
  return { bytes, scales, sums };
}

/**
 * Quantizes a weight, [rows, ...]. Rows that int4 would not make smaller than int8 become int8.
 * @returns the weight, and ‖w − ŵ‖ / ‖w‖
 * @throws Error if a number is NaN, infinite or too large for a 16-bit format
 */
export function quantizeWeight(name: string, x: Tensor, dtype: QuantizedType): { weight: NarrowWeight; error: number } {
  const { data, shape } = x;
  const rows = shape[0]!;
  const flaw = data.findIndex((w) => !Number.isFinite(w));
  if (flaw >= 0)
    throw new Error(`quantize: ${quote(name)} contains ${data[flaw]}. Quantize a model whose weights are finite.`);
  const bytesAs = (bytes: Uint8Array, dims: readonly number[]): Tensor =>
    fromElements(bytes, dims, "uint8", "quantize").keep();
  let weight: NarrowWeight;
  if (dtype === "float16" || dtype === "bfloat16") {
    const remedy = dtype === "float16" ? "Use bfloat16" : "List its module in { skip }";
    const tooLarge = (w: number): Error =>
      new Error(`quantize: ${quote(name)} contains ${w}, which ${dtype} cannot hold. ${remedy}.`);
    const bytes = toHalves(data as Float32Array, dtype, tooLarge);
    const dims = [...shape.slice(0, -1), 2 * shape.at(-1)!];
    weight = { dtype, shape, weight: bytesAs(bytes, dims), scale: null, sums: null };
  } else {
    const isInt4 = dtype === "int4" && isSmallerInInt4(data.length / rows);
    const { bytes, scales, sums } = toWhole(data, rows, data.length / rows, isInt4);
    const scale = fromElements(scales, isInt4 ? [rows, scales.length / rows] : [rows], "float32", "quantize").keep();
    weight = {
      dtype: isInt4 ? "int4" : "int8",
      shape,
      weight: bytesAs(bytes, isInt4 ? [rows, bytes.length / rows] : shape),
      scale,
      sums: dtype === "int8" ? sums : null,
    };
  }
  const close = tidy(() => widenRows(weight).data);
  let [squares, lost] = [0, 0];
  data.forEach((w: number, i: number) => {
    squares += w * w;
    lost += (w - close[i]!) ** 2;
  });
  return { weight, error: squares ? Math.sqrt(lost / squares) : 0 };
}

/** A weight as the ops take it. */
export const matrixOf = ({ weight, scale, dtype }: NarrowWeight): NarrowMatrix => ({
  weight,
  scale,
  kind: kinds[dtype],
});

/** The whole weight in float32. */
export const widenRows = asInternal((small: NarrowWeight): Tensor => {
  const { shape } = small;
  const [rows, k] = [shape[0]!, shape.slice(1).reduce((a, b) => a * b, 1)];
  return (widen(matrixOf(small), [rows, k]) as Tensor).reshape(shape);
});
