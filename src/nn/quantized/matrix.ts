/** Weights as int8 numbers with a scale for each row, and their conversion from and to float32. */
import { fromElements, type Tensor } from "../../core/tensor.ts";
import { Error, quote } from "../../runtime/errors.ts";

/** A quantized weight. */
export interface Int8Weight {
  /** The int8 numbers plus 128, as uint8 in the shape of the weight. */
  readonly weight: Tensor;
  /** The factor of each row's numbers, float32 [rows]. */
  readonly scale: Tensor;
  /** The sum of each row's numbers. */
  readonly sums: Int32Array;
}

/** The byte that stands for 0, and the largest distance of other bytes from it. */
const ZERO = 128;
const LARGEST = 127;

/** Adding and then subtracting this constant rounds a small number to the nearest whole number, and halves to the even one. */
const ROUND = 1.5 * 2 ** 52;

/**
 * Quantizes a weight, [rows, ...]: w ≈ (byte − 128)·scale, where the scale of a row is max |w| / 127.
 * @returns the weight, and ‖w − ŵ‖ / ‖w‖
 * @throws Error if a number is NaN or infinite
 */
export function quantizeWeight(name: string, x: Tensor): { weight: Int8Weight; error: number } {
  const { data, shape } = x;
  const rows = shape[0]!;
  const k = data.length / rows;
  const bytes = new Uint8Array(data.length);
  const scales = new Float32Array(rows);
  const sums = new Int32Array(rows);
  let [squares, lost] = [0, 0];
  for (let row = 0, at = 0; row < rows; row++) {
    let most = 0;
    for (let i = at; i < at + k; i++) {
      const size = Math.abs(data[i]!);
      if (!(size < Number.POSITIVE_INFINITY))
        throw new Error(`quantize: ${quote(name)} contains ${data[i]}. Quantize a model whose weights are finite.`);
      if (size > most) most = size;
    }
    scales[row] = most / LARGEST;
    const scale = scales[row]!;
    let sum = 0;
    for (const end = at + k; at < end; at++) {
      const w = data[at]!;
      const q = scale ? Math.max(-LARGEST, Math.min(LARGEST, w / scale + ROUND - ROUND)) : 0;
      bytes[at] = q + ZERO;
      sum += q;
      squares += w * w;
      lost += (w - q * scale) ** 2;
    }
    sums[row] = sum;
  }
  const weight = {
    weight: fromElements(bytes, shape, "uint8", "quantize").keep(),
    scale: fromElements(scales, [rows], "float32", "quantize").keep(),
    sums,
  };
  return { weight, error: squares ? Math.sqrt(lost / squares) : 0 };
}

/** Converts uint8 numbers to float32: (numbers − 128)·scale. The shape of `scale` broadcasts to that of `numbers`. */
export const widen = (numbers: Tensor, scale: Tensor): Tensor => numbers.to("float32").sub(ZERO).mul(scale);

/** The whole weight in float32. */
export const widenRows = ({ weight, scale }: Pick<Int8Weight, "weight" | "scale">): Tensor =>
  widen(weight, scale.reshape([weight.shape[0]!, ...weight.shape.slice(1).map(() => 1)]));
