/** The options of `quantize`. */

import type { QuantizedType } from "./matrix.ts";

/** Options for `quantize`. */
export interface QuantizeOptions {
  /**
   * The format of the weights. "int8" has a scale for each row. "int4" has a scale for each group of 32 numbers of a row, and takes 5 bits
   * per number with the scales. Weights with short rows, which int4 does not make smaller than int8, are stored in int8. "float16" and
   * "bfloat16" have no scales; float16 is more precise, and bfloat16 has the range of float32.
   * Default "int8".
   */
  readonly dtype?: QuantizedType;
  /** The paths of modules whose weights stay in float32, such as `["encoder.layers.0"]`. Default: none. */
  readonly skip?: readonly string[];
  /**
   * For int8 only. If true, activations have 14 bits in all products, so in effect only the weights lose precision. If false,
   * activations have 14 bits in products with up to 8 rows; in products with more rows, activations and weights have 7 bits. Default
   * false.
   */
  readonly weightsOnly?: boolean;
}
