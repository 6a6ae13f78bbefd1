/** The report of what `quantize` did to each weight. */
import { amount, table } from "../../core/printing.ts";
import type { QuantizedType } from "./matrix.ts";

/** A weight of a quantized model. */
export interface QuantizedWeight {
  /** The weight's path in the model. */
  readonly name: string;
  /** The kind of its module, such as "Linear". */
  readonly type: string;
  /** The number of elements. */
  readonly elements: number;
  /** The number of bytes, with the scales; 0 for a tied weight, which is the same tensor as a later one in the report. */
  readonly bytes: number;
  /** The format in the quantized model. */
  readonly dtype: QuantizedType | "float32";
  /** ‖w − ŵ‖ / ‖w‖, where ŵ is the quantized weight; 0 if it stays in float32. */
  readonly error: number;
  /** Why the weight stays in float32; "" if it is quantized. */
  readonly reason: string;
}

/** Lists the weights of a quantized model. Print it to see a table. */
export class QuantizationReport {
  constructor(
    /** The weights, in the order of the model's modules. */
    readonly weights: readonly QuantizedWeight[],
  ) {}

  /** The weights that stay in float32. */
  get skipped(): readonly QuantizedWeight[] {
    return this.weights.filter(({ reason }) => reason);
  }

  /** A table of the weights with the error of each, and the bytes that they take in float32 and now. */
  toString(): string {
    const total = (of: "elements" | "bytes"): number => this.weights.reduce((sum, w) => sum + (w.bytes && w[of]), 0);
    const rows = this.weights.map(({ name, type, elements, error, dtype, reason }) => [
      name,
      type,
      elements.toLocaleString("en"),
      reason ? "" : `${(100 * error).toFixed(2)} %`,
      reason ? `float32: ${reason}` : dtype,
    ]);
    return [
      table([["weight", "layer", "elements", "error", "type"], ...rows], [2, 3]),
      `${amount(4 * total("elements"), "B")} in float32, ${amount(total("bytes"), "B")} now`,
    ].join("\n");
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}
