/**
 * Products with int8 weights. Activations are quantized row by row during the call. The products are summed in int32, which is exact, so
 * results have the same bits in every build.
 */
import { Op, QuantizedRow } from "../../../assembly/opcodes.ts";
import { kernels } from "../../runtime/engine.ts";
import { ShapeError } from "../../runtime/errors.ts";
import { encodeQuantizedMatmul, encodeQuantizeRows } from "../../runtime/instructions.ts";
import { apply, applyAll, type OpDefinition } from "../definition/op.ts";
import { show, sizeOf, type Value } from "../definition/value.ts";
import { float } from "../pointwise/pointwise.ts";
import { reshape } from "../shape/reshape.ts";

/** A matrix of int8 numbers with a scale for each row: (weight − 128)·scale. */
export interface QuantizedMatrix {
  /** The numbers plus 128, uint8 [rows, columns]. */
  readonly weight: Value;
  /** The factor of each row, float32 [rows]. */
  readonly scale: Value;
  /** The sum of each row's numbers, int32 [rows]. */
  readonly sums: Value;
}

interface RowsAttributes {
  /** The number of 7-bit planes for each number: 1 for 7 bits, 2 for 14. */
  readonly planes: 1 | 2;
}

interface ProductAttributes extends RowsAttributes {
  /** The first row of the weight to use, and the number of rows. */
  readonly first: number;
  readonly count: number;
  /** The number of columns of x. Quantized rows can be longer, because they are padded. */
  readonly k: number;
}

/** Products with at most this many rows spend more time on reading weights than on arithmetic. */
const FEW = 8;

/** The length of a quantized row with its padding. */
const padded = (k: number): number => Math.ceil(k / QuantizedRow.grain) * QuantizedRow.grain;

/** x: [m, k] → q: [m, planes, padded k] and, for each row, the scale and the zero point: [m, 2]. */
export const quantizeRowsDefinition: OpDefinition<RowsAttributes> = {
  code: Op.QuantizeRows,
  name: "quantizeRows",
  cost: 0.6,
  infer: ([x], { planes }) => [
    { shape: [x!.shape[0]!, planes, padded(x!.shape[1]!)], dtype: "uint8" },
    { shape: [x!.shape[0]!, 2], dtype: "float32" },
  ],
  encode(encoder, { inputs: [x], outputs: [out, stats], attributes: { planes }, address }) {
    const [m, k] = x!.shape as [number, number];
    encodeQuantizeRows(encoder, { out: address(out!), stats: address(stats!), x: address(x!), m, k, planes });
  },
};

/** (q − zero)·scale · wᵀ + bias, from the results of quantizeRows, a QuantizedMatrix and a bias for each of its rows. */
export const quantizedMatmulDefinition: OpDefinition<ProductAttributes> = {
  code: Op.QuantizedMatmul,
  name: "quantizedMatmul",
  cost: 0.01,
  infer: ([q], { count }) => [{ shape: [q!.shape[0]!, count], dtype: "float32" }],
  products: (_, [out], { k }) => 2 * out!.size * k,
  encode(encoder, { inputs, outputs: [out], attributes: { planes, first, count, k }, address }) {
    const [q, stats, w, scale, sums, bias] = inputs;
    const from = (x: Value): number => address(x) + 4 * first;
    encodeQuantizedMatmul(encoder, {
      out: address(out!),
      q: address(q!),
      stats: address(stats!),
      w: address(w!) + first * k,
      scale: from(scale!),
      sums: from(sums!),
      bias: bias ? from(bias) : 0,
      m: q!.shape[0]!,
      n: count,
      k,
      planes,
      workspace: encoder.workspace(kernels().quantizedWorkspace!(k)),
    });
  },
};

/** Options for `quantizedLinear`. */
export interface QuantizedLinearOptions {
  /** Whether activations always have 14 bits. By default, they have 7 bits if x has more than 8 rows. */
  readonly weightsOnly?: boolean;
  /** The rows of the weight to use. Default: all. */
  readonly rows?: readonly [first: number, count: number];
}

/**
 * x·wᵀ + bias. x: [..., columns] → [..., rows]. If activations have 14 bits, their error is less than a hundredth of the error of the
 * weights. If activations have 7 bits, weights also lose their last bit, so that sums of four products fit into 16 bits. Halves are
 * rounded to even, so a weight of ±127 then becomes ±128.
 */
export function quantizedLinear(
  name: string,
  x: Value,
  { weight, scale, sums }: QuantizedMatrix,
  bias: Value | null,
  { weightsOnly = false, rows: [first, count] = [0, weight.shape[0]!] }: QuantizedLinearOptions = {},
): Value {
  const input = float(x, name);
  const k = weight.shape[1]!;
  if (input.shape.at(-1) !== k)
    throw new ShapeError(
      `${name}: ${show(input.shape)} does not fit the weight ${show(weight.shape)}: the last size must be ${k}.`,
    );
  const outer = input.shape.slice(0, -1);
  const m = sizeOf(outer);
  const planes = weightsOnly || m <= FEW ? 2 : 1;
  const [q, stats] = applyAll(quantizeRowsDefinition, [reshape(input, [m, k])], { planes }) as [Value, Value];
  const inputs = [q, stats, weight, scale, sums, ...(bias ? [bias] : [])];
  const y = apply(quantizedMatmulDefinition, inputs, { planes, first, count, k });
  return reshape(y, [...outer, count]);
}
